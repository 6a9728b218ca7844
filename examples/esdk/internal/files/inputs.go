// Package files finds the files that a command line names, and writes others in
// such a way that nothing but whole ones ever has its name.
package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Input is a file to read, or an error of something that cannot be read.
type Input struct {
	Path string
	// Below is the path below the folder that was named, or empty if the file
	// itself was.
	Below string
	Info  fs.FileInfo
	Err   error
}

// Expand returns the names that a pattern stands for, in order. A pattern that is
// itself the name of something stands for that alone. Otherwise it is one of Python's
// glob: *, ? and [...] or [!...], of which none matches a dot at the beginning of a
// name, and none the separator.
func Expand(pattern string) ([]string, error) {
	if _, err := os.Lstat(pattern); err == nil {
		return []string{pattern}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !strings.ContainsAny(pattern, "*?[") {
		return nil, &fs.PathError{Op: "open", Path: pattern, Err: fs.ErrNotExist}
	}
	found := glob(pattern)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no file has such a name", pattern)
	}
	return found, nil
}

// glob returns what matches the pattern.
func glob(pattern string) []string {
	dir, base := filepath.Split(pattern)
	if base == "" { // the pattern ends with a separator: folders only
		var dirs []string
		for _, name := range glob(strings.TrimRight(pattern, string(filepath.Separator))) {
			if info, err := os.Stat(name); err == nil && info.IsDir() {
				dirs = append(dirs, name+string(filepath.Separator))
			}
		}
		return dirs
	}
	dirs := []string{dir}
	if strings.ContainsAny(dir, "*?[") {
		dirs = glob(dir)
	}
	var found []string
	for _, dir := range dirs {
		if !strings.ContainsAny(base, "*?[") {
			if _, err := os.Lstat(dir + base); err == nil {
				found = append(found, dir+base)
			}
			continue
		}
		entries, _ := os.ReadDir(cmp.Or(dir, ".")) // one that cannot be read has no matches
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), ".") && !strings.HasPrefix(base, ".") {
				continue
			}
			if matches(base, entry.Name()) {
				found = append(found, dir+entry.Name())
			}
		}
	}
	return found
}

// matches is filepath.Match with the rules of Python for backslashes and [!...].
func matches(pattern, name string) bool {
	if filepath.Separator == '/' {
		pattern = strings.ReplaceAll(pattern, `\`, `\\`)
	}
	ok, err := filepath.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return ok && err == nil
}

// A Walk says what is taken from folders.
type Walk struct {
	// Follow follows symbolic links within folders. A name that was given is
	// always followed.
	Follow bool
	// Leave are files and folders that are left out wherever they are found, by
	// whatever name: where the output goes, for example.
	Leave []fs.FileInfo
	// Left is called for what is left out, with the reason.
	Left func(path, reason string)
}

// Folder returns the files in a folder and the folders below it. What cannot be
// read is an Input with an error.
func (w *Walk) Folder(root string) []Input {
	info, err := os.Stat(root)
	if err != nil {
		return []Input{{Path: root, Err: err}}
	}
	return w.folder(root, "", []fs.FileInfo{info})
}

// folder reads the folder root/below. above are the folders that it is in, so that
// links in a circle are noticed.
func (w *Walk) folder(root, below string, above []fs.FileInfo) []Input {
	dir := filepath.Join(root, below)
	if below == "" {
		dir = root
	}
	entries, err := os.ReadDir(dir)
	var inputs []Input
	if err != nil {
		inputs = append(inputs, Input{Path: dir, Below: below, Err: err})
	}
	for _, entry := range entries {
		path, name := filepath.Join(dir, entry.Name()), filepath.Join(below, entry.Name())
		info, err := entry.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if !w.Follow {
				w.Left(path, "it is a symbolic link")
				continue
			}
			info, err = os.Stat(path)
		}
		same := func(other fs.FileInfo) bool { return os.SameFile(info, other) }
		switch {
		case err != nil:
			inputs = append(inputs, Input{Path: path, Below: name, Err: err})
		case slices.ContainsFunc(w.Leave, same):
			w.Left(path, "it is where the output goes")
		case isTemporary(entry.Name()):
			w.Left(path, "it is the temporary file of a run")
		case info.IsDir() && slices.ContainsFunc(above, same):
			w.Left(path, "it is a link to a folder that it is in")
		case info.IsDir():
			inputs = append(inputs, w.folder(root, name, append(slices.Clip(above), info))...)
		case !info.Mode().IsRegular():
			w.Left(path, "it is no regular file")
		default:
			inputs = append(inputs, Input{Path: path, Below: name, Info: info})
		}
	}
	return inputs
}

// Within reports whether the file or folder path is folder, or in it, by whatever
// name. Neither has to exist; folder is then never a match.
func Within(path, folder string) bool {
	dir, err := os.Stat(folder)
	if err != nil || !dir.IsDir() {
		return false
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return false
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	} else if resolved, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(resolved, filepath.Base(path))
	}
	for {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, dir) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}
