package kmstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const (
	contentType   = "application/x-amz-json-1.1"
	targetPrefix  = "TrentService."
	maxBody       = 1 << 20
	maxPlaintext  = 4096
	maxBlob       = 6144
	maxRandomSize = 1024
)

// request has the parameters of all operations.
type request struct {
	KeyId                        string
	Plaintext                    []byte
	CiphertextBlob               []byte
	EncryptionContext            map[string]string
	SourceKeyId                  string
	SourceEncryptionContext      map[string]string
	DestinationKeyId             string
	DestinationEncryptionContext map[string]string
	GrantTokens                  []string
	NumberOfBytes                int
	KeySpec                      string

	EncryptionAlgorithm            string
	SourceEncryptionAlgorithm      string
	DestinationEncryptionAlgorithm string
	KeyAgreementAlgorithm          string
	PublicKey                      []byte
}

// response has the results of all operations.
type response struct {
	KeyId               string       `json:",omitempty"`
	SourceKeyId         string       `json:",omitempty"`
	Plaintext           []byte       `json:",omitempty"`
	CiphertextBlob      []byte       `json:",omitempty"`
	EncryptionAlgorithm string       `json:",omitempty"`
	KeyMetadata         *keyMetadata `json:",omitempty"`

	SourceEncryptionAlgorithm      string   `json:",omitempty"`
	DestinationEncryptionAlgorithm string   `json:",omitempty"`
	PublicKey                      []byte   `json:",omitempty"`
	KeySpec                        string   `json:",omitempty"`
	KeyUsage                       string   `json:",omitempty"`
	EncryptionAlgorithms           []string `json:",omitempty"`
	KeyAgreementAlgorithms         []string `json:",omitempty"`
	KeyAgreementAlgorithm          string   `json:",omitempty"`
	SharedSecret                   []byte   `json:",omitempty"`

	status int
}

type keyMetadata struct {
	AWSAccountId, Arn, KeyId, KeySpec, KeyState, KeyUsage string
	Enabled, MultiRegion                                  bool
	EncryptionAlgorithms, KeyAgreementAlgorithms          []string `json:",omitempty"`
}

// apiError is an exception of the KMS API.
type apiError struct {
	code, message string
	status        int // zero: 400
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func exception(code, format string, args ...any) error {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers a request of the AWS JSON 1.1 protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call, req, err := parse(r)
	var answer *response
	if err == nil {
		answer, err = s.disturb(r.Context(), call)
		if r.Context().Err() != nil { // also if the answer and the end came together
			panic(http.ErrAbortHandler)
		}
	}
	if answer == nil && err == nil {
		answer, err = s.perform(call, req)
	}
	status := http.StatusOK
	var body any = answer
	if err != nil {
		var failure *apiError
		if !errors.As(err, &failure) {
			failure = &apiError{"KMSInternalException", err.Error(), http.StatusInternalServerError}
		}
		call.Error = failure.code
		status = http.StatusBadRequest
		if failure.status != 0 {
			status = failure.status
		}
		body = map[string]string{"__type": failure.code, "message": failure.message}
	} else if answer.status != 0 {
		status = answer.status
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Requestid", requestID())
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // nobody to tell if the client is gone
}

// parse reads a request.
func parse(r *http.Request) (Call, *request, error) {
	call := Call{UserAgent: r.UserAgent()}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return call, nil, exception("SerializationException", "%v", err)
	}
	op, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if !ok || r.Method != http.MethodPost || r.URL.Path != "/" {
		return call, nil, exception("UnknownOperationException", "")
	}
	call.Op = op
	if call.Region, err = signedRegion(r.Header.Get("Authorization")); err != nil {
		return call, nil, err
	}
	if got := r.Header.Get("Content-Type"); got != contentType {
		return call, nil, exception("SerializationException", "Content-Type %q", got)
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		return call, nil, exception("SerializationException", "%v", err)
	}
	call.KeyID, call.EncryptionContext = req.KeyId, maps.Clone(req.EncryptionContext)
	if op == "ReEncrypt" {
		call.KeyID, call.EncryptionContext = req.DestinationKeyId, maps.Clone(req.DestinationEncryptionContext)
		call.SourceKeyID, call.SourceEncryptionContext = req.SourceKeyId, maps.Clone(req.SourceEncryptionContext)
	}
	call.GrantTokens = slices.Clone(req.GrantTokens)
	call.NumberOfBytes = req.NumberOfBytes
	call.CiphertextBlob = slices.Clone(req.CiphertextBlob)
	call.EncryptionAlgorithm, call.KeyAgreementAlgorithm = req.EncryptionAlgorithm, req.KeyAgreementAlgorithm
	if op == "ReEncrypt" {
		call.EncryptionAlgorithm = req.DestinationEncryptionAlgorithm
	}
	call.PublicKey = slices.Clone(req.PublicKey)
	return call, &req, nil
}

// signedRegion returns the Region in the credential scope of a signature of
// version 4: KEY/DATE/REGION/SERVICE/aws4_request.
func signedRegion(authorization string) (string, error) {
	rest, ok := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", exception("MissingAuthenticationTokenException", "the request is not signed with signature version 4")
	}
	for field := range strings.SplitSeq(rest, ",") {
		if scope, ok := strings.CutPrefix(strings.TrimSpace(field), "Credential="); ok {
			if parts := strings.Split(scope, "/"); len(parts) == 5 && parts[3] == "kms" && parts[4] == "aws4_request" {
				return parts[2], nil
			}
		}
	}
	return "", exception("IncompleteSignatureException", "the signature has no credential scope of KMS")
}
