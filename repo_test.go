package fleetcache_test

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// documents are the files of prose whose statements are checked here.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, "README.md", "DESIGN.md", "DECISIONS.md", "CHANGELOG.md")
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// goFiles calls f with every Go file of the repository, nested modules
// included.
func goFiles(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go"):
			f(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	programPattern = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	regionPattern  = regexp.MustCompile(`(?ms)^// readme: begin\n(.*?)^// readme: end$`)
)

// Every program of a document is one that is compiled and run: the text between
// two marks in a test.
func TestReadmeProgramIsCompiled(t *testing.T) {
	t.Parallel()
	var compiled []string
	goFiles(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range regionPattern.FindAllStringSubmatch(read(t, path), -1) {
				compiled = append(compiled, strings.TrimSpace(m[1]))
			}
		}
	})
	shown := map[string]bool{}
	for _, doc := range documents(t) {
		for _, m := range programPattern.FindAllStringSubmatch(read(t, doc), -1) {
			text := strings.TrimSpace(m[1])
			shown[text] = true
			if !slices.Contains(compiled, text) {
				t.Errorf("a program of %s is not between marks in any test:\n%s", doc, text)
			}
		}
	}
	for _, text := range compiled {
		if !shown[text] {
			t.Errorf("no document has the program:\n%s", text)
		}
	}
	if len(compiled) < 2 {
		t.Errorf("found %d programs only", len(compiled))
	}
}

// readme: begin

type Product struct{ Name, Brand string }

type PriceChanged struct{ Product string }

func shop(ctx context.Context, m *rc.Manager) error {
	products, err := rc.New(m, "products", rc.Config[Product]{
		Tags: func(id string, p Product) []string { return []string{"brand:" + p.Brand} },
	})
	if err != nil {
		return err
	}
	_, err = rc.On(m, func(e PriceChanged) []rc.Target {
		return []rc.Target{products.Target(e.Product), rc.TagTarget("offers:" + e.Product)}
	})
	return errors.Join(err,
		products.Delete(ctx, "7"),                   // one value
		m.InvalidateTag(ctx, "brand:acme"),          // what has the tag, in every service
		products.Clear(ctx),                         // all of a namespace
		rc.Emit(ctx, m, PriceChanged{Product: "7"})) // whatever the event means
}

// readme: end

func Example_shop() {
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(context.Background(), rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	if err := shop(context.Background(), m); err != nil {
		fmt.Println(err)
	}
	st := m.Stats()
	fmt.Println(st.Invalidations, "keys,", st.Marks, "tags and namespaces")
	// Output: 2 keys, 3 tags and namespaces
}

// Each package has one package comment: with two, godoc joins them in the
// order of the files.
func TestPackagesHaveOneDoc(t *testing.T) {
	t.Parallel()
	docs := map[string][]string{}
	goFiles(t, func(path string) {
		dir := filepath.Dir(path)
		docs[dir] = append(docs[dir], "") // a package, with or without a comment
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
		} else if f.Doc != nil {
			docs[dir] = append(docs[dir], path)
		}
	})
	if len(docs) < 10 {
		t.Fatalf("found %d packages only", len(docs))
	}
	for dir, files := range docs {
		files = slices.DeleteFunc(files, func(f string) bool { return f == "" })
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments: %v", dir, len(files), files)
		}
	}
}

// What nobody should compile into a service because of package rc.
func TestDependenciesOfRC(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "./rc").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/redis/rueidis") {
		t.Fatalf("go list -deps does not name rueidis: %v", deps)
	}
	for name, why := range map[string]string{
		"testing":                       "registers flags, and belongs in tests",
		"github.com/stretchr":           "belongs in tests, and this module's use the standard library",
		"github.com/alicebob/miniredis": "is the server of rctest, for tests",
		"github.com/klauspost/compress": "is for those who import rc/zstdcodec",
		"gopkg.in/yaml":                 "nothing here is configured by a file",
		"go.yaml.in":                    "nothing here is configured by a file",
		"go.opentelemetry.io":           "the adapter is to be a module of its own",
	} {
		for _, d := range deps {
			if d == name || strings.HasPrefix(d, name+"/") || strings.HasPrefix(d, name+".v") {
				t.Errorf("package rc depends on %s: %s %s", d, name, why)
			}
		}
	}
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile("(?m)^#+ (.*)$")
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns what the headings of a file are linked by.
func anchors(text string) []string {
	var out []string
	for _, m := range headingPattern.FindAllStringSubmatch(text, -1) {
		a := notInAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(a, " ", "-"))
	}
	return out
}

func TestLinksResolve(t *testing.T) {
	t.Parallel()
	n := 0
	for _, doc := range documents(t) {
		for _, m := range linkPattern.FindAllStringSubmatch(read(t, doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			path, anchor, _ := strings.Cut(m[1], "#")
			file := doc
			if path != "" {
				file = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link %s: %v", doc, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: link %s: %s has no such heading", doc, m[1], file)
			}
		}
	}
	if n < 10 {
		t.Errorf("found %d links only", n)
	}
}

var (
	testPattern     = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	contractPattern = regexp.MustCompile(`"([a-z -]+)": +contract[A-Z]`)
	mentionPattern  = regexp.MustCompile("\\b((?:Test|Fuzz|Benchmark|Example)[A-Z_]\\w*)(?:/([a-z-]+))?")
)

// A test that a document names exists; so does a test of the contract suite
// that is named behind TestContract.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	goFiles(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testPattern.FindAllStringSubmatch(read(t, path), -1) {
				tests[m[1]] = true
			}
		}
	})
	for _, m := range contractPattern.FindAllStringSubmatch(read(t, "internal/contract/contract.go"), -1) {
		tests["TestContract/"+strings.ReplaceAll(m[1], " ", "-")] = true
	}
	n := 0
	for _, doc := range documents(t) {
		for _, m := range mentionPattern.FindAllStringSubmatch(read(t, doc), -1) {
			n++
			name := m[1]
			if m[2] != "" {
				name += "/" + m[2]
			}
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", doc, name)
			}
		}
	}
	if n < 20 {
		t.Errorf("found %d names of tests only", n)
	}
}
