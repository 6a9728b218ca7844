package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
)

// A base is a good message that is altered.
type base struct {
	message  []byte
	key      Key // decrypts it
	context  map[string]string
	required []string
	dataKey  []byte // unless the key is a raw AES key
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
		if len(s.Message) > maxBase || strings.HasPrefix(name, "rsa") && i%4 != 0 || strings.HasPrefix(name, "ecdh") && i%2 != 0 { // few of these
			continue
		}
		b := base{message: s.Message, key: keys[name], context: s.Context, required: s.Required}
		if b.key.Type != "aes" {
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

// unwrap gets the message's data key, with which it can be sealed again although
// the entry stays. RSA binds no encryption context to it, key agreement does.
func (b *base) unwrap() error {
	p, err := b.key.provider(context.Background())
	if err != nil {
		return err
	}
	h, err := format.ReadHeader(bytes.NewReader(b.message), 0)
	if err != nil {
		return err
	}
	for _, k := range b.required {
		h.EncryptionContext[k] = b.context[k]
	}
	key, err := p.DecryptDataKey(context.Background(), &keyprovider.Request{Suite: h.Suite, EncryptionContext: h.EncryptionContext}, h.EncryptedDataKeys)
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
