package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"time"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/suite"
)

//go:embed records.py
var pythonProgram string

// pythonLimit is when a Python that does not answer is given up.
const pythonLimit = time.Hour

// python is AWS's SDK for Python in a process of its own, which does the batches that it
// is told to do.
type python struct {
	version string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	stderr  bytes.Buffer
	cancel  context.CancelFunc
}

// findPython starts the program, or if it is "", the first that has the SDK: the one that
// internal/interop/run installs, or python3.
func findPython(program string) (*python, error) {
	if program != "" {
		return startPython(program)
	}
	var errs []error
	for _, program := range []string{"../interop/.work/python/venv/bin/python", "python3"} {
		p, err := startPython(program)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func startPython(program string) (*python, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pythonLimit)
	p := &python{cmd: exec.CommandContext(ctx, program, "-W", "ignore", "-c", pythonProgram), cancel: cancel}
	p.cmd.Stderr = &p.stderr
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		cancel()
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	p.in, p.out = in, json.NewDecoder(bufio.NewReader(out))
	var hello struct{ Version string }
	if err := p.out.Decode(&hello); err != nil {
		return nil, p.failed(err)
	}
	p.version = hello.Version
	return p, nil
}

// failed ends the process and returns err with the last line that it wrote about it.
func (p *python) failed(err error) error {
	p.stop()
	lines := bytes.Split(bytes.TrimSpace(p.stderr.Bytes()), []byte("\n"))
	return fmt.Errorf("%s: %w: %s", p.cmd.Path, err, lines[len(lines)-1])
}

func (p *python) stop() {
	p.in.Close() // which ends it
	p.cmd.Wait()
	p.cancel()
}

// batch has records encrypted and decrypted, and reads one of the messages with this
// module.
func (p *python) batch(id suite.ID, size, records int) (b batch, err error) {
	contexts := recordContexts()
	var pairs []map[string]string
	for _, c := range contexts {
		pairs = append(pairs, c.Pairs)
	}
	job := map[string]any{"suite": id, "size": size, "records": records, "frameLength": recordFrames, "contexts": pairs}
	if err := json.NewEncoder(p.in).Encode(job); err != nil {
		return b, p.failed(err)
	}
	var answer struct {
		Encrypt, Decrypt cost
		Record, Message  []byte
	}
	if err := p.out.Decode(&answer); err != nil {
		return b, p.failed(err)
	}
	for _, c := range []*cost{&answer.Encrypt, &answer.Decrypt} {
		c.Allocations, c.Bytes = math.NaN(), math.NaN() // Python does not count them
	}
	ours, err := peer.Esdk(id, recordFrames, 1)
	if err != nil {
		return b, err
	}
	record, err := ours.DecryptRecord(answer.Message, contexts[0])
	if err == nil && !bytes.Equal(record, answer.Record) {
		err = errors.New("its message decrypts to another record")
	}
	return batch{answer.Encrypt, answer.Decrypt}, err
}
