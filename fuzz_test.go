package esdk_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// fuzzMessages adds the messages that seed what decrypts: ours, and those of
// testdata/peers, good and altered, that are small and have a raw AES key.
func fuzzMessages(f *testing.F, add func(message []byte)) {
	f.Helper()
	for _, id := range suite.All() {
		for _, n := range []int{0, 10, 25} {
			add(encrypt(f, id, text(n), esdk.EncryptOptions{FrameLength: 10, EncryptionContext: map[string]string{"k": "v"}}))
		}
		add(encrypt(f, id, text(25), esdk.EncryptOptions{Unframed: true}))
	}
	long := encrypt(f, suite.AES256GCMHKDFSHA512CommitKey, text(600), esdk.EncryptOptions{FrameLength: 1})
	add(long)
	add(append(slices.Clone(long), 0))
	add([]byte("AYADeA=="))
	for _, name := range []string{"messages.json", "altered.json"} {
		seen := map[string]bool{}
		for _, m := range peerMessages(f, name) {
			what := m.Name[strings.LastIndex(m.Name, ",")+1:]
			class := fmt.Sprint(m.Suite, len(m.Keys), m.FrameLength == 0, what)
			if name == "messages.json" {
				sdk, _, _ := strings.Cut(m.Peer, "-") // whatever its version
				class += sdk
			}
			if seen[class] || len(m.Message) > 1000 || !strings.HasPrefix(m.Keys[0], "aes") {
				continue
			}
			seen[class] = true
			add(m.Message)
		}
	}
}

// fuzzProvider opens every message of fuzzMessages but those with required keys.
func fuzzProvider(f *testing.F) keyprovider.MasterKeyProvider {
	f.Helper()
	keys := peerKeys(f)
	p, err := keyprovider.Multi(rawAES(f), keys["aes-256"], keys["aes-192"], keys["aes-128"])
	require.NoError(f, err)
	return p
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

// fuzzStreams are the ways to decrypt a stream that fuzz targets compare.
var fuzzStreams = []decryptor{
	reader("reads of 1", asIs, 1),
	reader("reads of 5 from halves", iotest.HalfReader, 5),
	reader("reads of 1 MiB", asIs, 1<<20),
	reader("reads of 100 from data with EOF", iotest.DataErrReader, 100),
	writerTo("WriteTo", asIs),
}

// fuzzNET400 is the bit, beside those of reseal.Parts, that has messages sealed as
// version 4.0.0 of the AWS Encryption SDK for .NET did it.
const fuzzNET400 = byte(reseal.All) + 1

// FuzzDecrypt opens altered messages in every way, with one goroutine and with
// several: none panics, and all come to the verdict of a reader that was written
// from the specification and release what it does. The tags, the commitment and
// the signature are made again where parts says so, so that what is altered
// behind the header is reached. What was accepted has the lengths that its
// header says, and is refused as soon as a byte is missing or follows.
func FuzzDecrypt(f *testing.F) {
	n := 0
	fuzzMessages(f, func(message []byte) {
		n++
		if full() || n%2 == 0 {
			f.Add(message, byte(0), "", "")
		}
		if n%8 == 3 {
			f.Add(message, byte(reseal.All)|fuzzNET400, "", "")
		}
		if n%4 == 1 {
			f.Add(message, byte(reseal.All&^reseal.BodyTags), "unstored", "value")
		} else if full() || n%2 == 1 {
			f.Add(message, byte(reseal.All), "", "")
		}
	})
	for part := reseal.DataKey; part < reseal.All; part <<= 1 {
		f.Add(encrypt(f, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(25), esdk.EncryptOptions{FrameLength: 10}), byte(reseal.All&^part), "k", "v")
	}
	p := fuzzProvider(f)
	sealers := fuzzSealers(f)
	clients := []*esdk.Client{
		{CommitmentPolicy: allowAll.CommitmentPolicy, Concurrency: 1},
		{CommitmentPolicy: allowAll.CommitmentPolicy, Concurrency: 4},
	}
	f.Fuzz(func(t *testing.T, message []byte, parts byte, unstoredKey, unstoredValue string) {
		t.Parallel()
		opts := &esdk.DecryptOptions{MaxFrameLength: fuzzFrameLimit}
		if unstoredKey != "" {
			opts.EncryptionContext = map[string]string{unstoredKey: unstoredValue}
			if _, err := format.AppendEncryptionContext(nil, opts.EncryptionContext); err != nil {
				return
			}
		}
		for _, s := range sealers {
			s.Parts, s.NET400, s.Unstored = reseal.Parts(parts)&reseal.All, parts&fuzzNET400 != 0, opts.EncryptionContext
			if sealed, ok := s.Message(message); ok {
				message = sealed
				break
			}
		}
		verdict := judge(t, message, p, opts.EncryptionContext)
		want, wantErr := oneShot.run(clients[0], message, p, opts)
		requireVerdict(t, oneShot.name, verdict, want, wantErr)
		requireClass(t, wantErr, len(message))
		for i, d := range append([]decryptor{oneShot}, fuzzStreams...) {
			for _, c := range turn(clients, 1+i+len(message)) {
				got, err := d.run(c, message, p, opts)
				requireVerdict(t, d.name, verdict, got, err)
				requireClass(t, err, len(message))
				if fmt.Sprint(err) != fmt.Sprint(wantErr) && !bothTrailing(err, wantErr) {
					t.Fatalf("Decrypt: %v, %s with %d goroutines: %v", wantErr, d.name, c.Concurrency, err)
				}
			}
		}
		if h, err := format.ReadHeader(bytes.NewReader(message), 0); err == nil {
			requirePolicies(t, h, message, p, opts, want, wantErr)
		}
		if wantErr == nil {
			requireWhole(t, clients[0], message, p, opts, want)
		}
	})
}

// A verdict is what the specification wants of a reader: the plaintext of the
// frames before the first fault, and the class of that; nil if there is none.
type verdict struct {
	plaintext []byte
	held      int // of its bytes, at the end, that wait for what failed
	err       error
}

// fuzzFrameLimit is what 32-bit systems can address, too.
const fuzzFrameLimit = 1 << 30

var errUnwrap = errors.New("the data key cannot be unwrapped")

// judge looks at a message step by step as client-apis/decrypt.md does, with
// nothing of this module but the header's parser and the provider. unstored are
// pairs that the reader gives, and frames or bodies over fuzzFrameLimit bytes are
// too long for it.
func judge(t testing.TB, message []byte, p keyprovider.MasterKeyProvider, unstored map[string]string) verdict {
	t.Helper()
	h, err := judgeHeader(t, message, p, unstored)
	if err != nil {
		return verdict{err: err}
	}
	return judgeBody(message, h)
}

// A judgedHeader is a header that was verified, and what it takes to verify the rest.
type judgedHeader struct {
	*format.Header
	body []byte
	aead cipher.AEAD
	key  *ecdsa.PublicKey // nil if the suite does not sign
}

// judgeHeader is judge up to the header's tag.
func judgeHeader(t testing.TB, message []byte, p keyprovider.MasterKeyProvider, unstored map[string]string) (judged judgedHeader, err error) {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	if err != nil {
		return judged, err
	}
	if h.FrameLength > fuzzFrameLimit {
		return judged, esdk.ErrFrameTooLong
	}
	body := message[len(message)-r.Len():]
	s := byhand.SuiteOf(uint16(h.Suite))
	ec, missing := maps.Clone(h.EncryptionContext), map[string]string{}
	for k, v := range unstored {
		if stored, ok := ec[k]; ok && stored != v || !ok && strings.HasPrefix(k, format.ReservedPrefix) {
			return judged, esdk.ErrEncryptionContext
		} else if !ok {
			ec[k], missing[k] = v, v
		}
	}
	public, ok := ec[format.PublicKeyField]
	if ok != (s.Curve != nil) {
		return judged, esdk.ErrEncryptionContext
	}
	var key *ecdsa.PublicKey
	if ok {
		if key = byhand.PublicKey(s, public); key == nil {
			return judged, esdk.ErrEncryptionContext
		}
	}
	dataKey, err := p.DecryptDataKey(bg, &keyprovider.Request{Suite: h.Suite, EncryptionContext: ec}, h.EncryptedDataKeys)
	if err != nil {
		return judged, errUnwrap
	}
	aead, commitKey := byhand.Keys(uint16(h.Suite), dataKey.Plaintext, h.MessageID)
	if !bytes.Equal(commitKey, h.CommitKey) {
		return judged, esdk.ErrKeyCommitment
	}
	iv := h.IV
	if h.Version == 2 {
		iv = make([]byte, 12)
	}
	raw := message[:len(message)-len(body)]
	headerBody := raw[:len(raw)-len(h.IV)-len(h.Tag)]
	context := byhand.Context(byhand.Pairs(missing, nil))
	_, err = aead.Open(nil, iv, h.Tag, slices.Concat(headerBody, context))
	if err != nil {
		aead, _ = byhand.KeysNET400(uint16(h.Suite), dataKey.Plaintext, h.MessageID)
		_, err = aead.Open(nil, iv, h.Tag, slices.Concat(headerBody, byhand.UnstoredNET400(context)))
	}
	if err != nil && s.Committing {
		return judged, esdk.ErrEncryptionContext
	} else if err != nil {
		return judged, esdk.ErrAuthentication
	}
	return judgedHeader{h, body, aead, key}, nil
}

// judgeBody is judge for what follows the header.
func judgeBody(message []byte, h judgedHeader) verdict {
	rest := h.body
	v := verdict{plaintext: []byte{}}
	fail := func(err error) verdict { v.err = err; return v }
	for due, last := uint32(1), false; !last; due++ {
		if h.FrameLength > 0 && len(rest) < 24 { // whatever frame it is, more than this must follow
			return fail(io.ErrUnexpectedEOF)
		}
		p, ok := byhand.ReadPartHeader(rest, h.FrameLength)
		switch {
		case !ok:
			return fail(io.ErrUnexpectedEOF)
		case p.Length > 1<<36-32, h.FrameLength > 0 && p.Length > uint64(h.FrameLength), p.Sequence != due:
			return fail(format.ErrMalformed)
		case p.Length > fuzzFrameLimit:
			return fail(esdk.ErrFrameTooLong)
		case int64(len(rest)-p.Size) < int64(p.Length)+16:
			return fail(io.ErrUnexpectedEOF)
		}
		end := p.Size + int(p.Length) + 16
		plaintext, err := h.aead.Open(nil, p.IV, rest[p.Size:end], byhand.AAD(h.MessageID, p.Content, due, p.Length))
		if err != nil {
			return fail(esdk.ErrAuthentication)
		}
		v.plaintext, rest = append(v.plaintext, plaintext...), rest[end:]
		if last = p.Content != byhand.Frame; last && h.key != nil {
			v.held = len(plaintext)
		}
	}
	if h.key != nil {
		signed := message[:len(message)-len(rest)]
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fail(io.ErrUnexpectedEOF)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		digest := byhand.SuiteOf(uint16(h.Suite)).Hash.New()
		digest.Write(signed)
		if !ecdsa.VerifyASN1(h.key, digest.Sum(nil), rest[2:end]) {
			return fail(esdk.ErrSignature)
		}
		v.held, rest = 0, rest[end:]
	}
	if len(rest) > 0 {
		return fail(esdk.ErrTrailingData)
	}
	return v
}

// requireVerdict checks what a way to decrypt made of a message.
func requireVerdict(t *testing.T, way string, want verdict, released []byte, err error) {
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

// fuzzClasses are the kinds of error that a message can have.
var fuzzClasses = []error{format.ErrMalformed, format.ErrUnsupportedSuite, format.ErrBase64, io.ErrUnexpectedEOF,
	esdk.ErrAuthentication, esdk.ErrSignature, esdk.ErrKeyCommitment, esdk.ErrTrailingData, esdk.ErrEncryptionContext, esdk.ErrFrameTooLong}

// requireClass checks that an error is of exactly one kind, or the provider's,
// and points into the size bytes of the message.
func requireClass(t *testing.T, err error, size int) {
	t.Helper()
	if err == nil {
		return
	}
	if !strings.HasPrefix(err.Error(), "esdk: ") || strings.Count(err.Error(), "esdk: ") > 1 {
		t.Fatalf("prefix of %q", err)
	}
	kinds := 0
	for _, kind := range fuzzClasses {
		if errors.Is(err, kind) {
			kinds++
		}
	}
	var failure *keyprovider.DecryptError
	if errors.As(err, &failure) {
		kinds++
	}
	if (failure != nil || errors.Is(err, esdk.ErrAuthentication)) && errors.Is(err, esdk.ErrEncryptionContext) {
		kinds-- // the header's tag under the right data key, or a data key that is not unwrapped: the one because of the other
	}
	if kinds != 1 {
		t.Fatalf("%d kinds of error: %v", kinds, err)
	}
	var parse *format.ParseError
	if errors.As(err, &parse) && (parse.Offset < 0 || parse.Offset > int64(size) || errors.Is(err, io.ErrUnexpectedEOF) && parse.Offset != int64(size)) {
		t.Fatalf("a message of %d bytes: %v", size, err)
	}
}

// requirePolicies checks that a stricter client or stricter options give the
// same result or the error of what they forbid.
func requirePolicies(t *testing.T, h *format.Header, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions, want []byte, wantErr error) {
	t.Helper()
	check := func(name string, c *esdk.Client, opts *esdk.DecryptOptions, forbidden error) {
		t.Helper()
		got, err := oneShot.run(c, message, p, opts)
		if forbidden != nil && !errors.Is(err, forbidden) || forbidden == nil && (fmt.Sprint(err) != fmt.Sprint(wantErr) || !bytes.Equal(got, want)) {
			t.Fatalf("%s: %v, else %v", name, err, wantErr)
		}
	}
	var forbidden error
	if !h.Suite.Committing() {
		forbidden = esdk.ErrCommitmentPolicy
	}
	check("commitment required", &esdk.Client{}, opts, forbidden)
	forbidden = nil
	if h.Suite.Signing() {
		forbidden = esdk.ErrSignedMessage
	}
	rejecting := *opts
	rejecting.Signature = esdk.RejectSigned
	check("signed messages rejected", allowAll, &rejecting, forbidden)
	if n := len(h.EncryptedDataKeys); n > 1 {
		check("a data key too many", &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, MaxEncryptedDataKeys: n - 1}, opts, esdk.ErrTooManyDataKeys)
	}
}

// requireWhole checks what holds of a message that was accepted.
func requireWhole(t *testing.T, c *esdk.Client, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions, plaintext []byte) {
	t.Helper()
	_, h, err := c.Decrypt(bg, message, p, opts)
	require.NoError(t, err)
	raw, err := h.AppendBinary(nil)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(message, raw))
	n, err := h.PlaintextLength(int64(len(message)))
	require.NoError(t, err)
	off := n - int64(len(plaintext))
	size, err := h.MessageLength(int64(len(plaintext)))
	require.NoError(t, err)
	extra := size - int64(len(message)) // what we would write more than the writer did
	if h.FrameLength > 0 && len(plaintext) > 0 && len(plaintext)%int(h.FrameLength) == 0 && extra >= format.FrameOverhead/2 {
		extra -= format.FrameOverhead // it made the last frame a full one
	}
	require.True(t, h.Suite.Signing() || off == 0 && extra == 0, "%d, %d", off, extra)
	require.LessOrEqual(t, max(off, -off), max(extra, -extra))

	for _, d := range []decryptor{oneShot, fuzzStreams[0]} {
		_, err := d.run(c, message[:len(message)-1], p, opts)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		released, err := d.run(c, append(slices.Clone(message), 0), p, opts)
		require.ErrorIs(t, err, esdk.ErrTrailingData)
		require.True(t, bytes.HasPrefix(plaintext, released))
	}
}

// bothTrailing reports whether both errors are that of trailing bytes, whose
// number a stream does not know.
func bothTrailing(a, b error) bool {
	return errors.Is(a, esdk.ErrTrailingData) && errors.Is(b, esdk.ErrTrailingData)
}

// FuzzReadAt opens altered messages for random access. What Decrypt accepts gives the
// same bytes, whatever the range. Of other messages that can be opened, for damage
// that is not at their end, each frame can be read that a reader written from the
// specification can open at its place, and no other.
func FuzzReadAt(f *testing.F) {
	n := byte(0)
	fuzzMessages(f, func(message []byte) {
		n++
		if full() || n%2 == 0 {
			f.Add(message, byte(0), uint64(n))
		}
		if full() || n%2 == 1 {
			f.Add(message, byte(reseal.All), uint64(n))
		}
	})
	for i := range byte(40) { // damage in between, under a good signature
		message := encrypt(f, streamSuites[i%3], text(95), esdk.EncryptOptions{FrameLength: 10})
		of := byhand.Read(f, message)
		message[of.Parts[i%9].At+int(i)] ^= 1
		f.Add(message, byte(reseal.All&^reseal.BodyTags), uint64(i))
	}
	p := fuzzProvider(f)
	sealers := fuzzSealers(f)
	f.Fuzz(func(t *testing.T, message []byte, parts byte, ranges uint64) {
		t.Parallel()
		for _, s := range sealers {
			s.Parts = reseal.Parts(parts)
			if sealed, ok := s.Message(message); ok {
				message = sealed
				break
			}
		}
		opts := &esdk.DecryptOptions{MaxFrameLength: fuzzFrameLimit}
		plaintext, decryptErr := oneShot.run(allowAll, message, p, opts)
		released, streamErr := fuzzStreams[2].run(allowAll, message, p, opts)
		if fmt.Sprint(decryptErr) != fmt.Sprint(streamErr) && !bothTrailing(decryptErr, streamErr) {
			t.Fatalf("Decrypt: %v, a stream: %v", decryptErr, streamErr)
		}
		for _, policy := range signaturePolicies {
			opts.Signature = policy
			c := &esdk.Client{CommitmentPolicy: allowAll.CommitmentPolicy, Concurrency: 1 + len(message)%4}
			d, err := c.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), p, opts)
			if err != nil {
				if decryptErr == nil && !errors.Is(err, esdk.ErrUnframed) {
					t.Fatalf("%v: %v", policy, err)
				}
				if !errors.Is(err, esdk.ErrUnframed) {
					requireClass(t, err, len(message))
				}
				continue
			}
			if decryptErr == nil {
				require.EqualValues(t, len(plaintext), d.Size())
			}
			h, err := judgeHeader(t, message, p, nil)
			require.NoError(t, err)
			frames := judgeFrames(t, message, h, d.Size(), policy)
			random := rand.New(rand.NewPCG(ranges, uint64(len(message))))
			for range 30 {
				off := random.Int64N(d.Size() + 1)
				length := random.Int64N(d.Size() - off + 3)
				if ranges%2 == 0 {
					length = min(length, 3)
				}
				requireFrames(t, d, frames, int64(h.FrameLength), off, int(length))
				if decryptErr == nil {
					requireRange(t, d, plaintext, int(off), int(length))
				}
			}
			whole := make([]byte, d.Size())
			if n, err := d.ReadAt(whole, 0); err == nil || err == io.EOF {
				require.True(t, bytes.HasPrefix(whole, released))
			} else if !bytes.HasPrefix(whole[:n], released) {
				t.Fatalf("a stream gave %d bytes, ReadAt %d: %v", len(released), n, err)
			}
		}
	})
}

// judgeFrames opens each frame of a message with a plaintext of size bytes at its
// place. Those that are not good are nil. That the last one is good, and right
// before the footer or the end, and that the signature is good unless it is
// ignored, must be so already.
func judgeFrames(t *testing.T, message []byte, h judgedHeader, size int64, policy esdk.SignaturePolicy) (frames [][]byte) {
	t.Helper()
	f := int(h.FrameLength)
	open := func(index int, content string) (plaintext, rest []byte) {
		if index*(f+32) > len(h.body) {
			return nil, nil
		}
		rest = h.body[index*(f+32):]
		p, ok := byhand.ReadPartHeader(rest, h.FrameLength)
		if !ok || p.Content != content || p.Sequence != uint32(index+1) || p.Length > uint64(f) || len(rest) < p.Size+int(p.Length)+16 {
			return nil, nil
		}
		end := p.Size + int(p.Length) + 16
		plaintext, err := h.aead.Open([]byte{}, p.IV, rest[p.Size:end], byhand.AAD(h.MessageID, content, p.Sequence, p.Length))
		if err != nil {
			return nil, nil
		}
		return plaintext, rest[end:]
	}
	final := int(size) / f
	last, rest := open(final, byhand.FinalFrame)
	if last == nil && final > 0 && int(size)%f == 0 { // a full one
		final--
		last, rest = open(final, byhand.FinalFrame)
	}
	if last == nil || int64(final*f+len(last)) != size {
		t.Fatalf("a plaintext of %d bytes has no such final frame", size)
	}
	if h.key == nil {
		require.Empty(t, rest)
	} else {
		require.GreaterOrEqual(t, len(rest), 2)
		require.Len(t, rest, 2+int(binary.BigEndian.Uint16(rest)))
		digest := byhand.SuiteOf(uint16(h.Suite)).Hash.New()
		digest.Write(message[:len(message)-len(rest)])
		if policy == esdk.VerifySignature && !ecdsa.VerifyASN1(h.key, digest.Sum(nil), rest[2:]) {
			t.Fatal("the signature was not verified")
		}
	}
	for i := range final {
		plaintext, _ := open(i, byhand.Frame)
		frames = append(frames, plaintext)
	}
	return append(frames, last)
}

// requireFrames checks that a read gives what the frames have, up to one that is
// not good.
func requireFrames(t *testing.T, d *esdk.DecryptReaderAt, frames [][]byte, f, off int64, length int) {
	t.Helper()
	var want []byte
	bad := false
	for at := off; at < d.Size() && len(want) < length && !bad; at = off + int64(len(want)) {
		if frame := frames[at/f]; frame == nil {
			bad = true
		} else {
			want = append(want, frame[at%f:]...)
			want = want[:min(len(want), length)]
		}
	}
	p := bytes.Repeat([]byte{0xEE}, length)
	n, err := d.ReadAt(p, off)
	if n != len(want) || !bytes.Equal(p[:n], want) {
		t.Fatalf("%d bytes at %d: %d, %.20x, want %d, %.20x: %v", length, off, n, p[:n], len(want), want, err)
	}
	switch {
	case bad:
		if !errors.Is(err, esdk.ErrAuthentication) && !errors.Is(err, format.ErrMalformed) {
			t.Fatalf("%d bytes at %d: %v", length, off, err)
		}
		require.Equal(t, make([]byte, length-n), p[n:])
	case n < length:
		require.Equal(t, io.EOF, err)
	default:
		require.NoError(t, err)
	}
}

// FuzzRoundTrip encrypts anything in every way and reads it again, with a pair
// of the encryption context that is stored or has to be given. The message has
// the length that its header foretells, and does not decrypt with another value.
func FuzzRoundTrip(f *testing.F) {
	for way := range byte(33) {
		f.Add(text(int(way)*3), uint16(way), way, "key", "value")
	}
	f.Add([]byte("hello"), uint16(3), byte(9), "key", "value")
	f.Add([]byte{}, uint16(1), byte(0), "", "")
	f.Add(bytes.Repeat([]byte("x"), 5000), uint16(100), byte(10), "größe", "\x00")
	f.Add([]byte("reserved"), uint16(0), byte(1), "aws-crypto-", "")
	p := rawAES(f)
	f.Fuzz(func(t *testing.T, plaintext []byte, frameLength uint16, way byte, key, value string) {
		t.Parallel()
		id := suite.All()[int(way)%len(suite.All())]
		e := encryptors[int(way/11)%len(encryptors)]
		d := decryptors[int(way/3)%len(decryptors)]
		c := *clientFor(id)
		c.Concurrency = 1 + int(way>>6)
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: int64(frameLength), EncryptionContext: map[string]string{key: value}}
		if way&8 != 0 {
			opts.RequiredContextKeys = []string{key}
		}
		message, h, err := e.run(&c, plaintext, p, opts)
		fits := utf8.ValidString(key) && utf8.ValidString(value) && !strings.HasPrefix(key, "aws-crypto-") && len(key)+len(value) < 60_000
		if err != nil {
			if fits || !errors.Is(err, esdk.ErrEncryptionContext) {
				t.Fatal(err)
			}
			return
		}
		size, err := h.MessageLength(int64(len(plaintext)))
		if err != nil || size != int64(len(message)) {
			t.Fatalf("%s: foretold %d bytes, %v, wrote %d", e.name, size, err, len(message))
		}
		if n, err := h.PlaintextLength(size); err != nil || n != int64(len(plaintext)) {
			t.Fatalf("plaintext of %d bytes taken for %d, %v", len(plaintext), n, err)
		}
		reproduced := &esdk.DecryptOptions{EncryptionContext: opts.EncryptionContext}
		got, err := d.run(&c, message, p, reproduced)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("%s, %s: %v", e.name, d.name, err)
		}
		reproduced.EncryptionContext = map[string]string{key: value + "x"}
		if _, err = d.run(&c, message, p, reproduced); err == nil {
			t.Fatal("decrypted with another encryption context")
		}
		if !errors.Is(err, esdk.ErrEncryptionContext) {
			t.Fatal(err)
		}
	})
}

// maxFuzzPlaintext lets a message be several batches of what works in parallel.
const maxFuzzPlaintext = 3 << 19

// gusts is a source whose reads return sizes that change all the time, so that
// frames arrive alone and by the hundred.
type gusts struct {
	r     *bytes.Reader
	state uint32
}

func (b *gusts) Read(p []byte) (int, error) {
	b.state = b.state*1664525 + 1013904223
	n := 1 << (b.state >> 27 % 21) // 1 byte to 1 MiB
	return b.r.Read(p[:min(n, len(p))])
}

// FuzzParallel damages messages that are long enough for several goroutines, at
// one place. Every way to decrypt gives out the frames before that place, and
// nothing else, before the error, whatever the number of goroutines.
func FuzzParallel(f *testing.F) {
	for i, length := range []uint32{0, 1000, 300_000, 1 << 20, 1_500_000} {
		for j, frameLength := range []uint32{100, 1000, 4096, 65536, 200_000} {
			if full() || (i+j)%2 == 0 {
				f.Add(length, frameLength, uint32(i*100_000+j), byte(j), uint8(i+j))
			}
		}
	}
	p := rawAES(f)
	plaintexts := text(maxFuzzPlaintext)
	f.Fuzz(func(t *testing.T, length, frameLength, at uint32, xor byte, way uint8) {
		t.Parallel()
		plaintext := plaintexts[:length%maxFuzzPlaintext]
		frame := max(int(frameLength%300_000), len(plaintext)/20_000, 1)
		id := suite.AES256GCMHKDFSHA512CommitKey
		if way&1 != 0 {
			id = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
		}
		c := &esdk.Client{Concurrency: 1 + int(way>>1&3)*2}
		e := encryptors[int(way)%len(encryptors)]
		if frame < 1000 && way&2 != 0 { // single bytes take long
			e = encryptors[0]
		}
		message, h, err := e.run(c, plaintext, p, &esdk.EncryptOptions{Suite: id, FrameLength: int64(frame)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := h.AppendBinary(nil)
		if err != nil || !bytes.HasPrefix(message, raw) {
			t.Fatal("the message does not begin with its header", err)
		}
		body := message[len(raw):]
		bodySize := len(plaintext)/frame*(frame+format.FrameOverhead) + format.FinalFrameOverhead + len(plaintext)%frame
		if id.Signing() {
			bodySize += 2 + id.SignatureSize()
		}
		if len(body) != bodySize {
			t.Fatalf("%s: %d bytes after the header, want %d", e.name, len(body), bodySize)
		}

		// What is damaged, and how many bytes of plaintext stand before it.
		place := int(at) % len(body)
		good := min(place/(frame+format.FrameOverhead)*frame, len(plaintext)/frame*frame)
		switch {
		case xor == 0: // nothing
			good = len(plaintext)
		case xor == 0xff:
			message = message[:len(raw)+place]
		default:
			message = slices.Clone(message)
			message[len(raw)+place] ^= xor
		}
		readerOf := func(r io.Reader) io.Reader {
			all, _ := io.ReadAll(r)
			return &gusts{bytes.NewReader(all), at}
		}
		for i, d := range []decryptor{
			oneShot,
			reader("reads of 4096", asIs, 4096),
			reader("reads of 600 KiB from gusts", readerOf, 600<<10),
			writerTo("WriteTo", asIs),
			writerTo("WriteTo from gusts", readerOf),
		} {
			var first string
			for _, workers := range append([]int{1}, turn([]int{2, 5}, i+int(way))...) {
				released, err := d.run(&esdk.Client{Concurrency: workers}, message, p, nil)
				where := fmt.Sprintf("%s, %d goroutines, %d bytes in frames of %d, byte %d ^ %#x: %v", d.name, workers, len(plaintext), frame, place, xor, err)
				if (err == nil) != (xor == 0) {
					t.Fatal(where)
				}
				if want := plaintext[:good]; d.name == oneShot.name && err != nil {
					if released != nil {
						t.Fatal("released: ", where)
					}
				} else if !bytes.Equal(released, want) {
					t.Fatalf("released %d bytes, want %d: %s", len(released), len(want), where)
				}
				if workers == 1 {
					first = fmt.Sprint(err)
				} else if fmt.Sprint(err) != first {
					t.Fatalf("with one goroutine %s: %s", first, where)
				}
			}
		}
	})
}

var (
	errSource = errors.New("the source failed")
	errSink   = errors.New("the sink failed")
	errGiveUp = errors.New("given up")
)

// A fragileReader gives all in pieces of changing size, and fails after left
// bytes if there is more.
type fragileReader struct {
	r     io.Reader
	left  int
	piece int
}

func (f *fragileReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errSource
	}
	f.piece = f.piece*5%8191 + 1
	n, err := f.r.Read(p[:min(len(p), f.left, f.piece)])
	f.left -= n
	return n, err
}

// A fragileWriter keeps left bytes and takes no more: with an error, or short.
type fragileWriter struct {
	bytes.Buffer
	left  int
	short bool
}

func (f *fragileWriter) Write(p []byte) (int, error) {
	n, _ := f.Buffer.Write(p[:min(len(p), f.left)])
	f.left -= n
	if n == len(p) {
		return n, nil
	} else if f.short {
		return n, nil
	}
	return n, errSink
}

// A callSequence is what a fuzz target does with a stream.
type callSequence struct {
	t     *testing.T
	calls []byte
	err   error // what the stream returned, and must return from now on
}

// next returns the next call, and a size for it; ok is false at the end.
func (s *callSequence) next() (call byte, size int, ok bool) {
	if len(s.calls) == 0 {
		return 0, 0, false
	}
	c := s.calls[0]
	s.calls = s.calls[1:]
	return c & 7, 1 << (c >> 3 & 15) >> 1, true
}

// note checks that an error stays: got is what the stream returned, done
// whether it had nothing else to return.
func (s *callSequence) note(got error, done bool) {
	s.t.Helper()
	if s.err != nil {
		require.Equal(s.t, s.err, got)
		require.True(s.t, done)
	}
	s.err = got
}

// FuzzStreams calls streams in any order, over sources and sinks that fail
// anywhere. Errors stay; what is decrypted is a beginning of the plaintext, and
// all of it before io.EOF; what was encrypted decrypts if, and only if, the
// stream was ended without an error.
func FuzzStreams(f *testing.F) {
	for i := range byte(40) {
		f.Add([]byte{i, 8 * i, 0x30, 0x41, 0x62 + i, 0x07, i}, uint16(i)*200, uint16(i)*3, uint32(i)*300, i)
		f.Add(bytes.Repeat([]byte{i * 8, i}, 10), uint16(i)*300, uint16(i)*30, uint32(1<<30), i)
	}
	p := rawAES(f)
	f.Fuzz(func(t *testing.T, calls []byte, length, frameLength uint16, failAt uint32, way uint8) {
		t.Parallel()
		plaintext := text(int(length))
		id := suite.AES256GCMHKDFSHA512CommitKey
		if way&1 != 0 {
			id = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
		}
		c := &esdk.Client{Concurrency: 1 + int(way>>1&1)*3}
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: max(int64(frameLength), int64(length)/2000)}
		at := int(failAt & 0x3fffffff)
		decryptCalls(t, c, plaintext, p, opts, callSequence{t: t, calls: calls}, at, way)
		encryptWriterCalls(t, c, plaintext, p, *opts, callSequence{t: t, calls: calls}, at, way)
		encryptReaderCalls(t, c, plaintext, p, opts, callSequence{t: t, calls: calls}, at)
	})
}

// decryptCalls reads a message whose source fails after at bytes.
func decryptCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions, s callSequence, at int, way uint8) {
	message, _, err := c.Encrypt(bg, plaintext, p, opts)
	require.NoError(t, err)
	d, err := c.NewDecryptReader(bg, &fragileReader{bytes.NewReader(message), at, 7}, p, nil)
	if err != nil {
		require.ErrorIs(t, err, errSource)
		require.Less(t, at, len(message))
		return
	}
	var out []byte
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		before := len(out)
		switch call {
		case 0, 1, 2, 3:
			b := make([]byte, size)
			n, err := d.Read(b)
			out = append(out, b[:n]...)
			require.True(t, n == 0 || s.err == nil)
			if n == 0 || err != nil {
				s.note(err, n == 0)
			}
		case 4, 5:
			w := &fragileWriter{left: 1 << 30, short: way&4 != 0}
			if call == 5 {
				w.left = size
			}
			n, err := d.WriteTo(w)
			require.EqualValues(t, w.Len(), n)
			out = append(out, w.Bytes()...)
			if err == nil {
				err = io.EOF
			}
			s.note(err, n == 0)
		case 6:
			n, err := d.Read(nil)
			require.Zero(t, n)
			if err != nil {
				s.note(err, true)
			}
		case 7:
			err := d.Close()
			switch s.err {
			case nil:
				require.ErrorIs(t, err, esdk.ErrUnverified)
				_, s.err = d.Read(make([]byte, 1))
				require.ErrorIs(t, s.err, esdk.ErrClosed)
			case io.EOF:
				require.NoError(t, err)
			default:
				if !errors.Is(s.err, esdk.ErrClosed) {
					require.Equal(t, s.err, err)
				}
			}
			require.Equal(t, err, d.Close())
		}
		require.True(t, bytes.HasPrefix(plaintext, out))
		require.LessOrEqual(t, before, len(out))
		if s.err == io.EOF {
			require.Len(t, out, len(plaintext))
			require.GreaterOrEqual(t, at, len(message))
		}
	}
}

// encryptWriterCalls writes plaintext, and reads some of it from sources, to a
// sink that fails after at bytes.
func encryptWriterCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts esdk.EncryptOptions, s callSequence, at int, way uint8) {
	if way&8 != 0 {
		opts.MaxPlaintextLength = int64(len(plaintext)/2) + 1
	}
	sink := &fragileWriter{left: at, short: way&4 != 0}
	w, err := c.NewEncryptWriter(bg, sink, p, &opts)
	if err != nil {
		require.True(t, errors.Is(err, errSink) || errors.Is(err, io.ErrShortWrite), "%v", err)
		return
	}
	rest, whole, closed := plaintext, false, false
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		part := rest[:min(size, len(rest))]
		written := sink.Len()
		switch call {
		case 0, 1, 2, 3:
			n, err := w.Write(part)
			if err == nil {
				require.Len(t, part, n)
				rest = rest[n:]
			}
			s.note(err, sink.Len() == written)
		case 4, 5:
			source := &fragileReader{bytes.NewReader(part), 1 << 30, 3}
			if call == 5 {
				source.left = len(part) / 2
			}
			n, err := w.ReadFrom(source)
			if err == nil {
				require.EqualValues(t, len(part), n)
				rest = rest[n:]
			}
			s.note(err, sink.Len() == written)
		case 6:
			err := w.CloseWithError(errGiveUp)
			require.Equal(t, s.err == nil, err == nil, "%v", err)
			if s.err == nil {
				_, s.err = w.Write([]byte{1})
				require.ErrorIs(t, s.err, errGiveUp)
			}
		case 7:
			err := w.Close()
			if s.err == nil && err == nil {
				whole = true
				_, s.err = w.Write([]byte{1})
				require.ErrorIs(t, s.err, esdk.ErrClosed)
			} else if !whole {
				s.note(err, sink.Len() == written)
			}
			require.Equal(t, err, w.Close())
			closed = true
		}
		require.False(t, s.err != nil && closed && call < 6 && sink.Len() != written, "written after the end")
	}
	got, _, err := c.Decrypt(bg, sink.Bytes(), p, nil)
	require.Equal(t, whole, err == nil, "%v", err)
	if whole {
		require.True(t, bytes.Equal(plaintext[:len(plaintext)-len(rest)], got))
	}
}

// encryptReaderCalls reads a message whose plaintext fails after at bytes.
func encryptReaderCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions, s callSequence, at int) {
	e, err := c.NewEncryptReader(bg, &fragileReader{bytes.NewReader(plaintext), at, 5}, p, opts)
	require.NoError(t, err)
	var message []byte
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		if call < 6 {
			b := make([]byte, size)
			n, err := e.Read(b)
			message = append(message, b[:n]...)
			if size > 0 && n == 0 || err != nil {
				s.note(err, n == 0)
			}
			continue
		}
		sink := &fragileWriter{left: 1 << 30}
		if call == 7 {
			sink.left = size
		}
		n, err := e.WriteTo(sink)
		require.EqualValues(t, sink.Len(), n)
		message = append(message, sink.Bytes()...)
		if err == nil {
			err = io.EOF
		}
		s.note(err, n == 0)
	}
	got, _, err := c.Decrypt(bg, message, p, nil)
	require.False(t, s.err == io.EOF && err != nil, "%v", err)
	if err == nil { // the end may not have been asked for
		require.True(t, bytes.Equal(plaintext, got))
		require.GreaterOrEqual(t, at, len(plaintext))
	}
}
