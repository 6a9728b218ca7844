package keyprovider_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// ready is a manager that has the materials at hand: what it costs to encrypt
// and decrypt with them is the messages' own cryptography.
type ready struct {
	keyprovider.ManagerOnly
	encryption *keyprovider.EncryptionMaterials
	decryption *keyprovider.DecryptionMaterials
}

func (r *ready) EncryptionMaterials(context.Context, *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m := *r.encryption
	m.DataKey = bytes.Clone(m.DataKey)
	return &m, nil
}

func (r *ready) DecryptionMaterials(context.Context, *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m := *r.decryption
	m.DataKey = bytes.Clone(m.DataKey)
	return &m, nil
}

// kmsLike is a provider whose entries are as long as those of AWS KMS.
type kmsLike struct{ *keyprovider.RawAES }

func (k kmsLike) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{k}, nil
}

func (k kmsLike) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	key, err := k.RawAES.GenerateDataKey(ctx, req)
	key.Encrypted.Ciphertext = append(key.Encrypted.Ciphertext, make([]byte, 184-len(key.Encrypted.Ciphertext))...)
	return key, err
}

func (k kmsLike) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	keys = slices.Clone(keys)
	keys[0].Ciphertext = keys[0].Ciphertext[:48]
	return k.RawAES.DecryptDataKey(ctx, req, keys)
}

// BenchmarkCacheHit is what a hit costs: alone, and as the difference between
// messages of 1 KiB that are made and read through a cache and such for which
// the materials are at hand. The aim is at most 2 µs:
//
//	go test -run '^$' -bench CacheHit -cpu 1 ./keyprovider
func BenchmarkCacheHit(b *testing.B) {
	name := "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234"
	aes, err := keyprovider.NewRawAES("aws-kms"[1:], name, aesKey(32))
	require.NoError(b, err)
	p := kmsLike{aes}
	plaintext := make([]byte, 1024)
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, suite.AES256GCMHKDFSHA512CommitKey} {
		for _, pairs := range []int{0, 2, 8} {
			ec := map[string]string{}
			for i := range pairs {
				ec[fmt.Sprint("key of pair ", i)] = "a value of some length"
			}
			c := newCache(b, p, keyprovider.CacheOptions{})
			opts := &esdk.EncryptOptions{Suite: id, EncryptionContext: ec}
			message, h, err := esdk.Encrypt(bg, plaintext, c, opts)
			require.NoError(b, err)
			_, _, err = esdk.Decrypt(bg, message, c, nil)
			require.NoError(b, err)
			encryption := &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec, MaxPlaintextLength: 1024}
			decryption := &keyprovider.DecryptionRequest{Suite: id, EncryptionContext: maps.Clone(h.EncryptionContext), EncryptedDataKeys: h.EncryptedDataKeys}
			r := &ready{}
			r.encryption, err = c.EncryptionMaterials(bg, encryption)
			require.NoError(b, err)
			r.decryption, err = c.DecryptionMaterials(bg, decryption)
			require.NoError(b, err)
			run := func(name string, f func() error) {
				b.Run(fmt.Sprintf("%04x/%d pairs/%s", uint16(id), pairs, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			run("encrypt/hit alone", func() error { _, err := c.EncryptionMaterials(bg, encryption); return err })
			run("encrypt/message, materials at hand", func() error { _, _, err := esdk.Encrypt(bg, plaintext, r, opts); return err })
			run("encrypt/message, hit", func() error { _, _, err := esdk.Encrypt(bg, plaintext, c, opts); return err })
			run("decrypt/hit alone", func() error { _, err := c.DecryptionMaterials(bg, decryption); return err })
			run("decrypt/message, materials at hand", func() error { _, _, err := esdk.Decrypt(bg, message, r, nil); return err })
			run("decrypt/message, hit", func() error { _, _, err := esdk.Decrypt(bg, message, c, nil); return err })
			require.Equal(b, int64(2), c.Stats().Misses)
		}
	}
}

// BenchmarkCacheHits is hits by several goroutines at once, each on entries of its
// choice. The time is that of one hit. With more cores it should fall:
//
//	go test -run '^$' -bench CacheHits -cpu 1,2 ./keyprovider
func BenchmarkCacheHits(b *testing.B) {
	for _, entries := range []int{1, 1000, 100_000} {
		c := newCache(b, newAES(b, "key", 32), keyprovider.CacheOptions{MaxAge: 100 * time.Hour, MaxEntries: entries})
		requests := make([]*keyprovider.EncryptionRequest, entries)
		for i := range requests {
			requests[i] = &keyprovider.EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptionContext: context1(fmt.Sprint(i))}
			_, err := c.EncryptionMaterials(bg, requests[i])
			require.NoError(b, err)
		}
		for _, goroutines := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("entries=%d/goroutines=%d", entries, goroutines), func(b *testing.B) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				for g := range goroutines {
					wg.Go(func() {
						for i := g; i < b.N; i += goroutines {
							if _, err := c.EncryptionMaterials(bg, requests[i*7919%entries]); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		}
		require.EqualValues(b, entries, c.Stats().Misses)
	}
}
