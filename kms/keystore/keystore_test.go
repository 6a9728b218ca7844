package keystore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/keystore"
)

const keyARN = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"

func TestOptionsThatAreMissingOrContradictEachOtherAreRefused(t *testing.T) {
	t.Parallel()
	cfg := &aws.Config{Region: "us-east-1"}
	for want, alter := range map[string]func(o *keystore.Options){
		"Options.Table is empty":                                        func(o *keystore.Options) { o.Table = "" },
		`Options.Table "a b" is not the name of a table`:                func(o *keystore.Options) { o.Table = "a b" },
		`Options.Table "ab" is not the name of a table`:                 func(o *keystore.Options) { o.Table = "ab" },
		`Options.Table "arn:aws:\n" is not the name of a table`:         func(o *keystore.Options) { o.Table = "arn:aws:\n" },
		"Options.LogicalName is empty":                                  func(o *keystore.Options) { o.LogicalName = "" },
		"Options.LogicalName is not UTF-8":                              func(o *keystore.Options) { o.LogicalName = "\xff" },
		"neither Options.KeyARN nor Options.Discovery is set":           func(o *keystore.Options) { o.KeyARN = "" },
		"both Options.KeyARN and Options.Discovery are set":             func(o *keystore.Options) { o.Discovery = true },
		"Options.Region is for discovery; Options.KeyARN names the":     func(o *keystore.Options) { o.Region = "eu-west-1" },
		`Options.Region "-_-" is not a Region`:                          func(o *keystore.Options) { o.KeyARN, o.Discovery, o.Region = "", true, "-_-" },
		`the AWS configuration's Region "*" is not a Region`:            func(o *keystore.Options) { o.KeyARN, o.Discovery, o.Config = "", true, &aws.Config{Region: "*"} },
		"discovery needs a Region, and neither Options.Region nor":      func(o *keystore.Options) { o.KeyARN, o.Discovery, o.Config = "", true, &aws.Config{} },
		"discovery needs a Region, and neither Options.Region nor the ": multiRegionDiscoveryWithClients,
		`Options.KeyARN: "alias/orders" is not an ARN`:                  func(o *keystore.Options) { o.KeyARN = "alias/orders" },
		`alias/orders" is the ARN of an alias, not of a key`:            func(o *keystore.Options) { o.KeyARN = "arn:aws:kms:us-east-1:1:alias/orders" },
		"Options.GrantTokens has an empty token":                        func(o *keystore.Options) { o.GrantTokens = []string{"a", ""} },
		"Options.KMS is a nil pointer":                                  func(o *keystore.Options) { o.KMS = (*awskms.Client)(nil) },
		"Options.DynamoDB is a nil pointer":                             func(o *keystore.Options) { o.DynamoDB = (*dynamodb.Client)(nil) },
		"Options.Config is set beside both clients":                     func(o *keystore.Options) { o.KMS, o.DynamoDB = awskms.New(awskms.Options{}), newFake() },
	} {
		opts := keystore.Options{Table: "BranchKeys", LogicalName: "orders", KeyARN: keyARN, Config: cfg}
		alter(&opts)
		s, err := keystore.New(t.Context(), opts)
		require.Nil(t, s)
		require.ErrorContains(t, err, "keystore: ")
		require.ErrorContains(t, err, want)
	}
}

func multiRegionDiscoveryWithClients(o *keystore.Options) {
	o.KeyARN, o.Discovery, o.MultiRegion, o.Config = "", true, true, nil
	o.KMS, o.DynamoDB = awskms.New(awskms.Options{}), newFake()
}

func TestInfoIsWhatTheStoreWasMadeWith(t *testing.T) {
	t.Parallel()
	opts := keystore.Options{
		Table: "arn:aws:dynamodb:eu-west-1:111122223333:table/BranchKeys", LogicalName: "orders", KeyARN: keyARN, MultiRegion: true,
		ID: "mine", GrantTokens: []string{"token"}, Config: &aws.Config{Region: "us-east-1"},
	}
	s := store(t, opts)
	opts.GrantTokens[0] = "changed"
	want := keystore.Info{
		ID: "mine", Table: opts.Table, LogicalName: "orders", GrantTokens: []string{"token"}, KeyARN: keyARN, MultiRegion: true, Region: "eu-west-1",
	}
	require.Equal(t, want, s.Info())
	s.Info().GrantTokens[0] = "changed"
	require.Equal(t, want, s.Info())
	require.Equal(t, "orders", s.LogicalName())

	opts = keystore.Options{Table: "BranchKeys", LogicalName: "orders", Discovery: true, Config: &aws.Config{Region: "us-east-1"}}
	one, two := store(t, opts).Info(), store(t, opts).Info()
	require.Regexp(t, "^"+uuidV4+"$", one.ID)
	require.NotEqual(t, one.ID, two.ID)
	require.Equal(t, keystore.Info{ID: one.ID, Table: "BranchKeys", LogicalName: "orders", Discovery: true, Region: "us-east-1"}, one)
	opts.MultiRegion, opts.Region = true, "ap-south-1"
	three := store(t, opts).Info()
	require.Equal(t, keystore.Info{ID: three.ID, Table: "BranchKeys", LogicalName: "orders", Discovery: true, MultiRegion: true, Region: "ap-south-1"}, three)
}

// Clients that are not given are made for the Region of the key, for that of
// multi-Region discovery, or as the configuration has it.
func TestMissingClientsAreMadeForTheRightRegion(t *testing.T) {
	var got []string
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		parts := strings.Split(scope, "/")
		got = append(got, parts[3]+" "+parts[2])
		if agent := r.UserAgent(); !strings.Contains(agent, " lib/esdk-go#") || strings.Contains(agent, "aws-kms-hierarchy") != (parts[3] == "kms") {
			t.Error(agent)
		}
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "GetItem") {
			b, _ := json.Marshal(map[string]any{"Item": map[string]any{
				"branch-key-id": map[string]string{"S": "id"}, "type": map[string]string{"S": "beacon:ACTIVE"}, "kms-arn": map[string]string{"S": keyARN},
				"create-time": map[string]string{"S": "now"}, "hierarchy-version": map[string]string{"N": "1"}, "enc": map[string]string{"B": "AAAA"},
			}})
			w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(b)))
			w.Write(b)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer endpoint.Close()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint.URL, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "sa-east-1",
		"AWS_ENDPOINT_URL_KMS": "", "AWS_ENDPOINT_URL_DYNAMODB": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
	} {
		t.Setenv(name, value)
	}
	for _, test := range []struct {
		opts   keystore.Options
		region string
	}{
		{keystore.Options{KeyARN: keyARN}, "eu-west-1"},
		{keystore.Options{KeyARN: keyARN, MultiRegion: true}, "eu-west-1"},
		{keystore.Options{Discovery: true}, "sa-east-1"},
		{keystore.Options{Discovery: true, Region: "us-west-2"}, "us-west-2"},
		{keystore.Options{Discovery: true, MultiRegion: true, Region: "us-west-2"}, "us-west-2"},
		{keystore.Options{Discovery: true, MultiRegion: true}, "sa-east-1"},
	} {
		test.opts.Table, test.opts.LogicalName = "BranchKeys", "orders"
		got = nil
		_, err := store(t, test.opts).BeaconKey(t.Context(), "id")
		require.Error(t, err)
		require.Equal(t, []string{"dynamodb " + test.region, "kms " + test.region}, got)
	}
}

func TestStoresAndKeysPrintWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := store(t, keystore.Options{Table: "BranchKeys", LogicalName: "orders", KeyARN: keyARN, GrantTokens: []string{"secret"}, Config: &aws.Config{Region: "us-east-1"}})
	key := keystore.BeaconKey{ID: "id", EncryptionContext: map[string]string{"a": "b"}, Material: []byte("secret")}
	for v, want := range map[any]string{s: `branch key store \"orders\" on table BranchKeys`, &key: `(redacted)`} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, `"`+want+`"`, string(b))
		plain := strings.ReplaceAll(want, `\`, "")
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			require.Equal(t, plain, fmt.Sprintf(verb, v), verb)
		}
	}
	require.Equal(t, s.String(), fmt.Sprint(*s))
	require.Equal(t, key.String(), fmt.Sprint(key))
}

func TestAZeroStoreFailsWithoutAPanic(t *testing.T) {
	t.Parallel()
	var s keystore.Store
	for _, err := range []error{
		second(s.CreateTable(t.Context())), second(s.CreateKey(t.Context(), "", nil)), s.RotateKey(t.Context(), "id"),
		second(s.ActiveBranchKey(t.Context(), "id")), second(s.BranchKeyVersion(t.Context(), "id", "83eec007-5659-4554-bf11-699b90f41ac6")), second(s.BeaconKey(t.Context(), "id")),
	} {
		require.ErrorContains(t, err, "the store was not made by New")
	}
}

func TestADoneContextEndsEveryOperation(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	e.kms.ResetCalls()
	e.fake.calls = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{
		second(s.CreateTable(ctx)), second(s.CreateKey(ctx, "", nil)), s.RotateKey(ctx, id), second(s.ActiveBranchKey(ctx, id)), second(s.BeaconKey(ctx, id)),
	} {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Empty(t, e.kms.Calls())
	require.Empty(t, e.fake.calls)

	ctx, cancel = context.WithCancel(t.Context())
	e.fake.before = func(any) error { cancel(); return errors.New("what the client says of it") }
	_, err := s.ActiveBranchKey(ctx, id)
	require.ErrorIs(t, err, context.Canceled)
}

// A liar is a KMS whose answers a test changes.
type liar struct {
	keystore.KMSAPI
	decrypt   func(*awskms.DecryptOutput) *awskms.DecryptOutput
	generate  func(*awskms.GenerateDataKeyWithoutPlaintextOutput)
	reEncrypt func(*awskms.ReEncryptOutput)
}

func (l *liar) Decrypt(ctx context.Context, in *awskms.DecryptInput, opts ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	out, err := l.KMSAPI.Decrypt(ctx, in, opts...)
	if l.decrypt != nil && err == nil {
		out = l.decrypt(out)
	}
	return out, err
}

func (l *liar) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *awskms.GenerateDataKeyWithoutPlaintextInput, opts ...func(*awskms.Options)) (*awskms.GenerateDataKeyWithoutPlaintextOutput, error) {
	out, err := l.KMSAPI.GenerateDataKeyWithoutPlaintext(ctx, in, opts...)
	if l.generate != nil && err == nil {
		l.generate(out)
	}
	return out, err
}

func (l *liar) ReEncrypt(ctx context.Context, in *awskms.ReEncryptInput, opts ...func(*awskms.Options)) (*awskms.ReEncryptOutput, error) {
	out, err := l.KMSAPI.ReEncrypt(ctx, in, opts...)
	if l.reEncrypt != nil && err == nil {
		l.reEncrypt(out)
	}
	return out, err
}

func TestWrongAnswersOfKMSAreErrors(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	id := createKey(t, e.created(t), nil)
	l := &liar{KMSAPI: awskms.NewFromConfig(*e.kms.Config())}
	opts := e.options()
	opts.KMS, opts.DynamoDB, opts.Config = l, e.api, nil
	s := store(t, opts)
	before := e.items(t, id)
	require.NoError(t, second(s.ActiveBranchKey(t.Context(), id)))
	fails := func(op, want string, errs ...error) {
		t.Helper()
		for _, err := range errs {
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, op, failure.Op)
			require.Equal(t, e.key, failure.KeyID)
			require.ErrorContains(t, err, want)
		}
		require.Equal(t, before, e.items(t, id))
	}
	other := aws.String(keyARN)
	for want, lie := range map[string]func(*awskms.DecryptOutput){
		"the response is of another key, " + `"` + keyARN + `"`:   func(out *awskms.DecryptOutput) { out.KeyId = other },
		`the response is of another key, ""`:                      func(out *awskms.DecryptOutput) { out.KeyId = nil },
		"the response has a key of 31 bytes; branch keys have 32": func(out *awskms.DecryptOutput) { out.Plaintext = out.Plaintext[:31] },
		"the response has a key of 33 bytes; branch keys have 32": func(out *awskms.DecryptOutput) { out.Plaintext = append(out.Plaintext, 0) },
		"the response has a key of 0 bytes; branch keys have 32":  func(out *awskms.DecryptOutput) { out.Plaintext = nil },
		"the response has a key of zeros":                         func(out *awskms.DecryptOutput) { clear(out.Plaintext) },
	} {
		var plaintext []byte
		l.decrypt = func(out *awskms.DecryptOutput) *awskms.DecryptOutput { lie(out); plaintext = out.Plaintext; return out }
		key, err := s.ActiveBranchKey(t.Context(), id)
		require.Nil(t, key)
		fails("Decrypt", want, err, second(s.BeaconKey(t.Context(), id)))
		for _, b := range plaintext {
			require.Zero(t, b, "what was refused is cleared")
		}
	}
	l.decrypt = func(*awskms.DecryptOutput) *awskms.DecryptOutput { return nil }
	fails("Decrypt", "neither a result nor an error", second(s.ActiveBranchKey(t.Context(), id)))

	for want, lie := range map[string]func(*awskms.GenerateDataKeyWithoutPlaintextOutput){
		"of another key":             func(out *awskms.GenerateDataKeyWithoutPlaintextOutput) { out.KeyId = other },
		"a ciphertext of 0 bytes":    func(out *awskms.GenerateDataKeyWithoutPlaintextOutput) { out.CiphertextBlob = nil },
		"a ciphertext of 6145 bytes": func(out *awskms.GenerateDataKeyWithoutPlaintextOutput) { out.CiphertextBlob = make([]byte, 6145) },
	} {
		l.generate = lie
		fails("GenerateDataKeyWithoutPlaintext", want, second(s.CreateKey(t.Context(), "", nil)), s.RotateKey(t.Context(), id))
	}
	l.generate = nil
	for want, lie := range map[string]func(*awskms.ReEncryptOutput){
		"of another key":             func(out *awskms.ReEncryptOutput) { out.KeyId = other },
		`of another key, ""`:         func(out *awskms.ReEncryptOutput) { out.SourceKeyId = nil },
		"a ciphertext of 0 bytes":    func(out *awskms.ReEncryptOutput) { out.CiphertextBlob = nil },
		"a ciphertext of 6145 bytes": func(out *awskms.ReEncryptOutput) { out.CiphertextBlob = make([]byte, 6145) },
	} {
		l.reEncrypt = lie
		fails("ReEncrypt", want, second(s.CreateKey(t.Context(), "", nil)), s.RotateKey(t.Context(), id))
	}

	l.reEncrypt = nil
	for _, op := range []string{"GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"} {
		e.kms.DenyAccess(e.key, op)
		for _, err := range []error{second(s.CreateKey(t.Context(), "", nil)), s.RotateKey(t.Context(), id)} {
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
		}
		require.Equal(t, before, e.items(t, id))
		e.kms.AllowAccess(e.key)
	}
	require.NoError(t, e.kms.DisableKey(e.key))
	l.decrypt = nil
	var disabled *types.DisabledException
	require.ErrorAs(t, second(s.ActiveBranchKey(t.Context(), id)), &disabled)
}
