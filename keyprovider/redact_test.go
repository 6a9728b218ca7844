package keyprovider_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// secrets returns all forms in which parts of the bytes may be printed.
func secrets(name string, key []byte) map[string]string {
	part := key[:6]
	decimal := strings.Trim(fmt.Sprint(part), "[]")
	return map[string]string{
		name + " in hex":          hex.EncodeToString(part),
		name + " in capital hex":  strings.ToUpper(hex.EncodeToString(part)),
		name + " in a schedule":   fmt.Sprint(binary.LittleEndian.Uint32(key), " ", binary.LittleEndian.Uint32(key[4:])), // as Go's AES has it
		name + " big-endian":      fmt.Sprint(binary.BigEndian.Uint32(key), " ", binary.BigEndian.Uint32(key[4:])),
		name + " in spaced hex":   fmt.Sprintf("% x", part),
		name + " as Go syntax":    strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
		name + " in decimal":      decimal,
		name + " as JSON array":   strings.ReplaceAll(decimal, " ", ","),
		name + " in Base64":       base64.StdEncoding.EncodeToString(part),
		name + " in URL Base64":   base64.URLEncoding.EncodeToString(part),
		name + " as bytes":        string(part),
		name + " in octal":        strings.Trim(fmt.Sprintf("%o", part), "[]"),
		name + " in binary":       strings.Trim(fmt.Sprintf("%b", part), "[]"),
		name + " quoted":          strings.Trim(fmt.Sprintf("%q", part), `"`),
		name + " quoted in ASCII": strings.Trim(fmt.Sprintf("%+q", part), `"`),
	}
}

func TestKeysPrintNowhere(t *testing.T) {
	signed, err := encryptionMaterials(t, newAES(t, "name", 32), &keyprovider.EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384})
	require.NoError(t, err)
	copy(signed.DataKey, aesKey(32))

	aes, rsa := newAES(t, "name", 32), newRSA(t, "name", keyprovider.OAEPSHA256)
	both := newMulti(t, aes, rsa)
	ann, bob := ecdhKey(t, ecdh.P256(), "ann"), ecdhKey(t, ecdh.P256(), "bob")
	agreed, err := ann.ECDH(bob.PublicKey())
	require.NoError(t, err)
	static := newStatic(t, ann, bob.PublicKey())
	dataKey := keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: keyprovider.EncryptedDataKey{ProviderID: "namespace"}}
	decryption := keyprovider.DecryptionMaterials{Suite: id, DataKey: aesKey(32)}
	values := map[string]any{
		"DataKey":                      dataKey,
		"*DataKey":                     &dataKey,
		"**DataKey":                    func() **keyprovider.DataKey { p := &dataKey; return &p }(),
		"EncryptionMaterials":          *signed,
		"*EncryptionMaterials":         signed,
		"DecryptionMaterials":          decryption,
		"*DecryptionMaterials":         &decryption,
		"RawAES":                       *aes,
		"*RawAES":                      aes,
		"RawRSA":                       *rsa,
		"*RawRSA":                      rsa,
		"static RawECDH":               *static,
		"static *RawECDH":              static,
		"ephemeral *RawECDH":           newEphemeral(t, bob.PublicKey()),
		"discovery RawECDH":            *newDiscovery(t, bob),
		"discovery *RawECDH":           newDiscovery(t, bob),
		"Multi of RawECDH":             newMulti(t, static, newDiscovery(t, ann)),
		"Multi of RawECDH values":      newMulti(t, *static, *newDiscovery(t, ann), *newEphemeral(t, bob.PublicKey())),
		"Multi":                        both,
		"Multi of values":              newMulti(t, *aes, *rsa),
		"Multi of Multi":               newMulti(t, both, newMulti(t, *aes)),
		"RequireContext":               requireContext(t, both, "key"),
		"Quorum":                       newQuorum(t, both, keyprovider.QuorumOptions{Min: 1}),
		"default manager":              keyprovider.Materials(both),
		"slice of data keys":           []keyprovider.DataKey{dataKey},
		"slice of pointers":            []*keyprovider.DataKey{&dataKey},
		"map of data keys":             map[string]keyprovider.DataKey{"key": dataKey},
		"struct of all":                struct{ A, B, C, D any }{dataKey, *signed, *aes, *rsa},
		"struct of embedded":           struct{ keyprovider.DataKey }{dataKey},
		"error of a failed decryption": fmt.Errorf("x: %w", &keyprovider.DecryptError{Causes: requireRefused(t, both, request(), generate(t, newAES(t, "name", 16), request()).Encrypted)}),
		"interface with a data key":    any(dataKey),
		"struct with a pointer to keys": struct {
			M *keyprovider.EncryptionMaterials
		}{signed},
		"struct with unexported fields": struct {
			a keyprovider.RawAES
			r keyprovider.RawRSA
			e keyprovider.RawECDH
			p keyprovider.MasterKeyProvider
			c *keyprovider.Cache
			q keyprovider.MasterKeyProvider
		}{*aes, *rsa, *static, aes, newCache(t, aes, keyprovider.CacheOptions{}), newQuorum(t, aes, keyprovider.QuorumOptions{Min: 1})},
	}

	forbidden := secrets("data or wrapping key", aesKey(32))
	for _, more := range []map[string]string{
		secrets("RSA exponent", rsaKey().D.Bytes()), secrets("RSA prime", rsaKey().Primes[0].Bytes()), secrets("signing key", signed.SigningKey.D.Bytes()),
		secrets("ECDH private key", ann.Bytes()), secrets("other ECDH private key", bob.Bytes()[24:]), secrets("shared secret", agreed),
		{
			"RSA exponent as a number": rsaKey().D.String()[:20], "RSA prime as a number": rsaKey().Primes[1].String()[:20],
			"signing key as a number": signed.SigningKey.D.String()[:20],
		},
	} {
		for name, form := range more {
			forbidden[name] = form
		}
	}
	check := func(t *testing.T, how, out string) {
		t.Helper()
		require.NotEmpty(t, out, how)
		for what, form := range forbidden {
			require.NotContains(t, out, form, "%s prints the %s", how, what)
		}
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{
				"%v", "%+v", "%#v", "%s", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%q", "%+q", "%U", "%t", "%e", "%08.3v", "%T",
			} {
				check(t, verb, fmt.Sprintf(verb, v))
			}
			check(t, "Println", fmt.Sprintln(v))
			var out bytes.Buffer
			options := &slog.HandlerOptions{Level: slog.LevelDebug}
			for _, handler := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
				out.Reset()
				slog.New(handler).With("with", v).Info("message", "value", v, slog.Group("group", "value", v))
				check(t, fmt.Sprintf("%T", handler), out.String())
			}
			b, err := json.Marshal(v)
			require.NoError(t, err)
			check(t, "encoding/json", string(b))
			b, err = json.MarshalIndent(map[string]any{"value": v}, "", " ")
			require.NoError(t, err)
			check(t, "encoding/json in a map", string(b))
		})
	}
}

func TestRedactedTextSaysWhatItIs(t *testing.T) {
	ann, bob := ecdhKey(t, ecdh.P256(), "ann"), ecdhKey(t, ecdh.P256(), "bob")
	dataKey := keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: keyprovider.EncryptedDataKey{ProviderID: "namespace"}}
	for _, test := range []struct {
		value any
		want  string
	}{
		{dataKey, "(redacted)"},
		{&dataKey, "(redacted)"},
		{keyprovider.EncryptionMaterials{Suite: id}, "(redacted)"},
		{keyprovider.DecryptionMaterials{Suite: id}, "(redacted)"},
		{newAES(t, "name", 32), `raw AES key "name" of "namespace"`},
		{newRSA(t, "name", keyprovider.PKCS1v15), `raw RSA key "name" of "namespace"`},
		{newStatic(t, ann, bob.PublicKey()), "raw ECDH (static) on P-256 of 03590857c9a572f3 with 026ef1699af84d04"},
		{newEphemeral(t, bob.PublicKey()), "raw ECDH (ephemeral) on P-256 with 026ef1699af84d04"},
		{newDiscovery(t, ann), "raw ECDH (discovery) on P-256 of 03590857c9a572f3"},
	} {
		require.Equal(t, test.want, fmt.Sprint(test.value))
		require.Equal(t, test.want, fmt.Sprintf("%#x", test.value))
		require.Equal(t, test.want, test.value.(fmt.Stringer).String())
		b, err := json.Marshal(test.value)
		require.NoError(t, err)
		var text string
		require.NoError(t, json.Unmarshal(b, &text))
		require.Equal(t, test.want, text)
	}
}

// A name with line breaks cannot forge a line of a log.
func TestNamesPrintQuoted(t *testing.T) {
	p, err := keyprovider.NewRawAES("name\nspace", "na\nme", aesKey(32))
	require.NoError(t, err)
	require.NotContains(t, p.String(), "\n")
	key := generate(t, p, request())
	require.NotContains(t, key.String(), "\n")
	key.Encrypted.Ciphertext = nil
	_, err = p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.NotContains(t, err.Error(), "\n")
}
