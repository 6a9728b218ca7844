package kms

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"
)

// The clients of all Regions share their connections: those of a Region that a
// hostile message names are not kept, and would leave connections behind.
func TestClientsOfAConfigShareTheirConnections(t *testing.T) {
	t.Parallel()
	s, err := newService(t.Context(), &Options{Config: &aws.Config{Region: "us-east-1"}})
	require.NoError(t, err)
	var first aws.HTTPClient
	for _, region := range []string{"us-east-1", "eu-west-1", "us-east-1"} {
		api, err := s.clientFor(t.Context(), region)
		require.NoError(t, err)
		o := api.(*awskms.Client).Options()
		require.Equal(t, region, o.Region)
		require.NotNil(t, o.HTTPClient)
		if first == nil {
			first = o.HTTPClient
		}
		require.Same(t, first, o.HTTPClient)
	}
}

func TestDataKeysAreClearedAfterRSAEncryption(t *testing.T) {
	t.Parallel()
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := RSA{pub: &priv.PublicKey, algorithm: OAEPSHA256}
	for _, size := range []int{80, 300} { // too long to be encrypted
		bound := bytes.Repeat([]byte{1}, size)
		ciphertext, err := p.seal(bound)
		require.Equal(t, size == 80, err == nil)
		require.Equal(t, size == 80, len(ciphertext) == 256)
		require.Equal(t, make([]byte, size), bound)
	}
}
