// Package conformance holds tests of the module as a whole: that its exported
// API is the one that was agreed on, and what it links.
package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write api.txt and README.md anew")

const (
	root   = "../.."
	module = "github.com/esdk-go/esdk"
)

// The exported API is that of api.txt, so that a change of it is seen:
//
//	go test ./internal/conformance -update
func TestAPIIsTheAgreedOne(t *testing.T) {
	var api bytes.Buffer
	for _, path := range publicPackages(t) {
		fmt.Fprintf(&api, "package %s\n\n", strings.TrimSuffix(module+"/"+path, "/."))
		for _, declaration := range exported(t, filepath.Join(root, path)) {
			fmt.Fprintf(&api, "%s\n", declaration)
		}
		fmt.Fprintln(&api)
	}
	if *update {
		require.NoError(t, os.WriteFile("api.txt", api.Bytes(), 0o644))
	}
	want, err := os.ReadFile("api.txt")
	require.NoError(t, err)
	was, is := strings.Split(string(want), "\n"), strings.Split(api.String(), "\n")
	require.Empty(t, without(was, is), "gone from the exported API: if it should be, run the test with -update")
	require.Empty(t, without(is, was), "new in the exported API: if it should be, run the test with -update")
	require.True(t, string(want) == api.String(), "the order of the exported API changed: run the test with -update")
}

// without returns the lines that others lacks.
func without(lines, others []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) })
}

// A listed is what the go command says about a package.
type listed struct {
	ImportPath, Name string
	Imports, Deps    []string
}

// list is all packages of the module by their folders, from one call of the go
// command, which takes its time.
var list = sync.OnceValues(func() (map[string]listed, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	all := make(map[string]listed)
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		all[cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"), ".")] = p
	}
	return all, nil
})

func packages(t *testing.T) map[string]listed {
	t.Helper()
	all, err := list()
	require.NoError(t, err)
	return all
}

// publicPackages returns the folders of the packages that users can import.
func publicPackages(t *testing.T) []string {
	t.Helper()
	var paths []string
	for path, p := range packages(t) {
		if p.Name != "main" && !strings.Contains("/"+path+"/", "/internal/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// deps returns the import paths of all that a program with the package links.
func deps(t *testing.T, path string) []string {
	t.Helper()
	p, ok := packages(t)[path]
	require.True(t, ok, path)
	return append([]string{p.ImportPath}, p.Deps...)
}

// exported returns the exported declarations of the package in dir, without
// comments and bodies, sorted.
func exported(t *testing.T, dir string) []string {
	t.Helper()
	fset := token.NewFileSet()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		parsed = append(parsed, f)
	}
	pkg, err := doc.NewFromFiles(fset, parsed, module)
	require.NoError(t, err)

	var out []string
	add := func(declaration ast.Node) {
		var b bytes.Buffer
		require.NoError(t, (&printer.Config{Mode: printer.RawFormat}).Fprint(&b, fset, declaration))
		out = append(out, b.String())
	}
	values := func(all []*doc.Value) {
		for _, v := range all {
			for _, spec := range v.Decl.Specs {
				if spec := spec.(*ast.ValueSpec); v.Decl.Tok == token.VAR {
					spec.Values = nil // the words of errors are no part of it
				}
			}
			add(v.Decl)
		}
	}
	functions := func(all []*doc.Func) {
		for _, f := range all {
			add(f.Decl)
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	functions(pkg.Funcs)
	for _, typ := range pkg.Types {
		add(typ.Decl)
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs)
		functions(typ.Methods)
	}
	slices.Sort(out)
	return out
}

// large are packages of the standard library, each with all below it, that make
// programs larger and slower to build. Raw keys and branch keys need none of them.
// crypto/x509 imports net, and where cgo is on, net needs a C compiler.
var large = []string{
	"crypto/tls", "crypto/x509", "encoding/gob", "encoding/json", "encoding/pem", "encoding/xml", "html",
	"log", "net", "os/exec", "os/user", "regexp", "runtime/cgo", "text/template",
}

func requireNothingLarge(t *testing.T, path string, deps []string) {
	t.Helper()
	for _, dep := range deps {
		for _, unwanted := range large {
			require.False(t, strings.HasPrefix(dep+"/", unwanted+"/"), "%s links %s", path, dep)
		}
	}
}

// A program with a raw key links neither the AWS SDK nor anything for tests, and
// nothing large.
func TestRootLinksNoAWS(t *testing.T) {
	for _, path := range []string{".", "keyprovider", "format", "suite"} {
		deps := deps(t, path)
		require.Contains(t, deps, module+"/suite")
		requireNothingLarge(t, path, deps)
		for _, dep := range deps {
			for _, unwanted := range []string{"aws-sdk-go", "smithy", "testify", "testing", "/kms", "vectors", "providertest"} {
				require.NotContains(t, dep, unwanted, "%s links it", path)
			}
		}
	}
}

// The provider of hierarchical keys calls no AWS service, so a program with a
// Store of its own links none of the AWS SDK, and nothing large.
func TestHierarchicalLinksNoAWS(t *testing.T) {
	deps := deps(t, "kms/hierarchical")
	requireNothingLarge(t, "kms/hierarchical", deps)
	for _, dep := range deps {
		require.NotContains(t, dep, "aws")
		require.NotContains(t, dep, "smithy")
		require.NotEqual(t, module+"/kms", dep)
	}
}

// Only programs with a key store on DynamoDB link its client.
func TestOnlyTheKeyStoreLinksDynamoDB(t *testing.T) {
	const client = "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	for _, path := range publicPackages(t) {
		deps := deps(t, path)
		if path == "kms/keystore" {
			require.Contains(t, deps, client)
		} else {
			require.NotContains(t, deps, client, "%s links it", path)
		}
	}
}

// Imports point one way: suite, format, internal/provider, then keyprovider and
// internal/frame, then the root; what is below knows nothing of what is above.
func TestImportsPointOneWay(t *testing.T) {
	allowed := map[string][]string{
		"suite":                    {},
		"format":                   {"suite"},
		"internal/provider":        {"suite", "format"},
		"internal/cache":           {"internal/provider"},
		"keyprovider":              {"suite", "format", "internal/provider", "internal/cache", "internal/keywrap"},
		"keyprovider/providertest": {"suite", "format", "keyprovider", "internal/provider"},
		"internal/frame":           {"suite", "format"},
		".":                        {"suite", "format", "internal/provider", "keyprovider", "internal/frame"},
		"kms":                      {"suite", "format", "keyprovider", "internal/provider", "internal/keywrap", "kms/internal/arn", "kms/internal/datakey", "kms/internal/setup"},
		"kms/hierarchical":         {"suite", "format", "keyprovider", "internal/provider", "internal/cache", "internal/keywrap", "kms/internal/datakey", "kms/internal/uuid"},
		"kms/kmstest":              {"format", "kms/hierarchical", "kms/internal/arn", "kms/internal/uuid"},
		"kms/keystore":             {"kms", "kms/hierarchical", "internal/provider", "kms/internal/arn", "kms/internal/setup", "kms/internal/uuid"},
	}
	for path, may := range allowed {
		p, ok := packages(t)[path]
		require.True(t, ok, path)
		for _, dep := range p.Imports {
			if inner, ok := strings.CutPrefix(dep, module+"/"); ok {
				require.Contains(t, may, inner, "%q imports it", path)
			}
		}
	}
}
