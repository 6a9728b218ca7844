package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/esdk-go/esdk/examples/esdk/internal/files"
	"github.com/esdk-go/esdk/examples/esdk/internal/keyspec"
	"github.com/esdk-go/esdk/keyprovider"
)

// A run does a job.
type run struct {
	*job
	*program
	from, to keyprovider.MasterKeyProvider // to: nil unless the job re-encrypts
	log      *log
}

// do does the job, and returns the exit status.
func (p *program) do(ctx context.Context, j *job, fromModel bool) int {
	r := &run{job: j, program: p}
	tasks, err := r.prepare(ctx, fromModel)
	var mistake *keyspec.Mistake
	if errors.As(err, &mistake) {
		return p.usage("help KEYS", err)
	} else if err != nil {
		p.fail("", err)
		return statusFailed
	}
	if p.quiet {
		p.progress.terminal = false
	}
	if workers := min(j.workers, len(tasks)); workers > 1 {
		j.client.Concurrency = max(1, runtime.GOMAXPROCS(0)/workers)
	}
	p.progress.begin(tasks)
	failed := r.all(ctx, tasks)
	p.progress.end()
	if r.log != nil {
		if err := r.log.close(); err != nil {
			p.fail("", fmt.Errorf("metadata: %w", err))
			failed++
		}
	}
	if failed > 0 {
		if len(tasks) > 1 {
			p.print("%d of %d failed", failed, len(tasks))
		}
		return statusFailed
	}
	return statusDone
}

// prepare makes the providers and the tasks.
func (r *run) prepare(ctx context.Context, fromModel bool) ([]*task, error) {
	var builder keyspec.Builder
	var err error
	if r.from, err = r.provider(ctx, &builder, r.keys, r.decrypts()); err != nil {
		return nil, err
	}
	if r.mode == reencrypting {
		if r.to, err = r.provider(ctx, &builder, r.newKeys, false); err != nil {
			return nil, err
		}
	}
	tasks, err := r.plan(r.job, fromModel)
	if err != nil {
		return nil, err
	}
	if r.metadata != "" {
		r.log = &log{name: r.metadata, overwrite: r.overwriteMetadata, stdout: os.Stdout}
	}
	return tasks, nil
}

// provider returns the provider of keys, with the cache if there is to be one.
func (r *run) provider(ctx context.Context, builder *keyspec.Builder, keys [][]string, decrypt bool) (keyprovider.MasterKeyProvider, error) {
	p, err := builder.Provider(ctx, keys, decrypt)
	if err != nil || r.caching == nil {
		return p, err
	}
	return keyprovider.NewCache(p, *r.caching)
}

// A result is what became of a task.
type result struct {
	record map[string]any // nil: none
	note   string         // a line for standard output
	err    error
}

// all works on the tasks, several at a time, and returns how many failed. Records and
// notes come in the order of the tasks.
func (r *run) all(ctx context.Context, tasks []*task) (failed int) {
	results := make([]*result, len(tasks))
	var mu sync.Mutex
	next, reported := 0, 0
	var workers sync.WaitGroup
	for range min(r.workers, len(tasks)) {
		workers.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(tasks) {
					return
				}
				res := r.one(ctx, tasks[i])
				if res.err != nil {
					r.fail(tasks[i].input, res.err)
				}
				mu.Lock()
				results[i] = res
				for ; reported < len(results) && results[reported] != nil; reported++ {
					if !r.report(tasks[reported], results[reported]) {
						failed++
					}
					results[reported] = &result{}
				}
				mu.Unlock()
				r.progress.fileDone()
			}
		})
	}
	workers.Wait()
	return failed
}

// report writes what is to be said about a task whose result is there, and reports
// whether all went well.
func (r *run) report(t *task, res *result) bool {
	if r.log != nil && res.record != nil {
		if err := r.log.write(res.record); err != nil {
			r.fail(t.input, err)
			return false
		}
	}
	if res.note != "" && !r.quiet {
		if _, err := fmt.Fprintln(os.Stdout, res.note); err != nil {
			r.fail(t.input, err)
			return false
		}
	}
	return res.err == nil
}

// one works on one task.
func (r *run) one(ctx context.Context, t *task) *result {
	if t.err != nil {
		return &result{err: t.err}
	}
	done, err := r.process(ctx, t)
	var m *mismatch
	switch {
	case errors.As(err, &m):
		record := r.record(t)
		maps.Copy(record, map[string]any{
			"header": headerRecord(m.header), "header_auth": authenticationRecord(m.header),
			"skipped": true, "reason": "Missing encryption context key or value",
			// Not nil, which would be null in JSON.
			"missing_encryption_context_keys": append([]string{}, m.keys...), "missing_encryption_context_pairs": append([][2]string{}, m.pairs...),
		})
		return &result{record: record, err: err}
	case errors.Is(err, fs.ErrExist) && r.existing == skip:
		r.warn("left out %s: the output %s exists by now", show(t.input), show(t.place.String()))
		return &result{}
	case err != nil:
		return &result{err: err}
	}
	record := r.record(t)
	record["header"] = headerRecord(done.header)
	if r.decrypts() {
		record["header_auth"] = authenticationRecord(done.header)
	}
	res := &result{record: record}
	if r.mode == verifying {
		res.note = show(t.input) + ": ok"
	}
	r.describe(t, done)
	return res
}

// record begins the metadata of a task.
func (r *run) record(t *task) map[string]any {
	absolute := func(name string) string {
		if path, err := filepath.Abs(name); err == nil {
			return path
		}
		return name
	}
	record := map[string]any{"mode": r.mode, "input": "<stdin>"}
	if t.input != "-" {
		record["input"] = absolute(t.input)
	}
	switch t.kind {
	case toStdout:
		record["output"] = "<stdout>"
	case toDevice:
		record["output"] = absolute(t.device)
	case toFile:
		record["output"] = absolute(t.place.String())
	}
	return record
}

// describe says what was done, if somebody wants to know.
func (r *run) describe(t *task, done *outcome) {
	where := ""
	switch t.kind {
	case toStdout:
		where = " to standard output"
	case toDevice:
		where = " to " + show(t.device)
	case toFile:
		where = " to " + show(t.place.String())
	}
	r.say(1, "%s: %s%s", r.mode, show(t.input), where)
	var keys []string
	for _, k := range done.header.EncryptedDataKeys {
		keys = append(keys, describeKey(k))
	}
	length := ""
	if done.plaintext >= 0 {
		length = fmt.Sprintf(", %d bytes of plaintext", done.plaintext)
	}
	r.say(2, "  suite %s%s, data keys: %s", suiteName(done.header.Suite), length, strings.Join(keys, "; "))
	if k := done.header.OpenedBy; k != nil {
		r.say(2, "  opened by %s", describeKey(*k))
	}
}

// sinkOf opens where the output of a task goes. The returned function ends it: with
// true it is there for good, with false it was never.
func (r *run) sinkOf(t *task) (*os.File, func(good bool) error, error) {
	switch t.kind {
	case toStdout:
		return os.Stdout, func(bool) error { return nil }, nil
	case toDevice:
		f, err := os.OpenFile(t.device, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		return f, func(bool) error { return f.Close() }, nil
	case toFile:
		f, err := r.desk.Create(t.place, t.attributes == files.Attributes{})
		if err != nil {
			return nil, nil, err
		}
		return f.File, func(good bool) error {
			if good {
				return f.Commit(t.attributes, t.replace)
			}
			f.Abort()
			return nil
		}, nil
	}
	return nil, func(bool) error { return nil }, nil
}
