package peer

import (
	"io"

	"filippo.io/age"
	"github.com/minio/sio"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// Sio is MinIO's encryption of objects: AES-256-GCM in packages of 64 KiB.
func Sio() (*Peer, error) {
	config := sio.Config{MinVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: Key}
	return &Peer{
		Name:          "sio",
		EncryptWriter: func(w io.Writer) (io.WriteCloser, error) { return sio.EncryptWriter(w, config) },
		EncryptReader: func(r io.Reader) (io.Reader, error) { return sio.EncryptReader(r, config) },
		DecryptReader: func(r io.Reader) (io.Reader, error) { return sio.DecryptReader(r, config) },
	}, nil
}

// Tink is Google's streaming AEAD with AES-256-GCM in segments of any size;
// its templates have 4 KiB and 1 MiB.
func Tink(segment int) (*Peer, error) {
	aead, err := subtle.NewAESGCMHKDF(Key, "SHA256", 32, segment, 0)
	if err != nil {
		return nil, err
	}
	return &Peer{
		Name:          "tink",
		EncryptWriter: func(w io.Writer) (io.WriteCloser, error) { return aead.NewEncryptingWriter(w, nil) },
		DecryptReader: func(r io.Reader) (io.Reader, error) { return aead.NewDecryptingReader(r, nil) },
	}, nil
}

// Age encrypts files to an X25519 key: ChaCha20-Poly1305 in chunks of 64 KiB.
func Age() (*Peer, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return &Peer{
		Name:          "age",
		EncryptWriter: func(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, id.Recipient()) },
		EncryptReader: func(r io.Reader) (io.Reader, error) { return age.EncryptReader(r, id.Recipient()) },
		DecryptReader: func(r io.Reader) (io.Reader, error) { return age.Decrypt(r, id) },
	}, nil
}
