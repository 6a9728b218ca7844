package kms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/setup"
)

// service is AWS KMS as one provider uses it: a client for each Region, and
// what every call carries.
type service struct {
	region      string // of keys that name none; may be empty
	grantTokens []string
	timeout     setup.Timeout
	near        []string
	hedgeAfter  time.Duration
	userAgent   func(*awskms.Options)
	clientFor   func(ctx context.Context, region string) (API, error)
	keep        map[string]bool // Regions that keep their clients from the first call on

	mu      sync.Mutex
	clients map[string]*client // by Region

	outages outages
}

// client is one Region's client. Calls at the same time share it from the
// first on. In Regions other than those of the program's own keys it stays in
// the map only once a call has succeeded: messages name these, and hostile ones
// would fill the map.
type client struct {
	begun time.Time     // when a call began to make it
	ready chan struct{} // closed when the fields below it are set
	api   API
	err   error
	gone  bool // err is because the context of the call that made it was done

	users int // calls that use it now
	kept  bool
}

// acquire returns the Region's client and counts the caller as its user until
// release.
func (s *service) acquire(ctx context.Context, region string) (*client, error) {
	for {
		s.mu.Lock()
		c := s.clients[region]
		mine := c == nil || c.overdue(s.timeout)
		if mine {
			c = &client{ready: make(chan struct{}), begun: time.Now(), kept: s.keep[region]}
			s.clients[region] = c
		}
		c.users++
		s.mu.Unlock()
		if mine {
			s.open(ctx, region, c)
		} else {
			select {
			case <-c.ready:
			case <-ctx.Done():
				s.release(region, c, false)
				return nil, fmt.Errorf("waited for the client for Region %s, which another call was making: %w", region, ctx.Err())
			}
		}
		if c.err == nil {
			return c, nil
		}
		s.release(region, c, false)
		if mine || !c.gone || ctx.Err() != nil {
			return nil, c.err
		}
	}
}

// overdue reports whether the call that makes the client has taken so long that
// nobody should wait for it any more: ClientFor takes no notice of its ctx.
func (c *client) overdue(timeout setup.Timeout) bool {
	select {
	case <-c.ready:
		return false
	default:
		return timeout > 0 && time.Since(c.begun) >= time.Duration(timeout)
	}
}

// open makes the client of the entry c.
func (s *service) open(ctx context.Context, region string, c *client) {
	c.err = errors.New("Options.ClientFor did not return") // stays if it panics
	defer func() {
		if c.err != nil {
			s.mu.Lock()
			if s.clients[region] == c {
				delete(s.clients, region) // so that the next call makes another
			}
			s.mu.Unlock()
		}
		close(c.ready)
	}()
	c.api, c.err = s.clientFor(ctx, region)
	switch {
	case c.err != nil:
		c.gone = ctx.Err() != nil
		c.err = fmt.Errorf("client for Region %s: %w", region, c.err)
	case provider.IsNil(c.api):
		c.err = fmt.Errorf("Options.ClientFor returned no client for Region %s", region)
	}
}

// release ends a use of c.
func (s *service) release(region string, c *client, succeeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.users--
	c.kept = c.kept || succeeded
	if c.users == 0 && !c.kept && s.clients[region] == c {
		delete(s.clients, region)
	}
}

// call makes the call f with the Region's client, within the timeout: see
// setup.Call.
func call[Output any](ctx context.Context, s *service, region string, f func(context.Context, API) (*Output, error)) (*Output, error) {
	return setup.Call(ctx, s.timeout, func(ctx context.Context) (*Output, error) {
		c, err := s.acquire(ctx, region)
		if err != nil {
			return nil, err
		}
		succeeded := false
		defer func() { s.release(region, c, succeeded) }() // also if the client panics
		out, err := f(ctx, c.api)
		succeeded = err == nil && out != nil
		return out, err
	})
}

// generate returns a new data key under the key that id names.
func (s *service) generate(ctx context.Context, id keyID, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	if !req.Suite.Valid() {
		return nil, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	}
	out, err := call(ctx, s, id.region, func(ctx context.Context, api API) (*awskms.GenerateDataKeyOutput, error) {
		return api.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{
			KeyId:             aws.String(id.text),
			NumberOfBytes:     aws.Int32(int32(req.Suite.KeySize())),
			EncryptionContext: req.EncryptionContext,
			GrantTokens:       s.grantTokens,
		}, s.userAgent)
	})
	if err != nil {
		return nil, &KeyError{"GenerateDataKey", id.text, err}
	}
	edk, err := id.encryptedBy(out.KeyId, out.CiphertextBlob)
	if err == nil {
		err = checkDataKey(out.Plaintext, req)
	}
	if err != nil {
		clear(out.Plaintext)
		return nil, &KeyError{"GenerateDataKey", id.text, err}
	}
	return &keyprovider.DataKey{Plaintext: out.Plaintext, Encrypted: edk}, nil
}

// encrypt returns plaintext encrypted under the key that id names.
func (s *service) encrypt(ctx context.Context, id keyID, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	out, err := call(ctx, s, id.region, func(ctx context.Context, api API) (*awskms.EncryptOutput, error) {
		return api.Encrypt(ctx, &awskms.EncryptInput{
			KeyId:             aws.String(id.text),
			Plaintext:         plaintext,
			EncryptionContext: req.EncryptionContext,
			GrantTokens:       s.grantTokens,
		}, s.userAgent)
	})
	var edk keyprovider.EncryptedDataKey
	if err == nil {
		edk, err = id.encryptedBy(out.KeyId, out.CiphertextBlob)
	}
	if err != nil {
		return keyprovider.EncryptedDataKey{}, &KeyError{"Encrypt", id.text, err}
	}
	return edk, nil
}

// decrypt returns the data key in edk, decrypted by the given key.
func (s *service) decrypt(ctx context.Context, key arn.ARN, req *keyprovider.Request, edk *keyprovider.EncryptedDataKey) ([]byte, error) {
	id := key.String()
	out, err := call(ctx, s, key.Region, func(ctx context.Context, api API) (*awskms.DecryptOutput, error) {
		return api.Decrypt(ctx, &awskms.DecryptInput{
			KeyId:             aws.String(id),
			CiphertextBlob:    edk.Ciphertext,
			EncryptionContext: req.EncryptionContext,
			GrantTokens:       s.grantTokens,
		}, s.userAgent)
	})
	var invalid *types.InvalidCiphertextException // its message is empty
	if errors.As(err, &invalid) {
		err = &contextError{"the ciphertext was altered, or encrypted with another encryption context", req.EncryptionContext, err}
	}
	if err != nil {
		return nil, &KeyError{"Decrypt", id, err}
	}
	if by := aws.ToString(out.KeyId); by != id {
		err = fmt.Errorf("the response is of another key, %.200q", by)
	} else {
		err = checkDataKey(out.Plaintext, req)
	}
	if err != nil {
		clear(out.Plaintext)
		return nil, &KeyError{"Decrypt", id, err}
	}
	return out.Plaintext, nil
}

// decryptFirst decrypts one of keys that can be, for the provider called name: see
// race. choose returns the key to ask for one that a stored key encrypted, or why
// there is none.
func (s *service) decryptFirst(ctx context.Context, name string, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey, choose func(stored arn.ARN) (arn.ARN, error)) (*keyprovider.DataKey, error) {
	if s == nil {
		return nil, errors.New("the provider was not made by New or NewDiscovery")
	}
	var entries []*entry
	var failed provider.Causes
	for i := range keys {
		edk := &keys[i]
		if err := ctx.Err(); err != nil {
			return nil, provider.Cause(i, edk, 0, err)
		}
		if edk.ProviderID != providerID {
			failed.Add(i, edk, 0, nil)
			continue
		}
		key, err := arn.ParseKey(string(edk.ProviderInfo))
		if err == nil {
			key, err = choose(key)
		}
		if err != nil {
			failed.Add(i, edk, 0, provider.Skip(err))
			continue
		}
		entries = append(entries, &entry{index: i, key: key})
	}
	byNearness(entries, s.near)
	r := &race{caller: ctx, keys: keys, left: entries, after: s.hedgeAfter, outages: &s.outages, ask: func(ctx context.Context, e *entry) ([]byte, error) {
		return s.decrypt(ctx, e.key, req, &keys[e.index])
	}}
	winner, plaintext := r.run()
	if winner != nil {
		return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: keys[winner.index]}, nil
	}
	if err := r.ended(); err != nil {
		return nil, err
	}
	for _, e := range r.asked {
		failed.Add(e.index, &keys[e.index], e.spent, e.err)
	}
	return nil, (*keyprovider.DecryptError)(failed.Failure(name))
}

// checkDataKey checks a data key that KMS returned.
func checkDataKey(plaintext []byte, req *keyprovider.Request) error {
	if want := req.Suite.KeySize(); len(plaintext) != want || want == 0 {
		return fmt.Errorf("the response has a data key of %d bytes; %v needs %d", len(plaintext), req.Suite, want)
	}
	if provider.IsZero(plaintext) {
		return fmt.Errorf("the response has %w", provider.ErrZeroKey)
	}
	return nil
}
