package suite_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/suite"
)

func TestZeroPolicyIsTheStrictest(t *testing.T) {
	var zero suite.CommitmentPolicy
	require.Equal(t, suite.RequireEncryptRequireDecrypt, zero)
}

func TestPolicies(t *testing.T) {
	for _, test := range []struct {
		policy suite.CommitmentPolicy
		name   string
		def    suite.ID
		// which suites it allows
		encrypt, decrypt func(suite.ID) bool
	}{
		{suite.RequireEncryptRequireDecrypt, "REQUIRE_ENCRYPT_REQUIRE_DECRYPT", 0x0578, committing, committing},
		{suite.RequireEncryptAllowDecrypt, "REQUIRE_ENCRYPT_ALLOW_DECRYPT", 0x0578, committing, all},
		{suite.ForbidEncryptAllowDecrypt, "FORBID_ENCRYPT_ALLOW_DECRYPT", 0x0378, uncommitting, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.True(t, test.policy.Valid())
			require.Equal(t, test.name, test.policy.String())
			require.Equal(t, test.def, test.policy.Default())
			require.True(t, test.policy.AllowsEncrypt(test.policy.Default()))
			require.True(t, test.policy.AllowsDecrypt(test.policy.Default()))
			for _, id := range suite.All() {
				require.Equal(t, test.encrypt(id), test.policy.AllowsEncrypt(id), id)
				require.Equal(t, test.decrypt(id), test.policy.AllowsDecrypt(id), id)
			}
			for _, id := range invalid {
				require.False(t, test.policy.AllowsEncrypt(id), id)
				require.False(t, test.policy.AllowsDecrypt(id), id)
			}
		})
	}
}

func committing(id suite.ID) bool   { return id == 0x0478 || id == 0x0578 }
func uncommitting(id suite.ID) bool { return !committing(id) }
func all(suite.ID) bool             { return true }

func TestUnknownPoliciesAllowNothing(t *testing.T) {
	for p := suite.ForbidEncryptAllowDecrypt + 1; p != 0; p++ {
		require.False(t, p.Valid())
		require.Zero(t, p.Default())
		require.Contains(t, p.String(), "commitment policy ")
		for _, id := range suite.All() {
			require.False(t, p.AllowsEncrypt(id))
			require.False(t, p.AllowsDecrypt(id))
		}
	}
	require.Equal(t, "commitment policy 3", suite.CommitmentPolicy(3).String())
	require.Equal(t, "commitment policy 255", suite.CommitmentPolicy(255).String())
}
