package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpIsThere(t *testing.T) {
	s := newShop(t)
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}, {"help", "keys"}, {"help", "KEYS"}, {"help", "files"}, {"help", "model"}, {"-e", "-h"},
		{"encrypt", "--help"}, {"help", "encrypt"}, {"keys", "-h"}, {"help", "man"}, {"completion", "bash"}, {"completion", "zsh"}, {"completion", "fish"}} {
		require.NotEmpty(t, s.ok(args...))
	}
	require.True(t, strings.HasPrefix(s.ok("version"), "esdk/"))
	require.True(t, strings.HasPrefix(s.ok("--version", "anything"), "esdk/"))
	require.Contains(t, s.ok("help", "KEYS"), "provider=raw-aes")
	for _, args := range [][]string{{}, {"nothing"}, {"help", "nothing"}, {"encrypt"}, {"encrypt", "--nothing"}, {"completion"}, {"keys"}, {"model"},
		{"-e"}, {"--nothing"}, {"-encrypt"}} {
		s.fails(2, "esdk", args...)
	}
	require.NoError(t, os.Symlink(binary, s.path("aws-encryption-cli")))
	s.write("a", "contents")
	cmd := s.command(modelArgs("-e", "a", "b")...)
	cmd.Path = s.path("aws-encryption-cli")
	require.NoError(t, cmd.Run())
	cmd = s.command("encrypt")
	cmd.Path, cmd.Args[0] = s.path("aws-encryption-cli"), "aws-encryption-cli"
	require.Error(t, cmd.Run(), "under that name there are no commands")
}

// README.md's table is made from the options.
func TestReadmeComparesAllOptions(t *testing.T) {
	const begin, end = "<!-- options: go test -run Readme -update . -->\n", "<!-- end -->\n"
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + comparison() + end + after
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(want), 0o644))
		return
	}
	require.True(t, want == string(readme), "run go test -run Readme -update .")
}

// comparison returns the options of aws-encryption-cli beside this program's.
func comparison() string {
	var b strings.Builder
	b.WriteString("| aws-encryption-cli | here |\n|---|---|\n")
	for _, o := range options() {
		if o.model != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", o.term(false), o.model)
		}
	}
	return b.String()
}

func TestCompletionScripts(t *testing.T) {
	s := newShop(t)
	for shell, check := range map[string][]string{
		"bash": {"--norc", "-c", `source <(cat)
complete() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _esdk; echo "${COMPREPLY[@]}"; }
complete esdk enc; complete esdk decrypt --com; complete esdk -e --commitment-policy for; complete esdk keys r; complete esdk help K; complete esdk verify --un`},
		"fish": {"--no-config", "-c", `source
for words in "enc" "decrypt --com" "decrypt --commitment-policy for" "keys r" "help K" "verify --un"
	complete -C "esdk $words" | string split -f 1 \t
end`},
		"zsh": {"-f", "-n", "/dev/stdin"},
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("there is no %s here", shell)
			}
			cmd := exec.CommandContext(t.Context(), path, check...)
			cmd.Env = s.env
			cmd.Stdin = strings.NewReader(s.ok("completion", shell))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", shell, out)
			if shell != "zsh" { // where it is read, and no more
				require.Equal(t, []string{"encrypt", "--commitment-policy", "forbid-encrypt-allow-decrypt", "rotate", "KEYS", "--unsigned"},
					strings.Fields(string(out)), shell)
			}
		})
	}
}

func TestManPage(t *testing.T) {
	s := newShop(t)
	page := s.ok("help", "man")
	for _, o := range options() {
		require.Contains(t, page, strings.ReplaceAll("--"+o.Long, "-", `\-`))
	}
	// Only these requests and escapes are meant: text that roff would take for others is escaped.
	line := regexp.MustCompile(`^((\.(TH|SH|B|TP|PP|nf|fi|ad|br)( .*)?)|([^.'].*)?)\n$`)
	escapes := regexp.MustCompile(`\\[^e&-]`)
	for text := range strings.Lines(page) {
		require.Regexp(t, line, text)
		require.NotRegexp(t, escapes, text)
	}
	require.Equal(t, strings.Count(page, "\n.nf\n"), strings.Count(page, "\n.fi\n"))

	t.Run("groff", func(t *testing.T) {
		groff, err := exec.LookPath("groff")
		if err != nil {
			t.Skip("there is no groff here")
		}
		cmd := exec.CommandContext(t.Context(), groff, "-ww", "-man", "-z")
		cmd.Stdin = strings.NewReader(page)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err)
		require.Empty(t, string(out))
	})
}
