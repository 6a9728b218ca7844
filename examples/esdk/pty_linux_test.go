package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A terminal is the controlling one of a command.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	mu     sync.Mutex
	text   strings.Builder
}

func newTerminal(t *testing.T) *terminal {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	var unlock, number int32
	for _, call := range []struct {
		request uintptr
		value   *int32
	}{{syscall.TIOCSPTLCK, &unlock}, {syscall.TIOCGPTN, &number}} {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), call.request, uintptr(unsafe.Pointer(call.value)))
		require.Zero(t, errno)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close() })
	term := &terminal{t: t, master: master, slave: slave}
	go func() {
		buffer := make([]byte, 1024)
		for {
			n, err := master.Read(buffer)
			term.mu.Lock()
			term.text.Write(buffer[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// until waits for a text.
func (term *terminal) until(text string) {
	term.t.Helper()
	require.Eventually(term.t, func() bool { return strings.Contains(term.shown(), text) }, time.Minute, time.Millisecond, "%q", text)
}

func (term *terminal) write(text string) {
	_, err := io.WriteString(term.master, text)
	require.NoError(term.t, err)
}

// start starts a command line of which standard error is the terminal; and standard
// input, unless that is set.
func (term *terminal) start(s *shop, stdin *os.File, args ...string) *exec.Cmd {
	cmd := s.command(args...)
	cmd.Stdin, cmd.Stderr = term.slave, term.slave
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	require.NoError(term.t, cmd.Start())
	return cmd
}

func TestQuestionsOnATerminal(t *testing.T) {
	for answer, replaced := range map[string]bool{"y\n": true, "n\n": false, "\n": false, "\x04": false} {
		t.Run(fmt.Sprintf("%q", answer), func(t *testing.T) {
			s := newShop(t)
			s.write("a", "contents")
			s.write("b", "was there")
			term := newTerminal(t)
			cmd := term.start(s, nil, "encrypt", "-k", key, "-o", "b", "--interactive", "a")
			term.until("[y/N]")
			term.write(answer)
			require.NoError(t, cmd.Wait())
			require.Equal(t, replaced, s.read("b") != "was there")

			// If standard input is the data, the terminal is asked all the same.
			s.write("b", "was there")
			data, err := os.Open(s.path("a"))
			require.NoError(t, err)
			defer data.Close()
			term = newTerminal(t)
			cmd = term.start(s, data, "encrypt", "-k", key, "-o", "b", "--interactive", "-")
			term.until("[y/N]")
			term.write(answer)
			require.NoError(t, cmd.Wait())
			require.Equal(t, replaced, s.read("b") != "was there")
		})
	}
}

func TestProgressAndInterruptOnATerminal(t *testing.T) {
	s := newShop(t)
	s.write("out", "was there")
	in, data, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer data.Close()
	term := newTerminal(t)
	cmd := term.start(s, in, "encrypt", "-k", key, "-o", "out", "--overwrite")
	_, err = io.WriteString(data, strings.Repeat("x", 5000))
	require.NoError(t, err)
	term.until("0/1 files  4.9 KiB")
	term.write("\x03")
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	term.until("\r\x1b[Kesdk: ended: interrupt")
	require.Equal(t, []string{"out"}, s.files())
	require.Equal(t, "was there", s.read("out"))
}

// What is no regular file is not read from folders, and not replaced in them. By its
// name it is read and written.
func TestPipes(t *testing.T) {
	s := newShop(t)
	s.write("in/a", "contents")
	s.mkdir("out")
	require.NoError(t, syscall.Mkfifo(s.path("in/pipe"), 0o600))
	require.NoError(t, syscall.Mkfifo(s.path("out/a.encrypted"), 0o600))
	_, stderr, status := s.run("encrypt", "-k", key, "-r", "--overwrite", "-o", "out", "in")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "in/pipe: it is no regular file")
	require.Contains(t, stderr, "out/a.encrypted: it is no regular file")

	reader := s.command("decrypt", "-k", key, "-o", "back", "out/a.encrypted")
	require.NoError(t, reader.Start())
	s.ok("encrypt", "-k", key, "-o", "out/a.encrypted", "in/a")
	require.NoError(t, reader.Wait())
	require.Equal(t, "contents", s.read("back"))
	info, err := os.Lstat(s.path("out/a.encrypted"))
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe)
}

// A pipe with the name of a temporary file is not waited for.
func TestAPipeInPlaceOfATemporaryFile(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	require.NoError(t, syscall.Mkfifo(s.path(".esdk-ABC.tmp"), 0o600))
	_, stderr, status := s.run("encrypt", "-k", key, "a")
	require.Equal(t, 0, status)
	require.Empty(t, stderr)
}

// /dev/stdout is standard output, and not the name of the file that this may be.
func TestDevStdoutIsStandardOutput(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	s.ok(modelArgs("-e", "a", "message")...)
	for _, args := range [][]string{modelArgs("-d", "message", "/dev/stdout"), {"decrypt", "-k", key, "-o", "/dev/stdout", "message"}} {
		f, err := os.Create(s.path("out"))
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteString("before ")
		require.NoError(t, err)
		cmd := s.command(args...)
		cmd.Stdout = f
		require.NoError(t, cmd.Run())
		_, err = f.WriteString(" after")
		require.NoError(t, err)
		require.Equal(t, "before contents after", s.read("out"))
	}
}

// A file in a folder that becomes a link after the folder was read leads nowhere. The
// run waits for the pipe, which comes first.
func TestAFileThatBecomesALink(t *testing.T) {
	s := newShop(t)
	require.NoError(t, syscall.Mkfifo(s.path("pipe"), 0o600))
	s.write("secret", "secret")
	s.write("in/a", "contents")
	s.write("in/sub/secret", "contents")
	s.mkdir("out")
	cmd := s.command("encrypt", "-k", key, "-j1", "-r", "-o", "out", "pipe", "in")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	pipe, err := os.OpenFile(s.path("pipe"), os.O_WRONLY, 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.path("in/a")))
	s.link("../secret", "in/a")
	require.NoError(t, os.RemoveAll(s.path("in/sub")))
	s.link("..", "in/sub")
	require.NoError(t, pipe.Close())
	require.Error(t, cmd.Wait())
	require.Contains(t, stderr.String(), "2 of 3 failed")
	require.ElementsMatch(t, []string{"pipe", "secret", "in/a", "in/sub", "out/pipe.encrypted"}, s.files())
}
