package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (s *shop) link(to, name string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	if err := os.Symlink(to, s.path(name)); err != nil {
		s.t.Skipf("no symbolic links here: %v", err)
	}
}

func (s *shop) mkdir(name string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(s.path(name), 0o755))
}

func TestInputAndOutputAreNeverTheSameFile(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	s.mkdir("sub")
	require.NoError(t, os.Link(s.path("a"), s.path("hard")))
	s.link("a", "soft")
	s.link(".", "here")
	for _, out := range []string{"a", "./a", "sub/../a", "here/a", "hard", "soft", s.path("a")} {
		s.fails(1, "same file", modelArgs("-e", "a", out)...)
		s.fails(1, "same file", "encrypt", "-k", key, "--overwrite", "-o", out, "a")
	}
	s.fails(1, "same file", modelArgs("-e", "a", ".", "--suffix")...)
	s.fails(1, "same file", modelArgs("-e", "soft", "a")...)
	require.Equal(t, "contents", s.read("a"))

	// An output that is another input of the run, and one output of two inputs.
	s.write("a.encrypted", "contents, too")
	s.write("sub/a", "another")
	s.fails(1, "is an input of this run", "encrypt", "-k", key, "--overwrite", "a", "a.encrypted")
	require.Equal(t, "contents, too", s.read("a.encrypted"))
	s.link("a.encrypted", "link")
	s.fails(1, "is an input of this run", "encrypt", "-k", key, "--overwrite", "a", "link")
	require.Equal(t, "contents, too", s.read("a.encrypted"))
	s.mkdir("out")
	s.fails(1, "is that of a, too", "encrypt", "-k", key, "-o", "out", "a", "sub/a")
	s.ok("decrypt", "-k", key, "-o", "back", "out/a.encrypted")
	require.Equal(t, "contents", s.read("back"))
	s.fails(1, "is the file of the metadata", "encrypt", "-k", key, "--overwrite", "--metadata-output", "sub/a.encrypted", "sub/a")
	s.fails(1, "is the same file as a", "reencrypt", "--in-place", "--from", key, "--to", key, "a", "here/a")
}

func TestFolders(t *testing.T) {
	s := newShop(t)
	s.write("in/a", "a")
	s.write("in/sub/.hidden", "hidden")
	s.write("in/sub/deep/b", "b")
	s.write("elsewhere/c", "c")
	s.mkdir("in/out")
	s.link("../elsewhere", "in/linked")
	s.link("../elsewhere/c", "in/link-to-c")
	s.link("..", "in/sub/circle")

	s.fails(1, "-r reads folders", "encrypt", "-k", key, "in")
	s.fails(1, "existing folder", modelArgs("-e", "in", "none", "-r")...)
	s.fails(1, "there is no such folder", modelArgs("-e", "in", "none/none", "-r")...)

	// The output folder is in the input: it is left out, and links are.
	_, stderr, status := s.run(modelArgs("-e", "in", "in/out", "-r")...)
	require.Equal(t, 0, status, stderr)
	for _, left := range []string{"in/out: it is where", "in/linked: it is a symbolic link", "in/link-to-c: it is a symbolic link"} {
		require.Contains(t, stderr, filepath.FromSlash(left))
	}
	out := []string{"in/out/a.encrypted", "in/out/sub/.hidden.encrypted", "in/out/sub/deep/b.encrypted"}
	require.Subset(t, s.files(), out)
	require.Len(t, s.files(), 4+3+3, "%q", s.files())

	// With the links; the circle is noticed.
	s.mkdir("followed")
	_, stderr, status = s.run("encrypt", "-k", key, "-r", "--follow-symlinks", "-o", "followed", "in/linked", "in/sub", "in/link-to-c")
	require.Equal(t, 0, status, stderr)
	require.Contains(t, stderr, "circle")
	require.FileExists(t, s.path("followed/c.encrypted"))
	require.FileExists(t, s.path("followed/link-to-c.encrypted"))
	require.FileExists(t, s.path("followed/deep/b.encrypted"))

	// A folder as output, made if its name ends like one.
	s.ok("decrypt", "-k", key, "-r", "-o", "new/folder/", "in/out")
	require.Equal(t, "b", s.read("new/folder/sub/deep/b"))

	// Nothing is written through links in the output folder.
	s.write("victim", "victim")
	s.link("../victim", "trap/a")
	s.link("../elsewhere", "trap/sub")
	s.fails(1, "symbolic link", "decrypt", "-k", key, "-r", "-o", "trap", "--overwrite", "in/out")
	require.Equal(t, "victim", s.read("victim"))
	require.NoFileExists(t, s.path("elsewhere/.hidden"))
	// But a link that is named as the output is what it points to.
	s.link("victim", "named")
	s.ok("decrypt", "-k", key, "--overwrite", "-o", "named", "in/out/a.encrypted")
	require.Equal(t, "a", s.read("victim"))

	// Patterns are the model's, and a name that exists is no pattern.
	s.write("p/[ab]", "brackets")
	s.write("p/a", "a")
	s.write("p/.b", "b")
	s.mkdir("p/dir")
	s.mkdir("p1")
	s.mkdir("p2")
	s.ok(modelArgs("-e", "p/[ab]", "p1")...)
	_, stderr, status = s.run(modelArgs("-e", "p/*", "p2")...)
	require.Equal(t, 0, status, stderr)
	require.Contains(t, stderr, "it is a folder")
	s.fails(1, "no file has such a name", modelArgs("-e", "p/x*", "p2")...)
	s.fails(1, "existing folder", modelArgs("-e", "p/*", "p2/file")...)
	files := strings.Join(s.files(), " ")
	require.Contains(t, files, "p1/[ab].encrypted p2/[ab].encrypted p2/a.encrypted")
	require.NotContains(t, files, "p2/.b")
}

func TestExistingFiles(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	s.write("b", "was there")
	require.NoError(t, os.Chmod(s.path("b"), 0o600))
	s.fails(1, "--overwrite replaces it", "encrypt", "-k", key, "-o", "b", "a")
	_, stderr, status := s.run("encrypt", "-k", key, "-o", "b", "--no-overwrite", "a")
	require.Equal(t, 0, status)
	require.Contains(t, stderr, "left out a")
	_, stderr, status = s.run(modelArgs("-e", "a", "b", "--no-overwrite", "-q")...)
	require.Equal(t, 0, status)
	require.Empty(t, stderr)
	for _, no := range []string{"", "\n", "n\n", "x", "ny\n"} {
		s.stdin = no
		_, stderr, status = s.run(modelArgs("-e", "a", "b", "--interactive")...)
		require.Equal(t, 0, status)
		require.Contains(t, stderr, "[y/N]")
		require.Contains(t, stderr, "stays as it is")
	}
	require.Equal(t, "was there", s.read("b"))
	s.stdin = "Yes"
	s.ok("encrypt", "-k", key, "-o", "b", "--interactive", "a")
	require.NotEqual(t, "was there", s.read("b"))
	info, err := os.Stat(s.path("b"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "the permissions are those of what was there")
	// Several answers of one input.
	s.write("c", "was there")
	s.mkdir("in")
	for _, name := range []string{"b", "c", "d"} {
		s.write("in/"+name, "new")
	}
	s.stdin = "n\ny\n"
	s.ok(modelArgs("-e", "in", ".", "-r", "--suffix", "--interactive")...)
	require.True(t, strings.HasPrefix(s.read("c"), "\x02"), "the second answer was yes")
	s.fails(2, "exclude each other", "encrypt", "-k", key, "--overwrite", "--interactive", "a")

	// A device or a pipe is written to, and stays what it is.
	if runtime.GOOS != "windows" {
		s.link("/dev/null", "null")
		s.ok(modelArgs("-e", "a", "null")...)
		info, err = os.Stat(s.path("null"))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeDevice)
		s.ok("encrypt", "-k", key, "-o", "/dev/null", "a")
		cmd := s.command()
		cmd.Args = []string{"bash", "-c", `"$0" encrypt -k "$1" -o >(cat >piped) <(echo from a pipe) && sleep 0.2`, binary, key}
		if cmd.Path, err = exec.LookPath("bash"); err == nil {
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Eventually(t, func() bool {
				_, _, status := s.run("verify", "-k", key, "piped")
				return status == 0
			}, time.Minute, 10*time.Millisecond)
		}
	}
}

func TestSuffixes(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	s.mkdir("out")
	s.ok(modelArgs("-e", "a", "out")...)
	s.ok(modelArgs("-d", "out/a.encrypted", "out")...)
	s.ok(modelArgs("-e", "a", "out", "--suffix", ".x")...)
	s.ok(modelArgs("-e", "a", "out", "--suffix")...)
	s.ok("decrypt", "-k", key, "-o", "out", "out/a.x")
	s.ok("decrypt", "-k", key, "--suffix=.y", "-o", "out", "out/a.x")
	s.ok("encrypt", "-k", key, "--suffix=.z", "a")
	s.write(".encrypted", s.read("out/a.x"))
	s.write("..encrypted", s.read("out/a.x"))
	s.write("...encrypted", s.read("out/a.x"))
	s.ok("decrypt", "-k", key, ".encrypted", "..encrypted", "...encrypted")
	require.ElementsMatch(t, []string{".encrypted", ".encrypted.decrypted", "..encrypted", "..encrypted.decrypted",
		"...encrypted", "...encrypted.decrypted", "a", "a.z", "out/a", "out/a.encrypted",
		"out/a.encrypted.decrypted", "out/a.x", "out/a.x.decrypted", "out/a.x.y"}, s.files())
	s.fails(2, "another folder", "encrypt", "-k", key, "--suffix", "/../x", "a")
}

// temporaries returns the files that are being written, or were.
func (s *shop) temporaries() []string {
	found, err := filepath.Glob(s.path(".esdk-*.tmp"))
	require.NoError(s.t, err)
	return found
}

// halfway starts a command that reads standard input, and returns when it has begun to
// write its output.
func (s *shop) halfway(args ...string) (*exec.Cmd, io.WriteCloser, *strings.Builder) {
	cmd := s.command(args...)
	cmd.Stdin = nil
	in, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	require.NoError(s.t, cmd.Start())
	_, err = io.WriteString(in, strings.Repeat("half of it ", 1000))
	require.NoError(s.t, err)
	require.Eventually(s.t, func() bool { return len(s.temporaries()) > 0 }, time.Minute, time.Millisecond)
	return cmd, in, stderr
}

// A file that appears while its name is being written for is treated as one that was
// there before.
func TestFilesThatAppearMeanwhile(t *testing.T) {
	t.Parallel()
	for option, c := range map[string]struct {
		status   int
		why      string
		replaced bool
	}{
		"--no-overwrite": {0, "exists by now", false},
		"--interactive":  {1, "exists", false},
		"--quiet":        {1, "exists", false}, // neither
		"--overwrite":    {0, "", true},
	} {
		s := newShopInSequence(t)
		cmd, in, stderr := s.halfway("encrypt", "-k", key, option, "-o", "out")
		s.write("out", "appeared")
		require.NoError(t, in.Close())
		_ = cmd.Wait()
		require.Equal(t, c.status, cmd.ProcessState.ExitCode(), "%s: %s", option, stderr)
		require.Contains(t, stderr.String(), c.why, option)
		require.Equal(t, c.replaced, s.read("out") != "appeared", option)
		require.Equal(t, []string{"out"}, s.files())
	}
}

func TestInterruptedRunsLeaveNoHalfFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	t.Parallel()
	for sent, status := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		if signal.Ignored(sent) { // as by nohup: it is ignored by the command too
			continue
		}
		s := newShopInSequence(t)
		s.write("out", "was there")
		cmd, in, stderr := s.halfway("encrypt", "-k", key, "--overwrite", "-o", "out")
		require.NoError(t, cmd.Process.Signal(sent))
		require.Error(t, cmd.Wait())
		in.Close()
		require.Equal(t, status, cmd.ProcessState.ExitCode())
		require.Contains(t, stderr.String(), "ended: "+sent.String())
		require.Equal(t, []string{"out"}, s.files())
		require.Equal(t, "was there", s.read("out"))
	}
}

// What fails because its file was taken away does not hide that the run was
// interrupted. Several tasks write all the time, so that one of them has every chance.
func TestInterruptedRunsSayNothingElse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	s := newShop(t)
	args := []string{"encrypt", "-k", key, "-j8", "-o", "."}
	for i := range 8 {
		name := fmt.Sprintf("in/%d", i)
		s.write(name, "")
		require.NoError(t, os.Truncate(s.path(name), 1<<40)) // never done
		args = append(args, name)
	}
	for range 10 {
		cmd := s.command(args...)
		stderr := new(strings.Builder)
		cmd.Stderr = stderr
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return len(s.temporaries()) == 8 }, time.Minute, time.Millisecond)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.Error(t, cmd.Wait())
		require.Equal(t, 143, cmd.ProcessState.ExitCode(), "%s", stderr)
		require.Equal(t, "esdk: ended: terminated\n", stderr.String())
		require.Empty(t, s.temporaries())
	}
}

func TestKilledRunsLeaveTheOldFileAndAreNamed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks")
	}
	s := newShop(t)
	s.write("out", "was there")
	s.write("in", "contents")
	cmd, in, _ := s.halfway("encrypt", "-k", key, "--overwrite", "-o", "out")

	// Another run beside it takes nothing for left over.
	_, stderr, status := s.run("encrypt", "-k", key, "in")
	require.Equal(t, 0, status)
	require.Empty(t, stderr)

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	in.Close()
	require.Equal(t, "was there", s.read("out"))
	left := s.temporaries()
	require.Len(t, left, 1)
	info, err := os.Stat(left[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	_, stderr, status = s.run("encrypt", "-k", key, "--overwrite", "in")
	require.Equal(t, 0, status)
	require.Contains(t, stderr, filepath.Base(left[0])+" was left over by a run that was killed")
	require.FileExists(t, left[0], "named, and not removed")
	s.mkdir("folder")
	_, stderr, status = s.run("encrypt", "-k", key, "-r", "-o", "folder", ".")
	require.Equal(t, 0, status)
	require.Contains(t, stderr, "it is the temporary file of a run")
}

// A file that fails half way is removed, and its name is free.
func TestFailedFilesAreRemoved(t *testing.T) {
	s := newShop(t)
	s.stdin = strings.Repeat("x", 1<<20)
	s.fails(1, "no such folder", "encrypt", "-k", key, "-o", "none/out")
	s.fails(1, "too long", "encrypt", "-k", key, "-o", strings.Repeat("n", 300))
	require.Empty(t, s.files())
	s.fails(1, `no\n\x1b[31mne`, "encrypt", "-k", key, "no\n\x1b[31mne")
	s.write("a", "contents")
	s.mkdir("b.encrypted")
	s.write("b", "x")
	s.fails(1, "it is a folder", "encrypt", "-k", key, "a", "b")
	require.ElementsMatch(t, []string{"a", "a.encrypted", "b"}, s.files())
}

// What cannot be created is named by its folder, and not by the temporary name.
func TestFoldersThatCannotBeWrittenAreNamed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no /proc, where nobody can create files")
	}
	s := newShop(t)
	s.write("a", "contents")
	s.write("in/sub/a", "contents")
	for folder, args := range map[string][]string{"/proc": {"a"}, "/proc/sub": {"-r", "in"}} {
		_, stderr, status := s.run(append([]string{"encrypt", "-k", key, "-o", "/proc"}, args...)...)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, "create a file in "+folder+": no such file")
		require.NotContains(t, stderr, ".tmp")
	}
}

// With several workers every file comes out as with one.
func TestManyFilesAtOnce(t *testing.T) {
	s := newShop(t)
	for i := range 50 {
		s.write(fmt.Sprintf("in/%d/%d", i%7, i), strings.Repeat(fmt.Sprint(i), i*100))
	}
	for _, jobs := range []string{"1", "8"} {
		out := "out" + jobs
		s.ok("encrypt", "-k", key, "-j", jobs, "-r", "-o", out+"/", "in")
		s.ok("decrypt", "-k", key, "-j", jobs, "-r", "-o", "back"+jobs+"/", out)
		notes := s.ok("verify", "-k", key, "-j", jobs, "-r", out)
		require.Equal(t, 50, strings.Count(notes, ": ok\n"))
		for i := range 50 {
			require.Equal(t, s.read(fmt.Sprintf("in/%d/%d", i%7, i)), s.read(fmt.Sprintf("back%s/%d/%d", jobs, i%7, i)))
		}
	}
	s.fails(2, "is no number", "encrypt", "-k", key, "-j", "0", "in")
}

// Whoever reads standard output may stop: that is a failure like others, and no reason
// to leave half files.
func TestClosedStandardOutput(t *testing.T) {
	s := newShop(t)
	s.write("a", strings.Repeat("x", 1<<20))
	s.write("b", "b")
	closed := func(args ...string) string {
		in, out, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, in.Close())
		defer out.Close()
		cmd := s.command(args...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = out, &stderr
		require.Error(t, cmd.Run())
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%q: %s", args, &stderr)
		return stderr.String()
	}
	require.Contains(t, closed("encrypt", "-k", key, "-j1", "--metadata-output", "-", "a", "b"), "metadata")
	require.ElementsMatch(t, []string{"a", "a.encrypted", "b", "b.encrypted"}, s.files())
	closed("verify", "-k", key, "a.encrypted", "b.encrypted")
	closed("encrypt", "-k", key, "-o", "-", "a")
	closed("decrypt", "-k", key, "-o", "-", "a.encrypted")
	closed("inspect", "a.encrypted")
	closed("help")

	// Go opens /dev/null in the place of a descriptor that is closed: esdk help FILES says so.
	if runtime.GOOS != "windows" {
		cmd := exec.Command("sh", "-c", `exec "$0" decrypt -k "$1" -o - a.encrypted >&-`, binary, key)
		cmd.Dir, cmd.Env = s.dir, s.env
		stderr, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", stderr)
		require.Empty(t, string(stderr))
		require.Contains(t, s.ok("help", "FILES"), "closed (>&-)")
	}
}
