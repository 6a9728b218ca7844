// Esdk encrypts, decrypts, inspects, verifies and re-encrypts files in the message
// format of the AWS Encryption SDK:
//
//	esdk encrypt -k KEY-ARN FILE...
//	esdk decrypt -k KEY-ARN FILE.encrypted...
//	esdk help
//
// Called with options first, as in "esdk -e -i FILE -o FILE -w key=ARN -S", or by the
// name aws-encryption-cli, it takes the command line of that program. README.md
// compares the two.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
	"github.com/esdk-go/esdk/examples/esdk/internal/files"
)

// Exit statuses. A signal is 128 and its number.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

func main() {
	p := &program{progress: newProgress(os.Stderr)}
	p.desk.Leftover = func(path string) {
		p.warn("%s was left over by a run that was killed; it can be removed", show(path))
	}
	p.endOnSignal()
	status := p.run(context.Background(), filepath.Base(os.Args[0]), os.Args[1:])
	p.ending.Lock()
	os.Exit(status)
}

// A program is one run of esdk.
type program struct {
	quiet     bool
	verbosity int
	progress  *progress
	desk      files.Desk
	answers   *bufio.Reader // to questions; nil until the first
	ending    sync.Mutex    // held for good by whoever ends the program
}

// endOnSignal ends the program when it is interrupted. Nothing is left of the files
// that were being written. A broken pipe is an error of whoever writes.
func (p *program) endOnSignal() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ended := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(ended, s)
		}
	}
	go func() {
		s := <-ended
		signal.Reset()  // the next one ends the program at once
		p.ending.Lock() // what fails from now on fails because of the end
		p.desk.Clear()
		p.print("ended: %s", s)
		number, _ := s.(syscall.Signal)
		os.Exit(128 + int(number))
	}()
}

// run runs the command line, and returns the exit status.
func (p *program) run(ctx context.Context, name string, args []string) int {
	if strings.TrimSuffix(name, ".exe") == "aws-encryption-cli" {
		return p.runModel(ctx, args)
	}
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, overview())
		return statusUsage
	}
	switch {
	case args[0] == "--help" || args[0] == "-h":
		return p.help(nil)
	case strings.HasPrefix(args[0], "-") || strings.HasPrefix(args[0], "@"):
		return p.runModel(ctx, args)
	case args[0] == "help":
		return p.help(args[1:])
	case args[0] == "version":
		return p.out(version() + "\n")
	case args[0] == "completion":
		return p.completion(args[1:])
	}
	return p.runModern(ctx, args[0], args[1:])
}

// runModel runs the command line of aws-encryption-cli.
func (p *program) runModel(ctx context.Context, args []string) int {
	args, err := cmdline.ExpandFiles(args)
	if err != nil {
		return p.usage("help model", err)
	}
	line, err := cmdline.ParseModel(lineOptions(model), args, "help", "version")
	switch {
	case err != nil:
		return p.usage("help model", err)
	case line.Has("help"):
		return p.help([]string{model})
	case line.Has("version"):
		return p.out(version() + "\n")
	}
	p.quiet, p.verbosity = line.Has("quiet"), line.Count("verbose")
	j, err := modelJob(line)
	if err != nil {
		return p.usage("help model", err)
	}
	return p.do(ctx, j, true)
}

// runModern runs one of the modern commands.
func (p *program) runModern(ctx context.Context, command string, args []string) int {
	if len(optionsOf(command)) == 0 || command == model {
		return p.usage("help", fmt.Errorf("there is no command %q", command))
	}
	line, err := cmdline.Parse(lineOptions(command), args)
	if err != nil {
		return p.usage("help "+command, err)
	}
	if line.Has("help") {
		return p.help([]string{command})
	}
	p.quiet, p.verbosity = line.Has("quiet"), line.Count("verbose")
	switch command {
	case "inspect":
		return p.inspect(line)
	case "keys":
		return p.branchKeys(ctx, line)
	}
	j, err := modernJob(command, line)
	if err != nil {
		return p.usage("help "+command, err)
	}
	return p.do(ctx, j, false)
}

// usage says what is wrong with the command line, and where it is explained.
func (p *program) usage(help string, err error) int {
	p.print("%s", err)
	p.print("esdk %s explains", help)
	return statusUsage
}

// out writes to standard output.
func (p *program) out(s string) int {
	if _, err := io.WriteString(os.Stdout, s); err != nil {
		p.fail("", err)
		return statusFailed
	}
	return statusDone
}

// print writes a message to standard error. What an error took over from elsewhere
// cannot control a terminal or look like a message of its own.
func (p *program) print(format string, args ...any) {
	p.progress.message("esdk: " + printable(fmt.Sprintf(format, args...)) + "\n")
}

// printable returns s with escapes in place of what is not to be printed.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// inOptions says in options of the command what errors of the library say in fields of
// its API.
var inOptions = strings.NewReplacer(
	"Client.CommitmentPolicy", "--commitment-policy",
	"Client.MaxEncryptedDataKeys", "--max-encrypted-data-keys",
	"DecryptOptions.Signature is RejectSigned", "signed messages are to be refused",
	"DecryptOptions.MaxFrameLength", "--max-length",
	"DecryptOptions.EncryptionContext", "-c",
	"neither Options.Region nor the AWS configuration has one", "neither region= nor the AWS configuration has one",
)

// fail says that something failed: an input, unless that is empty.
func (p *program) fail(input string, err error) {
	p.ending.Lock()
	defer p.ending.Unlock()
	text := inOptions.Replace(strings.TrimPrefix(err.Error(), "esdk: "))
	var path *fs.PathError // names the file already
	if errors.As(err, &path) && path.Path == input {
		input = ""
	}
	if input != "" {
		text = show(input) + ": " + text
	}
	p.print("%s", text)
}

func (p *program) warn(format string, args ...any) {
	if !p.quiet {
		p.print("warning: "+format, args...)
	}
}

// say writes what somebody asked for with -v, or -vv.
func (p *program) say(verbosity int, format string, args ...any) {
	if p.verbosity >= verbosity && !p.quiet {
		p.print(format, args...)
	}
}

// show returns a name as it is, or quoted if a terminal or a reader could take it for
// something else.
func show(name string) string {
	if name == "-" {
		return "<stdin>"
	}
	for _, r := range name {
		if !strconv.IsPrint(r) || r == '\ufffd' {
			return strconv.Quote(name)
		}
	}
	return name
}

// version returns the name and the version of the module.
func version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = info.Main.Version
	}
	return "esdk/" + v
}
