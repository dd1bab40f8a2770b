//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// aBench is one whose evidence goes to a directory of the test, and what it says.
func aBench(t *testing.T, args ...string) (*bench, *strings.Builder) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	c, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c.Log = func(format string, args ...any) { said.WriteString(fmt.Sprintf(format+"\n", args...)) }
	b, err := newBench(c)
	if err != nil {
		t.Fatal(err)
	}
	return b, &said
}

// registers is a phase of single keys with a history; ok says whether it is
// linearizable.
func registers(ok bool) *history.Phase {
	get := history.Op{Client: 1, Kind: history.OpGet, Call: 3, Return: 4}
	if ok {
		get.Version = 1
	}
	return &history.Phase{
		Name: "registers", Porcupine: true, Began: 1, Ended: 10, Bound: time.Second, Instances: 1,
		Keys:  []history.Key{{ID: "k", Class: history.ClassRegister}},
		Batch: history.Batch{Ops: []history.Op{{Kind: history.OpSet, Version: 1, Call: 1, Return: 2}, get}},
	}
}

// TestBrokenPhaseLeavesEvidence: its facts, and the drawing of a history, whose
// paths are printed.
func TestBrokenPhaseLeavesEvidence(t *testing.T) {
	b, said := aBench(t)
	b.phase(registers(false))
	drawing, facts := filepath.Join(b.evidence, "registers-key0.html"), filepath.Join(b.evidence, "registers.json")
	for _, path := range []string{drawing, facts} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if !strings.Contains(said.String(), path) {
			t.Errorf("%s is not named in:\n%s", path, said)
		}
	}
	err := b.end(&history.Run{Backend: "local"})
	if err == nil || !strings.Contains(err.Error(), "promises were broken") {
		t.Errorf("end = %v", err)
	}
	if _, err := os.Stat(drawing); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestGoodRunLeavesNothing(t *testing.T) {
	b, _ := aBench(t)
	b.phase(registers(true))
	if err := b.end(&history.Run{Backend: "local"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(b.evidence); !os.IsNotExist(err) {
		t.Errorf("the directory for evidence is still there: %v", err)
	}
}

// TestReport is where the documentation is, and has the version.
func TestReport(t *testing.T) {
	docs := t.TempDir()
	b, _ := aBench(t, "-out", docs, "-version", "v1.2.3-4-gabc")
	b.phase(registers(true))
	if err := b.end(&history.Run{Backend: "local", Server: "redis-server 7.0.15"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"consistency.svg", "consistency/local-redis-server-7.0.15.json"} {
		if _, err := os.Stat(filepath.Join(docs, name)); err != nil {
			t.Error(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(docs, "consistency.md"))
	if err != nil || !strings.Contains(string(page), "library v1.2.3-4-gabc") {
		t.Errorf("the page does not have the version: %v", err)
	}
}
