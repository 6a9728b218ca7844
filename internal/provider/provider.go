// Package provider has what more than one provider of data keys needs: opening
// the encrypted data keys of a message in order ([Open]), generating data keys
// ([Generate]), the serialised encryption context ([AppendContext]), checks and
// copies of what users' code returns ([CheckSigningKey], [CloneDataKeys]), and
// keeping secrets out of logs ([Redacted]).
//
// Package keyprovider imports it, so that it knows nothing of that package's
// types: its functions return the parts of a keyprovider.DataKey, and a
// [Failure] for a keyprovider.DecryptError.
package provider

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// Package keyprovider exports these.
var (
	ErrNoMatch           = errors.New("no matching encrypted data key")
	ErrEncryptionContext = errors.New("encryption context")
)

// Generate returns a random data key for the suite and its wrapped form, which
// wrap makes. If wrap fails, the data key is cleared.
func Generate(id suite.ID, wrap func(plaintext []byte) (format.EncryptedDataKey, error)) (plaintext []byte, edk format.EncryptedDataKey, err error) {
	if !id.Valid() {
		return nil, edk, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, id)
	}
	plaintext = make([]byte, id.KeySize())
	rand.Read(plaintext) // never fails
	if edk, err = wrap(plaintext); err != nil {
		clear(plaintext)
		return nil, format.EncryptedDataKey{}, err
	}
	return plaintext, edk, nil
}

// AppendContext appends the serialised encryption context, to which providers
// bind data keys. If it cannot be serialised the error wraps
// ErrEncryptionContext.
func AppendContext(b []byte, ec map[string]string) ([]byte, error) {
	b, err := format.AppendEncryptionContext(b, ec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncryptionContext, err)
	}
	return b, nil
}

// CloneDataKeys returns a deep copy.
func CloneDataKeys(edks []format.EncryptedDataKey) []format.EncryptedDataKey {
	size := 0
	for i := range edks {
		size += len(edks[i].ProviderInfo) + len(edks[i].Ciphertext)
	}
	memory := make([]byte, 0, size)
	copied := func(b []byte) []byte {
		start := len(memory)
		memory = append(memory, b...)
		return memory[start:len(memory):len(memory)]
	}
	edks = slices.Clone(edks)
	for i := range edks {
		edks[i].ProviderInfo, edks[i].Ciphertext = copied(edks[i].ProviderInfo), copied(edks[i].Ciphertext)
	}
	return edks
}

// ManyDataKeys is the largest number of encrypted data keys that are there twice
// while a manager is asked. A hostile header has tens of thousands, each of which
// takes ten times as much memory as in the message.
const ManyDataKeys = 256

// Find returns the first of the encrypted data keys that equals edk, or nil.
func Find(edks []format.EncryptedDataKey, edk *format.EncryptedDataKey) *format.EncryptedDataKey {
	for i := range edks {
		e := &edks[i]
		if e.ProviderID == edk.ProviderID && bytes.Equal(e.ProviderInfo, edk.ProviderInfo) && bytes.Equal(e.Ciphertext, edk.Ciphertext) {
			return e
		}
	}
	return nil
}

// IsNil reports whether an interface holds nothing to call a method on: nil,
// or a nil pointer, as from a constructor whose error was not looked at.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return r.IsNil()
	}
	return false
}
