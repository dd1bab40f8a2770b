// The README's example of a cluster that all tests
// of a package share.
package sharedexample_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/clustertest"
)

var cluster *clustertest.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	cluster, err = clustertest.Run(context.Background(), clustertest.Topology{Primaries: 3, ReplicasPerPrimary: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Stop()
	return m.Run()
}

// fresh gives the shared cluster to one test: empty, whole, and reported if the
// test fails.
func fresh(t *testing.T) *clustertest.Cluster {
	t.Helper()
	cluster.Attach(t)
	if err := cluster.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cluster
}

func TestReadsEndInTime(t *testing.T) {
	c := fresh(t)
	client, err := rueidis.NewClient(c.ClientOption())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	schedule, err := clustertest.Chaos(1, clustertest.ChaosConfig{
		Topology: c.Topology(), Duration: 3 * time.Second, MaxLasting: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- schedule.Run(t.Context(), c, clustertest.RunOptions{Log: t.Logf}) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		const limit = 100 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		start := time.Now()
		err := client.Do(ctx, client.B().Get().Key("greeting").Build()).Error()
		cancel()
		// The error is not the point here, nor is a second more.
		if took := time.Since(start); took > limit+2*time.Second {
			t.Errorf("GET took %s: %v", took, err)
		}
	}
}
