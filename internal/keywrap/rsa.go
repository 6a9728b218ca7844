package keywrap

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// minRSABits is what crypto/rsa demands.
const minRSABits = 1024

// CopyRSAPublicKey returns a copy of a public key that crypto/rsa can encrypt with.
// The error says why it cannot.
func CopyRSAPublicKey(pub *rsa.PublicKey) (*rsa.PublicKey, error) {
	switch n, e := pub.N, pub.E; {
	case n == nil:
		return nil, errors.New("no modulus")
	case n.Sign() < 0:
		return nil, errors.New("the modulus is negative")
	case n.BitLen() < minRSABits:
		return nil, fmt.Errorf("%d bits, need at least %d", n.BitLen(), minRSABits)
	case n.Bit(0) == 0:
		return nil, errors.New("the modulus is even")
	case e < 3 || e%2 == 0 || int64(e) > 1<<31-1:
		return nil, fmt.Errorf("public exponent %d, need an odd one from 3 to 2^31-1", e)
	}
	return &rsa.PublicKey{N: new(big.Int).Set(pub.N), E: pub.E}, nil
}

// CopyRSAPrivateKey returns a copy of a private key of two primes that belong to its
// modulus and exponents. What the key has precomputed is not copied but made again.
func CopyRSAPrivateKey(priv *rsa.PrivateKey) (*rsa.PrivateKey, error) {
	pub, err := CopyRSAPublicKey(&priv.PublicKey)
	if err != nil {
		return nil, err
	}
	if len(priv.Primes) != 2 { // crypto/rsa does not check keys of more
		return nil, fmt.Errorf("%d primes, need 2", len(priv.Primes))
	}
	secret := []*big.Int{priv.D, priv.Primes[0], priv.Primes[1]}
	for i, n := range secret {
		if n == nil || n.Sign() <= 0 { // crypto/rsa takes no notice of the sign
			return nil, errors.New("the private exponent or a prime is missing, zero or negative")
		}
		secret[i] = new(big.Int).Set(n)
	}
	key := &rsa.PrivateKey{PublicKey: *pub, D: secret[0], Primes: secret[1:]}
	key.Precompute()
	if err := key.Validate(); err != nil {
		return nil, err
	}
	return key, nil
}
