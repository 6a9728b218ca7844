// Package kmstest has an in-process AWS KMS endpoint, for tests and examples without an
// AWS account or a network.
//
//	server := kmstest.NewServer()
//	defer server.Close()
//	key := server.CreateKey("eu-west-1")
//	provider, err := kms.New(ctx, []string{key}, &kms.Options{Config: server.Config()})
//
// The client of the AWS SDK calls it over HTTP, so signing, retries and the decoding of
// errors are the same as in production. Keys are real: symmetric AES keys
// ([Server.CreateKey]), whose ciphertexts no other key or encryption context decrypts, RSA
// keys ([Server.CreateRSAKey]), and elliptic curve keys for key agreement
// ([Server.CreateECCKey]). One server serves all Regions: the signature of a request names
// its Region.
//
// There are also aliases ([Server.CreateAlias]), replicas ([Server.CreateMultiRegionKey])
// and faults: disabled keys ([Server.DisableKey]), denied calls ([Server.DenyAccess]),
// throttling ([Server.Throttle]), latency ([Server.SetLatency]) and any response of your
// own ([Server.Intercept]). A Region can fail in four ways, until [Server.Restore]: it
// does not answer ([Server.CutOff]), closes connections ([Server.Refuse]), answers with
// errors ([Server.Fail]) or is slow ([Server.Slow]). [Server.Calls] returns the calls made.
//
// A [BranchKeyStore] keeps branch keys in memory, for hierarchical providers.
//
// The server answers GenerateDataKey, GenerateDataKeyWithoutPlaintext, Encrypt,
// Decrypt, ReEncrypt, GetPublicKey, DeriveSharedSecret and DescribeKey. It does not verify
// signatures, so any credentials work. It has no key policies, grants, quotas or signing
// keys.
package kmstest

import (
	"context"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// Account is the account that owns the keys, except those of [Server.CreateKeyIn].
const Account = "111122223333"

// A Server is a KMS endpoint for all Regions. Its methods are safe for
// concurrent use.
type Server struct {
	http *httptest.Server
	end  context.CancelFunc // ends the contexts of all requests

	mu        sync.Mutex
	keys      map[string]*key   // by ARN
	aliases   map[string]string // key ARN by alias ARN
	denied    map[string][]string
	throttled int
	latency   time.Duration
	faults    map[string]fault // by Region
	intercept func(context.Context, Call) *Reply
	calls     []Call
}

// NewServer starts a server on a free port of the loopback interface. It panics if it
// cannot. Call Close when done.
func NewServer() *Server {
	ctx, end := context.WithCancel(context.Background())
	s := &Server{
		end:     end,
		keys:    make(map[string]*key),
		aliases: make(map[string]string),
		denied:  make(map[string][]string),
		faults:  make(map[string]fault),
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.http.Start()
	return s
}

// Close stops the server. Requests that still wait, because of SetLatency, Slow,
// CutOff or Intercept, end without an answer. A second Close does nothing.
func (s *Server) Close() {
	s.end()
	s.http.Close()
}

// URL returns the URL of the endpoint, for programs that read it from the environment
// variable AWS_ENDPOINT_URL_KMS.
func (s *Server) URL() string { return s.http.URL }

// Config returns a new configuration for AWS clients that call the server. It has made-up
// credentials, the Region us-east-1, and the SDK's standard retries with a backoff of at
// most one millisecond.
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

// A Call is a request that the server received. Each retry of a client is a Call of its
// own.
type Call struct {
	Op                string // such as GenerateDataKey
	Region            string
	KeyID             string // as in the request; of ReEncrypt: the destination
	EncryptionContext map[string]string
	GrantTokens       []string
	NumberOfBytes     int    // of GenerateDataKey
	CiphertextBlob    []byte // of Decrypt and ReEncrypt
	UserAgent         string

	SourceKeyID             string // of ReEncrypt, as in the request
	SourceEncryptionContext map[string]string

	EncryptionAlgorithm   string // as in the request; of ReEncrypt: the destination's
	KeyAgreementAlgorithm string // of DeriveSharedSecret
	PublicKey             []byte // of DeriveSharedSecret: DER, SubjectPublicKeyInfo

	// Error is the exception that the server returned; empty: none. For a call that gets no
	// answer it is "CutOff" or "Refused".
	Error string
}

// Calls returns the calls answered so far, in the order of their answers. Those that get
// no answer because of CutOff or Refuse are added when they arrive.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ResetCalls forgets the calls answered so far.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}
