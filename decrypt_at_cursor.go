package esdk

import (
	"slices"

	"github.com/esdk-go/esdk/internal/frame"
)

// A cursor is what one call of ReadAt needs for itself. It is kept from call to
// call for its memory and its frame.
type cursor struct {
	opener    frame.Opener
	in        []byte // memory for what is read from the source
	plaintext []byte // of the frame that was used last
	frame     int64  // index of that frame, or none
}

const none = -1

func (d *DecryptReaderAt) newCursor() *cursor {
	c := &cursor{frame: none}
	c.opener.Init(d.frames, d.body)
	return c
}

func (c *cursor) size() int { return cap(c.in) + cap(c.plaintext) }

// maxIdle is how many cursors are kept, at most. Together they have pieceSize bytes
// or are one.
const maxIdle = 16

// maxLocked is the longest read that is copied under the lock, so that nobody waits
// long for it.
const maxLocked = 4 << 10

// copyKept copies p from the frame of this index, if that is the one that was used last
// and has all of p. It is what small reads in a row need.
func (d *DecryptReaderAt) copyKept(p []byte, index int64, skip int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := len(d.idle) - 1
	if last < 0 || d.idle[last].frame != index || len(d.idle[last].plaintext)-skip < len(p) {
		return false
	}
	copy(p, d.idle[last].plaintext[skip:])
	return true
}

// take returns a cursor for one call: the one with the frame of this index, or else
// the one that was not used for the longest time, or a new one.
func (d *DecryptReaderAt) take(index int64) *cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := len(d.idle) - 1
	if last < 0 {
		return d.newCursor()
	}
	i := last
	for i > 0 && d.idle[i].frame != index {
		i--
	}
	cur := d.idle[i]
	copy(d.idle[i:], d.idle[i+1:])
	d.idle[last] = nil
	d.idle = d.idle[:last]
	d.idleSize -= cur.size()
	return cur
}

// put keeps a cursor for later calls, at the cost of older ones.
func (d *DecryptReaderAt) put(cur *cursor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.idle = append(d.idle, cur)
	d.idleSize += cur.size()
	for len(d.idle) > 1 && (len(d.idle) > maxIdle || d.idleSize > pieceSize) {
		d.idleSize -= d.idle[0].size()
		d.idle = slices.Delete(d.idle, 0, 1)
	}
}
