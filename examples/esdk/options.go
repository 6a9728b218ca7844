package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
	"github.com/esdk-go/esdk/suite"
)

// An option is one row of the table from which command lines, help, completion, the
// man page and the comparison in README.md are made.
type option struct {
	cmdline.Option
	in    string // the commands that have it
	help  string
	model string // how it compares with aws-encryption-cli's, if that has it
}

// model, in the table, is the command line of aws-encryption-cli.
const model = "model"

// commands are those of the modern command line, in the order of the help texts.
func commands() []command {
	return []command{
		{name: "encrypt", operands: "[FILE...]", does: "encrypt files, or standard input"},
		{name: "decrypt", operands: "[FILE...]", does: "decrypt files, or standard input"},
		{name: "verify", operands: "[FILE...]", does: "decrypt to nowhere: are the messages whole and genuine?"},
		{name: "inspect", operands: "[FILE...]", does: "show what messages say about themselves; needs no keys"},
		{name: "reencrypt", operands: "[FILE...]", does: "put messages under other keys"},
		{name: "keys", operands: "create-table | create [ID] | rotate ID | list | versions ID", does: "administer branch keys in a DynamoDB table"},
		{name: "completion", operands: "bash | zsh | fish", does: "print the completion script of a shell"},
		{name: "help", operands: "[COMMAND | " + strings.Join(topicNames(), " | ") + " | man]", does: "explain a command or a topic, or print the man page"},
		{name: "version", does: "print the version"},
	}
}

type command struct {
	name, operands, does string
}

// policies are the names of the commitment policies.
func policies() map[string]suite.CommitmentPolicy {
	return map[string]suite.CommitmentPolicy{
		"require-encrypt-require-decrypt": suite.RequireEncryptRequireDecrypt,
		"require-encrypt-allow-decrypt":   suite.RequireEncryptAllowDecrypt,
		"forbid-encrypt-allow-decrypt":    suite.ForbidEncryptAllowDecrypt,
	}
}

// suiteName returns what aws-encryption-cli calls a suite.
func suiteName(id suite.ID) string {
	return strings.TrimSuffix(strings.TrimPrefix(id.String(), "ALG_"), "_NO_KDF")
}

func suiteNames() []string {
	var names []string
	for _, id := range suite.All() {
		names = append(names, suiteName(id))
	}
	return names
}

func policyNames() []string {
	return slices.Sorted(maps.Keys(policies()))
}

const (
	all        = "model encrypt decrypt verify reencrypt "
	writing    = "model encrypt decrypt reencrypt "
	decrypting = "model decrypt verify reencrypt "
)

// options is the table.
func options() []option {
	type o = cmdline.Option
	short := func(letters ...string) []string { return letters }
	return []option{
		{o{Long: "encrypt", Short: short("e"), Repeat: cmdline.Last}, model,
			"encrypt data", "same; `esdk encrypt`"},
		{o{Long: "decrypt", Short: short("d"), Repeat: cmdline.Last}, model,
			"decrypt data", "same; `esdk decrypt`"},
		{o{Long: "decrypt-unsigned", Repeat: cmdline.Last}, model,
			"decrypt data, and refuse signed messages", "same; `esdk decrypt --unsigned`"},
		{o{Long: "unsigned", Repeat: cmdline.Last}, "decrypt verify reencrypt",
			"refuse signed messages, so that plaintext can be used as it comes", ""},
		{o{Long: "input", Short: short("i"), Values: cmdline.One, Arg: "INPUT"}, model,
			"the file, folder or pattern to read, or - for standard input",
			"better: a name that has pattern characters and exists is taken as it is; pipes and devices can be read; in `esdk encrypt FILE...` any number of names"},
		{o{Long: "output", Short: short("o"), Values: cmdline.One, Arg: "OUTPUT"}, writing,
			"the file or folder to write, or - for standard output",
			"better: written beside its place and renamed when the message is verified; what was there survives every failure; mode and time are those of the input"},
		{o{Long: "wrapping-keys", Short: short("w"), Values: cmdline.Many, Repeat: cmdline.Append, Arg: "NAME=VALUE"}, model,
			"keys of one provider; see esdk help KEYS",
			"better: `provider=` also `raw-aes`, `raw-rsa`, `raw-ecdh`, `kms-rsa`, `kms-ecdh`, `hierarchical`; an unknown attribute is an error. Not taken: plug-ins, which are Python packages"},
		{o{Long: "key", Short: short("k"), Values: cmdline.One, Repeat: cmdline.Append, Arg: "KEY"}, "encrypt decrypt verify",
			"a KMS key, or the attributes of other keys in one argument; see esdk help KEYS", ""},
		{o{Long: "from", Values: cmdline.One, Repeat: cmdline.Append, Arg: "KEY"}, "reencrypt",
			"a key that the messages are under, as --key of the other commands", ""},
		{o{Long: "to", Values: cmdline.One, Repeat: cmdline.Append, Arg: "KEY"}, "reencrypt",
			"a key that they are to be under", ""},
		{o{Long: "in-place", Repeat: cmdline.Last}, "reencrypt",
			"replace the messages themselves", ""},
		{o{Long: "encryption-context", Short: short("c"), Values: cmdline.Many, Arg: "KEY=VALUE"}, all,
			"on encryption a pair to bind to the message; on decryption a pair that it must have, or KEY alone for any value",
			"better: a mismatch is a failure and not exit status 0, before KMS is called where the message stores the key; pairs that a message only authenticates can be given; a key that is given twice is an error"},
		{o{Long: "commitment-policy", Values: cmdline.One, Repeat: cmdline.Last, Choices: policyNames(), Arg: "POLICY"}, all,
			"whether messages must commit to their key", "same"},
		{o{Long: "algorithm", Values: cmdline.One, Choices: suiteNames(), Arg: "NAME"}, "model encrypt reencrypt",
			"the algorithm suite of new messages", "same"},
		{o{Long: "frame-length", Values: cmdline.One, Arg: "BYTES"}, "model encrypt reencrypt",
			"length of the frames of new messages; 0 for one unframed block, in memory",
			"better: any length up to 2^32-1, not only multiples of 16; `esdk encrypt` has 65,536 for a default"},
		{o{Long: "max-length", Values: cmdline.One, Arg: "BYTES"}, decrypting,
			"the longest frame or unframed body to read", "same"},
		{o{Long: "max-encrypted-data-keys", Values: cmdline.One, Arg: "N"}, all + "inspect",
			"the largest number of encrypted data keys of a message", "same"},
		{o{Long: "caching", Values: cmdline.Many, Arg: "NAME=VALUE"}, all,
			"use data keys for several messages: capacity=, max_age= (seconds), max_messages_encrypted=, max_bytes_encrypted=",
			"same; one cache for all files, also when several are worked on at once"},
		{o{Long: "buffer", Short: short("b"), Repeat: cmdline.Last}, "model decrypt",
			"hold the result in memory until it is verified, before standard output gets any of it",
			"same for standard output; a file is never seen before it is verified, and needs no memory for that"},
		{o{Long: "encode", Repeat: cmdline.Last}, writing,
			"write Base64", "same"},
		{o{Long: "decode", Repeat: cmdline.Last}, all + "inspect",
			"read Base64; messages in Base64 are recognised without it",
			"better: messages in Base64 are recognised without it, and messages that are not with it; what follows the padding is an error"},
		{o{Long: "suffix", Values: cmdline.Optional, Arg: "SUFFIX"}, "model encrypt decrypt",
			"what output names in a folder end with, beyond the input's; default .encrypted or .decrypted",
			"same; `esdk decrypt` takes `.encrypted` off instead"},
		{o{Long: "recursive", Short: short("r", "R"), Repeat: cmdline.Last}, all + "inspect",
			"also read folders, and what is below them",
			"better: no symbolic links and special files unless asked, not the output folder, and not what this run writes"},
		{o{Long: "follow-symlinks", Repeat: cmdline.Last, Exact: true}, all + "inspect",
			"follow symbolic links within folders", ""},
		{o{Long: "interactive", Repeat: cmdline.Last}, writing,
			"ask before an existing file is replaced",
			"better: the end of standard input means no; asks on the terminal if standard input is the data"},
		{o{Long: "no-overwrite", Repeat: cmdline.Last}, writing,
			"leave existing files as they are, and go on",
			"better: holds for a file that appears meanwhile, too"},
		{o{Long: "overwrite", Repeat: cmdline.Last}, "encrypt decrypt reencrypt",
			"replace existing files; without it they are an error", ""},
		{o{Long: "metadata-output", Values: cmdline.One, Repeat: cmdline.Last, Arg: "FILE"}, all,
			"append a line of JSON for each message to FILE; - is standard output",
			"same fields; better: written when the message was verified and its file has its name"},
		{o{Long: "overwrite-metadata", Repeat: cmdline.Last}, all,
			"replace the file of --metadata-output", "same; the file stays as it is if nothing succeeds"},
		{o{Long: "suppress-metadata", Short: short("S"), Repeat: cmdline.Last}, model,
			"write no metadata", "same; `esdk encrypt` and the others write none unless asked"},
		{o{Long: "json", Repeat: cmdline.Last}, "inspect keys",
			"print JSON, one object a line", ""},
		{o{Long: "jobs", Short: short("j"), Values: cmdline.One, Arg: "N", Exact: true}, all,
			"how many files to work on at once; default: the number of cores", ""},
		{o{Long: "table", Values: cmdline.One, Arg: "NAME"}, "keys",
			"the DynamoDB table", ""},
		{o{Long: "logical-name", Values: cmdline.One, Arg: "NAME"}, "keys",
			"the logical name that is bound to the keys; default: the table's name", ""},
		{o{Long: "kms-key", Values: cmdline.One, Arg: "ARN"}, "keys",
			"the KMS key that protects the branch keys; needed to create and rotate", ""},
		{o{Long: "branch-key-context", Values: cmdline.One, Repeat: cmdline.Append, Arg: "KEY=VALUE"}, "keys",
			"a pair to bind to a new branch key", ""},
		{o{Long: "region", Values: cmdline.One, Arg: "REGION"}, "keys",
			"the AWS Region; default: that of the environment", ""},
		{o{Long: "profile", Values: cmdline.One, Arg: "NAME"}, "keys",
			"the profile of the AWS configuration", ""},
		{o{Long: "verbose", Short: short("v"), Repeat: cmdline.Append, Exact: true}, all,
			"say what is done; -vv says more",
			"same, on standard error, without Python's logging format; `-vvv` and `-vvvv` are `-vv`, as there is no other program's log to show"},
		{o{Long: "quiet", Short: short("q"), Repeat: cmdline.Last}, all + "inspect",
			"no warnings and no progress; failures are still named", "same"},
		{o{Long: "version", Repeat: cmdline.Last}, model,
			"print the version", "same; prints esdk's own"},
		{o{Long: "help", Short: short("h"), Repeat: cmdline.Last}, "model encrypt decrypt verify inspect reencrypt keys",
			"print this", "same"},
	}
}

// optionsOf returns the rows of a command.
func optionsOf(command string) []option {
	return slices.DeleteFunc(options(), func(o option) bool { return !slices.Contains(strings.Fields(o.in), command) })
}

// lineOptions returns them as package cmdline takes them. A command other than the
// model's takes one value at a time, again and again.
func lineOptions(command string) []cmdline.Option {
	var list []cmdline.Option
	for _, o := range optionsOf(command) {
		if command != model && o.Values == cmdline.Many {
			o.Repeat = cmdline.Append
		}
		list = append(list, o.Option)
	}
	return list
}
