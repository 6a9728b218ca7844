package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/reseal"
	"github.com/esdk-go/esdk/keyprovider"
)

// A base is a good message that is altered.
type base struct {
	message  []byte
	key      Key // decrypts it
	context  map[string]string
	required []string
	dataKey  []byte // if the key is an RSA key
}

// sealedAgain stands among the alterations of a message whose tags were made again.
const sealedAgain = "sealed again"

// maxBase is the length of the longest message that is altered, in bytes.
const maxBase = 1500

// bases returns the messages of testdata that one of the keys decrypts: other
// SDKs' and this module's.
func bases(testdata string, keys rawKeys) ([]base, error) {
	var all []base
	var stored []Stored
	if err := readJSONFile(filepath.Join(testdata, "peers", "messages.json"), &stored); err != nil {
		return nil, err
	}
	for i, s := range stored {
		name := s.Keys[i%len(s.Keys)]
		if len(s.Message) > maxBase || strings.HasPrefix(name, "rsa") && i%4 != 0 { // of RSA keys few
			continue
		}
		b := base{message: s.Message, key: keys[name], context: s.Context, required: s.Required}
		if b.key.Type == "rsa" {
			if err := b.unwrap(); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		all = append(all, b)
	}
	var ours []struct {
		Context  map[string]string
		Required []string
		Keys     int
		Message  []byte
	}
	if err := readJSONFile(filepath.Join(testdata, "messages.json"), &ours); err != nil {
		return nil, err
	}
	for i, s := range ours {
		n := i % s.Keys
		key := Key{Type: "aes", Namespace: "esdk testdata", Name: fmt.Sprint("key ", n), AES: bytes.Repeat([]byte{byte(n)}, 32)}
		all = append(all, base{message: s.Message, key: key, context: s.Context, required: s.Required})
	}
	return all, nil
}

// unwrap gets the message's data key, to which RSA binds no encryption context:
// with it the message can be sealed again although the entry stays.
func (b *base) unwrap() error {
	p, err := b.key.provider(context.Background())
	if err != nil {
		return err
	}
	h, err := format.ReadHeader(bytes.NewReader(b.message), 0)
	if err != nil {
		return err
	}
	key, err := p.DecryptDataKey(context.Background(), &keyprovider.Request{Suite: h.Suite}, h.EncryptedDataKeys)
	if err != nil {
		return err
	}
	b.dataKey = key.Plaintext
	return nil
}

func readJSONFile(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// A mutant is a message that is being altered.
type mutant struct {
	*rand.Rand
	base     *base
	segments []segment
	sealer   reseal.Sealer
	keep     reseal.Parts // that the sealer must not make again
	// How to decrypt it; see Case.
	reproduced map[string]string
	maxKeys    int
	// What is done to its bytes, before and after it is sealed again.
	before, after []func([]byte) []byte
}

// A mutation alters a message in one way; it says what it altered, or nothing
// if there is nothing for it.
type mutation struct {
	name   string
	weight int
	apply  func(m *mutant) string
}

// parts are those that are made again after the mutations: mostly
// all, so that what is altered is seen behind the header's tag.
func (m *mutant) parts() reseal.Parts {
	switch m.IntN(12) {
	case 0:
		return 0
	case 1:
		return reseal.All &^ (1 << m.IntN(6))
	}
	return reseal.All
}

// mutants is makeMutants with arguments of the command line.
func mutants(seed, count, name string) error {
	s, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	return makeMutants(s, n, filepath.Dir(filepath.Dir(keysFile)), name)
}

// makeMutants writes count cases with altered messages to the file. They are
// the same for the same seed.
func makeMutants(seed uint64, count int, testdata, name string) error {
	keys, err := loadKeys()
	if err != nil {
		return err
	}
	all, err := bases(testdata, keys)
	if err != nil {
		return err
	}
	mutations := slices.Concat(anyMutations, headerMutations, bodyMutations, readerMutations)
	total := 0
	for _, k := range mutations {
		total += k.weight
	}
	pick := func(r *rand.Rand) *mutation {
		n := r.IntN(total)
		for i := range mutations {
			if n -= mutations[i].weight; n < 0 {
				return &mutations[i]
			}
		}
		panic("unreachable")
	}
	var cases []Case
	for i := 0; len(cases) < count; i++ {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		b := &all[i%len(all)]
		c, ok, err := mutate(r, b, pick)
		if err != nil {
			return err
		}
		if ok {
			c.ID = fmt.Sprint("mutant ", i)
			cases = append(cases, *c)
		}
	}
	return writeLines(name, cases)
}

// mutate returns the case of one altered message, if a mutation could be done.
func mutate(r *rand.Rand, b *base, pick func(*rand.Rand) *mutation) (*Case, bool, error) {
	segments, err := takeApart(b.message)
	if err != nil {
		return nil, false, err
	}
	m := &mutant{Rand: r, base: b, segments: segments}
	var done []string
	for n := 1 + r.IntN(3)/2 + r.IntN(6)/5; n > 0; n-- {
		k := pick(r)
		if what := k.apply(m); what != "" {
			done = append(done, k.name+": "+what)
		}
	}
	if len(done) == 0 {
		return nil, false, nil
	}
	message := putTogether(m.segments)
	for _, f := range m.before {
		message = f(message)
	}
	if parts := m.parts() &^ m.keep; parts != 0 {
		m.sealer.Namespace, m.sealer.Name, m.sealer.Key, m.sealer.Known, m.sealer.Parts = b.key.Namespace, b.key.Name, b.key.AES, b.dataKey, parts
		m.sealer.Unstored = m.unstored()
		sealed, ok := m.sealer.Message(message)
		if message = sealed; ok {
			done = append(done, sealedAgain)
		}
	}
	for _, f := range m.after {
		message = f(message)
	}
	// The suite is that of the peers' choice of the commitment policy: one that
	// reads all messages, and at times one that wants commitment.
	policy := "0078"
	if r.IntN(20) == 0 {
		policy = "0478"
	}
	return &Case{Group: "mutated", Suite: policy, Keys: []Key{b.key}, Context: b.context, Required: b.required,
		FrameLength: 1, Altered: strings.Join(done, "; "), Message: message, Reproduced: m.reproduced, MaxKeys: m.maxKeys}, true, nil
}

// unstored returns the pairs that who decrypts gives and the message lacks.
func (m *mutant) unstored() map[string]string {
	ec := map[string]string{}
	for k, v := range m.reproduced {
		ec[k] = v
	}
	for _, k := range m.base.required {
		ec[k] = m.base.context[k]
	}
	for _, s := range m.segments {
		if s.field == "key" {
			delete(ec, string(s.bytes))
		}
	}
	return ec
}

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
