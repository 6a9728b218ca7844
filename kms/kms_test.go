package kms_test

import (
	"context"
	"crypto/ecdh"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

const (
	key1 = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111"
	key2 = "arn:aws:kms:eu-west-1:444455556666:key/22222222-2222-2222-2222-222222222222"
	mrk1 = "arn:aws:kms:us-east-1:111122223333:key/mrk-11111111111111111111111111111111"
	mrk2 = "arn:aws:kms:eu-west-1:111122223333:key/mrk-11111111111111111111111111111111"
)

func clientFor(context.Context, string) (kms.API, error) { return stub{}, nil }

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	config := &aws.Config{}
	for _, test := range []struct {
		keys []string
		opts *kms.Options
		want string
	}{
		{nil, nil, "no key IDs"},
		{[]string{}, nil, "no key IDs"},
		{[]string{key1, ""}, &kms.Options{Config: config}, "key 2: empty key ID"},
		{[]string{"arn:aws:s3:::bucket"}, &kms.Options{Config: config}, `key 1: "arn:aws:s3:::bucket" is not an ARN of KMS`},
		{[]string{"key/1"}, &kms.Options{Config: config}, `key 1: "key/1" is neither`},
		{[]string{key1, key2, key1}, &kms.Options{Config: config}, "key " + key1 + " is given twice"},
		{[]string{"alias/a"}, &kms.Options{Config: config}, `key "alias/a" names no Region`},
		{[]string{"alias/a"}, &kms.Options{ClientFor: clientFor}, `key "alias/a" names no Region`},
		{[]string{key1}, &kms.Options{Config: config, ClientFor: clientFor}, "both Options.Config and Options.ClientFor"},
		{[]string{key1}, &kms.Options{Config: config, Region: "US East"}, `Options.Region "US East"`},
		{[]string{key1}, &kms.Options{Config: &aws.Config{Region: "us.east"}}, `Region "us.east"`},
		{[]string{key1}, &kms.Options{Config: config, GrantTokens: []string{"a", ""}}, "Options.GrantTokens"},
		{[]string{mrk1, key1, mrk2}, &kms.Options{Config: config, MultiRegion: true}, mrk2 + ", " + mrk1},
	} {
		p, err := kms.New(t.Context(), test.keys, test.opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: ")
		require.ErrorContains(t, err, test.want)
	}
	_, err := kms.New(t.Context(), []string{mrk1, mrk2}, &kms.Options{Config: config})
	require.NoError(t, err, "replicas are different keys without MultiRegion")
	_, err = kms.New(t.Context(), []string{mrk1, "alias/mrk-11111111111111111111111111111111"}, &kms.Options{Config: config, Region: "us-east-1", MultiRegion: true})
	require.NoError(t, err, "an alias is no multi-Region key")
}

func TestNewDiscoveryRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	accounts := []string{"111122223333"}
	anyAccount := &kms.DiscoveryFilter{AnyAccount: true}
	for want, test := range map[string]struct {
		filter *kms.DiscoveryFilter
		opts   kms.Options
	}{
		"whoever can give the program a message would choose which KMS key, in any account and Region": {},
		"AnyAccount is set beside Partition or Accounts":                                               {filter: &kms.DiscoveryFilter{Partition: "aws", AnyAccount: true}},
		"AnyAccount is set beside Partition or Accounts, which":                                        {filter: &kms.DiscoveryFilter{Accounts: accounts, AnyAccount: true}},
		"DiscoveryFilter.Regions is empty; nil allows any":                                             {filter: &kms.DiscoveryFilter{AnyAccount: true, Regions: []string{}}},
		"DiscoveryFilter.Partition is empty":                                                           {filter: &kms.DiscoveryFilter{Accounts: accounts}},
		"DiscoveryFilter.Accounts is empty":                                                            {filter: &kms.DiscoveryFilter{Partition: "aws"}},
		`DiscoveryFilter.Accounts: "" is not an account ID`:                                            {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{"111122223333", ""}}},
		`"1111-2222-3333" is not an account ID`:                                                        {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{"1111-2222-3333"}}},
		`"11112222333a" is not an account ID`:                                                          {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{"11112222333a"}}},
		"DiscoveryFilter.Regions is empty":                                                             {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: accounts, Regions: []string{}}},
		`DiscoveryFilter.Regions: "" is not a Region`:                                                  {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: accounts, Regions: []string{"us-east-1", ""}}},
		`DiscoveryFilter.Regions: "*" is not a Region`:                                                 {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: accounts, Regions: []string{"*"}}},
		`DiscoveryFilter.Regions: "localhost" is not a Region`:                                         {filter: &kms.DiscoveryFilter{AnyAccount: true, Regions: []string{"localhost"}}},
		"DiscoveryFilter.Regions: the Region cn-north-1 is of partition aws-cn":                        {filter: &kms.DiscoveryFilter{Partition: "aws", Accounts: accounts, Regions: []string{"us-east-1", "cn-north-1"}}},
		"multi-Region discovery: the Region us-gov-west-1 is of partition aws-us-gov":                  {&kms.DiscoveryFilter{Partition: "aws", Accounts: accounts}, kms.Options{MultiRegion: true, Region: "us-gov-west-1"}},
		`Options.Region "localhost" is not a Region`:                                                   {anyAccount, kms.Options{Region: "localhost"}},
		"multi-Region discovery needs a Region":                                                        {anyAccount, kms.Options{MultiRegion: true}},
		"us-east-1, which DiscoveryFilter.Regions does not allow":                                      {&kms.DiscoveryFilter{Partition: "aws", Accounts: accounts, Regions: []string{"eu-west-1"}}, kms.Options{MultiRegion: true, Region: "us-east-1"}},
		`Options.Region "-_-" is not a Region`:                                                         {anyAccount, kms.Options{Region: "-_-"}},
		"both Options.Config and Options.ClientFor":                                                    {anyAccount, kms.Options{ClientFor: clientFor}},
		"Options.GrantTokens has an empty token":                                                       {anyAccount, kms.Options{GrantTokens: []string{""}}},
	} {
		test.opts.Config = &aws.Config{}
		p, err := kms.NewDiscovery(t.Context(), test.filter, &test.opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: ")
		require.ErrorContains(t, err, want)
	}
}

func TestProvidersPrintWithoutCredentials(t *testing.T) {
	t.Parallel()
	opts := &kms.Options{GrantTokens: []string{"secret token"}, ClientFor: clientFor}
	pub := eccKey(t, ecdh.P256()).PublicKey()
	p := strict(t, opts, key1)
	d := discovery(t, &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{"123456789012"}}, opts)
	r := newRSA(t, key1, &rsaKey().PublicKey, kms.OAEPSHA1, opts)
	static := newECDHStatic(t, key1, pub, pub, opts)
	keys, err := p.MasterKeys(t.Context(), &keyprovider.Request{})
	require.NoError(t, err)
	for want, values := range map[string][]any{
		"AWS KMS provider of " + key1:                {p, *p},
		"AWS KMS provider of " + key1 + ", " + key2:  {strict(t, opts, key1, key2)},
		"AWS KMS key " + key1:                        {keys[0]},
		"AWS KMS discovery provider":                 {d, *d},
		"AWS KMS RSA provider of " + key1:            {r, *r},
		"AWS KMS ECDH provider of " + key1:           {static, *static},
		"AWS KMS ECDH discovery provider of " + key1: {newECDHDiscovery(t, key1, pub, opts)},
	} {
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				require.Equal(t, want, fmt.Sprintf(verb, v))
			}
			text, err := json.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, strconv.Quote(want), string(text))
		}
	}
	require.Equal(t, "[AWS KMS key "+key1+"]", fmt.Sprintf("%+v", keys))
}

func TestProvidersThatWereNotMadeByAConstructorFail(t *testing.T) {
	t.Parallel()
	req := &keyprovider.Request{Suite: suite.AES256GCM}
	for _, p := range []keyprovider.MasterKeyProvider{new(kms.Provider), new(kms.Discovery), new(kms.RSA), new(kms.ECDH)} {
		_, err := p.DecryptDataKey(t.Context(), req, []keyprovider.EncryptedDataKey{entryOf(key1)})
		require.ErrorContains(t, err, "not made by New")
		require.Error(t, encryptErr(t.Context(), p))
		require.NotPanics(t, func() { _ = fmt.Sprint(p) })
		k, ok := p.(keyprovider.MasterKey)
		if !ok {
			continue
		}
		keys, err := p.MasterKeys(t.Context(), req)
		require.Nil(t, keys)
		require.ErrorContains(t, err, "not made by New")
		_, err = k.GenerateDataKey(t.Context(), req)
		require.ErrorContains(t, err, "not made by New")
		_, err = k.EncryptDataKey(t.Context(), req, make([]byte, 32))
		require.ErrorContains(t, err, "not made by New")
	}
}

func TestSettingsAreCopied(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	opts := &kms.Options{Config: s.Config(), GrantTokens: []string{"grant"}}
	ids := []string{key}
	filter := &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{kmstest.Account}, Regions: []string{"us-east-1"}}
	p, d := strict(t, opts, ids...), discovery(t, filter, opts)
	ids[0], opts.GrantTokens[0], opts.Config.BaseEndpoint = "", "", aws.String("http://127.0.0.1:1")
	filter.Partition, filter.Accounts[0], filter.Regions[0] = "", "", ""
	m := encrypt(t, p)
	requireOpens(t, d, m, 0)
	for _, call := range s.Calls() {
		require.Equal(t, []string{"grant"}, call.GrantTokens)
	}
}

// regions are what a test saw a ClientFor asked for.
type regions struct {
	asked []string
	inner *kmstest.Server
}

func (r *regions) clientFor(_ context.Context, region string) (kms.API, error) {
	r.asked = append(r.asked, region)
	return awskms.NewFromConfig(*r.inner.Config(), func(o *awskms.Options) { o.Region = region }), nil
}

func TestTheRegionIsTheARNsElseTheOptionsElseTheConfigs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	arn, here, there := s.CreateKey("eu-west-1"), s.CreateKey("us-east-1"), s.CreateKey("ap-south-1")
	opts := &kms.Options{Config: s.Config()} // us-east-1
	encrypt(t, strict(t, opts, arn, idOf(here)))
	opts.Region = "ap-south-1"
	encrypt(t, strict(t, opts, arn, idOf(there)))
	r := &regions{inner: s}
	encrypt(t, strict(t, &kms.Options{ClientFor: r.clientFor, Region: "ap-south-1"}, arn, idOf(there)))
	require.Equal(t, []string{"eu-west-1", "ap-south-1"}, r.asked)
	var got []string
	for _, call := range s.Calls() {
		got = append(got, call.Op+" "+call.Region)
	}
	require.Equal(t, []string{
		"GenerateDataKey eu-west-1", "Encrypt us-east-1", "GenerateDataKey eu-west-1", "Encrypt ap-south-1", "GenerateDataKey eu-west-1", "Encrypt ap-south-1",
	}, got)
}

// isolate gives the test an AWS environment of its own: credentials, no shared
// files, an endpoint. It returns how often instance metadata was asked.
func isolate(t *testing.T, s *kmstest.Server) *atomic.Int32 {
	var asked atomic.Int32
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.NotFound(w, nil)
	}))
	t.Cleanup(metadata.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": s.URL(), "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_EC2_METADATA_DISABLED": "",
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
	return &asked
}

func TestNilOptionsUseTheDefaultConfiguration(t *testing.T) {
	s := newServer(t)
	asked := isolate(t, s)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	m := encrypt(t, strict(t, nil, keys...))
	requireOpens(t, strict(t, nil, keys[1]), m, 1)
	requireOpens(t, discovery(t, nil, nil), m, 0)
	_, err := kms.NewECDHDiscovery(t.Context(), s.CreateECCKey("eu-west-1", ecdh.P256()), nil)
	require.NoError(t, err)
	require.Zero(t, asked.Load(), "the ARNs name the Regions; instance metadata has no say")

	_, err = kms.New(t.Context(), []string{"alias/a"}, nil)
	require.ErrorContains(t, err, `"alias/a" names no Region`)
	_, err = kms.NewDiscovery(t.Context(), &kms.DiscoveryFilter{AnyAccount: true}, &kms.Options{MultiRegion: true})
	require.ErrorContains(t, err, "needs a Region")
	require.Zero(t, asked.Load())

	t.Setenv("AWS_REGION", "eu-west-1")
	encrypt(t, strict(t, nil, idOf(keys[1])))

	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_PROFILE", "nobody")
	_, err = kms.New(t.Context(), keys, nil)
	require.ErrorContains(t, err, "kms: the default AWS configuration")
	strict(t, &kms.Options{ClientFor: clientFor}, key1) // needs none
}

func TestTheLibraryIsNamedInTheUserAgent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	r := &regions{inner: s}
	for _, opts := range []*kms.Options{{Config: s.Config()}, {ClientFor: r.clientFor}} {
		p := strict(t, opts, key, s.CreateKey("us-east-1"))
		requireOpens(t, p, encrypt(t, p), 0)
	}
	require.Len(t, s.Calls(), 6)
	for _, call := range s.Calls() {
		require.Equal(t, 1, strings.Count(call.UserAgent, " lib/esdk-go#"), call.UserAgent)
		require.Contains(t, call.UserAgent, "aws-sdk-go-v2/")
	}
}

func TestDiscoverySendsWhatTheEntryAndTheRequestHave(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
	p := discovery(t, nil, &kms.Options{Config: s.Config(), GrantTokens: []string{"grant"}})
	for _, key := range keys {
		s.DenyAccess(key, "Decrypt")
	}
	s.ResetCalls()
	require.Len(t, refusal(t, p, m).Causes, 2, "one for each entry")
	calls := s.Calls()
	require.Len(t, calls, 2)
	for i, call := range calls {
		require.Equal(t, keys[i], call.KeyID)
		require.Equal(t, m.EncryptedDataKeys[i].Ciphertext, call.CiphertextBlob)
		require.Equal(t, m.EncryptionContext, call.EncryptionContext)
		require.Equal(t, []string{"grant"}, call.GrantTokens)
	}
}
