package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/suite"
)

// insertGroup puts a new group of these fields before one of that name, or
// behind the last.
func (m *mutant) insertGroup(name string, fields ...segment) {
	of := m.IntN(1 << 30)
	for i := range fields {
		fields[i].group, fields[i].of = name, of
	}
	spans := groupsOf(m.segments, name)
	var at int
	switch n := m.IntN(len(spans) + 1); {
	case n < len(spans):
		at = spans[n][0]
	case n > 0:
		at = spans[n-1][1]
	default:
		at = indexOf(m.segments, map[string]string{"pair": "pair count", "entry": "entry count"}[name]) + 1
	}
	m.segments = slices.Insert(m.segments, at, fields...)
	resize(m.segments)
}

// addPair adds a pair to the encryption context, at any place.
func (m *mutant) addPair(key, value string) {
	if indexOf(m.segments, "pair count") < 0 {
		i := indexOf(m.segments, "context size") + 1
		m.segments = slices.Insert(m.segments, i, segment{field: "pair count", bytes: make([]byte, 2)})
	}
	m.insertGroup("pair", segment{field: "key size", bytes: make([]byte, 2)}, segment{field: "key", bytes: []byte(key)},
		segment{field: "value size", bytes: make([]byte, 2)}, segment{field: "value", bytes: []byte(value)})
}

// addEntry adds an encrypted data key, at any place.
func (m *mutant) addEntry(id string, info, wrapped []byte) {
	m.insertGroup("entry", segment{field: "provider ID size", bytes: make([]byte, 2)}, segment{field: "provider ID", bytes: []byte(id)},
		segment{field: "provider info size", bytes: make([]byte, 2)}, segment{field: "provider info", bytes: info},
		segment{field: "wrapped key size", bytes: make([]byte, 2)}, segment{field: "wrapped key", bytes: wrapped})
}

// publicKey returns the value of the verification key's pair, or nil.
func (m *mutant) publicKey() *segment {
	for i := range m.segments[:max(0, len(m.segments)-3)] {
		if m.segments[i].field == "key" && string(m.segments[i].bytes) == format.PublicKeyField {
			return &m.segments[i+2]
		}
	}
	return nil
}

// texts are keys and values that are more or less what they should be.
var texts = []string{
	"", "a", "\x00", "\ufeff", "größe", "一", "\U0001F600", "\uffff", "\U0010FFFF", "\uE000", // UTF-8, all of them
	"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xa0\xbd\xed\xb8\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", // none
	"aws-crypto-", "aws-crypto-other", "AWS-CRYPTO-public-key", "aws-crypto-public-key ", strings.Repeat("x", 300),
}

// headerMutations alter what the header says, as a hostile or a careless writer would.
var headerMutations = []mutation{
	{"suite", 6, func(m *mutant) string {
		s := &m.segments[indexOf(m.segments, "suite")]
		id := one(m, suite.All()...)
		if m.IntN(4) == 0 {
			id = suite.ID(one[uint16](m, 0, 1, 0x70, 0x72, 0x6700, 0x6701, 0x0479, 0x7804, 0xffff))
		}
		setNumber(s, uint64(id))
		return id.String()
	}},
	{"pair added", 10, func(m *mutant) string {
		key, value := one(m, texts...), one(m, texts...)
		m.addPair(key, value)
		return "of any text"
	}},
	{"long pair", 2, func(m *mutant) string {
		size := 0
		for _, s := range m.segments {
			if s.group == "pair" || s.field == "pair count" {
				size += len(s.bytes)
			}
		}
		// To the longest context that has a size, or near it.
		n := one(m, 65535-max(size, 2)-4-len("long"), 65534-max(size, 2)-4-len("long"), 32767, 32768, 60000)
		if n < 0 { // there is a long one
			return ""
		}
		m.addPair("long", strings.Repeat("x", n))
		return fmt.Sprint(n > 60000)
	}},
	{"required pair", 4, func(m *mutant) string {
		if len(m.base.required) == 0 {
			return ""
		}
		k := one(m, m.base.required...)
		if m.IntN(2) == 0 {
			m.addPair(k, m.base.context[k])
			return "stored too"
		}
		m.addPair(k, "another value")
		return "stored with another value"
	}},
	{"pair altered", 6, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.group == "pair" && !s.isSize() })
		if s == nil {
			return ""
		}
		s.bytes = []byte(one(m, texts...))
		resize(m.segments)
		return s.field
	}},
	{"pair twice", 4, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.field == "key" })
		if s == nil {
			return ""
		}
		m.addPair(string(s.bytes), one(m, texts...))
		return "with another value"
	}},
	{"empty context", 3, func(m *mutant) string {
		i := indexOf(m.segments, "context size")
		m.segments = slices.DeleteFunc(m.segments, func(s segment) bool { return s.group == "pair" || s.field == "pair count" })
		setNumber(&m.segments[i], 0)
		if m.IntN(3) == 0 {
			return "of no bytes"
		}
		m.segments = slices.Insert(m.segments, i+1, segment{field: "pair count", bytes: make([]byte, 2)})
		setNumber(&m.segments[i], 2)
		return "of a count"
	}},
	{"verification key", 8, func(m *mutant) string {
		s := m.publicKey()
		if s == nil {
			m.addPair(format.PublicKeyField, one(m, "", "A", base64.StdEncoding.EncodeToString(m.bytes(49))))
			return "added"
		}
		// The key that will sign, in another form: the sealer must not put it right.
		id := suite.ID(getNumber(&m.segments[indexOf(m.segments, "suite")]))
		if !id.Valid() || !id.Signing() {
			return ""
		}
		text := reseal.VerificationKey(id)
		m.keep |= reseal.PublicKey
		raw, _ := base64.StdEncoding.DecodeString(text)
		what := one(m, "line break", "no padding", "URL alphabet", "trailing bits", "blank", "point 2 or 3", "other point", "not compressed", "shorter", "empty", "prefix 0", "as is due", "line break at the end", "no point")
		switch what {
		case "line break":
			text = text[:20] + "\n" + text[20:]
		case "no padding":
			text = strings.TrimRight(text, "=")
		case "URL alphabet":
			text = base64.URLEncoding.EncodeToString(raw)
		case "trailing bits":
			if i := strings.IndexByte(text, '='); i > 0 {
				text = text[:i-1] + string(text[i-1]+1) + text[i:]
			}
		case "blank":
			text += " "
		case "line break at the end":
			text += "\r\n"
		case "no point":
			raw = append(raw[:1:1], m.bytes(len(raw)-1)...)
		case "point 2 or 3":
			raw[0] ^= 1
		case "other point":
			raw[m.IntN(len(raw))] ^= 1
		case "not compressed":
			raw = append([]byte{4}, append(raw[1:], raw[1:]...)...)
		case "shorter":
			raw = raw[:len(raw)-1]
		case "empty":
			raw = nil
		case "prefix 0":
			raw[0] = 0
		}
		if text == reseal.VerificationKey(id) {
			text = base64.StdEncoding.EncodeToString(raw)
		}
		s.bytes = []byte(text)
		resize(m.segments)
		return what
	}},
	{"entry added", 8, func(m *mutant) string {
		key := m.base.key
		what := one(m, "foreign", "no provider", "not UTF-8", "KMS", "KMS, malformed", "of the key, altered", "of the key, too short", "100 foreign", "of no bytes", "long")
		info := slices.Concat([]byte(key.Name), []byte{0, 0, 0, 128, 0, 0, 0, 12}, m.bytes(12))
		switch what {
		case "foreign":
			m.addEntry("nobody", []byte("key"), m.bytes(48))
		case "no provider":
			m.addEntry("", nil, m.bytes(48))
		case "not UTF-8":
			m.addEntry("\xff"+key.Namespace, info, m.bytes(48))
		case "KMS":
			m.addEntry("aws-kms", []byte("arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111"), m.bytes(100))
		case "KMS, malformed":
			m.addEntry("aws-kms", m.bytes(10), m.bytes(100))
		case "of the key, altered":
			m.addEntry(key.Namespace, info, m.bytes(48))
		case "of the key, too short":
			m.addEntry(key.Namespace, info, m.bytes(m.IntN(17)))
		case "100 foreign":
			for range 100 {
				m.addEntry("nobody", nil, nil)
			}
		case "of no bytes":
			m.addEntry("", nil, nil)
		case "long":
			if m.IntN(8) > 0 { // it makes the file of all cases long too
				return ""
			}
			m.addEntry(strings.Repeat("x", 65535), m.bytes(65535), m.bytes(65535))
		}
		return what
	}},
	{"provider info", 5, func(m *mutant) string {
		s := m.any(func(s *segment) bool { return s.field == "provider info" })
		if s == nil || len(s.bytes) < 20 {
			return ""
		}
		n := len(s.bytes)
		what := one(m, "tag length", "IV length", "IV", "name", "longer", "shorter")
		switch what {
		case "tag length":
			setNumber(&segment{bytes: s.bytes[n-20 : n-16]}, one[uint64](m, 0, 16, 96, 120, 127, 129, 1<<31))
		case "IV length":
			setNumber(&segment{bytes: s.bytes[n-16 : n-12]}, one[uint64](m, 0, 11, 13, 16, 96, 1<<31))
		case "IV":
			copy(s.bytes[n-12:], m.bytes(12))
		case "name":
			s.bytes[m.IntN(n-20)] ^= 0x20
		case "longer":
			s.bytes = append(s.bytes, m.bytes(1)...)
		case "shorter":
			s.bytes = s.bytes[:n-1]
		}
		resize(m.segments)
		return what
	}},
	{"frame length", 6, func(m *mutant) string {
		s := &m.segments[indexOf(m.segments, "frame length")]
		v := getNumber(s)
		setNumber(s, one(m, 0, 1, v+1, v*2, v/2, 1<<31-1, 1<<31, 1<<32-1))
		return "another"
	}},
	{"content type", 4, func(m *mutant) string {
		s := &m.segments[indexOf(m.segments, "content type")]
		s.bytes[0] = one[byte](m, 0, 1, 2, 3, 255)
		if m.IntN(2) == 0 {
			setNumber(&m.segments[indexOf(m.segments, "frame length")], one[uint64](m, 0, 1, 10))
			return "and frame length"
		}
		return "alone"
	}},
	{"header IV", 4, func(m *mutant) string {
		i := indexOf(m.segments, "header IV")
		if i < 0 {
			return ""
		}
		copy(m.segments[i].bytes, m.bytes(suite.IVSize))
		return "of its own"
	}},
	{"version", 3, func(m *mutant) string {
		s := m.any(func(s *segment) bool {
			return s.field == "version" || s.field == "type" || s.field == "reserved" || s.field == "IV length"
		})
		s.bytes[m.IntN(len(s.bytes))] = one[byte](m, 0, 1, 2, 3, 11, 13, 16, 'A', 0x80, 0xff)
		return s.field
	}},
}
