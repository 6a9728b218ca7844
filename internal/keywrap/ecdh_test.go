package keywrap

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// known are what Python's cryptography (KBKDFHMAC, AESGCM and OpenSSL's curves)
// computed for the private keys of parties, a salt of 0, 1, 2, ..., a data key
// of 0xa0, 0xa1, ... and the encryption context a=2, b=1.
var known = []struct {
	curve                 ecdh.Curve
	secret, info, wrapped string
}{
	{
		ecdh.P256(),
		"fccc2ebbc23104b74110a48d725cc29e61c95ce4850a1166caf424579fa9c20a",
		"010000002103e05aa8773b8995f197643aa2a14d259592ae25655a7c5775db6eafedbfdf244b00000021039817a8aac0bb0edfb8b6d0b351b91eefb722f7a418936eb0f68640f4e074f270",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fc502c2f4d6c76be4c37f4d9a9d45a1a3b03fafa7f3cec3aba9dad8ccaf6a6987a54582609ad9e578d94c5ab378cd3e862612c2534f5a03268a5331465b29e8588ea8b5b81b711be4e6657301d996fa8f",
	},
	{
		ecdh.P384(),
		"e945b34721144509d10430633959f9629d68202c92e6bac31e009b757716f860e71ee5853b19323746ef040a0c17d542",
		"010000003103fd6328241be88d75466556c146d49500496893f92e71b36adcbb462c42a9f80e13adec6433692ccf6a78e4dd42b21ee6000000310243e7588c66a7b830c94b097edd1b8ee0a8c33e6aaf5ed609e29f9086477d475ba92bb899f50c3e846aa879ee561ccfe8",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f1ec113710c588fa9e6ca2008133e4a74d309bb366d833c576500f670d71be1a373933342f20d4e654ddd21819b6c62c78f3e8d7d28dcaa4753f25c5ddf51d6409e6c5a9cb49579ef1256b386ff425617",
	},
	{
		ecdh.P521(),
		"00a3e1f0714117f69caae459382c40e31b94ddd6d07b8c415e6eb9050eed8996481b733b0afac930f24b08c6525363104a0516e7d791820f76f51509326e5c072daf",
		"0100000043020007a7c097ade92b838c3feaa047644fb7d3eb839222b9f21003829cadba790bb2c9e0f37539bf48d850bd5dc54758af8b4b50b96a14370bc2f5936fe5b5f77ebbab000000430300900c15289442ac94372c6d1b3165a782f202e6b3718c03851a009680889fca0a51cc20c0cad19b61b72049c7d7a65d017b81b8df20a18d544a28acbb9ac3b73cb6",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f72bd14acc9946f2d483805eee4f1a35ae98976f1b4e55a3ce475abef269b1f3244bfbab1cc16de8fdb44e2c3b89428ab2a0de59626f0588f527f61782a80dc9abbd5a8d7c42a1e501f6fe52d5c716823",
	},
}

const (
	knownContext = "\x00\x02\x00\x01a\x00\x012\x00\x01b\x00\x011"
	knownSalt    = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func knownDataKey() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(0xA0 + i)
	}
	return b
}

// parties returns the keys behind known.
func parties(t testing.TB, curve ecdh.Curve) (sender, recipient *ecdh.PrivateKey) {
	t.Helper()
	c, ok := curveOf(curve)
	require.True(t, ok)
	return privateKey(t, curve, c.size, "sender's private key"), privateKey(t, curve, c.size, "recipient's private key")
}

// privateKey returns that whose scalar ends with the text.
func privateKey(t testing.TB, curve ecdh.Curve, size int, text string) *ecdh.PrivateKey {
	t.Helper()
	b := make([]byte, size)
	copy(b[size-len(text):], text)
	k, err := curve.NewPrivateKey(b)
	require.NoError(t, err)
	return k
}

func agreement(t testing.TB, curve ecdh.Curve) (Agreement, []byte) {
	t.Helper()
	sender, recipient := parties(t, curve)
	a, err := NewAgreement(sender.PublicKey(), recipient.PublicKey())
	require.NoError(t, err)
	secret, err := sender.ECDH(recipient.PublicKey())
	require.NoError(t, err)
	return a, secret
}

func TestAgreementIsWhatAnotherLibraryComputes(t *testing.T) {
	for _, k := range known {
		t.Run(fmt.Sprint(k.curve), func(t *testing.T) {
			a, secret := agreement(t, k.curve)
			require.Equal(t, k.secret, hex.EncodeToString(secret))
			require.Equal(t, k.info, hex.EncodeToString(a.ProviderInfo()))
			wrapped, err := a.wrap([]byte(knownSalt), secret, []byte(knownContext), knownDataKey())
			require.NoError(t, err)
			require.Equal(t, k.wrapped, hex.EncodeToString(wrapped))

			parsed, err := ParseAgreement(k.curve, unhex(t, k.info))
			require.NoError(t, err)
			require.Equal(t, a, parsed)
			dataKey, err := parsed.Unwrap(unhex(t, k.secret), []byte(knownContext), unhex(t, k.wrapped))
			require.NoError(t, err)
			require.Equal(t, knownDataKey(), dataKey)
		})
	}
}

// The text of framework/key-agreement-schemas.md, "Key Derivation", but for the
// label: every SDK writes it in lower-case letters.
func TestFixedInfoIsLabelCurveMethodPointsVersionContext(t *testing.T) {
	a := Agreement{Sender: []byte("<sender>"), Recipient: []byte("<recipient>")}
	require.Equal(t, "ecdh-key-derivation\x00p521\x00HMAC_SHA384\x00<sender><recipient>\x00\x01\x00<context>", string(a.fixedInfo("p521", []byte("<context>"))))
	require.Equal(t, "ecdh-key-derivation\x00p256\x00HMAC_SHA384\x00<sender><recipient>\x00\x01\x00", string(a.fixedInfo("p256", nil)))
}

func TestEachWrappingHasItsOwnSalt(t *testing.T) {
	a, secret := agreement(t, ecdh.P256())
	salts, wrapped := make(map[string]bool), make(map[string]bool)
	for range 200 {
		b, err := a.Wrap(secret, nil, knownDataKey())
		require.NoError(t, err)
		require.Len(t, b, 32+32+32+16)
		salts[string(b[:32])] = true
		wrapped[string(b[32:])] = true
		dataKey, err := a.Unwrap(secret, nil, b)
		require.NoError(t, err)
		require.Equal(t, knownDataKey(), dataKey)
	}
	require.Len(t, salts, 200)
	require.Len(t, wrapped, 200, "keys follow the salt")
}

// Salt and commitment key are told from the wrapped data key: what was altered
// in the former is found without a look at the tag.
func TestUnwrapComparesTheCommitmentKeyBeforeTheTag(t *testing.T) {
	a, secret := agreement(t, ecdh.P384())
	good, err := a.Wrap(secret, []byte(knownContext), knownDataKey())
	require.NoError(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		want := ErrAgreement
		if i >= 64 {
			want = ErrWrapped
		}
		for range 2 { // the second time with another tag as well
			dataKey, err := a.Unwrap(secret, []byte(knownContext), bad)
			require.ErrorIs(t, err, want, "byte %d", i)
			require.Nil(t, dataKey)
			bad[len(bad)-1] ^= 1
		}
	}
	for n := range good {
		dataKey, err := a.Unwrap(secret, []byte(knownContext), good[:n])
		require.Error(t, err, "%d bytes", n)
		require.Nil(t, dataKey)
	}
}

func TestUnwrapNeedsSecretPartiesAndContextOfTheWrapping(t *testing.T) {
	a, secret := agreement(t, ecdh.P256())
	good, err := a.Wrap(secret, []byte(knownContext), knownDataKey())
	require.NoError(t, err)
	other := bytes.Clone(secret)
	other[31] ^= 1
	swapped := Agreement{a.Curve, a.Recipient, a.Sender}
	_, err = a.Unwrap(other, []byte(knownContext), good)
	require.ErrorIs(t, err, ErrAgreement)
	_, err = swapped.Unwrap(secret, []byte(knownContext), good)
	require.ErrorIs(t, err, ErrAgreement)
	for _, ec := range []string{"", knownContext + "\x00", knownContext[1:]} {
		_, err = a.Unwrap(secret, []byte(ec), good)
		require.ErrorIs(t, err, ErrAgreement)
	}
}

func TestSecretsHaveTheLengthOfTheCurve(t *testing.T) {
	for curve, size := range map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66} {
		a, secret := agreement(t, curve)
		require.Len(t, secret, size)
		wrapped, err := a.Wrap(secret, nil, knownDataKey())
		require.NoError(t, err)
		for _, n := range []int{0, 31, size - 1, size + 1, 133} {
			want := fmt.Sprintf("shared secret of %d bytes, that of %v has %d", n, curve, size)
			_, err = a.Wrap(make([]byte, n), nil, knownDataKey())
			require.EqualError(t, err, want)
			_, err = a.Unwrap(make([]byte, n), nil, wrapped)
			require.EqualError(t, err, want)
		}
	}
}

func TestParseAgreementTakesNothingButTheLayout(t *testing.T) {
	for _, k := range known {
		good := unhex(t, k.info)
		n := (len(good) - 9) / 2
		for i := range good {
			parsed, err := ParseAgreement(k.curve, good[:i])
			require.Error(t, err, "%d bytes", i)
			require.Zero(t, parsed)
		}
		for name, test := range map[string]struct {
			info []byte
			want string
		}{
			"nothing":                 {nil, "no provider info"},
			"version 0":               {slices.Concat([]byte{0}, good[1:]), "version 0, need 1"},
			"version 2":               {slices.Concat([]byte{2}, good[1:]), "version 2, need 1"},
			"version in four bytes":   {slices.Concat([]byte{0, 0, 0, 1}, good[1:]), "version 0, need 1"},
			"one byte more":           {append(bytes.Clone(good), 0), "1 bytes behind"},
			"recipient too long":      {slices.Concat(good[:4], []byte{good[4] + 1}, good[5:]), "recipient's public key"},
			"recipient too short":     {slices.Concat(good[:4], []byte{good[4] - 1}, good[5:]), "recipient's public key"},
			"recipient without bytes": {[]byte{1, 0, 0, 0, 0, 0, 0, 0, 0}, "recipient's public key: 0 bytes"},
			"recipient enormous":      {slices.Concat([]byte{1, 0xff, 0xff, 0xff, 0xff}, good[5:]), "recipient's public key: 4294967295 bytes"},
			"sender too long":         {slices.Concat(good[:5+n+3], []byte{good[4] + 1}, good[5+n+4:]), "sender's public key"},
			"sender enormous":         {slices.Concat(good[:5+n], []byte{0xff, 0xff, 0xff, 0xff}, good[5+n+4:]), "sender's public key: 4294967295 bytes"},
			"no length of sender":     {good[:5+n], "sender's public key: cut short"},
			"uncompressed":            {slices.Concat([]byte{1, 0, 0, 0, byte(2*n - 1), 4}, make([]byte, 4*n)), fmt.Sprintf("recipient's public key: %d bytes, a compressed point of %v has %d", 2*n-1, k.curve, n)},
		} {
			parsed, err := ParseAgreement(k.curve, test.info)
			require.ErrorContains(t, err, test.want, name)
			require.Zero(t, parsed)
			require.NotErrorIs(t, err, ErrOtherCurve, name)
		}
		for _, other := range known {
			if other.curve != k.curve {
				_, err := ParseAgreement(other.curve, good)
				require.ErrorContains(t, err, fmt.Sprintf("recipient's public key: %d bytes, a compressed point of %v has", n, other.curve))
				require.ErrorIs(t, err, ErrOtherCurve)
			}
		}
	}
	for _, curve := range []ecdh.Curve{nil, ecdh.X25519()} {
		_, err := ParseAgreement(curve, unhex(t, known[0].info))
		require.Error(t, err)
	}
}

func TestAgreementIsBetweenItsPartiesOnly(t *testing.T) {
	a, _ := agreement(t, ecdh.P256())
	other := slices.Concat(a.Sender[:32], []byte{^a.Sender[32]})
	require.True(t, a.Between(a.Sender, a.Recipient))
	require.True(t, a.Between(a.Recipient, a.Sender))
	for _, pair := range [][2][]byte{{a.Sender, a.Sender}, {a.Recipient, a.Recipient}, {a.Sender, other}, {other, a.Recipient}, {a.Recipient, other}, {other, a.Sender}, {nil, nil}} {
		require.False(t, a.Between(pair[0], pair[1]))
	}
}

func TestCompressedPointsAreThoseOfTheirKeys(t *testing.T) {
	for _, curve := range []ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		signs := make(map[byte]bool)
		for range 40 {
			k, err := curve.GenerateKey(rand.Reader)
			require.NoError(t, err)
			point := Compress(k.PublicKey())
			signs[point[0]] = true
			pub, err := Decompress(curve, point)
			require.NoError(t, err)
			require.True(t, pub.Equal(k.PublicKey()))
		}
		require.Equal(t, map[byte]bool{2: true, 3: true}, signs)
	}
}

func TestDecompressRefusesWhatIsNoCompressedPoint(t *testing.T) {
	for _, curve := range []ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		sender, _ := parties(t, curve)
		good := Compress(sender.PublicKey())
		off := bytes.Clone(good) // half of all x are on the curve: one of the next is not
		for found := false; !found; {
			off[len(off)-1]++
			_, err := Decompress(curve, off)
			found = err != nil
		}
		for name, point := range map[string][]byte{
			"nothing":                      nil,
			"infinity":                     {0},
			"off the curve":                off,
			"infinity, as long as a point": make([]byte, len(good)),
			"type 0":                       slices.Concat([]byte{0}, good[1:]),
			"type 1":                       slices.Concat([]byte{1}, good[1:]),
			"type 4":                       slices.Concat([]byte{4}, good[1:]),
			"x too large":                  slices.Concat([]byte{2}, bytes.Repeat([]byte{0xff}, len(good)-1)),
			"cut":                          good[:len(good)-1],
			"longer":                       append(bytes.Clone(good), 0),
			"uncompressed":                 sender.PublicKey().Bytes(),
		} {
			pub, err := Decompress(curve, point)
			require.EqualError(t, err, fmt.Sprintf("not a compressed point of %v", curve), name)
			require.Nil(t, pub)
		}
	}
	pub, err := Decompress(ecdh.X25519(), make([]byte, 32))
	require.ErrorContains(t, err, "X25519 is not supported")
	require.Nil(t, pub)
	_, err = Decompress(nil, nil)
	require.ErrorContains(t, err, "without a curve")
}

// Points of SM2 are as long as those of P-256, and half of their x coordinates
// are on it too; then the secret is another one.
func TestTheBasePointOfSM2IsNoPointOfP256(t *testing.T) {
	for _, sign := range []string{"02", "03"} {
		pub, err := Decompress(ecdh.P256(), unhex(t, sign+"32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"))
		require.EqualError(t, err, "not a compressed point of P-256")
		require.Nil(t, pub)
	}
}

func TestNewAgreementRefusesOtherKeys(t *testing.T) {
	key := func(curve ecdh.Curve) *ecdh.PublicKey {
		k, err := curve.GenerateKey(rand.Reader)
		require.NoError(t, err)
		return k.PublicKey()
	}
	p256, p384, x25519 := key(ecdh.P256()), key(ecdh.P384()), key(ecdh.X25519())
	for _, test := range []struct {
		sender, recipient *ecdh.PublicKey
		want              string
	}{
		{nil, p256, "sender's public key: nil key"},
		{p256, nil, "recipient's public key: nil key"},
		{new(ecdh.PublicKey), p256, "sender's public key: a key without a curve"},
		{p256, new(ecdh.PublicKey), "recipient's public key: a key without a curve"},
		{x25519, x25519, "sender's public key: X25519 is not supported; the curves are P-256, P-384 and P-521"},
		{p256, x25519, "recipient's public key: X25519 is not supported; the curves are P-256, P-384 and P-521"},
		{p256, p384, "the sender's key is on P-256, the recipient's on P-384"},
	} {
		a, err := NewAgreement(test.sender, test.recipient)
		require.EqualError(t, err, test.want)
		require.Zero(t, a)
	}
	require.EqualError(t, CheckPrivateKey(nil), "nil key")
	require.EqualError(t, CheckPrivateKey(new(ecdh.PrivateKey)), "a key without a curve")
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	require.ErrorContains(t, CheckPrivateKey(k), "X25519 is not supported")
}

func TestAZeroAgreementFails(t *testing.T) {
	_, err := Agreement{}.Wrap(make([]byte, 32), nil, knownDataKey())
	require.EqualError(t, err, "a key without a curve")
	_, err = Agreement{}.Unwrap(make([]byte, 32), nil, make([]byte, 200))
	require.EqualError(t, err, "a key without a curve")
}

func TestAgreementsAreOfTheTwoProviderIDs(t *testing.T) {
	require.True(t, IsECDH("raw-ecdh"))
	require.True(t, IsECDH("aws-kms-ecdh"))
	for _, id := range []string{"", "raw-ecdh ", "RAW-ECDH", "raw-ecd", "aws-kms", "aws-kms-ecdh\x00"} {
		require.False(t, IsECDH(id), id)
	}
}

func FuzzParseAgreement(f *testing.F) {
	for _, k := range known {
		f.Add(unhex(f, k.info))
	}
	f.Fuzz(func(t *testing.T, info []byte) {
		for _, curve := range []ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()} {
			a, err := ParseAgreement(curve, info)
			if err != nil {
				require.Zero(t, a)
				continue
			}
			require.Equal(t, info, a.ProviderInfo(), "no byte is free")
			for _, point := range [][]byte{a.Sender, a.Recipient} {
				if pub, err := Decompress(curve, point); err == nil {
					require.Equal(t, point, Compress(pub))
				}
			}
		}
	})
}

func TestSecretSizeIsThatOfACoordinate(t *testing.T) {
	for _, k := range known {
		require.Equal(t, len(k.secret)/2, SecretSize(k.curve))
	}
	require.Zero(t, SecretSize(ecdh.X25519()))
	require.Zero(t, SecretSize(nil))
}
