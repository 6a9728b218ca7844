package providertest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A breakable is a good provider, with a master key and a further one, each of whose
// methods a test can break.
type breakable struct {
	inner keyprovider.MasterKeyProvider

	masterKeys func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error)
	generate   func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error)
	encrypt    func(context.Context, *keyprovider.Request, []byte) (keyprovider.EncryptedDataKey, error)
	decrypt    func(context.Context, *keyprovider.Request, []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error)
}

func newProvider() *breakable {
	first, err := keyprovider.NewRawAES("namespace", "first", make([]byte, 32))
	if err != nil {
		panic(err)
	}
	second, err := keyprovider.NewRawAES("namespace", "second", make([]byte, 16))
	if err != nil {
		panic(err)
	}
	inner, err := keyprovider.Multi(first, second)
	if err != nil {
		panic(err)
	}
	return &breakable{inner: inner}
}

func (p *breakable) MasterKeys(ctx context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	if p.masterKeys != nil {
		return p.masterKeys(ctx, req)
	}
	keys, err := p.inner.MasterKeys(ctx, req)
	for i := range keys {
		keys[i] = &masterKey{keys[i], p}
	}
	return keys, err
}

func (p *breakable) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	if p.decrypt != nil {
		return p.decrypt(ctx, req, keys)
	}
	return p.inner.DecryptDataKey(ctx, req, keys)
}

// masterKey is a master key of a breakable. Breaks of encrypt apply to all, those
// of generate to the first.
type masterKey struct {
	keyprovider.MasterKey
	p *breakable
}

func (k *masterKey) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	if k.p.generate != nil {
		return k.p.generate(ctx, req)
	}
	return k.MasterKey.GenerateDataKey(ctx, req)
}

func (k *masterKey) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	if k.p.encrypt != nil {
		return k.p.encrypt(ctx, req, plaintext)
	}
	return k.MasterKey.EncryptDataKey(ctx, req, plaintext)
}

// innerKey returns the first master key that nothing broke.
func (p *breakable) innerKey() keyprovider.MasterKey {
	keys, err := p.inner.MasterKeys(context.Background(), request(suite.AES256GCM))
	if err != nil {
		panic(err)
	}
	return keys[0]
}

// failures returns the names of the checks that fail.
func failures(t *testing.T, c Config) []string {
	t.Helper()
	k, err := newKit(c)
	require.NoError(t, err)
	var names []string
	for _, check := range checks {
		if k.provider == nil && !check.decrypter {
			continue
		}
		if err := check.run(k, t.Context()); err != nil {
			names = append(names, check.name)
		}
	}
	return names
}

func TestGoodProviderPasses(t *testing.T) {
	Test(t, Config{Provider: newProvider()})
	require.Empty(t, failures(t, Config{Provider: newProvider()}))
}

var errBroken = errors.New("broken")

// generated lets a broken GenerateDataKey change what the good one returns.
func generated(p *breakable, change func(*keyprovider.DataKey)) {
	p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
		key, err := p.innerKey().GenerateDataKey(ctx, req)
		if err == nil {
			change(key)
		}
		return key, err
	}
}

// decrypted lets a broken DecryptDataKey change the call and the result.
func decrypted(p *breakable, before func(*keyprovider.Request, []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey,
	after func(*keyprovider.DataKey, error) (*keyprovider.DataKey, error)) {
	p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		if before != nil {
			keys = before(req, keys)
		}
		key, err := p.inner.DecryptDataKey(ctx, req, keys)
		if after != nil {
			return after(key, err)
		}
		return key, err
	}
}

func TestBrokenProviderFails(t *testing.T) {
	fixed := bytes.Repeat([]byte{1}, 64)
	for _, test := range []struct {
		name  string
		fails string // the check that must see it
		spoil func(*breakable)
	}{
		{"no master keys", "names its master keys", func(p *breakable) {
			p.masterKeys = func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) { return nil, nil }
		}},
		{"MasterKeys fails", "names its master keys", func(p *breakable) {
			p.masterKeys = func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) { return nil, errBroken }
		}},
		{"master keys beside an error", "names its master keys", func(p *breakable) {
			p.masterKeys = func(ctx context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
				keys, _ := p.inner.MasterKeys(ctx, req)
				return keys, errBroken
			}
		}},
		{"a nil master key", "names its master keys", func(p *breakable) {
			p.masterKeys = func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
				return []keyprovider.MasterKey{p.innerKey(), nil}, nil
			}
		}},
		{"a nil pointer as master key", "names its master keys", func(p *breakable) {
			p.masterKeys = func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
				return []keyprovider.MasterKey{(*masterKey)(nil)}, nil
			}
		}},
		{"GenerateDataKey returns nothing", "generates data keys that fit the suite and a header", func(p *breakable) {
			p.generate = func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) { return nil, nil }
		}},
		{"GenerateDataKey fails", "generates data keys that fit the suite and a header", func(p *breakable) {
			p.generate = func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) { return nil, errBroken }
		}},
		{"a data key beside an error", "generates data keys that fit the suite and a header", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				key, _ := p.innerKey().GenerateDataKey(ctx, req)
				return key, errBroken
			}
		}},
		{"always 32 bytes", "generates data keys that fit the suite and a header", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				other := *req
				other.Suite = suite.AES256GCM
				return p.innerKey().GenerateDataKey(ctx, &other)
			}
		}},
		{"a provider ID that is not UTF-8", "generates data keys that fit the suite and a header", func(p *breakable) {
			generated(p, func(key *keyprovider.DataKey) { key.Encrypted.ProviderID = "\xff" })
		}},
		{"a provider info too long", "generates data keys that fit the suite and a header", func(p *breakable) {
			generated(p, func(key *keyprovider.DataKey) { key.Encrypted.ProviderInfo = make([]byte, 1<<16) })
		}},
		{"the same data key always", "generates another data key each time", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				plaintext := bytes.Clone(fixed[:req.Suite.KeySize()])
				edk, err := p.innerKey().EncryptDataKey(ctx, req, plaintext)
				return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: edk}, err
			}
		}},
		{"a generated data key that is not the wrapped one", "decrypts what it generated", func(p *breakable) {
			generated(p, func(key *keyprovider.DataKey) { key.Plaintext[0] ^= 1 })
		}},
		{"DecryptDataKey returns nothing", "decrypts what it generated", func(p *breakable) {
			decrypted(p, nil, func(*keyprovider.DataKey, error) (*keyprovider.DataKey, error) { return nil, nil })
		}},
		{"DecryptDataKey does not say which entry", "decrypts what it generated", func(p *breakable) {
			decrypted(p, nil, func(key *keyprovider.DataKey, err error) (*keyprovider.DataKey, error) {
				if err == nil {
					key.Encrypted = keyprovider.EncryptedDataKey{}
				}
				return key, err
			})
		}},
		{"DecryptDataKey returns a data key beside an error", "refuses no entries and foreign ones", func(p *breakable) {
			decrypted(p, nil, func(key *keyprovider.DataKey, err error) (*keyprovider.DataKey, error) {
				if err != nil {
					return &keyprovider.DataKey{}, err
				}
				return key, nil
			})
		}},
		{"a zero key instead of an error", "refuses altered entries", func(p *breakable) {
			decrypted(p, nil, func(key *keyprovider.DataKey, err error) (*keyprovider.DataKey, error) {
				if err != nil {
					return &keyprovider.DataKey{Plaintext: make([]byte, 32)}, nil
				}
				return key, nil
			})
		}},
		{"an error of another type", "refuses no entries and foreign ones", func(p *breakable) {
			decrypted(p, nil, func(key *keyprovider.DataKey, err error) (*keyprovider.DataKey, error) {
				if err != nil {
					return nil, errBroken
				}
				return key, nil
			})
		}},
		{"EncryptDataKey encrypts something else", "decrypts what any of its master keys encrypted", func(p *breakable) {
			p.encrypt = func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
				return p.innerKey().EncryptDataKey(ctx, req, fixed[:len(plaintext)])
			}
		}},
		{"EncryptDataKey fails", "decrypts what any of its master keys encrypted", func(p *breakable) {
			p.encrypt = func(context.Context, *keyprovider.Request, []byte) (keyprovider.EncryptedDataKey, error) {
				return keyprovider.EncryptedDataKey{}, errBroken
			}
		}},
		{"the last entry first", "opens the first of its entries", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				keys = slices.Clone(keys)
				slices.Reverse(keys)
				return keys
			}, nil)
		}},
		{"only the first entry", "skips entries that are not its own", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				return keys[:min(len(keys), 1)]
			}, nil)
		}},
		{"garbage ends it", "skips entries that are not its own", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				for i, edk := range keys {
					if edk.ProviderID == "namespace" && string(edk.Ciphertext) == "providertest" {
						return keys[:i]
					}
				}
				return keys
			}, nil)
		}},
		{"bytes after the ciphertext ignored", "refuses altered entries", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				keys = slices.Clone(keys)
				for i := range keys {
					if n := len(keys[i].Ciphertext); n > 16 && keys[i].Ciphertext[n-1] == 0 {
						keys[i].Ciphertext = keys[i].Ciphertext[:n-1]
					}
				}
				return keys
			}, nil)
		}},
		{"the namespace ignored", "refuses altered entries", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				keys = slices.Clone(keys)
				for i := range keys {
					keys[i].ProviderID = "namespace"
				}
				return keys
			}, nil)
		}},
		{"a data key of any length", "refuses a data key of another length than the suite's", func(p *breakable) {
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				for _, n := range []int{req.Suite.KeySize() - 1, req.Suite.KeySize() + 1} {
					if len(keys) == 1 && len(keys[0].Ciphertext) == n+16 {
						return &keyprovider.DataKey{Plaintext: make([]byte, n), Encrypted: keys[0]}, nil
					}
				}
				return p.inner.DecryptDataKey(ctx, req, keys)
			}
		}},
		{"an encryption context that is not bound", "refuses another encryption context", func(p *breakable) {
			none := func(req *keyprovider.Request) *keyprovider.Request { return &keyprovider.Request{Suite: req.Suite} }
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				return p.innerKey().GenerateDataKey(ctx, none(req))
			}
			p.encrypt = func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
				return p.innerKey().EncryptDataKey(ctx, none(req), plaintext)
			}
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				return p.inner.DecryptDataKey(ctx, none(req), keys)
			}
		}},
		{"nil and empty contexts told apart", "treats a nil encryption context as an empty one", func(p *breakable) {
			decrypted(p, func(req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				if req.EncryptionContext == nil {
					return nil
				}
				return keys
			}, nil)
		}},
		{"a data key kept for later calls", "returns fresh slices", func(p *breakable) {
			var kept atomic.Pointer[keyprovider.DataKey]
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				if k := kept.Load(); k != nil && len(keys) == 1 && equal(keys[0], k.Encrypted) {
					return &keyprovider.DataKey{Plaintext: k.Plaintext, Encrypted: keys[0]}, nil
				}
				key, err := p.inner.DecryptDataKey(ctx, req, keys)
				if err == nil {
					kept.Store(key)
				}
				return key, err
			}
		}},
		{"a shared provider info", "returns fresh slices", func(p *breakable) {
			shared := []byte("shared key ID")
			generated(p, func(key *keyprovider.DataKey) {
				key.Encrypted.Ciphertext = append(key.Encrypted.ProviderInfo, key.Encrypted.Ciphertext...)
				key.Encrypted.ProviderInfo = shared
			})
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				inner := slices.Clone(keys)
				for i, edk := range inner {
					if n := len("first") + 20; string(edk.ProviderInfo) == "shared key ID" && len(edk.Ciphertext) > n {
						inner[i].ProviderInfo, inner[i].Ciphertext = edk.Ciphertext[:n], edk.Ciphertext[n:]
					}
				}
				return p.inner.DecryptDataKey(ctx, req, inner)
			}
		}},
		{"the request changed", "changes nothing that it is given", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				key, err := p.innerKey().GenerateDataKey(ctx, req)
				delete(req.EncryptionContext, "purpose")
				return key, err
			}
		}},
		{"the data key changed", "changes nothing that it is given", func(p *breakable) {
			p.encrypt = func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
				defer clear(plaintext)
				return p.innerKey().EncryptDataKey(ctx, req, plaintext)
			}
		}},
		{"the entries changed", "changes nothing that it is given", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				inner := slices.Clone(keys)
				slices.Reverse(keys)
				return inner
			}, nil)
		}},
		{"a wrong key if the context is done", "gives an error or the right key if the context is done", func(p *breakable) {
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				if ctx.Err() != nil {
					return &keyprovider.DataKey{Plaintext: make([]byte, req.Suite.KeySize()), Encrypted: keys[0]}, nil
				}
				return p.inner.DecryptDataKey(ctx, req, keys)
			}
		}},
		{"no data key if the context is done", "gives an error or the right key if the context is done", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				if ctx.Err() != nil {
					return nil, nil
				}
				return p.innerKey().GenerateDataKey(ctx, req)
			}
		}},
		{"a data key beside the context's error", "gives an error or the right key if the context is done", func(p *breakable) {
			p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
				key, err := p.innerKey().GenerateDataKey(ctx, req)
				if err == nil {
					err = ctx.Err()
				}
				return key, err
			}
		}},
		{"the data key kept as the ciphertext", "returns fresh slices", func(p *breakable) {
			p.encrypt = func(_ context.Context, _ *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
				return keyprovider.EncryptedDataKey{ProviderID: "clear", Ciphertext: plaintext}, nil
			}
			p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
				if len(keys) == 1 && keys[0].ProviderID == "clear" {
					return &keyprovider.DataKey{Plaintext: bytes.Clone(keys[0].Ciphertext), Encrypted: keys[0]}, nil
				}
				return p.inner.DecryptDataKey(ctx, req, keys)
			}
		}},
		{"bytes after the provider info ignored", "refuses altered entries", func(p *breakable) {
			decrypted(p, func(_ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) []keyprovider.EncryptedDataKey {
				keys = slices.Clone(keys)
				for i, edk := range keys {
					keys[i].ProviderInfo = edk.ProviderInfo[:min(len(edk.ProviderInfo), len("first")+20)]
				}
				return keys
			}, nil)
		}},
		{"a broken entry if the context is done", "gives an error or the right key if the context is done", func(p *breakable) {
			p.encrypt = func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
				if ctx.Err() != nil {
					return keyprovider.EncryptedDataKey{}, nil
				}
				return p.innerKey().EncryptDataKey(ctx, req, plaintext)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProvider()
			test.spoil(p)
			require.Contains(t, failures(t, Config{Provider: p}), test.fails)
		})
	}
}

func TestProviderForOneCallAtATimeFails(t *testing.T) {
	p := newProvider()
	var calls atomic.Int32
	second := make(chan struct{})
	p.decrypt = func(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		switch calls.Add(1) {
		case 1:
			<-second // comes only from another goroutine
		case 2:
			defer close(second)
			return nil, errBroken
		}
		return p.inner.DecryptDataKey(ctx, req, keys)
	}
	k, err := newKit(Config{Provider: p})
	require.NoError(t, err)
	require.ErrorIs(t, k.concurrently(t.Context()), errBroken)
}

func TestUnboundAllowsAnotherContext(t *testing.T) {
	p := newProvider()
	k, err := newKit(Config{Provider: p, Unbound: true})
	require.NoError(t, err)
	p.decrypt = func(_ context.Context, _ *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		return &keyprovider.DataKey{Plaintext: make([]byte, 32), Encrypted: keys[0]}, nil
	}
	require.NoError(t, k.otherContext(t.Context(), suite.AES256GCM))
	k.unbound = false
	require.Error(t, k.otherContext(t.Context(), suite.AES256GCM))
}

// decryptOnly is a provider that can only decrypt; err is what it says to encryption.
type decryptOnly struct {
	keyprovider.MasterKeyProvider
	err error
}

func (p decryptOnly) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, p.err
}

func TestDecryptOnlyProviders(t *testing.T) {
	good := decryptOnly{newProvider(), keyprovider.ErrDecryptOnly}
	require.Empty(t, failures(t, Config{Decrypter: good}))
	require.Empty(t, failures(t, Config{Provider: newProvider(), Decrypter: good}))

	const name = "says that it can only decrypt"
	silent := decryptOnly{newProvider(), nil}
	require.Equal(t, []string{name}, failures(t, Config{Decrypter: silent}))
	other := decryptOnly{newProvider(), errBroken}
	require.Equal(t, []string{name}, failures(t, Config{Decrypter: other}))
	require.Equal(t, []string{name}, failures(t, Config{Provider: newProvider(), Decrypter: other}))
	require.Equal(t, []string{name}, failures(t, Config{Decrypter: newProvider()}), "it can encrypt")

	eager := newProvider()
	eager.decrypt = func(context.Context, *keyprovider.Request, []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		return &keyprovider.DataKey{}, nil
	}
	require.Contains(t, failures(t, Config{Decrypter: decryptOnly{eager, keyprovider.ErrDecryptOnly}}), "refuses no entries and foreign ones")
}

func TestDecrypterMustOpenEveryMasterKeysEntries(t *testing.T) {
	first, err := keyprovider.NewRawAES("namespace", "first", make([]byte, 32))
	require.NoError(t, err)
	require.Equal(t, []string{"decrypts what any of its master keys encrypted", "returns fresh slices", "works from several goroutines"},
		failures(t, Config{Provider: newProvider(), Decrypter: first}))
}

func TestSuitesLimitsWhatIsAsked(t *testing.T) {
	p := newProvider()
	generated(p, func(*keyprovider.DataKey) {})
	inner := p.generate
	p.generate = func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
		if req.Suite != suite.AES256GCMHKDFSHA512CommitKey {
			return nil, errBroken
		}
		return inner(ctx, req)
	}
	require.Empty(t, failures(t, Config{Provider: p, Suites: []suite.ID{suite.AES256GCMHKDFSHA512CommitKey}}))
	require.NotEmpty(t, failures(t, Config{Provider: p}))
}

func TestConfigThatCannotBeChecked(t *testing.T) {
	manager, err := keyprovider.RequireContext(newProvider(), "key")
	require.NoError(t, err)
	for _, test := range []struct {
		name, want string
		config     Config
	}{
		{"no provider", "neither Provider nor Decrypter", Config{}},
		{"nil pointer", "nil pointer", Config{Provider: (*breakable)(nil)}},
		{"nil pointer as decrypter", "nil pointer", Config{Provider: newProvider(), Decrypter: (*breakable)(nil)}},
		{"manager", "materials manager", Config{Provider: manager}},
		{"manager as decrypter", "materials manager", Config{Provider: newProvider(), Decrypter: manager}},
		{"empty list of suites", "Suites is empty", Config{Provider: newProvider(), Suites: []suite.ID{}}},
		{"unknown suite", "unknown suite 0x0001", Config{Provider: newProvider(), Suites: []suite.ID{1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newKit(test.config)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// What Test reports can be seen only from outside the process.
func TestFailuresReachTheTest(t *testing.T) {
	const variable = "PROVIDERTEST_CHILD"
	switch os.Getenv(variable) {
	case "broken":
		p := newProvider()
		p.encrypt = func(context.Context, *keyprovider.Request, []byte) (keyprovider.EncryptedDataKey, error) {
			return keyprovider.EncryptedDataKey{}, errBroken
		}
		Test(t, Config{Provider: p})
		return
	case "manager":
		manager, err := keyprovider.RequireContext(newProvider(), "key")
		require.NoError(t, err)
		Test(t, Config{Provider: manager})
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	for child, want := range map[string]string{
		"broken":  "EncryptDataKey of master key 1: broken",
		"manager": "the provider is a materials manager",
	} {
		cmd := exec.Command(self, "-test.run=^TestFailuresReachTheTest$")
		cmd.Env = append(os.Environ(), variable+"="+child)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, child)
		require.Contains(t, string(out), "--- FAIL: TestFailuresReachTheTest", child)
		require.Contains(t, string(out), want, child)
	}
}

// A provider that gives random keys for what it cannot unwrap passes only if
// that is said, and one that gives the right key for it never.
func TestImplicitRejection(t *testing.T) {
	good, err := keyprovider.NewRawAES("namespace", "name", make([]byte, 32))
	require.NoError(t, err)
	for name, test := range map[string]struct {
		key      func(size int) []byte
		implicit bool
		says     string
	}{
		"random":      {func(size int) []byte { return bytes.Repeat([]byte{8}, size) }, true, ""},
		"not said":    {func(size int) []byte { return bytes.Repeat([]byte{8}, size) }, false, "returned a data key"},
		"the wrapped": {func(size int) []byte { return bytes.Repeat([]byte{7}, size) }, true, "returned the wrapped data key"},
	} {
		p := &implicit{MasterKeyProvider: good, key: test.key}
		k, err := newKit(Config{Provider: p, ImplicitRejection: test.implicit})
		require.NoError(t, err)
		err = each((*kit).otherLength)(k, t.Context())
		if test.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.says, name)
	}
}

// implicit gives a key of its own where the provider fails.
type implicit struct {
	keyprovider.MasterKeyProvider
	key func(size int) []byte
}

func (p *implicit) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	key, err := p.MasterKeyProvider.DecryptDataKey(ctx, req, keys)
	if err != nil && len(keys) > 0 {
		return &keyprovider.DataKey{Plaintext: p.key(req.Suite.KeySize()), Encrypted: clone(keys[0])}, nil
	}
	return key, err
}
