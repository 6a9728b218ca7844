package keystore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/keystore"
)

// Whatever somebody who can write to the table does to an item, KMS refuses it
// or the store does.
func TestAlteredItemsAreRefused(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		id := createKey(t, s, map[string]string{"department": "admin"})
		other := createKey(t, s, map[string]string{"department": "admin"})
		require.NoError(t, s.RotateKey(t.Context(), id))
		active := e.item(t, id, "branch:ACTIVE")
		version := text(active, "version")
		reads := map[string]func() (any, error){
			"branch:ACTIVE": func() (any, error) { return s.ActiveBranchKey(t.Context(), id) },
			version:         func() (any, error) { return s.BranchKeyVersion(t.Context(), id, version[len("branch:version:"):]) },
			"beacon:ACTIVE": func() (any, error) { return s.BeaconKey(t.Context(), id) },
		}
		for typ, read := range reads {
			whole := e.item(t, id, typ)
			_, err := read()
			require.NoError(t, err)
			for what, alter := range map[string]func(i item){
				"create-time":       func(i item) { i["create-time"] = str("2023-06-03T19:03:29.358123Z") },
				"custom value":      func(i item) { i["aws-crypto-ec:department"] = str("Admin") },
				"custom removed":    func(i item) { delete(i, "aws-crypto-ec:department") },
				"custom added":      func(i item) { i["aws-crypto-ec:role"] = str("admin") },
				"attribute added":   func(i item) { i["note"] = str("") },
				"custom unprefixed": func(i item) { i["department"] = i["aws-crypto-ec:department"]; delete(i, "aws-crypto-ec:department") },
				"enc flipped":       func(i item) { b := bytes.Clone(blob(i)); b[len(b)-1] ^= 1; i["enc"] = binary(b) },
				"enc of another":    func(i item) { i["enc"] = e.item(t, other, "beacon:ACTIVE")["enc"] },
				"kms-arn":           func(i item) { i["kms-arn"] = str(e.kms.CreateKey("us-east-1")) },
				"hierarchy-version": func(i item) { i["hierarchy-version"] = number("2") },
			} {
				altered := maps.Clone(whole)
				alter(altered)
				e.put(t, altered)
				key, err := read()
				require.Error(t, err, "%s of %s", what, typ)
				require.Empty(t, key)
				if typ == "branch:ACTIVE" {
					before := e.items(t, id)
					require.Error(t, s.RotateKey(t.Context(), id), what)
					require.Equal(t, before, e.items(t, id))
				}
			}
			e.put(t, whole)
		}

		// The active item of an earlier version with the name of a later one.
		first := e.items(t, other)
		require.NoError(t, s.RotateKey(t.Context(), other))
		mixed := maps.Clone(first[1])
		mixed["version"] = e.item(t, other, "branch:ACTIVE")["version"]
		e.put(t, mixed)
		_, err := s.ActiveBranchKey(t.Context(), other)
		var failure *kms.KeyError
		require.ErrorAs(t, err, &failure)
	})
}

// Items that are no records, however they came about, are refused before KMS is
// asked, and never panic.
func TestMalformedItemsAreRefusedWithoutACall(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	active := e.item(t, id, "branch:ACTIVE")
	version := text(active, "version")
	var returned item
	opts := e.options()
	opts.DynamoDB = &intruder{DynamoDBAPI: e.api, item: func() item { return returned }}
	s = store(t, opts)
	e.kms.ResetCalls()
	set := func(name string, value types.AttributeValue) func(item) {
		return func(i item) { i[name] = value }
	}
	read := func(typ string) error {
		var key any
		var err error
		switch typ {
		case "branch:ACTIVE":
			key, err = s.ActiveBranchKey(t.Context(), id)
		case "beacon:ACTIVE":
			key, err = s.BeaconKey(t.Context(), id)
		default:
			key, err = s.BranchKeyVersion(t.Context(), id, typ[len("branch:version:"):])
		}
		require.Empty(t, key)
		return err
	}
	every := map[string]func(i item){
		"enc of 0 bytes; 1 to 6144 are possible":      set("enc", binary(nil)),
		"enc of 6145 bytes; 1 to 6144 are possible":   set("enc", binary(make([]byte, 6145))),
		"enc is not binary":                           set("enc", str("AAAA")),
		"hierarchy-version is not a number":           set("hierarchy-version", str("1")),
		`hierarchy-version "2"; only 1 is known`:      set("hierarchy-version", number("2")),
		`hierarchy-version "1.0"; only 1 is known`:    set("hierarchy-version", number("1.0")),
		`"create-time" is not a string`:               set("create-time", number("1")),
		"it has no create-time":                       set("create-time", str("")),
		`"kms-arn" is not a string`:                   set("kms-arn", binary([]byte(e.key))),
		`"type" is not a string`:                      set("type", &types.AttributeValueMemberNULL{Value: true}),
		`"branch-key-id" is not a string`:             set("branch-key-id", (*types.AttributeValueMemberS)(nil)),
		`it is of another key, "other"`:               set("branch-key-id", str("other")),
		`it is of another type, "branch:other"`:       set("type", str("branch:other")),
		`kms-arn: "alias/a" is not an ARN`:            set("kms-arn", str("alias/a")),
		`/a" is the ARN of an alias, not of a key`:    set("kms-arn", str("arn:aws:kms:us-east-1:111122223333:alias/a")),
		`" is not an ARN`:                             set("kms-arn", str(strings.Repeat("a", 5000))),
		`"aws-crypto-ec:a" is not a string`:           set("aws-crypto-ec:a", binary([]byte("a"))),
		`"aws-crypto-ec:b" is not a string`:           set("aws-crypto-ec:b", nil),
		`"note" is not a string`:                      set("note", &types.AttributeValueMemberBOOL{}),
		`"note" is not UTF-8`:                         set("note", str("\xff")),
		`"\xff" is not UTF-8`:                         set("\xff", str("")),
		"it has an attribute tablename, which is not": set("tablename", str(logicalName)),
	}
	for _, name := range []string{"enc", "branch-key-id", "type", "kms-arn", "create-time", "hierarchy-version"} {
		want := "it has no " + name
		if name == "enc" {
			want = "enc of 0 bytes"
		}
		every[want] = func(i item) { delete(i, name) }
	}
	test := func(typ string, alter map[string]func(i item)) {
		for want, f := range alter {
			returned = e.item(t, id, typ)
			f(returned)
			err := read(typ)
			require.ErrorIs(t, err, keystore.ErrRecord, "%s %s", typ, want)
			require.ErrorContains(t, err, "malformed record: ")
			require.ErrorContains(t, err, want)
			require.Less(t, len(err.Error()), 1000)
			if typ == "branch:ACTIVE" {
				require.ErrorIs(t, s.RotateKey(t.Context(), id), keystore.ErrRecord)
			}
		}
	}
	for _, typ := range []string{"branch:ACTIVE", "beacon:ACTIVE", version} {
		test(typ, every)
	}
	forms := make(map[string]func(i item))
	const uuid = "83eec007-5659-4554-bf11-699b90f41ac6"
	for _, v := range []string{"", uuid, "branch:version:", "branch:version:" + strings.ToUpper(uuid), "branch:version:" + uuid[1:], "branch:version:" + uuid + "0",
		"branch:version: " + uuid, "Branch:version:" + uuid, "branch:version:" + strings.ReplaceAll(uuid, "-", ""), "branch:version:83eec0075-659-4554-bf11-699b90f41ac6"} {
		forms[fmt.Sprintf("version %q is not branch:version: and a UUID in lower case", v)] = set("version", str(v))
	}
	forms["it has no version"] = func(i item) { delete(i, "version") }
	forms[`"version" is not a string`] = set("version", number("1"))
	test("branch:ACTIVE", forms)
	for _, typ := range []string{"beacon:ACTIVE", version} {
		test(typ, map[string]func(i item){"it has a version, which branch:ACTIVE records have": set("version", str(version))})
	}

	for _, v := range []string{"", "1", strings.ToUpper(uuid), uuid + " ", "ACTIVE"} {
		key, err := s.BranchKeyVersion(t.Context(), id, v)
		require.Nil(t, key)
		require.ErrorContains(t, err, "no UUID in lower case")
	}
	for _, wrong := range []string{"", strings.Repeat("a", 2049), "\xff"} {
		for _, err := range []error{
			s.RotateKey(t.Context(), wrong),
			second(s.ActiveBranchKey(t.Context(), wrong)), second(s.BranchKeyVersion(t.Context(), wrong, uuid)), second(s.BeaconKey(t.Context(), wrong)),
		} {
			require.ErrorContains(t, err, "branch key ID")
		}
	}
	for _, wrong := range []string{strings.Repeat("a", 2049), "\xff"} {
		require.ErrorContains(t, second(s.CreateKey(t.Context(), wrong, map[string]string{"a": "b"})), "branch key ID")
	}
	for _, ec := range []map[string]string{{"\xff": ""}, {"a": "\xff"}} {
		require.ErrorContains(t, second(s.CreateKey(t.Context(), "", ec)), "not UTF-8")
	}
	require.Empty(t, e.kms.Calls())
}

func second[T any](_ T, err error) error { return err }

func TestAnErrorOfDynamoDBIsWithinReach(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	e.fake.before = func(any) error { return &types.ProvisionedThroughputExceededException{} }
	for _, err := range []error{
		s.RotateKey(t.Context(), id), second(s.ActiveBranchKey(t.Context(), id)), second(s.BeaconKey(t.Context(), id)), second(s.CreateKey(t.Context(), "", nil)),
	} {
		var throttled *types.ProvisionedThroughputExceededException
		require.ErrorAs(t, err, &throttled)
	}
	e.fake.before = func(input any) error {
		if _, ok := input.(*dynamodb.TransactWriteItemsInput); ok {
			code := "TransactionConflict"
			return &types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{{}, {Code: &code}}}
		}
		return nil
	}
	require.ErrorIs(t, s.RotateKey(t.Context(), id), keystore.ErrConflict)
	require.ErrorIs(t, second(s.CreateKey(t.Context(), "", nil)), keystore.ErrConflict)
	e.fake.before = func(input any) error {
		if _, ok := input.(*dynamodb.TransactWriteItemsInput); ok {
			code := "ThrottlingError"
			return &types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{{Code: &code}}}
		}
		return nil
	}
	err := s.RotateKey(t.Context(), id)
	require.Error(t, err)
	require.False(t, errors.Is(err, keystore.ErrConflict) || errors.Is(err, keystore.ErrKeyExists))
}
