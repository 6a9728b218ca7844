package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// What a process needs is measured in one of its own for each case: this
// program, started again.
var memoryPeers = []struct {
	name string
	peer func() (*peer.Peer, error)
}{
	{"esdk, streams", func() (*peer.Peer, error) { return streamsOnly(peer.Esdk(peer.Unsigned, 4<<10, 0)) }},
	{"esdk, one-shot", func() (*peer.Peer, error) { return peer.Esdk(peer.Unsigned, 4<<10, 0) }},
	{"AWS Go", func() (*peer.Peer, error) { return peer.Official(peer.Unsigned, 4<<10) }},
	{"sio", peer.Sio},
	{"tink", func() (*peer.Peer, error) { return peer.Tink(1 << 20) }},
	{"age", peer.Age},
}

func streamsOnly(p *peer.Peer, err error) (*peer.Peer, error) {
	if err == nil {
		p.Encrypt, p.Decrypt = nil, nil
	}
	return p, err
}

// memory measures peak memory over message size, and the heap of streams.
func memory(l *lab) error {
	if err := heap(l); err != nil {
		return err
	}
	if _, err := peakMemory(); err != nil {
		fmt.Fprintf(os.Stderr, "peak memory: not measured: %v\n", err)
		return nil
	}
	idle, err := measure("idle", 0)
	if err != nil {
		return err
	}
	head := []string{"size"}
	for _, p := range memoryPeers {
		head = append(head, p.name)
	}
	t := l.table("Peak memory", "MB that a process came to need to encrypt a message to a file and decrypt it again, beyond those of the same program idle. Suite 0478, 4 KiB frames; tink's segments of 1 MiB.", head...)
	c := chart{file: "memory", title: "Peak memory to encrypt and decrypt a file", x: "message size", y: "MB", bytes: true, logY: true}
	for size := 1 << 20; size <= 4*l.size; size *= 4 {
		row := []string{length(size)}
		for _, p := range memoryPeers {
			peak, err := measure(p.name, size)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			mb := float64(peak-idle) / 1e6
			row = append(row, digits(mb))
			c.point(p.name, float64(size), max(mb, 1))
		}
		t.add(row...)
	}
	l.charts = append(l.charts, c)
	return nil
}

// heap measures the heap of 1 GiB streams with the default frame length.
func heap(l *lab) error {
	size := 1 << 30
	if l.size < 64<<20 {
		size = 64 << 20
	}
	t := l.table("Heap of streams of "+length(size), "The most that the heap grew by, in MiB, garbage included: Go's default settings, all cores, default frame length.", "", "suite", "MiB")
	for _, id := range suites {
		for _, direction := range []string{"encrypt", "decrypt"} {
			peak, err := measure("heap-"+direction+"-"+number(id), size)
			if err != nil {
				return err
			}
			mib := float64(peak) / (1 << 20)
			l.atMost("heap of a stream, MiB", 8, direction+" "+number(id), stat{mib, mib, mib})
			t.add(direction, number(id), digits(mib))
		}
	}
	return nil
}

// measure starts the process for a case and returns the bytes that it reports.
func measure(name string, size int) (int64, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(program, "-measure-memory", fmt.Sprintf("%s:%d", name, size))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	fmt.Fprint(os.Stderr, ".")
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}

// memoryChild is that process.
func memoryChild(which string) error {
	name, digits, _ := strings.Cut(which, ":")
	size, err := strconv.Atoi(digits)
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(name, "heap-"); ok {
		return heapChild(rest, size)
	}
	for _, p := range memoryPeers {
		if p.name == name {
			made, err := p.peer()
			if err == nil {
				err = roundTrip(made, size)
			}
			if err != nil {
				return err
			}
		}
	}
	peak, err := peakMemory()
	fmt.Println(peak)
	return err
}

// roundTrip encrypts to a temporary file and decrypts that.
func roundTrip(p *peer.Peer, size int) error {
	f, err := os.CreateTemp("", "esdk-memory-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if p.Encrypt == nil {
		w, err := p.EncryptWriter(onlyWriter{f}) // sio closes what it can
		if err == nil {
			_, err = io.Copy(w, repeated(size))
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
		r, err := p.DecryptReader(f)
		return readAll(r, err, 0, size)
	}
	plaintext := make([]byte, size)
	if _, err := io.ReadFull(repeated(size), plaintext); err != nil {
		return err
	}
	message, err := p.Encrypt(plaintext)
	if err == nil {
		_, err = f.Write(message)
	}
	if err != nil {
		return err
	}
	plaintext = nil
	if message, err = os.ReadFile(f.Name()); err != nil {
		return err
	}
	_, err = p.Decrypt(message)
	return err
}

type onlyWriter struct{ io.Writer }

// heapChild reports the most that the heap grew by during a stream.
func heapChild(which string, size int) error {
	direction, id, _ := strings.Cut(which, "-")
	suite := peer.Unsigned
	if id == number(peer.Signed) {
		suite = peer.Signed
	}
	p, err := peer.Esdk(suite, 0, 0)
	if err != nil {
		return err
	}
	message, err := p.Encrypt(pattern)
	if err == nil {
		_, err = p.Decrypt(message) // what is made once is made
	}
	if err != nil {
		return err
	}
	runtime.GC()
	runtime.GC()
	w := &watched{}
	start := w.look()
	if direction == "encrypt" {
		w.r = repeated(size)
		err = writeAll(p, w)
	} else {
		// A message of any length from memory: the frames of a real one come
		// from the encrypting stream, whose heap counts as well.
		var r io.Reader
		if r, err = p.EncryptReader(repeated(size)); err == nil {
			w.r = filling{r}
			r, err = p.DecryptReader(w)
			err = readAll(r, err, 0, size)
		}
	}
	w.look()
	fmt.Println(w.peak - start)
	return err
}

// filling gives all that it is asked for, as files do, so that who reads it
// has the largest buffers that he can come to have.
type filling struct{ io.Reader }

func (r filling) Read(p []byte) (int, error) {
	n, err := io.ReadFull(r.Reader, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// watched looks at the heap now and then while it is read.
type watched struct {
	r     io.Reader
	reads int
	peak  uint64
}

func (w *watched) Read(p []byte) (int, error) {
	if w.reads++; w.reads%16 == 0 {
		w.look()
	}
	return w.r.Read(p)
}

func (w *watched) look() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.peak = max(w.peak, m.HeapAlloc)
	return m.HeapAlloc
}

// peakMemory returns the most memory that this process had resident, where
// the system tells.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}
