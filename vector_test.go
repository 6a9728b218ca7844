package esdk_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// allowAll reads messages of all suites.
var allowAll = &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}

// A dataKey is a provider that knows one message's data key.
type dataKey []byte

func (k dataKey) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, keyprovider.ErrDecryptOnly
}

func (k dataKey) DecryptDataKey(_ context.Context, _ *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return &keyprovider.DataKey{Plaintext: slices.Clone(k), Encrypted: edks[0]}, nil
}

// Every published message under raw keys decrypts, in every way.
func TestVectorRawKeys(t *testing.T) {
	seen := 0
	for _, m := range vectors.NetMessages(t) {
		if m.KMS() {
			continue // package format parses them; the keys are AWS's
		}
		seen++
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			opts := &esdk.DecryptOptions{EncryptionContext: m.EncryptionContext}
			for _, d := range decryptors {
				plaintext, err := d.run(allowAll, m.Ciphertext, m.Provider(t), opts)
				require.NoError(t, err, d.name)
				require.Equal(t, m.Plaintext, plaintext, d.name)
			}
			_, header, err := allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), opts)
			require.NoError(t, err)
			for k, v := range m.EncryptionContext {
				require.Equal(t, v, header.EncryptionContext[k])
			}
			if m.CMM == "Default" || len(m.EncryptionContext) == 0 {
				_, _, err := allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), nil)
				require.NoError(t, err, "the whole context is stored")
				return
			}
			_, _, err = allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), nil)
			require.Error(t, err, "a pair that is not stored must be given")
			wrong := maps.Clone(m.EncryptionContext)
			for k := range wrong {
				wrong[k] += "x"
			}
			_, _, err = allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), &esdk.DecryptOptions{EncryptionContext: wrong})
			require.Error(t, err)
		})
	}
	require.Equal(t, 99, seen)
}

// Every published message with key commitment decrypts, in every way, but for
// those that commit to another key.
func TestVectorCommitment(t *testing.T) {
	for _, m := range vectors.Commitment(t) {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, d := range decryptors {
				plaintext, err := d.run(&esdk.Client{}, m.Ciphertext, dataKey(m.DataKey), nil)
				if m.BadCommitment {
					require.ErrorIs(t, err, esdk.ErrKeyCommitment, d.name)
					require.Empty(t, plaintext, d.name)
					continue
				}
				require.NoError(t, err, d.name)
				require.Equal(t, string(m.Plaintext), string(plaintext), d.name)
			}
			if m.BadCommitment {
				return
			}
			_, header, err := esdk.Decrypt(t.Context(), m.Ciphertext, dataKey(m.DataKey), nil)
			require.NoError(t, err)
			require.Equal(t, m.EncryptionContext, header.EncryptionContext)
			require.Equal(t, m.CommitKey, header.CommitKey)
			require.Equal(t, m.MessageID, header.MessageID)
		})
	}
}
