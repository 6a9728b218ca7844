// Official reads cases, decrypts their messages and writes its own with the
// official AWS Encryption SDK for Go; see ../../README.md.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	keystore "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographykeystoresmithygenerated"
	keystoretypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographykeystoresmithygeneratedtypes"
	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	primitivestypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/primitives/awscryptographyprimitivessmithygeneratedtypes"
	sdk "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	sdktypes "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

type testCase struct {
	ID          string
	Suite       string
	Keys        []key
	Reader      int
	ReadWith    *key
	Discovery   bool
	Context     map[string]string
	Required    []string
	FrameLength int64
	Length      int
	Altered     string
	Message     []byte
	Reproduced  map[string]string
	MaxKeys     int64
}

type key struct {
	Type, Namespace, Name, Padding, Endpoint, Curve, Schema string
	Table, LogicalName, KMSKey                              string
	AES, Public, Private                                    []byte
}

type result struct {
	ID           string            `json:"id"`
	Message      []byte            `json:"message,omitempty"`
	EncryptError string            `json:"encryptError,omitempty"`
	EncryptSkip  string            `json:"encryptSkip,omitempty"`
	SHA256       string            `json:"sha256,omitempty"`
	Context      map[string]string `json:"context,omitempty"`
	DecryptError string            `json:"decryptError,omitempty"`
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cases, results string) error {
	in, err := os.Open(cases)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(results)
	if err != nil {
		return err
	}
	p, err := newPeer(ctx)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	e := json.NewEncoder(w)
	for d := json.NewDecoder(bufio.NewReader(in)); d.More(); {
		var c testCase
		if err := d.Decode(&c); err != nil {
			return err
		}
		if err := e.Encode(p.exchange(ctx, &c)); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), out.Close())
}

type peer struct {
	providers             *mpl.Client
	requiring, forbidding *sdk.Client
}

func newPeer(ctx context.Context) (*peer, error) {
	providers, err := mpl.NewClient(mpltypes.MaterialProvidersConfig{})
	if err != nil {
		return nil, err
	}
	requiring, err := sdk.NewClient(sdktypes.AwsEncryptionSdkConfig{})
	if err != nil {
		return nil, err
	}
	policy := mpltypes.ESDKCommitmentPolicyForbidEncryptAllowDecrypt
	forbidding, err := sdk.NewClient(sdktypes.AwsEncryptionSdkConfig{CommitmentPolicy: &policy})
	return &peer{providers, requiring, forbidding}, err
}

func (p *peer) client(c *testCase) *sdk.Client {
	if c.Suite == "0478" || c.Suite == "0578" {
		return p.requiring
	}
	return p.forbidding
}

// limited returns a client with the case's limit of encrypted data keys.
func (p *peer) limited(c *testCase) (*sdk.Client, error) {
	policy := mpltypes.ESDKCommitmentPolicyForbidEncryptAllowDecrypt
	if p.client(c) == p.requiring {
		policy = mpltypes.ESDKCommitmentPolicyRequireEncryptRequireDecrypt
	}
	return sdk.NewClient(sdktypes.AwsEncryptionSdkConfig{CommitmentPolicy: &policy, MaxEncryptedDataKeys: &c.MaxKeys})
}

func (p *peer) exchange(ctx context.Context, c *testCase) *result {
	r := &result{ID: c.ID}
	switch {
	case c.Altered != "":
	case c.FrameLength == 0:
		r.EncryptSkip = "writes no unframed messages"
	default:
		var err error
		if r.Message, err = p.encrypt(ctx, c); err != nil {
			r.EncryptError = text(err)
		}
	}
	if err := p.decrypt(ctx, c, r); err != nil {
		r.DecryptError = text(err)
	}
	return r
}

// text gives the error's message; some errors print as a struct only.
func text(err error) string { return fmt.Sprintf("%T: %v", err, err) }

func (p *peer) encrypt(ctx context.Context, c *testCase) (message []byte, err error) {
	defer recovered(&err)
	all := make([]mpltypes.IKeyring, len(c.Keys))
	for i := range c.Keys {
		if all[i], err = p.keyring(ctx, &c.Keys[i]); err != nil {
			return nil, err
		}
	}
	ring := all[0]
	if len(all) > 1 {
		ring, err = p.providers.CreateMultiKeyring(ctx, mpltypes.CreateMultiKeyringInput{Generator: all[0], ChildKeyrings: all[1:]})
		if err != nil {
			return nil, err
		}
	}
	id := mpltypes.ESDKAlgorithmSuiteId("0x" + c.Suite)
	in := sdktypes.EncryptInput{Plaintext: plaintext(c.Length), AlgorithmSuiteId: &id, EncryptionContext: c.Context, FrameLength: &c.FrameLength}
	if in.Keyring, in.MaterialsManager, err = p.materials(ctx, c, ring); err != nil {
		return nil, err
	}
	out, err := p.client(c).Encrypt(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Ciphertext, nil
}

func (p *peer) decrypt(ctx context.Context, c *testCase, r *result) (err error) {
	defer recovered(&err)
	k := &c.Keys[c.Reader]
	if c.ReadWith != nil {
		k = c.ReadWith
	}
	ring, err := p.keyring(ctx, k)
	if c.Discovery {
		ring, err = p.discovery(ctx, k)
	}
	if err != nil {
		return err
	}
	in := sdktypes.DecryptInput{Ciphertext: c.Message, EncryptionContext: c.Reproduced}
	if len(c.Required) > 0 {
		if in.EncryptionContext == nil {
			in.EncryptionContext = make(map[string]string)
		}
		for _, k := range c.Required {
			in.EncryptionContext[k] = c.Context[k]
		}
	}
	if in.Keyring, in.MaterialsManager, err = p.materials(ctx, c, ring); err != nil {
		return err
	}
	client := p.client(c)
	if c.MaxKeys > 0 {
		if client, err = p.limited(c); err != nil {
			return err
		}
	}
	out, err := client.Decrypt(ctx, in)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(out.Plaintext)
	r.SHA256, r.Context = hex.EncodeToString(sum[:]), out.EncryptionContext
	return nil
}

// recovered makes an error of a panic, which this SDK is known for.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

// materials gives the keyring, or the manager of required pairs over it.
func (p *peer) materials(ctx context.Context, c *testCase, ring mpltypes.IKeyring) (mpltypes.IKeyring, mpltypes.ICryptographicMaterialsManager, error) {
	if len(c.Required) == 0 {
		return ring, nil, nil
	}
	inner, err := p.providers.CreateDefaultCryptographicMaterialsManager(ctx, mpltypes.CreateDefaultCryptographicMaterialsManagerInput{Keyring: ring})
	if err != nil {
		return nil, nil, err
	}
	manager, err := p.providers.CreateRequiredEncryptionContextCMM(ctx, mpltypes.CreateRequiredEncryptionContextCMMInput{
		UnderlyingCMM: inner, RequiredEncryptionContextKeys: slices.Clone(c.Required)})
	return nil, manager, err
}

var paddings = map[string]mpltypes.PaddingScheme{
	"PKCS1-v1_5":  mpltypes.PaddingSchemePkcs1,
	"OAEP-SHA1":   mpltypes.PaddingSchemeOaepSha1Mgf1,
	"OAEP-SHA256": mpltypes.PaddingSchemeOaepSha256Mgf1,
	"OAEP-SHA384": mpltypes.PaddingSchemeOaepSha384Mgf1,
	"OAEP-SHA512": mpltypes.PaddingSchemeOaepSha512Mgf1,
}

func (p *peer) keyring(ctx context.Context, k *key) (mpltypes.IKeyring, error) {
	switch k.Type {
	case "aes":
		return p.providers.CreateRawAesKeyring(ctx, mpltypes.CreateRawAesKeyringInput{KeyNamespace: k.Namespace, KeyName: k.Name,
			WrappingKey: k.AES, WrappingAlg: mpltypes.AesWrappingAlg(fmt.Sprintf("ALG_AES%d_GCM_IV12_TAG16", len(k.AES)*8))})
	case "rsa":
		return p.providers.CreateRawRsaKeyring(ctx, mpltypes.CreateRawRsaKeyringInput{KeyNamespace: k.Namespace, KeyName: k.Name,
			PaddingScheme: paddings[k.Padding],
			PublicKey:     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public}),
			PrivateKey:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k.Private})})
	case "hierarchy":
		return p.hierarchical(ctx, k)
	case "ecdh":
		return p.providers.CreateRawEcdhKeyring(ctx, mpltypes.CreateRawEcdhKeyringInput{
			CurveSpec: primitivestypes.ECDHCurveSpec("ECC_NIST_" + k.Curve), KeyAgreementScheme: k.scheme()})
	}
	client, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	switch k.Type {
	case "kms-rsa":
		return p.kmsRSA(ctx, k, client)
	case "kms-ecdh":
		return p.kmsECDH(ctx, k, client)
	case "mrk":
		return p.providers.CreateAwsKmsMrkKeyring(ctx, mpltypes.CreateAwsKmsMrkKeyringInput{KmsClient: client, KmsKeyId: k.Name})
	}
	return p.providers.CreateAwsKmsKeyring(ctx, mpltypes.CreateAwsKmsKeyringInput{KmsClient: client, KmsKeyId: k.Name})
}

// hierarchical gives the keyring of a branch key.
func (p *peer) hierarchical(ctx context.Context, k *key) (mpltypes.IKeyring, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(strings.Split(k.KMSKey, ":")[3]))
	if err != nil {
		return nil, err
	}
	store, err := keystore.NewClient(keystoretypes.KeyStoreConfig{
		DdbTableName:        k.Table,
		LogicalKeyStoreName: k.LogicalName,
		KmsConfiguration:    &keystoretypes.KMSConfigurationMemberkmsKeyArn{Value: k.KMSKey},
		DdbClient:           dynamodb.NewFromConfig(cfg),
		KmsClient:           kms.NewFromConfig(cfg),
	})
	if err != nil {
		return nil, err
	}
	return p.providers.CreateAwsKmsHierarchicalKeyring(ctx, mpltypes.CreateAwsKmsHierarchicalKeyringInput{KeyStore: store, BranchKeyId: &k.Name, TtlSeconds: 60})
}

// scheme gives the key agreement scheme of an ECDH key.
func (k *key) scheme() mpltypes.RawEcdhStaticConfigurations {
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k.Private})
	switch k.Schema {
	case "static":
		return &mpltypes.RawEcdhStaticConfigurationsMemberRawPrivateKeyToStaticPublicKey{
			Value: mpltypes.RawPrivateKeyToStaticPublicKeyInput{SenderStaticPrivateKey: private, RecipientPublicKey: k.Public}}
	case "ephemeral":
		return &mpltypes.RawEcdhStaticConfigurationsMemberEphemeralPrivateKeyToStaticPublicKey{
			Value: mpltypes.EphemeralPrivateKeyToStaticPublicKeyInput{RecipientPublicKey: k.Public}}
	}
	return &mpltypes.RawEcdhStaticConfigurationsMemberPublicKeyDiscovery{
		Value: mpltypes.PublicKeyDiscoveryInput{RecipientStaticPrivateKey: private}}
}

// discovery gives the keyring for any key of the account of k.
func (p *peer) discovery(ctx context.Context, k *key) (mpltypes.IKeyring, error) {
	client, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	filter := &mpltypes.DiscoveryFilter{Partition: k.field(1), AccountIds: []string{k.field(4)}}
	if k.Type == "mrk" {
		return p.providers.CreateAwsKmsMrkDiscoveryKeyring(ctx, mpltypes.CreateAwsKmsMrkDiscoveryKeyringInput{KmsClient: client, Region: k.field(3), DiscoveryFilter: filter})
	}
	return p.providers.CreateAwsKmsDiscoveryKeyring(ctx, mpltypes.CreateAwsKmsDiscoveryKeyringInput{KmsClient: client, DiscoveryFilter: filter})
}

// client gives a client for the Region of the key.
func (k *key) client(ctx context.Context) (*kms.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(k.field(3)))
	if err != nil {
		return nil, err
	}
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if k.Endpoint != "" {
			o.BaseEndpoint = &k.Endpoint
		}
	}), nil
}

// field returns a field of the key's ARN.
func (k *key) field(i int) string { return strings.Split(k.Name, ":")[i] }

// plaintext returns the n bytes that all programs here encrypt.
func plaintext(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}
