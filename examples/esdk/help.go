package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
)

// help prints the help for a command or topic, or the overview.
func (p *program) help(args []string) int {
	if len(args) > 1 {
		return p.usage("help", fmt.Errorf("%q is one operand too many", args[1]))
	}
	if len(args) == 0 {
		return p.out(overview())
	}
	name := args[0]
	switch {
	case strings.EqualFold(name, model):
		return p.out(modelHelp())
	case name == "man":
		return p.out(manPage())
	}
	for _, t := range topics() {
		if strings.EqualFold(t.name, name) {
			return p.out(t.text)
		}
	}
	for _, c := range commands() {
		if c.name == name {
			return p.out(commandHelp(c))
		}
	}
	return p.usage("help", fmt.Errorf("there is no command and no topic %q", name))
}

func overview() string {
	var b strings.Builder
	b.WriteString("Esdk encrypts files in the message format of the AWS Encryption SDK.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  esdk %-11s %s\n", c.name, c.does)
	}
	b.WriteString("\nFor example, with a KMS key and with a key of your own:\n\n")
	b.WriteString("  esdk encrypt -k arn:aws:kms:eu-west-1:111122223333:key/... report.pdf\n")
	b.WriteString("  esdk encrypt -k \"provider=raw-aes namespace=app name=1 file=key.bin\" report.pdf\n")
	b.WriteString("\nesdk help KEYS is about keys, esdk help FILES about what is written where, and\n")
	b.WriteString("esdk help MODEL about the command line of aws-encryption-cli, which begins with an\noption: esdk -e -i FILE -o FILE -w key=ARN -S\n")
	return b.String()
}

// names returns the option with its dashes. aws-encryption-cli has -v, but no --verbose.
func (o *option) names(gnu bool) []string {
	names := o.Names()
	if o.Long == "verbose" && !gnu {
		names = names[:len(names)-1]
	}
	return names
}

// term returns how an option and its value are written.
func (o *option) term(gnu bool) string {
	text := strings.Join(o.names(gnu), ", ")
	switch {
	case o.Values == cmdline.None:
	case o.Values == cmdline.Optional && !gnu:
		text += " [" + o.Arg + "]"
	case o.Values == cmdline.Many && !gnu:
		text += " " + o.Arg + "..."
	default:
		text += " " + o.Arg
	}
	return text
}

// text returns what help and man page say about an option.
func (o *option) text(gnu bool) string {
	text := o.help
	if len(o.Choices) > 0 {
		text += ": " + strings.Join(o.Choices, ", ")
	}
	if gnu && (o.Repeat == cmdline.Append && o.Values != cmdline.None || o.Values == cmdline.Many) {
		text += "; may be repeated"
	}
	return text
}

// optionHelp returns the help texts of options.
func optionHelp(options []option, gnu bool) string {
	var b strings.Builder
	for _, o := range options {
		fmt.Fprintf(&b, "  %s\n%s", o.term(gnu), indent(o.text(gnu), "        ", 88))
	}
	return b.String()
}

// indent breaks text into lines of at most width bytes, each after the prefix.
func indent(text, prefix string, width int) string {
	var b strings.Builder
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != prefix {
			b.WriteString(line + "\n")
			line = prefix
		}
		if line != prefix {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}

func commandHelp(c command) string {
	text := fmt.Sprintf("esdk %s [OPTION...] %s\n", c.name, c.operands)
	if len(optionsOf(c.name)) == 0 {
		text = strings.TrimSpace("esdk "+c.name+" "+c.operands) + "\n"
	}
	text += "\n" + strings.ToUpper(c.does[:1]) + c.does[1:] + ".\n"
	if details := commandDetails()[c.name]; details != "" {
		text += "\n" + details
	}
	if o := optionsOf(c.name); len(o) > 0 {
		text += "\n" + optionHelp(o, true)
	}
	return text
}

func modelHelp() string {
	return modelText + "\n" + optionHelp(optionsOf(model), false)
}

// A topic is explained by esdk help NAME, in any case.
type topic struct{ name, text string }

func topicNames() []string {
	names := []string{"MODEL"}
	for _, t := range topics() {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

// completion prints the completion script of a shell.
func (p *program) completion(args []string) int {
	scripts := map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(args) != 1 || scripts[args[0]] == nil {
		return p.usage("help completion", fmt.Errorf("name one shell: bash, zsh or fish"))
	}
	return p.out(scripts[args[0]]())
}

// manPage returns the man page in roff.
func manPage() string {
	escape := strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'")
	var b strings.Builder
	fmt.Fprintf(&b, ".TH ESDK 1 \"\" \"%s\"\n.ad l\n.SH NAME\nesdk \\- encrypt files in the message format of the AWS Encryption SDK\n.SH SYNOPSIS\n", escape.Replace(version()))
	for _, c := range commands() {
		fmt.Fprintf(&b, ".B esdk %s\n", c.name)
		if c.operands != "" {
			b.WriteString(escape.Replace(c.operands) + "\n")
		}
		b.WriteString(".br\n")
	}
	b.WriteString(".B esdk \\-e\n|\n.B \\-d\n|\n.B \\-\\-decrypt\\-unsigned\n\\&...\n")
	for _, c := range commands() {
		options := optionsOf(c.name)
		details := commandDetails()[c.name]
		fmt.Fprintf(&b, ".SH ESDK %s\n%s.\n", strings.ToUpper(c.name), escape.Replace(strings.ToUpper(c.does[:1])+c.does[1:]))
		if details != "" {
			fmt.Fprintf(&b, ".PP\n.nf\n%s.fi\n", escape.Replace(details))
		}
		for _, o := range options {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", escape.Replace(o.term(true)), escape.Replace(o.text(true)))
		}
	}
	for _, t := range topics() {
		fmt.Fprintf(&b, ".SH %s\n.nf\n%s.fi\n", t.name, escape.Replace(t.text))
	}
	fmt.Fprintf(&b, ".SH MODEL\n.nf\n%s.fi\n", escape.Replace(modelText))
	for _, o := range optionsOf(model) {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", escape.Replace(o.term(false)), escape.Replace(o.text(false)))
	}
	return b.String()
}
