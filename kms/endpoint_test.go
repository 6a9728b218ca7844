package kms_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// An endpoint is the KMS that the tests of provider_test.go run against:
// kmstest, or the one that AWS_ENDPOINT_URL_KMS names, where they leave keys
// behind.
type endpoint struct {
	config *aws.Config
	server *kmstest.Server // nil: another KMS
}

func newEndpoint(t testing.TB) *endpoint {
	if os.Getenv("AWS_ENDPOINT_URL_KMS") == "" {
		s := newServer(t)
		return &endpoint{s.Config(), s}
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	return &endpoint{config: &cfg}
}

// full reports whether every case of the long tables is to run.
func full() bool { return os.Getenv("ESDK_TEST") == "full" }

// sample returns the first and the last of all, or all of them if full.
func sample[T any](all []T) []T {
	if full() {
		return all
	}
	return []T{all[0], all[len(all)-1]}
}

func newServer(t testing.TB) *kmstest.Server {
	s := kmstest.NewServer()
	t.Cleanup(s.Close)
	return s
}

func (e *endpoint) options() *kms.Options { return &kms.Options{Config: e.config} }

// multiRegion returns options for multi-Region keys, to ask for in region.
func (e *endpoint) multiRegion(region string) *kms.Options {
	return &kms.Options{Config: e.config, Region: region, MultiRegion: true}
}

// client returns a client that keys are set up with.
func (e *endpoint) client(region string) *awskms.Client {
	return awskms.NewFromConfig(*e.config, func(o *awskms.Options) { o.Region = region })
}

func (e *endpoint) createKey(t testing.TB, region string) (arn string) {
	if e.server != nil {
		return e.server.CreateKey(region)
	}
	out, err := e.client(region).CreateKey(t.Context(), &awskms.CreateKeyInput{})
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}

func (e *endpoint) createMultiRegionKey(t testing.TB, region string, replicas ...string) (arns []string) {
	if e.server != nil {
		return e.server.CreateMultiRegionKey(append([]string{region}, replicas...)...)
	}
	primary, err := e.client(region).CreateKey(t.Context(), &awskms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	require.NoError(t, err)
	arns = []string{*primary.KeyMetadata.Arn}
	for _, r := range replicas {
		replica, err := e.client(region).ReplicateKey(t.Context(), &awskms.ReplicateKeyInput{KeyId: primary.KeyMetadata.KeyId, ReplicaRegion: &r})
		require.NoError(t, err)
		arns = append(arns, *replica.ReplicaKeyMetadata.Arn)
	}
	return arns
}

// createAlias returns the name and the ARN of a new alias.
func (e *endpoint) createAlias(t testing.TB, keyARN string) (name, arn string) {
	name = "alias/esdk-" + strings.ToLower(rand.Text())
	if e.server != nil {
		arn, err := e.server.CreateAlias(name, keyARN)
		require.NoError(t, err)
		return name, arn
	}
	_, err := e.client(regionOf(keyARN)).CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: &name, TargetKeyId: &keyARN})
	require.NoError(t, err)
	prefix, _, _ := strings.Cut(keyARN, ":key/")
	return name, prefix + ":" + name
}

func (e *endpoint) disableKey(t testing.TB, keyARN string) {
	if e.server != nil {
		require.NoError(t, e.server.DisableKey(keyARN))
		return
	}
	_, err := e.client(regionOf(keyARN)).DisableKey(t.Context(), &awskms.DisableKeyInput{KeyId: aws.String(idOf(keyARN))})
	require.NoError(t, err)
}

func regionOf(arn string) string  { return strings.Split(arn, ":")[3] }
func accountOf(arn string) string { return strings.Split(arn, ":")[4] }
func idOf(keyARN string) string   { return keyARN[strings.LastIndex(keyARN, "/")+1:] }

// strict returns a strict provider.
func strict(t testing.TB, opts *kms.Options, keyIDs ...string) *kms.Provider {
	t.Helper()
	p, err := kms.New(t.Context(), keyIDs, opts)
	require.NoError(t, err)
	return p
}

// discovery decrypts with the keys that the filter allows; nil: with any.
func discovery(t testing.TB, filter *kms.DiscoveryFilter, opts *kms.Options) *kms.Discovery {
	t.Helper()
	if filter == nil {
		filter = &kms.DiscoveryFilter{AnyAccount: true}
	}
	p, err := kms.NewDiscovery(t.Context(), filter, opts)
	require.NoError(t, err)
	return p
}

// encrypt returns materials of the default suite whose data key the provider's
// keys protect.
func encrypt(t testing.TB, p keyprovider.MasterKeyProvider) *keyprovider.EncryptionMaterials {
	t.Helper()
	m, err := keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{
		EncryptionContext: map[string]string{"tenant": "größe 1"},
	})
	require.NoError(t, err)
	return m
}

// request is that for the data key of the materials.
func request(m *keyprovider.EncryptionMaterials) *keyprovider.Request {
	return &keyprovider.Request{Suite: m.Suite, EncryptionContext: m.EncryptionContext}
}

// requireOpens checks that the provider opens the entry of m at the index, all
// of them given.
func requireOpens(t testing.TB, p keyprovider.MasterKeyProvider, m *keyprovider.EncryptionMaterials, index int) {
	t.Helper()
	key, err := p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
	require.NoError(t, err)
	require.Equal(t, m.DataKey, key.Plaintext)
	require.Equal(t, m.EncryptedDataKeys[index], key.Encrypted)
}

// refusal returns the error of a provider that must not open any entry.
func refusal(t testing.TB, p keyprovider.MasterKeyProvider, m *keyprovider.EncryptionMaterials) *keyprovider.DecryptError {
	t.Helper()
	key, err := p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
	require.Nil(t, key)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	return failure
}

// entryOf returns an entry that names the key.
func entryOf(keyARN string) keyprovider.EncryptedDataKey {
	return keyprovider.EncryptedDataKey{ProviderID: "aws-kms", ProviderInfo: []byte(keyARN), Ciphertext: []byte("blob")}
}

// entries are materials with these entries, whose data key is nobody's.
func entries(edks ...keyprovider.EncryptedDataKey) *keyprovider.EncryptionMaterials {
	return &keyprovider.EncryptionMaterials{Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptedDataKeys: edks}
}

// A stub is a client whose calls a test answers. Operations it has no function
// for panic.
type stub struct {
	kms.API
	decrypt func(context.Context, *awskms.DecryptInput) (*awskms.DecryptOutput, error)
}

func (s stub) Decrypt(ctx context.Context, in *awskms.DecryptInput, _ ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	return s.decrypt(ctx, in)
}
