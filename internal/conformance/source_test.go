package conformance

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What no message shows is looked up in the source.

// Commit keys are compared by crypto/subtle and by nothing else
// (framework/transitive-requirements.md, "HKDF commit key").
func TestCommitKeysAreComparedInConstantTime(t *testing.T) {
	compared := 0
	eachNode(t, root, func(n ast.Node, text string) {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				for _, side := range []ast.Expr{n.X, n.Y} {
					require.False(t, isCommitKey(side), text)
				}
			}
		case *ast.CallExpr:
			function, _, _ := strings.Cut(text, "(")
			for _, arg := range n.Args {
				switch {
				case !isCommitKey(arg):
				case function == "subtle.ConstantTimeCompare":
					compared++
				default: // allocated, measured, filled, but not compared
					require.Contains(t, []string{"len", "io.ReadFull"}, function, text)
				}
			}
		}
	})
	require.Equal(t, 2, compared, "the derived key and the header's")
}

func isCommitKey(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "commitKey"
	case *ast.SelectorExpr:
		return e.Sel.Name == "CommitKey"
	case *ast.CallExpr: // a conversion
		return len(e.Args) == 1 && isCommitKey(e.Args[0]) && isConversion(e.Fun)
	}
	return false
}

func isConversion(f ast.Expr) bool {
	id, ok := f.(*ast.Ident)
	return ok && id.Name == "string"
}

// The content key and the commit key come from one extraction
// (framework/transitive-requirements.md, "HKDF commit key").
func TestKeysOfAMessageAreExtractedOnce(t *testing.T) {
	calls := make(map[string]int)
	eachNode(t, root, func(n ast.Node, text string) {
		branch, ok := n.(*ast.IfStmt)
		if !ok || !strings.HasPrefix(text, "if id.Committing()") {
			return
		}
		ast.Inspect(branch.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok {
					if pkg, ok := f.X.(*ast.Ident); ok && pkg.Name == "hkdf" {
						calls[f.Sel.Name]++
					}
				}
			}
			return true
		})
	})
	require.Equal(t, map[string]int{"Extract": 1, "Expand": 2}, calls)
}

// Nor are the commitment keys of ECDH (framework/key-agreement-schemas.md, "Key
// Commitment").
func TestCommitmentKeysOfECDHAreComparedInConstantTime(t *testing.T) {
	name := regexp.MustCompile(`\bcommitment\b`) // and not commitmentSize
	var uses []string
	eachNode(t, filepath.Join(root, "internal", "keywrap"), func(n ast.Node, text string) {
		function, arguments, call := strings.Cut(text, "(")
		comparison, ok := n.(*ast.BinaryExpr)
		if ok && (comparison.Op == token.EQL || comparison.Op == token.NEQ) && !strings.HasPrefix(text, "subtle.") {
			require.NotRegexp(t, name, text)
		}
		if _, ok := n.(*ast.CallExpr); ok && call && name.MatchString(arguments) {
			uses = append(uses, function)
		}
	})
	slices.Sort(uses)
	require.Equal(t, []string{"append", "subtle.ConstantTimeCompare"}, slices.Compact(uses), "written and compared, by nothing else")
}

// eachNode calls f with every node of the source of the package in dir and its
// text.
func eachNode(t *testing.T, dir string, f func(n ast.Node, text string)) {
	t.Helper()
	fset := token.NewFileSet()
	for _, name := range sources(t, dir) {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.IfStmt, *ast.CallExpr, *ast.BinaryExpr:
				var b bytes.Buffer
				require.NoError(t, printer.Fprint(&b, fset, n))
				f(n, b.String())
			}
			return true
		})
	}
}
