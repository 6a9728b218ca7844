package esdk_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/suite"
)

// bench runs an operation over suites, frame lengths, message sizes and
// goroutines. Names are in benchstat's key=value form:
//
//	go test -run '^$' -bench . -count 10 . > new.txt
//	benchstat -col /workers new.txt
//
// How this compares with other libraries is in internal/benchmarks.
func bench(b *testing.B, op func(c *esdk.Client, opts *esdk.EncryptOptions, plaintext, message []byte) error) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, of := range []struct{ size, frame int }{{1 << 10, 4 << 10}, {1 << 20, 4 << 10}, {64 << 20, 4 << 10}, {64 << 20, 64 << 10}, {64 << 20, 1 << 20}} {
			for _, workers := range []int{1, 0} {
				if workers == 0 && of.size < 1<<20 {
					continue // one is all that it takes
				}
				named := fmt.Sprint(workers)
				if workers == 0 {
					named = "all"
				}
				b.Run(fmt.Sprintf("suite=%04X/size=%dKiB/frame=%dKiB/workers=%s", uint16(id), of.size>>10, of.frame>>10, named), func(b *testing.B) {
					plaintext := text(of.size)
					opts := esdk.EncryptOptions{FrameLength: int64(of.frame)}
					message := encrypt(b, id, plaintext, opts)
					opts.Suite = id
					b.SetBytes(int64(of.size))
					b.ReportAllocs()
					for b.Loop() {
						if err := op(&esdk.Client{Concurrency: workers}, &opts, plaintext, message); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, opts *esdk.EncryptOptions, plaintext, _ []byte) error {
		_, _, err := c.Encrypt(bg, plaintext, p, opts)
		return err
	})
}

func BenchmarkDecrypt(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, _ *esdk.EncryptOptions, _, message []byte) error {
		_, _, err := c.Decrypt(bg, message, p, nil)
		return err
	})
}

func BenchmarkEncryptWriter(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, opts *esdk.EncryptOptions, plaintext, _ []byte) error {
		w, err := c.NewEncryptWriter(bg, io.Discard, p, opts)
		require.NoError(b, err)
		if _, err := io.Copy(w, bytes.NewReader(plaintext)); err != nil {
			return err
		}
		return w.Close()
	})
}

func BenchmarkEncryptReader(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, opts *esdk.EncryptOptions, plaintext, _ []byte) error {
		r, err := c.NewEncryptReader(bg, bytes.NewReader(plaintext), p, opts)
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, r)
		return err
	})
}

func BenchmarkDecryptReader(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, _ *esdk.EncryptOptions, _, message []byte) error {
		r, err := c.NewDecryptReader(bg, bytes.NewReader(message), p, nil)
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, r)
		return err
	})
}

func BenchmarkReencrypt(b *testing.B) {
	p := rawAES(b)
	bench(b, func(c *esdk.Client, opts *esdk.EncryptOptions, _, message []byte) error {
		_, err := c.Reencrypt(bg, io.Discard, bytes.NewReader(message), p, p, &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: opts.Suite}})
		return err
	})
}

// BenchmarkStream1GiB encrypts and decrypts 1 GiB from a source of unknown
// length and reports the most memory that was live meanwhile:
//
//	go test -run '^$' -bench Stream1GiB -benchtime 1x .
func BenchmarkStream1GiB(b *testing.B) {
	const size = 1<<30 + 1
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		b.Run(fmt.Sprint(id), func(b *testing.B) {
			b.SetBytes(size)
			var peak uint64
			for b.Loop() {
				base := liveHeap()
				read := 0
				source := io.LimitReader(repeating("0123456789abcdef"), size)
				e, err := esdk.NewEncryptReader(bg, readerFunc(func(p []byte) (int, error) {
					if read++; read%500 == 0 {
						peak = max(peak, liveHeap()-base)
					}
					return source.Read(p)
				}), rawAES(b), &esdk.EncryptOptions{Suite: id})
				require.NoError(b, err)
				d, err := esdk.NewDecryptReader(bg, e, rawAES(b), nil)
				require.NoError(b, err)
				n, err := io.Copy(io.Discard, d)
				require.NoError(b, err)
				require.EqualValues(b, size, n)
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}
