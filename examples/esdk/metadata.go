package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// headerRecord is a header in the form of aws-encryption-cli's metadata: its fields,
// with binary values in Base64.
func headerRecord(h *format.Header) map[string]any {
	type provider struct {
		Info []byte `json:"key_info"`
		ID   []byte `json:"provider_id"`
	}
	type dataKey struct {
		Ciphertext []byte   `json:"encrypted_data_key"`
		Provider   provider `json:"key_provider"`
	}
	keys := make([]dataKey, 0, len(h.EncryptedDataKeys))
	for _, k := range h.EncryptedDataKeys {
		keys = append(keys, dataKey{k.Ciphertext, provider{k.ProviderInfo, []byte(k.ProviderID)}})
	}
	slices.SortStableFunc(keys, func(a, b dataKey) int {
		return bytes.Compare(slices.Concat(a.Provider.ID, a.Provider.Info), slices.Concat(b.Provider.ID, b.Provider.Info))
	})
	context := h.EncryptionContext
	if context == nil {
		context = map[string]string{}
	}
	record := map[string]any{
		"version":             fmt.Sprintf("%d.0", h.Version),
		"type":                nil,
		"algorithm":           suiteName(h.Suite),
		"message_id":          h.MessageID,
		"encryption_context":  context,
		"encrypted_data_keys": keys,
		"content_type":        int(h.ContentType),
		"header_iv_length":    nil,
		"frame_length":        h.FrameLength,
		"commitment_key":      nil,
	}
	if h.Version == 1 { // whose messages have these two fields
		record["type"], record["header_iv_length"] = 128, suite.IVSize
	} else {
		record["commitment_key"] = h.CommitKey
	}
	return record
}

// authenticationRecord is the header authentication. Version 2 of the format stores
// no IV: it is zero.
func authenticationRecord(h *format.Header) map[string]any {
	iv := h.IV
	if len(iv) == 0 {
		iv = make([]byte, suite.IVSize)
	}
	return map[string]any{"iv": iv, "tag": h.Tag}
}

// jsonLine returns a record as one line.
func jsonLine(record any) ([]byte, error) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	err := e.Encode(record)
	return line.Bytes(), err
}

// A mismatch is why a message was not decrypted although nothing may be wrong with
// it: its encryption context is another one.
type mismatch struct {
	header *format.Header
	keys   []string    // that are missing
	pairs  [][2]string // that are missing
	err    error       // of the library, if that found it
}

func (m *mismatch) Error() string {
	if m.err != nil {
		return m.err.Error()
	}
	var missing []string
	for _, key := range m.keys {
		missing = append(missing, fmt.Sprintf("%q", key))
	}
	for _, pair := range m.pairs {
		missing = append(missing, fmt.Sprintf("%q=%q", pair[0], pair[1]))
	}
	return "the encryption context of the message lacks " + strings.Join(missing, ", ")
}

func (m *mismatch) Unwrap() error { return m.err }

// compare returns what the encryption context of the header lacks, or nil.
func compare(h *format.Header, pairs map[string]string, present []string) *mismatch {
	m := &mismatch{header: h}
	for _, key := range present {
		if _, ok := h.EncryptionContext[key]; !ok {
			m.keys = append(m.keys, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if value, ok := h.EncryptionContext[key]; !ok || value != pairs[key] {
			m.pairs = append(m.pairs, [2]string{key, pairs[key]})
		}
	}
	if m.keys == nil && m.pairs == nil {
		return nil
	}
	return m
}

// A log is the file of the metadata. It is opened for the first record, so that a run
// in which nothing succeeds leaves it as it is.
type log struct {
	name      string // "-": stdout
	overwrite bool
	stdout    io.Writer

	mu   sync.Mutex
	file io.Writer
}

// write adds a record: one line, in one piece.
func (l *log) write(record map[string]any) error {
	line, err := jsonLine(record)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		if l.name == "-" {
			l.file = l.stdout
		} else {
			flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
			if l.overwrite {
				flags |= os.O_TRUNC
			}
			file, err := os.OpenFile(l.name, flags, 0o666)
			if err != nil {
				return fmt.Errorf("metadata: %w", err)
			}
			l.file = file
		}
	}
	if _, err := l.file.Write(line); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

func (l *log) close() error {
	if file, ok := l.file.(*os.File); ok && l.name != "-" {
		return file.Close()
	}
	return nil
}
