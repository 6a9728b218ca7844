package keyprovider_test

import (
	"context"

	"github.com/esdk-go/esdk/keyprovider"
)

// A stub is a provider that does what its test says. Functions that are nil
// return what the fields beside them hold.
type stub struct {
	keys        []keyprovider.MasterKey
	keysErr     error
	masterKeys  func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error)
	dataKey     *keyprovider.DataKey
	decryptErr  error
	decrypt     func(context.Context, *keyprovider.Request, []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error)
	keyCalls    int
	decryptions int
}

func (p *stub) MasterKeys(ctx context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	p.keyCalls++
	if p.masterKeys != nil {
		return p.masterKeys(ctx, req)
	}
	return p.keys, p.keysErr
}

func (p *stub) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	p.decryptions++
	if p.decrypt != nil {
		return p.decrypt(ctx, req, keys)
	}
	return p.dataKey, p.decryptErr
}

// A stubKey is a master key that does what its test says; by default its
// entries are named after it and hold the data key in the clear.
type stubKey struct {
	name     string
	generate func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error)
	encrypt  func(context.Context, *keyprovider.Request, []byte) (keyprovider.EncryptedDataKey, error)
}

func (k *stubKey) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	if k.generate != nil {
		return k.generate(ctx, req)
	}
	plaintext := aesKey(req.Suite.KeySize())
	edk, err := k.EncryptDataKey(ctx, req, plaintext)
	return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: edk}, err
}

func (k *stubKey) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	if k.encrypt != nil {
		return k.encrypt(ctx, req, plaintext)
	}
	return keyprovider.EncryptedDataKey{ProviderID: k.name, Ciphertext: append([]byte(nil), plaintext...)}, nil
}

// stubKeys returns a provider of master keys with these names.
func stubKeys(names ...string) *stub {
	p := &stub{}
	for _, name := range names {
		p.keys = append(p.keys, &stubKey{name: name})
	}
	return p
}
