package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

// refusals are the classes of esdk's errors, by which the report shows how deep
// the altered messages came.
var refusals = []struct {
	name string
	is   func(err error) bool
}{
	{"the header or a frame is malformed", wraps(format.ErrMalformed)},
	{"unsupported algorithm suite", wraps(format.ErrUnsupportedSuite)},
	{"Base64", wraps(format.ErrBase64)},
	{"cut short", wraps(io.ErrUnexpectedEOF)},
	{"too many data keys", wraps(esdk.ErrTooManyDataKeys)},
	{"commitment policy", wraps(esdk.ErrCommitmentPolicy)},
	{"encryption context or verification key", wraps(esdk.ErrEncryptionContext)},
	{"no data key can be unwrapped", func(err error) bool {
		var e *keyprovider.DecryptError
		return errors.As(err, &e)
	}},
	{"key commitment", wraps(esdk.ErrKeyCommitment)},
	{"tag of the header or of a frame", wraps(esdk.ErrAuthentication)},
	{"signature", wraps(esdk.ErrSignature)},
	{"bytes after the message", wraps(esdk.ErrTrailingData)},
}

func wraps(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// A tally counts messages by what became of them.
type tally struct{ all, accepted, refused, differ int }

func (t *tally) add(v *verdict) {
	t.all++
	switch {
	case v.kind() != "":
		t.differ++
	case v.err == nil:
		t.accepted++
	default:
		t.refused++
	}
}

// differencesReport is DIFFERENTIAL.md; found are the differences by rule.
func differencesReport(title string, all []*verdict, found [][]*verdict, unexplained int) []byte {
	var total, sealed tally
	mutations := map[string]*tally{}
	classes := make([]int, len(refusals)+1)
	panics := map[string]int{}
	for _, v := range all {
		total.add(v)
		for _, what := range strings.Split(v.c.Altered, "; ") {
			name, _, _ := strings.Cut(what, ": ")
			if name == sealedAgain {
				sealed.add(v)
				continue
			}
			if mutations[name] == nil {
				mutations[name] = &tally{}
			}
			mutations[name].add(v)
		}
		if refusedByPanic(v) {
			panics[v.c.Keys[0].Type]++
		}
		if v.err != nil {
			n := 0
			for n < len(refusals) && !refusals[n].is(v.err) {
				n++
			}
			classes[n]++
		}
	}
	var b strings.Builder
	p := func(text string, args ...any) { fmt.Fprintf(&b, text+"\n", args...) }
	p("# Altered messages, read by esdk and by another SDK\n")
	p("Written by `internal/interop/differential`; README.md says how the messages are made. %s.\n", title)
	p("%d altered messages: both accept %d, with the same plaintext and encryption context, and both refuse %d. They differ on %d.\n",
		total.all, total.accepted, total.refused, total.differ)
	for _, kind := range slices.Sorted(maps.Keys(panics)) {
		p("%d of its refusals are panics of the peer, with a nil pointer or the like, where it has a raw key of type %s: its program here makes errors of them.\n", panics[kind], kind)
	}
	p("In %d the data key was wrapped, and commitment, tags and signature were made again after the alteration, all of them or all but one: of these both\naccept %d, and they differ on %d.\n", sealed.all, sealed.accepted, sealed.differ)
	p("## Differences\n")
	none := true
	for i, r := range differenceRules {
		if len(found[i]) > 0 {
			none = false
			p("%d: %s, %s. %s\n", len(found[i]), r.name, r.kind, r.text)
		}
	}
	if unexplained > 0 {
		p("There are %d kinds without an explanation.\n", unexplained)
	} else if none {
		p("None.\n")
	}
	p("## By alteration\n\nA message with two alterations counts for both.\n")
	p("| Alteration | Messages | both accept | both refuse | differ |\n|---|---|---|---|---|")
	for _, name := range slices.Sorted(maps.Keys(mutations)) {
		t := mutations[name]
		p("| %s | %d | %d | %d | %d |", name, t.all, t.accepted, t.refused, t.differ)
	}
	p("\n## Why esdk refuses\n\n| Cause | Messages |\n|---|---|")
	for i, n := range classes {
		if i < len(refusals) {
			p("| %s | %d |", refusals[i].name, n)
		} else if n > 0 {
			p("| something else | %d |", n)
		}
	}
	return []byte(b.String())
}
