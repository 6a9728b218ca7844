package keyprovider_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

func TestDecryptErrorPrintsTheFirstEightCauses(t *testing.T) {
	causes := make([]error, 65535)
	for i := range causes {
		causes[i] = fmt.Errorf("cause %d", i+1)
	}
	eight := "no data key could be decrypted: cause 1; cause 2; cause 3; cause 4; cause 5; cause 6; cause 7; cause 8"
	for n, want := range map[int]string{
		0:     "no data key could be decrypted",
		1:     "no data key could be decrypted: cause 1",
		2:     "no data key could be decrypted: cause 1; cause 2",
		8:     eight,
		9:     eight + "; and 1 more",
		65535: eight + "; and 65527 more",
	} {
		require.EqualError(t, &keyprovider.DecryptError{Causes: causes[:n]}, want)
	}
}

// A typed error, as a KMS client returns it.
type typedError struct{ code int }

func (e *typedError) Error() string { return fmt.Sprint("code ", e.code) }

func TestDecryptErrorUnwrapsToEveryCause(t *testing.T) {
	var causes []error
	for range 20 {
		causes = append(causes, errors.New("other"))
	}
	causes = append(causes, fmt.Errorf("key: %w", errBroken), fmt.Errorf("key: %w", &typedError{7}))
	err := fmt.Errorf("outer: %w", &keyprovider.DecryptError{Causes: causes})
	require.ErrorIs(t, err, errBroken)
	var typed *typedError
	require.ErrorAs(t, err, &typed)
	require.Equal(t, 7, typed.code)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	require.Len(t, failure.Causes, 22)
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
}

func TestDecryptErrorHasACauseForEachEntryTried(t *testing.T) {
	p := newAES(t, "name", 32)
	good := generate(t, p, request()).Encrypted
	var entries []keyprovider.EncryptedDataKey
	for i := range 20 {
		bad := good
		bad.Ciphertext = bytes.Repeat([]byte{byte(i)}, 48)
		entries = append(entries, bad, keyprovider.EncryptedDataKey{ProviderID: "other"})
	}
	causes := requireRefused(t, p, request(), entries...)
	require.Len(t, causes, 20)
	for i, cause := range causes {
		require.True(t, strings.HasPrefix(cause.Error(), fmt.Sprintf(`encrypted data key %d ("namespace"): `, 2*i+1)), cause)
	}
}

// Entries that cannot be the provider's cost little, however many there are.
func TestDecryptErrorHasFewCausesForEntriesSkipped(t *testing.T) {
	rsaKey := newRSA(t, "name", keyprovider.OAEPSHA256)
	for _, p := range []keyprovider.MasterKeyProvider{newAES(t, "name", 32), rsaKey} {
		bad := generate(t, p, request()).Encrypted
		bad.Ciphertext = bad.Ciphertext[:len(bad.Ciphertext)-1]
		causes := requireRefused(t, p, request(), slices.Repeat([]keyprovider.EncryptedDataKey{bad}, 1000)...)
		require.Len(t, causes, 10)
		require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
		require.ErrorContains(t, causes[8], `encrypted data key 8 ("namespace"): skipped: ciphertext of `)
		require.EqualError(t, causes[9], "992 more encrypted data keys skipped")
	}
}

func TestDecryptErrorPrintsAnything(t *testing.T) {
	require.EqualError(t, &keyprovider.DecryptError{Causes: []error{nil}}, "no data key could be decrypted: <nil>")
	require.EqualError(t, &keyprovider.DecryptError{}, "no data key could be decrypted")
}

func TestNoEntriesGiveErrNoMatch(t *testing.T) {
	for _, p := range []keyprovider.MasterKeyProvider{
		newAES(t, "name", 32), newRSA(t, "name", keyprovider.OAEPSHA256), newMulti(t, newAES(t, "name", 32)),
	} {
		causes := requireRefused(t, p, request())
		require.Len(t, causes, 1)
		require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
	}
}
