package docker

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// TestIsolate runs with the ip program of the nodes' image, if it has one, and
// with that of another container.
func TestIsolate(t *testing.T) {
	t.Parallel()
	for _, tools := range []struct {
		name    string
		routing routing
	}{{"as probed", routingUnknown}, {"beside", routingOutside}} {
		t.Run(tools.name, func(t *testing.T) {
			if testing.Short() && tools.routing == routingOutside {
				t.Skip("takes long, and says little that the other does not")
			}
			t.Parallel()
			m := newTestMaker(t, Config{})
			m.routing = tools.routing
			if os.Getenv(toolsVariable) == "" {
				m.tools = m.image
			}
			testIsolate(t, m)
		})
	}
}

// star is a primary with two replicas.
type star struct {
	*testing.T
	m        *Maker
	primary  *Container
	replicas []*Container
	written  int
}

func newStar(t *testing.T, m *Maker) *star {
	s := &star{T: t, m: m, primary: newNode(t, m)}
	for range 2 {
		s.replicas = append(s.replicas, newNode(t, m,
			fmt.Sprintf("replicaof %s 6379", s.primary.Announced().IP)))
	}
	s.write()
	s.arrives(0)
	s.arrives(1)
	return s
}

// write changes the key at the primary, which clients reach throughout.
func (s *star) write() {
	s.Helper()
	s.written++
	do(s.T, s.primary, fmt.Sprintf("SET k %d", s.written))
}

// arrives waits until a replica has the last write.
func (s *star) arrives(replica int) {
	s.Helper()
	awaitReply(s.T, s.replicas[replica], "GET k", fmt.Sprint(s.written))
}

// isCutOff waits until a replica has lost its primary, and makes sure that the
// last write has not come through.
func (s *star) isCutOff(replica int) {
	s.Helper()
	c := s.replicas[replica]
	awaitReply(s.T, c, "INFO replication", "master_link_status:down")
	if got := do(s.T, c, "GET k"); got == fmt.Sprint(s.written) {
		s.Errorf("replica %d has %q, which was written after the cut", replica, got)
	}
}

func (s *star) isolate(group ...redisnode.Machine) {
	s.Helper()
	if err := s.m.Isolate(s.Context(), group); err != nil {
		s.Fatal(err)
	}
}

func (s *star) heal() {
	s.Helper()
	if err := s.m.Heal(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *star) must(what func(context.Context) error) {
	s.Helper()
	if err := what(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func testIsolate(t *testing.T, m *Maker) {
	s := newStar(t, m)
	s.heal() // without a cut it does nothing

	s.isolate(s.replicas[1])
	s.write()
	s.arrives(0)
	s.isCutOff(1)

	// Another group replaces the one before.
	s.isolate(s.replicas[0])
	s.write()
	s.arrives(1)
	s.isCutOff(0)

	// What runs again is cut off still.
	s.must(s.replicas[0].Kill)
	runNode(t, s.replicas[0])
	s.isCutOff(0)

	s.heal()
	s.arrives(0)

	// A frozen node is cut off at once, and heals while it is frozen.
	s.must(s.replicas[0].Freeze)
	s.isolate(s.replicas[0])
	s.write()
	s.arrives(1)
	s.must(s.replicas[0].Thaw)
	s.isCutOff(0)
	s.must(s.replicas[0].Freeze)
	s.heal()
	s.must(s.replicas[0].Thaw)
	s.arrives(0)

	// A node that comes later is on the side of the others.
	s.isolate(s.replicas[0])
	late := newNode(t, m, fmt.Sprintf("replicaof %s 6379", s.primary.Announced().IP))
	s.replicas = append(s.replicas, late)
	s.write()
	s.arrives(2)
	s.isCutOff(0)
	s.heal()
	s.arrives(0)
}

func TestIsolateForeignMachine(t *testing.T) {
	t.Parallel()
	m, other := newTestMaker(t, Config{}), newTestMaker(t, Config{})
	c := makeNode(t, other, redisnode.MachineSpec{})
	if err := m.Isolate(t.Context(), []redisnode.Machine{c}); err == nil {
		t.Error("Isolate of another deployment's machine succeeded")
	}
}

func TestIsolateNeedsTools(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{})
	m.routing = routingOutside
	m.tools = "localhost:1/no-such-tools:1"
	c := newNode(t, m)
	makeNode(t, m, redisnode.MachineSpec{})
	err := m.Isolate(t.Context(), []redisnode.Machine{c})
	if err == nil {
		t.Fatal("Isolate succeeded without ip")
	}
	for _, want := range []string{m.tools, toolsVariable, c.Name()} {
		if !contains(err, want) {
			t.Errorf("Isolate = %v, want %s in it", err, want)
		}
	}
}
