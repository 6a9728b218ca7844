package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mutantsForTest(t *testing.T, seed uint64, count int) []Case {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cases")
	if err := makeMutants(seed, count, "../../testdata", name); err != nil {
		t.Fatal(err)
	}
	cases, err := readLines[Case](name)
	if err != nil || len(cases) != count {
		t.Fatal(len(cases), err)
	}
	return cases
}

func TestMessagesThatAreTakenApartArePutTogether(t *testing.T) {
	var stored []Stored
	if err := readJSONFile("../../../testdata/peers/messages.json", &stored); err != nil {
		t.Fatal(err)
	}
	for _, s := range stored {
		segments, err := takeApart(s.Message)
		if err != nil {
			t.Fatal(s.Name, err)
		}
		if string(putTogether(segments)) != string(s.Message) {
			t.Fatal(s.Name)
		}
		if resize(segments); string(putTogether(segments)) != string(s.Message) && !strings.Contains(s.Name, "context none") {
			t.Fatal(s.Name, "resized")
		}
		if renumber(segments); string(putTogether(segments)) != string(s.Message) {
			t.Fatal(s.Name, "renumbered")
		}
	}
}

func TestMutantsAreTheSameForTheSameSeed(t *testing.T) {
	t.Chdir("..") // where the program runs
	a, b, c := mutantsForTest(t, 7, 200), mutantsForTest(t, 7, 200), mutantsForTest(t, 8, 200)
	same := 0
	for i := range a {
		if string(a[i].Message) != string(b[i].Message) || a[i].Altered != b[i].Altered {
			t.Fatal(i)
		}
		if string(a[i].Message) == string(c[i].Message) {
			same++
		}
	}
	if same > 20 {
		t.Fatal(same, "messages of another seed are the same")
	}
}

// A peer that agrees with esdk gives no difference; one that says otherwise of
// a single message does, of each kind.
func TestDifferencesAreSeen(t *testing.T) {
	t.Chdir("..")
	cases := mutantsForTest(t, 9, 300)
	agreeing := make([]Result, len(cases))
	accepted, refused := -1, -1
	for i := range cases {
		v, err := judge(context.Background(), &cases[i], &Result{})
		if err != nil {
			t.Fatal(err)
		}
		agreeing[i] = Result{ID: cases[i].ID, SHA256: v.sha256, Context: v.ec}
		if v.err != nil {
			agreeing[i] = Result{ID: cases[i].ID, DecryptError: "refused"}
			refused = i
		} else {
			accepted = i
		}
	}
	if accepted < 0 || refused < 0 {
		t.Fatal("all have the same verdict")
	}
	folder := t.TempDir()
	casesFile, resultsFile, report := filepath.Join(folder, "cases"), filepath.Join(folder, "results"), filepath.Join(folder, "report")
	if err := writeLines(casesFile, cases); err != nil {
		t.Fatal(err)
	}
	compare := func(results []Result) error {
		if err := writeLines(resultsFile, results); err != nil {
			t.Fatal(err)
		}
		return differences(context.Background(), casesFile, resultsFile, "A test", report)
	}
	if err := compare(agreeing); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(report); err != nil || !strings.Contains(string(b), "300 altered messages: both accept") || !strings.Contains(string(b), "None.") {
		t.Fatalf("%s %v", b, err)
	}
	for kind, alter := range map[string]func(all []Result){
		onlyPeer:                     func(all []Result) { all[refused].DecryptError = "" },
		onlyESDK:                     func(all []Result) { all[accepted].DecryptError = "refused" },
		"another plaintext":          func(all []Result) { all[accepted].SHA256 = "00" },
		"another encryption context": func(all []Result) { all[accepted].Context = map[string]string{"a": "b"} },
	} {
		altered := append([]Result{}, agreeing...)
		alter(altered)
		if err := compare(altered); err == nil || !strings.Contains(err.Error(), "1 kinds of difference have no explanation") {
			t.Fatal(kind, err)
		}
	}
	agreeing[3].ID = "mutant of another run"
	if err := compare(agreeing); err == nil {
		t.Fatal("results of other cases")
	}
}

// Of the ways to write a signature only the one with n - s verifies.
func TestSignaturesInOtherForms(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		digest := make([]byte, 32)
		for range 20 {
			der, err := ecdsa.SignASN1(rand.Reader, key, digest)
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range signatures {
				altered := resign(append([]byte{}, der...), what, []byte{1, 2, 3, 4})
				if good := ecdsa.VerifyASN1(&key.PublicKey, digest, altered); good != (what == "n - s") && !(good && what == "negative r" && string(altered) == string(der)) {
					t.Fatal(what, good)
				}
			}
		}
	}
}
