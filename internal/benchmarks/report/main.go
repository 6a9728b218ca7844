// The command report measures this module beside its peers and beside the
// cryptography alone, says which of the project's bars are met, and draws
// charts:
//
//	go run ./report
//
// A run of everything writes RESULTS.md and charts/ in the working directory;
// one of a part, or a -quick one, only prints, unless -out names a directory.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A part of the report can be run alone.
type part struct {
	name string
	run  func(*lab) error
}

var parts = []part{
	{"one-core", oneCore},
	{"two-cores", twoCores},
	{"streaming-peers", streamingPeers},
	{"official", officialSDK},
	{"small", smallMessages},
	{"small-two-cores", smallTwoCores},
	{"calls", calls},
	{"ranges", ranges},
	{"frames", overFrameLength},
	{"sizes", overMessageSize},
	{"cores", overCores},
	{"length", longStreams},
	{"reencrypt", reencrypt},
	{"records", records},
	{"memory", memory},
	{"outage", outage},
	{"binary", binary},
}

func main() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	run := flag.String("run", "", "run only these `parts`, separated by commas: "+strings.Join(names, ", "))
	rounds := flag.Int("rounds", 15, "how often each contestant's turn comes")
	quick := flag.Bool("quick", false, "few rounds and messages of 8 MiB: whether it works, not how fast")
	patience := flag.Duration("patience", 10*time.Minute, "time to spend in all on waiting for other programs to leave the machine alone")
	out := flag.String("out", "", "write RESULTS.md and charts/ in this `directory`")
	python := flag.String("python", "", "for records, the Python `program` that has aws-encryption-sdk; by default the one that internal/interop/run installs, else python3")
	child := flag.String("measure-memory", "", "for the report's own use: be the process whose memory is measured")
	flag.Parse()

	if *child != "" {
		exitOn(memoryChild(*child))
		return
	}
	l := &lab{rounds: max(1, *rounds), slice: 25 * time.Millisecond, size: 64 << 20, phase: 20 * time.Second, records: 10_000, python: *python, cores: runtime.NumCPU(), patience: *patience}
	if *quick {
		l.rounds, l.slice, l.size, l.phase, l.records, l.patience = min(l.rounds, 3), time.Millisecond, 8<<20, time.Second, 500, 0
	}
	l.spareMemory(true)
	machine, start := describeMachine(), time.Now()
	for _, p := range parts {
		if *run != "" && !strings.Contains(","+*run+",", ","+p.name+",") {
			continue
		}
		fmt.Fprint(os.Stderr, p.name, " ")
		err := p.run(l)
		fmt.Fprintln(os.Stderr)
		exitOn(err)
	}
	if len(l.tables) == 0 {
		exitOn(fmt.Errorf("no part is called %q; there are %s", *run, strings.Join(names, ", ")))
	}
	if *out == "" && *run == "" && !*quick {
		*out = "."
	}
	l.write(os.Stdout, machine, start)
	if *out == "" {
		return
	}
	var b strings.Builder
	l.write(&b, machine, start)
	exitOn(os.MkdirAll(filepath.Join(*out, "charts"), 0o777))
	exitOn(os.WriteFile(filepath.Join(*out, "RESULTS.md"), []byte(b.String()), 0o666))
	for _, c := range l.charts {
		exitOn(c.save(filepath.Join(*out, "charts", c.file+".svg")))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// write writes RESULTS.md.
func (l *lab) write(w io.Writer, machine string, start time.Time) {
	fmt.Fprintf(w, `# Results

Written by `+"`go run ./report`"+`, %s, in %v. What is compared, and how: [README.md](README.md).

%s
Speeds are in MB/s, 10^6 bytes of plaintext a second. Figures are medians of %d rounds, in which the contestants took turns; in brackets, quartiles. Ratios are
taken in each round and are what counts: the speeds themselves move with the machine and its neighbours.

`, start.UTC().Format("2006-01-02"), time.Since(start).Round(time.Second), machine, l.rounds)
	if l.disturbed > 0 {
		fmt.Fprintf(w, "**In %d of %d rounds other programs took more than a twentieth of the machine.** Measure again when it is quiet.\n\n", l.disturbed, l.measured)
	}
	if len(l.bars) > 0 {
		l.writeBars(w)
	}
	for _, t := range l.tables {
		t.write(w)
	}
	for _, c := range l.charts {
		fmt.Fprintf(w, "![%s](charts/%s.svg)\n\n", c.title, c.file)
	}
}
