package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A verdict is what became of one altered message on both sides.
type verdict struct {
	c      *Case
	peer   *Result
	err    error  // esdk's; nil: accepted
	sha256 string // of esdk's plaintext
	ec     map[string]string
}

// kind says how the sides differ; empty if they agree.
func (v *verdict) kind() string {
	switch accepted := v.peer.DecryptError == ""; {
	case v.err != nil && !accepted:
		return ""
	case v.err != nil:
		return onlyPeer
	case !accepted:
		return onlyESDK
	case v.sha256 != v.peer.SHA256:
		return "another plaintext"
	case v.peer.Context != nil && !maps.Equal(v.ec, v.peer.Context):
		return "another encryption context"
	}
	return ""
}

const (
	onlyPeer = "only the peer accepts"
	onlyESDK = "only esdk accepts"
)

// judge decrypts the message with esdk, whole and as a stream.
func judge(ctx context.Context, c *Case, peer *Result) (*verdict, error) {
	v := &verdict{c: c, peer: peer}
	p, err := c.reader(ctx)
	if err != nil {
		return nil, err
	}
	plaintext, header, err := c.client().Decrypt(ctx, c.Message, p, c.decryptOptions())
	if v.err = err; err == nil {
		sum := sha256.Sum256(plaintext)
		v.sha256, v.ec = hex.EncodeToString(sum[:]), header.EncryptionContext
	}
	var streamed []byte
	r, err := c.client().NewDecryptReader(ctx, bytes.NewReader(c.Message), p, c.decryptOptions())
	if err == nil {
		streamed, err = io.ReadAll(r)
	}
	if (err == nil) != (v.err == nil) || err == nil && !bytes.Equal(plaintext, streamed) {
		return nil, fmt.Errorf("%s: %v, as a stream %v", c.ID, v.err, err)
	}
	return v, nil
}

// judgeAll judges all cases; the results are the peer's, in the same order.
func judgeAll(ctx context.Context, cases []Case, results []Result) ([]*verdict, error) {
	if len(cases) != len(results) {
		return nil, fmt.Errorf("%d cases, %d results", len(cases), len(results))
	}
	all, failed := make([]*verdict, len(cases)), make([]error, len(cases))
	var wg sync.WaitGroup
	for w := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := w; i < len(cases); i += runtime.GOMAXPROCS(0) {
				if cases[i].ID != results[i].ID {
					failed[i] = fmt.Errorf("the result of %s is that of %s", cases[i].ID, results[i].ID)
					continue
				}
				all[i], failed[i] = judge(ctx, &cases[i], &results[i])
			}
		})
	}
	wg.Wait()
	return all, errors.Join(failed...)
}

// differences compares esdk's verdicts with the peer's results and writes the
// report. It fails if a difference has no explanation.
func differences(ctx context.Context, casesFile, resultsFile, title, reportFile string) error {
	cases, err := readLines[Case](casesFile)
	if err != nil {
		return err
	}
	results, err := readLines[Result](resultsFile)
	if err != nil {
		return err
	}
	all, err := judgeAll(ctx, cases, results)
	if err != nil {
		return err
	}
	found := make([][]*verdict, len(differenceRules))
	unexplained := map[string][]*verdict{}
	for _, v := range all {
		if v.kind() == "" {
			continue
		}
		if n := slices.IndexFunc(differenceRules, func(r differenceRule) bool { return r.kind == v.kind() && r.match(v) }); n >= 0 {
			found[n] = append(found[n], v)
			continue
		}
		key := fmt.Sprintf("%s: esdk: %.100s; peer: %.200s", v.kind(), fmt.Sprint(v.err), v.peer.DecryptError)
		unexplained[key] = append(unexplained[key], v)
	}
	for _, key := range slices.SortedFunc(maps.Keys(unexplained), func(a, b string) int { return len(unexplained[b]) - len(unexplained[a]) }) {
		fmt.Printf("%d, such as %s: %s\n    %s\n", len(unexplained[key]), unexplained[key][0].c.ID, unexplained[key][0].c.Altered, key)
	}
	if err := os.WriteFile(reportFile, differencesReport(title, all, found, len(unexplained)), 0o644); err != nil {
		return err
	}
	if len(unexplained) > 0 {
		return fmt.Errorf("%d kinds of difference have no explanation", len(unexplained))
	}
	return nil
}

// refusedByPanic reports whether the peer's refusal was a panic.
func refusedByPanic(v *verdict) bool { return strings.Contains(v.peer.DecryptError, "panic: ") }
