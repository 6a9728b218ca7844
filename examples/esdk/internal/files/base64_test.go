package files

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Whatever follows the padding is an error, wherever the decoder's buffers end.
func TestNothingFollowsThePadding(t *testing.T) {
	for n := range 1600 {
		text := base64.StdEncoding.EncodeToString(make([]byte, n))
		if !strings.HasSuffix(text, "=") {
			continue
		}
		for _, follows := range []string{"AAAA", "A", "AA==", "\nAAAA\n"} {
			_, err := io.ReadAll(DecodeBase64(strings.NewReader(text + follows)))
			require.Error(t, err, "%d bytes, then %q", n, follows)
		}
	}
}

func TestBase64GoesThereAndBack(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000, 100_000} {
		data := strings.Repeat("\x01\x02\xff", n)[:n]
		var text strings.Builder
		w := EncodeBase64(&text)
		for rest := data; rest != ""; {
			k := min(len(rest), 7)
			_, err := io.WriteString(w, rest[:k])
			require.NoError(t, err)
			rest = rest[k:]
		}
		require.NoError(t, w.Close())
		require.Equal(t, base64.StdEncoding.EncodeToString([]byte(data)), text.String())
		spaced := " \t\r\n" + strings.Join(strings.Split(text.String(), ""), "\v \f") + "\n"
		for _, r := range []io.Reader{strings.NewReader(spaced), iotest.OneByteReader(strings.NewReader(spaced)), iotest.DataErrReader(strings.NewReader(spaced))} {
			back, err := io.ReadAll(DecodeBase64(r))
			require.NoError(t, err)
			require.True(t, data == string(back), "%d bytes", n)
		}
	}
}

func TestMessagesInBase64AreRecognised(t *testing.T) {
	for text, want := range map[string]bool{
		"AYB": true, "Ag": true, " \r\n\tAgV4": true, "": false, "A": false, "AZ": false, "\x01\x80": false, "\x02\x05": false, "xAY": false,
	} {
		r := bufio.NewReader(strings.NewReader(text))
		got, err := LooksBase64(r)
		require.NoError(t, err)
		require.Equal(t, want, got, "%q", text)
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, text, string(rest), "nothing was taken")
	}
	_, err := LooksBase64(bufio.NewReader(iotest.ErrReader(fmt.Errorf("broken"))))
	require.ErrorContains(t, err, "broken")
}
