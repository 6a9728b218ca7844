package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// An alteration is a message with something wrong.
type alteration struct {
	What    string // in words
	Class   string // of esdk's error, as in testdata/README.md
	Message []byte
}

// alterations returns the message altered in every way that it can be. It must
// have one raw AES key, a context, and at least two regular frames.
func alterations(message []byte) ([]alteration, error) {
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	if err != nil {
		return nil, err
	}
	frames, end, err := frameOffsets(message, len(message)-r.Len(), h.FrameLength)
	if err != nil {
		return nil, err
	}
	if len(frames) < 3 || len(h.EncryptedDataKeys) != 1 || len(h.EncryptionContext) == 0 {
		return nil, fmt.Errorf("%d frames, %d keys, %d pairs", len(frames), len(h.EncryptedDataKeys), len(h.EncryptionContext))
	}
	body, final := frames[0], frames[len(frames)-1]
	ids := 2 // of the version and type
	if h.Version == 2 {
		ids = 1
	}

	var all []alteration
	add := func(what, class string, altered []byte) {
		all = append(all, alteration{what, class, altered})
	}
	flip := func(what, class string, at int) {
		altered := slices.Clone(message)
		altered[at] ^= 1
		add(what, class, altered)
	}
	// place gives the offset of bytes that the header holds once.
	place := func(b []byte) int { return bytes.Index(message[:body], b) }

	flip("header: version", "malformed", 0)
	flip("header: suite", "suite", ids+1) // to an ID that is none
	headerClass := "authentication"
	if h.Suite.Committing() {
		headerClass = "commitment" // the message ID salts the commitment
	}
	flip("header: message ID", headerClass, ids+2)
	var value string // a long one, which stands nowhere else by chance
	for k, v := range h.EncryptionContext {
		if k != format.PublicKeyField && len(v) > len(value) {
			value = v
		}
	}
	flip("header: encryption context", "key", place([]byte(value))) // it is bound to the wrapped key
	flip("header: wrapped key", "key", place(h.EncryptedDataKeys[0].Ciphertext))
	flip("header: key's namespace", "no match", place([]byte(h.EncryptedDataKeys[0].ProviderID)))
	flip("header: frame length", "authentication", bytes.LastIndex(message[:body-suite.TagSize], binary.BigEndian.AppendUint32(nil, h.FrameLength))+3)
	flip("header: tag", "authentication", body-1)
	if h.Suite.Committing() {
		flip("commitment", "commitment", place(h.CommitKey))
	}

	const sequence, iv = 4, 12 // sizes in a regular frame
	flip("frame: sequence number", "malformed", body+sequence-1)
	flip("frame: IV", "authentication", body+sequence)
	flip("frame: content", "authentication", body+sequence+iv)
	flip("frame: tag", "authentication", frames[1]-1)
	part := func(from, to int) []byte { return message[from:to] }
	add("order: frames exchanged", "malformed", slices.Concat(part(0, body), part(frames[1], frames[2]), part(body, frames[1]), part(frames[2], len(message))))
	add("order: frame left out", "malformed", slices.Concat(part(0, body), part(frames[1], len(message))))
	add("order: frame twice", "malformed", slices.Concat(part(0, frames[1]), part(body, len(message))))

	flip("final frame: marker", "malformed", final)
	flip("final frame: sequence number", "malformed", final+7)
	flip("final frame: content", "authentication", end-suite.TagSize-1)
	shorter := slices.Concat(part(0, end-suite.TagSize-1), part(end-suite.TagSize, len(message)))
	n := binary.BigEndian.Uint32(shorter[final+20:])
	binary.BigEndian.PutUint32(shorter[final+20:], n-1)
	add("final frame: a byte shorter", "authentication", shorter)
	if h.Suite.Signing() {
		flip("signature: last byte", "signature", len(message)-1)
		add("signature: left out", "truncated", slices.Clone(part(0, end)))
	} else {
		add("final frame: left out", "truncated", slices.Clone(part(0, final)))
	}
	add("truncated by a byte", "truncated", slices.Clone(message[:len(message)-1]))
	add("truncated after the header", "truncated", slices.Clone(message[:body]))
	add("truncated within the header", "truncated", slices.Clone(message[:body/2]))
	add("trailing: a byte", "trailing", append(slices.Clone(message), 0))
	add("trailing: the message again", "trailing", slices.Concat(message, message))
	return all, nil
}

// frameOffsets returns where the frames start, the final one last, and where
// that ends.
func frameOffsets(message []byte, at int, frameLength uint32) (starts []int, end int, err error) {
	for {
		f, err := format.ParseFrameHeader(message[at:], frameLength)
		if err != nil {
			return nil, 0, err
		}
		starts = append(starts, at)
		at += f.Size() + int(f.Length) + suite.TagSize
		if f.Final {
			return starts, at, nil
		}
	}
}

// alteredCases are esdk's messages, with the named context, that every peer should
// refuse.
func alteredCases(keys rawKeys, context string, encrypt func(*Case) error) ([]Case, error) {
	var all []Case
	for _, id := range alteredSuites {
		whole := newCase("altered", id, alteredFrame, alteredLength, keys["aes-256"]).withContext(context)
		if err := encrypt(&whole); err != nil {
			return nil, err
		}
		bad, err := alterations(whole.Message)
		if err != nil {
			return nil, err
		}
		for _, a := range bad {
			c := whole
			c.ID += ", " + a.What
			c.Altered, c.Message = a.What, a.Message
			all = append(all, c)
		}
	}
	return all, nil
}

// alteredFrame and alteredLength make three frames whether the last is full or not.
const alteredFrame, alteredLength = 128, 300

var alteredSuites = []suite.ID{suite.AES256GCM, suite.AES256GCMHKDFSHA384ECDSAP384,
	suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}
