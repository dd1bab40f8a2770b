package rc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// A remembered absence stays one for a CacheService of an interface type.
func TestNegativeOfAnInterfaceType(t *testing.T) {
	t.Parallel()
	srv := start(t)
	s := service(t, open(t, srv, calm()), rc.Config[any]{})
	for range 3 {
		v, err := s.GetOrSet(t.Context(), "k", func(context.Context) (any, error) { return nil, rc.ErrNotFound })
		if !errors.Is(err, rc.ErrNotFound) {
			t.Errorf("GetOrSet = %#v, %v, want ErrNotFound", v, err)
		}
		if v, found, err := s.Get(t.Context(), "k"); found || err != nil {
			t.Errorf("Get = %#v, %v, %v, want nothing", v, found, err)
		}
	}
}
