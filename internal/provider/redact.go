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
type Redacted struct{ text string }

// Redact returns a Redacted with this text.
func Redact(format string, args ...any) Redacted { return Redacted{fmt.Sprintf(format, args...)} }

// String returns the text.
func (r Redacted) String() string {
	if r.text == "" {
		return "(redacted)"
	}
	return r.text
}

// Format writes the text, whatever the verb.
func (r Redacted) Format(s fmt.State, _ rune) { io.WriteString(s, r.String()) }

// MarshalText returns the text, for encoding/json and log/slog.
func (r Redacted) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
