package conformance

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the specification wants users to be told stands in the documentation.
func TestDocumentationWarns(t *testing.T) {
	for _, test := range []struct{ dir, symbol, says string }{
		// client-apis/decrypt.md, "Verify the header" and "Security considerations".
		{".", "DecryptReader", "Treat the plaintext as tentative until io.EOF, and discard it, and undo what was done with it, on any other error"},
		{".", "DecryptReader", "if it is signed, was made by somebody who can read messages but not sign them"},
		{".", "DecryptReader.Header", "authentic; but see [DecryptReader] on signed messages"},
		{".", "NewDecryptReader", "that of the last frame of a signed message, and of a signed unframed body, when the signature has been"},
		// framework/structures.md, "Encryption context".
		{".", "", "Put into the encryption context what the message is about"},
		{".", "", "it is authenticated, but not secret"},
		// framework/keyring-interface.md and framework/multi-keyring.md, "Security considerations".
		{"keyprovider", "", "Prefer keys that never leave a secure boundary, such as those of AWS KMS or of an HSM, to raw keys"},
		{"keyprovider", "RawRSA", "RSA wrapping does not bind the encryption context"},
		{"keyprovider", "RawECDH", "The encryption context is bound to the wrapped data key: use it for what is not secret but belongs to the message"},
		{"keyprovider", "NewRawECDHEphemeral", "it can be that of an AWS KMS key"},
		{"kms", "ECDH", "The encryption context is bound to the wrapped data key, because the wrapping keys are derived from it: use it for data that is not secret but belongs to the message"},
		{"kms", "NewRSA", "It must be of the KMS key, which nothing checks"},
		{"keyprovider", "NewRawAES", "16, 24 or 32 random bytes"},
		{"keyprovider", "Multi", "Anyone who can use one of the providers can read the message, so review all"},
		// framework/aws-kms/aws-kms-hierarchical-keyring.md, "Shared Cache Considerations".
		{"kms/hierarchical", "New", "What one of them has read, the others use without any permission of their own"},
		{"kms/hierarchical", "New", "Two different stores must never have the same logical name"},
	} {
		text := strings.Join(strings.Fields(documentation(t, filepath.Join(root, test.dir), test.symbol)), " ")
		require.Contains(t, text, test.says, "%s %s", test.dir, test.symbol)
	}
}

// documentation returns the doc comment of a function, type or method
// (Type.Method) of the package in dir, or that of the package.
func documentation(t *testing.T, dir, symbol string) string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range sources(t, dir) {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, module)
	require.NoError(t, err)
	if symbol == "" {
		return pkg.Doc
	}
	name, method, _ := strings.Cut(symbol, ".")
	functions := pkg.Funcs
	for _, typ := range pkg.Types {
		if typ.Name == name && method == "" {
			return typ.Doc
		} else if typ.Name == name {
			name, functions = method, typ.Methods
			break
		}
		functions = append(functions, typ.Funcs...)
	}
	for _, f := range functions {
		if f.Name == name {
			return f.Doc
		}
	}
	require.Fail(t, "no such symbol", "%s %s", dir, symbol)
	return ""
}

// sources returns the files of the package in dir but its tests.
func sources(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, name := range files {
		if !strings.HasSuffix(name, "_test.go") {
			names = append(names, name)
		}
	}
	require.NotEmpty(t, names, dir)
	return names
}
