package esdk_test

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// checkMessage checks what every message of this module has in common, from
// its bytes alone.
func checkMessage(t *testing.T, message []byte, id suite.ID, plaintextLength int, frameLength uint32) *format.Header {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	require.Equal(t, id, h.Suite)
	require.Equal(t, frameLength, h.FrameLength)
	if h.Version == 1 {
		require.Equal(t, make([]byte, 12), h.IV)
	}
	size, err := h.MessageLength(int64(plaintextLength))
	require.NoError(t, err)
	require.EqualValues(t, len(message), size)
	length, err := h.PlaintextLength(size)
	require.NoError(t, err)
	require.EqualValues(t, plaintextLength, length)

	rest := message[len(message)-r.Len():]
	if frameLength == 0 {
		u, err := format.ParseUnframedHeader(rest)
		require.NoError(t, err)
		require.EqualValues(t, plaintextLength, u.Length)
		require.Equal(t, [12]byte{11: 1}, u.IV)
		return h
	}
	var length64 int64
	for sequence := uint32(1); ; sequence++ {
		f, err := format.ParseFrameHeader(rest, frameLength)
		require.NoError(t, err)
		require.Equal(t, sequence, f.Sequence)
		require.Equal(t, [12]byte{8: byte(sequence >> 24), 9: byte(sequence >> 16), 10: byte(sequence >> 8), 11: byte(sequence)}, f.IV)
		length64 += int64(f.Length)
		rest = rest[f.Size()+int(f.Length)+suite.TagSize:]
		if f.Final {
			require.Less(t, f.Length, frameLength, "a full final frame is more than some old readers take")
			break
		}
	}
	require.EqualValues(t, plaintextLength, length64)
	if id.Signing() {
		_, size, err := format.ParseFooter(rest)
		require.NoError(t, err)
		rest = rest[size:]
	}
	require.Empty(t, rest)
	return h
}

// Every suite, body, length and way to write can be read in every way.
func TestRoundTrip(t *testing.T) {
	const frame = 10
	for _, id := range suite.All() {
		for _, frameLength := range []int{frame, 0} {
			t.Run(fmt.Sprintf("%v/%d", id, frameLength), func(t *testing.T) {
				t.Parallel()
				for _, n := range []int{0, 1, frame - 1, frame, frame + 1, 2 * frame, 2*frame + 3} {
					plaintext := text(n)
					ways := encryptors
					if frameLength == 0 {
						ways = ways[:1] // streams refuse
					}
					for _, e := range ways {
						message, header, err := e.run(clientFor(id), plaintext, rawAES(t), &esdk.EncryptOptions{
							Suite: id, FrameLength: int64(frameLength), Unframed: frameLength == 0,
							EncryptionContext: map[string]string{"purpose": "test", "größe": "ß"},
						})
						require.NoError(t, err, e.name)
						stored := checkMessage(t, message, id, n, uint32(frameLength))
						require.Equal(t, stored.EncryptionContext, header.EncryptionContext, e.name)
						require.Equal(t, stored.MessageID, header.MessageID, e.name)
						require.Equal(t, stored.EncryptedDataKeys, header.EncryptedDataKeys, e.name)
						for _, d := range decryptors {
							got, err := d.run(clientFor(id), message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"purpose": "test"}})
							require.NoError(t, err, "%s, %s, %d bytes", e.name, d.name, n)
							require.Equal(t, string(plaintext), string(got), "%s, %s", e.name, d.name)
						}
					}
				}
			})
		}
	}
}

// Several goroutines write messages that one reads, and the other way round,
// also at lengths where the work is split in uneven pieces.
func TestRoundTripConcurrency(t *testing.T) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, frameLength := range []int64{100, 4096, 300_000} {
			t.Run(fmt.Sprintf("%v/%d", id, frameLength), func(t *testing.T) {
				t.Parallel()
				for _, n := range []int{256 << 10, 2_100_000} {
					plaintext := text(n)
					for _, writers := range []int{1, 2, 5} {
						for i, e := range encryptors {
							if (i+writers)%2 == 0 {
								continue // the other half is for the other numbers
							}
							c := &esdk.Client{Concurrency: writers}
							message, _, err := e.run(c, plaintext, rawAES(t), &esdk.EncryptOptions{Suite: id, FrameLength: frameLength})
							require.NoError(t, err, e.name)
							d := decryptors[(i+writers)%len(decryptors)]
							if d.name == "reads of 1" || d.name == "reads of 7 from single bytes" {
								d = oneShot
							}
							got, err := d.run(&esdk.Client{Concurrency: 6 - writers}, message, rawAES(t), nil)
							require.NoError(t, err, "%s, %s", e.name, d.name)
							require.True(t, bytes.Equal(plaintext, got), "%s, %s", e.name, d.name)
						}
					}
				}
			})
		}
	}
}

// The options that are not given have the values that the documentation says.
func TestDefaults(t *testing.T) {
	for name, encrypt := range map[string]func() ([]byte, *format.Header, error){
		"Encrypt": func() ([]byte, *format.Header, error) { return esdk.Encrypt(bg, []byte("x"), rawAES(t), nil) },
		"NewEncryptReader": func() ([]byte, *format.Header, error) {
			e, err := esdk.NewEncryptReader(bg, bytes.NewReader([]byte("x")), rawAES(t), nil)
			require.NoError(t, err)
			b, err := io.ReadAll(e)
			return b, e.Header(), err
		},
		"NewEncryptWriter": func() ([]byte, *format.Header, error) {
			var b bytes.Buffer
			e, err := esdk.NewEncryptWriter(bg, &b, rawAES(t), nil)
			require.NoError(t, err)
			_, err = e.Write([]byte("x"))
			require.NoError(t, err)
			return b.Bytes(), e.Header(), e.Close()
		},
	} {
		_, h, err := encrypt()
		require.NoError(t, err, name)
		require.Equal(t, 2, h.Version)
		require.Equal(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, h.Suite)
		require.EqualValues(t, esdk.DefaultFrameLength, h.FrameLength)
		require.Len(t, h.MessageID, 32)
		require.Len(t, h.CommitKey, 32)
		require.Len(t, h.EncryptedDataKeys, 1)
		require.Len(t, h.EncryptionContext, 1, "the public key")
	}
	message, h, err := (&esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}).Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	require.Equal(t, suite.AES256GCMHKDFSHA384ECDSAP384, h.Suite)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), nil)
	require.ErrorIs(t, err, esdk.ErrCommitmentPolicy)
	_, _, err = allowAll.Decrypt(bg, message, rawAES(t), nil)
	require.NoError(t, err)
}

// An empty plaintext is a result, not the lack of one; and a nil *Client is
// the zero one.
func TestDecryptEmptyPlaintextIsNotNil(t *testing.T) {
	var c *esdk.Client
	message, _, err := c.Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	plaintext, _, err := c.Decrypt(bg, message, rawAES(t), nil)
	require.NoError(t, err)
	require.NotNil(t, plaintext)
	require.Empty(t, plaintext)
}

// Results are allocated at their size, not grown to it.
func TestResultsHaveTheirExactSize(t *testing.T) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, n := range []int{1 << 20, 3_000_000} {
			message := encrypt(t, id, text(n), esdk.EncryptOptions{})
			require.LessOrEqual(t, cap(message)-len(message), 16<<10)
			plaintext, _, err := esdk.Decrypt(bg, message, rawAES(t), nil)
			require.NoError(t, err)
			require.LessOrEqual(t, cap(plaintext)-len(plaintext), 16<<10)
		}
	}
}

// No two messages share a message ID, a data key or a signing key.
func TestMessagesShareNothing(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		_, h, err := esdk.Encrypt(bg, []byte("same"), rawAES(t), nil)
		require.NoError(t, err)
		for _, v := range []string{string(h.MessageID), string(h.CommitKey), h.EncryptionContext[format.PublicKeyField], string(h.EncryptedDataKeys[0].Ciphertext)} {
			require.False(t, seen[v])
			seen[v] = true
		}
	}
}

// The header that Encrypt and Decrypt return can be put back before the body.
func TestHeaderAppendBinaryRestoresTheMessage(t *testing.T) {
	message, written, err := esdk.Encrypt(bg, text(9000), rawAES(t), nil)
	require.NoError(t, err)
	r := bytes.NewReader(message)
	read, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	for _, h := range []*format.Header{written, read} {
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, message[:len(raw)], raw)
		d, err := esdk.NewDecryptReader(bg, io.MultiReader(bytes.NewReader(raw), bytes.NewReader(message[len(raw):])), rawAES(t), nil)
		require.NoError(t, err)
		got, err := io.ReadAll(d)
		require.NoError(t, err)
		require.Equal(t, text(9000), got)
	}
}

// What the caller gives is not changed, and changing it, or what was returned,
// later changes nothing.
func TestNothingIsShared(t *testing.T) {
	ec := map[string]string{"a": "1", "b": "2"}
	required := []string{"b"}
	plaintext := text(5000)
	e, err := esdk.NewEncryptReader(bg, bytes.NewReader(plaintext), rawAES(t), &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: required})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, ec)
	ec["a"], ec["c"], required[0] = "x", "y", "a"
	h := e.Header()
	require.Equal(t, "1", h.EncryptionContext["a"])
	require.NotContains(t, h.EncryptionContext, "c")
	clear(h.EncryptionContext)
	clear(h.MessageID)
	h.EncryptedDataKeys[0].Ciphertext[0] ^= 1
	h.FrameLength = 1
	h.Suite = 0
	message, err := io.ReadAll(e)
	require.NoError(t, err)
	got, _, err := esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}})
	require.NoError(t, err)
	require.Equal(t, plaintext, got)

	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}})
	require.NoError(t, err)
	h = d.Header()
	require.Equal(t, map[string]string{"a": "1", "b": "2", format.PublicKeyField: h.EncryptionContext[format.PublicKeyField]}, h.EncryptionContext)
	clear(h.MessageID)
	clear(h.CommitKey)
	h.FrameLength, h.Suite = 1, 0
	got, err = io.ReadAll(d)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
}

// Signatures have one length, so that a message's length is known ahead; they
// verify with the key in the encryption context.
func TestSignaturesHaveOneLength(t *testing.T) {
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		for range 50 {
			message := encrypt(t, id, []byte("x"), esdk.EncryptOptions{})
			size := id.SignatureSize()
			footer := message[len(message)-size-2:]
			require.Equal(t, []byte{0, byte(size), 0x30, byte(size - 2)}, footer[:4], "%v", id)
			h, err := format.ReadHeader(bytes.NewReader(message), 0)
			require.NoError(t, err)
			key, err := keyprovider.ParsePublicKey(id, h.EncryptionContext[format.PublicKeyField])
			require.NoError(t, err)
			digest := id.SignatureHash().New()
			digest.Write(message[:len(message)-size-2])
			require.True(t, ecdsa.VerifyASN1(key, digest.Sum(nil), footer[2:]))
		}
	}
}
