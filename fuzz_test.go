package esdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
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
				class += m.Peer
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

// fuzzStreams are the ways to decrypt a stream that fuzz targets compare.
var fuzzStreams = []decryptor{
	reader("reads of 1", asIs, 1),
	reader("reads of 5 from halves", iotest.HalfReader, 5),
	reader("reads of 1 MiB", asIs, 1<<20),
	reader("reads of 100 from data with EOF", iotest.DataErrReader, 100),
	writerTo("WriteTo", asIs),
}

// FuzzDecrypt opens altered messages in every way: none panics, all agree on
// whether the message is good and why not, and streams release the same bytes
// whatever the number of goroutines. What was accepted has the lengths that its
// header says, and is refused as soon as a byte is missing or follows.
func FuzzDecrypt(f *testing.F) {
	fuzzMessages(f, func(message []byte) { f.Add(message) })
	opts := &esdk.DecryptOptions{MaxFrameLength: 1 << 20}
	one := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, Concurrency: 1}
	many := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, Concurrency: 4}
	p := fuzzProvider(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		want, wantErr := oneShot.run(one, message, p, opts)
		if wantErr != nil && want != nil {
			t.Fatalf("Decrypt released %q with %v", want, wantErr)
		}
		requireClass(t, wantErr, len(message))
		got, err := oneShot.run(many, message, p, opts)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !bytes.Equal(got, want) {
			t.Fatalf("Decrypt with one goroutine: %v, with more: %v", wantErr, err)
		}
		var released []byte
		for i, d := range fuzzStreams {
			for _, c := range []*esdk.Client{one, many} {
				got, err := d.run(c, message, p, opts)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) && !bothTrailing(err, wantErr) {
					t.Fatalf("Decrypt: %v, %s: %v", wantErr, d.name, err)
				}
				requireClass(t, err, len(message))
				if wantErr == nil && !bytes.Equal(got, want) {
					t.Fatalf("Decrypt: %q, %s: %q", want, d.name, got)
				}
				if i == 0 && c == one {
					released = got
				} else if !bytes.Equal(released, got) {
					t.Fatalf("%s released %q, %s %q", fuzzStreams[0].name, released, d.name, got)
				}
			}
		}
		if h, err := format.ReadHeader(bytes.NewReader(message), 0); err == nil {
			requirePolicies(t, h, message, p, opts, want, wantErr)
		}
		if wantErr == nil {
			requireWhole(t, one, message, p, opts, want)
		}
	})
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
	check("signed messages rejected", allowAll, &esdk.DecryptOptions{MaxFrameLength: opts.MaxFrameLength, Signature: esdk.RejectSigned}, forbidden)
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
		if way&8 == 0 != errors.Is(err, esdk.ErrEncryptionContext) { // what is not stored shows in the wrapped key
			t.Fatal(err)
		}
	})
}
