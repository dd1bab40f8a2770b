package mutants

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Find returns the mutant of that name.
func Find(name string) (Mutant, error) {
	for _, m := range All {
		if m.Name == name {
			return m, nil
		}
	}
	return Mutant{}, fmt.Errorf("mutants: there is none with the name %q", name)
}

// Overlay writes the mutated file and the overlay that puts it in place to dir,
// and returns the path of the overlay, for the -overlay flag of go build and go
// test. The root is the directory of the module. It is an error if the text
// that the mutant replaces is not in its file.
func (m Mutant) Overlay(root, dir string) (string, error) {
	path := filepath.Join(root, filepath.FromSlash(m.File))
	src, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(src, []byte(m.Old)); n != 1 {
		return "", fmt.Errorf("the text to be replaced is there %d times, want once: %q", n, m.Old)
	}
	if m.Old == m.New {
		return "", errors.New("nothing is changed")
	}
	mutated := filepath.Join(dir, "mutated"+filepath.Ext(path))
	if err := os.WriteFile(mutated, bytes.Replace(src, []byte(m.Old), []byte(m.New), 1), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, b, 0o600)
}
