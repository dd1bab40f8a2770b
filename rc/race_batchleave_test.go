package rc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// The caller of a batch leaves while its load runs: it gets its own error at
// once, not when the loader returns.
func TestRaceBatchCallerLeaves(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{})
	begun, gate := make(chan struct{}), make(chan struct{})
	defer close(gate)
	ctx, cancel := context.WithCancel(t.Context())
	f := async(func() (string, error) {
		_, err := a.GetOrSetMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) {
			close(begun)
			<-gate
			return nil, nil
		})
		return "", err
	})
	event(t, begun, "the loader")
	cancel()
	if _, err := f.get(t); !errors.Is(err, context.Canceled) {
		t.Errorf("GetOrSetMany = %v, want context.Canceled", err)
	}
}
