package clustertest

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeCode wants the README's Go code to be code that is compiled.
func TestReadmeCode(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		must(t, "read", err)
		return string(text)
	}
	compiled := read("example_test.go") + read("internal/sharedexample/shared_test.go")
	blocks := strings.Split(read("README.md"), "```go\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("the README has %d blocks of Go code", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(compiled, code) {
			t.Errorf("this is in the README and in no example that is compiled:\n%s", code)
		}
	}
}

// TestReadmeNamesEveryFault wants a row or a word for each built-in fault.
func TestReadmeNamesEveryFault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	must(t, "read", err)
	for _, b := range builtins {
		if !strings.Contains(string(text), "`"+b.Name+"`") {
			t.Errorf("the README does not name the fault %s", b.Name)
		}
	}
}
