// Package frame seals and opens the bodies of messages. It is the hot path of
// the module: nonces, additional data, buffers, batches and goroutines are its
// concern. It knows nothing of headers, data keys and signatures.
//
// A [Sealer] turns plaintext into frames, an [Opener] turns frames into
// plaintext. To process a frame is to do either. The other words are:
//
//   - A batch is what one goroutine processes at a time: consecutive regular
//     frames, about 32 to 512 KiB of them, or one that is larger.
//   - A slot carries one batch: its input, its output, and memory for both.
//   - A [Pipeline] lives from Start to Stop. It owns a ring of slots, the helper
//     goroutines that process them, and the sink, which is the writer that gets
//     their output.
//   - To retire a slot is to add its frames to the digest, if the message is
//     signed, and to write its output to the sink. Slots retire in order.
//   - A [Window] holds what a stream has read from its source and not yet put
//     into a slot.
//
// # The way of a byte
//
// EncryptWriter.Write hands its whole frames to [Sealer.WriteFrames]. They are
// cut into batches, and each batch goes into the next slot of a ring, without a
// copy. A helper seals the batch into the memory of the slot. The goroutine that
// called Write retires the oldest slot whenever the ring is full; until that
// slot is ready, it seals other batches itself. So the byte reaches the sink.
// What is over, less than a frame, waits in the Window for the next Write.
//
// EncryptReader.WriteTo and EncryptWriter.ReadFrom start a Pipeline. In a loop
// they read from the source into the Window, and [Pipeline.Pump] takes a batch
// out of it: slot and Window exchange their memory, so that only the rest behind
// the batch is copied. From there on the way is the same. While the source keeps
// up, which means that Read returns all that it is asked for, Pump only submits
// batches. Once it does not, all slots are retired before the source is read
// again, by Pump or by [Pipeline.Flush].
//
// DecryptReader.WriteTo is the way back: it reads frames into its Window, Pump
// takes a batch of them, a helper opens it, and the sink gets the plaintext.
//
// Reencrypt has two Pipelines, which run at the same time. The sink of the one that
// opens frames is [Pipeline.Write] of the one that seals them: it copies the
// plaintext into the Window, and takes it out again batch by batch.
//
// DecryptReaderAt keeps an Opener for each of the calls that are under way, which
// goes to the frames of the call with [Opener.Seek].
//
// Encrypt, Decrypt, the Read methods and ReadAt have memory for the output already.
// They call Frames, where the slots point into that memory and there is no sink.
//
// The final frame and an unframed body never go into a slot. They are for the
// caller to process, with Final, Unframed or Last, when no Pipeline runs.
//
// # Goroutines
//
// The source and the sink are called on the caller's goroutine only. Helpers
// start when there is enough for them to do and are gone when Stop returns,
// which is deferred, so that a source or a sink that panics leaves none behind.
// If the message is signed, one more goroutine does nothing but add to the
// digest. Without helpers batches go through the inline slot: the caller
// processes each and retires it at once.
package frame

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"hash"

	"github.com/esdk-go/esdk/format"
)

var (
	// ErrAuthentication is wrapped by the error for a frame whose tag fails.
	ErrAuthentication = errors.New("authentication failed: wrong key, or the message was altered")
	// ErrTooLong is wrapped by the error for a body that its format cannot hold.
	ErrTooLong = errors.New("plaintext too long")
	// ErrLimit is wrapped by the error for a body over Config.MaxUnframed or
	// over what an int can count.
	ErrLimit = errors.New("frame too long")
)

// Config is what all frames of one message share.
type Config struct {
	AEAD        cipher.AEAD // of suite.IVSize and suite.TagSize
	MessageID   []byte      // copied
	FrameLength int         // of plaintext, in bytes; 0 if the body is unframed
	MaxUnframed int64       // largest unframed body to open; 0: no limit
	Digest      hash.Hash   // gets every byte of the body, in order, before Final, Unframed or Last returns; nil if unsigned
	Workers     int         // goroutines to use at once, the caller's included; at least 1
}

// body is what Sealer and Opener have in common: what lasts from one Pipeline
// to the next.
type body struct {
	Config
	direction       direction // the Sealer or Opener that has this body
	inSize, outSize int       // of a regular frame
	next            uint32    // sequence number of the next frame that goes into a slot
	due             uint32    // sequence number of the next frame that is retired
	inline          slot      // also the first of slots, once there are any; has the nonce of the last frame
	slots           []*slot   // kept for their memory
	pipeline        Pipeline  // at most one at a time, so its memory can be here
	aad, last       [maxAAD]byte
}

// A direction is what differs between sealing and opening.
type direction interface {
	// count returns how many regular frames can be made of what src begins with,
	// at most limit.
	count(src []byte, limit int) (int, error)
	// process processes a slot, on any goroutine, up to the first frame whose tag
	// fails, and returns how many frames it processed.
	process(s *slot) int
	// wire returns those frames as they stand in the message.
	wire(s *slot) []byte
}

func (b *body) init(c Config, d direction, inSize, outSize int) {
	b.Config, b.direction, b.inSize, b.outSize = c, d, inSize, outSize
	b.Workers = min(c.Workers, maxWorkers)
	b.next, b.due = 1, 1
	b.initSlot(&b.inline, b.aad[:0])
	b.MessageID = b.aad[:len(c.MessageID)] // the caller's is in the hands of users
}

// maxAAD is the most that is authenticated with a frame, besides its content.
const maxAAD = 80

func (b *body) initSlot(s *slot, memory []byte) {
	s.aad = format.AppendBodyAAD(memory, b.MessageID, format.RegularFrame, 0, uint64(b.FrameLength))
}

// lastAAD returns the additional data of the final frame or the unframed body.
func (b *body) lastAAD(kind format.BodyKind, length uint64) []byte {
	return format.AppendBodyAAD(b.last[:0], b.MessageID, kind, b.next, length)
}

// Scratch returns n bytes of memory that nobody else uses until the next call of
// a method.
func (b *body) Scratch(n int) []byte { return b.inline.scratch(n) }

// stride is the size of a regular frame in the message.
func (b *body) stride() int { return b.FrameLength + format.FrameOverhead }

// field names a frame.
func (b *body) field(sequence uint32) string {
	if b.FrameLength == 0 {
		return "unframed body"
	}
	return fmt.Sprintf("frame %d", sequence)
}

const (
	// maxWorkers is more than memory can feed; it keeps stacks and buffers small.
	maxWorkers = 64
	// sharedBatch is the size of a batch, in bytes, where goroutines share the
	// work: enough to be worth handing over, and little enough to still be in a
	// core's cache when the next one works on it.
	sharedBatch = 128 << 10
	// wholeBatch is the most where Frames has the whole input: such batches need
	// no buffers, and the fewer are handed over the better, if all goroutines
	// get some.
	wholeBatch = 512 << 10
	// serialBatch is the size without helpers: smaller batches suffice.
	serialBatch = 32 << 10
	// parallelSize is the least work that is worth starting goroutines for.
	parallelSize = 256 << 10
	// margin is how many bytes streams read beyond a batch, to see whether there
	// are more.
	margin = 64
	// maxBuffers is how many bytes the buffers of a stream hold besides two
	// frames. With everything else, and rounding, they stay under 4 MiB.
	maxBuffers = 7 << 19
)

// batch returns how many frames a batch has.
func (b *body) batch() int {
	if b.Workers == 1 {
		return b.about(serialBatch)
	}
	return b.about(sharedBatch)
}

// ReadSize returns how many bytes streams should ask their source for: a batch
// and, so that it can be seen whether the source has more, a little of the next
// frame.
func (b *body) ReadSize() int {
	n := b.batch() * b.inSize
	if b.Workers > 1 {
		n += min(margin, b.inSize-1)
	}
	return n
}

// Fit returns how many frames fit size bytes, and at least one.
func (b *body) Fit(size int) int { return max(1, size/b.stride()) }

// about returns how many frames come nearest to size bytes, and at least one:
// for 128 KiB, 2 frames of 64 KiB, which with their overhead do not fit.
func (b *body) about(size int) int { return b.Fit(size + b.stride()/2) }

// worthSharing reports whether n frames are worth more than one goroutine.
func (b *body) worthSharing(n int) bool { return n > 1 && n >= parallelSize/b.stride() }

// maxSlots returns how many slots a ring may have: 0 if one goroutine does it
// all. buffers is how many each slot needs of its own. If they need any, all
// these, and a Window beside them, stay within maxBuffers.
func (b *body) maxSlots(buffers int) int {
	most := 2*b.Workers + 2
	switch {
	case b.Workers == 1:
		return 0
	case buffers == 0:
		return most
	}
	stride := int64(b.stride()) // twice that may not fit an int
	size := int64(b.batch())*stride + margin
	return int(min(int64(most), max(0, maxBuffers+2*stride-size)/(int64(buffers)*size)))
}
