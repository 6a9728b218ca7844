package kmstest

import (
	"net/http"
	"slices"
	"time"
)

// Throttle makes the next n calls fail with ThrottlingException, which clients retry. Zero
// ends it.
func (s *Server) Throttle(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttled = n
}

// SetLatency delays each answer by d.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// DenyAccess makes calls of the given operations, such as Decrypt, for the key with this
// ARN fail with AccessDeniedException. Without operations, all calls for the key fail. What
// was denied before stays denied.
func (s *Server) DenyAccess(keyARN string, ops ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ops) == 0 {
		ops = []string{allOps}
	}
	s.denied[keyARN] = append(s.denied[keyARN], ops...)
}

// AllowAccess undoes all DenyAccess calls for the key.
func (s *Server) AllowAccess(keyARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.denied, keyARN)
}

const allOps = "*"

// checkAccess fails if the operation is denied for the key.
func (s *Server) checkAccess(op string, k *key) error {
	if denied := s.denied[k.arn()]; slices.Contains(denied, op) || slices.Contains(denied, allOps) {
		return exception("AccessDeniedException", "kmstest is not authorized to perform: kms:%s on resource: %s", op, k.arn())
	}
	return nil
}

// A Reply is a response that the server sends instead of its own.
type Reply struct {
	// Error is the code of an exception, such as "KMSInternalException". If it is
	// set, the fields of a result are not used.
	Error   string
	Message string // of the exception
	Status  int    // HTTP status; zero: 400 with an Error, else 200

	KeyID          string
	Plaintext      []byte
	CiphertextBlob []byte

	EncryptionAlgorithm   string // of Encrypt and Decrypt
	PublicKey             []byte // of GetPublicKey: DER, SubjectPublicKeyInfo
	KeySpec, KeyUsage     string // of GetPublicKey
	SharedSecret          []byte // of DeriveSharedSecret
	KeyAgreementAlgorithm string // of DeriveSharedSecret
}

// Intercept makes the server call f before it answers a call. If f returns a Reply, the
// server sends that, however malformed; if f returns nil, the server answers itself. f may
// block, and is called concurrently. A nil f ends it.
func (s *Server) Intercept(f func(Call) *Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// answer is what the reply says.
func (r *Reply) answer() (*response, error) {
	if r.Error != "" {
		return nil, &apiError{r.Error, r.Message, r.Status}
	}
	return &response{
		KeyId: r.KeyID, Plaintext: r.Plaintext, CiphertextBlob: r.CiphertextBlob, EncryptionAlgorithm: r.EncryptionAlgorithm,
		PublicKey: r.PublicKey, KeySpec: r.KeySpec, KeyUsage: r.KeyUsage,
		SharedSecret: r.SharedSecret, KeyAgreementAlgorithm: r.KeyAgreementAlgorithm, status: r.Status,
	}, nil
}

// disturb does what tests switched on, and returns the answer if that is one.
func (s *Server) disturb(r *http.Request, call Call) (*response, error) {
	s.mu.Lock()
	latency, intercept := s.latency, s.intercept
	throttled := s.throttled > 0
	if throttled {
		s.throttled--
	}
	s.mu.Unlock()
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-s.closed:
		}
	}
	if throttled {
		return nil, exception("ThrottlingException", "too many calls")
	}
	if intercept != nil {
		if reply := intercept(call); reply != nil {
			return reply.answer()
		}
	}
	return nil, nil
}
