package keyprovider_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// encryptionMaterials asks the manager of p.
func encryptionMaterials(t testing.TB, p keyprovider.MasterKeyProvider, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	t.Helper()
	materials, err := keyprovider.Materials(p).EncryptionMaterials(t.Context(), req)
	if err != nil {
		require.Nil(t, materials)
	}
	return materials, err
}

func decryptionMaterials(t testing.TB, p keyprovider.MasterKeyProvider, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	t.Helper()
	materials, err := keyprovider.Materials(p).DecryptionMaterials(t.Context(), req)
	if err != nil {
		require.Nil(t, materials)
	}
	return materials, err
}

func TestMaterialsOfAManagerIsTheManager(t *testing.T) {
	m := &manager{}
	require.Same(t, m, keyprovider.Materials(m))
}

func TestManagerOfANilProviderFails(t *testing.T) {
	for name, p := range map[string]keyprovider.MasterKeyProvider{
		"nil": nil, "nil pointer": (*stub)(nil), "nil RawAES": (*keyprovider.RawAES)(nil), "nil RawRSA": (*keyprovider.RawRSA)(nil), "nil manager": (*manager)(nil),
	} {
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{})
		require.EqualError(t, err, "nil MasterKeyProvider", name)
		_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id})
		require.EqualError(t, err, "nil MasterKeyProvider", name)
	}
}

var policies = []suite.CommitmentPolicy{suite.RequireEncryptRequireDecrypt, suite.RequireEncryptAllowDecrypt, suite.ForbidEncryptAllowDecrypt}

func TestSuitesThatThePolicyAllowsGetMaterials(t *testing.T) {
	for _, policy := range append(policies, 3, 255) {
		for _, s := range append(suite.All(), 0x0072, 0xffff) {
			p := stubKeys("a")
			materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{CommitmentPolicy: policy, Suite: s})
			if !policy.AllowsEncrypt(s) {
				require.ErrorContains(t, err, "does not allow encryption with", "%v %v", policy, s)
				require.Zero(t, p.keyCalls)
			} else {
				require.NoError(t, err)
				require.Equal(t, s, materials.Suite)
				require.Len(t, materials.DataKey, s.KeySize())
			}

			p = &stub{dataKey: &keyprovider.DataKey{Plaintext: aesKey(s.KeySize())}}
			req := &keyprovider.DecryptionRequest{CommitmentPolicy: policy, Suite: s}
			if s.Signing() {
				req.EncryptionContext = map[string]string{format.PublicKeyField: newPublicKey(t, s)}
			}
			decrypted, err := decryptionMaterials(t, p, req)
			if !policy.AllowsDecrypt(s) {
				require.ErrorContains(t, err, "does not allow decryption of", "%v %v", policy, s)
				require.Zero(t, p.decryptions)
			} else {
				require.NoError(t, err)
				require.Equal(t, s, decrypted.Suite)
			}
		}
	}
}

func TestNoSuiteIsThePolicysDefault(t *testing.T) {
	for policy, want := range map[suite.CommitmentPolicy]suite.ID{
		suite.RequireEncryptRequireDecrypt: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384,
		suite.RequireEncryptAllowDecrypt:   suite.AES256GCMHKDFSHA512CommitKeyECDSAP384,
		suite.ForbidEncryptAllowDecrypt:    suite.AES256GCMHKDFSHA384ECDSAP384,
	} {
		materials, err := encryptionMaterials(t, stubKeys("a"), &keyprovider.EncryptionRequest{CommitmentPolicy: policy})
		require.NoError(t, err)
		require.Equal(t, want, materials.Suite)
	}
	_, err := encryptionMaterials(t, stubKeys("a"), &keyprovider.EncryptionRequest{CommitmentPolicy: 3})
	require.Error(t, err)
}

// policyFor returns a policy that allows to encrypt with s.
func policyFor(s suite.ID) suite.CommitmentPolicy {
	if s.Committing() {
		return suite.RequireEncryptRequireDecrypt
	}
	return suite.ForbidEncryptAllowDecrypt
}

func TestSigningSuitesGetAKeyPairBoundByTheContext(t *testing.T) {
	for _, s := range suite.All() {
		t.Run(s.String(), func(t *testing.T) {
			var seen map[string]string
			p := stubKeys("a")
			p.masterKeys = func(_ context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
				require.Equal(t, s, req.Suite)
				seen = req.EncryptionContext
				return p.keys, nil
			}
			ec := map[string]string{"key": "value"}
			materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{CommitmentPolicy: policyFor(s), Suite: s, EncryptionContext: ec})
			require.NoError(t, err)
			require.Equal(t, map[string]string{"key": "value"}, ec, "the caller's map is not changed")
			require.Equal(t, materials.EncryptionContext, seen, "the provider gets all pairs")
			if !s.Signing() {
				require.Nil(t, materials.SigningKey)
				require.Equal(t, ec, materials.EncryptionContext)
				return
			}
			require.Equal(t, s.Curve(), materials.SigningKey.Curve)
			require.Equal(t, map[string]string{
				"key": "value", "aws-crypto-public-key": encodePublicKey(t, &materials.SigningKey.PublicKey),
			}, materials.EncryptionContext)

			again, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{CommitmentPolicy: policyFor(s), Suite: s})
			require.NoError(t, err)
			require.False(t, materials.SigningKey.Equal(again.SigningKey), "each message has a key pair of its own")
			require.Len(t, again.EncryptionContext, 1, "also with no context")
		})
	}
}

func TestPublicKeyInTheCallersContextFailsForEverySuite(t *testing.T) {
	for _, s := range suite.All() {
		p := stubKeys("a")
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{
			CommitmentPolicy: policyFor(s), Suite: s, EncryptionContext: map[string]string{"aws-crypto-public-key": "x"},
		})
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.Zero(t, p.keyCalls)
	}
}

func TestRequiredKeysMustBeInTheContext(t *testing.T) {
	req := &keyprovider.EncryptionRequest{
		EncryptionContext: map[string]string{"a": "1", "b": ""}, RequiredContextKeys: []string{"a", "b"},
	}
	materials, err := encryptionMaterials(t, stubKeys("a"), req)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, materials.RequiredContextKeys)
	require.Equal(t, "1", materials.EncryptionContext["a"])

	for _, missing := range []string{"c", "A", "", "aws-crypto-public-key"} {
		p := stubKeys("a")
		req.RequiredContextKeys = []string{"a", missing}
		_, err = encryptionMaterials(t, p, req)
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.ErrorContains(t, err, fmt.Sprintf("the required key %q is missing", missing))
		require.Zero(t, p.keyCalls)
	}
}

func TestFirstKeyGeneratesAndTheOthersEncryptInOrder(t *testing.T) {
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("key ", i))
	}
	p := stubKeys(names...)
	for i, k := range p.keys {
		k.(*stubKey).generate = func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) {
			require.Zero(t, i, "only the first generates")
			return &keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: keyprovider.EncryptedDataKey{ProviderID: names[0], Ciphertext: aesKey(32)}}, nil
		}
	}
	materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err)
	require.Equal(t, 1, p.keyCalls)
	require.Equal(t, aesKey(32), materials.DataKey)
	require.Len(t, materials.EncryptedDataKeys, 40)
	for i, edk := range materials.EncryptedDataKeys {
		require.Equal(t, keyprovider.EncryptedDataKey{ProviderID: names[i], Ciphertext: aesKey(32)}, edk)
	}
}

func TestProviderThatGivesNoUsableKeysFails(t *testing.T) {
	for name, test := range map[string]struct {
		p    *stub
		want string
	}{
		"error":             {&stub{keysErr: errBroken}, "broken"},
		"none":              {&stub{}, "the provider has no master key"},
		"nil":               {&stub{keys: []keyprovider.MasterKey{nil}}, "the provider has a nil master key"},
		"nil further key":   {&stub{keys: []keyprovider.MasterKey{&stubKey{}, nil}}, "the provider has a nil master key"},
		"nil pointer":       {&stub{keys: []keyprovider.MasterKey{(*stubKey)(nil)}}, "the provider has a nil master key"},
		"nil further RSA":   {&stub{keys: []keyprovider.MasterKey{&stubKey{}, (*keyprovider.RawRSA)(nil)}}, "the provider has a nil master key"},
		"65536 master keys": {&stub{keys: make([]keyprovider.MasterKey, 1<<16)}, "too many encrypted data keys"},
	} {
		_, err := encryptionMaterials(t, test.p, &keyprovider.EncryptionRequest{Suite: id})
		require.ErrorContains(t, err, test.want, name)
	}
}

func TestKeyLimitIsCheckedBeforeAnyKeyIsCalled(t *testing.T) {
	never := func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) {
		t.Error("a key was called")
		return nil, errBroken
	}
	p := stubKeys("a", "b", "c")
	for _, limit := range []int{0, 3, 4} {
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, MaxEncryptedDataKeys: limit})
		require.NoError(t, err)
	}
	p.keys[0].(*stubKey).generate = never
	for _, limit := range []int{1, 2} {
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, MaxEncryptedDataKeys: limit})
		require.ErrorIs(t, err, format.ErrTooManyDataKeys)
	}
}

// generating returns a provider whose first key generates what key returns.
func generating(key *keyprovider.DataKey, err error) *stub {
	return &stub{keys: []keyprovider.MasterKey{
		&stubKey{generate: func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) { return key, err }},
	}}
}

func TestGeneratedKeyIsChecked(t *testing.T) {
	_, err := encryptionMaterials(t, generating(nil, errBroken), &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorIs(t, err, errBroken)
	_, err = encryptionMaterials(t, generating(nil, nil), &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorContains(t, err, "no data key and no error")
	for _, n := range []int{0, 16, 31, 33} {
		key := &keyprovider.DataKey{Plaintext: aesKey(n)}
		_, err = encryptionMaterials(t, generating(key, nil), &keyprovider.EncryptionRequest{Suite: id})
		require.ErrorContains(t, err, fmt.Sprintf("a data key of %d bytes", n))
		require.Equal(t, make([]byte, n), key.Plaintext, "it is cleared")
	}
}

func TestDecryptedKeyIsChecked(t *testing.T) {
	req := &keyprovider.DecryptionRequest{Suite: id}
	_, err := decryptionMaterials(t, &stub{decryptErr: errBroken}, req)
	require.ErrorIs(t, err, errBroken)
	_, err = decryptionMaterials(t, &stub{}, req)
	require.ErrorContains(t, err, "no data key and no error")
	for _, n := range []int{0, 16, 31, 33} {
		key := &keyprovider.DataKey{Plaintext: aesKey(n)}
		_, err = decryptionMaterials(t, &stub{dataKey: key}, req)
		require.ErrorContains(t, err, fmt.Sprintf("a data key of %d bytes", n))
		require.Equal(t, make([]byte, n), key.Plaintext, "it is cleared")
	}
}

// A furtherKeys is a provider whose first key generates generated, and whose
// further ones run encrypt with their index from 0.
type furtherKeys struct {
	*stub
	generated *keyprovider.DataKey
}

func newFurtherKeys(n int, encrypt func(ctx context.Context, i int) error) furtherKeys {
	p := furtherKeys{&stub{}, &keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: keyprovider.EncryptedDataKey{ProviderID: "generated", Ciphertext: []byte{1}}}}
	p.keys = []keyprovider.MasterKey{&stubKey{generate: func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) {
		return p.generated, nil
	}}}
	for i := range n {
		p.keys = append(p.keys, &stubKey{encrypt: func(ctx context.Context, _ *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
			if !bytes.Equal(plaintext, aesKey(32)) {
				return keyprovider.EncryptedDataKey{}, errors.New("another data key")
			}
			return keyprovider.EncryptedDataKey{ProviderID: fmt.Sprint(i), Ciphertext: []byte{1}}, encrypt(ctx, i)
		}})
	}
	return p
}

func TestFurtherKeysEncryptAtTheSameTimeAndKeepTheirOrder(t *testing.T) {
	const n = 8
	var all sync.WaitGroup
	all.Add(n)
	ends := make([]chan struct{}, n+1)
	for i := range ends {
		ends[i] = make(chan struct{})
	}
	close(ends[n])
	p := newFurtherKeys(n, func(_ context.Context, i int) error {
		all.Done()
		all.Wait()  // until all have begun
		<-ends[i+1] // and they end from the last to the first
		close(ends[i])
		return nil
	})
	materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err)
	require.Len(t, materials.EncryptedDataKeys, n+1)
	require.Equal(t, "generated", materials.EncryptedDataKeys[0].ProviderID)
	for i, edk := range materials.EncryptedDataKeys[1:] {
		require.Equal(t, fmt.Sprint(i), edk.ProviderID)
	}
	require.Equal(t, aesKey(32), materials.DataKey)
}

func TestFirstFailureCancelsTheOthersAndAllAreAwaited(t *testing.T) {
	const n = 8
	var begun sync.WaitGroup
	begun.Add(n)
	var ended atomic.Int32
	p := newFurtherKeys(n, func(ctx context.Context, i int) error {
		begun.Done()
		begun.Wait()
		defer ended.Add(1)
		if i == 5 {
			return errBroken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "master key 7: broken")
	require.NotErrorIs(t, err, context.Canceled)
	require.EqualValues(t, n, ended.Load(), "no key is still at work")
	require.Equal(t, make([]byte, 32), p.generated.Plaintext, "the data key is cleared")
}

// Not the cause that the caller gave cancel, which is no error of a context.
func TestTheErrorOfADoneContextIsThatOfTheFurtherKeys(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p := newFurtherKeys(2, func(ctx context.Context, i int) error {
		cancel(errBroken)
		<-ctx.Done()
		return ctx.Err()
	})
	materials, err := keyprovider.Materials(p).EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
	require.Nil(t, materials)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, errBroken)
	require.EqualError(t, err, "master key 2: context canceled", "what it ended")
}

func TestAContextThatThePublicKeyMakesTooLongCallsNoProvider(t *testing.T) {
	p := stubKeys("one")
	ec := map[string]string{"k": strings.Repeat("v", 65_500)}
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, EncryptionContext: ec})
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	require.ErrorContains(t, err, "too long together with the aws-crypto-public-key")
	require.Zero(t, p.keyCalls)
}

func TestAFailureStartsNoFurtherKeys(t *testing.T) {
	var calls atomic.Int32
	p := newFurtherKeys(1000, func(ctx context.Context, i int) error {
		calls.Add(1)
		if i == 0 {
			return errBroken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorIs(t, err, errBroken)
	require.Less(t, calls.Load(), int32(100))
}

func TestFurtherKeysAreCalledABoundedNumberAtATime(t *testing.T) {
	var now, most atomic.Int32
	p := newFurtherKeys(500, func(context.Context, int) error {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		now.Add(-1)
		return nil
	})
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err)
	require.LessOrEqual(t, most.Load(), int32(16))
}

func TestDoneContextEndsFurtherKeysAndClearsTheDataKey(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newFurtherKeys(4, func(ctx context.Context, i int) error {
		if i == 0 {
			cancel()
		}
		<-ctx.Done()
		return fmt.Errorf("call: %w", ctx.Err())
	})
	materials, err := keyprovider.Materials(p).EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
	require.Nil(t, materials)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, make([]byte, 32), p.generated.Plaintext)
}

func TestContextReachesProviderAndKeys(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	see := func(got context.Context) { require.Equal(t, "value", got.Value(key{})) }
	p := newFurtherKeys(2, func(ctx context.Context, _ int) error { see(ctx); return nil })
	keys := p.keys
	p.masterKeys = func(ctx context.Context, _ *keyprovider.Request) ([]keyprovider.MasterKey, error) {
		see(ctx)
		return keys, nil
	}
	p.decrypt = func(ctx context.Context, _ *keyprovider.Request, _ []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		see(ctx)
		return &keyprovider.DataKey{Plaintext: aesKey(32)}, nil
	}
	_, err := keyprovider.Materials(p).EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err)
	_, err = keyprovider.Materials(p).DecryptionMaterials(ctx, &keyprovider.DecryptionRequest{Suite: id})
	require.NoError(t, err)
}

// newPublicKey returns the encoded public key of a new pair for the suite.
func newPublicKey(t testing.TB, s suite.ID) string {
	t.Helper()
	policy := policyFor(s)
	materials, err := encryptionMaterials(t, stubKeys("a"), &keyprovider.EncryptionRequest{CommitmentPolicy: policy, Suite: s})
	require.NoError(t, err)
	return materials.EncryptionContext[format.PublicKeyField]
}

func TestDecryptionMaterials(t *testing.T) {
	const signing = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	public := newPublicKey(t, signing)
	entries := []keyprovider.EncryptedDataKey{{ProviderID: "x", Ciphertext: []byte("1")}, {ProviderID: "y", Ciphertext: []byte("2")}}
	all := map[string]string{"stored": "1", "both": "2", "z": "3", "b": "4", format.PublicKeyField: public}
	key := &keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: entries[1]}
	p := &stub{decrypt: func(_ context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		require.Equal(t, signing, req.Suite)
		require.Equal(t, all, req.EncryptionContext, "the provider gets all pairs")
		require.Equal(t, entries, keys)
		return key, nil
	}}
	stored := map[string]string{"stored": "1", "both": "2", format.PublicKeyField: public}
	reproduced := map[string]string{"both": "2", "z": "3", "b": "4"}
	materials, err := decryptionMaterials(t, p, &keyprovider.DecryptionRequest{
		Suite: signing, EncryptedDataKeys: entries, EncryptionContext: stored, ReproducedContext: reproduced,
	})
	require.NoError(t, err)
	require.Equal(t, 1, p.decryptions)
	require.Equal(t, signing, materials.Suite)
	require.Equal(t, aesKey(32), materials.DataKey)
	require.Equal(t, all, materials.EncryptionContext)
	require.Equal(t, []string{"b", "z"}, materials.RequiredContextKeys)
	require.Equal(t, &entries[1], materials.OpenedBy)
	require.Equal(t, public, encodePublicKey(t, materials.VerificationKey))
	require.Equal(t, map[string]string{"stored": "1", "both": "2", format.PublicKeyField: public}, stored, "not changed")
	require.Equal(t, map[string]string{"both": "2", "z": "3", "b": "4"}, reproduced, "not changed")
}

func TestDecryptionMaterialsOfAnUnsignedSuiteHaveNoVerificationKey(t *testing.T) {
	materials, err := decryptionMaterials(t, &stub{dataKey: &keyprovider.DataKey{Plaintext: aesKey(32)}}, &keyprovider.DecryptionRequest{Suite: id})
	require.NoError(t, err)
	require.Nil(t, materials.VerificationKey)
	require.Nil(t, materials.OpenedBy, "the provider did not say")
	require.Empty(t, materials.RequiredContextKeys)
}

func TestDecryptionRequestContext(t *testing.T) {
	const signing, unsigned = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, suite.AES256GCMHKDFSHA512CommitKey
	const public = format.PublicKeyField
	type pairs = map[string]string
	for _, test := range []struct {
		name               string
		suite              suite.ID
		stored, reproduced pairs
		want               pairs
		added              []string
		fails              string
	}{
		{"nothing", unsigned, nil, nil, nil, nil, ""},
		{"stored only", unsigned, pairs{"a": "1"}, nil, pairs{"a": "1"}, nil, ""},
		{"equal", unsigned, pairs{"a": "1"}, pairs{"a": "1"}, pairs{"a": "1"}, nil, ""},
		{"reproduced only", unsigned, nil, pairs{"b": "2", "a": "1"}, pairs{"a": "1", "b": "2"}, []string{"a", "b"}, ""},
		{"both", unsigned, pairs{"b": "2"}, pairs{"b": "2", "c": "3", "a": "1"}, pairs{"a": "1", "b": "2", "c": "3"}, []string{"a", "c"}, ""},
		{"signed", signing, pairs{public: "x"}, pairs{"a": ""}, pairs{public: "x", "a": ""}, []string{"a"}, ""},
		{"reserved key that is stored", signing, pairs{public: "x"}, pairs{public: "x"}, pairs{public: "x"}, nil, ""},
		{"other reserved key that is stored", unsigned, pairs{"aws-crypto-x": "1"}, pairs{"aws-crypto-x": "1"}, pairs{"aws-crypto-x": "1"}, nil, ""},

		{"another value", unsigned, pairs{"a": "secret1"}, pairs{"a": "secret2"}, nil, nil, `another value for the key "a"`},
		{"empty value", unsigned, pairs{"a": "1"}, pairs{"a": ""}, nil, nil, `another value for the key "a"`},
		{"another public key", signing, pairs{public: "x"}, pairs{public: "y"}, nil, nil, `another value for the key "aws-crypto-public-key"`},
		{"reserved key that is not stored", unsigned, nil, pairs{"aws-crypto-x": "1"}, nil, nil, `does not store the reserved key "aws-crypto-x"`},
		{"no public key in a signed message", signing, pairs{"a": "1"}, nil, nil, nil, "the key aws-crypto-public-key of a signed message is missing"},
		{"no context in a signed message", signing, nil, nil, nil, nil, "the key aws-crypto-public-key of a signed message is missing"},
		{"reproduced public key", signing, nil, pairs{public: "x"}, nil, nil, "the key aws-crypto-public-key of a signed message is missing"},
		{"public key in an unsigned message", unsigned, pairs{public: "x"}, nil, nil, nil, "there is a key aws-crypto-public-key, but the suite does not sign"},
		{"public key in an unsigned message, reproduced", unsigned, pairs{public: "x"}, pairs{public: "x"}, nil, nil, "but the suite does not sign"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := &keyprovider.DecryptionRequest{Suite: test.suite, EncryptionContext: test.stored, ReproducedContext: test.reproduced}
			ec, added, err := req.Context()
			if test.fails != "" {
				require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
				require.ErrorContains(t, err, test.fails)
				require.NotContains(t, err.Error(), "secret")
				require.Nil(t, ec)
				require.Nil(t, added)
				p := &stub{}
				_, err := decryptionMaterials(t, p, req)
				require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
				require.Zero(t, p.decryptions)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, ec)
			require.Equal(t, test.added, added)
		})
	}
}

func encodePublicKey(t *testing.T, key *ecdsa.PublicKey) string {
	t.Helper()
	text, err := keyprovider.EncodePublicKey(key)
	require.NoError(t, err)
	return text
}

func TestPublicKeyThatIsNoneFails(t *testing.T) {
	for _, key := range []*ecdsa.PublicKey{
		nil,
		{},
		{Curve: elliptic.P384()},
		{Curve: elliptic.P384(), X: big.NewInt(1)},
		{Curve: elliptic.P384(), X: big.NewInt(1), Y: big.NewInt(1)},
	} {
		text, err := keyprovider.EncodePublicKey(key)
		require.Error(t, err)
		require.Empty(t, text)
	}
}

func TestPublicKeyCodec(t *testing.T) {
	// Written by the SDK for JavaScript, from commitment-test-vectors.json.
	const published = "AhGCxFc6Os7i62uzi0GJy4xNbfcC9QTsQhdioOhLHJIAuqbZiOJhhB1/AoyTL+1Ocg=="
	key, err := keyprovider.ParsePublicKey(suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, published)
	require.NoError(t, err)
	require.Equal(t, published, encodePublicKey(t, key))

	for _, s := range suite.All() {
		if !s.Signing() {
			key, err := keyprovider.ParsePublicKey(s, published)
			require.Nil(t, key)
			require.ErrorContains(t, err, "does not sign")
			continue
		}
		text := newPublicKey(t, s)
		require.Len(t, text, map[string]int{"P-256": 44, "P-384": 68}[s.Curve().Params().Name])
		key, err := keyprovider.ParsePublicKey(s, text)
		require.NoError(t, err)
		require.Equal(t, s.Curve(), key.Curve)
		require.Equal(t, text, encodePublicKey(t, key))
	}
}

func TestMalformedPublicKeyFails(t *testing.T) {
	const p256, p384 = suite.AES128GCMHKDFSHA256ECDSAP256, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	good := newPublicKey(t, p384)
	for name, test := range map[string]struct {
		suite suite.ID
		text  string
	}{
		"empty":                    {p384, ""},
		"not Base64":               {p384, "!" + good[1:]},
		"not padded":               {p256, newPublicKey(t, p256)[:43]},
		"too short":                {p384, good[:64]},
		"too long":                 {p384, good + "AAAA"},
		"of another curve":         {p256, good},
		"of the other curve":       {p384, newPublicKey(t, p256)},
		"point at infinity":        {p384, "AA=="},
		"not compressed":           {p384, "BB" + good[2:]},
		"first byte 0":             {p384, "AB" + good[2:]},
		"x beyond the field":       {p256, "Av//////////////////////////////////////////"},
		"x that is on no point":    {p256, "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC"},
		"text in place of a point": {p384, "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := keyprovider.ParsePublicKey(test.suite, test.text)
			require.Nil(t, key)
			require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
			p := &stub{}
			_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{
				Suite: test.suite, CommitmentPolicy: suite.RequireEncryptAllowDecrypt,
				EncryptionContext: map[string]string{format.PublicKeyField: test.text},
			})
			require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
			require.Zero(t, p.decryptions, "no key is called")
		})
	}
}

func TestParsedPublicKeyVerifies(t *testing.T) {
	const s = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	materials, err := encryptionMaterials(t, stubKeys("a"), &keyprovider.EncryptionRequest{Suite: s})
	require.NoError(t, err)
	digest := make([]byte, 48)
	signature, err := ecdsa.SignASN1(rand.Reader, materials.SigningKey, digest)
	require.NoError(t, err)
	key, err := keyprovider.ParsePublicKey(s, materials.EncryptionContext[format.PublicKeyField])
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(key, digest, signature))
}
