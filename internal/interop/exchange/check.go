package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/esdk-go/esdk/format"
)

// checkMessage decrypts what a peer wrote, whole and as a stream.
func (c *Case) checkMessage(ctx context.Context, message []byte) error {
	p, err := c.reader(ctx)
	if err != nil {
		return err
	}
	want := plaintext(c.Length)
	got, header, err := c.client().Decrypt(ctx, message, p, c.decryptOptions())
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("another plaintext")
	}
	if header.Suite != c.suite() {
		return fmt.Errorf("suite %v", header.Suite)
	}
	if int64(header.FrameLength) != c.FrameLength {
		return fmt.Errorf("frame length %d", header.FrameLength)
	}
	if len(header.EncryptedDataKeys) != len(c.Keys) {
		return fmt.Errorf("%d encrypted data keys", len(header.EncryptedDataKeys))
	}
	if err := c.checkContext(header.EncryptionContext); err != nil {
		return err
	}
	r, err := c.client().NewDecryptReader(ctx, bytes.NewReader(message), p, c.decryptOptions())
	if err != nil {
		return fmt.Errorf("as a stream: %w", err)
	}
	got, err = io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("as a stream: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("another plaintext as a stream")
	}
	return checkRaw(message)
}

// checkRaw checks that the header that was read is, written again, the message's.
func checkRaw(message []byte) error {
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	if err != nil {
		return err
	}
	b, err := h.AppendBinary(nil)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(message, b) || len(b)+r.Len() != len(message) {
		return errors.New("the header written again differs")
	}
	return nil
}

// check gives the outcome of both directions: a skip, an error or neither. A
// case with an altered message has one direction.
func (c *Case) check(ctx context.Context, r *Result) (encrypt, decrypt outcome) {
	switch {
	case c.Altered != "":
		encrypt = outcome{Skip: "altered"}
	case r == nil:
		encrypt.Error = "no result"
	case r.EncryptSkip != "":
		encrypt.Skip = r.EncryptSkip
	case r.EncryptError != "":
		encrypt.Error = "peer refused to encrypt: " + r.EncryptError
	default:
		if err := c.checkMessage(ctx, r.Message); err != nil {
			encrypt.Error = "esdk refused the peer's message: " + err.Error()
		}
	}
	switch {
	case r == nil:
		decrypt.Error = "no result"
	case r.DecryptSkip != "":
		decrypt.Skip = r.DecryptSkip
	case c.Altered != "" && r.DecryptError == "":
		decrypt.Error = "peer accepted an altered message"
	case c.Altered != "":
	case r.DecryptError != "":
		decrypt.Error = "peer refused esdk's message: " + r.DecryptError
	case r.SHA256 != c.hash():
		decrypt.Error = "peer got another plaintext"
	case r.Context != nil:
		if err := c.checkContext(r.Context); err != nil {
			decrypt.Error = "peer: " + err.Error()
		}
	}
	return encrypt, decrypt
}

// An outcome of one direction of a case; neither field is set if all is well.
type outcome struct {
	Error string `json:"error,omitempty"`
	Skip  string `json:"skip,omitempty"`
}
