package cmdline

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A negative number is a value, although it begins with a dash.
var negativeNumber = regexp.MustCompile(`^-\d+$|^-\d*\.\d+$`)

// ParseModel reads a command line as aws-encryption-cli does, by the rules of
// Python's argparse:
//
//   - An option with several values takes all words up to the next option.
//   - Long names can be abbreviated as long as they stay unambiguous.
//   - Letters without values can be joined, as in "-er".
//   - A word that begins with a dash is a value only if it is a number, has a
//     space, or follows "=".
//   - A long name with one dash is named in the error, together with the right one.
//
// There are no operands. If one of the options called stop is met, the rest is
// neither read nor checked. The words of files are put in before: see ExpandFiles.
func ParseModel(options []Option, args []string, stop ...string) (*Line, error) {
	p := modelParser{names: make(map[string]*Option)}
	for i := range options {
		o := &options[i]
		for _, short := range o.Short {
			p.names["-"+short] = o
		}
		p.names["--"+o.Long] = o
		if !o.Exact {
			p.order = append(p.order, "-"+o.Long, "--"+o.Long) // with one dash it is a mistake that is looked for
		}
		for _, short := range o.Short {
			p.order = append(p.order, "-"+short)
		}
	}

	words := make([]modelWord, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			words = append(words, modelWord{text: arg, end: true})
			for _, rest := range args[i+1:] {
				words = append(words, modelWord{text: rest})
			}
			break
		}
		word, err := p.classify(arg)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}

	var unrecognized []string
	line := new(Line)
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if word.option == "" {
			if !word.end {
				unrecognized = append(unrecognized, word.text)
			}
			continue
		}
		n, err := p.consume(line, word, words)
		if err != nil {
			return nil, err
		}
		words = words[n:]
		for _, name := range stop {
			if line.Has(name) {
				return line, nil
			}
		}
	}
	if len(unrecognized) > 0 {
		return nil, fmt.Errorf("unrecognized arguments: %s", strings.Join(unrecognized, " "))
	}
	return line, nil
}

type modelParser struct {
	names map[string]*Option // with dashes
	order []string           // what abbreviations can stand for
}

// A modelWord is a word of the command line: a value, if option is empty.
type modelWord struct {
	text     string
	option   string // with dashes
	explicit string // what follows the option in the same word
	joined   bool   // whether anything does
	end      bool   // "--"
}

// classify says whether a word is an option or a value.
func (p *modelParser) classify(arg string) (modelWord, error) {
	if len(arg) < 2 || arg[0] != '-' {
		return modelWord{text: arg}, nil
	}
	if p.known(arg) {
		return modelWord{text: arg, option: arg}, nil
	}
	name, value, joined := strings.Cut(arg, "=")
	if joined && p.known(name) {
		return modelWord{text: arg, option: name, explicit: value, joined: true}, nil
	}
	var matches []modelWord
	if strings.HasPrefix(arg, "--") {
		for _, candidate := range p.order {
			if strings.HasPrefix(candidate, name) {
				matches = append(matches, modelWord{text: arg, option: candidate, explicit: value, joined: joined})
			}
		}
	} else {
		for _, candidate := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.order, slices.Collect(maps.Keys(p.names)))))) {
			switch {
			case candidate == arg[:2]:
				matches = append(matches, modelWord{text: arg, option: candidate, explicit: arg[2:], joined: true})
			case strings.HasPrefix(candidate, arg):
				matches = append(matches, modelWord{text: arg, option: candidate})
			}
		}
	}
	switch {
	case len(matches) == 1:
		return matches[0], nil
	case len(matches) > 1:
		var names []string
		for _, match := range matches {
			names = append(names, match.option)
		}
		return modelWord{}, fmt.Errorf("ambiguous option: %s could match %s", arg, strings.Join(names, ", "))
	case negativeNumber.MatchString(arg), strings.Contains(arg, " "):
		return modelWord{text: arg}, nil
	}
	return modelWord{text: arg, option: arg}, nil // unknown: consume says so
}

// known reports whether name is an option, or a long one with one dash too few.
func (p *modelParser) known(name string) bool {
	return p.names[name] != nil || slices.Contains(p.order, name)
}

// consume takes the option's values from what follows it, and returns how many
// words it took.
func (p *modelParser) consume(line *Line, word modelWord, rest []modelWord) (int, error) {
	name, explicit, joined := word.option, word.explicit, word.joined
	for {
		o := p.names[name]
		if o == nil {
			if p.names["-"+name] != nil {
				return 0, fmt.Errorf("found invalid argument %q: did you mean %q?", name, "-"+name)
			}
			return 0, fmt.Errorf("unrecognized arguments: %s", word.text)
		}
		if !joined {
			n := 0
			for n < len(rest) && rest[n].option == "" && !rest[n].end && n < o.most() {
				n++
			}
			if n == 0 && (o.Values == One || o.Values == Many) {
				return 0, fmt.Errorf("argument %s: expected %s", o.Name(), map[Values]string{One: "one argument", Many: "at least one argument"}[o.Values])
			}
			values := make([]string, n)
			for i := range values {
				values[i] = rest[i].text
			}
			return n, line.set(o, values)
		}
		if o.Values != None {
			return 0, line.set(o, []string{explicit})
		}
		// Letters without values: the next letter is the next option.
		if strings.HasPrefix(name, "--") || explicit == "" {
			return 0, fmt.Errorf("argument %s: ignored explicit argument %q", o.Name(), explicit)
		}
		if err := line.set(o, nil); err != nil {
			return 0, err
		}
		next := "-" + explicit[:1]
		if p.names[next] == nil {
			return 0, fmt.Errorf("argument %s: ignored explicit argument %q", o.Name(), explicit)
		}
		name, explicit = next, explicit[1:]
		joined = explicit != ""
	}
}

// most is how many values the option takes at most.
func (o *Option) most() int {
	switch o.Values {
	case None:
		return 0
	case Many:
		return 1 << 30
	}
	return 1
}
