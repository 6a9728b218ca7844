package keystore_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

func TestRotateKeyKeepsEarlierVersions(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		e.created(t)
		opts := e.options()
		opts.GrantTokens = []string{"token"}
		s := store(t, opts)
		id := createKey(t, s, map[string]string{"department": "admin"})
		beacon, err := s.BeaconKey(t.Context(), id)
		require.NoError(t, err)
		var versions []*hierarchical.BranchKey
		for range 3 {
			active, err := s.ActiveBranchKey(t.Context(), id)
			require.NoError(t, err)
			versions = append(versions, active)
			before := e.items(t, id)
			e.kms.ResetCalls()
			require.NoError(t, s.RotateKey(t.Context(), id))
			requireRotated(t, e, id, before)
		}
		require.Len(t, e.items(t, id), 6)
		for _, want := range versions {
			got, err := s.BranchKeyVersion(t.Context(), id, want.Version)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		last, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		for _, earlier := range versions {
			require.NotEqual(t, earlier.Version, last.Version)
			require.NotEqual(t, earlier.Material, last.Material)
			require.Equal(t, earlier.EncryptionContext, last.EncryptionContext)
		}
		same, err := s.BeaconKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, beacon, same)
	})
}

// requireRotated checks the items of the key and the calls of KMS after one
// rotation.
func requireRotated(t *testing.T, e *endpoint, id string, before []item) {
	t.Helper()
	old := before[1]
	require.Equal(t, "branch:ACTIVE", text(old, "type"))
	active := e.item(t, id, "branch:ACTIVE")
	version := e.item(t, id, text(active, "version"))
	for _, i := range before {
		if text(i, "type") != "branch:ACTIVE" {
			require.NotEqual(t, text(version, "type"), text(i, "type"))
			require.Equal(t, i, e.item(t, id, text(i, "type")))
		}
	}
	created := text(version, "create-time")
	require.Greater(t, created, text(old, "create-time"))
	common := item{
		"branch-key-id": str(id), "create-time": str(created), "kms-arn": old["kms-arn"], "hierarchy-version": number("1"),
		"aws-crypto-ec:department": str("admin"), "type": version["type"], "enc": version["enc"],
	}
	require.Equal(t, common, version)
	common["type"], common["version"], common["enc"] = str("branch:ACTIVE"), version["type"], active["enc"]
	require.Equal(t, common, active)

	context := func(i item) map[string]string {
		ec := attributes(i)
		ec["tablename"] = logicalName
		return ec
	}
	calls := e.kms.Calls()
	require.Len(t, calls, 3)
	for i, want := range []kmstest.Call{
		{Op: "ReEncrypt", EncryptionContext: context(old), SourceKeyID: e.key, SourceEncryptionContext: context(old), CiphertextBlob: blob(old)},
		{Op: "GenerateDataKeyWithoutPlaintext", EncryptionContext: context(version), NumberOfBytes: 32},
		{Op: "ReEncrypt", EncryptionContext: context(active), SourceKeyID: e.key, SourceEncryptionContext: context(version), CiphertextBlob: blob(version)},
	} {
		want.Region, want.KeyID, want.GrantTokens, want.UserAgent = "us-east-1", e.key, []string{"token"}, calls[i].UserAgent
		require.Equal(t, want, calls[i])
	}
}

// A store whose DynamoDB lets another rotation happen just before a write.
func TestARotationInBetweenIsAConflict(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		other := e.created(t)
		id := createKey(t, other, nil)
		opts := e.options()
		opts.DynamoDB = &intruder{DynamoDBAPI: e.api, before: func() { require.NoError(t, other.RotateKey(t.Context(), id)) }}
		err := store(t, opts).RotateKey(t.Context(), id)
		require.ErrorIs(t, err, keystore.ErrConflict)
		var canceled *types.TransactionCanceledException
		require.ErrorAs(t, err, &canceled)
		require.Len(t, e.items(t, id), 4, "the other's version, and none of ours")
		active, err := other.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		version, err := other.BranchKeyVersion(t.Context(), id, active.Version)
		require.NoError(t, err)
		require.Equal(t, active, version)

		opts.DynamoDB = &intruder{DynamoDBAPI: e.api, before: func() {
			_, err := other.CreateKey(t.Context(), "mine", map[string]string{"by": "other"})
			require.NoError(t, err)
		}}
		_, err = store(t, opts).CreateKey(t.Context(), "mine", map[string]string{"by": "me"})
		require.ErrorIs(t, err, keystore.ErrKeyExists)
		active, err = other.ActiveBranchKey(t.Context(), "mine")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"by": "other"}, active.EncryptionContext)
	})
}

func TestKeysRotateAndAreReadAtTheSameTime(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		id := createKey(t, s, map[string]string{"tenant": "42"})
		var mu sync.Mutex
		seen := make(map[string][]byte) // key by version
		see := func(key *hierarchical.BranchKey) {
			mu.Lock()
			defer mu.Unlock()
			if earlier := seen[key.Version]; earlier != nil && !bytes.Equal(earlier, key.Material) {
				t.Errorf("version %s has two keys", key.Version)
			}
			seen[key.Version] = key.Material
		}
		rotations, conflicts := 0, 0
		done := make(chan struct{})
		var rotators, readers sync.WaitGroup
		for range 4 {
			rotators.Go(func() {
				own := store(t, e.options())
				for range 8 {
					err := own.RotateKey(t.Context(), id)
					mu.Lock()
					switch {
					case err == nil:
						rotations++
					case errors.Is(err, keystore.ErrConflict):
						conflicts++
					default:
						t.Error(err)
					}
					mu.Unlock()
				}
			})
			readers.Go(func() {
				for {
					active, err := s.ActiveBranchKey(t.Context(), id)
					if err != nil {
						t.Error(err)
						return
					}
					see(active)
					version, err := s.BranchKeyVersion(t.Context(), id, active.Version)
					if err != nil {
						t.Error(err)
						return
					}
					see(version)
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		rotators.Wait()
		close(done)
		readers.Wait()
		t.Logf("%d rotations, %d conflicts, %d versions seen", rotations, conflicts, len(seen))
		require.Equal(t, 32, rotations+conflicts)
		require.Positive(t, rotations)
		require.Len(t, e.items(t, id), 3+rotations, "each rotation is a version, and each conflict is none")
		for _, i := range e.items(t, id)[2:] {
			version, err := s.BranchKeyVersion(t.Context(), id, text(i, "type")[len("branch:version:"):])
			require.NoError(t, err)
			see(version)
		}
		require.Len(t, seen, 1+rotations)
	})
}

// A branch key is rotated while messages are written and read under it: every
// message can be read, then and afterwards, by a program that has nothing cached.
func TestMessagesStayReadableWhileKeysRotate(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		id := createKey(t, s, nil)
		provider := func(maxAge time.Duration) *hierarchical.Provider {
			p, err := hierarchical.New(store(t, e.options()), hierarchical.Options{BranchKeyID: id, MaxAge: maxAge})
			require.NoError(t, err)
			return p
		}
		opens := func(p *hierarchical.Provider, message []byte) {
			if got, _, err := esdk.Decrypt(t.Context(), message, p, nil); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		}
		var mu sync.Mutex
		var messages [][]byte
		rotations := 0
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				reader := provider(time.Millisecond)
				used := make(map[string]bool) // versions, before the last rotation
				for range 3 {
					writer := provider(time.Millisecond)
					for n := range 5 {
						message, h, err := esdk.Encrypt(t.Context(), []byte("hello"), writer, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey})
						if err != nil {
							t.Error(err)
							return
						}
						version := string(h.EncryptedDataKeys[0].Ciphertext[28:44])
						if n == 0 && used[version] {
							t.Error("written under a version that was used before the rotation")
						}
						used[version] = true
						mu.Lock()
						messages = append(messages, message)
						earlier := messages[len(messages)/2]
						mu.Unlock()
						opens(reader, message)
						opens(reader, earlier)
					}
					err := s.RotateKey(t.Context(), id)
					mu.Lock()
					switch {
					case err == nil:
						rotations++
					case !errors.Is(err, keystore.ErrConflict): // another user rotated
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		users.Wait()
		last := provider(time.Minute)
		for _, message := range messages {
			opens(last, message)
		}
		require.Len(t, messages, 4*3*5)
		require.Len(t, e.items(t, id), 3+rotations)
	})
}

func TestTransactionsAreWrittenAsTheSpecificationSays(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	created := e.items(t, id)
	names := map[string]string{"#id": "branch-key-id"}
	isNew := aws.String("attribute_not_exists(#id)")
	require.Equal(t, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: &e.table, Item: created[2], ConditionExpression: isNew, ExpressionAttributeNames: names}},
		{Put: &types.Put{TableName: &e.table, Item: created[1], ConditionExpression: isNew, ExpressionAttributeNames: names}},
		{Put: &types.Put{TableName: &e.table, Item: created[0], ConditionExpression: isNew, ExpressionAttributeNames: names}},
	}}, e.fake.calls[len(e.fake.calls)-1])

	e.fake.calls = nil
	require.NoError(t, s.RotateKey(t.Context(), id))
	active := e.item(t, id, "branch:ACTIVE")
	require.Equal(t, []any{
		&dynamodb.GetItemInput{
			TableName: &e.table, Key: item{"branch-key-id": str(id), "type": str("branch:ACTIVE")}, ConsistentRead: aws.Bool(true),
		},
		&dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: &e.table, Item: e.item(t, id, text(active, "version")), ConditionExpression: isNew, ExpressionAttributeNames: names}},
			{Put: &types.Put{
				TableName: &e.table, Item: active, ExpressionAttributeNames: names,
				ConditionExpression:       aws.String("attribute_exists(#id) AND enc = :encOld"),
				ExpressionAttributeValues: item{":encOld": created[1]["enc"]},
			}},
		}},
	}, e.fake.calls)

	e.fake.calls = nil
	_, err := s.BeaconKey(t.Context(), id)
	require.NoError(t, err)
	version := text(active, "version")
	_, err = s.BranchKeyVersion(t.Context(), id, version[len("branch:version:"):])
	require.NoError(t, err)
	for i, typ := range []string{"beacon:ACTIVE", version} {
		require.Equal(t, &dynamodb.GetItemInput{
			TableName: &e.table, Key: item{"branch-key-id": str(id), "type": str(typ)}, ConsistentRead: aws.Bool(true),
		}, e.fake.calls[i])
	}
}
