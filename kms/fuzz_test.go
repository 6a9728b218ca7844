package kms_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// keyARN is framework/aws-kms/aws-kms-key-arn.md and what is more asked of a
// text that names a host: said once more, in another way than arn.go does.
var keyARN = regexp.MustCompile(`^arn:([!-9;-~]+):kms:([a-z0-9-]{1,63}):([!-9;-~]+):key/[!-9;-~]+$`)

// partitions has what the Regions of partitions look like; of aws are those that
// are of no other.
var partitions = map[string]*regexp.Regexp{
	"aws-cn": regexp.MustCompile(`^cn-`), "aws-us-gov": regexp.MustCompile(`^us-gov-`), "aws-iso": regexp.MustCompile(`^us-iso-`),
	"aws-iso-b": regexp.MustCompile(`^us-isob-`), "aws-iso-e": regexp.MustCompile(`^eu-isoe-`), "aws-iso-f": regexp.MustCompile(`^us-isof-`),
	"aws-eusc": regexp.MustCompile(`^eusc-`), "aws": regexp.MustCompile(`^[a-z]{2}-[a-z]+-[0-9]+$`),
}

// isKeyARN reports whether s can be the ARN of a key.
func isKeyARN(s string) bool {
	parts := keyARN.FindStringSubmatch(s)
	if len(s) > 2048 || parts == nil || !regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`).MatchString(parts[2]) {
		return false
	}
	of := ""
	for partition, pattern := range partitions {
		if (of == "" || of == "aws") && pattern.MatchString(parts[2]) {
			of = partition
		}
	}
	return of == parts[1] || of == "" && partitions[parts[1]] == nil
}

// A responder is KMS, or what has taken its place, with the same answer to
// everything. It keeps what it was asked for.
type responder struct {
	err             error
	empty           bool // neither an error nor a result
	key             *string
	plaintext, blob []byte

	regions []string
	asked   []string
}

// response returns the answer to a call for the key.
func (r *responder) response(key *string) (ok bool, err error) {
	r.asked = append(r.asked, *key)
	return !r.empty && r.err == nil, r.err
}

func (r *responder) GenerateDataKey(_ context.Context, in *awskms.GenerateDataKeyInput, _ ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	if ok, err := r.response(in.KeyId); !ok {
		return nil, err
	}
	return &awskms.GenerateDataKeyOutput{KeyId: r.key, Plaintext: r.plaintext, CiphertextBlob: r.blob}, nil
}

func (r *responder) Encrypt(_ context.Context, in *awskms.EncryptInput, _ ...func(*awskms.Options)) (*awskms.EncryptOutput, error) {
	if ok, err := r.response(in.KeyId); !ok {
		return nil, err
	}
	return &awskms.EncryptOutput{KeyId: r.key, CiphertextBlob: r.blob}, nil
}

func (r *responder) Decrypt(_ context.Context, in *awskms.DecryptInput, _ ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	if ok, err := r.response(in.KeyId); !ok {
		return nil, err
	}
	return &awskms.DecryptOutput{KeyId: r.key, Plaintext: r.plaintext}, nil
}

func (r *responder) options(multiRegion bool) *kms.Options {
	return &kms.Options{Region: "us-east-1", MultiRegion: multiRegion, ClientFor: func(_ context.Context, region string) (kms.API, error) {
		r.regions = append(r.regions, region)
		return r, nil
	}}
}

var errResponse = errors.New("the call did not succeed")

// Flags of the fuzz targets below.
const (
	noKey     = 1 << iota // the response has no KeyId
	noKeyData             // nor a plaintext, nil
	noBlob                // nor a CiphertextBlob, nil
	fails                 // an error instead
	nothing               // neither
	multi                 // Options.MultiRegion
)

// respond returns the responder that a fuzz target's arguments stand for.
func respond(flags uint8, key string, plaintext, blob []byte) *responder {
	r := &responder{empty: flags&nothing != 0, key: &key, plaintext: bytes.Clone(plaintext), blob: bytes.Clone(blob)}
	if flags&noKey != 0 {
		r.key = nil
	}
	if flags&noKeyData != 0 {
		r.plaintext = nil
	}
	if flags&noBlob != 0 {
		r.blob = nil
	}
	if flags&fails != 0 {
		r.err = errResponse
	}
	return r
}

// named returns the key that the response names.
func (r *responder) named() string {
	if r.key == nil {
		return ""
	}
	return *r.key
}

func someKey(n int) []byte { return bytes.Repeat([]byte{1}, n) }

func isZero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

// addResponses adds seeds: each kind of identifier with the key that it could
// name and others, and data keys of all lengths that suites have.
func addResponses(f *testing.F, add func(flags uint8, id, key string, plaintext []byte)) {
	f.Helper()
	for _, id := range []string{key1, idOf(key1), "alias/a", "arn:aws:kms:us-east-1:111122223333:alias/a", mrk1, idOf(mrk1)} {
		for _, key := range []string{key1, key2, mrk1, mrk2, id, idOf(key1), "", strings.Replace(key1, "aws", "aws-cn", 1)} {
			for _, flags := range []uint8{0, multi} {
				add(flags, id, key, someKey(32))
			}
		}
	}
	for _, flags := range []uint8{noKey, noKeyData, noBlob, fails, nothing} {
		add(flags, key1, key1, someKey(32))
	}
	add(0, key1, key1, make([]byte, 32))
	for _, n := range []int{0, 16, 24, 33} {
		add(0, key1, key1, someKey(n))
	}
}

// What KMS answers to GenerateDataKey and Encrypt becomes an entry only if it
// is of the key that was asked for and whole. Else the error is a KeyError, and
// no data key is left in memory.
func FuzzGenerateResponse(f *testing.F) {
	addResponses(f, func(flags uint8, id, key string, plaintext []byte) {
		f.Add(flags, uint8(len(suite.All())-1), id, key, plaintext, []byte("blob"))
	})
	f.Fuzz(func(t *testing.T, flags, suiteAt uint8, id, key string, plaintext, blob []byte) {
		r := respond(flags, key, plaintext, blob)
		p, err := kms.New(t.Context(), []string{id}, r.options(flags&multi != 0))
		if err != nil {
			return
		}
		req := &keyprovider.Request{Suite: suite.All()[int(suiteAt)%len(suite.All())]}
		keys, err := p.MasterKeys(t.Context(), req)
		require.NoError(t, err)
		require.Len(t, keys, 1)

		answers := r.err == nil && !r.empty
		ofKey := isKeyARN(r.named()) && len(r.blob) > 0
		if region := "us-east-1"; ofKey { // that of r.options, unless id names another
			if strings.HasPrefix(id, "arn:") {
				region = regionOf(id)
			}
			ofKey = regionOf(r.named()) == region
		}
		switch {
		case strings.HasPrefix(id, "alias/") || strings.Contains(id, ":alias/") && !isKeyARN(id): // of any key there
		case strings.HasPrefix(id, "arn:"):
			ofKey = ofKey && r.named() == id
		default:
			ofKey = ofKey && strings.SplitN(r.named(), ":key/", 2)[1] == id
		}
		wantKey := answers && ofKey && len(r.plaintext) == req.Suite.KeySize() && !isZero(r.plaintext)

		edk, err := keys[0].EncryptDataKey(t.Context(), req, make([]byte, req.Suite.KeySize()))
		require.Equal(t, answers && ofKey, err == nil, "%v", err)
		if err != nil {
			requireKeyError(t, err, r, "Encrypt", id)
			require.Zero(t, edk)
		} else {
			r.requireEntry(t, edk)
		}
		dataKey, err := keys[0].GenerateDataKey(t.Context(), req)
		require.Equal(t, wantKey, err == nil, "%v", err)
		require.Equal(t, []string{id, id}, r.asked)
		if err != nil {
			requireKeyError(t, err, r, "GenerateDataKey", id)
			require.Nil(t, dataKey)
			if answers {
				require.Equal(t, make([]byte, len(r.plaintext)), append([]byte{}, r.plaintext...), "it is cleared")
			}
			return
		}
		r.requireEntry(t, dataKey.Encrypted)
		requireKeyData(t, plaintext, dataKey)

		// What was accepted decrypts, with the key that the entry names.
		back := respond(0, key, plaintext, blob)
		got, err := strict(t, back.options(false), key).DecryptDataKey(t.Context(), req, []keyprovider.EncryptedDataKey{dataKey.Encrypted})
		require.NoError(t, err)
		require.Equal(t, dataKey, got)
	})
}

// requireEntry checks that edk is what the response says.
func (r *responder) requireEntry(t *testing.T, edk keyprovider.EncryptedDataKey) {
	t.Helper()
	require.Equal(t, keyprovider.EncryptedDataKey{ProviderID: "aws-kms", ProviderInfo: []byte(r.named()), Ciphertext: r.blob}, edk)
	for _, region := range r.regions {
		require.Regexp(t, `^[a-z0-9-]{1,63}$`, region)
	}
}

// requireKeyData checks the plaintext without a failure that would print it as
// a redacted struct.
func requireKeyData(t *testing.T, want []byte, got *keyprovider.DataKey) {
	t.Helper()
	require.True(t, bytes.Equal(want, got.Plaintext))
}

// requireKeyError checks that err is a KeyError of the call and has what the
// client said.
func requireKeyError(t *testing.T, err error, r *responder, op, id string) {
	t.Helper()
	var failure *kms.KeyError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, op, failure.Op)
	require.Equal(t, id, failure.KeyID)
	if r.err != nil {
		require.ErrorIs(t, err, r.err)
	}
}

// An entry is decrypted with the response of KMS only if the provider may use
// the entry's key, KMS says that it used that key, and the data key fits the
// suite. Keys that the provider may not use are not asked for.
func FuzzDecryptResponse(f *testing.F) {
	addResponses(f, func(flags uint8, id, key string, plaintext []byte) {
		for _, stored := range []string{id, mrk2, key2} {
			f.Add(flags, uint8(len(suite.All())-1), id, stored, key, plaintext)
		}
	})
	account := []string{"111122223333"}
	f.Fuzz(func(t *testing.T, flags, suiteAt uint8, id, stored, key string, plaintext []byte) {
		req := &keyprovider.Request{Suite: suite.All()[int(suiteAt)%len(suite.All())]}
		edk := keyprovider.EncryptedDataKey{ProviderID: "aws-kms", ProviderInfo: []byte(stored), Ciphertext: []byte("blob")}
		anyRegion := flags&multi != 0

		r := respond(flags, key, plaintext, nil)
		if p, err := kms.New(t.Context(), []string{id}, r.options(anyRegion)); err == nil {
			allowed := isKeyARN(id) && isKeyARN(stored) && (stored == id || anyRegion && sameReplicas(id, stored))
			r.requireDecrypt(t, p, req, edk, allowed, id)
		}
		r = respond(flags, key, plaintext, nil)
		p := discovery(t, &kms.DiscoveryFilter{Partition: "aws", Accounts: account}, r.options(anyRegion))
		allowed := isKeyARN(stored) && strings.HasPrefix(stored, "arn:aws:") && strings.Contains(stored, ":111122223333:key/")
		asked := stored
		if allowed && anyRegion && strings.Contains(stored, ":key/mrk-") {
			asked = inRegion(stored, "us-east-1")
		}
		r.requireDecrypt(t, p, req, edk, allowed, asked)
	})
}

// inRegion returns the ARN of a key with another Region.
func inRegion(arn, region string) string {
	parts := strings.SplitN(arn, ":", 6)
	parts[3] = region
	return strings.Join(parts, ":")
}

// sameReplicas reports whether both are ARNs of one multi-Region key.
func sameReplicas(a, b string) bool {
	return strings.Contains(a, ":key/mrk-") && inRegion(a, "") == inRegion(b, "")
}

// requireDecrypt checks what p does with the entry: it asks for the key asked,
// if that is allowed, and takes only an answer that fits.
func (r *responder) requireDecrypt(t *testing.T, p keyprovider.MasterKeyProvider, req *keyprovider.Request, edk keyprovider.EncryptedDataKey, allowed bool, asked string) {
	t.Helper()
	plaintext := bytes.Clone(r.plaintext)
	got, err := p.DecryptDataKey(t.Context(), req, []keyprovider.EncryptedDataKey{edk})
	if !allowed {
		require.Empty(t, r.asked)
		require.Empty(t, r.regions)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	} else {
		require.Equal(t, []string{asked}, r.asked)
		require.Equal(t, []string{strings.Split(asked, ":")[3]}, r.regions)
	}
	answers := r.err == nil && !r.empty
	good := allowed && answers && r.named() == asked && len(r.plaintext) == req.Suite.KeySize() && !isZero(r.plaintext)
	require.Equal(t, good, err == nil, "%v", err)
	if good {
		require.Equal(t, edk, got.Encrypted)
		requireKeyData(t, plaintext, got)
		return
	}
	require.Nil(t, got)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	require.NotEmpty(t, failure.Causes)
	if allowed {
		requireKeyError(t, err, r, "Decrypt", asked)
		require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
		if answers {
			require.Equal(t, make([]byte, len(r.plaintext)), append([]byte{}, r.plaintext...), "it is cleared")
		}
	}
}
