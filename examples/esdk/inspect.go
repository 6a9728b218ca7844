package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
	"github.com/esdk-go/esdk/examples/esdk/internal/files"
	"github.com/esdk-go/esdk/format"
)

// inspectedDataKeys is the default of --max-encrypted-data-keys: a header of the most
// that the format allows, 65,535, can have 12 GB.
const inspectedDataKeys = 100

// inspect shows the headers of messages. It uses no keys, so nothing that it shows is
// authentic.
func (p *program) inspect(line *cmdline.Line) int {
	most, given, err := number(line, "max-encrypted-data-keys", 1, math.MaxUint16)
	if err != nil {
		return p.usage("help inspect", err)
	}
	if !given {
		most = inspectedDataKeys
	}
	inputs := line.Operands
	if len(inputs) == 0 {
		inputs = []string{"-"}
	}
	walk := files.Walk{Follow: line.Has("follow-symlinks"), Left: func(path, reason string) { p.warn("left out %s: %s", show(path), reason) }}
	status := statusDone
	for _, name := range inputs {
		found := []files.Input{{Path: name}}
		if info, err := os.Stat(name); name != "-" && err == nil && info.IsDir() {
			if found[0].Err = errors.New("it is a folder; -r reads folders"); line.Has("recursive") {
				found = walk.Folder(name)
			}
		}
		for _, in := range found {
			text, err := "", in.Err
			if err == nil {
				text, err = inspectFile(in.Path, line.Has("decode"), line.Has("json"), int(most))
			}
			if err != nil {
				p.fail(in.Path, err)
				status = statusFailed
				continue
			}
			if p.out(text) != statusDone {
				return statusFailed
			}
		}
	}
	return status
}

func inspectFile(name string, decode, asJSON bool, most int) (string, error) {
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.Open(name); err != nil {
			return "", err
		}
		defer file.Close()
	}
	message, err := decoded(file, decode)
	if err != nil {
		return "", err
	}
	header, err := format.ReadHeader(message, most)
	if errors.Is(err, format.ErrTooManyDataKeys) {
		return "", fmt.Errorf("%w; --max-encrypted-data-keys raises that", err)
	}
	if err != nil {
		return "", err
	}
	raw, err := header.AppendBinary(nil)
	if err != nil {
		return "", err
	}
	rest, err := io.Copy(io.Discard, message)
	if err != nil {
		return "", err
	}
	length := int64(len(raw)) + rest
	plaintext, err := header.PlaintextLength(length)
	if err != nil {
		plaintext = -1 // the message is cut short, or something follows it
	}
	if asJSON {
		record := map[string]any{
			"input": show(name), "header": headerRecord(header), "header_auth": authenticationRecord(header),
			"message_length": length, "plaintext_length": nil,
		}
		if name != "-" {
			record["input"] = name
		}
		if plaintext >= 0 {
			record["plaintext_length"] = plaintext
		}
		line, err := jsonLine(record)
		return string(line), err
	}
	return describeHeader(name, header, length, plaintext), nil
}

func describeHeader(name string, h *format.Header, length, plaintext int64) string {
	var text strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&text, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&text, "%s\n", show(name))
	row("suite", "%s", suiteName(h.Suite))
	properties := []string{"no key commitment", "not signed"}
	if h.Suite.Committing() {
		properties[0] = "commits to its key"
	}
	if h.Suite.Signing() {
		properties[1] = "signed"
	}
	row("", "%s", strings.Join(properties, ", "))
	body := "unframed"
	if h.ContentType == format.Framed {
		body = fmt.Sprintf("frames of %d bytes", h.FrameLength)
	}
	row("format", "version %d, %s", h.Version, body)
	row("message ID", "%x", h.MessageID)
	switch {
	case plaintext < 0:
		row("length", "%d bytes, which no whole message has", length)
	case h.Suite.Signing():
		row("length", "%d bytes, of plaintext about %d", length, plaintext)
	default:
		row("length", "%d bytes, of plaintext %d", length, plaintext)
	}
	for i, k := range h.EncryptedDataKeys {
		label := ""
		if i == 0 {
			label = "data keys"
		}
		row(label, "%s", describeKey(k))
	}
	for i, key := range slices.Sorted(maps.Keys(h.EncryptionContext)) {
		label := ""
		if i == 0 {
			label = "context"
		}
		row(label, "%q = %q", key, h.EncryptionContext[key])
	}
	return text.String()
}
