package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/kmstest"
)

func TestRunPrintsEventsAndReportsTheBadRecord(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")[1:] // behind what the stream is
	require.Len(t, lines, 4, out.String())
	require.Equal(t, "2026-11-23 10:00:00.1+00 alice: CONNECT ", lines[0])
	require.Equal(t, "2026-11-23 10:00:01.2+00 alice: SELECT select * from orders", lines[1])
	require.Regexp(t, "^record 2: (record|message): ", lines[2])
	require.Equal(t, "2026-11-23 10:00:02.3+00 bob: UPDATE update orders set open = false", lines[3])
}

// A stream is what a Decoder under test has, and its records.
type stream struct {
	server  *kmstest.Server
	client  *awskms.Client
	decoder *Decoder
	records [][]byte
}

func newStream(t *testing.T) stream {
	t.Helper()
	server := kmstest.NewServer()
	t.Cleanup(server.Close)
	s := stream{server: server, client: awskms.NewFromConfig(*server.Config(), func(o *awskms.Options) { o.Region = "eu-west-1" })}
	var err error
	s.records, err = makeStream(t.Context(), s.client, server.CreateKey("eu-west-1"), "cluster-A")
	require.NoError(t, err)
	s.decoder, err = NewDecoder(s.client, "cluster-A")
	require.NoError(t, err)
	server.ResetCalls()
	return s
}

func TestEventsOfARecord(t *testing.T) {
	s := newStream(t)
	events, err := s.decoder.Events(t.Context(), s.records[0])
	require.NoError(t, err)
	require.Len(t, events, 2)
	require.Equal(t, Event{Type: "record", LogTime: "2026-11-23 10:00:00.1+00", DBUserName: "alice", Command: "CONNECT"}, events[0])
	events, err = s.decoder.Events(t.Context(), s.records[1])
	require.NoError(t, err)
	require.Equal(t, []Event{{Type: "heartbeat"}}, events)

	// The records are as AWS documents them.
	var record map[string]string
	require.NoError(t, json.Unmarshal(s.records[0], &record))
	require.Len(t, record, 4)
	require.Equal(t, "DatabaseActivityMonitoringRecords", record["type"])
	message, err := base64.StdEncoding.DecodeString(record["databaseActivityEvents"])
	require.NoError(t, err)
	h, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	require.False(t, h.Suite.Committing())
	require.Equal(t, "BC", h.EncryptedDataKeys[0].ProviderID)
	require.True(t, bytes.HasPrefix(h.EncryptedDataKeys[0].ProviderInfo, []byte("DataKey")))
	calls := s.server.Calls()
	require.Len(t, calls, 1, "the second record has the key of the first")
	require.Equal(t, map[string]string{"aws:rds:dbc-id": "cluster-A"}, calls[0].EncryptionContext)
}

func TestBadRecordsAreNamed(t *testing.T) {
	s := newStream(t)
	var record Record
	require.NoError(t, json.Unmarshal(s.records[0], &record))
	altered := func(change func(r *Record)) []byte {
		r := record
		r.Events, r.Key = bytes.Clone(record.Events), bytes.Clone(record.Key)
		change(&r)
		b, err := json.Marshal(&r)
		require.NoError(t, err)
		return b
	}
	out, err := s.client.Decrypt(t.Context(), &awskms.DecryptInput{CiphertextBlob: record.Key, EncryptionContext: s.decoder.encryptionContext})
	require.NoError(t, err)
	p, err := keyprovider.NewRawAES(namespace, name, out.Plaintext)
	require.NoError(t, err)
	of := func(text string) []byte {
		b, err := makeRecord(t.Context(), p, record.Key, text)
		require.NoError(t, err)
		return b
	}
	for _, test := range []struct {
		name, part, says string
		record           []byte
		want             error
	}{
		{"no JSON", "record", "", s.records[0][:20], nil},
		{"no Base64", "record", "", []byte(`{"databaseActivityEvents": "?"}`), nil},
		{"other type", "record", `type "Other"`, altered(func(r *Record) { r.Type = "Other" }), nil},
		{"no message", "message", "", altered(func(r *Record) { r.Events = nil }), nil},
		{"altered message", "message", "", altered(func(r *Record) { r.Events[len(r.Events)-1] ^= 1 }), esdk.ErrSignature},
		{"not gzip", "events", "gzip: invalid header", altered(func(r *Record) {
			r.Events, _, err = client.Encrypt(t.Context(), []byte("certainly not gzip"), p, nil)
			require.NoError(t, err)
		}), nil},
		{"no events", "events", "", of(`{"type"`), nil},
		{"events of another type", "events", `type "Other"`, of(`{"type": "Other"}`), nil},
		{"too many events", "events", "more than 16777216 bytes", of(strings.Repeat(" ", maxEvents+1)), nil},
	} {
		events, err := s.decoder.Events(t.Context(), test.record)
		var bad *RecordError
		require.ErrorAs(t, err, &bad, test.name)
		require.Equal(t, test.part, bad.Part, test.name)
		require.ErrorContains(t, err, test.part+": "+test.says, test.name)
		if test.want != nil {
			require.ErrorIs(t, err, test.want, test.name)
		}
		require.Nil(t, events, test.name)
	}

	// The key is bound to the database.
	for _, id := range []string{"cluster-B", "db-A"} {
		d, err := NewDecoder(s.client, id)
		require.NoError(t, err)
		_, err = d.Events(t.Context(), s.records[0])
		var bad *RecordError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, "key", bad.Part)
		var refused *types.InvalidCiphertextException
		require.ErrorAs(t, err, &refused)
	}
	_, err = NewDecoder(s.client, "A")
	require.ErrorContains(t, err, `"A" is not the resource ID`)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.decoder.Events(ctx, s.records[0])
	require.Equal(t, context.Canceled, err)
}
