package kmstest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

func newServer(t testing.TB) *kmstest.Server {
	s := kmstest.NewServer()
	t.Cleanup(s.Close)
	return s
}

func client(s *kmstest.Server, region string) *awskms.Client {
	return awskms.NewFromConfig(*s.Config(), func(o *awskms.Options) { o.Region = region })
}

func encrypt(t *testing.T, c *awskms.Client, key string, ec map[string]string) *awskms.EncryptOutput {
	t.Helper()
	out, err := c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte("secret"), EncryptionContext: ec})
	require.NoError(t, err)
	return out
}

func decrypt(t *testing.T, c *awskms.Client, key string, blob []byte, ec map[string]string) ([]byte, error) {
	t.Helper()
	in := &awskms.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}
	if key != "" {
		in.KeyId = &key
	}
	out, err := c.Decrypt(t.Context(), in)
	if err != nil {
		return nil, err
	}
	require.True(t, strings.HasPrefix(aws.ToString(out.KeyId), "arn:"))
	return out.Plaintext, nil
}

func TestWhatAKeyEncryptsItDecrypts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("eu-west-1")
	require.True(t, strings.HasPrefix(key, "arn:aws:kms:eu-west-1:"+kmstest.Account+":key/"), key)
	c := client(s, "eu-west-1")
	ec := map[string]string{"b": "2", "a": "1", "": "empty key", "ü": ""}

	out := encrypt(t, c, key, ec)
	require.Equal(t, key, *out.KeyId)
	for _, id := range []string{key, "", key[strings.LastIndex(key, "/")+1:]} {
		plaintext, err := decrypt(t, c, id, out.CiphertextBlob, ec)
		require.NoError(t, err)
		require.Equal(t, "secret", string(plaintext))
	}
}

func TestGenerateDataKeyReturnsWhatDecryptDoes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	c := client(s, "us-east-1")
	for _, in := range []awskms.GenerateDataKeyInput{
		{NumberOfBytes: aws.Int32(24)}, {KeySpec: types.DataKeySpecAes128}, {KeySpec: types.DataKeySpecAes256},
	} {
		in.KeyId = &key
		out, err := c.GenerateDataKey(t.Context(), &in)
		require.NoError(t, err)
		want := map[types.DataKeySpec]int{"": 24, types.DataKeySpecAes128: 16, types.DataKeySpecAes256: 32}[in.KeySpec]
		require.Len(t, out.Plaintext, want)
		plaintext, err := decrypt(t, c, key, out.CiphertextBlob, nil)
		require.NoError(t, err)
		require.Equal(t, out.Plaintext, plaintext)
	}
	hidden, err := c.GenerateDataKeyWithoutPlaintext(t.Context(), &awskms.GenerateDataKeyWithoutPlaintextInput{KeyId: &key, NumberOfBytes: aws.Int32(32)})
	require.NoError(t, err)
	plaintext, err := decrypt(t, c, key, hidden.CiphertextBlob, nil)
	require.NoError(t, err)
	require.Len(t, plaintext, 32)
	for _, in := range []awskms.GenerateDataKeyInput{{}, {NumberOfBytes: aws.Int32(1025)}, {NumberOfBytes: aws.Int32(16), KeySpec: types.DataKeySpecAes128}} {
		in.KeyId = &key
		_, err := c.GenerateDataKey(t.Context(), &in)
		requireCode(t, "ValidationException", err)
	}
}

func TestErrorsAreThoseOfTheRealClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key, other := s.CreateKey("us-east-1"), s.CreateKey("us-east-1")
	c := client(s, "us-east-1")
	ec := map[string]string{"tenant": "1"}
	blob := encrypt(t, c, key, ec).CiphertextBlob

	var incorrect *types.IncorrectKeyException
	_, err := decrypt(t, c, other, blob, ec)
	require.ErrorAs(t, err, &incorrect)

	var invalid *types.InvalidCiphertextException
	for name, changed := range map[string][]byte{
		"changed":   append(append([]byte{}, blob[:len(blob)-1]...), blob[len(blob)-1]^1),
		"truncated": blob[:len(blob)-1],
		"foreign":   []byte("no blob"),
		"header":    blob[:40],
	} {
		_, err = decrypt(t, c, key, changed, ec)
		require.ErrorAs(t, err, &invalid, name)
	}
	for _, changed := range []map[string]string{nil, {"tenant": "2"}, {"tenant": "1", "more": ""}} {
		_, err = decrypt(t, c, key, blob, changed)
		require.ErrorAs(t, err, &invalid, changed)
	}

	var notFound *types.NotFoundException
	for _, id := range []string{"alias/none", "no-such-id", strings.Replace(key, "us-east-1", "us-east-2", 1), "arn:aws:kms"} {
		_, err = decrypt(t, c, id, blob, ec)
		require.ErrorAs(t, err, &notFound, id)
	}
	_, err = decrypt(t, client(s, "us-east-2"), key, blob, ec)
	require.ErrorAs(t, err, &notFound, "a key of another Region")

	require.NoError(t, s.DisableKey(key))
	var disabled *types.DisabledException
	_, err = decrypt(t, c, key, blob, ec)
	require.ErrorAs(t, err, &disabled)
	require.NoError(t, s.EnableKey(key))
	_, err = decrypt(t, c, key, blob, ec)
	require.NoError(t, err)

	s.DenyAccess(key, "Decrypt")
	_, err = decrypt(t, c, key, blob, ec)
	requireCode(t, "AccessDeniedException", err)
	encrypt(t, c, key, ec)
	s.DenyAccess(key)
	_, err = c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
	requireCode(t, "AccessDeniedException", err)
	s.AllowAccess(key)
	_, err = decrypt(t, c, key, blob, ec)
	require.NoError(t, err)

	_, err = c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: make([]byte, 4097)})
	requireCode(t, "ValidationException", err)
	_, err = c.ListKeys(t.Context(), &awskms.ListKeysInput{})
	requireCode(t, "UnknownOperationException", err)

	require.Error(t, s.DisableKey("arn:aws:kms:us-east-1:1:key/none"))
	require.Error(t, s.EnableKey("none"))
}

func requireCode(t *testing.T, code string, err error) {
	t.Helper()
	var api smithy.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, code, api.ErrorCode())
}

func TestAliasesStandForTheirKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key, next := s.CreateKey("us-east-1"), s.CreateKey("us-east-1")
	alias, err := s.CreateAlias("alias/orders", key)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:kms:us-east-1:"+kmstest.Account+":alias/orders", alias)
	c := client(s, "us-east-1")
	for _, id := range []string{alias, "alias/orders"} {
		require.Equal(t, key, *encrypt(t, c, id, nil).KeyId)
		described, err := c.DescribeKey(t.Context(), &awskms.DescribeKeyInput{KeyId: &id})
		require.NoError(t, err)
		require.Equal(t, key, *described.KeyMetadata.Arn)
		require.True(t, described.KeyMetadata.Enabled)
		require.False(t, *described.KeyMetadata.MultiRegion)
	}
	_, err = s.CreateAlias("alias/orders", next)
	require.NoError(t, err)
	require.Equal(t, next, *encrypt(t, c, alias, nil).KeyId)

	_, err = s.CreateAlias("orders", key)
	require.ErrorContains(t, err, "alias/")
	_, err = s.CreateAlias("alias/orders", "arn:aws:kms:us-east-1:1:key/none")
	require.Error(t, err)
}

func TestReplicasDecryptForEachOther(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	arns := s.CreateMultiRegionKey("us-east-1", "cn-north-1", "us-gov-west-1")
	require.Len(t, arns, 3)
	require.True(t, strings.HasPrefix(arns[1], "arn:aws-cn:kms:cn-north-1:"), arns[1])
	require.True(t, strings.HasPrefix(arns[2], "arn:aws-us-gov:kms:us-gov-west-1:"), arns[2])
	blob := encrypt(t, client(s, "us-east-1"), arns[0], nil).CiphertextBlob
	require.NoError(t, s.DisableKey(arns[0]))
	for i, region := range []string{"cn-north-1", "us-gov-west-1"} {
		plaintext, err := decrypt(t, client(s, region), arns[i+1], blob, nil)
		require.NoError(t, err)
		require.Equal(t, "secret", string(plaintext))
		_, err = decrypt(t, client(s, region), "", blob, nil)
		require.NoError(t, err)
	}
}

func TestReEncryptMovesABlobToAnotherKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	from, to := s.CreateKey("us-east-1"), s.CreateKeyIn("444455556666", "us-east-1")
	require.Contains(t, to, ":444455556666:")
	c := client(s, "us-east-1")
	blob := encrypt(t, c, from, map[string]string{"v": "1"}).CiphertextBlob
	out, err := c.ReEncrypt(t.Context(), &awskms.ReEncryptInput{
		CiphertextBlob: blob, SourceEncryptionContext: map[string]string{"v": "1"},
		DestinationKeyId: &to, DestinationEncryptionContext: map[string]string{"v": "2"},
	})
	require.NoError(t, err)
	require.Equal(t, from, *out.SourceKeyId)
	require.Equal(t, to, *out.KeyId)
	plaintext, err := decrypt(t, c, to, out.CiphertextBlob, map[string]string{"v": "2"})
	require.NoError(t, err)
	require.Equal(t, "secret", string(plaintext))
}

func TestThrottledCallsAreRetriedByTheClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	c := client(s, "us-east-1")
	s.Throttle(2)
	encrypt(t, c, key, nil)
	calls := s.Calls()
	require.Len(t, calls, 3)
	require.Equal(t, []string{"ThrottlingException", "ThrottlingException", ""}, []string{calls[0].Error, calls[1].Error, calls[2].Error})

	s.Throttle(100)
	_, err := c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
	requireCode(t, "ThrottlingException", err)
	s.Throttle(0)
	encrypt(t, c, key, nil)
}

func TestCallsTellWhatWasAsked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("eu-central-1")
	_, err := client(s, "eu-central-1").GenerateDataKey(t.Context(), &awskms.GenerateDataKeyInput{
		KeyId: &key, NumberOfBytes: aws.Int32(16), EncryptionContext: map[string]string{"a": "1"}, GrantTokens: []string{"grant"},
	})
	require.NoError(t, err)
	calls := s.Calls()
	require.Len(t, calls, 1)
	require.Contains(t, calls[0].UserAgent, "aws-sdk-go-v2")
	calls[0].UserAgent = ""
	require.Equal(t, kmstest.Call{
		Op: "GenerateDataKey", Region: "eu-central-1", KeyID: key, EncryptionContext: map[string]string{"a": "1"},
		GrantTokens: []string{"grant"}, NumberOfBytes: 16,
	}, calls[0])
	s.ResetCalls()
	require.Empty(t, s.Calls())
}

func TestLatencyDelaysAnswersAndEndsWithTheServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	c := client(s, "us-east-1")
	s.SetLatency(20 * time.Millisecond)
	start := time.Now()
	encrypt(t, c, key, nil)
	require.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond)

	s.SetLatency(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Encrypt(ctx, &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	result := make(chan error)
	go func() {
		_, err := c.Encrypt(context.Background(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
		result <- err
	}()
	time.Sleep(20 * time.Millisecond)
	s.Close()
	s.Close()
	<-result // does not take an hour
}

func TestInterceptReplacesAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	c := client(s, "us-east-1")
	s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
		if call.Op != "Encrypt" {
			return nil
		}
		return &kmstest.Reply{KeyID: "other", CiphertextBlob: []byte{7}}
	})
	out := encrypt(t, c, key, nil)
	require.Equal(t, "other", *out.KeyId)
	require.Equal(t, []byte{7}, out.CiphertextBlob)
	_, err := c.GenerateDataKey(t.Context(), &awskms.GenerateDataKeyInput{KeyId: &key, NumberOfBytes: aws.Int32(16)})
	require.NoError(t, err)

	s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
		return &kmstest.Reply{Error: "KMSInternalException", Status: http.StatusInternalServerError}
	})
	_, err = c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
	var internal *types.KMSInternalException
	require.ErrorAs(t, err, &internal)
	s.Intercept(nil)
	encrypt(t, c, key, nil)
}

func TestRequestsThatAreNotOfTheProtocolAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	signed := "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0"
	for name, change := range map[string]func(*http.Request){
		"no target":       func(r *http.Request) { r.Header.Del("X-Amz-Target") },
		"no signature":    func(r *http.Request) { r.Header.Del("Authorization") },
		"other service":   func(r *http.Request) { r.Header.Set("Authorization", strings.Replace(signed, "kms", "s3", 1)) },
		"no scope":        func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Signature=0") },
		"other type":      func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"not JSON":        func(*http.Request) {},
		"other operation": func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Nothing") },
	} {
		body := "{}"
		if name == "not JSON" {
			body = "{"
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
		r.Header.Set("Authorization", signed)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		change(r)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err, name)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, name)
	}
	for _, call := range s.Calls() {
		require.NotEmpty(t, call.Error)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := client(s, "us-east-1")
	errs := make(chan error)
	for range 16 {
		go func() {
			key := s.CreateKey("us-east-1")
			out, err := c.Encrypt(context.Background(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
			if err == nil {
				_, err = c.Decrypt(context.Background(), &awskms.DecryptInput{KeyId: &key, CiphertextBlob: out.CiphertextBlob})
			}
			errs <- errors.Join(err, s.DisableKey(key))
		}()
	}
	for range 16 {
		require.NoError(t, <-errs)
	}
	require.Len(t, s.Calls(), 32)
}
