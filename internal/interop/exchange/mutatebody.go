package main

import (
	"encoding/asn1"
	"math/big"
	"slices"

	"github.com/esdk-go/esdk/suite"
)

// renumber gives the frames the sequence numbers that are due, and the final
// frame the length that it has.
func renumber(segments []segment) {
	for i, span := range groupsOf(segments, "frame") {
		var size *segment
		for j := span[0]; j < span[1]; j++ {
			switch s := &segments[j]; s.field {
			case "sequence":
				setNumber(s, uint64(i+1))
			case "content length":
				size = s
			case "content":
				if size != nil {
					setNumber(size, uint64(len(s.bytes)))
				}
			}
		}
	}
}

// frame returns the fields of a regular frame.
func (m *mutant) frame(content []byte) []segment {
	of := m.IntN(1 << 30)
	field := func(name string, b []byte) segment { return segment{name, "frame", of, b} }
	return []segment{field("sequence", make([]byte, 4)), field("IV", m.bytes(suite.IVSize)), field("content", content), field("tag", make([]byte, suite.TagSize))}
}

// bodyMutations alter frames and the footer, whose tags and signature are then
// made again.
var bodyMutations = []mutation{
	{"frames", 10, func(m *mutant) string {
		spans := groupsOf(m.segments, "frame")
		length := int(getNumber(&m.segments[indexOf(m.segments, "frame length")]))
		if len(spans) == 0 || length == 0 || length > 1<<16 {
			return ""
		}
		last := spans[len(spans)-1]
		what := one(m, "one more", "five more", "the last one empty", "the last one full", "the last one too long", "the last one first", "two last ones")
		switch what {
		case "one more", "five more":
			for range map[string]int{"one more": 1, "five more": 5}[what] {
				m.segments = slices.Insert(m.segments, spans[0][0], m.frame(m.bytes(length))...)
			}
		case "the last one empty", "the last one full", "the last one too long":
			n := map[string]int{"the last one full": length, "the last one too long": length + 1 + m.IntN(2*length)}[what]
			for i := last[0]; i < last[1]; i++ {
				if m.segments[i].field == "content" {
					m.segments[i].bytes = m.bytes(n)
				}
			}
		case "the last one first":
			moved := slices.Clone(m.segments[last[0]:last[1]])
			m.segments = slices.Insert(slices.Delete(m.segments, last[0], last[1]), spans[0][0], moved...)
		case "two last ones":
			again := slices.Clone(m.segments[last[0]:last[1]])
			for i := range again {
				again[i].of, again[i].bytes = -1, slices.Clone(again[i].bytes)
			}
			m.segments = slices.Insert(m.segments, last[1], again...)
		}
		renumber(m.segments)
		return what
	}},
	{"frames renumbered", 3, func(m *mutant) string {
		renumber(m.segments)
		return "as is due"
	}},
	{"sequence number", 5, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.field == "sequence" })
		if s == nil {
			return ""
		}
		v := getNumber(s)
		setNumber(s, one(m, 0, v+1, v-1, 1<<31, 1<<32-1, 1<<32-2))
		return s.field
	}},
	{"IV of a frame", 4, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.field == "IV" })
		if s == nil {
			return ""
		}
		copy(s.bytes, one(m, m.bytes(suite.IVSize), make([]byte, suite.IVSize)))
		return "another"
	}},
	{"content length", 5, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.field == "content length" })
		if s == nil {
			return ""
		}
		v := getNumber(s)
		setNumber(s, one(m, 0, v+1, v-1, 1<<31-1, 1<<31, 1<<32-1, 1<<36-32, 1<<36-31, 1<<63, 1<<64-1))
		return "another"
	}},
	{"tag altered", 3, func(m *mutant) string {
		at := m.IntN(1 << 20)
		m.after = append(m.after, func(b []byte) []byte { // in the last 300 bytes
			b = slices.Clone(b)
			if n := min(300, len(b)); n > 0 {
				b[len(b)-1-at%n] ^= 1
			}
			return b
		})
		return "or what is near"
	}},
	{"signature", 10, func(m *mutant) string {
		if len(groupsOf(m.segments, "footer")) == 0 {
			return ""
		}
		what := one(m, signatures...)
		m.sealer.AlterSignature = func(der []byte) []byte { return resign(der, what, m.bytes(4)) }
		return what
	}},
}

// signatures are ways to write a signature.
var signatures = []string{"n - s", "r and s exchanged", "zero before r", "zero before s", "long form of the length", "bytes behind it", "bytes within it",
	"negative r", "r of 0", "r and s alone", "empty", "twice", "indefinite length", "65,535 bytes", "s + n", "r + n", "another tag"}

// resign writes the signature in another way: only n - s is as good as s.
func resign(der []byte, what string, random []byte) []byte {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return der
	}
	order := suite.AES256GCMHKDFSHA512CommitKeyECDSAP384.Curve().Params().N
	if len(der) < 90 {
		order = suite.AES128GCMHKDFSHA256ECDSAP256.Curve().Params().N
	}
	number := func(v *big.Int, zeros int) []byte {
		b := append(make([]byte, zeros), v.Bytes()...)
		if v.Bit(len(v.Bytes())*8-1) == 1 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	sequence := func(parts ...[]byte) []byte {
		all := slices.Concat(parts...)
		return append([]byte{0x30, byte(len(all))}, all...)
	}
	switch what {
	case "n - s":
		return sequence(number(sig.R, 0), number(sig.S.Sub(order, sig.S), 0))
	case "r and s exchanged":
		return sequence(number(sig.S, 0), number(sig.R, 0))
	case "zero before r":
		return sequence(number(sig.R, 1), number(sig.S, 0))
	case "zero before s":
		return sequence(number(sig.R, 0), number(sig.S, 1))
	case "long form of the length":
		return slices.Concat([]byte{0x30, 0x81}, der[1:])
	case "bytes behind it":
		return append(der, random...)
	case "bytes within it":
		return sequence(der[2:], random)
	case "negative r":
		b := number(sig.R, 0)
		if b[2] == 0 {
			b = append([]byte{2, b[1] - 1}, b[3:]...)
		}
		return sequence(b, number(sig.S, 0))
	case "r of 0":
		return sequence([]byte{2, 1, 0}, number(sig.S, 0))
	case "r and s alone":
		return append(sig.R.Bytes(), sig.S.Bytes()...)
	case "empty":
		return nil
	case "twice":
		return append(der, der...)
	case "indefinite length":
		return slices.Concat([]byte{0x30, 0x80}, der[2:], []byte{0, 0})
	case "65,535 bytes":
		return append(der, make([]byte, 65535-len(der))...)
	case "s + n":
		return sequence(number(sig.R, 0), number(sig.S.Add(order, sig.S), 0))
	case "r + n":
		return sequence(number(sig.R.Add(order, sig.R), 0), number(sig.S, 0))
	}
	return append([]byte{0x31}, der[1:]...)
}
