package keyprovider

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/suite"
)

// The formulas of cache entry identifiers begin with these bytes and go on
// with the partition.
//
// They follow "Appendix A: Cache Entry Identifier Formulas" of caching-cmm.md in
// the specification. Three things that materials depend on are
// not in the formulas; if a request has them, a zero byte, one of the tags
// below and what it tags follow.
const (
	encryptionScope = "\x01\x00\x01\x00"
	decryptionScope = "\x01\x00\x02\x00"
)

const (
	requiredTag   = 1 // sorted required keys, with lengths
	reproducedTag = 2 // serialised reproduced context
	forbidTag     = 3 // nothing: default suite of ForbidEncryptAllowDecrypt
)

// scratchSize is room for what identifies most requests.
const scratchSize = 1024

// encryptionID returns the identifier of the entry for a request, or false if
// it cannot have any.
func encryptionID(partition string, req *EncryptionRequest) (cache.ID, bool) {
	var scratch [scratchSize]byte
	b := append(scratch[:0], encryptionScope...)
	b = append(b, partition...)
	if req.Suite == 0 {
		b = append(b, 0, 0, 0)
	} else {
		b = append(b, 0, 1, 0, byte(req.Suite>>8), byte(req.Suite), 0)
	}
	start := len(b)
	b, err := format.AppendEncryptionContext(b, req.EncryptionContext)
	if err != nil {
		return cache.ID{}, false
	}
	end := len(b)
	if len(req.RequiredContextKeys) > 0 {
		b = append(b, 0, requiredTag)
		for _, k := range slices.Sorted(slices.Values(req.RequiredContextKeys)) {
			var ok bool
			if b, ok = appendPart(b, k); !ok {
				return cache.ID{}, false
			}
		}
	}
	lengths := [3]uint32{uint32(len(partition)), uint32(end - start), uint32(len(b) - end)}
	if req.Suite == 0 && req.CommitmentPolicy == suite.ForbidEncryptAllowDecrypt {
		b = append(b, 0, forbidTag)
	}
	return cache.ID{Sum: sha512.Sum384(b), Parts: lengths}, true
}

// decryptionID returns the identifier of the entry for a request, or false if
// it cannot have any.
func decryptionID(partition string, req *DecryptionRequest) (cache.ID, bool) {
	var scratch [scratchSize]byte
	b := append(scratch[:0], decryptionScope...)
	b = append(b, partition...)
	b = append(b, 0, byte(req.Suite>>8), byte(req.Suite), 0)
	start := len(b)
	b, ok := appendSorted(b, req.EncryptedDataKeys)
	if !ok {
		return cache.ID{}, false
	}
	keys := len(b) - start
	b = append(b, 0)
	start = len(b)
	b, err := format.AppendEncryptionContext(b, req.EncryptionContext)
	if err != nil {
		return cache.ID{}, false
	}
	stored := len(b) - start
	if len(req.ReproducedContext) > 0 {
		b, err = format.AppendEncryptionContext(append(b, 0, reproducedTag), req.ReproducedContext)
		if err != nil {
			return cache.ID{}, false
		}
	}
	return cache.ID{Sum: sha512.Sum384(b), Parts: [3]uint32{uint32(len(partition)), uint32(keys), uint32(stored)}}, true
}

// appendSorted appends the encrypted data keys as headers hold them, but in
// the order of their bytes.
func appendSorted(b []byte, keys []EncryptedDataKey) ([]byte, bool) {
	if len(keys) == 1 { // the usual case
		return appendKey(b, &keys[0])
	}
	all := make([][]byte, len(keys))
	for i := range keys {
		var ok bool
		if all[i], ok = appendKey(nil, &keys[i]); !ok {
			return b, false
		}
	}
	slices.SortFunc(all, bytes.Compare)
	for _, key := range all {
		b = append(b, key...)
	}
	return b, true
}

func appendKey(b []byte, key *EncryptedDataKey) ([]byte, bool) {
	b, ok := appendPart(b, key.ProviderID)
	if ok {
		b, ok = appendPart(b, key.ProviderInfo)
	}
	if ok {
		b, ok = appendPart(b, key.Ciphertext)
	}
	return b, ok
}

// appendPart appends s with its two-byte length, if two bytes can hold that.
func appendPart[S ~string | ~[]byte](b []byte, s S) ([]byte, bool) {
	if len(s) > 1<<16-1 {
		return b, false
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...), true
}
