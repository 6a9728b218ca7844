package keystore_test

import (
	"maps"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// The tests of this file and of table_test.go, rotate_test.go, alter_test.go and
// region_test.go run on every table, see onEveryTable.

func TestCreateKeyWritesVersionActiveAndBeacon(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		opts := e.options()
		opts.GrantTokens = []string{"token"}
		e.created(t)
		s := store(t, opts)
		ec := map[string]string{"department": "admin", "größe": "一", "": "empty key", "empty value": ""}
		began := time.Now().UTC().Truncate(time.Microsecond)
		id := createKey(t, s, ec)
		require.Regexp(t, "^"+uuidV4+"$", id)

		items := e.items(t, id)
		require.Len(t, items, 3)
		beacon, active, version := items[0], items[1], items[2]
		typ := text(version, "type")
		require.Regexp(t, "^branch:version:"+uuidV4+"$", typ)
		created := text(version, "create-time")
		when, err := time.Parse("2006-01-02T15:04:05.000000Z", created)
		require.NoError(t, err)
		require.WithinRange(t, when, began, time.Now())
		require.Len(t, created, 27)

		common := item{
			"branch-key-id": str(id), "create-time": str(created), "kms-arn": str(e.key), "hierarchy-version": number("1"),
			"aws-crypto-ec:department": str("admin"), "aws-crypto-ec:größe": str("一"),
			"aws-crypto-ec:": str("empty key"), "aws-crypto-ec:empty value": str(""),
		}
		with := func(more item) item {
			all := maps.Clone(common)
			maps.Copy(all, more)
			return all
		}
		require.Equal(t, with(item{"type": str(typ), "enc": version["enc"]}), version)
		require.Equal(t, with(item{"type": str("branch:ACTIVE"), "version": str(typ), "enc": active["enc"]}), active)
		require.Equal(t, with(item{"type": str("beacon:ACTIVE"), "enc": beacon["enc"]}), beacon)

		calls := e.kms.Calls()
		require.Len(t, calls, 3)
		contexts := make([]map[string]string, 3)
		for i, from := range items {
			contexts[i] = attributes(from)
			contexts[i]["tablename"] = logicalName
		}
		for i, want := range []kmstest.Call{
			{Op: "GenerateDataKeyWithoutPlaintext", EncryptionContext: contexts[2], NumberOfBytes: 32},
			{Op: "ReEncrypt", EncryptionContext: contexts[1], SourceKeyID: e.key, SourceEncryptionContext: contexts[2], CiphertextBlob: blob(version)},
			{Op: "GenerateDataKeyWithoutPlaintext", EncryptionContext: contexts[0], NumberOfBytes: 32},
		} {
			want.Region, want.KeyID, want.GrantTokens, want.UserAgent = "us-east-1", e.key, []string{"token"}, calls[i].UserAgent
			require.Equal(t, want, calls[i])
		}
	})
}

func TestKeysAreReadAsTheyWereCreated(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		ec := map[string]string{"department": "admin", "größe": "一", "": "empty key", "empty value": ""}
		id := createKey(t, s, ec)
		active, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, id, active.ID)
		require.Regexp(t, "^"+uuidV4+"$", active.Version)
		require.Equal(t, ec, active.EncryptionContext)
		require.Len(t, active.Material, 32)
		require.NotEqual(t, make([]byte, 32), active.Material)

		version, err := s.BranchKeyVersion(t.Context(), id, active.Version)
		require.NoError(t, err)
		require.Equal(t, active, version)
		require.NotSame(t, &active.Material[0], &version.Material[0])

		beacon, err := s.BeaconKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, id, beacon.ID)
		require.Equal(t, ec, beacon.EncryptionContext)
		require.Len(t, beacon.Material, 32)
		require.NotEqual(t, active.Material, beacon.Material)

		bare := createKey(t, s, nil)
		key, err := s.ActiveBranchKey(t.Context(), bare)
		require.NoError(t, err)
		require.Empty(t, key.EncryptionContext)
		require.NotEqual(t, active.Material, key.Material)
	})
}

func TestDecryptIsSentTheItemAndNothingElse(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		e.created(t)
		opts := e.options()
		opts.GrantTokens = []string{"one", "two"}
		s := store(t, opts)
		id := createKey(t, s, map[string]string{"department": "admin"})
		active, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		_, err = s.BranchKeyVersion(t.Context(), id, active.Version)
		require.NoError(t, err)
		_, err = s.BeaconKey(t.Context(), id)
		require.NoError(t, err)
		calls := e.kms.Calls()[3:]
		require.Len(t, calls, 3)
		for i, typ := range []string{"branch:ACTIVE", "branch:version:" + active.Version, "beacon:ACTIVE"} {
			read := e.item(t, id, typ)
			ec := attributes(read)
			ec["tablename"] = logicalName
			require.Equal(t, kmstest.Call{
				Op: "Decrypt", Region: "us-east-1", KeyID: e.key, EncryptionContext: ec, GrantTokens: []string{"one", "two"},
				CiphertextBlob: blob(read), UserAgent: calls[i].UserAgent,
			}, calls[i])
			require.Contains(t, calls[i].UserAgent, " lib/esdk-go#")
			require.Contains(t, calls[i].UserAgent, " aws-kms-hierarchy")
		}
	})
}

// An item with everything written by hand, as another SDK's program would have.
func TestItemsThatOthersWroteAreRead(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		const id, version = "tenant 1", "83eec007-5659-4554-bf11-699b90f41ac6"
		active := item{
			"branch-key-id": str(id), "type": str("branch:ACTIVE"), "version": str("branch:version:" + version),
			"kms-arn": str(e.key), "create-time": str("2023-06-03T19:03:29.358Z"), "hierarchy-version": number("1"),
			"aws-crypto-ec:department": str("admin"), "aws-crypto-ec:aws-crypto-ec:": str("twice"), "note": str("of nobody knows whom"),
		}
		key := []byte("0123456789abcdef0123456789ABCDEF")
		out, err := awskms.NewFromConfig(*e.kms.Config()).Encrypt(t.Context(), &awskms.EncryptInput{
			KeyId: &e.key, Plaintext: key, EncryptionContext: map[string]string{
				"branch-key-id": id, "type": "branch:ACTIVE", "version": "branch:version:" + version, "kms-arn": e.key,
				"create-time": "2023-06-03T19:03:29.358Z", "hierarchy-version": "1", "tablename": logicalName,
				"aws-crypto-ec:department": "admin", "aws-crypto-ec:aws-crypto-ec:": "twice", "note": "of nobody knows whom",
			},
		})
		require.NoError(t, err)
		active["enc"] = binary(out.CiphertextBlob)
		e.put(t, active)

		got, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, &hierarchical.BranchKey{
			ID: id, Version: version, Material: key,
			EncryptionContext: map[string]string{"department": "admin", "aws-crypto-ec:": "twice"},
		}, got)

		require.NoError(t, s.RotateKey(t.Context(), id))
		rotated := attributes(e.item(t, id, "branch:ACTIVE"))
		require.NotEqual(t, "branch:version:"+version, rotated["version"])
		require.Equal(t, "of nobody knows whom", rotated["note"], "attributes are kept")
		next, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, got.EncryptionContext, next.EncryptionContext)
	})
}

func TestAnIDOfOnesOwnNeedsAnEncryptionContext(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		for _, ec := range []map[string]string{nil, {}} {
			id, err := s.CreateKey(t.Context(), "mine", ec)
			require.Empty(t, id)
			require.ErrorContains(t, err, "a given ID needs an encryption context")
		}
		require.Empty(t, e.items(t, "mine"))
		require.Empty(t, e.kms.Calls())
		ec := map[string]string{"tenant": "42"}
		id, err := s.CreateKey(t.Context(), "mine", ec)
		require.NoError(t, err)
		require.Equal(t, "mine", id)
		before := e.items(t, "mine")
		require.Len(t, before, 3)

		id, err = s.CreateKey(t.Context(), "mine", ec)
		require.Empty(t, id)
		require.ErrorIs(t, err, keystore.ErrKeyExists)
		require.Equal(t, before, e.items(t, "mine"), "nothing is written, not even the new version")
	})
}

func TestKeysThatAreNotThereAreNotFound(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		id := createKey(t, s, nil)
		for what, op := range map[string]func() (any, error){
			"ActiveBranchKey": func() (any, error) { return s.ActiveBranchKey(t.Context(), "other") },
			"BranchKeyVersion": func() (any, error) {
				return s.BranchKeyVersion(t.Context(), id, "83eec007-5659-4554-bf11-699b90f41ac6")
			},
			"BeaconKey": func() (any, error) { return s.BeaconKey(t.Context(), "other") },
			"RotateKey": func() (any, error) { return nil, s.RotateKey(t.Context(), "other") },
		} {
			key, err := op()
			require.Empty(t, key, what)
			require.ErrorIs(t, err, hierarchical.ErrBranchKeyNotFound, what)
			var failure *keystore.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, what, failure.Op)
			require.Equal(t, e.table, failure.Table)
			require.ErrorContains(t, err, "branch key table "+e.table+": "+what+` of "`+failure.ID+`": there is no item of type b`)
		}
	})
}

func TestAnotherLogicalNameDoesNotOpen(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		id := createKey(t, e.created(t), nil)
		opts := e.options()
		opts.LogicalName = "another"
		s := store(t, opts)
		var failure *kms.KeyError
		_, err := s.ActiveBranchKey(t.Context(), id)
		require.ErrorAs(t, err, &failure)
		require.Equal(t, "Decrypt", failure.Op)
		require.ErrorContains(t, failure, `written under another logical name than "another"`)
		require.ErrorAs(t, s.RotateKey(t.Context(), id), &failure)
		require.Equal(t, "ReEncrypt", failure.Op)
		require.ErrorContains(t, failure, `written under another logical name than "another"`)
		require.Len(t, e.items(t, id), 3)

		// The same name on a table of another name, as after a restoration.
		items := e.items(t, id)
		e.table += "-restored"
		s = e.created(t)
		for _, i := range items {
			e.put(t, i)
		}
		_, err = s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, s.RotateKey(t.Context(), id))
	})
}
