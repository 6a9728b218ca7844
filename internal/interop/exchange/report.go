package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var groups = []string{"framing", "keys", "context", "ECDH", "KMS", "replicas", "KMS RSA", "KMS ECDH", "hierarchical", "altered"}

// oldGroups are those of them that old versions are asked for.
var oldGroups = []string{"framing", "keys", "context", "altered"}

var directions = []string{"reads esdk's", "writes for esdk"}

// A Summary is what one round with a peer came to: summary.json in its folder.
type Summary struct {
	Version, Date string
	Cells         map[string]*Cell // by direction and group
	Unexplained   []string
}

// A Cell counts the cases of one group in one direction.
type Cell struct {
	Good      int
	Skipped   int
	Explained map[int]int // by the explanation's number
	Bad       int         // unexplained
}

func (s *Summary) cell(direction, group string) *Cell {
	name := direction + " " + group
	if s.Cells[name] == nil {
		s.Cells[name] = &Cell{Explained: map[int]int{}}
	}
	return s.Cells[name]
}

// checkPeer judges the results of the peer in its folder and writes the summary.
func checkPeer(ctx context.Context, work, peer string) error {
	folder := filepath.Join(work, peer)
	cases, err := readLines[Case](filepath.Join(folder, "cases.jsonl"))
	if err != nil {
		return err
	}
	results, err := readLines[Result](filepath.Join(folder, "results.jsonl"))
	if err != nil {
		return err
	}
	version, err := os.ReadFile(filepath.Join(folder, "version"))
	if err != nil {
		return err
	}
	byID := make(map[string]*Result)
	for i := range results {
		byID[results[i].ID] = &results[i]
	}
	s := Summary{Version: strings.TrimSpace(string(version)), Date: time.Now().UTC().Format(time.DateOnly), Cells: map[string]*Cell{}}
	for i := range cases {
		c := &cases[i]
		encrypt, decrypt := c.check(ctx, byID[c.ID])
		s.count(peer, directions[0], c, decrypt)
		if c.Altered == "" {
			s.count(peer, directions[1], c, encrypt)
		}
	}
	for _, line := range s.Unexplained {
		fmt.Println(peer, line)
	}
	b, err := json.MarshalIndent(&s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "summary.json"), b, 0o644)
}

func (s *Summary) count(peer, direction string, c *Case, o outcome) {
	cell := s.cell(direction, c.Group)
	switch n := explain(peer, c, o.Error); {
	case o.Skip != "":
		cell.Skipped++
	case o.Error == "":
		cell.Good++
	case n != 0:
		cell.Explained[n]++
	default:
		cell.Bad++
		s.Unexplained = append(s.Unexplained, fmt.Sprintf("%s: %s: %.300s", direction, c.ID, strings.ReplaceAll(o.Error, "\n", " ")))
	}
}

// text is the cell in the table.
func (c *Cell) text() string {
	var parts []string
	if c.Good > 0 {
		parts = append(parts, fmt.Sprint(c.Good))
	}
	for _, n := range slices.Sorted(maps.Keys(c.Explained)) {
		parts = append(parts, fmt.Sprintf("%d [%d]", c.Explained[n], n))
	}
	if c.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d –", c.Skipped))
	}
	if c.Bad > 0 {
		parts = append(parts, fmt.Sprintf("**%d unexplained**", c.Bad))
	}
	return strings.Join(parts, ", ")
}

// report writes RESULTS.md from the summaries of all peers. Of a peer that has none
// the file keeps the rows. It fails if a disagreement is unexplained.
func report(work, name string) error {
	earlier, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var table, oldTable, detail, missing bytes.Buffer
	seen := map[int]bool{}
	bad := 0
	for _, p := range peers {
		table, groups := &table, groups
		if p.old() {
			table, groups = &oldTable, oldGroups
		}
		b, err := os.ReadFile(filepath.Join(work, p.name, "summary.json"))
		if errors.Is(err, fs.ErrNotExist) {
			why, err := os.ReadFile(filepath.Join(work, p.name, "skipped"))
			if err != nil && p.keep(string(earlier), table, seen) {
				continue
			} else if err != nil {
				why = []byte("it has not been run")
			}
			fmt.Fprintf(&missing, "- %s: %s\n", p.title, strings.TrimSpace(string(why)))
			continue
		} else if err != nil {
			return err
		}
		var s Summary
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		for _, direction := range directions {
			fmt.Fprintf(table, "| %s %s | %s |", p.title, s.Version, direction)
			for _, group := range groups {
				cell := s.cell(direction, group)
				fmt.Fprintf(table, " %s |", cell.text())
				bad += cell.Bad
				for n := range cell.Explained {
					seen[n] = true
				}
			}
			fmt.Fprintf(table, " %s |\n", s.Date)
		}
		for _, line := range s.Unexplained {
			fmt.Fprintf(&detail, "- %s, %s\n", p.name, line)
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, resultsHead, strings.Join(groups, " | "), strings.Repeat("---|", len(groups)+3))
	out.Write(table.Bytes())
	fmt.Fprintf(&out, oldHead, strings.Join(oldGroups, " | "), strings.Repeat("---|", len(oldGroups)+3))
	out.Write(oldTable.Bytes())
	if len(seen) > 0 {
		fmt.Fprint(&out, "\n## Disagreements\n\n")
		for _, n := range slices.Sorted(maps.Keys(seen)) {
			fmt.Fprintf(&out, "%d. %s\n", n, explanations[n-1].text)
		}
	}
	if bad > 0 {
		fmt.Fprintf(&out, "\n## Unexplained\n\n%s", detail.String())
	}
	fmt.Fprint(&out, resultsFoot)
	if missing.Len() > 0 {
		fmt.Fprintf(&out, "\n## Not here\n\n%s", missing.String())
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d unexplained disagreements", bad)
	}
	return nil
}

// keep copies the peer's rows of an earlier report into the table, with the
// explanations that they refer to, and reports whether there are any.
func (p peer) keep(earlier string, table *bytes.Buffer, seen map[int]bool) (kept bool) {
	for line := range strings.Lines(earlier) {
		if !strings.HasPrefix(line, "| "+p.title+" ") {
			continue
		}
		kept = true
		table.WriteString(line)
		for i := range explanations {
			if strings.Contains(line, fmt.Sprintf(" [%d]", i+1)) {
				seen[i+1] = true
			}
		}
	}
	return kept
}

const oldHead = `
## Old versions

The same cases under raw AES and RSA keys, written by ` + "`internal/interop/run old`" + `. Versions before 1.7 have no key commitment, and
1.7 to 1.9 only read it: these suites are among the – there.

| Peer | Direction | %s | Date |
|%s
`

const resultsHead = `# Messages exchanged with the other AWS Encryption SDKs

Written by ` + "`internal/interop/run`" + `, which runs all of it again; README.md says what the cases are. A number alone counts
cases in which both sides agree: the peer decrypted esdk's message to the same plaintext and encryption context, or esdk
the peer's, one-shot and as a stream. *n* [k] counts those that disagree as explained below under k, and *n* – those
that the peer's API has no way to ask for. In the column "altered" agreement means that the peer refused.

| Peer | Direction | %s | Date |
|%s
`

const resultsFoot = `
## Beside the table

- JavaScript: the raw AES keyring is given "utf8Sorting: true" here. Without it, it sorts the encryption context by locale, where "b" stands before "Z", and not by UTF-8
  bytes as the specification has it (framework/raw-aes-keyring.md, data-format/message-header.md). What it wraps then with such a context no other SDK unwraps, esdk
  included, nor it what they wrapped. The peer's fault. AWS KMS and raw RSA keys are not concerned.
- JavaScript: Node.js decrypts RSA with PKCS #1 v1.5 only if started with --security-revert=CVE-2023-46809, as here, and some versions do not know that option.
- The command line tool has no raw keys: those come from a plug-in of ours, over the raw master keys of the Python SDK that it uses.
`
