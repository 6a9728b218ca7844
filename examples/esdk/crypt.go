package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/examples/esdk/internal/files"
	"github.com/esdk-go/esdk/format"
)

// An outcome is what a task led to.
type outcome struct {
	header    *format.Header
	plaintext int64 // bytes; negative: nobody counted
}

// process does the task: its output is complete and verified, or there is none and an
// error. Standard output and devices are the exception: what they got before the
// error cannot be taken back, unless the job buffers it.
func (r *run) process(ctx context.Context, t *task) (*outcome, error) {
	var in io.Reader = os.Stdin
	if t.input != "-" {
		f, err := t.open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	in = r.progress.reader(in)

	file, end, err := r.sinkOf(t)
	if err != nil {
		return nil, err
	}
	defer func() { end(false) }()
	direct := &noticingWriter{Writer: io.Discard}
	if file != nil {
		direct.Writer = file
	}
	var out io.Writer = direct
	var held *bytes.Buffer
	if r.buffer && (t.kind == toStdout || t.kind == toDevice) {
		held = new(bytes.Buffer)
		out = held
	}
	var encoder io.WriteCloser
	sink := out
	if r.encode && t.kind != toNowhere {
		encoder = files.EncodeBase64(out)
		sink = encoder
	}

	var done *outcome
	switch r.mode {
	case encrypting:
		done, err = r.encrypt(ctx, sink, in, t)
	case reencrypting:
		done, err = r.reencrypt(ctx, sink, in)
	default:
		done, err = r.decrypt(ctx, sink, in)
	}
	if err == nil && encoder != nil {
		err = encoder.Close()
	}
	if err == nil && held != nil {
		_, err = direct.Write(held.Bytes())
	}
	if err == nil {
		err = end(true)
	} else if direct.used && (t.kind == toStdout || t.kind == toDevice) && r.mode != encrypting {
		err = fmt.Errorf("%w (discard what was written: it is not known to be whole)", err)
	}
	if err != nil {
		return nil, err
	}
	return done, nil
}

// A noticingWriter notices whether anything was written.
type noticingWriter struct {
	io.Writer
	used bool
}

func (w *noticingWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.used = w.used || n > 0
	return n, err
}

// open opens the input. A link that took the place of a file that was found in a
// folder, or of a folder on the way, leads to nothing outside.
func (t *task) open() (*os.File, error) {
	if t.found.Dir == "" {
		return os.Open(t.input)
	}
	root, err := os.OpenRoot(t.found.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(t.found.Below)
}

// encrypt writes the message of what it reads.
func (r *run) encrypt(ctx context.Context, w io.Writer, in io.Reader, t *task) (*outcome, error) {
	if r.decode {
		in = files.DecodeBase64(in)
	}
	opts := r.encryptOptions()
	if r.caching != nil && r.caching.MaxBytes > 0 && t.info != nil && t.info.Mode().IsRegular() {
		opts.MaxPlaintextLength = max(1, t.info.Size()) // without it such a cache is not used
	}
	if r.unframed {
		plaintext, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		opts.Unframed = true
		message, header, err := r.client.Encrypt(ctx, plaintext, r.from, opts)
		if err != nil {
			return nil, err
		}
		_, err = w.Write(message)
		return &outcome{header, int64(len(plaintext))}, err
	}
	e, err := r.client.NewEncryptWriter(ctx, w, r.from, opts)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(e, in)
	if err != nil {
		e.CloseWithError(err)
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return &outcome{e.Header(), n}, nil
}

func (r *run) encryptOptions() *esdk.EncryptOptions {
	o := &esdk.EncryptOptions{Suite: r.suite, FrameLength: r.frameLength}
	if r.mode == encrypting {
		o.EncryptionContext = r.pairs
	}
	return o
}

func (r *run) decryptOptions() *esdk.DecryptOptions {
	return &esdk.DecryptOptions{EncryptionContext: r.pairs, Signature: r.signature(), MaxFrameLength: r.maxFrameLength}
}

// decrypt writes the plaintext of the message that it reads.
func (r *run) decrypt(ctx context.Context, w io.Writer, in io.Reader) (*outcome, error) {
	message, header, err := r.message(in)
	if err != nil {
		return nil, err
	}
	d, err := r.client.NewDecryptReader(ctx, message, r.from, r.decryptOptions())
	if err != nil {
		return nil, r.explain(header, err)
	}
	n, err := io.Copy(w, d)
	if err != nil {
		return nil, err
	}
	return &outcome{d.Header(), n}, nil
}

// message returns the message that comes from in, decoded if it is in Base64. If the
// job wants to know about its encryption context, it returns the header, too, and
// fails if that alone shows that it is another one.
func (r *run) message(in io.Reader) (io.Reader, *format.Header, error) {
	message, err := decoded(in, r.decode)
	if err != nil || r.pairs == nil && r.present == nil {
		return message, nil, err
	}
	header, err := format.ReadHeader(message, r.client.MaxEncryptedDataKeys)
	if err != nil {
		return nil, nil, err
	}
	stored := make(map[string]string) // the pairs to compare at once: what is not stored may be authenticated
	for key, value := range r.pairs {
		if _, ok := header.EncryptionContext[key]; ok {
			stored[key] = value
		}
	}
	if compare(header, stored, r.present) != nil {
		return nil, nil, compare(header, r.pairs, r.present)
	}
	raw, err := header.AppendBinary(nil)
	if err != nil {
		return nil, nil, err
	}
	return io.MultiReader(bytes.NewReader(raw), message), header, nil
}

// explain makes a mismatch of an error, if the message does not store a pair that it
// must have.
func (r *run) explain(header *format.Header, err error) error {
	if header == nil {
		return err
	}
	if m := compare(header, r.pairs, r.present); m != nil {
		m.err = err
		return m
	}
	return err
}

// decoded returns a message, decoded if it is in Base64. expected says that somebody
// said so: then it is Base64 unless it begins as a message does.
func decoded(in io.Reader, expected bool) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	base64, err := files.LooksBase64(buffered)
	if err != nil {
		return nil, err
	}
	if expected && !base64 {
		first, err := buffered.Peek(1)
		base64 = err == nil && first[0] != 1 && first[0] != 2
	}
	if base64 {
		return files.DecodeBase64(buffered), nil
	}
	return buffered, nil
}

// reencrypt writes the message that it reads under other keys.
func (r *run) reencrypt(ctx context.Context, w io.Writer, in io.Reader) (*outcome, error) {
	message, header, err := r.message(in)
	if err != nil {
		return nil, err
	}
	h, err := r.client.Reencrypt(ctx, w, message, r.from, r.to, &esdk.ReencryptOptions{Decrypt: *r.decryptOptions(), Encrypt: *r.encryptOptions()})
	if err != nil {
		if errors.Is(err, esdk.ErrEncryptionContext) { // and not something in the middle of the message
			err = r.explain(header, err)
		}
		return nil, err
	}
	return &outcome{header: h, plaintext: -1}, nil
}

// describeKey returns an encrypted data key as people read it.
func describeKey(k format.EncryptedDataKey) string {
	info := k.ProviderInfo
	if strings.IndexFunc(string(info), func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) >= 0 && len(info) > 20 {
		info = info[:len(info)-20] // a raw AES key: its name, then 20 binary bytes
	}
	return show(k.ProviderID) + " " + show(string(info))
}
