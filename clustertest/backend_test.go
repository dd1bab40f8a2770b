package clustertest

import (
	"errors"
	"strings"
	"testing"
)

// No test here is parallel: they change the environment.

func TestBackendFromEnvironment(t *testing.T) {
	for _, tt := range []struct {
		field Backend
		env   string
		want  Backend
		word  string // in the error; "" for none
	}{
		{Auto, "", Auto, ""},
		{Auto, "auto", Auto, ""},
		{Auto, "docker", Docker, ""},
		{Auto, "LOCAL", Local, ""},
		{Local, "docker", Local, ""},
		{Docker, "nonsense", Docker, ""},
		{Auto, "podman", Auto, `CLUSTERTEST_BACKEND is "podman", want auto, docker, local`},
	} {
		t.Setenv(BackendEnv, tt.env)
		got, err := Topology{Backend: tt.field}.wantedBackend()
		if got != tt.want || (err != nil) != (tt.word != "") || err != nil && !strings.Contains(err.Error(), tt.word) {
			t.Errorf("field %s, environment %q: %s, %v; want %s, %q", tt.field, tt.env, got, err, tt.want, tt.word)
		}
	}
}

func TestBackendOfThisMachine(t *testing.T) {
	found := dockerAvailable
	t.Cleanup(func() { dockerAvailable = found })
	t.Setenv(BackendEnv, "")
	t.Setenv(ServerEnv, "")
	empty, full := t.TempDir(), t.TempDir()
	executable(t, full+"/"+valkeyServer)
	for _, tt := range []struct {
		name   string
		docker error
		path   string
		field  Topology
		want   Backend
		words  string // in the error; "" for none
	}{
		{"both", nil, full, Topology{}, Docker, ""},
		{"docker only", nil, empty, Topology{}, Docker, ""},
		{"binaries only", errors.New("no daemon"), full, Topology{}, Local, ""},
		{"nothing", errors.New("no daemon"), empty, Topology{}, 0, "no daemon; neither redis-server nor valkey-server is on PATH): install Redis"},
		{"docker only, and local wanted", nil, empty, Topology{Backend: Local}, 0, "apt-get install redis-server"},
		{"another server wanted", nil, full, Topology{Backend: Local, Server: "no-such-server"}, 0, "no-such-server"},
		{"binaries only, and docker wanted", errors.New("no daemon"), full, Topology{Backend: Docker}, Docker, ""},
	} {
		dockerAvailable = func() error { return tt.docker }
		t.Setenv("PATH", tt.path)
		got, err := tt.field.resolve()
		switch {
		case tt.words == "" && (err != nil || got.Backend != tt.want):
			t.Errorf("%s: %s, %v, want %s", tt.name, got.Backend, err, tt.want)
		case tt.words != "" && (err == nil || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want one sentence with %q", tt.name, err, tt.words)
		}
	}
}

func TestServerDefaults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv(ServerEnv, "")
	if name, err := (Topology{}).findServer(); err == nil {
		t.Errorf("found %q on an empty PATH", name)
	}
	executable(t, dir+"/valkey-server")
	if name, err := (Topology{}).findServer(); name != "valkey-server" || err != nil {
		t.Errorf("only Valkey is there: %q, %v", name, err)
	}
	executable(t, dir+"/redis-server")
	if name, err := (Topology{}).findServer(); name != "redis-server" || err != nil {
		t.Errorf("both are there: %q, %v", name, err)
	}
	t.Setenv(ServerEnv, "valkey-server")
	if name, err := (Topology{}).findServer(); name != "valkey-server" || err != nil {
		t.Errorf("environment: %q, %v", name, err)
	}
	if name, err := (Topology{Server: "redis-server"}).findServer(); name != "redis-server" || err != nil {
		t.Errorf("field: %q, %v", name, err)
	}
}
