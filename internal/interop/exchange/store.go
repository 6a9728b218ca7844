package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/suite"
)

// A Stored message is an entry of testdata/peers/messages.json or
// altered.json; see testdata/README.md.
type Stored struct {
	Name        string            `json:"name"`
	Peer        string            `json:"peer"`
	Suite       string            `json:"suite"`
	Keys        []string          `json:"keys"`
	Context     map[string]string `json:"context,omitempty"`
	Required    []string          `json:"required,omitempty"`
	FrameLength int64             `json:"frameLength"`
	Length      int               `json:"length,omitempty"`
	SHA256      string            `json:"sha256,omitempty"`
	Error       string            `json:"error,omitempty"`
	Message     []byte            `json:"message"`
	group       string
}

// maxStored is the longest message that is stored, in bytes.
const maxStored = 6000

// store adds a choice of what the peers wrote, and of that altered, to what the
// folder has. Messages that are there by name stay as they are.
func store(ctx context.Context, work, folder string) error {
	names, err := keyNames()
	if err != nil {
		return err
	}
	var good, bad []Stored
	for p, peer := range peers {
		all, err := peerMessages(ctx, work, peer.name, names)
		if err != nil {
			return err
		}
		if peer.old() {
			good = append(good, chooseFew(all)...)
			continue
		}
		agreed := slices.DeleteFunc(slices.Clone(all), func(s Stored) bool { return s.group != "ECDH" })
		good = append(good, choose(slices.DeleteFunc(slices.Clone(all), func(s Stored) bool { return s.group == "ECDH" }))...)
		good = append(good, choose(agreed)...)
		for _, s := range all {
			// Two of the suites of each peer are altered.
			n := slices.IndexFunc(alteredSuites, func(id suite.ID) bool { return s.Suite == fmt.Sprintf("%04x", uint16(id)) })
			if n < 0 || n%2 != p%2 || s.group != "framing" || s.FrameLength != alteredFrame || s.Length != alteredLength {
				continue
			}
			altered, err := alterations(s.Message)
			if err != nil {
				return err
			}
			for _, a := range altered {
				b := s
				b.Name, b.Error, b.Message, b.SHA256, b.Length = s.Name+", "+a.What, a.Class, a.Message, "", 0
				bad = append(bad, b)
			}
		}
	}
	return errors.Join(addStored(filepath.Join(folder, "messages.json"), good), addStored(filepath.Join(folder, "altered.json"), bad))
}

// peerMessages returns the messages that the peer wrote and esdk reads, but for long
// ones and those with keys of AWS KMS, branch keys included; none if it was not run.
func peerMessages(ctx context.Context, work, peer string, names map[string]string) ([]Stored, error) {
	cases, err := readLines[Case](filepath.Join(work, peer, "cases.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	results, err := readLines[Result](filepath.Join(work, peer, "results.jsonl"))
	if err != nil {
		return nil, err
	}
	var all []Stored
	for i := range results {
		c, r := &cases[i], &results[i]
		if c.ID != r.ID {
			return nil, fmt.Errorf("%s: case %q has the result of %q", peer, c.ID, r.ID)
		}
		if r.Message == nil || len(r.Message) > maxStored || c.Keys[0].Type == "kms" || c.Keys[0].Type == "mrk" || c.Keys[0].Type == "hierarchy" {
			continue
		}
		if strings.HasPrefix(c.Group, "KMS") { // under a key of a server that is gone
			continue
		}
		if c.checkMessage(ctx, r.Message) != nil { // RESULTS.md has the reason
			continue
		}
		s := Stored{Name: peer + "/" + c.ID, Peer: peer, Suite: c.Suite, Context: c.Context, Required: c.Required,
			FrameLength: c.FrameLength, Length: c.Length, SHA256: c.hash(), Message: r.Message, group: c.Group}
		for k := range c.Keys {
			reader := &c.Keys[k]
			switch {
			case k == c.Reader && c.ReadWith != nil:
				reader = c.ReadWith
			case reader.Schema == "ephemeral": // only the recipient reads
				reader = &Key{Name: ecdhName(reader.Curve, "discovery")}
			}
			s.Keys = append(s.Keys, names[reader.id()])
		}
		all = append(all, s)
	}
	return all, nil
}

// choose returns messages such that each suite has each frame length and number
// of keys, and that there is each set of keys, each context, and each length of
// plaintext with each frame length.
func choose(all []Stored) []Stored {
	// In the order of the cases the first of everything would be alike.
	order := slices.Clone(all)
	slices.SortFunc(order, func(a, b Stored) int {
		x, y := sha256.Sum256([]byte(a.Name)), sha256.Sum256([]byte(b.Name))
		return bytes.Compare(x[:], y[:])
	})
	have := map[string]bool{}
	chosen := map[string]bool{}
	for _, s := range order {
		for _, feature := range []string{
			fmt.Sprint(s.Suite, " frame ", s.FrameLength),
			fmt.Sprint(s.Suite, " keys ", len(s.Keys)),
			fmt.Sprint("keys ", s.Keys),
			fmt.Sprint("context ", len(s.Context), s.Required),
			fmt.Sprint("frame ", s.FrameLength, " length ", s.Length),
		} {
			if !have[feature] {
				have[feature], chosen[s.Name] = true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s Stored) bool { return !chosen[s.Name] })
}

// chooseFew returns few and short messages among which each suite, each set of keys
// and each context is, and an unframed one.
func chooseFew(all []Stored) []Stored {
	left := map[string]bool{}
	features := func(s *Stored) []string {
		return []string{"suite " + s.Suite, fmt.Sprint("keys ", s.Keys), fmt.Sprint("context ", len(s.Context)), fmt.Sprint("unframed ", s.FrameLength == 0)}
	}
	for i := range all {
		for _, f := range features(&all[i]) {
			left[f] = true
		}
	}
	news := func(s *Stored) (n int) { // how many features it would add
		for _, f := range features(s) {
			if left[f] {
				n++
			}
		}
		return n
	}
	var few []Stored
	for len(left) > 0 {
		best := &all[0]
		for i := range all {
			s := &all[i]
			if n := news(s) - news(best); n > 0 || n == 0 && len(s.Message) < len(best.Message) {
				best = s
			}
		}
		for _, f := range features(best) {
			delete(left, f)
		}
		few = append(few, *best)
	}
	return few
}

// addStored adds messages to the file, one a line.
func addStored(name string, messages []Stored) error {
	var all []Stored
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &all)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	for _, s := range messages {
		if !slices.ContainsFunc(all, func(t Stored) bool { return t.Name == s.Name }) {
			all = append(all, s)
		}
	}
	return writeStored(name, all)
}

func writeStored(name string, all []Stored) error {
	var b bytes.Buffer
	for i := range all {
		line, err := json.Marshal(&all[i])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s\n%s", []string{"[", ","}[min(i, 1)], line)
	}
	b.WriteString("\n]\n")
	fmt.Printf("%s: %d messages, %d bytes\n", filepath.Base(name), len(all), b.Len())
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// keyNames gives the names of keys.json by the keys' ids.
func keyNames() (map[string]string, error) {
	keys, err := loadKeys()
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for name, k := range keys {
		if k.Type != "rsa" || k.Padding != "" {
			names[k.id()] = name
		}
	}
	return names, nil
}

func (k *Key) id() string { return k.Name + k.Padding }
