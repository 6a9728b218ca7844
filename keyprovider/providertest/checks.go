package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A check returns what is wrong.
type check struct {
	name      string
	run       func(*kit, context.Context) error
	decrypter bool // needs no Provider
}

var checks = []check{
	{name: "names its master keys", run: each((*kit).namesKeys)},
	{name: "generates data keys that fit the suite and a header", run: each((*kit).generates)},
	{name: "generates another data key each time", run: each((*kit).generatesAnother)},
	{name: "decrypts what it generated", run: each((*kit).roundTrip)},
	{name: "decrypts what any of its master keys encrypted", run: each((*kit).everyKey)},
	{name: "opens the first of its entries", run: each((*kit).firstEntry)},
	{name: "skips entries that are not its own", run: each((*kit).skips)},
	{name: "refuses altered entries", run: each((*kit).altered)},
	{name: "refuses a data key of another length than the suite's", run: each((*kit).otherLength)},
	{name: "refuses another encryption context", run: each((*kit).otherContext)},
	{name: "treats a nil encryption context as an empty one", run: each((*kit).emptyContext)},
	{name: "returns fresh slices", run: each((*kit).freshSlices)},
	{name: "changes nothing that it is given", run: each((*kit).changesNothing)},
	{name: "gives an error or the right key if the context is done", run: each((*kit).doneContext)},
	{name: "works from several goroutines", run: (*kit).concurrently},
	{name: "says that it can only decrypt", run: each((*kit).decryptOnly), decrypter: true},
	{name: "refuses no entries and foreign ones", run: each((*kit).nothingToOpen), decrypter: true},
}

// each makes a check of all suites.
func each(run func(*kit, context.Context, suite.ID) error) func(*kit, context.Context) error {
	return func(k *kit, ctx context.Context) error {
		for _, id := range k.suites {
			if err := run(k, ctx, id); err != nil {
				return fmt.Errorf("%v: %w", id, err)
			}
		}
		return nil
	}
}

func (k *kit) namesKeys(ctx context.Context, id suite.ID) error {
	_, err := k.masterKeys(ctx, request(id))
	return err
}

func (k *kit) generates(ctx context.Context, id suite.ID) error {
	_, err := k.generate(ctx, request(id))
	return err
}

func (k *kit) generatesAnother(ctx context.Context, id suite.ID) error {
	first, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	second, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	if bytes.Equal(first.Plaintext, second.Plaintext) {
		return errors.New("GenerateDataKey returned the same data key twice")
	}
	return nil
}

func (k *kit) roundTrip(ctx context.Context, id suite.ID) error {
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	return k.opens(ctx, request(id), key, key.Encrypted)
}

func (k *kit) everyKey(ctx context.Context, id suite.ID) error {
	generated, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	keys, err := k.masterKeys(ctx, request(id))
	if err != nil {
		return err
	}
	for i, key := range keys {
		edk, err := key.EncryptDataKey(ctx, request(id), generated.Plaintext)
		if err == nil {
			err = encodable(edk)
		}
		if err == nil {
			err = k.opens(ctx, request(id), &keyprovider.DataKey{Plaintext: generated.Plaintext, Encrypted: edk}, edk)
		}
		if err != nil {
			return fmt.Errorf("EncryptDataKey of master key %d: %w", i+1, err)
		}
	}
	return nil
}

func (k *kit) firstEntry(ctx context.Context, id suite.ID) error {
	first, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	second, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	if err := k.opens(ctx, request(id), first, first.Encrypted, second.Encrypted); err != nil {
		return err
	}
	return k.opens(ctx, request(id), second, second.Encrypted, first.Encrypted)
}

// foreign are entries that are no provider's.
var foreign = []keyprovider.EncryptedDataKey{
	{ProviderID: "providertest-foreign", ProviderInfo: []byte("key"), Ciphertext: make([]byte, 256)},
	{},
	{ProviderID: "providertest-foreign"},
	{ProviderID: "aws-kms", ProviderInfo: []byte("not an ARN"), Ciphertext: []byte{1}},
}

func (k *kit) skips(ctx context.Context, id suite.ID) error {
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	good := key.Encrypted
	garbage := []keyprovider.EncryptedDataKey{
		{ProviderID: good.ProviderID},
		{ProviderID: good.ProviderID, ProviderInfo: []byte("providertest"), Ciphertext: good.Ciphertext},
		{ProviderID: good.ProviderID, ProviderInfo: append([]byte("x"), good.ProviderInfo...), Ciphertext: good.Ciphertext},
		{ProviderID: good.ProviderID, ProviderInfo: good.ProviderInfo},
		{ProviderID: good.ProviderID, ProviderInfo: good.ProviderInfo, Ciphertext: []byte("providertest")},
		{ProviderID: good.ProviderID, ProviderInfo: good.ProviderInfo, Ciphertext: make([]byte, len(good.Ciphertext))},
		{ProviderID: good.ProviderID + "x", ProviderInfo: good.ProviderInfo, Ciphertext: good.Ciphertext},
	}
	for _, bad := range slices.Concat(foreign, garbage) {
		if err := k.opens(ctx, request(id), key, bad, good); err != nil {
			return fmt.Errorf("after an entry of %q with info %q: %w", bad.ProviderID, bad.ProviderInfo, err)
		}
	}
	entries := append(slices.Concat(foreign, garbage), good)
	entries = append(entries, garbage...)
	return k.opens(ctx, request(id), key, entries...)
}

// alterations of a field's bytes.
var alterations = []struct {
	name  string
	alter func([]byte) []byte
}{
	{"another first byte", func(b []byte) []byte { return flip(b, 0) }},
	{"another middle byte", func(b []byte) []byte { return flip(b, len(b)/2) }},
	{"another last byte", func(b []byte) []byte { return flip(b, len(b)-1) }},
	{"one byte less", func(b []byte) []byte { return b[:len(b)-1] }},
	{"one byte more", func(b []byte) []byte { return append(b, 0) }},
	{"no bytes", func(b []byte) []byte { return nil }},
}

func flip(b []byte, i int) []byte {
	b[i] ^= 1 // keeps ASCII what it is
	return b
}

func (k *kit) altered(ctx context.Context, id suite.ID) error {
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	for _, a := range alterations {
		good := clone(key.Encrypted)
		if len(good.Ciphertext) > 0 {
			bad := clone(good)
			bad.Ciphertext = a.alter(bad.Ciphertext)
			if err := k.rejects(ctx, request(id), "a ciphertext with "+a.name, key.Plaintext, bad); err != nil {
				return err
			}
		}
		if len(good.ProviderInfo) > 0 {
			bad := clone(good)
			bad.ProviderInfo = a.alter(bad.ProviderInfo)
			if err := k.refuses(ctx, request(id), "a provider info with "+a.name, bad); err != nil {
				return err
			}
		}
		if len(good.ProviderID) > 0 {
			bad := clone(good)
			bad.ProviderID = string(a.alter([]byte(bad.ProviderID)))
			if err := k.refuses(ctx, request(id), "a provider ID with "+a.name, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kit) otherLength(ctx context.Context, id suite.ID) error {
	keys, err := k.masterKeys(ctx, request(id))
	if err != nil {
		return err
	}
	for _, n := range []int{id.KeySize() - 1, id.KeySize() + 1} {
		wrapped := bytes.Repeat([]byte{7}, n)
		edk, err := keys[0].EncryptDataKey(ctx, request(id), bytes.Clone(wrapped))
		if err != nil {
			continue // it refuses at once
		}
		if err := k.rejects(ctx, request(id), fmt.Sprintf("a data key of %d bytes", n), wrapped, edk); err != nil {
			return err
		}
	}
	return nil
}

func (k *kit) otherContext(ctx context.Context, id suite.ID) error {
	if k.unbound {
		return nil
	}
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	for what, change := range map[string]func(map[string]string){
		"another value":     func(ec map[string]string) { ec["purpose"] = "other" },
		"a pair less":       func(ec map[string]string) { delete(ec, "purpose") },
		"a pair more":       func(ec map[string]string) { ec["more"] = "pairs" },
		"no pair at all":    func(ec map[string]string) { clear(ec) },
		"a key in capitals": func(ec map[string]string) { ec["Purpose"] = ec["purpose"]; delete(ec, "purpose") },
	} {
		req := request(id)
		change(req.EncryptionContext)
		if err := k.refuses(ctx, req, "an encryption context with "+what, key.Encrypted); err != nil {
			return err
		}
	}
	return nil
}

func (k *kit) emptyContext(ctx context.Context, id suite.ID) error {
	none := &keyprovider.Request{Suite: id}
	empty := &keyprovider.Request{Suite: id, EncryptionContext: map[string]string{}}
	for _, reqs := range [][2]*keyprovider.Request{{none, empty}, {empty, none}} {
		key, err := k.generate(ctx, reqs[0])
		if err != nil {
			return err
		}
		if err := k.opens(ctx, reqs[1], key, key.Encrypted); err != nil {
			return err
		}
	}
	return nil
}

// freshSlices overwrites what it got and what it gave, and looks whether that
// shows later.
func (k *kit) freshSlices(ctx context.Context, id suite.ID) error {
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	want := &keyprovider.DataKey{Plaintext: bytes.Clone(key.Plaintext), Encrypted: clone(key.Encrypted)}
	clear(key.Plaintext)
	clear(key.Encrypted.ProviderInfo)
	clear(key.Encrypted.Ciphertext)
	another, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	if err := k.opens(ctx, request(id), another, another.Encrypted); err != nil {
		return fmt.Errorf("after a generated data key and its entry were cleared: %w", err)
	}
	for range 2 {
		opened, err, fault := k.try(ctx, request(id), clone(want.Encrypted))
		if err := errors.Join(err, fault); err != nil {
			return err
		}
		if err := same(opened, want); err != nil {
			return fmt.Errorf("after a data key was cleared: %w", err)
		}
		clear(opened.Plaintext)
	}
	keys, err := k.masterKeys(ctx, request(id))
	if err != nil {
		return err
	}
	for i, key := range keys {
		given := bytes.Clone(want.Plaintext)
		edk, err := key.EncryptDataKey(ctx, request(id), given)
		if err != nil {
			return fmt.Errorf("EncryptDataKey of master key %d: %w", i+1, err)
		}
		clear(given)
		if err := k.opens(ctx, request(id), &keyprovider.DataKey{Plaintext: want.Plaintext, Encrypted: edk}, edk); err != nil {
			return fmt.Errorf("after the data key given to master key %d was cleared: %w", i+1, err)
		}
	}
	return nil
}

func (k *kit) changesNothing(ctx context.Context, id suite.ID) error {
	req, pairs := request(id), request(id).EncryptionContext
	unchanged := func(who string) error {
		if req.Suite != id || !maps.Equal(req.EncryptionContext, pairs) {
			return errors.New(who + " changed the request")
		}
		return nil
	}
	keys, err := k.masterKeys(ctx, req)
	if err := errors.Join(err, unchanged("MasterKeys")); err != nil {
		return err
	}
	key, err := k.generate(ctx, req)
	if err := errors.Join(err, unchanged("GenerateDataKey")); err != nil {
		return err
	}
	plaintext := bytes.Clone(key.Plaintext)
	entries := slices.Clone(foreign)
	for _, mk := range keys {
		edk, err := mk.EncryptDataKey(ctx, req, plaintext)
		if err := errors.Join(err, unchanged("EncryptDataKey")); err != nil {
			return err
		}
		if !bytes.Equal(plaintext, key.Plaintext) {
			return errors.New("EncryptDataKey changed the data key")
		}
		entries = append(entries, edk)
	}
	before := make([]keyprovider.EncryptedDataKey, len(entries))
	for i := range entries {
		before[i] = clone(entries[i])
	}
	_, err, fault := k.try(ctx, req, entries...)
	if err := errors.Join(err, fault, unchanged("DecryptDataKey")); err != nil {
		return err
	}
	if !slices.EqualFunc(entries, before, equal) {
		return errors.New("DecryptDataKey changed the encrypted data keys")
	}
	return nil
}

func (k *kit) doneContext(ctx context.Context, id suite.ID) error {
	key, err := k.generate(ctx, request(id))
	if err != nil {
		return err
	}
	keys, err := k.masterKeys(ctx, request(id))
	if err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	opened, err, fault := k.try(done, request(id), key.Encrypted)
	if fault != nil {
		return fault
	}
	if err == nil {
		if err := same(opened, key); err != nil {
			return err
		}
	}
	if more, err := keys[0].GenerateDataKey(done, request(id)); err == nil {
		if more == nil {
			return errors.New("GenerateDataKey returned neither a data key nor an error")
		}
		if err := k.opens(ctx, request(id), more, more.Encrypted); err != nil {
			return fmt.Errorf("GenerateDataKey: %w", err)
		}
	} else if more != nil {
		return fmt.Errorf("GenerateDataKey returned a data key beside the error %w", err)
	}
	if edk, err := keys[0].EncryptDataKey(done, request(id), key.Plaintext); err == nil {
		if err := k.opens(ctx, request(id), &keyprovider.DataKey{Plaintext: key.Plaintext, Encrypted: edk}, edk); err != nil {
			return fmt.Errorf("EncryptDataKey: %w", err)
		}
	}
	return nil
}

func (k *kit) concurrently(ctx context.Context) error {
	const goroutines = 16
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			id := k.suites[i%len(k.suites)]
			errs[i] = errors.Join(k.roundTrip(ctx, id), k.everyKey(ctx, id))
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// decryptOnly looks at a Decrypter of its own: it may be able to encrypt too.
func (k *kit) decryptOnly(ctx context.Context, id suite.ID) error {
	keys, err := k.decrypter.MasterKeys(ctx, request(id))
	switch {
	case err != nil && len(keys) > 0:
		return fmt.Errorf("MasterKeys returned keys beside the error %w", err)
	case err == nil && k.provider == nil:
		return errors.New("MasterKeys of a provider that can only decrypt gave no error")
	case err != nil && !errors.Is(err, keyprovider.ErrDecryptOnly):
		return fmt.Errorf("MasterKeys returned an error that does not wrap keyprovider.ErrDecryptOnly: %w", err)
	}
	return nil
}

func (k *kit) nothingToOpen(ctx context.Context, id suite.ID) error {
	if err := k.refuses(ctx, request(id), "no entries"); err != nil {
		return err
	}
	if err := k.refuses(ctx, request(id), "an empty list", []keyprovider.EncryptedDataKey{}...); err != nil {
		return err
	}
	return k.refuses(ctx, request(id), "foreign entries", foreign...)
}
