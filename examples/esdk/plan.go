package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/esdk-go/esdk/examples/esdk/internal/files"
)

// A task is one file of a job.
type task struct {
	input      string      // a path, or "-"
	info       fs.FileInfo // nil for standard input
	found      files.Place // where it was found, if links are not to lead out of that folder
	err        error       // why there is nothing to do
	kind       sinkKind
	place      files.Place // of a file
	device     string      // of a device or pipe
	replace    bool        // an existing file may be replaced
	attributes files.Attributes
}

// A sinkKind says where the output of a task goes.
type sinkKind int

const (
	toNowhere sinkKind = iota
	toStdout
	toFile
	toDevice // or a pipe, or whatever else that is no regular file but can be written to
)

// outputName returns the name of the output of a file that is to be in another
// folder, or beside the file.
func (j *job) outputName(name string) string {
	switch {
	case j.mode == reencrypting:
		return name
	case j.suffix != nil:
		return name + *j.suffix
	case j.mode == encrypting:
		return name + ".encrypted"
	}
	if j.stripped {
		original, cut := strings.CutSuffix(name, ".encrypted")
		if base := strings.TrimSuffix(filepath.Base(name), ".encrypted"); cut && base != "" && base != "." && base != ".." {
			return original
		}
	}
	return name + ".decrypted"
}

// A planner makes the tasks of a job.
type planner struct {
	*job
	*program
	fromModel bool
	tasks     []*task
	folder    bool              // the output is a folder
	inputs    map[string]bool   // the key of each input, and of what it is a link to
	outputs   map[string]string // input by the key of its output
	resolved  map[string]string // folders without symbolic links
}

// key returns the same string for all names of a file but hard links and a symbolic
// link in its place.
func (pl *planner) key(path string) string {
	dir, base := filepath.Split(path)
	resolved, ok := pl.resolved[dir]
	if !ok {
		var err error
		if resolved, err = filepath.Abs(dir); err != nil {
			resolved = dir
		}
		if real, err := filepath.EvalSymlinks(resolved); err == nil {
			resolved = real
		}
		pl.resolved[dir] = resolved
	}
	return filepath.Join(resolved, base)
}

// plan returns the tasks of the job in their order. An error is one of the command
// line as a whole; what is wrong with single files is in their tasks. It asks about
// files that exist, if the job says so.
func (p *program) plan(j *job, fromModel bool) ([]*task, error) {
	pl := &planner{job: j, program: p, fromModel: fromModel, inputs: make(map[string]bool), outputs: make(map[string]string), resolved: make(map[string]string)}
	if err := pl.checkOutput(); err != nil {
		return nil, err
	}
	named, err := pl.names()
	if err != nil {
		return nil, err
	}
	if err := pl.checkMetadata(named); err != nil {
		return nil, err
	}
	for _, name := range named {
		pl.add(name, len(named) > 1)
	}
	for _, t := range pl.tasks {
		if t.info != nil {
			pl.inputs[pl.key(t.input)] = true
			if real, err := filepath.EvalSymlinks(t.input); err == nil {
				pl.inputs[pl.key(real)] = true
			}
		}
	}
	kept := pl.tasks[:0]
	for _, t := range pl.tasks {
		if pl.settle(t) {
			kept = append(kept, t)
		}
	}
	return kept, nil
}

// checkOutput finds out what the output is.
func (pl *planner) checkOutput() error {
	if pl.output == "" || pl.output == "-" {
		return nil
	}
	if os.IsPathSeparator(pl.output[len(pl.output)-1]) && !pl.fromModel {
		if err := os.MkdirAll(pl.output, 0o777); err != nil {
			return err
		}
	}
	if info, err := os.Stat(pl.output); err == nil && info.IsDir() {
		pl.folder = true
		return nil
	}
	if info, err := os.Stat(filepath.Dir(pl.output)); err != nil || !info.IsDir() || os.IsPathSeparator(pl.output[len(pl.output)-1]) {
		return fmt.Errorf("%s: there is no such folder, and none in which a file could have that name", show(pl.output))
	}
	return nil
}

// names returns the names of the inputs: those of a pattern, if this is the model's
// command line. On the other one patterns are for the shell.
func (pl *planner) names() ([]string, error) {
	named := pl.job.inputs
	if pl.fromModel && named[0] != "-" {
		var err error
		if named, err = files.Expand(named[0]); err != nil {
			return nil, err
		}
	}
	if pl.output == "" || pl.folder {
		if pl.folder && named[0] == "-" {
			return nil, errors.New("standard input has no name, so its output cannot be put into a folder")
		}
		return named, nil
	}
	if len(named) > 1 {
		return nil, fmt.Errorf("%s is to be the output of %d inputs: it must be an existing folder", show(pl.output), len(named))
	}
	if info, err := os.Stat(named[0]); named[0] != "-" && err == nil && info.IsDir() && pl.recursive {
		return nil, fmt.Errorf("%s is to be the output of a folder: it must be an existing folder", show(pl.output))
	}
	return named, nil
}

// checkMetadata sees to it that the metadata overwrites nothing, and is not read.
func (pl *planner) checkMetadata(named []string) error {
	if pl.metadata == "" || pl.metadata == "-" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(pl.metadata)); err != nil || !info.IsDir() {
		return fmt.Errorf("the folder of the metadata %s does not exist", show(pl.metadata))
	}
	info, err := os.Stat(pl.metadata)
	if err == nil && info.IsDir() {
		return fmt.Errorf("the metadata cannot go to %s, which is a folder", show(pl.metadata))
	}
	place, err := files.PlaceOf(pl.metadata)
	if err != nil {
		return err
	}
	same := func(name string) bool {
		if other, err := os.Stat(name); info != nil && err == nil && os.SameFile(info, other) && other.Mode().IsRegular() {
			return true
		}
		return pl.key(name) == pl.key(place.String())
	}
	for _, name := range append([]string{pl.output}, named...) {
		switch {
		case name == "" || name == "-":
		case same(name):
			return fmt.Errorf("the metadata cannot go to %s, which is an input or the output", show(pl.metadata))
		case files.Within(pl.metadata, name):
			return fmt.Errorf("the metadata cannot go to %s, which is in the folder %s of an input or the output", show(pl.metadata), show(name))
		}
	}
	return nil
}

// add adds the tasks of an input.
func (pl *planner) add(name string, several bool) {
	if name == "-" {
		pl.tasks = append(pl.tasks, &task{input: "-"})
		return
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		pl.tasks = append(pl.tasks, &task{input: name, err: err})
	case !info.IsDir():
		t := &task{input: name, info: info}
		dir, base := filepath.Split(name)
		if dir == "" {
			dir = "."
		}
		pl.put(t, dir, base, name)
	case pl.recursive:
		pl.addFolder(name)
	case pl.fromModel && several:
		pl.warn("left out %s: it is a folder, and -r/--recursive is not given", show(name))
	default:
		pl.tasks = append(pl.tasks, &task{input: name, err: errors.New("it is a folder; -r reads folders")})
	}
}

// addFolder adds the tasks of all files below a folder.
func (pl *planner) addFolder(root string) {
	walk := files.Walk{Follow: pl.follow, Left: func(path, reason string) { pl.warn("left out %s: %s", show(path), reason) }}
	if pl.folder {
		if info, err := os.Stat(pl.output); err == nil {
			walk.Leave = append(walk.Leave, info)
		}
	}
	for _, in := range walk.Folder(root) {
		t := &task{input: in.Path, info: in.Info, err: in.Err}
		if t.err == nil {
			if !pl.follow {
				t.found = files.Place{Dir: root, Below: in.Below}
			}
			pl.put(t, root, in.Below, "")
			continue
		}
		pl.tasks = append(pl.tasks, t)
	}
}

// put gives a task its place: in the output folder, in the output file, or beside the
// input below in dir. named is the input's name, if it was given on the command line.
func (pl *planner) put(t *task, dir, below, named string) {
	pl.tasks = append(pl.tasks, t)
	switch {
	case pl.mode == verifying || pl.output == "-":
	case pl.inPlace && named != "":
		t.place, t.err = files.PlaceOf(named)
	case pl.inPlace:
		t.place = files.Place{Dir: dir, Below: below}
	case pl.output == "":
		t.place = files.Place{Dir: dir, Below: pl.outputName(below)}
	case pl.folder:
		t.place = files.Place{Dir: pl.output, Below: pl.outputName(below)}
	}
}

// settle decides what becomes of a task, and reports whether it stays.
func (pl *planner) settle(t *task) bool {
	switch {
	case t.err != nil || pl.mode == verifying:
		return true
	case pl.output == "-":
		t.kind = toStdout
		return true
	}
	t.kind = toFile
	if pl.output != "" && !pl.folder {
		if info, err := os.Stat(pl.output); err == nil && !info.Mode().IsRegular() {
			t.kind, t.device = toDevice, pl.output
			return true
		}
		if t.place, t.err = files.PlaceOf(pl.output); t.err != nil {
			return true
		}
	}
	if t.info != nil && t.info.Mode().IsRegular() {
		t.attributes = files.Attributes{Mode: t.info.Mode().Perm(), ModTime: t.info.ModTime()}
	}
	if pl.inPlace {
		t.replace = true
		if key := pl.key(t.place.String()); pl.outputs[key] != "" {
			t.err = fmt.Errorf("it is the same file as %s", show(pl.outputs[key]))
		} else {
			pl.outputs[key] = t.input
		}
		return true
	}
	if pl.follow { // the links in the output folder are then followed as well
		if resolved, err := filepath.EvalSymlinks(filepath.Dir(t.place.String())); err == nil {
			t.place = files.Place{Dir: resolved, Below: filepath.Base(t.place.Below)}
		}
	}
	return pl.exists(t)
}

// exists looks at what is where the output goes.
func (pl *planner) exists(t *task) bool {
	info, err := t.place.Stat()
	if errors.Is(err, fs.ErrNotExist) {
		info, err = nil, nil // a folder on the way is made
	}
	key := pl.key(t.place.String())
	switch {
	case err != nil:
		t.err = err
	case info != nil && t.info != nil && os.SameFile(info, t.info):
		t.err = fmt.Errorf("the output %s is the same file", show(t.place.String()))
	case pl.metadata != "" && pl.metadata != "-" && key == pl.key(pl.metadata):
		t.err = fmt.Errorf("the output %s is the file of the metadata, too", show(t.place.String()))
	case pl.inputs[key]:
		t.err = fmt.Errorf("the output %s is an input of this run, too", show(t.place.String()))
	case pl.outputs[key] != "":
		t.err = fmt.Errorf("the output %s is that of %s, too", show(t.place.String()), show(pl.outputs[key]))
	}
	if t.err != nil {
		return true
	}
	if info != nil {
		switch pl.existing {
		case refuse:
			t.err = fmt.Errorf("the output %s exists; --overwrite replaces it", show(t.place.String()))
			return true
		case skip:
			pl.warn("left out %s: the output %s exists", show(t.input), show(t.place.String()))
			return false
		case ask:
			if !pl.askToReplace(t) {
				pl.warn("left out %s: the output %s stays as it is", show(t.input), show(t.place.String()))
				return false
			}
		case replace:
			pl.say(1, "replacing %s", show(t.place.String()))
		}
		t.attributes.Mode = info.Mode().Perm()
	}
	t.replace = pl.existing == replace || info != nil
	pl.outputs[key] = t.input
	return true
}

// askToReplace asks whether a file may be replaced. The end of the answers means no.
// They come from standard input or, if that is the data, from the terminal.
func (pl *planner) askToReplace(t *task) bool {
	if pl.answers == nil {
		var from io.Reader = os.Stdin
		if t.input == "-" {
			terminal, err := os.Open("/dev/tty")
			if err != nil {
				return false
			}
			from = terminal
		}
		pl.answers = bufio.NewReader(from)
	}
	fmt.Fprintf(os.Stderr, "Overwrite existing output file %s with new contents? [y/N]: ", show(t.place.String()))
	answer, err := pl.answers.ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(os.Stderr)
	}
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y")
}
