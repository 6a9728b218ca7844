package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// The raw AES key of the messages, as the service names it.
const namespace, name = "BC", "DataKey"

// maxEvents is how long the decompressed events of a record may be, in bytes: a
// compressed message that was made to fill the memory must not.
const maxEvents = 16 << 20

// A Record is a record of the stream in Kinesis. encoding/json decodes the Base64 of
// its fields.
type Record struct {
	Type    string `json:"type"` // DatabaseActivityMonitoringRecords
	Version string `json:"version"`
	Events  []byte `json:"databaseActivityEvents"` // a message of the AWS Encryption SDK
	Key     []byte `json:"key"`                    // the ciphertext of AWS KMS
}

// An Event is one thing that happened in the database. It has more fields than
// these, other ones for each database engine; AWS says that fields may be added.
type Event struct {
	Type        string `json:"type"` // record or heartbeat
	LogTime     string `json:"logTime"`
	DBUserName  string `json:"dbUserName"`
	Command     string `json:"command"`
	CommandText string `json:"commandText"` // empty if null
}

// A RecordError is the error of a record that is not what it should be, or that is
// not of this stream.
type RecordError struct {
	Part string // of the record: "record", "key", "message" or "events"
	Err  error
}

func (e *RecordError) Error() string { return e.Part + ": " + e.Err.Error() }

func (e *RecordError) Unwrap() error { return e.Err }

// A KMS is the part of AWS KMS that a Decoder needs.
type KMS interface {
	Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error)
}

// A Decoder reads the records of one stream. It is not safe for concurrent use.
type Decoder struct {
	kms               KMS
	encryptionContext map[string]string

	// The provider of the key that was used last. Records in a row that have the
	// same key cost one call to KMS.
	key      []byte
	provider keyprovider.MasterKeyProvider
}

// NewDecoder returns a Decoder of the stream of a database, whose resource ID begins
// with "cluster-" if it is of Aurora, and with "db-" if it is an instance of RDS. The
// program needs the permission kms:Decrypt on the stream's KMS key.
func NewDecoder(kms KMS, resourceID string) (*Decoder, error) {
	var field string
	switch {
	case strings.HasPrefix(resourceID, "cluster-"):
		field = "aws:rds:dbc-id"
	case strings.HasPrefix(resourceID, "db-"):
		field = "aws:rds:db-id"
	default:
		return nil, fmt.Errorf("%q is not the resource ID of a cluster or an instance", resourceID)
	}
	return &Decoder{kms: kms, encryptionContext: map[string]string{field: resourceID}}, nil
}

// client reads messages with and without key commitment, as AWS's sample programs do:
// activity streams are older than it.
var client = esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, MaxEncryptedDataKeys: 1}

// Events returns the events of a record, heartbeats included. Its error is a
// *RecordError, unless ctx is done.
func (d *Decoder) Events(ctx context.Context, data []byte) ([]Event, error) {
	fail := func(part string, err error) ([]Event, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &RecordError{part, err}
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return fail("record", err)
	}
	if record.Type != "DatabaseActivityMonitoringRecords" {
		return fail("record", fmt.Errorf("type %.100q", record.Type))
	}
	provider, err := d.providerOf(ctx, record.Key)
	if err != nil {
		return fail("key", err)
	}
	compressed, _, err := client.Decrypt(ctx, record.Events, provider, nil)
	if err != nil {
		return fail("message", err)
	}
	// Everything has been verified by now, so that nothing but what the service wrote
	// reaches gzip and JSON.
	decompressed, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return fail("events", err)
	}
	text, err := io.ReadAll(io.LimitReader(decompressed, maxEvents+1))
	if err != nil {
		return fail("events", err)
	}
	if len(text) > maxEvents {
		return fail("events", fmt.Errorf("more than %d bytes", maxEvents))
	}
	var list struct {
		Type   string  `json:"type"` // DatabaseActivityMonitoringRecord
		Events []Event `json:"databaseActivityEventList"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return fail("events", err)
	}
	if list.Type != "DatabaseActivityMonitoringRecord" {
		return fail("events", fmt.Errorf("type %.100q", list.Type))
	}
	return list.Events, nil
}

// providerOf returns the provider of the encrypted key of a record.
func (d *Decoder) providerOf(ctx context.Context, key []byte) (keyprovider.MasterKeyProvider, error) {
	if d.provider != nil && bytes.Equal(d.key, key) {
		return d.provider, nil
	}
	out, err := d.kms.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: key, EncryptionContext: d.encryptionContext})
	if err != nil {
		return nil, err
	}
	defer clear(out.Plaintext)
	p, err := keyprovider.NewRawAES(namespace, name, out.Plaintext)
	if err != nil {
		return nil, err
	}
	d.key, d.provider = key, p
	return p, nil
}
