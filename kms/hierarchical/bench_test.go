package hierarchical_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/suite"
)

// BenchmarkHierarchical is messages of 1 KiB under a branch key that is cached,
// beside those under a raw AES key of the program:
//
//	go test -run '^$' -bench Hierarchical -cpu 1 -count 10 ./kms/hierarchical | benchstat -col /provider -
func BenchmarkHierarchical(b *testing.B) {
	aes, err := keyprovider.NewRawAES("namespace", "name", make([]byte, 32))
	require.NoError(b, err)
	providers := []struct {
		name string
		p    keyprovider.MasterKeyProvider
	}{
		{"AES", aes},
		{"hierarchical", newProvider(b, newBranchKeys("key"), hierarchical.Options{})},
	}
	plaintext := make([]byte, 1024)
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, suite.AES256GCMHKDFSHA512CommitKey} {
		opts := &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"tenant": "42", "table": "orders"}}
		for _, provider := range providers {
			message, _, err := esdk.Encrypt(b.Context(), plaintext, provider.p, opts)
			require.NoError(b, err)
			b.Run(fmt.Sprintf("encrypt/suite=%04x/provider=%s", uint16(id), provider.name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(plaintext)))
				for b.Loop() {
					if _, _, err := esdk.Encrypt(b.Context(), plaintext, provider.p, opts); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("decrypt/suite=%04x/provider=%s", uint16(id), provider.name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(plaintext)))
				for b.Loop() {
					if _, _, err := esdk.Decrypt(b.Context(), message, provider.p, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
