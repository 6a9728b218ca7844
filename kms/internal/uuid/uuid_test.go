package uuid

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextForm(t *testing.T) {
	t.Parallel()
	u := UUID{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE}
	const text = "01234567-89ab-cdef-1032-547698badcfe"
	require.Equal(t, text, u.String())
	require.Equal(t, "x"+text, string(u.Append([]byte("x"))))
	got, err := Parse(text)
	require.NoError(t, err)
	require.Equal(t, u, got)
	for i := range text { // no other form, and nothing that is none
		for _, c := range []string{"", "g", "-", "A", "0-", "\xFF"} {
			if other := text[:i] + c + text[i+1:]; other != text {
				_, err := Parse(other)
				require.ErrorContains(t, err, "no UUID in lower case", "%q", other)
			}
		}
	}
	for _, other := range []string{"", strings.ToUpper(text), "{" + text + "}", "urn:uuid:" + text, strings.ReplaceAll(text, "-", ""), text + "\x00"} {
		_, err := Parse(other)
		require.Error(t, err, "%q", other)
	}
}

func TestNewIsRandomOfVersion4(t *testing.T) {
	t.Parallel()
	seen := map[UUID]bool{}
	var or, and UUID
	for i := range and {
		and[i] = 0xFF
	}
	for range 1000 {
		u := New()
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, u.String())
		seen[u] = true
		for i := range u {
			or[i], and[i] = or[i]|u[i], and[i]&u[i]
		}
	}
	require.Len(t, seen, 1000)
	require.Equal(t, "ffffffff-ffff-4fff-bfff-ffffffffffff", or.String(), "all other bits are random")
	require.Equal(t, "00000000-0000-4000-8000-000000000000", and.String())
}
