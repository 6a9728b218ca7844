package kms_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// Messages that were encrypted in us-east-1, under two multi-Region keys that
// have replicas in eu-west-1.
type replicas struct {
	server *kmstest.Server
	there  []string // in us-east-1
	here   []string // in eu-west-1
	m      *keyprovider.EncryptionMaterials
}

func newReplicas(t *testing.T) *replicas {
	s := newServer(t)
	a, b := s.CreateMultiRegionKey("us-east-1", "eu-west-1"), s.CreateMultiRegionKey("us-east-1", "eu-west-1")
	r := &replicas{server: s, there: []string{a[0], b[0]}, here: []string{a[1], b[1]}}
	r.m = encrypt(t, strict(t, r.options(), r.there...))
	s.ResetCalls()
	return r
}

func (r *replicas) options() *kms.Options {
	return &kms.Options{Config: r.server.Config(), MultiRegion: true, Region: "eu-west-1", GrantTokens: []string{"grant"}}
}

// providers decrypt with the replicas in eu-west-1.
func (r *replicas) providers(t *testing.T) map[string]keyprovider.MasterKeyProvider {
	return map[string]keyprovider.MasterKeyProvider{
		"strict":    strict(t, r.options(), r.here...),
		"discovery": discovery(t, nil, r.options()),
		"filter":    discovery(t, &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{kmstest.Account}, Regions: []string{"eu-west-1"}}, r.options()),
	}
}

func TestTheReplicaHereIsAskedWithAllThatTheRequestHas(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	for name, p := range r.providers(t) {
		r.server.ResetCalls()
		requireOpens(t, p, r.m, 0)
		calls := r.server.Calls()
		require.Len(t, calls, 1, "%s: none after the first that opens", name)
		call := calls[0]
		require.Equal(t, "Decrypt", call.Op)
		require.Equal(t, r.here[0], call.KeyID, "not that of the entry")
		require.Equal(t, "eu-west-1", call.Region)
		require.Equal(t, r.m.EncryptedDataKeys[0].Ciphertext, call.CiphertextBlob)
		require.Equal(t, r.m.EncryptionContext, call.EncryptionContext)
		require.Equal(t, []string{"grant"}, call.GrantTokens)
	}
}

func TestWrongResponsesOfReplicasAreCausesAndTheNextEntryIsTried(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	first := *r.m
	first.EncryptedDataKeys = r.m.EncryptedDataKeys[:1]
	for want, reply := range map[string]kmstest.Reply{
		`the response is of another key, "` + r.there[0] + `"`: {KeyID: r.there[0], Plaintext: r.m.DataKey}, // the entry's, which was not asked
		`the response is of another key, ""`:                   {Plaintext: r.m.DataKey},
		"the response has a data key of 31 bytes":              {KeyID: r.here[0], Plaintext: r.m.DataKey[:31]},
		"the response has a data key of 0 bytes":               {KeyID: r.here[0]},
		"DisabledException":                                    {Error: "DisabledException"},
	} {
		r.server.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			if call.KeyID == r.here[0] {
				return &reply
			}
			return nil
		})
		for name, p := range r.providers(t) {
			requireOpens(t, p, r.m, 1)
			require.ErrorContains(t, refusal(t, p, &first), want, name)
		}
	}
	r.server.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply { return &kmstest.Reply{Error: "DisabledException"} })
	for name, p := range r.providers(t) {
		require.Len(t, refusal(t, p, r.m).Causes, 2, name)
	}
}

func TestEntriesThatAreNoKeysOfReplicasAreSkipped(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	good := r.m.EncryptedDataKeys[0]
	var before []keyprovider.EncryptedDataKey
	for _, info := range []string{"", "not an ARN", strings.Replace(r.there[0], "key/", "alias/", 1), idOf(r.there[0])} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: "aws-kms", ProviderInfo: []byte(info), Ciphertext: good.Ciphertext})
	}
	for _, id := range []string{"", "aws-kms-hierarchy", "AWS-KMS", "aws-kms ", "raw"} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: id, ProviderInfo: good.ProviderInfo, Ciphertext: good.Ciphertext})
	}
	r.m.EncryptedDataKeys = append(before, good)
	for name, p := range r.providers(t) {
		r.server.ResetCalls()
		requireOpens(t, p, r.m, len(before))
		require.Len(t, r.server.Calls(), 1, name)
	}
}

func TestDiscoveryOfReplicasCallsNothingThatItsFilterForbids(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	_, err := kms.NewDiscovery(t.Context(), &kms.DiscoveryFilter{Partition: "aws-cn", Accounts: []string{kmstest.Account}}, r.options())
	require.EqualError(t, err, `kms: multi-Region discovery: the Region eu-west-1 is of partition aws, not of "aws-cn"`)
	for what, filter := range map[string]*kms.DiscoveryFilter{
		"account": {Partition: "aws", Accounts: []string{"000000000001"}},
	} {
		err := refusal(t, discovery(t, filter, r.options()), r.m)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, "the filter does not allow the "+what+" of "+r.here[0])
	}
	require.Empty(t, r.server.Calls())
}

func TestReplicasEncryptAsOtherKeysDo(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	p := strict(t, r.options(), r.here...)
	m := encrypt(t, p)
	calls := r.server.Calls()
	require.Len(t, calls, 2)
	for i, op := range []string{"GenerateDataKey", "Encrypt"} {
		require.Equal(t, op, calls[i].Op)
		require.Equal(t, r.here[i], calls[i].KeyID)
		require.Equal(t, "eu-west-1", calls[i].Region)
		require.Equal(t, m.EncryptionContext, calls[i].EncryptionContext)
		require.Equal(t, []string{"grant"}, calls[i].GrantTokens)
		require.Equal(t, "aws-kms", m.EncryptedDataKeys[i].ProviderID)
		require.Equal(t, r.here[i], string(m.EncryptedDataKeys[i].ProviderInfo))
		requireOpens(t, strict(t, r.options(), r.there[i]), m, i)
	}
	require.Equal(t, 32, calls[0].NumberOfBytes)

	good := kmstest.Reply{Plaintext: make([]byte, 32), CiphertextBlob: []byte("blob")}
	for i, op := range []string{"GenerateDataKey", "Encrypt"} {
		for want, change := range map[string]func(*kmstest.Reply){
			"the response is of another key":    func(r1 *kmstest.Reply) { r1.KeyID = r.there[i] },
			"the response names no key":         func(r1 *kmstest.Reply) { r1.KeyID = idOf(r.here[i]) },
			"the response has no ciphertext":    func(r1 *kmstest.Reply) { r1.CiphertextBlob = nil },
			"KMSInternalException":              func(r1 *kmstest.Reply) { r1.Error = "KMSInternalException" },
			"the response has a data key of 31": func(r1 *kmstest.Reply) { r1.Plaintext = make([]byte, 31) },
		} {
			if op == "Encrypt" && strings.HasSuffix(want, "31") {
				continue // which has no plaintext
			}
			reply := good
			reply.KeyID = r.here[i]
			change(&reply)
			r.server.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
				if call.Op == op {
					return &reply
				}
				return nil
			})
			err := encryptErr(t.Context(), p)
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, op, failure.Op)
			require.ErrorContains(t, err, want)
		}
	}
}

func TestDiscoveryOfReplicasAsksInTheConfigsRegionIfNoneIsGiven(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	opts := r.options()
	opts.Region = ""
	opts.Config.Region = "eu-west-1"
	requireOpens(t, discovery(t, nil, opts), r.m, 0)
	require.Equal(t, "eu-west-1", r.server.Calls()[0].Region)
	opts.Config.Region = ""
	_, err := kms.NewDiscovery(t.Context(), &kms.DiscoveryFilter{AnyAccount: true}, opts)
	require.ErrorContains(t, err, "needs a Region")
}
