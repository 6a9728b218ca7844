package keywrap

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
)

// The provider IDs of encrypted data keys that a key agreement protects. Their
// layout is one, so that a provider of either kind reads both.
const (
	RawECDHProviderID = "raw-ecdh"
	KMSECDHProviderID = "aws-kms-ecdh"
)

// IsECDH reports whether an encrypted data key of this provider ID holds what
// [ParseAgreement] and [Agreement.Unwrap] read.
func IsECDH(providerID string) bool {
	return providerID == RawECDHProviderID || providerID == KMSECDHProviderID
}

// ErrOtherCurve says that an encrypted data key is for a recipient whose key is
// on another of the curves that [CheckPublicKey] allows: somebody else.
var ErrOtherCurve = errors.New("a key on another curve")

// agreementVersion is the first byte of the provider info, and a part of what
// wrapping keys are derived from.
const agreementVersion = 1

// An Agreement is the public side of an ECDH key agreement: the curve and the
// public keys of the two parties. It follows framework/raw-ecdh-keyring.md and
// framework/key-agreement-schemas.md of the specification.
type Agreement struct {
	Curve     ecdh.Curve
	Sender    []byte // a compressed point
	Recipient []byte // a compressed point
}

// NewAgreement returns that of two public keys, which must be on the same of
// the curves that [CheckPublicKey] allows.
func NewAgreement(sender, recipient *ecdh.PublicKey) (Agreement, error) {
	if err := CheckPublicKey(sender); err != nil {
		return Agreement{}, fmt.Errorf("sender's public key: %w", err)
	}
	if err := CheckPublicKey(recipient); err != nil {
		return Agreement{}, fmt.Errorf("recipient's public key: %w", err)
	}
	if sender.Curve() != recipient.Curve() {
		return Agreement{}, fmt.Errorf("the sender's key is on %v, the recipient's on %v", sender.Curve(), recipient.Curve())
	}
	return Agreement{sender.Curve(), Compress(sender), Compress(recipient)}, nil
}

// ParseAgreement reads the provider info of an encrypted data key:
//
//	version(1) + u32 n + recipient's point(n) + u32 n + sender's point(n)
//
// The points must have the length of compressed ones of the curve, whatever
// else they are: see [Decompress]. If the recipient's has that of another curve
// the error is [ErrOtherCurve]. The result shares info's memory.
func ParseAgreement(curve ecdh.Curve, info []byte) (Agreement, error) {
	c, ok := curveOf(curve)
	if !ok {
		return Agreement{}, errCurve(curve)
	}
	if len(info) == 0 {
		return Agreement{}, errors.New("no provider info")
	}
	if info[0] != agreementVersion {
		return Agreement{}, fmt.Errorf("provider info of version %d, need %d", info[0], agreementVersion)
	}
	recipient, rest, err := c.cutPoint(info[1:])
	if err != nil {
		if otherCurve(curve, info[1:]) {
			err = fmt.Errorf("%w: %w", err, ErrOtherCurve)
		}
		return Agreement{}, fmt.Errorf("recipient's public key: %w", err)
	}
	sender, rest, err := c.cutPoint(rest)
	if err != nil {
		return Agreement{}, fmt.Errorf("sender's public key: %w", err)
	}
	if len(rest) > 0 {
		return Agreement{}, fmt.Errorf("%d bytes behind the provider info", len(rest))
	}
	return Agreement{curve, sender, recipient}, nil
}

// ProviderInfo returns what ParseAgreement reads.
func (a Agreement) ProviderInfo() []byte {
	b := make([]byte, 0, 1+4+len(a.Recipient)+4+len(a.Sender))
	b = append(b, agreementVersion)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(a.Recipient))), a.Recipient...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(a.Sender))), a.Sender...)
}

// Between reports whether the parties are those of the two compressed points,
// whichever of them was the sender: both derive the same secret.
func (a Agreement) Between(x, y []byte) bool {
	return bytes.Equal(a.Sender, x) && bytes.Equal(a.Recipient, y) ||
		bytes.Equal(a.Sender, y) && bytes.Equal(a.Recipient, x)
}

// CheckPublicKey reports whether pub can take part: it is on P-256, P-384 or
// P-521. That it is a point of that curve, and not the one at infinity, is
// certain of every key that crypto/ecdh makes.
func CheckPublicKey(pub *ecdh.PublicKey) error {
	if pub == nil {
		return errors.New("nil key")
	}
	if _, ok := curveOf(pub.Curve()); !ok {
		return errCurve(pub.Curve())
	}
	return nil
}

// CheckPrivateKey is CheckPublicKey of a private key.
func CheckPrivateKey(priv *ecdh.PrivateKey) error {
	if priv == nil {
		return errors.New("nil key")
	}
	if _, ok := curveOf(priv.Curve()); !ok {
		return errCurve(priv.Curve())
	}
	return nil
}

func errCurve(c ecdh.Curve) error {
	if c == nil {
		return errors.New("a key without a curve")
	}
	return fmt.Errorf("%v is not supported; the curves are P-256, P-384 and P-521", c)
}

// Compress returns pub, which must have passed CheckPublicKey, as a compressed
// point of SEC 1, section 2.3.3.
func Compress(pub *ecdh.PublicKey) []byte {
	b := pub.Bytes() // 4, x, y
	size := len(b) / 2
	return append([]byte{2 + b[len(b)-1]&1}, b[1:1+size]...)
}

// Decompress returns the public key of a compressed point. The point must be
// one of the curve.
func Decompress(curve ecdh.Curve, point []byte) (*ecdh.PublicKey, error) {
	c, ok := curveOf(curve)
	if !ok {
		return nil, errCurve(curve)
	}
	x, y := elliptic.UnmarshalCompressed(c.points, point)
	if x == nil {
		return nil, fmt.Errorf("not a compressed point of %v", curve)
	}
	return curve.NewPublicKey(c.uncompressed(x, y))
}

// A curveInfo is what layouts and names need to know of a curve.
type curveInfo struct {
	name   string // in what keys are derived from
	size   int    // of a coordinate, and of a shared secret, in bytes
	points elliptic.Curve
}

func curveOf(c ecdh.Curve) (curveInfo, bool) {
	switch c {
	case ecdh.P256():
		return curveInfo{"p256", 32, elliptic.P256()}, true
	case ecdh.P384():
		return curveInfo{"p384", 48, elliptic.P384()}, true
	case ecdh.P521():
		return curveInfo{"p521", 66, elliptic.P521()}, true
	}
	return curveInfo{}, false
}

// SecretSize returns the length of what a key agreement on the curve yields, in
// bytes, or zero if the curve is none that CheckPublicKey allows.
func SecretSize(curve ecdh.Curve) int {
	c, _ := curveOf(curve)
	return c.size
}

// cutPoint splits b after a length and a point of that length, which must be
// that of a compressed one.
func (c curveInfo) cutPoint(b []byte) (point, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errors.New("cut short")
	}
	n, b := binary.BigEndian.Uint32(b), b[4:]
	switch want := 1 + c.size; {
	case n != uint32(want):
		return nil, nil, fmt.Errorf("%d bytes, a compressed point of %s has %d", n, c.points.Params().Name, want)
	case len(b) < want:
		return nil, nil, errors.New("cut short")
	default:
		return b[:want:want], b[want:], nil
	}
}

// otherCurve reports whether b begins with the length of a compressed point of
// another curve than the given one.
func otherCurve(curve ecdh.Curve, b []byte) bool {
	if len(b) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(b)
	for _, other := range []ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		if other != curve && n == uint32(1+SecretSize(other)) {
			return true
		}
	}
	return false
}

// uncompressed is the form that crypto/ecdh takes.
func (c curveInfo) uncompressed(x, y *big.Int) []byte {
	b := make([]byte, 1+2*c.size)
	b[0] = 4
	x.FillBytes(b[1 : 1+c.size])
	y.FillBytes(b[1+c.size:])
	return b
}
