package kmstest

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
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

// A fault is what happens to the calls for a Region. The zero value is none.
type fault struct {
	lost  string               // "CutOff" or "Refused": they get no answer; see Call.Error
	reply *Reply               // what they are answered
	slow  func() time.Duration // what delays their answers; nil: nothing
}

// setFault changes the Region's fault.
func (s *Server) setFault(region string, change func(*fault)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[region]
	change(&f)
	s.faults[region] = f
}

// CutOff makes the Region accept calls and never answer them, as if the network lost what
// it sends. Calls wait until their clients give up, or until Close.
func (s *Server) CutOff(region string) {
	s.setFault(region, func(f *fault) { f.lost = "CutOff" })
}

// Refuse makes the Region close the connection of each call at once, without an answer, as
// if nothing listened there. Clients retry such calls.
func (s *Server) Refuse(region string) {
	s.setFault(region, func(f *fault) { f.lost = "Refused" })
}

// Fail makes the Region answer each call with the reply, such as
//
//	Reply{Error: "KMSInternalException", Status: 500}
//	Reply{Error: "ThrottlingException"}
//
// both of which clients retry.
func (s *Server) Fail(region string, reply Reply) {
	s.setFault(region, func(f *fault) { f.reply = &reply })
}

// Slow delays each answer of the Region by what latency returns, in addition to
// SetLatency. It is called for each call, concurrently, so that it can follow a
// distribution:
//
//	server.Slow("eu-west-1", func() time.Duration {
//		return time.Duration(rand.ExpFloat64() * float64(20*time.Millisecond))
//	})
func (s *Server) Slow(region string, latency func() time.Duration) {
	s.setFault(region, func(f *fault) { f.slow = latency })
}

// Restore undoes CutOff, Refuse, Fail and Slow for the calls that arrive from then on.
func (s *Server) Restore(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, region)
}

// Intercept makes the server call f before it answers a call. If f returns a Reply, the
// server sends that, however malformed; if f returns nil, the server answers itself. f may
// block, and is called concurrently. Its ctx ends when the client gives up and when the
// server is closed; then the call gets no answer, and nothing waits for f. If f panics or
// calls runtime.Goexit, the client loses its connection. A nil f ends it.
func (s *Server) Intercept(f func(ctx context.Context, call Call) *Reply) {
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

// disturb does what tests switched on, and returns the answer if that is one. It
// panics with http.ErrAbortHandler, which ends the request without an answer, if
// there is nobody to answer any more.
func (s *Server) disturb(ctx context.Context, call Call) (*response, error) {
	s.mu.Lock()
	latency, intercept, fault := s.latency, s.intercept, s.faults[call.Region]
	throttled := s.throttled > 0 && fault.lost == ""
	if throttled {
		s.throttled--
	}
	if fault.lost != "" {
		call.Error = fault.lost
		s.calls = append(s.calls, call)
	}
	s.mu.Unlock()
	switch fault.lost {
	case "CutOff":
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	case "Refused":
		panic(http.ErrAbortHandler)
	}
	if fault.slow != nil {
		latency += fault.slow()
	}
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case throttled:
		return nil, exception("ThrottlingException", "too many calls")
	case fault.reply != nil:
		return fault.reply.answer()
	case intercept != nil:
		if reply := ask(ctx, intercept, call); reply != nil {
			return reply.answer()
		}
	}
	return nil, nil
}

// ask returns what f says to the call. It does not wait for an f that takes no
// notice of ctx.
func ask(ctx context.Context, f func(context.Context, Call) *Reply, call Call) *Reply {
	type outcome struct {
		reply    *Reply
		panicked any // not nil: f panicked or called Goexit
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{panicked: http.ErrAbortHandler} // stays after Goexit
		defer func() {
			if p := recover(); p != nil {
				o.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
			}
			done <- o
		}()
		o.reply, o.panicked = f(ctx, call), nil
	}()
	select {
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked) // net/http logs it and closes the connection
		}
		return o.reply
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}
