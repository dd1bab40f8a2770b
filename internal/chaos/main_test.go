//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := parse([]string{"-backend", "docker", "-image", "x", "-seed", "7", "-short", "-soak", "1h", "-only", "^kill", "-instances", "4", "-bound", "2s"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Topology.Backend != clustertest.Docker || c.Topology.Image != "x" || c.Seed != 7 || !c.Short || c.Soak != time.Hour ||
		!c.Only.MatchString("kill primary") || c.Only.MatchString("no fault") || c.Instances != 4 || c.Bound != 2*time.Second {
		t.Errorf("parse = %+v", c)
	}
	for _, args := range []string{"-backend vm", "-instances 1", "-only (", "left over", "-soak x", "-out d -only kill", "-out d -mutant x", "-out d -late-clients",
		"-out d -invalidation", "-coherence none", "-out d -coherence broadcast",
		"-out d -locks", "-locks -invalidation", "-locks -soak 1h", "-locks -processes 1"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("parse(%s) succeeded", args)
		}
	}
	c, err = parse([]string{"-out", "d", "-version", "v1.2.3"})
	if err != nil || c.out != "d" || c.version != "v1.2.3" {
		t.Errorf("parse = %+v, %v", c, err)
	}
	c, err = parse([]string{"-invalidation", "-coherence", "broadcast"})
	if err != nil || !c.Invalidation || !c.Broadcast {
		t.Errorf("parse = %+v, %v", c, err)
	}
	c, err = parse([]string{"-locks", "-votes", "5", "-processes", "6", "-short"})
	if err != nil || !c.locks || c.votes != 5 || c.processes != 6 || !c.Short {
		t.Errorf("parse = %+v, %v", c, err)
	}
	if a, _ := parse(nil); a.Invalidation || a.Broadcast || a.locks {
		t.Errorf("by default %+v", a.Config)
	}
	if a, _ := parse(nil); a.Seed == 0 {
		t.Error("no seed by default")
	}
}
