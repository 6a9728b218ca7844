package conformance

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A requirement is a row of requirements.tsv.
type requirement struct {
	id, page, anchor, level, area, summary string

	status string
	answer string // the tests, or the reason
}

const columns = "id\tspec_file\tsection_anchor\tlevel\tarea\tsummary\tstatus\tanswer"

// statuses are what can become of a requirement.
var statuses = []string{"tested", "reviewed", "by-design", "not-applicable", "gap"}

func requirements(t *testing.T) (rows []requirement) {
	t.Helper()
	b, err := os.ReadFile("requirements.tsv")
	require.NoError(t, err)
	head, body, _ := strings.Cut(strings.TrimSuffix(string(b), "\n"), "\n")
	require.Equal(t, columns, head)
	for line := range strings.SplitSeq(body, "\n") {
		f := strings.Split(line, "\t")
		require.Len(t, f, 8, line)
		rows = append(rows, requirement{f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]})
	}
	return rows
}

// Every requirement of the specification has an answer: tests that exist, or a
// reason why there are none.
func TestEveryRequirementIsAnswered(t *testing.T) {
	rows := requirements(t)
	require.Len(t, rows, 1265)
	seen := make(map[string]bool)
	tests := make(map[string]map[string]bool) // by folder
	byStatus, byArea := make(map[string]int), make(map[string]map[string]int)
	for _, r := range rows {
		require.False(t, seen[r.id], "%s stands twice", r.id)
		seen[r.id] = true
		require.Contains(t, []string{"MUST", "SHOULD", "MAY"}, r.level, r.id)
		require.NotEmpty(t, r.page+r.area+r.summary, r.id)
		require.Contains(t, statuses, r.status, r.id)
		require.NotEmpty(t, r.answer, r.id)
		byStatus[r.status]++
		if byArea[r.area] == nil {
			byArea[r.area] = make(map[string]int)
		}
		byArea[r.area][r.status]++
		if r.status != "tested" {
			require.Regexp(t, `^[A-Z].*\.$`, r.answer, "%s: the reason is no sentence", r.id)
			continue
		}
		anywhere := false
		for _, name := range strings.Split(r.answer, " ") {
			at := strings.LastIndex(name, ".")
			require.GreaterOrEqual(t, at, 0, "%s: %q", r.id, name)
			dir, test := name[:at], name[at+1:]
			if tests[dir] == nil {
				tests[dir] = testsOf(t, filepath.Join(root, dir))
			}
			require.True(t, tests[dir][test], "%s: there is no test %s in folder %q", r.id, test, dir)
			anywhere = anywhere || !strings.HasPrefix(test, "TestVector")
		}
		require.True(t, anywhere, "%s: all its tests need the published messages", r.id)
	}
	for _, s := range statuses {
		t.Logf("%-14s %5d", s, byStatus[s])
	}
	for _, area := range slices.Sorted(maps.Keys(byArea)) {
		var counts []string
		for _, s := range statuses {
			if n := byArea[area][s]; n > 0 {
				counts = append(counts, fmt.Sprint(n, " ", s))
			}
		}
		t.Logf("%-18s %s", area, strings.Join(counts, ", "))
	}
}

// testsOf returns the names of the tests and fuzz targets of the package in
// dir, whatever their build constraints.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && testName.MatchString(fn.Name.Name) {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

var testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z0-9]`)

// README.md is what requirements.tsv says:
//
//	go test ./internal/conformance -update
func TestREADMEIsGenerated(t *testing.T) {
	text := readme(requirements(t))
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(text), 0o644))
	}
	have, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Equal(t, string(have), text, "run the test with -update")
}

func readme(rows []requirement) string {
	var b strings.Builder
	total := make(map[string]int)
	pages := make(map[string]map[string]int)
	var order []string
	for _, r := range rows {
		if pages[r.page] == nil {
			pages[r.page] = make(map[string]int)
			order = append(order, r.page)
		}
		pages[r.page][r.status]++
		total[r.status]++
	}
	fmt.Fprintf(&b, `# Conformance

[requirements.tsv](requirements.tsv) has the %d requirements of the [specification](https://github.com/awslabs/aws-encryption-sdk-specification)
of the AWS Encryption SDK, in our own words, and what answers each. A test holds that every answer is there:

    go test -v -run Requirement ./internal/conformance

This page is made from that file by `+"`go test ./internal/conformance -update`"+`.

| status | rows | the answer is |
|---|---|---|
| tested | %d | the tests, by folder and name, that fail if the requirement is not met |
| reviewed | %d | where it is met, for what no test can show: what docs say, and constant time |
| by-design | %d | why this module does something else |
| not-applicable | %d | why there is nothing to do: other clients' formats, permissions |
| gap | %d | what is missing |

## By page of the specification

| page | tested | reviewed | by-design | not-applicable | gap |
|---|---|---|---|---|---|
`, len(rows), total["tested"], total["reviewed"], total["by-design"], total["not-applicable"], total["gap"])
	for _, page := range order {
		fmt.Fprintf(&b, "| %s |", page)
		for _, s := range statuses {
			if n := pages[page][s]; n > 0 {
				fmt.Fprintf(&b, " %d |", n)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}

	b.WriteString("\n## Reviewed\n\n")
	for _, r := range rows {
		if r.status == "reviewed" {
			fmt.Fprintf(&b, "- `%s` (%s): %s **Where:** %s\n", r.id, r.level, r.summary, r.answer)
		}
	}

	b.WriteString("\n## By design\n\nWhat the specification says, and what is done here instead.\n")
	for _, page := range order {
		if pages[page]["by-design"] == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", page)
		for _, r := range rows {
			if r.page == page && r.status == "by-design" {
				fmt.Fprintf(&b, "- `%s` (%s): %s **Here:** %s\n", r.id, r.level, r.summary, r.answer)
			}
		}
	}

	b.WriteString("\n## Not applicable\n\n")
	for _, r := range rows {
		if r.status == "not-applicable" {
			fmt.Fprintf(&b, "- `%s` (%s): %s **Why not:** %s\n", r.id, r.level, r.summary, r.answer)
		}
	}

	b.WriteString("\n## Gaps\n\n")
	if total["gap"] == 0 {
		b.WriteString("None.\n")
	}
	for _, page := range order {
		if pages[page]["gap"] == 0 {
			continue
		}
		byReason := make(map[string][]string)
		for _, r := range rows {
			if r.page == page && r.status == "gap" {
				byReason[r.answer] = append(byReason[r.answer], "`"+r.id+"`")
			}
		}
		reasons := slices.SortedFunc(maps.Keys(byReason), func(x, y string) int {
			return cmp.Or(len(byReason[y])-len(byReason[x]), cmp.Compare(x, y))
		})
		for _, reason := range reasons {
			ids := byReason[reason]
			which := strings.Join(ids, ", ")
			if len(ids) > 8 {
				which = fmt.Sprintf("%d rows, %s to %s", len(ids), ids[0], ids[len(ids)-1])
			}
			fmt.Fprintf(&b, "- %s: %s. %s\n", page, which, reason)
		}
	}
	return b.String()
}
