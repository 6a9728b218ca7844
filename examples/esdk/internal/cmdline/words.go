package cmdline

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
)

// Words splits a line as a shell does: white space separates words, single and
// double quotes keep it, a backslash takes the next character as it is, and # begins
// a comment. Within quotes of either kind a backslash does so only before the same
// quote and before another backslash. These are the rules of Python's shlex in the
// way in which aws-encryption-cli uses it; the # needs no white space before it.
func Words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	within := false  // a word, even if it is empty so far
	quote := byte(0) // the quotes that are open
	escaped := false
	for i := range len(line) { // bytes: a name need not be UTF-8
		c := line[i]
		switch {
		case escaped:
			if quote != 0 && c != '\\' && c != quote {
				word.WriteByte('\\')
			}
			word.WriteByte(c)
			escaped = false
		case c == '\\':
			within, escaped = true, true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			within, quote = true, c
		case c == '#':
			if within {
				words = append(words, word.String())
			}
			return words, nil
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if within {
				words = append(words, word.String())
				word.Reset()
				within = false
			}
		default:
			within = true
			word.WriteByte(c)
		}
	}
	switch {
	case escaped:
		return nil, errors.New("nothing follows the last backslash")
	case quote != 0:
		return nil, fmt.Errorf("no closing %c", quote)
	case within:
		words = append(words, word.String())
	}
	return words, nil
}

// maxFiles ends files that name each other.
const maxFiles = 1000

// ExpandFiles replaces each argument "@FILE" by the words of the file, line by
// line, with ~ and environment variables expanded as Python does. Files can name
// files.
func ExpandFiles(args []string) ([]string, error) {
	files := 0
	var expand func(args []string) ([]string, error)
	expand = func(args []string) ([]string, error) {
		var all []string
		for _, arg := range args {
			if !strings.HasPrefix(arg, "@") {
				all = append(all, arg)
				continue
			}
			if files++; files > maxFiles {
				return nil, fmt.Errorf("%s: more than %d files of arguments; one may name itself", arg, maxFiles)
			}
			data, err := os.ReadFile(arg[1:])
			if err != nil {
				return nil, fmt.Errorf("the arguments %s: %w", arg, err)
			}
			for i, line := range strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n") {
				words, err := Words(line)
				if err != nil {
					return nil, fmt.Errorf("%s, line %d: %w", arg[1:], i+1, err)
				}
				for j, word := range words {
					words[j] = expandVariables(expandHome(strings.TrimSpace(word)))
				}
				if words, err = expand(words); err != nil {
					return nil, err
				}
				all = append(all, words...)
			}
		}
		return all, nil
	}
	return expand(args)
}

// expandHome replaces ~ and ~user at the beginning.
func expandHome(s string) string {
	if !strings.HasPrefix(s, "~") {
		return s
	}
	name, rest := s[1:], ""
	if i := strings.IndexByte(s, filepath.Separator); i >= 0 {
		name, rest = s[1:i], s[i:]
	}
	var home string
	if name == "" {
		home, _ = os.UserHomeDir()
	} else if u, err := user.Lookup(name); err == nil {
		home = u.HomeDir
	}
	if home == "" {
		return s
	}
	return strings.TrimRight(home, string(filepath.Separator)) + rest
}

var variable = regexp.MustCompile(`\$(\w+|\{[^}]*\})`)

// expandVariables replaces $NAME and ${NAME}. Unknown names stay as they are.
func expandVariables(s string) string {
	return variable.ReplaceAllStringFunc(s, func(found string) string {
		if value, ok := os.LookupEnv(strings.Trim(found[1:], "{}")); ok {
			return value
		}
		return found
	})
}
