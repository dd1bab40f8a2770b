package fleetcache_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestRaceClockSkew: instances whose wall clocks differ by any amount agree,
// because no wall clock is read for anything that is stored or compared. Ages
// come from the server's PTTL, deadlines from the monotonic clock of the
// process (near.Clock). So this looks for whoever asks what time it is.
func TestRaceClockSkew(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"internal/near/clock.go:NewClock": "the start of the monotonic clock; time.Since of it is monotonic",
		"rc/replicas.go:waitReplicas":     "what is left until the deadline of a context, set by the same process",
		"internal/near/raw.go:finish":     "rueidis wants a wall time for CachePTTL of DoCache; it is converted back at once",
	}
	seen := map[string]bool{}
	for _, dir := range []string{"rc", "internal/near", "internal/lease", "internal/topology", "internal/envelope", "internal/flight", "internal/key"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || !asksTheTime(fn) {
					continue
				}
				where := filepath.ToSlash(path) + ":" + fn.Name.Name
				seen[where] = true
				if allowed[where] == "" {
					t.Errorf("%s reads the wall clock", where)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for where := range allowed {
		if !seen[where] {
			t.Errorf("%s is allowed to read the wall clock, and does not", where)
		}
	}
}

func asksTheTime(fn *ast.FuncDecl) (yes bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Until") {
				yes = true
			}
		}
		return true
	})
	return yes
}
