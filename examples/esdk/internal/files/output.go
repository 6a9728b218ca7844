package files

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Place is where a file is to be: the path Below of the folder Dir. Nothing is
// written outside Dir, wherever symbolic links in it point to.
type Place struct {
	Dir, Below string
}

// String returns the path.
func (p Place) String() string { return filepath.Join(p.Dir, p.Below) }

// PlaceOf returns the place of a file. A symbolic link stands for what it points to.
func PlaceOf(name string) (Place, error) {
	if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		resolved, err := filepath.EvalSymlinks(name)
		if err != nil {
			return Place{}, err
		}
		name = resolved
	}
	dir, base := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	if base == "" {
		return Place{}, &fs.PathError{Op: "create", Path: name, Err: errors.New("it names a folder")}
	}
	return Place{Dir: dir, Below: base}, nil
}

// Stat returns the file in the place; nil if there is nothing. Anything but a regular
// file is an error.
func (p Place) Stat() (fs.FileInfo, error) {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Lstat(p.Below)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "create", Path: p.String(), Err: errors.New("it is a symbolic link")}
	case info.IsDir():
		return nil, &fs.PathError{Op: "create", Path: p.String(), Err: errors.New("it is a folder")}
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "create", Path: p.String(), Err: errors.New("it is no regular file")}
	}
	return info, nil
}

// A Desk has the files that are being written. They are beside their places, under
// names of their own, until they are whole. A Desk is safe for concurrent use.
type Desk struct {
	// Leftover is called for each temporary file of a run that was killed, once,
	// before the first file is written beside it.
	Leftover func(path string)

	mu      sync.Mutex
	open    map[*File]bool
	scanned map[string]bool
	closed  bool
}

// ErrEnded is the error of a Desk that was cleared.
var ErrEnded = errors.New("the run was ended")

const temporaryPrefix, temporarySuffix = ".esdk-", ".tmp"

func isTemporary(name string) bool {
	return strings.HasPrefix(name, temporaryPrefix) && strings.HasSuffix(name, temporarySuffix)
}

// A File is being written. It has to be ended by Commit or Abort.
type File struct {
	*os.File
	desk  *Desk
	root  *os.Root
	place Place
	temp  string // below root
	ended bool
}

// Create begins a file for the place, with the folders that it needs. Until Commit
// nobody else can read it, unless public is set: then it has the permissions of a new
// file.
func (d *Desk) Create(place Place, public bool) (*File, error) {
	root, err := os.OpenRoot(place.Dir)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(place.Below)
	inFolder := func(err error) error { // err names a temporary file, or no path from here
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return &fs.PathError{Op: "create a file in", Path: filepath.Join(place.Dir, folder), Err: err}
	}
	if err := root.MkdirAll(folder, 0o777); err != nil {
		root.Close()
		return nil, inFolder(err)
	}
	d.look(root, folder)
	mode := fs.FileMode(0o600)
	if public {
		mode = 0o666
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		root.Close()
		return nil, ErrEnded
	}
	f := &File{desk: d, root: root, place: place, temp: filepath.Join(folder, temporaryPrefix+rand.Text()[:12]+temporarySuffix)}
	if f.File, err = root.OpenFile(f.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode); err != nil {
		root.Close()
		return nil, inFolder(err)
	}
	lock(f.File)
	if d.open == nil {
		d.open = make(map[*File]bool)
	}
	d.open[f] = true
	return f, nil
}

// look tells of the temporary files in a folder that no run is writing.
func (d *Desk) look(root *os.Root, folder string) {
	path := filepath.Join(root.Name(), folder)
	d.mu.Lock()
	known := d.scanned[path]
	if d.scanned == nil {
		d.scanned = make(map[string]bool)
	}
	d.scanned[path] = true
	d.mu.Unlock()
	if known {
		return
	}
	dir, err := root.Open(folder)
	if err != nil {
		return // whoever writes there finds out
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if !isTemporary(name) {
			continue
		}
		info, err := root.Lstat(filepath.Join(folder, name))
		if err != nil || !info.Mode().IsRegular() {
			continue // no run writes to a pipe; to open one would wait for its other end
		}
		f, err := root.OpenFile(filepath.Join(folder, name), os.O_RDONLY, 0)
		if err == nil && locked(f) {
			f.Close()
			continue
		}
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			d.Leftover(filepath.Join(path, name))
		}
	}
}

// Attributes are what a file has beside its contents.
type Attributes struct {
	Mode    fs.FileMode // permissions; zero: as they are
	ModTime time.Time   // zero: now
}

// Commit gives the file its name. It replaces what has that name if replace is set,
// and otherwise fails with fs.ErrExist. If it fails, the file is removed.
func (f *File) Commit(attributes Attributes, replace bool) error {
	err := f.finish(attributes, replace)
	f.desk.mu.Lock()
	defer f.desk.mu.Unlock()
	if err == nil && f.ended {
		err = ErrEnded
	}
	if err == nil {
		err = f.publish(replace)
	}
	f.end()
	return err
}

// finish completes the file under its temporary name.
func (f *File) finish(attributes Attributes, replace bool) error {
	if attributes.Mode != 0 {
		if err := f.Chmod(attributes.Mode.Perm()); err != nil {
			return err
		}
	}
	if replace {
		// What is replaced must not be lost with the power.
		if _, err := f.root.Lstat(f.place.Below); err == nil {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	if !attributes.ModTime.IsZero() {
		return f.root.Chtimes(f.temp, time.Time{}, attributes.ModTime)
	}
	return nil
}

// publish renames the file. Whoever may not replace links it, which fails if the
// name is in use; where there are no links there is a moment between look and rename.
func (f *File) publish(replace bool) error {
	if err := f.Close(); err != nil {
		return err
	}
	if !replace {
		if f.root.Link(f.temp, f.place.Below) == nil {
			return nil // end removes the other name
		}
		if _, err := f.root.Lstat(f.place.Below); !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "create", Path: f.place.String(), Err: fs.ErrExist}
		}
	}
	return f.root.Rename(f.temp, f.place.Below)
}

// Abort removes the file. After Commit it does nothing.
func (f *File) Abort() {
	f.desk.mu.Lock()
	defer f.desk.mu.Unlock()
	f.end()
}

// end removes what has the temporary name. The Desk is locked.
func (f *File) end() {
	if f.ended {
		return
	}
	f.ended = true
	f.Close()
	f.root.Remove(f.temp) // not there after a rename
	f.root.Close()
	delete(f.desk.open, f)
}

// Clear removes all files that are being written. Those that would be created or
// committed later fail with ErrEnded.
func (d *Desk) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for f := range d.open {
		f.end()
	}
}
