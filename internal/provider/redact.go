package provider

import (
	"fmt"
	"io"
)

// Redacted is embedded in types that hold secrets. Its methods keep fmt with
// every verb, log/slog and encoding/json from printing the other fields: they
// show its text, which in the zero value is "(redacted)".
//
// fmt calls no methods of values in unexported fields, so there it prints the
// fields of the embedding type. A type that lives long keeps its secrets where
// fmt does not follow: behind a second pointer or in a function.
//
// Packages embed it under an unexported name: type redacted = provider.Redacted.
type Redacted struct{ text func() string }

// Redact returns a Redacted with this text.
func Redact(format string, args ...any) Redacted {
	text := fmt.Sprintf(format, args...)
	return RedactAs(func() string { return text })
}

// RedactAs returns a Redacted whose text is what the function returns at the
// time.
func RedactAs(text func() string) Redacted { return Redacted{text} }

// String returns the text.
func (r Redacted) String() string {
	if r.text == nil {
		return "(redacted)"
	}
	return r.text()
}

// Format writes the text, whatever the verb.
func (r Redacted) Format(s fmt.State, _ rune) { io.WriteString(s, r.String()) }

// MarshalText returns the text, for encoding/json and log/slog.
func (r Redacted) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
