//go:build unix

package crew

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

func TestMain(m *testing.M) {
	Enter(map[string]Role{"echo": func() (workers.Serve, func()) {
		return func(op string, body json.RawMessage) (any, error) {
			if op != "echo" {
				return nil, errors.New("no such call")
			}
			return body, nil
		}, func() {}
	}})
	os.Exit(m.Run())
}

func TestCrew(t *testing.T) {
	t.Parallel()
	all, err := StartAll("echo", 3)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int, len(all))
	err = all.Each(func(i int, m Member) error { return m.Call(t.Context(), "echo", i+1, &got[i]) })
	if err != nil || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("echo = %v, %v", got, err)
	}
	if err := all[1].Call(t.Context(), "sing", nil, nil); err == nil || !strings.Contains(err.Error(), "sing of echo 1: no such call") {
		t.Errorf("Call = %v, want who failed and why", err)
	}
	if err := all.End(); err != nil {
		t.Error(err)
	}
	for _, m := range all {
		<-m.Exited()
	}
	if err := all[0].Call(t.Context(), "echo", 1, nil); !errors.Is(err, workers.ErrGone) {
		t.Errorf("Call = %v after the end, want %v", err, workers.ErrGone)
	}
}
