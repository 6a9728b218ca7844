package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// asymmetricKeys names the variable with the ARNs of serveKMS's asymmetric
// keys: two RSA keys, then for each of ecdhCurves a sender's and a recipient's.
const asymmetricKeys = "INTEROP_ASYMMETRIC_KEYS"

func createAsymmetric(server *kmstest.Server) (arns []string) {
	arns = []string{server.CreateRSAKey("us-east-1", 2048), server.CreateRSAKey("eu-west-1", 3072)}
	for _, c := range ecdhCurves {
		arns = append(arns, server.CreateECCKey("us-east-1", c.curve), server.CreateECCKey("eu-west-1", c.curve))
	}
	return arns
}

// asymmetricCases have RSA keys and keys for key agreement of KMS. moto has
// neither, so they are those of serveKMS.
func asymmetricCases(ctx context.Context, keys rawKeys) ([]Case, error) {
	arns := strings.Fields(os.Getenv(asymmetricKeys))
	if len(arns) == 0 {
		return nil, nil
	}
	public := make(map[string][]byte)
	for _, arn := range arns {
		der, err := publicKey(ctx, arn)
		if err != nil {
			return nil, err
		}
		public[arn] = der
	}
	return append(kmsRSACases(keys, arns[:2], public), kmsECDHCases(keys, arns[2:], public)...), nil
}

// publicKey fetches the public key of a key of serveKMS.
func publicKey(ctx context.Context, arn string) ([]byte, error) {
	k := Key{Name: arn, Endpoint: os.Getenv(mrkEndpoint)}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(k.field(3)))
	if err != nil {
		return nil, err
	}
	client := awskms.NewFromConfig(cfg, func(o *awskms.Options) { o.BaseEndpoint = &k.Endpoint })
	out, err := client.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: &arn})
	if err != nil {
		return nil, err
	}
	return out.PublicKey, nil
}

// kmsRSACases have every suite that does not sign with both algorithms, read
// with and without the public key, and one of several keys.
func kmsRSACases(keys rawKeys, arns []string, public map[string][]byte) []Case {
	var all []Case
	for _, id := range suite.All() {
		if id.Signing() {
			continue
		}
		for _, padding := range []keyprovider.RSAPadding{keyprovider.OAEPSHA1, keyprovider.OAEPSHA256} {
			arn := arns[len(all)%2]
			k := Key{Type: "kms-rsa", Name: arn, Padding: padding.String(), Public: public[arn], Endpoint: os.Getenv(mrkEndpoint)}
			one := newCase("KMS RSA", id, 4096, 200, k).withContext(contextNames[len(all)%len(contextNames)])
			one.ID += fmt.Sprintf(", %v, key %d", padding, len(all)%2+1)
			decryptOnly := k
			decryptOnly.Public = nil
			one.ReadWith = &decryptOnly
			several := newCase("KMS RSA", id, 4096, 200, keys["aes-256"], k).withContext("ASCII")
			several.ID += fmt.Sprintf(", %v, key %d, behind a raw AES key", padding, len(all)%2+1)
			several.Reader = 1
			all = append(all, one, several)
		}
	}
	return all
}

// kmsECDHCases have every suite on every curve between two keys of KMS, and
// between one of KMS and a raw one, written and read by each schema.
func kmsECDHCases(keys rawKeys, arns []string, public map[string][]byte) []Case {
	var all []Case
	for _, id := range suite.All() {
		for i, curve := range ecdhCurves {
			sender, recipient := arns[2*i], arns[2*i+1]
			static := func(arn string, peer []byte) Key {
				return Key{Type: "kms-ecdh", Name: arn, Curve: curve.name, Schema: "static", Public: peer, Endpoint: os.Getenv(mrkEndpoint)}
			}
			discovery := Key{Type: "kms-ecdh", Name: recipient, Curve: curve.name, Schema: "discovery", Endpoint: os.Getenv(mrkEndpoint)}
			raw := keys[ecdhName(curve.name, "static, recipient's side")] // of which Public is the raw sender's
			rawRecipient := keys[ecdhName(curve.name, "static")].Public
			toKMS := func(k Key) Key { k.Public = public[recipient]; return k }
			for _, way := range []struct {
				name           string
				writer, reader Key
			}{
				{"static to static", static(sender, public[recipient]), static(sender, public[recipient])},
				{"static to the recipient's static", static(sender, public[recipient]), static(recipient, public[sender])},
				{"static to discovery", static(sender, public[recipient]), discovery},
				{"static to raw discovery", static(sender, rawRecipient), keys[ecdhName(curve.name, "discovery")]},
				{"raw static to static", toKMS(raw), static(recipient, rawRecipient)},
				{"raw ephemeral to discovery", toKMS(keys[ecdhName(curve.name, "ephemeral")]), discovery},
			} {
				c := newCase("KMS ECDH", id, 4096, 200, way.writer).withContext(contextNames[len(all)%len(contextNames)])
				c.ID += fmt.Sprintf(", %s, %s", curve.name, way.name)
				c.ReadWith = &way.reader
				all = append(all, c)
			}
		}
	}
	return all
}

// asymmetricProvider is provider of a key of type kms-rsa or kms-ecdh.
func (k *Key) asymmetricProvider(ctx context.Context) (keyprovider.MasterKeyProvider, error) {
	opts, err := k.options(ctx)
	if err != nil {
		return nil, err
	}
	var pub any
	if k.Public != nil {
		if pub, err = x509.ParsePKIXPublicKey(k.Public); err != nil {
			return nil, err
		}
	}
	if k.Type == "kms-rsa" {
		algorithm := kms.RSAAlgorithm(1 + slices.Index([]string{keyprovider.OAEPSHA1.String(), keyprovider.OAEPSHA256.String()}, k.Padding))
		rsaPub, _ := pub.(*rsa.PublicKey)
		return kms.NewRSA(ctx, k.Name, rsaPub, algorithm, opts)
	}
	if k.Schema == "discovery" {
		return kms.NewECDHDiscovery(ctx, k.Name, &kms.ECDHOptions{Options: *opts})
	}
	var recipient *ecdh.PublicKey
	if ec, ok := pub.(*ecdsa.PublicKey); ok {
		if recipient, err = ec.ECDH(); err != nil {
			return nil, err
		}
	}
	return kms.NewECDHStatic(ctx, k.Name, recipient, &kms.ECDHOptions{Options: *opts})
}
