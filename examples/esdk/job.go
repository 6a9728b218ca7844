package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// existing says what happens to a file that is where the output goes.
type existing int

const (
	refuse existing = iota
	replace
	skip
	ask
)

// The modes of a job, as metadata names them.
const (
	encrypting         = "encrypt"
	decryptingAny      = "decrypt"
	decryptingUnsigned = "decrypt-unsigned"
	verifying          = "verify"
	reencrypting       = "reencrypt"
)

// A job is what a command line asks for, whichever face it was given to.
type job struct {
	mode string

	inputs    []string
	output    string  // "": beside each input; "-": standard output
	suffix    *string // nil: that of the mode
	stripped  bool    // decrypted files lose .encrypted instead of gaining a suffix
	recursive bool
	follow    bool
	existing  existing
	inPlace   bool
	encode    bool
	decode    bool
	buffer    bool

	keys, newKeys [][]string        // attributes for package keyspec; newKeys only to reencrypt
	pairs         map[string]string // of the encryption context
	present       []string          // keys that the encryption context of a message must have
	caching       *keyprovider.CacheOptions

	client         esdk.Client
	unsigned       bool // signed messages are refused
	suite          suite.ID
	frameLength    int64
	unframed       bool
	maxFrameLength int64

	metadata          string // "": none
	overwriteMetadata bool
	workers           int
}

func (j *job) decrypts() bool { return j.mode != encrypting }

// signature is what the job does with signed messages.
func (j *job) signature() esdk.SignaturePolicy {
	if j.unsigned {
		return esdk.RejectSigned
	}
	return esdk.VerifySignature
}

// number returns the value of an option that is a number from least to most, and
// whether it was given.
func number(line *cmdline.Line, name string, least, most int64) (int64, bool, error) {
	if !line.Has(name) {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line.Value(name)), 10, 64)
	if err != nil || n < least || n > most {
		return 0, true, fmt.Errorf("--%s: %q is no number from %d to %d", name, line.Value(name), least, most)
	}
	return n, true, nil
}

// common takes over the options that mean the same in both faces.
func (j *job) common(line *cmdline.Line) error {
	if j.output == "/dev/stdout" { // and not a new file in the place of the one that it may be a link to
		j.output = "-"
	}
	j.recursive = line.Has("recursive")
	j.follow = line.Has("follow-symlinks")
	j.encode, j.decode, j.buffer = line.Has("encode"), line.Has("decode"), line.Has("buffer")
	j.overwriteMetadata = line.Has("overwrite-metadata")
	if line.Has("suffix") {
		suffix := line.Value("suffix")
		if strings.ContainsFunc(suffix, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) }) {
			return fmt.Errorf("--suffix: %q would be in another folder", suffix)
		}
		j.suffix = &suffix
	}
	if line.Has("metadata-output") {
		if j.metadata = line.Value("metadata-output"); j.metadata == "" {
			return errors.New("--metadata-output: the name is empty")
		}
		if j.metadata == "-" && j.output == "-" {
			return errors.New("the metadata cannot go to standard output if the data does")
		}
	}
	if policy := line.Value("commitment-policy"); policy != "" {
		j.client.CommitmentPolicy = policies()[policy] // a choice of the table
	}
	if line.Has("algorithm") { // a choice of the table, too
		j.suite = suite.All()[slices.Index(suiteNames(), line.Value("algorithm"))]
	}
	n, given, err := number(line, "frame-length", 0, math.MaxUint32)
	if err != nil {
		return err
	}
	if given {
		j.frameLength, j.unframed = n, n == 0
	}
	if j.maxFrameLength, _, err = number(line, "max-length", 1, math.MaxInt64); err != nil {
		return err
	}
	n, _, err = number(line, "max-encrypted-data-keys", 1, math.MaxUint16)
	if err != nil {
		return err
	}
	j.client.MaxEncryptedDataKeys = int(n)
	n, given, err = number(line, "jobs", 1, 1000)
	if err != nil {
		return err
	}
	if j.workers = runtime.GOMAXPROCS(0); given {
		j.workers = int(n)
	}
	if j.caching, err = caching(line); err != nil {
		return err
	}
	return j.context(line.All("encryption-context"))
}

// context takes over the encryption context.
func (j *job) context(given []string) error {
	var words []string
	for _, word := range given {
		key, _, pair := strings.Cut(word, "=")
		if !pair && j.decrypts() && key != "" {
			j.present = append(j.present, key)
		} else {
			words = append(words, word)
		}
	}
	var err error
	j.pairs, err = pairs("encryption-context", words)
	return err
}

// pairs returns the values of an option, each of the form name=value; nil if there
// are none.
func pairs(option string, words []string) (map[string]string, error) {
	var pairs map[string]string
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if name == "" || value == "" {
			return nil, fmt.Errorf("--%s: %q is not of the form name=value", option, word)
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("--%s: %q is given twice", option, name)
		}
		if pairs == nil {
			pairs = make(map[string]string)
		}
		pairs[name] = value
	}
	return pairs, nil
}

// caching returns the options of a cache, or nil if there is to be none.
func caching(line *cmdline.Line) (*keyprovider.CacheOptions, error) {
	if !line.Has("caching") {
		return nil, nil
	}
	var words []string
	for _, argument := range line.All("caching") {
		split, err := cmdline.Words(argument)
		if err != nil {
			return nil, fmt.Errorf("--caching: %w", err)
		}
		words = append(words, split...)
	}
	values, err := pairs("caching", words)
	if err != nil {
		return nil, err
	}
	o := new(keyprovider.CacheOptions)
	integer := func(to func(int64), most int64) func(string) bool {
		return func(value string) bool {
			n, err := strconv.ParseInt(value, 10, 64)
			to(n)
			return err == nil && n > 0 && n <= most
		}
	}
	readers := map[string]func(string) bool{
		"capacity":               integer(func(n int64) { o.MaxEntries = int(n) }, math.MaxInt32),
		"max_messages_encrypted": integer(func(n int64) { o.MaxMessages = n }, 1<<32),
		"max_bytes_encrypted":    integer(func(n int64) { o.MaxBytes = n }, math.MaxInt64),
		"max_age": func(value string) bool {
			seconds, err := strconv.ParseFloat(value, 64)
			o.MaxAge = time.Duration(min(seconds, 1e9) * float64(time.Second))
			return err == nil && o.MaxAge > 0
		},
	}
	for name, value := range values {
		read := readers[name]
		if read == nil {
			return nil, fmt.Errorf("--caching: there is no %q, but capacity, max_age, max_messages_encrypted and max_bytes_encrypted", name)
		}
		if !read(value) {
			return nil, fmt.Errorf("--caching: %s=%s is out of range", name, value)
		}
	}
	if o.MaxEntries == 0 || o.MaxAge == 0 {
		return nil, errors.New("--caching: capacity and max_age are needed")
	}
	return o, nil
}

// modelJob returns the job of aws-encryption-cli's command line.
func modelJob(line *cmdline.Line) (*job, error) {
	j := &job{output: line.Value("output"), existing: replace}
	var modes []string
	for _, name := range []string{"encrypt", "decrypt", "decrypt-unsigned"} {
		if line.Has(name) {
			modes = append(modes, name)
		}
	}
	var missing []string
	for _, names := range []string{"-w/--wrapping-keys", "-i/--input", "-o/--output"} {
		if _, long, _ := strings.Cut(names, "/--"); !line.Has(long) {
			missing = append(missing, names)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("the following arguments are required: %s", strings.Join(missing, ", "))
	case len(modes) == 0:
		return nil, errors.New("one of the arguments --version -e/--encrypt -d/--decrypt --decrypt-unsigned is required")
	case len(modes) > 1:
		return nil, fmt.Errorf("argument --%s: not allowed with argument --%s", modes[1], modes[0])
	case line.Has("suppress-metadata") && line.Has("metadata-output"):
		return nil, errors.New("argument -S/--suppress-metadata: not allowed with argument --metadata-output")
	case !line.Has("suppress-metadata") && !line.Has("metadata-output"):
		return nil, errors.New("one of the arguments -S/--suppress-metadata --metadata-output is required")
	}
	j.mode = modes[0]
	j.unsigned = j.mode == decryptingUnsigned
	j.keys = line.Options["wrapping-keys"]
	j.inputs = []string{line.Value("input")}
	switch {
	case line.Has("no-overwrite"): // which the model asks about first
		j.existing = skip
	case line.Has("interactive"):
		j.existing = ask
	}
	if j.output == "" {
		return nil, errors.New("--output: the name is empty")
	}
	return j, j.common(line)
}

// modernFrameLength is the default of the modern commands: files are long.
const modernFrameLength = 64 << 10

// modernJob returns the job of one of the modern commands.
func modernJob(command string, line *cmdline.Line) (*job, error) {
	j := &job{mode: command, output: line.Value("output"), inPlace: line.Has("in-place"), stripped: true}
	if j.unsigned = line.Has("unsigned"); j.unsigned && command == decryptingAny {
		j.mode = decryptingUnsigned
	}
	keys := "key"
	if command == reencrypting {
		keys = "from"
		var err error
		if j.newKeys, err = keyGroups(line.All("to")); err != nil {
			return nil, err
		}
		if len(j.newKeys) == 0 {
			return nil, errors.New("--to is missing: the keys that the messages are to be under")
		}
	}
	var err error
	if j.keys, err = keyGroups(line.All(keys)); err != nil {
		return nil, err
	}
	if len(j.keys) == 0 {
		return nil, fmt.Errorf("--%s is missing; esdk help KEYS has examples", keys)
	}

	policies := 0
	for name, e := range map[string]existing{"overwrite": replace, "no-overwrite": skip, "interactive": ask} {
		if line.Has(name) {
			j.existing = e
			policies++
		}
	}
	switch {
	case policies > 1:
		return nil, errors.New("--overwrite, --no-overwrite and --interactive exclude each other")
	case line.Has("output") && j.output == "":
		return nil, errors.New("--output: the name is empty")
	case j.inPlace && (line.Has("output") || policies > 0):
		return nil, errors.New("--in-place excludes --output and what is said about existing files")
	}

	j.inputs = line.Operands
	if len(j.inputs) == 0 {
		j.inputs = []string{"-"}
	}
	if slices.Contains(j.inputs, "-") {
		switch {
		case len(j.inputs) > 1:
			return nil, errors.New("standard input cannot be one of several inputs")
		case j.inPlace:
			return nil, errors.New("--in-place: standard input has no place")
		case j.output == "":
			j.output = "-"
		}
	}
	if command == reencrypting && j.output == "" && !j.inPlace {
		return nil, errors.New("say --in-place, or --output and where the messages go")
	}
	if command == encrypting {
		j.frameLength = modernFrameLength // reencrypt keeps that of the message
	}
	if err := j.common(line); err != nil {
		return nil, err
	}
	if command == reencrypting && j.unframed {
		return nil, errors.New("--frame-length: reencrypt writes no unframed messages")
	}
	return j, nil
}

// keyGroups returns the attributes of keys, each given in one argument: a KMS key, or
// words as in a shell.
func keyGroups(keys []string) ([][]string, error) {
	var groups [][]string
	for _, key := range keys {
		if key != "" && !strings.Contains(key, "=") {
			if info, err := os.Stat(key); err == nil && !info.IsDir() && !strings.HasPrefix(key, "arn:") && !strings.HasPrefix(key, "alias/") {
				return nil, fmt.Errorf("the key %q is a file; for a key in a file: \"provider=raw-aes namespace=... name=... file=%s\"; for the KMS key of that name: key=%s", key, key, key)
			}
			groups = append(groups, []string{"key=" + key})
			continue
		}
		words, err := cmdline.Words(key)
		if err != nil {
			return nil, fmt.Errorf("the key %q: %w", key, err)
		}
		if len(words) == 0 {
			return nil, errors.New("a key is empty")
		}
		groups = append(groups, words)
	}
	return groups, nil
}
