package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// A segment is a field of a message. Fields that come and go together, such as
// an encrypted data key's, are of one group.
type segment struct {
	field string
	group string // "pair", "entry", "frame", "footer" or none
	of    int    // which group of that name
	bytes []byte
}

// isNumber reports whether the field is a number.
func (s *segment) isNumber() bool {
	switch s.field {
	case "version", "type", "suite", "content type", "reserved", "IV length", "frame length", "sequence", "content length", "marker":
		return true
	}
	return s.isSize()
}

// isSize reports whether the field counts what follows it.
func (s *segment) isSize() bool {
	return len(s.bytes) == 2 && s.field != "suite" && (strings.HasSuffix(s.field, " size") || strings.HasSuffix(s.field, " count"))
}

// A cutter takes a good message apart.
type cutter struct {
	rest     []byte
	segments []segment
	group    string
	of       int
	err      error
}

func (c *cutter) take(n int, field string) []byte {
	if n > len(c.rest) {
		c.err = errors.New("the message ends in " + field)
		n = len(c.rest)
	}
	b := slices.Clone(c.rest[:n])
	c.rest = c.rest[n:]
	c.segments = append(c.segments, segment{field, c.group, c.of, b})
	return b
}

func (c *cutter) number(n int, field string) (v int) {
	for _, b := range c.take(n, field) {
		v = v<<8 | int(b)
	}
	return v
}

// sized takes a field behind its size.
func (c *cutter) sized(field string) { c.take(c.number(2, field+" size"), field) }

// takeApart returns the segments of a message that must be good.
func takeApart(message []byte) ([]segment, error) {
	h, err := format.ReadHeader(bytes.NewReader(message), 0)
	if err != nil {
		return nil, err
	}
	c := &cutter{rest: message}
	c.take(1, "version")
	if h.Version == 1 {
		c.take(1, "type")
	}
	c.take(2, "suite")
	c.take(len(h.MessageID), "message ID")
	if c.number(2, "context size") > 0 {
		c.group = "pair"
		c.take(2, "pair count")
		c.segments[len(c.segments)-1].group = ""
		for c.of = range len(h.EncryptionContext) {
			c.sized("key")
			c.sized("value")
		}
		c.group = ""
	}
	c.take(2, "entry count")
	c.group = "entry"
	for c.of = range h.EncryptedDataKeys {
		c.sized("provider ID")
		c.sized("provider info")
		c.sized("wrapped key")
	}
	c.group = ""
	c.take(1, "content type")
	if h.Version == 1 {
		c.take(4, "reserved")
		c.take(1, "IV length")
	}
	c.take(4, "frame length")
	if h.Version == 2 {
		c.take(len(h.CommitKey), "commit key")
	} else {
		c.take(suite.IVSize, "header IV")
	}
	c.take(suite.TagSize, "header tag")
	c.body(h)
	c.group = "footer"
	if h.Suite.Signing() {
		c.sized("signature")
	}
	if len(c.rest) > 0 {
		c.err = errors.New("bytes after the message")
	}
	return c.segments, c.err
}

// body takes the frames apart, or the unframed body.
func (c *cutter) body(h *format.Header) {
	c.group = "frame"
	for c.of = 0; c.err == nil; c.of++ {
		size, final := int(h.FrameLength), h.ContentType == format.Unframed
		switch {
		case final:
			c.take(suite.IVSize, "IV")
			size = c.number(8, "content length")
		case len(c.rest) > 4 && binary.BigEndian.Uint32(c.rest) == 0xFFFFFFFF:
			final = true
			c.take(4, "marker")
			c.take(4, "sequence")
			c.take(suite.IVSize, "IV")
			size = c.number(4, "content length")
		default:
			c.take(4, "sequence")
			c.take(suite.IVSize, "IV")
		}
		c.take(size, "content")
		c.take(suite.TagSize, "tag")
		if final {
			return
		}
	}
}

// putTogether is the reverse of takeApart.
func putTogether(segments []segment) []byte {
	var b []byte
	for _, s := range segments {
		b = append(b, s.bytes...)
	}
	return b
}

// groupsOf returns the first and the end of each group of this name.
func groupsOf(segments []segment, name string) (spans [][2]int) {
	for i, s := range segments {
		if s.group != name {
			continue
		}
		if n := len(spans); n > 0 && spans[n-1][1] == i && segments[i-1].of == s.of {
			spans[n-1][1]++
		} else {
			spans = append(spans, [2]int{i, i + 1})
		}
	}
	return spans
}

// indexOf returns where the field first stands, or -1.
func indexOf(segments []segment, field string) int {
	return slices.IndexFunc(segments, func(s segment) bool { return s.field == field })
}

// resize makes the sizes and counts of the encryption context and the number of
// data keys those of what there is.
func resize(segments []segment) {
	size := 0
	for i := range segments {
		s := &segments[i]
		if s.group == "pair" || s.field == "pair count" {
			size += len(s.bytes)
		}
		if i > 0 && segments[i-1].field == s.field+" size" {
			setNumber(&segments[i-1], uint64(len(s.bytes)))
		}
	}
	for field, n := range map[string]int{"context size": size, "pair count": len(groupsOf(segments, "pair")), "entry count": len(groupsOf(segments, "entry"))} {
		if i := indexOf(segments, field); i >= 0 {
			setNumber(&segments[i], uint64(n))
		}
	}
}

// setNumber writes the low bytes of v into the field.
func setNumber(s *segment, v uint64) {
	for i := len(s.bytes) - 1; i >= 0; i-- {
		s.bytes[i] = byte(v)
		v >>= 8
	}
}

func getNumber(s *segment) (v uint64) {
	for _, b := range s.bytes {
		v = v<<8 | uint64(b)
	}
	return v
}
