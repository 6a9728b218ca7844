package esdk_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A writer gives out the header once the materials are there, each frame once
// it is complete and not before, and the final frame and the footer at Close.
func TestEncryptWriterGivesOutEachStepWhenItIsComplete(t *testing.T) {
	for _, id := range suite.All() {
		var out bytes.Buffer
		p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			require.Zero(t, out.Len(), "nothing before the materials")
			return m
		}}
		w, err := clientFor(id).NewEncryptWriter(bg, &out, p, &esdk.EncryptOptions{Suite: id, FrameLength: 10})
		require.NoError(t, err)
		header, err := w.Header().AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, header, out.Bytes())
		want := len(header)
		for _, step := range []struct{ plaintext, frames int }{{9, 0}, {0, 0}, {1, 1}, {25, 2}, {4, 0}, {1, 1}} {
			_, err = w.Write(text(step.plaintext))
			require.NoError(t, err)
			want += step.frames * (10 + format.FrameOverhead)
			require.Equal(t, want, out.Len())
		}
		require.NoError(t, w.Close())
		want += format.FinalFrameOverhead
		if id.Signing() {
			want += 2 + id.SignatureSize()
		}
		require.Equal(t, want, out.Len())
		require.Equal(t, header, out.Bytes()[:len(header)])
	}
}

// A reader gives out the whole header before it touches the plaintext.
func TestEncryptReaderGivesOutTheHeaderFirst(t *testing.T) {
	touched := false
	source := readerFunc(func(p []byte) (int, error) {
		touched = true
		return 0, errBroken
	})
	r, err := esdk.NewEncryptReader(bg, source, rawAES(t), nil)
	require.NoError(t, err)
	header, err := r.Header().AppendBinary(nil)
	require.NoError(t, err)
	got := make([]byte, len(header))
	for i := range got {
		n, err := r.Read(got[i : i+1])
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.False(t, touched)
	}
	require.Equal(t, header, got)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, errBroken)
	require.True(t, touched)
}

// Without materials nothing is written, and no plaintext is asked for.
func TestEncryptWithoutMaterialsWritesNothing(t *testing.T) {
	var out bytes.Buffer
	_, err := esdk.NewEncryptWriter(bg, &out, failing{errBroken}, nil)
	require.ErrorIs(t, err, errBroken)
	require.Zero(t, out.Len())
	_, err = esdk.NewEncryptReader(bg, readerFunc(func([]byte) (int, error) {
		t.Error("the source was read")
		return 0, errBroken
	}), failing{errBroken}, nil)
	require.ErrorIs(t, err, errBroken)
}

// Of several faults the error is that of the first step: header, materials, key
// commitment, header tag, frames in order, signature, what follows.
func TestDecryptReportsTheFirstFault(t *testing.T) {
	asked := errors.New("the provider was asked")
	for _, id := range suite.All() {
		message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10})
		l := layoutOf(t, message)
		header := l.frames[0]
		flip := func(m []byte, at int) { m[at] ^= 1 }
		altered := slices.Concat(message, []byte("more"))
		check := func(p keyprovider.MasterKeyProvider, want error, says string) {
			t.Helper()
			for _, d := range fewDecryptors {
				_, err := d.run(allowAll, altered, p, nil)
				require.ErrorIs(t, err, want, "%v, %s", id, d.name)
				require.ErrorContains(t, err, says, "%v, %s", id, d.name)
			}
		}
		check(rawAES(t), esdk.ErrTrailingData, "")
		if id.Signing() {
			flip(altered, len(message)-20)
			check(rawAES(t), esdk.ErrSignature, "")
		}
		flip(altered, l.frames[2]+30)
		check(rawAES(t), esdk.ErrAuthentication, "frame 3: ")
		flip(altered, l.frames[1]+30)
		check(rawAES(t), esdk.ErrAuthentication, "frame 2: ")
		flip(altered, l.frames[0]+3)
		check(rawAES(t), format.ErrMalformed, "frame 1 at byte")
		flip(altered, header-1)
		check(rawAES(t), esdk.ErrAuthentication, "header: ")
		if id.Committing() {
			flip(altered, header-17)
			check(rawAES(t), esdk.ErrKeyCommitment, "")
		}
		check(failing{asked}, asked, "")
		altered[0] = 3
		check(failing{asked}, format.ErrMalformed, "version at byte 0")
	}
}

// Decrypt and the stream return the header with the suite and the context.
func TestDecryptReturnsTheHeader(t *testing.T) {
	for _, id := range suite.All() {
		message, want, err := clientFor(id).Encrypt(bg, text(25), rawAES(t), &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, id, want.Suite)
		require.Equal(t, "1", want.EncryptionContext["a"])
		_, got, err := clientFor(id).Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
		d, err := clientFor(id).NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
		require.NoError(t, err)
		for _, h := range []*format.Header{got, d.Header()} {
			require.Equal(t, want.Version, h.Version)
			require.Equal(t, want.Suite, h.Suite)
			require.Equal(t, want.MessageID, h.MessageID)
			require.Equal(t, want.EncryptionContext, h.EncryptionContext)
			require.Equal(t, want.EncryptedDataKeys, h.EncryptedDataKeys)
			require.Equal(t, want.ContentType, h.ContentType)
			require.Equal(t, want.FrameLength, h.FrameLength)
			require.True(t, bytes.Equal(want.CommitKey, h.CommitKey))
			require.Equal(t, want.Tag, h.Tag)
		}
	}
}

// Without a limit a message can have as many data keys as the format holds,
// and no more.
func TestWithoutALimitAllDataKeysOfTheFormatAreTaken(t *testing.T) {
	const id = suite.AES256GCMHKDFSHA512CommitKey
	for n, ok := range map[int]bool{1: true, 2: true, 65_535: true, 65_536: false} {
		p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			foreign := keyprovider.EncryptedDataKey{ProviderID: "foreign"}
			m.EncryptedDataKeys = append(slices.Repeat([]keyprovider.EncryptedDataKey{foreign}, n-1), m.EncryptedDataKeys...)
			return m
		}}
		message, _, err := esdk.Encrypt(bg, []byte("x"), p, &esdk.EncryptOptions{Suite: id})
		if !ok {
			require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
			continue
		}
		require.NoError(t, err)
		plaintext, h, err := esdk.Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(plaintext))
		require.Len(t, h.EncryptedDataKeys, n)
		_, _, err = (&esdk.Client{MaxEncryptedDataKeys: n}).Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
	}
}

// A manager may add pairs on encryption and take them away on decryption: the
// header is authenticated as it was received.
func TestManagersMayChangeTheEncryptionContext(t *testing.T) {
	for _, id := range suite.All() {
		p := &manager{inner: rawAES(t)}
		p.encrypt = func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			ec := map[string]string{"added": "by the manager"}
			for k, v := range m.EncryptionContext {
				ec[k] = v
			}
			m.EncryptionContext = ec
			return m
		}
		var key []byte
		p.inner = plain{} // binds no context to the data key
		message, h, err := clientFor(id).Encrypt(bg, text(25), p, &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, "by the manager", h.EncryptionContext["added"])
		stored, err := format.ReadHeader(bytes.NewReader(message), 0)
		require.NoError(t, err)
		require.Equal(t, h.EncryptionContext, stored.EncryptionContext)

		p.decrypt = func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
			require.Contains(t, m.EncryptionContext, "added")
			key = m.DataKey
			m.EncryptionContext = map[string]string{"a": m.EncryptionContext["a"]}
			return m
		}
		plaintext, h, err := clientFor(id).Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, text(25), plaintext)
		require.Equal(t, map[string]string{"a": "1"}, h.EncryptionContext)
		require.Zero(t, len(bytes.Trim(key, "\x00")))
	}
}
