package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/esdk-go/esdk/suite"
)

const mib = 1 << 20

// contexts by name. That of "non-ASCII" has keys whose order is another by
// UTF-16 than by UTF-8: U+FB01 and U+1F511.
func contexts() map[string]map[string]string {
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprintf("key %03d", i)] = fmt.Sprint("value ", i)
	}
	return map[string]map[string]string{
		"none":       nil,
		"lower case": {"purpose": "interop", "tenant": "t-17", "zone": "b"}, // in the same order by locale
		"ASCII":      {"purpose": "interop", "tenant": "t-17", "Zone": "b"}, // "Z" sorts before "p"
		"non-ASCII":  {"größe": "ß", "\uFB01le": "œuvre", "\U0001F511": "鍵", "z": "Ωmega"},
		"many":       many,
		"empty":      {"empty": "", "purpose": "interop"},
		"large":      {"large": strings.Repeat("large ", 10_000), "purpose": "interop"},
		"required":   {"purpose": "interop", "tenant": "t-17", "größe": "ß"},
	}
}

var contextNames = []string{"none", "ASCII", "non-ASCII", "many", "required"}

// withContext gives the case the named context.
func (c Case) withContext(name string) Case {
	c.Context = contexts()[name]
	if name == "required" {
		c.Required = []string{"größe", "tenant"}
	}
	c.ID += ", context " + name
	return c
}

// newCase is a case without context.
func newCase(group string, id suite.ID, frameLength int64, length int, keys ...Key) Case {
	c := Case{Group: group, Suite: fmt.Sprintf("%04x", uint16(id)), FrameLength: frameLength, Length: length, Keys: keys}
	framing := fmt.Sprint("frames of ", frameLength)
	if frameLength == 0 {
		framing = "unframed"
	}
	c.ID = fmt.Sprintf("%s: %s, %s, %d bytes", group, c.Suite, framing, length)
	return c
}

// lengths of plaintext round each frame length; 0 is unframed.
var lengths = []struct {
	frame   int64
	lengths []int
}{
	{1, []int{0, 1, 2}},
	{16, []int{0, 1, 15, 16, 17}},
	{128, []int{0, 127, 128, 129, 256, alteredLength}},
	{1001, []int{1000, 1001, 1002}}, // odd
	{4096, []int{0, 1, 4095, 4096, 4097}},
	{mib, []int{0, 1}},
	{0, []int{0, 1, 4096}},
}

// large plaintexts and frame lengths, for some suites only.
var large = []struct {
	frame   int64
	lengths []int
}{
	{4096, []int{mib}},
	{1001, []int{mib}},
	{mib, []int{mib - 1, mib, mib + 1}},
	{0, []int{mib}},
	{math.MaxInt32, []int{1}},
	{math.MaxUint32, []int{1}},
}

// framingCases have every suite with every frame length and lengths round it, and
// the named context.
func framingCases(keys rawKeys, context string) []Case {
	var all []Case
	for _, id := range suite.All() {
		for _, l := range lengths {
			for _, n := range l.lengths {
				all = append(all, newCase("framing", id, l.frame, n, keys["aes-256"]).withContext(context))
			}
		}
	}
	for _, id := range []suite.ID{suite.AES128GCM, suite.AES256GCMHKDFSHA384ECDSAP384,
		suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, l := range large {
			for _, n := range l.lengths {
				all = append(all, newCase("framing", id, l.frame, n, keys["aes-256"]).withContext(context))
			}
		}
	}
	return all
}

// keyCases have every suite with every kind of key, and several of them of which
// any one must do.
func keyCases(keys rawKeys) []Case {
	single := []string{"aes-128", "aes-192", "aes-256"}
	for _, p := range paddings {
		single = append(single, "rsa "+p.String())
	}
	var all []Case
	for i, id := range suite.All() {
		add := func(name string, reader int, k ...Key) {
			c := newCase("keys", id, []int64{128, 4096}[len(all)%2], 300, k...).withContext(contextNames[len(all)%4])
			c.Reader = reader
			c.ID += ", " + name
			all = append(all, c)
		}
		for _, name := range single {
			add(name, 0, keys[name])
		}
		three := []Key{keys["aes-256"], keys[oaep], keys["aes-128"]}
		add(fmt.Sprintf("key %d of 3", i%3+1), i%3, three...)
		add("key 2 of 2, RSA first", 1, keys[oaep], keys["aes-192"])
	}
	return all
}

// contextCases have every suite with every context.
func contextCases(keys rawKeys) []Case {
	var all []Case
	for i, id := range suite.All() {
		for j, name := range contextNames {
			key := []string{"aes-128", oaep, "aes-256"}[(i+j)%3]
			all = append(all, newCase("context", id, 4096, 50, keys[key]).withContext(name))
		}
		all = append(all, newCase("context", id, 4096, 50, keys["aes-256"]).withContext("empty"))
		all = append(all, newCase("context", id, 4096, 50, keys["aes-256"]).withContext("large"))
	}
	return all
}
