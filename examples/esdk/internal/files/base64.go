package files

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// LooksBase64 reports whether what r gives first is a message in Base64: it begins
// with AY or Ag, as no message does, after white space or none. It takes nothing
// from r.
func LooksBase64(r *bufio.Reader) (bool, error) {
	start, err := r.Peek(256)
	if err != nil && err != io.EOF {
		return false, err
	}
	start = bytes.TrimLeft(start, " \t\r\n")
	return bytes.HasPrefix(start, []byte("AY")) || bytes.HasPrefix(start, []byte("Ag")), nil
}

// DecodeBase64 returns a reader of what r has in Base64, with white space anywhere
// or none. Whatever follows the padding is an error.
func DecodeBase64(r io.Reader) io.Reader {
	return &base64Reader{base64.NewDecoder(base64.StdEncoding, &base64Text{r: r})}
}

// base64Reader says of what kind the text is that is cut short.
type base64Reader struct{ r io.Reader }

func (b *base64Reader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("the Base64 text is cut short: %w", err)
	}
	return n, err
}

// base64Text leaves out white space.
type base64Text struct {
	r      io.Reader
	padded bool
}

func (t *base64Text) Read(p []byte) (int, error) {
	for {
		n, err := t.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			switch c {
			case ' ', '\t', '\r', '\n', '\v', '\f':
				continue
			case '=':
				t.padded = true
			default:
				if t.padded {
					return 0, errors.New("something follows the padding of the Base64 text")
				}
			}
			p[kept] = c
			kept++
		}
		if kept > 0 || err != nil || len(p) == 0 {
			return kept, err
		}
	}
}

// EncodeBase64 returns a writer that writes to w in Base64, in one line and without
// an end of it, as aws-encryption-cli does. It is complete when it was closed.
func EncodeBase64(w io.Writer) io.WriteCloser {
	buffer := bufio.NewWriterSize(w, 64<<10)
	return &base64Writer{base64.NewEncoder(base64.StdEncoding, buffer), buffer}
}

type base64Writer struct {
	io.WriteCloser
	buffer *bufio.Writer
}

func (w *base64Writer) Close() error {
	if err := w.WriteCloser.Close(); err != nil {
		return err
	}
	return w.buffer.Flush()
}
