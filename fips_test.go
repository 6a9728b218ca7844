package esdk_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Under GODEBUG=fips140=only the standard library refuses AES-GCM with nonces
// of the caller's, which the message format prescribes: the error is returned.
func TestFIPS140OnlyIsAnError(t *testing.T) {
	if os.Getenv("ESDK_TEST_FIPS_ONLY") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS140OnlyIsAnError$", "-test.v")
		cmd.Env = append(os.Environ(), "ESDK_TEST_FIPS_ONLY=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestFIPS140OnlyIsAnError")
		return
	}
	_, err := keyprovider.NewRawAES("ns", "name", make([]byte, 32))
	require.ErrorContains(t, err, "FIPS 140-only")
	for _, id := range suite.All() {
		_, _, err = clientFor(id).Encrypt(bg, []byte("x"), plain{}, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "FIPS 140-only")
	}
}

// plain is a provider, and a master key, that wraps nothing.
type plain struct{}

func (plain) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{plain{}}, nil
}

func (plain) GenerateDataKey(_ context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	key := bytes.Repeat([]byte{5}, req.Suite.KeySize())
	return &keyprovider.DataKey{Plaintext: key, Encrypted: keyprovider.EncryptedDataKey{ProviderID: "plain", Ciphertext: bytes.Clone(key)}}, nil
}

func (plain) EncryptDataKey(_ context.Context, _ *keyprovider.Request, key []byte) (keyprovider.EncryptedDataKey, error) {
	return keyprovider.EncryptedDataKey{ProviderID: "plain", Ciphertext: bytes.Clone(key)}, nil
}

func (plain) DecryptDataKey(_ context.Context, _ *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return &keyprovider.DataKey{Plaintext: bytes.Clone(edks[0].Ciphertext), Encrypted: edks[0]}, nil
}
