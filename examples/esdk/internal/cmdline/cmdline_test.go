package cmdline

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The expected words are those of Python 3.11's shlex with whitespace_split and
// escapedquotes set to both quotes.
func TestWordsAreThoseOfShlex(t *testing.T) {
	for line, want := range map[string][]string{
		``:                            nil,
		`  a  b `:                     {"a", "b"},
		`'a b' "c d"`:                 {"a b", "c d"},
		`a'b c'd`:                     {"ab cd"},
		`''`:                          {""},
		`key="a=b c"`:                 {"key=a=b c"},
		`'it\'s' "a\"b" "a\nb"`:       {"it's", `a"b`, `a\nb`},
		`a\ b \\ \'`:                  {"a b", `\`, "'"},
		`a # comment`:                 {"a"},
		`# comment`:                   nil,
		`a#b c`:                       {"a"},
		`'a#b'`:                       {"a#b"},
		"key=1\tprovider=aws-kms\r":   {"key=1", "provider=aws-kms"},
		`ü=é`:                         {"ü=é"},
		"a\xff 'b\xfe'\xff":           {"a\xff", "b\xfe\xff"},
		`"\\"`:                        {`\`},
		`"a\'b"`:                      {`a\'b`},
		`--input=" leading and end "`: {"--input= leading and end "},
	} {
		words, err := Words(line)
		require.NoError(t, err, line)
		require.Equal(t, want, words, line)
	}
	for _, line := range []string{`'a`, `"a\"`, `a\`} {
		_, err := Words(line)
		require.Error(t, err, line)
	}
}

func TestArgumentsComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ESDK_ARGUMENT", "of the environment")
	t.Setenv("HOME", dir)
	inner, outer, loop := filepath.Join(dir, "inner"), filepath.Join(dir, "outer file"), filepath.Join(dir, "loop")
	require.NoError(t, os.WriteFile(inner, []byte("-S # nothing\n\n~/x a~ $ESDK_ARGUMENT '${ESDK_ARGUMENT}' $ESDK_NONE"), 0o600))
	require.NoError(t, os.WriteFile(outer, []byte("-e\n@~/inner\n'@"+inner+"'\n"), 0o600))
	require.NoError(t, os.WriteFile(loop, []byte("@"+loop), 0o600))

	words := []string{"-S", filepath.Join(dir, "x"), "a~", "of the environment", "of the environment", "$ESDK_NONE"}
	args, err := ExpandFiles([]string{"first", "@" + inner, "last"})
	require.NoError(t, err)
	require.Equal(t, append(append([]string{"first"}, words...), "last"), args)

	require.NoError(t, os.WriteFile(outer, []byte("-e\n@$HOME/inner\n"), 0o600))
	args, err = ExpandFiles([]string{"@" + outer})
	require.NoError(t, err)
	require.Equal(t, append([]string{"-e"}, words...), args)

	for _, arg := range []string{"@" + loop, "@" + filepath.Join(dir, "none"), "@"} {
		_, err := ExpandFiles([]string{arg})
		require.Error(t, err, arg)
	}
}

func options() []Option {
	return []Option{
		{Long: "encrypt", Short: []string{"e"}, Repeat: Last},
		{Long: "decrypt", Short: []string{"d"}, Repeat: Last},
		{Long: "decrypt-unsigned", Repeat: Last},
		{Long: "encode", Repeat: Last},
		{Long: "output", Short: []string{"o"}, Values: One, Arg: "FILE"},
		{Long: "encryption-context", Short: []string{"c"}, Values: Many, Arg: "KEY=VALUE"},
		{Long: "wrapping-keys", Short: []string{"w"}, Values: Many, Repeat: Append},
		{Long: "suffix", Values: Optional},
		{Long: "frame-length", Values: One},
		{Long: "policy", Values: One, Repeat: Last, Choices: []string{"a", "b"}},
		{Long: "recursive", Short: []string{"r", "R"}, Repeat: Last},
		{Long: "verbose", Short: []string{"v"}, Exact: true, Repeat: Append},
		{Long: "follow", Exact: true, Repeat: Last},
	}
}

// What the errors begin with is what aws-encryption-cli 4.3 says.
func TestModelIsReadAsArgparseDoes(t *testing.T) {
	one := func(values ...string) [][]string { return [][]string{values} }
	for _, c := range []struct {
		args []string
		want map[string][][]string
		err  string
	}{
		{args: []string{"-e", "-o", "x"}, want: map[string][][]string{"encrypt": one(), "output": one("x")}},
		{args: []string{"--enco", "--out", "x"}, want: map[string][][]string{"encode": one(), "output": one("x")}},
		{args: []string{"-c", "a=b", "c=d", "-e"}, want: map[string][][]string{"encryption-context": one("a=b", "c=d"), "encrypt": one()}},
		{args: []string{"-w", "a", "b", "-w", "c"}, want: map[string][][]string{"wrapping-keys": {{"a", "b"}, {"c"}}}},
		{args: []string{"-ox"}, want: map[string][][]string{"output": one("x")}},
		{args: []string{"-o=x"}, want: map[string][][]string{"output": one("x")}},
		{args: []string{"--output=-x"}, want: map[string][][]string{"output": one("-x")}},
		{args: []string{"-o", "-"}, want: map[string][][]string{"output": one("-")}},
		{args: []string{"-er"}, want: map[string][][]string{"encrypt": one(), "recursive": one()}},
		{args: []string{"-R"}, want: map[string][][]string{"recursive": one()}},
		{args: []string{"-vvv"}, want: map[string][][]string{"verbose": {{}, {}, {}}}},
		{args: []string{"-vrox"}, want: map[string][][]string{"verbose": one(), "recursive": one(), "output": one("x")}},
		{args: []string{"--suffix", "-e"}, want: map[string][][]string{"suffix": one(), "encrypt": one()}},
		{args: []string{"--suffix", ".x"}, want: map[string][][]string{"suffix": one(".x")}},
		{args: []string{"--suffix="}, want: map[string][][]string{"suffix": one("")}},
		{args: []string{"--frame-length", "-5"}, want: map[string][][]string{"frame-length": one("-5")}},
		{args: []string{"--f", "5"}, want: map[string][][]string{"frame-length": one("5")}},
		{args: []string{"--follow"}, want: map[string][][]string{"follow": one()}},
		{args: []string{"-o", "-a b"}, want: map[string][][]string{"output": one("-a b")}},
		{args: []string{"--policy", "a", "--policy=b"}, want: map[string][][]string{"policy": {{"a"}, {"b"}}}},

		{args: []string{"--enc"}, err: "ambiguous option: --enc could match --encrypt, --encode, --encryption-context"},
		{args: []string{"-de"}, err: "ambiguous option: -de could match -d, -decrypt, -decrypt-unsigned"},
		{args: []string{"-encrypt"}, err: `found invalid argument "-encrypt": did you mean "--encrypt"?`},
		{args: []string{"-outp", "x"}, err: `ambiguous option: -outp could match -o, -output`},
		{args: []string{"-o"}, err: "argument -o/--output: expected one argument"},
		{args: []string{"-o", "-x"}, err: "argument -o/--output: expected one argument"},
		{args: []string{"-c", "-e"}, err: "argument -c/--encryption-context: expected at least one argument"},
		{args: []string{"-o", "x", "-o", "y"}, err: "-o/--output may not be given more than once"},
		{args: []string{"-ex"}, err: `argument -e/--encrypt: ignored explicit argument "x"`},
		{args: []string{"--encrypt=x"}, err: `argument -e/--encrypt: ignored explicit argument "x"`},
		{args: []string{"x"}, err: "unrecognized arguments: x"},
		{args: []string{"-c", "a=b", "--", "c=d"}, err: "unrecognized arguments: c=d"},
		{args: []string{"--nothing"}, err: "unrecognized arguments: --nothing"},
		{args: []string{"--policy", "c"}, err: `--policy: "c" is not one of a, b`},
		{args: []string{"--fol"}, err: "unrecognized arguments: --fol"},
	} {
		line, err := ParseModel(options(), c.args)
		if c.err != "" {
			require.EqualError(t, err, c.err, "%q", c.args)
			continue
		}
		require.NoError(t, err, "%q", c.args)
		require.Len(t, line.Options, len(c.want), "%q", c.args)
		for name, values := range c.want {
			require.Len(t, line.Options[name], len(values), "%q", c.args)
			for i := range values {
				require.ElementsMatch(t, values[i], line.Options[name][i], "%q", c.args)
			}
		}
	}
	line, err := ParseModel(options(), []string{"-e", "-v", "--nothing-known"}, "verbose")
	require.NoError(t, err)
	require.True(t, line.Has("verbose"))
}

func TestModernCommandLines(t *testing.T) {
	line, err := Parse(options(), []string{"a", "-vro", "x", "--suffix=.s", "-ca=b", "-c", "c=d", "-", "--", "-e", "@f"})
	require.EqualError(t, err, "-c/--encryption-context may not be given more than once")
	require.Nil(t, line)
	many := options()
	many[5].Repeat = Append
	line, err = Parse(many, []string{"a", "-vro", "x", "--suffix=.s", "-ca=b", "-c", "-c=d", "-", "--", "-e", "@f"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "-", "-e", "@f"}, line.Operands)
	require.Equal(t, []string{"a=b", "-c=d"}, line.All("encryption-context"))
	require.Equal(t, "x", line.Value("output"))
	require.Equal(t, ".s", line.Value("suffix"))
	require.Equal(t, 1, line.Count("verbose"))
	require.False(t, line.Has("encrypt"))
	require.ElementsMatch(t, []string{"verbose", "recursive", "output", "suffix", "encryption-context"}, slices.Collect(maps.Keys(line.Options)))
	for want, args := range map[string][]string{
		"unknown option --x":            {"--x"},
		"unknown option --out":          {"--out", "x"},
		"unknown option -x":             {"-vx"},
		"-o/--output needs FILE":        {"-o"},
		"-e/--encrypt takes no value":   {"--encrypt=1"},
		`--policy: "c" is not one of`:   {"--policy=c"},
		"-o/--output may not be given":  {"-o", "a", "-o", "b"},
		"unknown option --":             {"--=x"},
		"-c/--encryption-context needs": {"-v", "--encryption-context"},
	} {
		_, err := Parse(options(), args)
		require.ErrorContains(t, err, want, "%q", args)
	}
}
