package docker

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// deadProcess returns the id of a process that has ended.
func deadProcess(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(cmd.Process.Pid)
}

func TestKnowsDead(t *testing.T) {
	t.Parallel()
	me := thisProcess()
	with := func(change func(*owner)) owner {
		o := me
		change(&o)
		return o
	}
	gone := deadProcess(t)
	for _, tt := range []struct {
		name  string
		other owner
		want  bool
	}{
		{"this process", me, false},
		{"ended process", with(func(o *owner) { o.pid = gone }), true},
		{"ended process of another host", with(func(o *owner) { o.pid, o.host = gone, "elsewhere" }), false},
		{"process before the last boot", with(func(o *owner) { o.boot = "earlier" }), true},
		{"no process id", with(func(o *owner) { o.pid = "" }), false},
		{"nothing known", owner{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := me.knowsDead(tt.other); got != tt.want {
				t.Errorf("knowsDead(%+v) = %v, want %v", tt.other, got, tt.want)
			}
		})
	}
	if runtime.GOOS == "linux" && !me.knowsDead(with(func(o *owner) { o.start = "1" })) {
		t.Error("a process that took over the id of a dead one passes for it")
	}
	if got := ownerIn(me.labels()); got != me {
		t.Errorf("ownerIn(labels()) = %+v, want %+v", got, me)
	}
}

func TestSweepRemovesWhatDeadOwnersLeft(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{})
	dead := m.labels()
	dead[labelPid] = deadProcess(t)
	foreign := m.labels()
	foreign[labelPid], foreign[labelHost] = dead[labelPid], "elsewhere"
	for name, labels := range map[string]map[string]string{"dead": dead, "alive": m.labels(), "foreign": foreign} {
		net, err := createBus(t.Context(), m.api, m.name("net-"+name), labels)
		if err != nil {
			t.Fatal(err)
		}
		made, err := m.api.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name:       m.name(name),
			Config:     &container.Config{Image: m.image, Cmd: []string{m.binary}, Labels: labels},
			HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode(net.name)},
		})
		if err == nil {
			_, err = m.api.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{})
		}
		if err != nil && (name != "dead" || !errdefs.IsNotFound(err)) { // another process may have swept it
			t.Fatal(err)
		}
	}
	if err := sweep(t.Context(), m.api); err != nil {
		t.Fatal(err)
	}
	left := leftovers(t, m.api, labelSession+"="+m.session)
	for _, name := range []string{"/" + m.name("alive"), m.name("net-alive"), "/" + m.name("foreign"), m.name("net-foreign")} {
		if !slices.Contains(left, name) {
			t.Errorf("sweep removed %s", name)
		}
	}
	for _, name := range left {
		if strings.HasSuffix(name, "-dead") {
			t.Errorf("sweep left %s", name)
		}
	}
}

// TestAvailableIsQuick asks in a process of its own: testcontainers looks for the
// daemon once.
func TestAvailableIsQuick(t *testing.T) {
	t.Parallel()
	if os.Getenv("TEST_AVAILABLE_CHILD") != "" {
		if err := Available(context.Background()); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestAvailableIsQuick$")
	cmd.Env = append(os.Environ(), "TEST_AVAILABLE_CHILD=1", "DOCKER_HOST="+silentListener(t))
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"no daemon answers", "no answer within 5s"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("Available = %v, %s, want %q in it", err, out, want)
		}
	}
}
