// Package conformance holds tests of the module as a whole: that its exported
// API is the one that was agreed on, and what it links.
package conformance

import (
	"bytes"
	"cmp"
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
	require.Equal(t, string(want), api.String(), "the exported API changed: if it should, run the test with -update")
}

// publicPackages returns the folders of the packages that users can import.
func publicPackages(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, line := range goList(t, "-f", "{{.Name}} {{.ImportPath}}", "./...") {
		name, path, _ := strings.Cut(line, " ")
		path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if name != "main" && !strings.Contains("/"+path, "/internal/") {
			paths = append(paths, cmp.Or(path, "."))
		}
	}
	return paths
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Split(strings.TrimSpace(string(out)), "\n")
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

// A program with a raw key links neither the AWS SDK nor anything for tests.
func TestRootLinksNoAWS(t *testing.T) {
	for _, path := range []string{".", "./keyprovider", "./format", "./suite"} {
		deps := goList(t, "-deps", path)
		require.Contains(t, deps, module+"/suite")
		for _, dep := range deps {
			for _, unwanted := range []string{"aws-sdk-go", "smithy", "testify", "testing", "/kms", "vectors", "providertest"} {
				require.NotContains(t, dep, unwanted, "%s links it", path)
			}
		}
	}
}

// The provider of hierarchical keys calls no AWS service, so a program with a
// Store of its own links none of the AWS SDK.
func TestHierarchicalLinksNoAWS(t *testing.T) {
	for _, dep := range goList(t, "-deps", "./kms/hierarchical") {
		require.NotContains(t, dep, "aws")
		require.NotContains(t, dep, "smithy")
		require.NotEqual(t, module+"/kms", dep)
	}
}

// Only programs with a key store on DynamoDB link its client.
func TestOnlyTheKeyStoreLinksDynamoDB(t *testing.T) {
	const client = "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	for _, path := range publicPackages(t) {
		deps := goList(t, "-deps", "./"+path)
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
		"":                         {"suite", "format", "internal/provider", "keyprovider", "internal/frame"},
		"kms":                      {"suite", "format", "keyprovider", "internal/provider", "internal/keywrap", "kms/internal/arn", "kms/internal/datakey", "kms/internal/setup"},
		"kms/hierarchical":         {"suite", "format", "keyprovider", "internal/provider", "internal/cache", "internal/keywrap", "kms/internal/datakey", "kms/internal/uuid"},
		"kms/kmstest":              {"format", "kms/hierarchical", "kms/internal/uuid"},
		"kms/keystore":             {"kms", "kms/hierarchical", "internal/provider", "kms/internal/arn", "kms/internal/setup", "kms/internal/uuid"},
	}
	for path, may := range allowed {
		if _, err := os.Stat(filepath.Join(root, path)); os.IsNotExist(err) {
			continue
		}
		for _, dep := range goList(t, "-f", `{{join .Imports "\n"}}`, "./"+path) {
			if inner, ok := strings.CutPrefix(dep, module+"/"); ok {
				require.Contains(t, may, inner, "%q imports it", path)
			}
		}
	}
}
