// Package cmdline reads command lines by a table of options, in two ways:
// ParseModel follows Python's argparse, as aws-encryption-cli uses it, and Parse
// follows GNU's conventions.
package cmdline

import (
	"fmt"
	"slices"
	"strings"
)

// Values says how many values an option takes.
type Values int

const (
	None     Values = iota
	One             // exactly one
	Optional        // one or none; only as argparse reads it
	Many            // one or more as argparse reads it; one at a time as GNU does
)

// Repeat says what happens if an option is given more than once.
type Repeat int

const (
	Once   Repeat = iota // an error
	Last                 // the last one counts; for options without a value that is no error either
	Append               // all of them count
)

// An Option is one row of the table.
type Option struct {
	Long    string   // without dashes
	Short   []string // single letters, without dashes
	Arg     string   // what the value is called in help texts
	Values  Values
	Repeat  Repeat
	Choices []string // allowed values; nil: any
	// Exact options cannot be abbreviated, nor do they make the abbreviation of
	// another one ambiguous. Of interest to ParseModel alone.
	Exact bool
}

// Names returns the names of the option with their dashes, the long one last.
func (o *Option) Names() []string {
	var names []string
	for _, short := range o.Short {
		names = append(names, "-"+short)
	}
	return append(names, "--"+o.Long)
}

// Name returns the option as error messages call it, such as "-o/--output".
func (o *Option) Name() string { return strings.Join(o.Names(), "/") }

// A Line is a command line that was read.
type Line struct {
	// Options has the values of each option by its long name: a slice for each
	// time that it was given.
	Options  map[string][][]string
	Operands []string // what is no option
}

// Has reports whether the option was given.
func (l *Line) Has(name string) bool { return len(l.Options[name]) > 0 }

// Count returns how often the option was given.
func (l *Line) Count(name string) int { return len(l.Options[name]) }

// Value returns the last value of the option, or "" if it was not given or has
// none.
func (l *Line) Value(name string) string {
	if all := l.All(name); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// All returns all values of the option.
func (l *Line) All(name string) []string { return slices.Concat(l.Options[name]...) }

// set records one use of an option.
func (l *Line) set(o *Option, values []string) error {
	name := o.Long
	if l.Has(name) && o.Repeat == Once {
		return fmt.Errorf("%s may not be given more than once", o.Name())
	}
	if len(o.Choices) > 0 {
		for _, value := range values {
			if !slices.Contains(o.Choices, value) {
				return fmt.Errorf("%s: %q is not one of %s", o.Name(), value, strings.Join(o.Choices, ", "))
			}
		}
	}
	if l.Options == nil {
		l.Options = make(map[string][][]string)
	}
	l.Options[name] = append(l.Options[name], values)
	return nil
}

// Parse reads a command line as GNU programs do: "--name value", "--name=value",
// "-n value", "-nvalue", several letters in one word, operands anywhere, and "--"
// before operands that begin with a dash. Names cannot be abbreviated. "-name" is
// "--name" if an option without a value has that name, as in Go programs.
func Parse(options []Option, args []string) (*Line, error) {
	line := new(Line)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if slices.ContainsFunc(options, func(o Option) bool { return len(o.Long) > 1 && o.Values == None && arg == "-"+o.Long }) {
			arg = "-" + arg
		}
		switch {
		case arg == "--":
			line.Operands = append(line.Operands, args...)
			return line, nil
		case strings.HasPrefix(arg, "--"):
			name, value, given := strings.Cut(arg[2:], "=")
			i := slices.IndexFunc(options, func(o Option) bool { return o.Long == name })
			if i < 0 || name == "" {
				return nil, fmt.Errorf("unknown option --%s", name)
			}
			o := &options[i]
			var values []string
			switch {
			case o.Values == None && given:
				return nil, fmt.Errorf("%s takes no value", o.Name())
			case o.Values == None:
			case given:
				values = []string{value}
			case len(args) == 0:
				return nil, fmt.Errorf("%s needs %s", o.Name(), o.Arg)
			default:
				values, args = args[:1], args[1:]
			}
			if err := line.set(o, values); err != nil {
				return nil, err
			}
		case len(arg) > 1 && arg[0] == '-':
			for letters := arg[1:]; letters != ""; {
				letter := letters[:1]
				letters = letters[1:]
				i := slices.IndexFunc(options, func(o Option) bool { return slices.Contains(o.Short, letter) })
				if i < 0 {
					return nil, fmt.Errorf("unknown option -%s", letter)
				}
				o := &options[i]
				var values []string
				if o.Values != None {
					switch {
					case letters != "":
						values, letters = []string{letters}, ""
					case len(args) == 0:
						return nil, fmt.Errorf("%s needs %s", o.Name(), o.Arg)
					default:
						values, args = args[:1], args[1:]
					}
				}
				if err := line.set(o, values); err != nil {
					return nil, err
				}
			}
		default:
			line.Operands = append(line.Operands, arg)
		}
	}
	return line, nil
}
