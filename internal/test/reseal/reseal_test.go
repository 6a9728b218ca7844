package reseal_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A message that was altered anywhere but in what holds it together is a good
// one after it was sealed again, and is not if a part is left out that the
// alteration broke.
func TestAlteredMessagesAreGoodAgain(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	p, err := keyprovider.NewRawAES("namespace", "name", key)
	require.NoError(t, err)
	for _, id := range suite.All() {
		c := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
		if id.Committing() {
			c.CommitmentPolicy = suite.RequireEncryptRequireDecrypt
		}
		ec := map[string]string{"stored": "value", "unstored": "other"}
		message, h, err := c.Encrypt(context.Background(), []byte("some plaintext"), p, &esdk.EncryptOptions{
			Suite: id, FrameLength: 5, EncryptionContext: ec, RequiredContextKeys: []string{"unstored"}})
		require.NoError(t, err)
		s := reseal.Sealer{Namespace: "namespace", Name: "name", Key: key, Unstored: map[string]string{"unstored": "other"}, Parts: reseal.All}
		at := bytes.Index(message, []byte("stored")) + len("stored") + 2
		altered := slices.Clone(message)
		altered[at] = 'V' // of the value
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		altered[len(raw)+16] ^= 1 // of the first frame's content

		sealed, ok := s.Message(altered)
		require.True(t, ok)
		require.Equal(t, "Value", string(sealed[at:at+5]))
		opts := &esdk.DecryptOptions{EncryptionContext: s.Unstored}
		plaintext, h, err := c.Decrypt(context.Background(), sealed, p, opts)
		require.NoError(t, err, id)
		require.Equal(t, altered[len(raw)+16:len(raw)+16+5], plaintext[:5], "what stood there is the plaintext now")
		require.Equal(t, "Value", h.EncryptionContext["stored"])
		again, ok := s.Message(altered)
		require.True(t, ok)
		require.Equal(t, sealed, again, "nothing is random")

		for part, want := range map[reseal.Parts]error{
			reseal.DataKey: nil, reseal.Commitment: esdk.ErrKeyCommitment, reseal.HeaderTag: esdk.ErrAuthentication,
			reseal.BodyTags: esdk.ErrAuthentication, reseal.Signature: esdk.ErrSignature, reseal.PublicKey: esdk.ErrSignature,
		} {
			s := s
			s.Parts &^= part
			sealed, _ := s.Message(altered)
			_, _, err := c.Decrypt(context.Background(), sealed, p, opts)
			switch {
			case part == reseal.Commitment && !id.Committing(), part >= reseal.Signature && !id.Signing(), part == reseal.PublicKey && !id.Signing():
				require.NoError(t, err)
			case want == nil:
				require.ErrorAs(t, err, new(*keyprovider.DecryptError))
			default:
				require.ErrorIs(t, err, want)
			}
		}
	}
}

// What has no outline of a header stays as it is.
func TestOtherBytesStayAsTheyAre(t *testing.T) {
	s := reseal.Sealer{Key: make([]byte, 16), Parts: reseal.All}
	for _, b := range [][]byte{nil, {1}, {3, 0}, bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 1000)} {
		got, ok := s.Message(b)
		require.False(t, ok)
		require.Equal(t, b, got)
	}
}

// The signature can be replaced by what a test makes of it.
func TestSignaturesCanBeAltered(t *testing.T) {
	key := make([]byte, 32)
	p, err := keyprovider.NewRawAES("namespace", "name", key)
	require.NoError(t, err)
	message, _, err := esdk.Encrypt(context.Background(), nil, p, nil)
	require.NoError(t, err)
	s := reseal.Sealer{Namespace: "namespace", Name: "name", Key: key, Parts: reseal.All, AlterSignature: func(der []byte) []byte { return append(der, 0) }}
	sealed, ok := s.Message(append(message, "more"...))
	require.True(t, ok)
	require.True(t, bytes.HasSuffix(sealed, []byte("\x00more")))
	_, _, err = esdk.Decrypt(context.Background(), sealed, p, nil)
	require.ErrorIs(t, err, esdk.ErrSignature)
	_, err = format.ReadHeader(bytes.NewReader(sealed), 0)
	require.NoError(t, err)
}
