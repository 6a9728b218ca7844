package keystore

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// Creation times are in UTC, with all six digits, wherever the program runs.
func TestCreationTimesAreOfOneForm(t *testing.T) {
	t.Parallel()
	here := time.FixedZone("east", 2*60*60+30*60)
	for want, when := range map[string]time.Time{
		"2023-06-03T22:33:29.358000Z": time.Date(2023, 6, 4, 1, 3, 29, 358e6, here),
		"2023-06-03T19:03:29.000000Z": time.Date(2023, 6, 3, 19, 3, 29, 999, time.UTC),
		"2023-06-03T19:03:29.123456Z": time.Date(2023, 6, 3, 19, 3, 29, 123456789, time.UTC),
	} {
		require.Equal(t, want, newVersion(make(map[string]string), when).attributes[attrCreated])
	}
}

// Attributes that are nil pointers, which no server sends, are refused too.
func TestNilAttributesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{attrEnc, attrHierarchy, attrID, "note"} {
		for _, value := range []types.AttributeValue{
			nil, (*types.AttributeValueMemberB)(nil), (*types.AttributeValueMemberN)(nil), (*types.AttributeValueMemberS)(nil),
		} {
			_, err := parseRecord(map[string]types.AttributeValue{name: value}, "id", typeActive)
			require.ErrorIs(t, err, ErrRecord)
			require.ErrorContains(t, err, " is not ")
		}
	}
}
