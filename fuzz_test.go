package esdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/suite"
)

// FuzzDecrypt opens altered messages in every way: none panics, all agree on
// whether the message is good and why not, and streams release the same bytes
// whatever the number of goroutines.
func FuzzDecrypt(f *testing.F) {
	for _, id := range suite.All() {
		for _, n := range []int{0, 10, 25} {
			f.Add(encrypt(f, id, text(n), esdk.EncryptOptions{FrameLength: 10, EncryptionContext: map[string]string{"k": "v"}}))
		}
		f.Add(encrypt(f, id, text(25), esdk.EncryptOptions{Unframed: true}))
	}
	long := encrypt(f, suite.AES256GCMHKDFSHA512CommitKey, text(600), esdk.EncryptOptions{FrameLength: 1})
	f.Add(long)
	f.Add(append(slices.Clone(long), 0))
	f.Add([]byte("AYADeA=="))
	opts := &esdk.DecryptOptions{MaxFrameLength: 1 << 20}
	one := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, Concurrency: 1}
	many := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, Concurrency: 4}
	streams := []decryptor{
		reader("reads of 1", asIs, 1),
		reader("reads of 5 from halves", iotest.HalfReader, 5),
		reader("reads of 1 MiB", asIs, 1<<20),
		writerTo("WriteTo", asIs),
	}
	p := rawAES(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		want, wantErr := oneShot.run(one, message, p, opts)
		if wantErr != nil && want != nil {
			t.Fatalf("Decrypt released %q with %v", want, wantErr)
		}
		got, err := oneShot.run(many, message, p, opts)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !bytes.Equal(got, want) {
			t.Fatalf("Decrypt with one goroutine: %v, with more: %v", wantErr, err)
		}
		var released []byte
		for i, d := range streams {
			for _, c := range []*esdk.Client{one, many} {
				got, err := d.run(c, message, p, opts)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) && !bothTrailing(err, wantErr) {
					t.Fatalf("Decrypt: %v, %s: %v", wantErr, d.name, err)
				}
				if wantErr == nil && !bytes.Equal(got, want) {
					t.Fatalf("Decrypt: %q, %s: %q", want, d.name, got)
				}
				if i == 0 && c == one {
					released = got
				} else if !bytes.Equal(released, got) {
					t.Fatalf("%s released %q, %s %q", streams[0].name, released, d.name, got)
				}
			}
		}
	})
}

// bothTrailing reports whether both errors are that of trailing bytes, whose
// number a stream does not know.
func bothTrailing(a, b error) bool {
	return errors.Is(a, esdk.ErrTrailingData) && errors.Is(b, esdk.ErrTrailingData)
}

// FuzzRoundTrip encrypts anything in every way and reads it again.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint16(3), byte(9), "key", "value")
	f.Add([]byte{}, uint16(1), byte(0), "", "")
	f.Add(bytes.Repeat([]byte("x"), 5000), uint16(100), byte(10), "größe", "\x00")
	p := rawAES(f)
	f.Fuzz(func(t *testing.T, plaintext []byte, frameLength uint16, way byte, key, value string) {
		id := suite.All()[int(way)%len(suite.All())]
		e := encryptors[int(way/11)%len(encryptors)]
		d := decryptors[int(way/3)%len(decryptors)]
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: int64(frameLength), EncryptionContext: map[string]string{key: value}}
		message, _, err := e.run(clientFor(id), plaintext, p, opts)
		if err != nil {
			fits := utf8.ValidString(key) && utf8.ValidString(value) && !strings.HasPrefix(key, "aws-crypto-")
			if fits || !errors.Is(err, esdk.ErrEncryptionContext) {
				t.Fatal(err)
			}
			return
		}
		got, err := d.run(clientFor(id), message, p, &esdk.DecryptOptions{EncryptionContext: opts.EncryptionContext})
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("%s, %s: %v", e.name, d.name, err)
		}
	})
}
