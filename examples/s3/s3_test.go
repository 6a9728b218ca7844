package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// A front stands before an S3, counts requests, and can break answers.
type front struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // method, object and range
	change   func(*http.Response) error
}

// onMoto reports whether the S3 is that of AWS_ENDPOINT_URL_S3 and not gofakes3.
func onMoto() bool { return os.Getenv("AWS_ENDPOINT_URL_S3") != "" }

// newBucket returns a bucket of its own: of the S3 that AWS_ENDPOINT_URL_S3 names
// if it is set, such as moto's, else of one within the process.
func newBucket(t *testing.T, start func(*httptest.Server)) (*bucket, *front) {
	t.Helper()
	ctx, name := t.Context(), fmt.Sprintf("test-%x", time.Now().UnixNano())
	var endpoint string
	if endpoint = os.Getenv("AWS_ENDPOINT_URL_S3"); endpoint == "" {
		client, stop, err := localS3(ctx, name)
		require.NoError(t, err)
		t.Cleanup(stop)
		endpoint = *client.Options().BaseEndpoint
	} else {
		cfg, err := config.LoadDefaultConfig(ctx)
		require.NoError(t, err)
		_, err = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
		require.NoError(t, err)
	}
	to, err := url.Parse(endpoint)
	require.NoError(t, err)
	f := &front{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // it is signed
		ModifyResponse: func(res *http.Response) error {
			f.mu.Lock()
			change := f.change
			f.mu.Unlock()
			if change != nil {
				return change(res)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { panic(http.ErrAbortHandler) },
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/"+name+"/")+" "+r.Header.Get("Range")))
		f.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	start(f.Server)
	t.Cleanup(f.Close)
	client := s3.NewFromConfig(aws.Config{
		BaseEndpoint: &f.URL, Region: "us-east-1", RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, HTTPClient: f.Client(), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, func(o *s3.Options) { o.UsePathStyle = true })
	return &bucket{client: client, name: name, provider: key(t, "key"), stdout: io.Discard}, f
}

// seen returns the requests since the last call.
func (f *front) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.requests
	f.requests = nil
	return seen
}

func (f *front) changeBy(change func(*http.Response) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = change
}

func key(t *testing.T, name string) keyprovider.MasterKeyProvider {
	t.Helper()
	p, err := keyprovider.NewRawAES("test", name, bytes.Repeat([]byte(name[:1]), 32))
	require.NoError(t, err)
	return p
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

// fileOf returns the name of a file with n bytes.
func fileOf(t *testing.T, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, text(n), 0o600))
	return name
}

// stored returns what the bucket has.
func (b *bucket) stored(t *testing.T, object string) []byte {
	t.Helper()
	out, err := b.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b.name, Key: &object})
	require.NoError(t, err)
	defer out.Body.Close()
	message, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	return message
}

func (b *bucket) store(t *testing.T, object string, message []byte) {
	t.Helper()
	_, err := b.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b.name, Key: &object, Body: bytes.NewReader(message)})
	require.NoError(t, err)
}

func TestPutAndGet(t *testing.T) {
	b, f := newBucket(t, (*httptest.Server).Start)
	for _, n := range []int{0, 1, 64 << 10, 1 << 20, 17 << 20} {
		require.NoError(t, b.put(t.Context(), fileOf(t, n), "o"))
		puts := f.seen()
		if n >= 17<<20 {
			require.Len(t, puts, 5, "create, three parts, complete: %q", puts)
		} else {
			require.Equal(t, []string{"PUT o"}, puts)
		}
		plaintext, h, err := esdk.Decrypt(t.Context(), b.stored(t, "o"), b.provider, nil)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text(n), plaintext))
		require.Equal(t, b.about("o"), h.UserContext())
		f.seen()

		file := filepath.Join(t.TempDir(), "got")
		var out strings.Builder
		b.stdout = &out
		require.NoError(t, b.get(t.Context(), "o", file))
		require.Equal(t, fmt.Sprintf("got o: %d bytes\n", n), out.String())
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text(n), got))
		require.LessOrEqual(t, len(f.seen()), 2, "the start, and the rest")
	}
}

// One request for the start, one for the end, and one for each 8 MiB of a range.
func TestRange(t *testing.T) {
	const size = 20<<20 + 5
	b, f := newBucket(t, (*httptest.Server).Start)
	require.NoError(t, b.put(t.Context(), fileOf(t, size), "o"))
	for _, of := range []struct{ offset, length, want, requests int }{
		{0, 1, 1, 1}, {5 << 20, 100, 100, 1}, {100, 9 << 20, 9 << 20, 2}, {size - 3, 100, 3, 0}, {size, 10, 0, 0}, {0, size, size, 3}, {70_000, 0, 0, 0},
	} {
		f.seen()
		var out bytes.Buffer
		b.stdout = &out
		require.NoError(t, b.printRange(t.Context(), "o", int64(of.offset), int64(of.length)))
		require.True(t, bytes.Equal(text(size)[of.offset:of.offset+of.want], out.Bytes()))
		requests := f.seen()
		require.Equal(t, "GET o bytes=0-16383", requests[0])
		require.LessOrEqual(t, len(requests), 2+of.requests, "%q", requests)
	}
	for _, of := range [][2]int64{{-1, 5}, {0, -1}, {size + 1, 1}} {
		require.Error(t, b.printRange(t.Context(), "o", of[0], of[1]))
	}
	require.ErrorContains(t, b.printRange(t.Context(), "none", 0, 1), "NoSuchKey")
}

func TestRotate(t *testing.T) {
	b, _ := newBucket(t, (*httptest.Server).Start)
	for _, n := range []int{0, 100_000, 17 << 20} {
		require.NoError(t, b.put(t.Context(), fileOf(t, n), "o"))
		require.NoError(t, b.rotate(t.Context(), "o", key(t, "new key")))
		plaintext, h, err := esdk.Decrypt(t.Context(), b.stored(t, "o"), key(t, "new key"), nil)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text(n), plaintext))
		require.Equal(t, b.about("o"), h.UserContext())
		require.EqualValues(t, 64<<10, h.FrameLength)
	}
	// It fails where the object has changed, or is not what it was, and then changes nothing.
	for name, alter := range map[string]func(b []byte) []byte{
		"altered": func(b []byte) []byte { b[150_000] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
	} {
		for _, n := range []int{200_000, 17 << 20} {
			if n > 1<<20 && name != "altered" {
				continue
			}
			require.NoError(t, b.put(t.Context(), fileOf(t, n), "o"))
			altered := alter(b.stored(t, "o"))
			b.store(t, "o", altered)
			err := b.rotate(t.Context(), "o", key(t, "new key"))
			require.ErrorContains(t, err, "esdk: ", name)
			require.True(t, bytes.Equal(altered, b.stored(t, "o")), name)
			uploads, err := b.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &b.name})
			require.NoError(t, err)
			require.Empty(t, uploads.Uploads, "no parts are left")
		}
	}
}

// An object that somebody writes while it is read, or rotated, is an error.
func TestAnObjectThatChanges(t *testing.T) {
	b, f := newBucket(t, (*httptest.Server).Start)
	require.NoError(t, b.put(t.Context(), fileOf(t, 100_000), "o"))
	first := b.stored(t, "o")
	require.NoError(t, b.put(t.Context(), fileOf(t, 100_000), "o"))
	second := b.stored(t, "o")
	file := filepath.Join(t.TempDir(), "got")
	for name, do := range map[string]func() error{
		"get":    func() error { return b.get(t.Context(), "o", file) },
		"range":  func() error { return b.printRange(t.Context(), "o", 50_000, 10) },
		"rotate": func() error { return b.rotate(t.Context(), "o", key(t, "new key")) },
	} {
		b.store(t, "o", first)
		once := sync.OnceFunc(func() {
			f.changeBy(nil)
			b.store(t, "o", second)
		})
		f.changeBy(func(res *http.Response) error {
			if res.Request.Header.Get("Range") != "" {
				once()
			}
			return nil
		})
		err := do()
		require.Error(t, err, name)
		require.Regexp(t, "changed while it was read|PreconditionFailed", err.Error(), name)
		require.True(t, bytes.Equal(second, b.stored(t, "o")), name)
	}
	require.NoFileExists(t, file)

	// The last request for what is rotated has been answered: the upload is refused.
	b.store(t, "o", first)
	once := sync.OnceFunc(func() { b.store(t, "o", second) })
	f.changeBy(func(res *http.Response) error {
		if r := res.Request.Header.Get("Range"); r != "" && !strings.HasPrefix(r, "bytes=0-") {
			once()
		}
		return nil
	})
	require.ErrorContains(t, b.rotate(t.Context(), "o", key(t, "new key")), "PreconditionFailed")
	require.True(t, bytes.Equal(second, b.stored(t, "o")))
}

// A connection that breaks is made again, for the rest; one that always does is an
// error, and so is an object under another name.
func TestGetGoesOnAfterABrokenConnection(t *testing.T) {
	b, f := newBucket(t, (*httptest.Server).Start)
	require.NoError(t, b.put(t.Context(), fileOf(t, 1<<20), "o"))
	file := filepath.Join(t.TempDir(), "got")
	var times int
	breaking := func(most, after int) {
		times = 0
		f.changeBy(func(res *http.Response) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if r := res.Request.Header.Get("Range"); r != "" && !strings.HasPrefix(r, "bytes=0-") && times < most {
				times++
				res.Body = io.NopCloser(io.MultiReader(io.LimitReader(res.Body, int64(after)), brokenReader{}))
			}
			return nil
		})
	}
	breaking(5, 100_000)
	require.NoError(t, b.get(t.Context(), "o", file))
	require.Equal(t, 5, times)
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(text(1<<20), got))
	breaking(2, 0)
	require.NoError(t, b.printRange(t.Context(), "o", 500_000, 10))
	require.Equal(t, 2, times)

	breaking(1000, 0)
	require.ErrorIs(t, b.get(t.Context(), "o", file), io.ErrUnexpectedEOF)
	require.GreaterOrEqual(t, times, maxTries)
	got, err = os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(text(1<<20), got), "the file of before")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.get(ctx, "o", file), context.Canceled)

	f.changeBy(nil)
	b.store(t, "theirs", b.stored(t, "o"))
	require.ErrorIs(t, b.get(t.Context(), "theirs", file), esdk.ErrEncryptionContext)
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

// A file that is shorter or longer than it was changes nothing in the bucket.
func TestAFileThatChangesWhileItIsUploaded(t *testing.T) {
	b, _ := newBucket(t, (*httptest.Server).Start)
	require.NoError(t, b.put(t.Context(), fileOf(t, 10), "o"))
	before := b.stored(t, "o")
	for _, size := range []int64{0, 99_999, 100_001} {
		require.ErrorIs(t, b.putOne(t.Context(), bytes.NewReader(text(100_000)), size, "o"), errSize)
		require.True(t, bytes.Equal(before, b.stored(t, "o")))
		e, length, err := b.encrypt(t.Context(), bytes.NewReader(text(100_000)), size, "o")
		require.NoError(t, err)
		_, err = b.upload(t.Context(), &transfermanager.UploadObjectInput{Bucket: &b.name, Key: aws.String("o"), Body: e, ContentLength: &length}, length)
		require.ErrorIs(t, err, errSize)
		require.True(t, bytes.Equal(before, b.stored(t, "o")))
	}
}

// What README.md says of PutObject.
func TestPutObjectOfAStream(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"HTTP": (*httptest.Server).Start, "HTTPS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			b, f := newBucket(t, start)
			require.NoError(t, b.putOne(t.Context(), bytes.NewReader(text(300_000)), 300_000, "o"))
			plaintext, _, err := esdk.Decrypt(t.Context(), b.stored(t, "o"), b.provider, nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(text(300_000), plaintext))

			put := func(in s3.PutObjectInput, options func(*s3.Options)) error {
				e, length, err := b.encrypt(t.Context(), bytes.NewReader(text(10)), 10, "p")
				require.NoError(t, err)
				in.Bucket, in.Key, in.Body = &b.name, aws.String("p"), e
				if in.ContentLength != nil {
					in.ContentLength = &length
				}
				_, err = b.client.PutObject(t.Context(), &in, options)
				return err
			}
			err = put(s3.PutObjectInput{ContentLength: new(int64)}, func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
			if name == "HTTP" {
				require.ErrorContains(t, err, "failed to compute payload hash: failed to seek body to start, request stream is not seekable")
			} else {
				require.NoError(t, err)
			}
			if !onMoto() { // which wants no length
				err = put(s3.PutObjectInput{}, unsignedPayload)
				require.ErrorContains(t, err, "MissingContentLength")
			}
			f.changeBy(func(res *http.Response) error {
				res.StatusCode = http.StatusServiceUnavailable
				return nil
			})
			err = put(s3.PutObjectInput{ContentLength: new(int64)}, func(o *s3.Options) {
				retries := o.Retryer
				unsignedPayload(o)
				o.Retryer = retries
			})
			require.ErrorContains(t, err, "failed to rewind transport stream for retry, request stream is not seekable")
			f.changeBy(nil)

			err = put(s3.PutObjectInput{ContentLength: new(int64)}, func(o *s3.Options) {})
			if name == "HTTP" {
				require.ErrorContains(t, err, "unseekable stream is not supported without TLS and trailing checksum")
				return
			}
			require.NoError(t, err)
			if onMoto() { // gofakes3 keeps the chunks of trailing checksums as if they were content
				_, _, err = esdk.Decrypt(t.Context(), b.stored(t, "p"), b.provider, nil)
				require.NoError(t, err)
			}
		})
	}
}

func TestDemo(t *testing.T) {
	for _, size := range []int{0, 1, 4} {
		require.NoError(t, run(t.Context(), []string{fileOf(t, size)}, io.Discard, io.Discard))
	}
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{fileOf(t, 100_000)}, &out, io.Discard))
	for _, want := range []string{"put object: 100000 bytes, 100", "from byte 50000 on: " + string(text(50_010)[50_000:]), "rotated object: 100", "got object: 100000 bytes\n"} {
		require.Contains(t, out.String(), want)
	}
}

func TestCommands(t *testing.T) {
	b, f := newBucket(t, (*httptest.Server).Start)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	dir := t.TempDir()
	do := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(t.Context(), append([]string{"-endpoint", f.URL, "-bucket", b.name}, args...), &out, io.Discard)
		return out.String(), err
	}
	old, new, file := filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "file")
	_, err := do("-key", old, "put", fileOf(t, 1000), "o")
	require.NoError(t, err)
	out, err := do("-key", old, "range", "o", "990", "100")
	require.NoError(t, err)
	require.Equal(t, string(text(1000)[990:]), out)
	_, err = do("-key", old, "-new-key", new, "rotate", "o")
	require.NoError(t, err)
	_, err = do("-key", old, "get", "o", file)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	_, err = do("-key", new, "get", "o", file)
	require.NoError(t, err)
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text(1000), got)

	_, err = do("-key", filepath.Join(dir, "mistyped"), "get", "o", file)
	require.ErrorContains(t, err, "-key: open")
	require.NoFileExists(t, filepath.Join(dir, "mistyped"))
	for want, args := range map[string][]string{
		"no such command":      {"-key", old, "delete", "o"},
		"-key: name the file":  {"put", file, "o"},
		"-new-key: name the":   {"-key", old, "rotate", "o"},
		"invalid syntax":       {"-key", old, "range", "o", "a", "1"},
		"-h shows the options": {"-x"},
		"open " + dir:          {"-key", old, "put", filepath.Join(dir, "none"), "o"},
	} {
		_, err := do(args...)
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "name one FILE")
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, io.Discard), flag.ErrHelp)
}
