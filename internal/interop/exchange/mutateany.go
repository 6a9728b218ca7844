package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"unicode/utf8"
)

// any returns one of the segments that ok holds for, or nil.
func (m *mutant) any(ok func(s *segment) bool) *segment {
	var fit []*segment
	for i := range m.segments {
		if ok(&m.segments[i]) {
			fit = append(fit, &m.segments[i])
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[m.IntN(len(fit))]
}

func (m *mutant) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

// one returns one of the choices.
func one[T any](m *mutant, choices ...T) T { return choices[m.IntN(len(choices))] }

// anyMutations know nothing of what they alter.
var anyMutations = []mutation{
	{"bit flipped", 10, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return len(s.bytes) > 0 })
		s.bytes[m.IntN(len(s.bytes))] ^= 1 << m.IntN(8)
		return s.field
	}},
	{"byte set", 6, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return len(s.bytes) > 0 })
		s.bytes[m.IntN(len(s.bytes))] = one[byte](m, 0, 1, 0x7f, 0x80, 0xff)
		return s.field
	}},
	{"number changed", 14, func(m *mutant) string {
		s := m.any((*segment).isNumber)
		v := getNumber(s)
		setNumber(s, one(m, v+1, v-1, 0, 1, 1<<63-1, 1<<64-1, 1<<31, 1<<15, v<<8, m.Uint64()))
		return s.field
	}},
	{"field resized", 6, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return !s.isNumber() && len(s.bytes) > 0 })
		switch n := m.IntN(len(s.bytes)); m.IntN(4) {
		case 0:
			s.bytes = s.bytes[:n]
		case 1:
			s.bytes = append(s.bytes, m.bytes(1+m.IntN(3))...)
		case 2:
			s.bytes = slices.Insert(s.bytes, n, m.bytes(1)...)
		case 3:
			s.bytes = nil
		}
		if m.IntN(4) == 0 {
			return s.field + " but not its size"
		}
		if s.field == "content" {
			renumber(m.segments)
		}
		resize(m.segments)
		return s.field
	}},
	{"group moved", 10, func(m *mutant) string {
		name := one(m, "pair", "entry", "frame", "frame")
		spans := groupsOf(m.segments, name)
		if len(spans) == 0 {
			return ""
		}
		a, b := spans[m.IntN(len(spans))], spans[m.IntN(len(spans))]
		part := func(span [2]int) (copied []segment) {
			for _, s := range m.segments[span[0]:span[1]] {
				s.bytes = slices.Clone(s.bytes)
				s.of = m.IntN(1 << 30)
				copied = append(copied, s)
			}
			for i := range copied {
				copied[i].of = copied[0].of
			}
			return copied
		}
		var what string
		switch m.IntN(3) {
		case 0:
			what = name + " left out"
			m.segments = slices.Delete(m.segments, a[0], a[1])
		case 1:
			what = name + " twice"
			m.segments = slices.Insert(m.segments, b[0], part(a)...)
		case 2:
			if a == b {
				return ""
			}
			if a[0] > b[0] {
				a, b = b, a
			}
			what = name + "s exchanged"
			m.segments = slices.Concat(m.segments[:a[0]], part(b), m.segments[a[1]:b[0]], part(a), m.segments[b[1]:])
		}
		if m.IntN(5) > 0 {
			resize(m.segments)
		}
		return what
	}},
	{"bytes", 6, func(m *mutant) string {
		var what string
		var f func(b []byte) []byte
		at, n := m.Float64(), 1+m.IntN(40)
		switch m.IntN(5) {
		case 0:
			what, f = "cut off", func(b []byte) []byte { return b[:int(at*float64(len(b)))] }
		case 1:
			what, f = "inserted", func(b []byte) []byte { return slices.Insert(slices.Clone(b), int(at*float64(len(b))), m.bytes(n)...) }
		case 2:
			what, f = "left out", func(b []byte) []byte {
				i := int(at * float64(len(b)))
				return slices.Delete(slices.Clone(b), i, min(i+n, len(b)))
			}
		case 3:
			what, f = "repeated", func(b []byte) []byte {
				i := int(at * float64(len(b)))
				return slices.Insert(slices.Clone(b), i, b[i:min(i+n, len(b))]...)
			}
		case 4:
			what, f = "set", func(b []byte) []byte {
				b = slices.Clone(b)
				copy(b[int(at*float64(len(b))):], m.bytes(n))
				return b
			}
		}
		if m.IntN(3) == 0 {
			m.after = append(m.after, f)
			return what + " at last"
		}
		m.before = append(m.before, f)
		return what
	}},
	{"Base64", 1, func(m *mutant) string {
		m.after = append(m.after, func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) })
		return "of it all"
	}},
	{"trailing bytes", 2, func(m *mutant) string {
		tail := one(m, []byte{0}, []byte{0, 0}, m.bytes(100), m.base.message, []byte{0xff, 0xff, 0xff, 0xff})
		m.after = append(m.after, func(b []byte) []byte { return slices.Concat(b, tail) })
		return fmt.Sprint(len(tail))
	}},
}

// readerMutations alter what the reader asks for.
var readerMutations = []mutation{
	{"reader's context", 10, func(m *mutant) string {
		pairs := groupsOf(m.segments, "pair")
		m.reproduced = map[string]string{}
		what := one(m, "nothing", "a stored pair", "a stored key, another value", "one more pair", "all pairs", "a reserved key")
		for i, span := range pairs {
			if i > 0 && what != "all pairs" {
				break
			}
			pair := m.segments[pairs[m.IntN(len(pairs))][0]:]
			if what == "all pairs" {
				pair = m.segments[span[0]:]
			}
			if what != "a stored pair" && what != "a stored key, another value" && what != "all pairs" || span[1]-span[0] != 4 {
				continue
			}
			m.reproduced[string(pair[1].bytes)] = string(pair[3].bytes)
			if what == "a stored key, another value" {
				m.reproduced[string(pair[1].bytes)] += "x"
			}
		}
		switch what {
		case "one more pair":
			m.reproduced[one(m, texts...)] = one(m, texts...)
		case "a reserved key":
			m.reproduced[one(m, "aws-crypto-", "aws-crypto-public-key", "aws-crypto-other")] = "value"
		}
		for k, v := range m.reproduced { // what is no text is lost in the case's line
			if !utf8.ValidString(k + v) {
				delete(m.reproduced, k)
			}
		}
		return what
	}},
	{"reader's limit of data keys", 4, func(m *mutant) string {
		m.maxKeys = 1 + m.IntN(3)
		return fmt.Sprint(m.maxKeys)
	}},
}
