package main

import (
	"fmt"
	"strings"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
)

// words returns the names of all options of a command.
func words(command string) string {
	var list []string
	for _, o := range optionsOf(command) {
		list = append(list, o.names(command != model)...)
	}
	return strings.Join(list, " ")
}

// operandWords are what can follow the commands that take no files.
func operandWords() map[string]string {
	return map[string]string{
		"help":       commandNames() + " " + strings.Join(topicNames(), " ") + " man",
		"completion": "bash zsh fish",
		"keys":       "create-table create rotate list versions",
	}
}

func commandNames() string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return strings.Join(names, " ")
}

func bashCompletion() string {
	var b strings.Builder
	b.WriteString(`# Completion of esdk for bash: source <(esdk completion bash)
_esdk() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options= operands=
	COMPREPLY=()
`)
	fmt.Fprintf(&b, "\tcase $prev in\n")
	for _, o := range choices() {
		fmt.Fprintf(&b, "\t--%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o.Long, strings.Join(o.Choices, " "))
	}
	fmt.Fprintf(&b, "\tesac\n\tcase ${COMP_WORDS[1]} in\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "\t%s) options='%s' operands='%s' ;;\n", c.name, words(c.name), operandWords()[c.name])
	}
	fmt.Fprintf(&b, "\t-*) options='%s' ;;\n\tesac\n", words(model))
	fmt.Fprintf(&b, `	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W '%s %s' -- "$cur"))
	elif [ "${cur:0:1}" = - ]; then
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
	elif [ -n "$operands" ]; then
		COMPREPLY=($(compgen -W "$operands" -- "$cur"))
	else
		compopt -o filenames
		local IFS=$'\n'
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -F _esdk esdk
`, commandNames(), words(model))
	return b.String()
}

// choices returns the options that have a few values, each once.
func choices() []option {
	var list []option
	for _, o := range options() {
		if len(o.Choices) > 0 {
			list = append(list, o)
		}
	}
	return list
}

func zshCompletion() string {
	quote := strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)
	var b strings.Builder
	b.WriteString("#compdef esdk\n# Completion of esdk for zsh: esdk completion zsh > a folder of $fpath, as _esdk\n_esdk() {\n\tlocal -a commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "\t\t'%s:%s'\n", c.name, quote.Replace(c.does))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	specs := func(command string) {
		for _, o := range optionsOf(command) {
			for _, name := range o.names(command != model) {
				spec := fmt.Sprintf("*%s[%s]", name, quote.Replace(o.help))
				if o.Values != cmdline.None {
					action := "_files"
					if len(o.Choices) > 0 {
						action = "(" + strings.Join(o.Choices, " ") + ")"
					}
					spec += ":" + quote.Replace(o.Arg) + ":" + action
				}
				fmt.Fprintf(&b, " \\\n\t\t\t'%s'", spec)
			}
		}
	}
	for _, c := range commands() {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments", c.name)
		specs(c.name)
		if operands := operandWords()[c.name]; operands != "" {
			fmt.Fprintf(&b, " \\\n\t\t\t'*:operand:(%s)'", operands)
		} else {
			b.WriteString(" \\\n\t\t\t'*:file:_files'")
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString("\t-*)\n\t\t_arguments")
	specs(model)
	b.WriteString("\n\t\t;;\n\tesac\n}\n_esdk \"$@\"\n")
	return b.String()
}

func fishCompletion() string {
	quote := strings.NewReplacer(`\`, `\\`, "'", `\'`)
	var b strings.Builder
	b.WriteString("# Completion of esdk for fish: esdk completion fish > ~/.config/fish/completions/esdk.fish\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "complete -c esdk -f -n __fish_use_subcommand -a %s -d '%s'\n", c.name, quote.Replace(c.does))
	}
	for _, c := range commands() {
		seen := "'__fish_seen_subcommand_from " + c.name + "'"
		for _, o := range optionsOf(c.name) {
			fmt.Fprintf(&b, "complete -c esdk -n %s", seen)
			for _, short := range o.Short {
				fmt.Fprintf(&b, " -s %s", short)
			}
			fmt.Fprintf(&b, " -l %s", o.Long)
			if len(o.Choices) > 0 {
				fmt.Fprintf(&b, " -x -a '%s'", strings.Join(o.Choices, " "))
			} else if o.Values != cmdline.None {
				b.WriteString(" -r")
			}
			fmt.Fprintf(&b, " -d '%s'\n", quote.Replace(o.help))
		}
		if operands := operandWords()[c.name]; operands != "" {
			fmt.Fprintf(&b, "complete -c esdk -f -n %s -a '%s'\n", seen, operands)
		}
	}
	return b.String()
}
