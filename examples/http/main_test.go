package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// A site is the server of the example with a folder of its own.
type site struct {
	*httptest.Server
	client *http.Client
	dir    string
	log    *safeBuffer
	p      keyprovider.MasterKeyProvider
}

func newSite(t *testing.T) *site {
	return startSite(t, (*httptest.Server).Start, func(h http.Handler) http.Handler { return h })
}

// startSite starts one, by HTTP or by HTTP/2 and TLS. wrap may add to what it
// serves.
func startSite(t *testing.T, start func(*httptest.Server), wrap func(http.Handler) http.Handler) *site {
	t.Helper()
	p, err := keyprovider.NewRawAES("test", "key", make([]byte, 32))
	require.NoError(t, err)
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	out := new(safeBuffer)
	s := &server{root: root, provider: p, log: log.New(out, "", 0)}
	web := httptest.NewUnstartedServer(wrap(s.handler()))
	web.EnableHTTP2 = true
	web.Config.ErrorLog = log.New(out, "", 0)
	start(web)
	t.Cleanup(web.Close)
	return &site{Server: web, client: web.Client(), dir: dir, log: out, p: p}
}

// safeBuffer is written by all goroutines of a server.
type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// do sends a request. header has names and values in turn.
func (s *site) do(t *testing.T, method, path string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// get is do for GET, and reads the body.
func (s *site) get(t *testing.T, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	res := s.do(t, "GET", path, nil, header...)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, body
}

func (s *site) put(t *testing.T, name string, b []byte) {
	t.Helper()
	require.Equal(t, http.StatusCreated, s.do(t, "PUT", "/files/"+name, bytes.NewReader(b)).StatusCode)
}

func text(n int) []byte {
	return []byte(strings.Repeat("0123456789abcdef\n", n/17+1)[:n])
}

func TestWhatIsUploadedIsEncryptedAndComesBack(t *testing.T) {
	s := newSite(t)
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3 << 20} {
		for _, body := range []io.Reader{bytes.NewReader(text(n)), io.MultiReader(bytes.NewReader(text(n)))} { // the second: of unknown length
			put := s.do(t, "PUT", "/files/a file.txt", body)
			require.Equal(t, http.StatusCreated, put.StatusCode)
			message, err := os.ReadFile(filepath.Join(s.dir, "a file.txt"))
			require.NoError(t, err)
			require.False(t, n > 1 && bytes.Contains(message, text(min(n, 50))))
			plaintext, h, err := esdk.Decrypt(t.Context(), message, s.p, nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(text(n), plaintext))
			require.Equal(t, map[string]string{"file": "a file.txt"}, h.UserContext())

			for path, kind := range map[string]string{"/files/a%20file.txt": "text/plain; charset=utf-8", "/streams/a%20file.txt": "application/octet-stream"} {
				head := s.do(t, "HEAD", path, nil)
				res, got := s.get(t, path)
				require.True(t, bytes.Equal(text(n), got), path)
				for _, res := range []*http.Response{head, res} {
					require.Equal(t, http.StatusOK, res.StatusCode, path)
					require.EqualValues(t, n, res.ContentLength, path)
					require.Equal(t, kind, res.Header.Get("Content-Type"))
					require.Equal(t, put.Header.Get("ETag"), res.Header.Get("ETag"))
				}
			}
		}
	}
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file")
	require.Empty(t, s.log.String())
}

func TestRanges(t *testing.T) {
	s := newSite(t)
	plaintext := text(300_000)
	s.put(t, "f", plaintext)
	res, _ := s.get(t, "/files/f")
	require.Equal(t, "bytes", res.Header.Get("Accept-Ranges"))
	tag := res.Header.Get("ETag")
	for want, part := range map[string][2]int{
		"bytes=0-0": {0, 1}, "bytes=65535-65536": {65535, 65537}, "bytes=100000-": {100_000, 300_000},
		"bytes=-5": {299_995, 300_000}, "bytes=299999-400000": {299_999, 300_000},
	} {
		res, got := s.get(t, "/files/f", "Range", want)
		require.Equal(t, http.StatusPartialContent, res.StatusCode, want)
		require.Equal(t, plaintext[part[0]:part[1]], got, want)
		require.Equal(t, fmt.Sprintf("bytes %d-%d/300000", part[0], part[1]-1), res.Header.Get("Content-Range"))
	}
	res, _ = s.get(t, "/files/f", "Range", "bytes=300000-")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, res.StatusCode)

	res, body := s.get(t, "/files/f", "Range", "bytes=5-9,200000-200009")
	require.Equal(t, http.StatusPartialContent, res.StatusCode)
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for _, want := range [][]byte{plaintext[5:10], plaintext[200_000:200_010]} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}

	res, got := s.get(t, "/files/f", "Range", "bytes=5-9", "If-Range", tag)
	require.Equal(t, http.StatusPartialContent, res.StatusCode)
	require.Equal(t, plaintext[5:10], got)
	res, _ = s.get(t, "/files/f", "If-None-Match", tag)
	require.Equal(t, http.StatusNotModified, res.StatusCode)
	s.put(t, "f", plaintext) // the same again is another message
	res, got = s.get(t, "/files/f", "Range", "bytes=5-9", "If-Range", tag)
	require.Equal(t, http.StatusOK, res.StatusCode, "the parts would be of two uploads")
	require.Len(t, got, 300_000)
	require.Empty(t, s.log.String())
}

// An altered frame ends the answer: a client never takes what it got for the
// whole. What was altered is not in it.
func TestADownloadThatFailsIsCutShort(t *testing.T) {
	s := newSite(t)
	plaintext := text(300_000)
	s.put(t, "f", plaintext)
	name := filepath.Join(s.dir, "f")
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	altered := bytes.Clone(whole)
	altered[200_000] ^= 1
	require.NoError(t, os.WriteFile(name, altered, 0o600))
	const bad = 200_000 / (64 << 10) * (64 << 10) // where the frame begins
	for _, path := range []string{"/files/f", "/streams/f"} {
		for _, ranges := range []string{"", "bytes=100-250000", "bytes=0-9,100000-250000"} {
			res := s.do(t, "GET", path, nil, "Range", ranges)
			require.Less(t, res.StatusCode, 300)
			got, err := io.ReadAll(res.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s, %s", path, ranges)
			if !strings.Contains(ranges, ",") {
				require.LessOrEqual(t, len(got), bad)
				require.True(t, bytes.Contains(plaintext, got))
			}
		}
	}
	require.Contains(t, s.log.String(), `GET "/files/f": aborted: esdk: frame 4: authentication failed`)
	require.NotContains(t, s.log.String(), "panic")
	two := startSite(t, (*httptest.Server).StartTLS, func(h http.Handler) http.Handler { return h })
	require.NoError(t, os.WriteFile(filepath.Join(two.dir, "f"), altered, 0o600))
	for _, path := range []string{"/files/f", "/streams/f"} {
		res := two.do(t, "GET", path, nil)
		require.Equal(t, 2, res.ProtoMajor)
		_, err := io.ReadAll(res.Body)
		require.ErrorContains(t, err, "stream error", path)
	}
	_, got := s.get(t, "/files/f", "Range", "bytes=0-99")
	require.Equal(t, plaintext[:100], got, "what is not altered can be read")

	// What fails before anything went out has an answer.
	for what, b := range map[string][]byte{"cut": whole[:len(whole)-1], "empty": nil, "a header's byte": append([]byte{9}, whole[1:]...)} {
		require.NoError(t, os.WriteFile(name, b, 0o600))
		res, body := s.get(t, "/files/f")
		require.Equal(t, http.StatusInternalServerError, res.StatusCode, what)
		require.Equal(t, "Internal Server Error\n", string(body), "what is wrong is for the log")
		require.Empty(t, res.Header.Get("ETag"))
	}
	altered = bytes.Clone(whole)
	altered[1000] ^= 1 // the first frame
	require.NoError(t, os.WriteFile(name, altered, 0o600))
	res, _ := s.get(t, "/streams/f")
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
}

func TestAFileUnderAnotherNameDoesNotDecrypt(t *testing.T) {
	s := newSite(t)
	s.put(t, "mine", []byte("a"))
	s.put(t, "theirs", []byte("b"))
	require.NoError(t, os.Rename(filepath.Join(s.dir, "theirs"), filepath.Join(s.dir, "mine")))
	for _, path := range []string{"/files/mine", "/streams/mine"} {
		res, _ := s.get(t, path)
		require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	}
	require.Contains(t, s.log.String(), `the message has another value for the key "file"`)
}

// A file stays as it was until its successor is there as a whole.
func TestAnUploadThatFailsChangesNothing(t *testing.T) {
	s := newSite(t)
	s.put(t, "f", []byte("before"))
	body, sent := io.Pipe()
	go func() {
		sent.Write(text(100_000))
		sent.CloseWithError(errors.New("the client goes away"))
	}()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", s.URL+"/files/f", body)
	require.NoError(t, err)
	_, err = s.client.Do(req)
	require.Error(t, err)

	// With its header and tags it is too long: that is known before the body comes.
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /files/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", int64(maxMessage))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
	conn.Close()

	s.Close() // waits for the handlers
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file")
	message, err := os.ReadFile(filepath.Join(s.dir, "f"))
	require.NoError(t, err)
	plaintext, _, err := esdk.Decrypt(t.Context(), message, s.p, nil)
	require.NoError(t, err)
	require.Equal(t, "before", string(plaintext))
}

func TestNames(t *testing.T) {
	s := newSite(t)
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(s.dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "folder"), 0o700))
	for name, want := range map[string]int{
		"%2e%2e%2foutside": http.StatusBadRequest, "..%5coutside": http.StatusBadRequest, ".upload-x": http.StatusBadRequest,
		"folder%2Ff": http.StatusBadRequest, strings.Repeat("x", 201): http.StatusBadRequest, "c:x": http.StatusBadRequest,
		"none": http.StatusNotFound, "folder": http.StatusNotFound, "link": http.StatusInternalServerError,
	} {
		for _, path := range []string{"/files/", "/streams/"} {
			res, body := s.get(t, path+name)
			require.Equal(t, want, res.StatusCode, name)
			require.NotContains(t, string(body), "secret")
		}
		if want == http.StatusBadRequest {
			require.Equal(t, want, s.do(t, "PUT", "/files/"+name, strings.NewReader("x")).StatusCode, name)
		}
	}
	res := s.do(t, "PUT", "/files/folder", strings.NewReader("x"))
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	s.put(t, "link", []byte("replaces the link")) // and not what it leads to
	b, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "secret", string(b))
	res = s.do(t, "PUT", "/files/f", strings.NewReader("x"), "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// The program prints commands that work, and ends when it is interrupted.
func TestRun(t *testing.T) {
	dir, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{{}, {"-key", key, dir}, {"-key", key, dir}} {
		ctx, cancel := context.WithCancel(t.Context())
		out, printed := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), printed, io.Discard)
		}()
		b := make([]byte, 1000)
		n, err := out.Read(b)
		require.NoError(t, err)
		url := regexp.MustCompile(`http://127.0.0.1:\d+`).FindString(string(b[:n]))
		require.NotEmpty(t, url)
		require.Contains(t, string(b[:n]), "curl -f -r 100-199 -o part "+url+"/files/photo.png")
		s := &site{Server: &httptest.Server{URL: url}, client: http.DefaultClient}
		if _, body := s.get(t, "/"); len(args) > 0 && strings.Contains(string(body), "photo.png") {
			_, body = s.get(t, "/files/photo.png")
			require.Equal(t, text(1000), body, "of the run before")
		}
		s.put(t, "photo.png", text(1000))
		_, body := s.get(t, "/files/photo.png", "Range", "bytes=100-199")
		require.Equal(t, text(1000)[100:200], body)
		_, body = s.get(t, "/")
		require.Contains(t, string(body), `<img src="/files/photo.png"`)
		cancel()
		require.NoError(t, <-ended)
	}
	require.NoError(t, os.WriteFile(key, []byte("short"), 0o600))
	for want, args := range map[string][]string{
		"5 bytes, a key has 32": {"-key", key, dir},
		"-h shows the options":  {"-x"},
		"or neither":            {dir},
		"listen tcp":            {"-listen", "nowhere"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
}

// wav returns seconds of silence.
func wav(seconds int) []byte {
	const rate = 8000
	le := func(n int, v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}[:n] }
	data := make([]byte, seconds*rate*2)
	return bytes.Join([][]byte{
		[]byte("RIFF"), le(4, 36+len(data)), []byte("WAVEfmt "), le(4, 16), le(2, 1), le(2, 1),
		le(4, rate), le(4, 2*rate), le(2, 2), le(2, 16), []byte("data"), le(4, len(data)), data,
	}, nil)
}

// A browser shows an image and plays a video: it asks for ranges, also from the
// middle. The video is a sound, which a video element plays as well.
func TestInChromium(t *testing.T) {
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = found
		}
	}
	if chromium == "" {
		t.Skip("no Chromium on PATH")
	}
	said := make(chan string, 1)
	var ranges safeBuffer
	s := startSite(t, (*httptest.Server).Start, func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /test", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, testPage)
		})
		mux.HandleFunc("POST /said", func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
			select {
			case said <- string(b):
			default:
			}
		})
		mux.HandleFunc("GET /files/", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(&ranges, r.URL.Path, r.Header.Get("Range"))
			h.ServeHTTP(w, r)
		})
		mux.Handle("/", h)
		return mux
	})
	var picture bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 300, 200))
	for i := range 300 * 200 {
		img.Set(i%300, i/300, color.RGBA{byte(i % 300), byte(i / 300), 200, 255})
	}
	require.NoError(t, png.Encode(&picture, img))
	s.put(t, "picture.png", picture.Bytes())
	s.put(t, "video.wav", wav(600)) // 9.6 MB, so that all of it is not fetched at once

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{
		"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", "--user-data-dir=" + t.TempDir(),
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	browser := exec.CommandContext(ctx, chromium, append(args, s.URL+"/test")...)
	var output safeBuffer
	browser.Stdout, browser.Stderr = &output, &output
	browser.Cancel = func() error { return browser.Process.Signal(os.Interrupt) } // so that it ends its helpers
	browser.WaitDelay = 10 * time.Second
	require.NoError(t, browser.Start())
	ended := make(chan struct{})
	go func() { browser.Wait(); close(ended) }()
	defer func() { cancel(); <-ended }()
	select {
	case got := <-said:
		require.Equal(t, "image 300x200, 77 66 200; video 600 s, at 400 s", got, "%s", &output)
	case <-ended:
		t.Fatalf("Chromium ended: %s", &output)
	}
	require.Regexp(t, `/files/picture.png`, ranges.String())
	require.Regexp(t, `/files/video.wav bytes=0-`, ranges.String())
	require.Regexp(t, `/files/video.wav bytes=[1-9]\d{5,}-`, ranges.String(), "from the middle")
}

// testPage looks at the site's own page, and says what it saw there.
const testPage = `<!doctype html><iframe id="site" src="/" width="800" height="600"></iframe><script>
const once = (of, name) => new Promise((yes, no) => {
	of.addEventListener(name, yes, { once: true })
	of.addEventListener("error", () => no(new Error(of.tagName + " error " + (of.error ? of.error.message : ""))), { once: true })
})
async function look() {
	const frame = document.getElementById("site")
	await once(frame, "load")
	const page = frame.contentDocument
	const image = page.querySelector("img")
	await image.decode()
	const canvas = document.createElement("canvas")
	canvas.width = image.naturalWidth; canvas.height = image.naturalHeight
	const drawn = canvas.getContext("2d")
	drawn.drawImage(image, 0, 0)
	const pixel = drawn.getImageData(77, 66, 1, 1).data
	const video = page.querySelector("video")
	if (video.readyState < 1) await once(video, "loadedmetadata")
	video.currentTime = 400
	await once(video, "seeked")
	return "image " + image.naturalWidth + "x" + image.naturalHeight + ", " + pixel[0] + " " + pixel[1] + " " + pixel[2] +
		"; video " + Math.round(video.duration) + " s, at " + Math.round(video.currentTime) + " s"
}
look().catch(String).then(said => fetch("/said", { method: "POST", body: said }))
</script>`
