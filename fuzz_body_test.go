package esdk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A handVerdict is what the specification wants of a reader: the plaintext of
// the frames before the first fault, and the class of that; nil if there is
// none.
type handVerdict struct {
	plaintext []byte
	held      int // of its bytes, at the end, that wait for what failed
	err       error
}

// fuzzFrameLimit is what 32-bit systems can address, too.
const fuzzFrameLimit = 1 << 30

var errUnwrap = errors.New("the data key cannot be unwrapped")

// handDecrypt judges a message step by step as client-apis/decrypt.md does, with
// nothing of this module but the header's parser and the provider. unstored are
// pairs that the reader gives, and frames or bodies over fuzzFrameLimit bytes are
// too long for it.
func handDecrypt(t testing.TB, message []byte, p keyprovider.MasterKeyProvider, unstored map[string]string) handVerdict {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	if err != nil {
		return handVerdict{err: err}
	}
	if h.FrameLength > fuzzFrameLimit {
		return handVerdict{err: esdk.ErrFrameTooLong}
	}
	rest := message[len(message)-r.Len():]
	s := handSuites[uint16(h.Suite)]
	ec := map[string]string{}
	missing := map[string]string{}
	for k, v := range h.EncryptionContext {
		ec[k] = v
	}
	for k, v := range unstored {
		if stored, ok := ec[k]; ok && stored != v || !ok && strings.HasPrefix(k, format.ReservedPrefix) {
			return handVerdict{err: esdk.ErrEncryptionContext}
		} else if !ok {
			ec[k], missing[k] = v, v
		}
	}
	public, ok := ec[format.PublicKeyField]
	if ok != (s.curve != nil) {
		return handVerdict{err: esdk.ErrEncryptionContext}
	}
	var key *ecdsa.PublicKey
	if ok {
		point, err := base64.StdEncoding.Strict().DecodeString(public)
		if err != nil || base64.StdEncoding.EncodeToString(point) != public {
			return handVerdict{err: esdk.ErrEncryptionContext}
		}
		x, y := elliptic.UnmarshalCompressed(s.curve, point)
		if x == nil {
			return handVerdict{err: esdk.ErrEncryptionContext}
		}
		key = &ecdsa.PublicKey{Curve: s.curve, X: x, Y: y}
	}
	dataKey, err := p.DecryptDataKey(bg, &keyprovider.Request{Suite: h.Suite, EncryptionContext: ec}, h.EncryptedDataKeys)
	if err != nil {
		return handVerdict{err: errUnwrap}
	}
	aead, commitKey := handKeys(t, uint16(h.Suite), dataKey.Plaintext, h.MessageID)
	if !bytes.Equal(commitKey, h.CommitKey) {
		return handVerdict{err: esdk.ErrKeyCommitment}
	}
	iv := h.IV
	if h.Version == 2 {
		iv = make([]byte, 12)
	}
	all := func(string) bool { return true }
	raw, err := h.AppendBinary(nil)
	require.NoError(t, err)
	body := raw[:len(raw)-len(h.IV)-len(h.Tag)]
	if _, err := aead.Open(nil, iv, h.Tag, append(body, handContext(handPairs(missing, all))...)); err != nil {
		return handVerdict{err: esdk.ErrAuthentication}
	}

	v := handVerdict{plaintext: []byte{}}
	fail := func(err error) handVerdict { v.err = err; return v }
	for due, last := uint32(1), false; !last; due++ {
		kind, content, sequence, size := "Frame", int64(h.FrameLength), due, 16
		if h.FrameLength == 0 {
			if last, kind, size = true, "Single Block", 20; len(rest) < size {
				return fail(io.ErrUnexpectedEOF)
			}
			iv = rest[:12]
			if n := binary.BigEndian.Uint64(rest[12:]); n > 1<<36-32 {
				return fail(format.ErrMalformed)
			} else if n > fuzzFrameLimit {
				return fail(esdk.ErrFrameTooLong)
			} else {
				content = int64(n)
			}
		} else {
			if len(rest) < 24 { // whatever frame it is, more than this must follow
				return fail(io.ErrUnexpectedEOF)
			}
			sequence, iv = binary.BigEndian.Uint32(rest), rest[4:16]
			if sequence == math.MaxUint32 {
				last, kind, size = true, "Final Frame", 24
				sequence, iv, content = binary.BigEndian.Uint32(rest[4:]), rest[8:20], int64(binary.BigEndian.Uint32(rest[20:]))
			}
			if content > int64(h.FrameLength) || sequence != due {
				return fail(format.ErrMalformed)
			}
		}
		if int64(len(rest)-size) < content+16 {
			return fail(io.ErrUnexpectedEOF)
		}
		end := size + int(content) + 16
		plaintext, err := aead.Open(nil, iv, rest[size:end], handAAD(h.MessageID, kind, due, int(content)))
		if err != nil {
			return fail(esdk.ErrAuthentication)
		}
		v.plaintext, rest = append(v.plaintext, plaintext...), rest[end:]
		if last && key != nil {
			v.held = len(plaintext)
		}
	}
	if key != nil {
		signed := message[:len(message)-len(rest)]
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fail(io.ErrUnexpectedEOF)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		digest := s.hash.New()
		digest.Write(signed)
		if !ecdsa.VerifyASN1(key, digest.Sum(nil), rest[2:end]) {
			return fail(esdk.ErrSignature)
		}
		v.held, rest = 0, rest[end:]
	}
	if len(rest) > 0 {
		return fail(esdk.ErrTrailingData)
	}
	return v
}

// FuzzBody makes the tags, the commitment and the signature of altered messages
// again, so that what is altered behind the header is reached, and compares
// every way to decrypt with a reader that is written from the specification.
func FuzzBody(f *testing.F) {
	n := 0
	fuzzMessages(f, func(message []byte) {
		if n++; n%4 == 0 {
			f.Add(message, byte(reseal.All&^reseal.BodyTags), "unstored", "value")
		} else {
			f.Add(message, byte(reseal.All), "", "")
		}
	})
	for part := reseal.DataKey; part < reseal.All; part <<= 1 {
		f.Add(encrypt(f, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(25), esdk.EncryptOptions{FrameLength: 10}), byte(reseal.All&^part), "k", "v")
	}
	p := fuzzProvider(f)
	sealers := fuzzSealers(f)
	one := &esdk.Client{CommitmentPolicy: allowAll.CommitmentPolicy, Concurrency: 1}
	many := &esdk.Client{CommitmentPolicy: allowAll.CommitmentPolicy, Concurrency: 4}
	f.Fuzz(func(t *testing.T, message []byte, parts byte, unstoredKey, unstoredValue string) {
		opts := &esdk.DecryptOptions{MaxFrameLength: fuzzFrameLimit}
		if unstoredKey != "" {
			opts.EncryptionContext = map[string]string{unstoredKey: unstoredValue}
			if _, err := format.AppendEncryptionContext(nil, opts.EncryptionContext); err != nil {
				return
			}
		}
		for _, s := range sealers {
			s.Parts, s.Unstored = reseal.Parts(parts), opts.EncryptionContext
			if sealed, ok := s.Message(message); ok {
				message = sealed
				break
			}
		}
		want := handDecrypt(t, message, p, opts.EncryptionContext)
		for _, d := range append([]decryptor{oneShot}, fuzzStreams...) {
			for _, c := range []*esdk.Client{one, many} {
				got, err := d.run(c, message, p, opts)
				requireVerdict(t, d.name, want, got, err)
				requireClass(t, err, len(message))
			}
		}
		if want.err == nil {
			requireWhole(t, one, message, p, opts, want.plaintext)
		}
	})
}

// requireVerdict checks what a way to decrypt made of a message.
func requireVerdict(t *testing.T, way string, want handVerdict, released []byte, err error) {
	t.Helper()
	var unwrap *keyprovider.DecryptError
	var parse *format.ParseError
	switch {
	case want.err == nil || err == nil:
		require.Equal(t, want.err, err, way)
	case want.err == errUnwrap:
		require.ErrorAs(t, err, &unwrap, way)
	case errors.As(want.err, &parse): // the header's
		require.EqualError(t, err, "esdk: "+want.err.Error(), way)
	default:
		require.ErrorIs(t, err, want.err, way)
	}
	plaintext := want.plaintext[:len(want.plaintext)-want.held]
	if way == oneShot.name && err != nil {
		plaintext = nil
	}
	if !bytes.Equal(plaintext, released) || way == oneShot.name && err == nil && released == nil {
		t.Fatalf("%s released %d bytes, %.30q, want %d, %.30q (%v)", way, len(released), released, len(plaintext), plaintext, err)
	}
}

// fuzzSealers returns a Sealer for each of the keys of fuzzProvider.
func fuzzSealers(f *testing.F) []reseal.Sealer {
	f.Helper()
	var keys map[string]struct {
		Namespace, Name string
		AES             []byte
	}
	readJSON(f, "keys.json", &keys)
	all := []reseal.Sealer{{Namespace: "esdk test", Name: "key", Key: bytes.Repeat([]byte{7}, 32)}} // rawAES
	for _, name := range []string{"aes-256", "aes-192", "aes-128"} {
		k := keys[name]
		all = append(all, reseal.Sealer{Namespace: k.Namespace, Name: k.Name, Key: k.AES})
	}
	return all
}
