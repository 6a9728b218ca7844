package keystore

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// Whatever the table holds, a record is refused or is one whose item is the
// same again, and never panics.
func FuzzParseRecord(f *testing.F) {
	const seed = `{"branch-key-id":"id","type":"branch:ACTIVE","version":"branch:version:83eec007-5659-4554-bf11-699b90f41ac6","create-time":"now",
		"kms-arn":"arn:aws:kms:us-east-1:1:key/a","aws-crypto-ec:a":"b"}`
	f.Add([]byte(seed), "1", []byte("enc"), "branch:ACTIVE")
	f.Add([]byte(`{"branch-key-id":"id","type":"beacon:ACTIVE","create-time":"now","kms-arn":"arn:aws:kms:us-east-1:1:key/a"}`), "1", []byte("enc"), "beacon:ACTIVE")
	f.Add([]byte(`{"enc":"a","tablename":"b"}`), "2", []byte(nil), "branch:version:")
	f.Fuzz(func(t *testing.T, attributes []byte, hierarchy string, enc []byte, typ string) {
		item := map[string]types.AttributeValue{attrHierarchy: &types.AttributeValueMemberN{Value: hierarchy}, attrEnc: &types.AttributeValueMemberB{Value: enc}}
		var all map[string]string
		if json.Unmarshal(attributes, &all) != nil {
			return
		}
		for name, value := range all {
			item[name] = &types.AttributeValueMemberS{Value: value}
		}
		r, err := parseRecord(item, "id", typ)
		if err != nil {
			require.Nil(t, r)
			require.ErrorIs(t, err, ErrRecord)
			return
		}
		require.Equal(t, item, r.item())
		ec := r.context("the name")
		require.Equal(t, "the name", ec[logicalNameKey])
		require.NotContains(t, ec, attrEnc)
		require.Len(t, ec, len(item))
		if typ != typeBeacon {
			_, err := uuid.Parse(r.version())
			require.NoError(t, err)
		}
		for key, value := range r.custom() {
			require.Equal(t, value, ec[customPrefix+key])
		}
	})
}
