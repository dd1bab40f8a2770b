package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every mutant changes what is in the code now, in one place.
func TestTextsAreInTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, m := range All {
		if names[m.Name] {
			t.Errorf("two mutants are named %s", m.Name)
		}
		names[m.Name] = true
		text, err := os.ReadFile(filepath.Join("../../..", m.File))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
		} else if n := strings.Count(string(text), m.Old); n != 1 {
			t.Errorf("%s: its text is %d times in %s, want once", m.Name, n, m.File)
		}
	}
}
