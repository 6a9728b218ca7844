package reseal

import (
	"encoding/binary"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// A span is where something stands in a message.
type span struct{ from, to int }

func (s span) of(message []byte) []byte { return message[s.from:s.to] }

// A header is where its fields stand. Package format would refuse much of what
// has an outline: wrong types and reserved bytes, pairs in disorder or twice.
type header struct {
	suite       suite.ID
	messageID   span
	context     []pair // as many as could be read
	dataKeys    []entry
	contentType format.ContentType
	frameLength uint32
	commitKey   span
	bodySize    int // of the header body
	iv, tag     span
	size        int // of it all
}

type pair struct{ key, value span }

type entry struct{ id, info, ciphertext span }

// outline finds the fields of a header.
func outline(message []byte) (h header, ok bool) {
	at := 0
	take := func(n int) span {
		s := span{at, at + n}
		if at += n; at > len(message) {
			at = len(message) + 1
			return span{}
		}
		return s
	}
	number := func(n int) (v int) {
		for _, b := range take(n).of(message) {
			v = v<<8 | int(b)
		}
		return v
	}
	version := number(1)
	if version != 1 && version != 2 {
		return h, false
	}
	if version == 1 {
		take(1) // type
	}
	if h.suite = suite.ID(number(2)); !h.suite.Valid() {
		return h, false
	}
	h.messageID = take(version * 16)
	context := take(number(2))
	h.readPairs(message, context)
	for n := number(2); n > 0 && at <= len(message); n-- {
		h.dataKeys = append(h.dataKeys, entry{take(number(2)), take(number(2)), take(number(2))})
	}
	h.contentType = format.ContentType(number(1))
	if version == 1 {
		take(4 + 1) // reserved field, length of the IV
	}
	frameLength := take(4)
	if at > len(message) {
		return h, false
	}
	h.frameLength = binary.BigEndian.Uint32(frameLength.of(message))
	h.commitKey = take(h.suite.CommitKeySize())
	h.bodySize = at
	if version == 1 {
		h.iv = take(suite.IVSize)
	}
	h.tag = take(suite.TagSize)
	h.size = at
	return h, at <= len(message)
}

// readPairs finds the pairs of the encryption context, up to what is none.
func (h *header) readPairs(message []byte, context span) {
	at := context.from + 2
	field := func() (span, bool) {
		if at+2 > context.to {
			return span{}, false
		}
		s := span{at + 2, at + 2 + int(binary.BigEndian.Uint16(message[at:]))}
		at = s.to
		return s, at <= context.to
	}
	for {
		k, ok := field()
		v, good := field()
		if !ok || !good {
			return
		}
		h.context = append(h.context, pair{k, v})
	}
}

// pairs returns the encryption context; of two equal keys the last.
func (h *header) pairs(message []byte) map[string]string {
	ec := make(map[string]string)
	for _, p := range h.context {
		ec[string(p.key.of(message))] = string(p.value.of(message))
	}
	return ec
}
