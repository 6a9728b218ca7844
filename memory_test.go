package esdk_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// liveHeap returns the bytes of the heap that are in use.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools still held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A weighed source gives its bytes and, at several places and before its end,
// notes how much memory is live.
type weighed struct {
	b       []byte
	arrived int
	step    int
	base    uint64
	check   func(arrived int, live int64)
}

func (w *weighed) Read(p []byte) (int, error) {
	if w.arrived == len(w.b) || w.arrived%w.step == 0 {
		w.check(w.arrived, int64(liveHeap())-int64(w.base))
	}
	if w.arrived == len(w.b) {
		return 0, io.EOF
	}
	n := min(len(p), len(w.b)-w.arrived, w.step-w.arrived%w.step)
	copy(p, w.b[w.arrived:w.arrived+n])
	w.arrived += n
	return n, nil
}

// weighedAt is a weighed source that is read from its start on.
type weighedAt struct{ *weighed }

func (w weighedAt) ReadAt(p []byte, off int64) (int, error) {
	if off != int64(w.arrived) {
		return 0, fmt.Errorf("read at %d, %d were due", off, w.arrived)
	}
	return io.ReadFull(w.weighed, p)
}

// Memory grows with what arrives and not with what a message claims.
func TestHostileClaimsCostNoMemory(t *testing.T) {
	start := func(id suite.ID) []byte { // to before the encryption context
		b := binary.BigEndian.AppendUint16([]byte{byte(id.MessageVersion())}, uint16(id))
		if id.MessageVersion() == 1 {
			b = binary.BigEndian.AppendUint16([]byte{1, 0x80}, uint16(id))
		}
		return append(b, make([]byte, id.MessageIDSize())...)
	}
	tinyPairs := func(n int) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(n))
		for i := range n {
			b = append(b, 0, 3, byte('0'+i%64), byte('0'+i/64%64), byte('0'+i/4096), 0, 0)
		}
		return b
	}
	id := suite.AES256GCMHKDFSHA512CommitKey
	end := append([]byte{2, 0, 0, 16, 0}, make([]byte, 48)...) // of a header of version 2
	keys := func(edk format.EncryptedDataKey, n int) []byte {
		var b []byte
		for _, field := range []string{edk.ProviderID, string(edk.ProviderInfo), string(edk.Ciphertext)} {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
		}
		return append(append(append(start(id), 0, 0), binary.BigEndian.AppendUint16(nil, uint16(n))...), append(bytes.Repeat(b, n), end...)...)
	}
	aes, err := keyprovider.NewRawAES("n", "k", make([]byte, 32))
	require.NoError(t, err)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rsaKey, err := keyprovider.NewRawRSA("n", "k", nil, private, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	all, err := keyprovider.Multi(rawAES(t), aes, rsaKey)
	require.NoError(t, err)
	info := append([]byte("k"), 0, 0, 0, 128, 0, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	hugeFrames := encrypt(t, id, text(3<<20), esdk.EncryptOptions{FrameLength: min(1<<32-1, math.MaxInt-64)})
	hugeBody := encrypt(t, id, text(3<<20), esdk.EncryptOptions{Unframed: true})
	binary.BigEndian.PutUint64(hugeBody[byhand.Read(t, hugeBody).Parts[0].At+12:], 1<<36-32)
	for name, message := range map[string][]byte{
		"65,535 bytes of context, few arrive":  append(start(id), 0xff, 0xff, 0, 9, 1),
		"65,535 bytes of context":              append(append(start(id), 0xff, 0xff), bytes.Repeat([]byte{0xff}, 65_535)...),
		"9,361 tiny pairs":                     append(append(start(id), 0xff, 0xf9), tinyPairs(9361)...),
		"65,535 keys, none arrives":            append(start(id), 0, 0, 0xff, 0xff),
		"65,535 keys, empty ones":              append(append(start(id), 0, 0, 0xff, 0xff), make([]byte, 6*65_535)...),
		"65,535 keys, empty ones, and the end": append(append(start(id), 0, 0, 0xff, 0xff), append(make([]byte, 6*65_535), end...)...),
		"65,535 keys, short ones for AES":      keys(format.EncryptedDataKey{ProviderID: "n", ProviderInfo: info}, 65_535),
		"65,535 keys, wrong ones for AES":      keys(format.EncryptedDataKey{ProviderID: "n", ProviderInfo: info, Ciphertext: make([]byte, 48)}, 65_535),
		"65,535 keys, short ones for RSA":      keys(format.EncryptedDataKey{ProviderID: "n", ProviderInfo: []byte("k")}, 65_535),
		"4 GiB frames":                         hugeFrames[:len(hugeFrames)-1],
		"64 GiB unframed":                      hugeBody,
	} {
		t.Run(name, func(t *testing.T) {
			source := &weighed{b: message, step: 50_000}
			if !full() {
				source.step = max(source.step, len(message)/6)
			}
			source.check = func(arrived int, live int64) {
				require.LessOrEqual(t, live, int64(64<<10+16*arrived), "%d bytes have arrived", arrived)
			}
			source.base = liveHeap()
			// The header is taken apart when the provider is asked.
			p := &asking{all, func() { source.check(source.arrived, int64(liveHeap())-int64(source.base)) }}
			d, err := esdk.NewDecryptReader(bg, source, p, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, d)
			}
			require.Error(t, err)
			p.asked() // the error is still there
			runtime.KeepAlive(d)
			runtime.KeepAlive(err)
			d, err = nil, nil

			// The same for random access, whatever size is claimed, but for the frame at
			// the end: its length is authentic by then.
			if strings.HasPrefix(name, "4 GiB") {
				return
			}
			source.arrived, source.base = 0, liveHeap()
			at, err := esdk.NewDecryptReaderAt(bg, weighedAt{source}, math.MaxInt64, p, nil)
			require.Error(t, err)
			require.Nil(t, at)
			p.asked()
			runtime.KeepAlive(err)
		})
	}
}

// asking is a provider that says when it is asked to decrypt.
type asking struct {
	keyprovider.MasterKeyProvider
	asked func()
}

func (p *asking) DecryptDataKey(ctx context.Context, req *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	p.asked()
	defer p.asked()
	return p.MasterKeyProvider.DecryptDataKey(ctx, req, edks)
}

// Streams allocate nothing for a frame: as much for 50 frames as for 500.
func TestStreamsAllocateNothingPerFrame(t *testing.T) {
	c := &esdk.Client{Concurrency: 1}
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: 1000}
		buf := make([]byte, 1500)
		plaintext := text(500_000)
		for name, run := range map[string]func(n int){
			"EncryptReader.Read": func(n int) {
				e, err := c.NewEncryptReader(bg, bytes.NewReader(plaintext[:n]), rawAES(t), opts)
				require.NoError(t, err)
				drain(t, e, buf)
			},
			"EncryptReader.WriteTo": func(n int) {
				e, err := c.NewEncryptReader(bg, bytes.NewReader(plaintext[:n]), rawAES(t), opts)
				require.NoError(t, err)
				_, err = e.WriteTo(io.Discard)
				require.NoError(t, err)
			},
			"EncryptWriter.Write": func(n int) {
				w, err := c.NewEncryptWriter(bg, io.Discard, rawAES(t), opts)
				require.NoError(t, err)
				for i := 0; i < n; i += 500 {
					if _, err := w.Write(plaintext[i : i+500]); err != nil {
						t.Fatal(err)
					}
				}
				require.NoError(t, w.Close())
			},
			"EncryptWriter.ReadFrom": func(n int) {
				w, err := c.NewEncryptWriter(bg, io.Discard, rawAES(t), opts)
				require.NoError(t, err)
				_, err = w.ReadFrom(bytes.NewReader(plaintext[:n]))
				require.NoError(t, err)
				require.NoError(t, w.Close())
			},
		} {
			few := testing.AllocsPerRun(5, func() { run(100_000) })
			many := testing.AllocsPerRun(5, func() { run(500_000) })
			require.InDelta(t, few, many, 40, "%v, %s", id, name) // what ECDSA needs varies
		}
		messages := map[int][]byte{100_000: encrypt(t, id, plaintext[:100_000], *opts), 500_000: encrypt(t, id, plaintext, *opts)}
		for name, run := range map[string]func(n int){
			"DecryptReader.Read": func(n int) {
				d, err := c.NewDecryptReader(bg, bytes.NewReader(messages[n]), rawAES(t), nil)
				require.NoError(t, err)
				drain(t, d, buf)
			},
			"DecryptReader.Read, less than a frame": func(n int) {
				d, err := c.NewDecryptReader(bg, bytes.NewReader(messages[n]), rawAES(t), nil)
				require.NoError(t, err)
				drain(t, d, buf[:600])
			},
			"DecryptReader.WriteTo": func(n int) {
				d, err := c.NewDecryptReader(bg, bytes.NewReader(messages[n]), rawAES(t), nil)
				require.NoError(t, err)
				_, err = d.WriteTo(io.Discard)
				require.NoError(t, err)
			},
			"Reencrypt": func(n int) {
				_, err := c.Reencrypt(bg, io.Discard, bytes.NewReader(messages[n]), rawAES(t), rawAES(t), &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id}})
				require.NoError(t, err)
			},
		} {
			few := testing.AllocsPerRun(5, func() { run(100_000) })
			many := testing.AllocsPerRun(5, func() { run(500_000) })
			require.InDelta(t, few, many, 40, "%v, %s", id, name)
		}
	}
}

// ReadAt allocates nothing for small reads, in a row or at random, and for large
// ones nothing for a frame.
func TestReadAtAllocatesNothingPerFrame(t *testing.T) {
	const frameLength, size = 1000, 500_000
	plaintext := text(size)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
	for _, workers := range []int{1, 2} {
		d, err := (&esdk.Client{Concurrency: workers}).NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), rawAES(t), nil)
		require.NoError(t, err)
		p := make([]byte, size)
		random := mathrand.New(mathrand.NewPCG(1, 1))
		for name, of := range map[string]struct {
			most float64
			read func()
		}{
			"in a row": {0, func() {
				for off := 0; off < 10*frameLength; off += 100 {
					d.ReadAt(p[:100], int64(off))
				}
			}},
			"at random":       {0, func() { d.ReadAt(p[:100], random.Int64N(size-frameLength)) }},
			"a hundred":       {0, func() { d.ReadAt(p[:100*frameLength], random.Int64N(100*frameLength)) }},
			"all, but a part": {float64(10 * workers * workers), func() { d.ReadAt(p, 10) }},
		} {
			of.read() // makes the buffers
			require.LessOrEqual(t, testing.AllocsPerRun(10, of.read), of.most, "%s, %d goroutines", name, workers)
		}
	}
}

// A DecryptReaderAt has small buffers: those of each call under way are under 4 MiB
// and two frames, and so are all that it keeps. Opening a message needs no more.
func TestReadAtKeepsItsBuffersSmall(t *testing.T) {
	const size = 20 << 20
	for i, frameLength := range []int64{100, 4096, 1 << 20, 5 << 20} {
		for _, workers := range turn([]int{1, 2, 64}, i) {
			message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(size), esdk.EncryptOptions{FrameLength: frameLength})
			p := make([]byte, size)
			base := int64(liveHeap())
			limit := 4<<20 + 2*(frameLength+32)
			weigh := false
			source := readerAtFunc(func(p []byte, off int64) (int, error) {
				if weigh {
					require.LessOrEqual(t, int64(liveHeap())-base, limit, "frames of %d bytes, %d goroutines", frameLength, workers)
				}
				return bytes.NewReader(message).ReadAt(p, off)
			})
			weigh = true
			d, err := (&esdk.Client{Concurrency: workers}).NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
			require.NoError(t, err)
			_, err = d.ReadAt(p[:size-1], 1)
			require.NoError(t, err)
			weigh = false
			var all sync.WaitGroup
			for g := range 40 { // many at once
				all.Go(func() {
					from := g * size / 41
					d.ReadAt(p[from:from+size/41], int64(from))
				})
			}
			all.Wait()
			require.LessOrEqual(t, int64(liveHeap())-base, limit, "frames of %d bytes", frameLength)
			runtime.KeepAlive(d)
			runtime.KeepAlive(p)
			runtime.KeepAlive(message)
		}
	}
}

func drain(t *testing.T, r io.Reader, buf []byte) {
	for {
		if _, err := r.Read(buf); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Streams keep their buffers small, whatever the number of goroutines: under
// 4 MiB and two frames.
func TestStreamsKeepTheirBuffersSmall(t *testing.T) {
	for i, frameLength := range []int64{1, 100, 4096, 1 << 20, 5 << 20} {
		length := 6<<20*frameLength/(frameLength+32) + 3*frameLength // of a message that is more than fits the buffers
		step := int(length / 24)
		if !full() {
			step = int(length / 6)
		}
		for _, of := range turn([]struct {
			workers int
			suite   suite.ID
		}{
			{1, suite.AES256GCMHKDFSHA512CommitKey},
			{2, suite.AES256GCMHKDFSHA512CommitKey},
			{2, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384},
			{64, suite.AES256GCMHKDFSHA512CommitKey},
			{64, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384},
		}, 3*i+4) {
			c := &esdk.Client{Concurrency: of.workers}
			opts := &esdk.EncryptOptions{Suite: of.suite, FrameLength: frameLength}
			limit := 2 * (4<<20 + 2*(frameLength+32)) // of both ends, which are live at once
			base := int64(liveHeap())
			read, next := 0, step
			source := io.LimitReader(repeating("0123456789abcdef"), length)
			weighing := readerFunc(func(p []byte) (int, error) {
				n, err := source.Read(p)
				if read += n; read >= next { // while what was read is in the buffers
					next = read + step
					require.LessOrEqual(t, int64(liveHeap())-base, limit, "frames of %d bytes, %d goroutines, %v", frameLength, of.workers, of.suite)
				}
				return n, err
			})
			e, err := c.NewEncryptReader(bg, weighing, rawAES(t), opts)
			require.NoError(t, err)
			pr, pw := io.Pipe()
			go func() {
				_, err := io.Copy(pw, e)
				pw.CloseWithError(err)
			}()
			d, err := c.NewDecryptReader(bg, filling{pr}, rawAES(t), nil)
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, d)
			require.NoError(t, err)
			require.Equal(t, length, n)
		}
	}
}

// Reencrypt keeps the buffers of both halves small, whatever the number of
// goroutines: each under 4 MiB and two frames.
func TestReencryptKeepsItsBuffersSmall(t *testing.T) {
	const size = 12 << 20
	plaintext := text(size)
	for i, from := range []int64{100, 4096, 1 << 20} {
		message := encrypt(t, parallelSuites[i%2], plaintext, esdk.EncryptOptions{FrameLength: from})
		for j, to := range turn([]int64{0, 1 << 20, 4096}, i) {
			for _, workers := range turn([]int{64, 1, 2}, i+j) {
				id := parallelSuites[(i+j)%2]
				limit := 2*(4<<20) + 2*(from+32) + 2*(max(from, to)+32)
				base := int64(liveHeap())
				source, read, written := bytes.NewReader(message), 0, 0
				weigh := func(n int, count *int) {
					if *count += n; *count >= 3<<20 { // while what was read is in the buffers
						*count = 0
						require.LessOrEqual(t, int64(liveHeap())-base, limit, "frames of %d and %d bytes, %d goroutines, %v", from, to, workers, id)
					}
				}
				_, err := (&esdk.Client{Concurrency: workers}).Reencrypt(bg, writerFunc(func(p []byte) (int, error) {
					weigh(len(p), &written)
					return len(p), nil
				}), filling{readerFunc(func(p []byte) (int, error) {
					n, err := source.Read(p)
					weigh(n, &read)
					return n, err
				})}, rawAES(t), rawAES(t), &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id, FrameLength: to}})
				require.NoError(t, err)
				runtime.KeepAlive(message)
				runtime.KeepAlive(plaintext)
			}
		}
	}
}

// Nor do the buffers add up that the several ways to use one stream need.
func TestMixedCallsKeepTheirBuffersSmall(t *testing.T) {
	const size = 8 << 20
	for _, id := range parallelSuites {
		c := &esdk.Client{Concurrency: 64}
		opts := &esdk.EncryptOptions{Suite: id}
		message := encrypt(t, id, text(size), *opts)
		plaintext := text(size)
		large := make([]byte, 1<<20)
		var base int64
		start := func() { base = int64(liveHeap()) }
		weighing := func(b []byte) io.Reader {
			r, read, next := bytes.NewReader(b), 0, 1<<20
			return filling{readerFunc(func(p []byte) (int, error) {
				n, err := r.Read(p)
				if read += n; read >= next {
					next = read + 1<<20
					require.LessOrEqual(t, int64(liveHeap())-base, int64(4<<20+2*(4096+32)))
				}
				return n, err
			})}
		}
		start()
		e, err := c.NewEncryptReader(bg, weighing(plaintext), rawAES(t), opts)
		require.NoError(t, err)
		_, err = e.Read(large[:100])
		require.NoError(t, err)
		for range 12 {
			_, err = e.Read(large)
			require.NoError(t, err)
		}
		_, err = e.WriteTo(io.Discard)
		require.NoError(t, err)
		runtime.KeepAlive(e)

		start()
		d, err := c.NewDecryptReader(bg, weighing(message), rawAES(t), nil)
		require.NoError(t, err)
		for range 12 {
			_, err = d.Read(large)
			require.NoError(t, err)
		}
		_, err = d.WriteTo(io.Discard)
		require.NoError(t, err)
		runtime.KeepAlive(d)

		start()
		w, err := c.NewEncryptWriter(bg, io.Discard, rawAES(t), opts)
		require.NoError(t, err)
		_, err = w.Write(plaintext)
		require.NoError(t, err)
		_, err = w.ReadFrom(weighing(plaintext))
		require.NoError(t, err)
		runtime.KeepAlive(w)
		runtime.KeepAlive(plaintext)
		runtime.KeepAlive(large)
	}
}

// Nothing of what was written is kept, beside the part of a frame that is over.
func TestWriteKeepsNothing(t *testing.T) {
	for _, workers := range []int{1, 4} {
		c := &esdk.Client{Concurrency: workers}
		w, err := c.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
		require.NoError(t, err)
		base := int64(liveHeap())
		_, err = w.Write(make([]byte, 20<<20))
		require.NoError(t, err)
		require.LessOrEqual(t, int64(liveHeap())-base, int64(4<<20))
		runtime.KeepAlive(w)
	}
}

// A closed stream keeps none of its buffers, which held plaintext.
func TestCloseKeepsNothing(t *testing.T) {
	const size = 8 << 20
	c := &esdk.Client{Concurrency: 4}
	for _, id := range parallelSuites {
		plaintext := text(size)
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{})
		base := int64(liveHeap())
		d, err := c.NewDecryptReader(bg, filling{bytes.NewReader(message)}, rawAES(t), nil)
		require.NoError(t, err)
		_, err = d.WriteTo(io.Discard)
		require.NoError(t, err)
		require.NoError(t, d.Close())
		w, err := c.NewEncryptWriter(bg, io.Discard, rawAES(t), &esdk.EncryptOptions{Suite: id})
		require.NoError(t, err)
		_, err = w.ReadFrom(filling{bytes.NewReader(plaintext)})
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.LessOrEqual(t, int64(liveHeap())-base, int64(256<<10), "%v", id)
		n, err := d.WriteTo(io.Discard) // closed, and of no harm
		require.NoError(t, err)
		require.Zero(t, n)
		runtime.KeepAlive(w)
		runtime.KeepAlive(plaintext)
		runtime.KeepAlive(message)
	}
}
