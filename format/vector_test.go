package format_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/suite"
)

// rebuilt returns a header made from the exported fields of h alone.
func rebuilt(t testing.TB, h *format.Header) *format.Header {
	t.Helper()
	again, err := format.NewHeader(*h, func([]byte) (iv, tag []byte, err error) { return h.IV, h.Tag, nil })
	require.NoError(t, err)
	return again
}

// A parsed message is all fields of a message; contents and tags stay sealed.
type parsed struct {
	header    *format.Header
	frames    []format.FrameHeader // of a framed body
	unframed  format.UnframedHeader
	contents  [][]byte // one a frame, or that of the unframed body
	tags      [][]byte
	signed    bool
	signature []byte
}

// parse takes a message apart, to its last byte.
func parse(t testing.TB, message []byte) parsed {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	p := parsed{header: h, signed: h.Suite.Signing()}
	rest := message[len(message)-r.Len():]
	content := func(n uint64) {
		require.LessOrEqual(t, n+suite.TagSize, uint64(len(rest)))
		p.contents = append(p.contents, rest[:n])
		p.tags = append(p.tags, rest[n:n+suite.TagSize])
		rest = rest[n+suite.TagSize:]
	}
	if h.ContentType == format.Unframed {
		p.unframed, err = format.ParseUnframedHeader(rest)
		require.NoError(t, err)
		rest = rest[format.UnframedOverhead-suite.TagSize:]
		content(p.unframed.Length)
	} else {
		for final := false; !final; {
			f, err := format.ParseFrameHeader(rest, h.FrameLength)
			require.NoError(t, err)
			require.EqualValues(t, len(p.frames)+1, f.Sequence)
			p.frames = append(p.frames, f)
			rest = rest[f.Size():]
			content(uint64(f.Length))
			final = f.Final
		}
	}
	if p.signed {
		signature, size, err := format.ParseFooter(rest)
		require.NoError(t, err)
		p.signature = signature
		rest = rest[size:]
	}
	require.Empty(t, rest, "the message has bytes beyond its end")
	return p
}

// encode puts a message together from its fields.
func (p parsed) encode(t testing.TB) []byte {
	t.Helper()
	b, err := rebuilt(t, p.header).AppendBinary(nil)
	require.NoError(t, err)
	if p.header.ContentType == format.Unframed {
		b = format.AppendUnframedHeader(b, p.unframed)
		b = append(append(b, p.contents[0]...), p.tags[0]...)
	}
	for i, f := range p.frames {
		b = format.AppendFrameHeader(b, f)
		b = append(append(b, p.contents[i]...), p.tags[i]...)
	}
	if p.signed {
		b, err = format.AppendFooter(b, p.signature)
		require.NoError(t, err)
	}
	return b
}

// plaintextSize returns the length of the plaintext, which GCM does not change.
func (p parsed) plaintextSize() (n int64) {
	for _, c := range p.contents {
		n += int64(len(c))
	}
	return n
}

// roundTrip checks that the message encodes to itself from its fields, and
// that the lengths computed from its header are right.
func roundTrip(t *testing.T, message []byte) parsed {
	t.Helper()
	p := parse(t, message)
	require.Equal(t, message, p.encode(t))
	requireLengths(t, p, len(message))
	return p
}

func requireLengths(t *testing.T, p parsed, size int) {
	t.Helper()
	written := int64(size) // with a signature of the length that this module writes
	if p.signed {
		written += int64(p.header.Suite.SignatureSize() - len(p.signature))
	}
	n, err := p.header.PlaintextLength(written)
	require.NoError(t, err)
	require.Equal(t, p.plaintextSize(), n)
	n, err = p.header.MessageLength(p.plaintextSize())
	require.NoError(t, err)
	if last := len(p.frames) - 1; last >= 0 && p.frames[last].Length == p.header.FrameLength {
		n -= format.FrameOverhead // the final frame is full; this module would write an empty one after it
	}
	require.Equal(t, written, n)
}

func TestVectorPythonMessagesReencodeFromTheirFields(t *testing.T) {
	for _, m := range vectors.PythonMessages(t) {
		t.Run(m.Name, func(t *testing.T) {
			p := roundTrip(t, m.Ciphertext)
			require.Equal(t, 1, p.header.Version)
			require.EqualValues(t, len(m.Plaintext), p.plaintextSize())
			requireKeys(t, m, p.header)
		})
	}
}

func TestVectorNetMessagesReencodeFromTheirFields(t *testing.T) {
	for _, m := range vectors.NetMessages(t) {
		t.Run(m.Name, func(t *testing.T) {
			p := roundTrip(t, m.Ciphertext)
			require.EqualValues(t, len(m.Plaintext), p.plaintextSize())
			requireKeys(t, m, p.header)
			for k, v := range p.header.EncryptionContext {
				if k != format.PublicKeyField {
					require.Equal(t, m.EncryptionContext[k], v, k)
				}
			}
			if m.CMM == "Default" {
				want := len(m.EncryptionContext)
				if p.header.Suite.Signing() {
					want++
				}
				require.Len(t, p.header.EncryptionContext, want)
			}
		})
	}
}

func TestVectorCommitmentMessagesReencodeFromTheirFields(t *testing.T) {
	for _, m := range vectors.Commitment(t) {
		t.Run(m.Name, func(t *testing.T) {
			p := parse(t, m.Ciphertext)
			again := p.encode(t)
			number, _, _ := strings.Cut(m.Name, ".")
			if slices.Contains([]string{"15", "17", "19", "21"}, number) {
				// The writer did not sort the pairs. Sorted, they are the same fields in the same length.
				require.NotEqual(t, m.Ciphertext, again)
				sorted := parse(t, again)
				require.Equal(t, p.header.EncryptionContext, sorted.header.EncryptionContext)
				require.Equal(t, p.header.EncryptedDataKeys, sorted.header.EncryptedDataKeys)
				require.Equal(t, m.Ciphertext[len(m.Header):], again[len(m.Header):])
			} else {
				require.Equal(t, m.Ciphertext, again)
			}
			requireLengths(t, p, len(m.Ciphertext))
			h := p.header
			require.Equal(t, 2, h.Version)
			require.Equal(t, m.MessageID, h.MessageID)
			require.Equal(t, m.EncryptionContext, h.EncryptionContext)
			raw, err := h.AppendBinary(nil)
			require.NoError(t, err)
			require.Equal(t, m.Header, raw)
			if !m.BadCommitment {
				require.Equal(t, m.CommitKey, h.CommitKey)
				require.EqualValues(t, len(m.Plaintext), p.plaintextSize())
			}
		})
	}
}

func TestVectorDafnyMessagesReencodeFromTheirFields(t *testing.T) {
	for _, m := range vectors.DafnyMessages(t) {
		t.Run(m.Name, func(t *testing.T) {
			p := roundTrip(t, m.Ciphertext)
			h := p.header
			require.Equal(t, m.Suite, fmt.Sprintf("%04x", uint16(h.Suite)))
			require.EqualValues(t, 4096, h.FrameLength, "whatever the manifest says")
			require.EqualValues(t, len(m.Plaintext), p.plaintextSize())
			for k, v := range h.EncryptionContext {
				if reproduced, ok := m.Reproduced[k]; ok && k != format.PublicKeyField {
					require.Equal(t, v, reproduced)
				}
			}
			for i := range m.MasterKeys {
				require.True(t, slices.ContainsFunc(h.EncryptedDataKeys, func(edk format.EncryptedDataKey) bool { return isOf(&m.MasterKeys[i], edk) }),
					"%+v", h.EncryptedDataKeys)
			}
		})
	}
}

// isOf reports whether an entry is of a key with which the manifest wants the
// message to be decrypted.
func isOf(k *vectors.MasterKey, edk format.EncryptedDataKey) bool {
	info := string(edk.ProviderInfo)
	switch k.Type {
	case "raw":
		_, size, ok := strings.Cut(info, k.KeyID)
		want := 0 // of a raw RSA key, that has the name alone
		if k.Algorithm == "aes" {
			want = 8 + suite.IVSize
		}
		return edk.ProviderID == k.ProviderID && ok && strings.HasPrefix(info, k.KeyID) && len(size) == want
	case "raw-ecdh", "aws-kms-ecdh":
		// Version, then the two public keys, compressed, behind their lengths.
		recipient, sender := compressed(k.Recipient.Public), compressed(k.Sender.Public)
		want := slices.Concat([]byte{1, 0, 0, 0, byte(len(recipient))}, recipient, []byte{0, 0, 0, byte(len(sender))})
		return edk.ProviderID == k.Type && strings.HasPrefix(info, string(want)) && len(info) == len(want)+len(sender) &&
			(k.Schema == "discovery" || strings.HasSuffix(info, string(sender)))
	case "aws-kms-hierarchy":
		// Salt, IV, the version's UUID in 16 bytes, and the sealed data key.
		version := strings.ReplaceAll(k.BranchKeyVersion, "-", "")
		return edk.ProviderID == k.Type && info == k.KeyID && hex.EncodeToString(edk.Ciphertext[16+12:16+12+16]) == version
	case "aws-kms", "aws-kms-rsa":
		return edk.ProviderID == k.Type && info == k.KeyID
	case "aws-kms-mrk-aware":
		_, id, _ := strings.Cut(k.KeyID, ":key/")
		return edk.ProviderID == "aws-kms" && strings.HasPrefix(info, "arn:aws:kms:us-") && strings.HasSuffix(info, ":key/"+id)
	case "aws-kms-mrk-aware-discovery":
		return edk.ProviderID == "aws-kms" && strings.Contains(info, ":key/mrk-") && (k.Accounts == nil || strings.Contains(info, k.Accounts[0]))
	}
	return false
}

func compressed(key *ecdh.PublicKey) []byte {
	b := key.Bytes()
	curve := map[ecdh.Curve]elliptic.Curve{ecdh.P256(): elliptic.P256(), ecdh.P384(): elliptic.P384(), ecdh.P521(): elliptic.P521()}[key.Curve()]
	n := (len(b) - 1) / 2
	return elliptic.MarshalCompressed(curve, new(big.Int).SetBytes(b[1:1+n]), new(big.Int).SetBytes(b[1+n:]))
}

// requireKeys checks that every data key of the header is one of the
// manifest's. The Python manifest also names keys that its messages lack.
func requireKeys(t *testing.T, m vectors.Message, h *format.Header) {
	t.Helper()
	var ids []string
	for _, edk := range h.EncryptedDataKeys {
		i := slices.IndexFunc(m.MasterKeys, func(k vectors.MasterKey) bool {
			if k.Type == "aws-kms" {
				return edk.ProviderID == "aws-kms" && string(edk.ProviderInfo) == k.KeyID
			}
			return edk.ProviderID == k.ProviderID && bytes.HasPrefix(edk.ProviderInfo, []byte(k.KeyID))
		})
		require.GreaterOrEqual(t, i, 0, "%s %q", edk.ProviderID, edk.ProviderInfo)
		ids = append(ids, m.MasterKeys[i].KeyID)
	}
	require.Contains(t, ids, m.MasterKeys[0].KeyID)
}
