package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A server keeps each file as a message of the same name. The message's encryption
// context has the name too, so that files which somebody exchanged in the folder
// do not decrypt.
type server struct {
	root     *os.Root // no name leads out of it, whatever links there are
	provider keyprovider.MasterKeyProvider
	log      *log.Logger
}

// maxMessage is the most bytes that a message may have on the disk.
const maxMessage = 10 << 30

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("PUT /files/{name}", s.upload)
	mux.HandleFunc("GET /files/{name}", s.download)
	mux.HandleFunc("GET /streams/{name}", s.stream)
	return http.NewCrossOriginProtection().Handler(mux) // other sites' pages cannot upload
}

// fileName returns the name in the request, if a file may be called that.
func fileName(w http.ResponseWriter, r *http.Request) (name string, ok bool) {
	name = r.PathValue("name")
	ok = len(name) <= 200 && filepath.IsLocal(name) && !strings.ContainsAny(name, `/\:`) &&
		!strings.HasPrefix(name, ".") // which unfinished uploads have
	if !ok {
		http.Error(w, "no file can have this name", http.StatusBadRequest)
	}
	return name, ok
}

// fail answers with an error and logs its cause.
func (s *server) fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.log.Printf("%s %q: %v", r.Method, r.URL.Path, err)
	h := w.Header()
	for name := range h {
		h.Del(name) // what was meant for the file
	}
	http.Error(w, http.StatusText(status), status)
}

// upload encrypts the body of the request as it comes in. The file is there as a
// whole, or as it was before.
func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	name, ok := fileName(w, r)
	if !ok {
		return
	}
	temporary := ".upload-" + rand.Text()
	f, err := s.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err)
		return
	}
	defer s.root.Remove(temporary) // fails once it has the other name
	header, err := s.encrypt(f, r, name)
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.root.Rename(temporary, name)
	}
	switch {
	case err == nil:
		w.Header().Set("ETag", etag(header))
		w.WriteHeader(http.StatusCreated)
	case errors.Is(err, esdk.ErrPlaintextTooLong):
		s.fail(w, r, http.StatusRequestEntityTooLarge, err)
	case errors.Is(err, io.ErrUnexpectedEOF): // the body is shorter than its Content-Length
		s.fail(w, r, http.StatusBadRequest, err)
	default:
		s.fail(w, r, http.StatusInternalServerError, err)
	}
}

func (s *server) encrypt(f *os.File, r *http.Request, name string) (*format.Header, error) {
	e, err := esdk.NewEncryptWriter(r.Context(), f, s.provider, &esdk.EncryptOptions{
		EncryptionContext: map[string]string{"file": name},
		// Unsigned: whoever can decrypt a file here can also write one, and to verify
		// the signature each download of a range would have to read all of it.
		Suite:              suite.AES256GCMHKDFSHA512CommitKey,
		FrameLength:        64 << 10, // this much is decrypted for a range of one byte
		MaxPlaintextLength: maxMessage,
	})
	if err != nil {
		return nil, err
	}
	if r.ContentLength >= 0 { // it is known, and with it the exact length of the message
		if size, err := e.Header().MessageLength(r.ContentLength); err != nil || size > maxMessage {
			return nil, fmt.Errorf("%w: %d bytes", esdk.ErrPlaintextTooLong, r.ContentLength)
		}
	}
	if _, err := io.Copy(e, r.Body); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil { // without it there is no message
		return nil, err
	}
	return e.Header(), f.Sync()
}

// etag is a strong validator, as every message has another ID.
func etag(h *format.Header) string { return `"` + hex.EncodeToString(h.MessageID) + `"` }

// open opens the file of the request, or answers with an error.
func (s *server) open(w http.ResponseWriter, r *http.Request) (name string, f *os.File, info fs.FileInfo, ok bool) {
	if name, ok = fileName(w, r); !ok {
		return "", nil, nil, false
	}
	f, err := s.root.Open(name)
	if err == nil {
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			return name, f, info, true
		}
		f.Close()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
	} else {
		s.fail(w, r, http.StatusInternalServerError, err)
	}
	return "", nil, nil, false
}

// decryptOptions are those for the file with this name.
func decryptOptions(name string) *esdk.DecryptOptions {
	return &esdk.DecryptOptions{EncryptionContext: map[string]string{"file": name}, MaxFrameLength: 1 << 20}
}

// describe sets what the headers of a file say besides its length and type.
func describe(w http.ResponseWriter, h *format.Header) {
	w.Header().Set("ETag", etag(h))
	w.Header().Set("Content-Security-Policy", "sandbox") // a page that somebody uploaded is not a page of this site
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// download decrypts what the request asks for, and no more: http.ServeContent
// answers Range, If-Range, If-None-Match and HEAD.
func (s *server) download(w http.ResponseWriter, r *http.Request) {
	name, f, info, ok := s.open(w, r)
	if !ok {
		return
	}
	defer f.Close()
	d, err := esdk.NewDecryptReaderAt(r.Context(), f, info.Size(), s.provider, decryptOptions(name))
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err)
		return
	}
	describe(w, d.Header())
	content := &watched{ReadSeeker: io.NewSectionReader(d, 0, d.Size())}
	http.ServeContent(w, r, name, info.ModTime(), content)
	if err := content.err.Load(); err != nil {
		s.abort(r, *err)
	}
}

// abort ends the connection, because bytes have gone out already: a client must
// not take them for the whole file.
func (s *server) abort(r *http.Request, err error) {
	s.log.Printf("%s %q: aborted: %v", r.Method, r.URL.Path, err)
	panic(http.ErrAbortHandler)
}

// watched remembers the error of Read, which http.ServeContent tells nobody. For
// several ranges that calls Read on a goroutine of its own.
type watched struct {
	io.ReadSeeker
	err atomic.Pointer[error]
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		w.err.Store(&err)
	}
	return n, err
}

// stream decrypts the whole file from start to end. It reads the file as a stream,
// and so it is the way for messages that come from where nobody can seek. Of a
// signed message, the last frame goes out after the signature was verified.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	name, f, info, ok := s.open(w, r)
	if !ok {
		return
	}
	defer f.Close()
	d, err := esdk.NewDecryptReader(r.Context(), f, s.provider, decryptOptions(name))
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err)
		return
	}
	describe(w, d.Header())
	w.Header().Set("Content-Type", "application/octet-stream")
	// Exact for a message that this package wrote. A client that gets less knows
	// that bytes are missing.
	length, err := d.Header().PlaintextLength(info.Size())
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	if r.Method == http.MethodHead {
		return
	}
	n, err := io.Copy(w, d)
	switch {
	case err == nil: // all of it has been verified
	case n == 0:
		s.fail(w, r, http.StatusInternalServerError, err)
	default:
		s.abort(r, err)
	}
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8"><title>Files</title>
<h1>Files</h1>
{{range .}}<p><a href="{{.URL}}">{{.Name}}</a><br>
{{if eq .Kind "image"}}<img src="{{.URL}}" alt="" style="max-width: 100%">{{end}}
{{if eq .Kind "video"}}<video src="{{.URL}}" controls preload="metadata" style="max-width: 100%"></video>{{end}}
</p>{{else}}<p>None yet.</p>{{end}}
`))

var kinds = map[string]string{
	".gif": "image", ".jpg": "image", ".jpeg": "image", ".png": "image", ".webp": "image",
	".mp3": "video", ".mp4": "video", ".ogg": "video", ".wav": "video", ".webm": "video",
}

// index shows what is in the folder. A browser asks for videos in ranges.
func (s *server) index(w http.ResponseWriter, r *http.Request) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err)
		return
	}
	type file struct{ Name, URL, Kind string }
	var files []file
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, file{e.Name(), "/files/" + url.PathEscape(e.Name()), kinds[strings.ToLower(path.Ext(e.Name()))]})
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, files); err != nil {
		s.abort(r, err)
	}
}
