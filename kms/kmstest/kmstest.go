// Package kmstest has an AWS KMS endpoint in the process, for tests and
// examples that need no AWS account and no network.
//
//	server := kmstest.NewServer()
//	defer server.Close()
//	key := server.CreateKey("eu-west-1")
//	provider, err := kms.New(ctx, []string{key}, &kms.Options{Config: server.Config()})
//
// The real client of the AWS SDK talks to it over HTTP, so that signing,
// retries and the decoding of errors are those of production. Symmetric keys
// are real AES keys: what one key and encryption context encrypted, no other
// decrypts. There are RSA keys that decrypt ([Server.CreateRSAKey]) and keys of
// elliptic curves that agree on secrets ([Server.CreateECCKey]), as real. One
// server is all Regions; the signature of a request tells which one it is for.
//
// Beyond well-behaved keys there are aliases ([Server.CreateAlias]), replicas
// ([Server.CreateMultiRegionKey]), disabled and forbidden keys
// ([Server.DisableKey], [Server.DenyAccess]), throttling ([Server.Throttle]),
// slowness ([Server.SetLatency]) and any other response
// ([Server.Intercept]). [Server.Calls] tells what was called.
//
// A [BranchKeyStore] in memory is for providers of hierarchical keys.
//
// The server answers GenerateDataKey, GenerateDataKeyWithoutPlaintext, Encrypt,
// Decrypt, ReEncrypt, GetPublicKey, DeriveSharedSecret and DescribeKey. It does
// not verify signatures: any credentials do. There are no key policies, no
// grants and no quotas, and no keys that sign.
package kmstest

import (
	"context"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// Account is the account of keys that are created without one.
const Account = "111122223333"

// A Server is a KMS endpoint for all Regions. Its methods are safe for
// concurrent use.
type Server struct {
	http   *httptest.Server
	closed chan struct{}

	mu        sync.Mutex
	keys      map[string]*key   // by ARN
	aliases   map[string]string // key ARN by alias ARN
	denied    map[string][]string
	throttled int
	latency   time.Duration
	intercept func(Call) *Reply
	calls     []Call
}

// NewServer starts a server on a free port of the loopback interface. It panics
// if there is none.
func NewServer() *Server {
	s := &Server{
		closed:  make(chan struct{}),
		keys:    make(map[string]*key),
		aliases: make(map[string]string),
		denied:  make(map[string][]string),
	}
	s.http = httptest.NewServer(s)
	return s
}

// Close stops the server and waits for requests to end. Closing it again does
// nothing.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.http.Close()
}

// URL returns the address of the endpoint, for programs that take it from
// AWS_ENDPOINT_URL_KMS.
func (s *Server) URL() string { return s.http.URL }

// Config returns a new configuration of AWS clients that call the server: with
// made-up credentials, us-east-1 as the Region for keys that name none, and the
// SDK's standard retries, which wait at most a millisecond here.
func (s *Server) Config() *aws.Config {
	return &aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(s.http.URL),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "kmstest", SecretAccessKey: "kmstest", Source: "kmstest"}, nil
		}),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
		},
	}
}

// A Call is a request that the server got. Repeated attempts of a client are
// calls of their own.
type Call struct {
	Op                string // such as GenerateDataKey
	Region            string
	KeyID             string // as the request has it; ReEncrypt: the destination
	EncryptionContext map[string]string
	GrantTokens       []string
	NumberOfBytes     int    // of GenerateDataKey
	CiphertextBlob    []byte // of Decrypt and ReEncrypt
	UserAgent         string

	SourceKeyID             string // of ReEncrypt, as the request has it
	SourceEncryptionContext map[string]string

	EncryptionAlgorithm   string // as the request has it; ReEncrypt: the destination's
	KeyAgreementAlgorithm string // of DeriveSharedSecret
	PublicKey             []byte // of DeriveSharedSecret: DER, SubjectPublicKeyInfo

	Error string // the exception that was the answer; empty: a result
}

// Calls returns the calls that were answered so far, in the order of their
// answers.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ResetCalls forgets the calls made so far.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}
