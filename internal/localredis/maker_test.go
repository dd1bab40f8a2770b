package localredis

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func TestConfigLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		args, want []string
	}{
		{"none", nil, nil},
		{"values", []string{"--maxmemory", "10mb", "--save", "900", "1"}, []string{`maxmemory "10mb"`, `save "900" "1"`}},
		{"empty value", []string{"--save", ""}, []string{`save ""`}},
		{"quotes", []string{"--requirepass", "a \"b\" \\c\n"}, []string{`requirepass "a \"b\" \\c\x0a"`}},
		{"one argument for both", []string{"--save 900 1"}, []string{"save 900 1"}},
		{"no dashes", []string{"maxmemory", "10mb"}, []string{`maxmemory "10mb"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := configLines(tt.args); !slices.Equal(got, tt.want) {
				t.Errorf("configLines(%q) = %q, want %q", tt.args, got, tt.want)
			}
		})
	}
}

func TestFilesAreWhereLinesLookForThem(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	log := new(bytes.Buffer)
	m, err := newMaker(MakerConfig{Log: log})
	must(t, "newMaker", err)
	s, err := redisnode.Start(within(t), m, redisnode.ServerConfig{
		Lines: []string{`include "${DIR}/more.conf"`},
		Files: map[string][]byte{"more.conf": []byte("maxmemory 7mb\n")},
	})
	must(t, "Start", err)
	home := s.Machine().(*machine).home.path
	config, _ := do(t, s, "CONFIG", "GET", "maxmemory").([]any)
	if want := []any{"maxmemory", "7340032"}; !slices.Equal(config, want) {
		t.Errorf("CONFIG GET = %v, want %v", config, want)
	}
	if info, err := os.Stat(filepath.Join(home, "more.conf")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("stat of the file = %v, %v, want mode 600", info, err)
	}
	s.Stop()
	if !strings.Contains(log.String(), "Ready to accept connections") {
		t.Errorf("MakerConfig.Log = %q", log)
	}
	_, err = m.Make(within(t), redisnode.MachineSpec{Files: map[string][]byte{"../x": nil}})
	if err == nil {
		t.Error("Make with a file outside of the directory succeeded")
	}
}

func TestClosedMakerMakesNoClusterNodes(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	m, err := NewMaker(MakerConfig{})
	must(t, "NewMaker", err)
	spec := redisnode.MachineSpec{Role: redisnode.ClusterNode}
	node, err := m.Make(within(t), spec)
	must(t, "Make", err)
	if a := node.Announced(); a.Bus == 0 || a.Bus == node.(*machine).busPort {
		t.Errorf("announced bus port = %d, want that of a proxy", a.Bus)
	}
	node.Remove()
	node.Remove()
	must(t, "Close", m.Close())
	must(t, "Close", m.Close())
	if _, err := m.Make(within(t), spec); err == nil {
		t.Error("Make of a closed maker succeeded")
	}
}

func TestMakerNeedsItsBinary(t *testing.T) {
	t.Parallel()
	_, err := NewMaker(MakerConfig{Binary: "no-such-server"})
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "no-such-server") {
		t.Errorf("NewMaker = %v, want an error that names the binary", err)
	}
}
