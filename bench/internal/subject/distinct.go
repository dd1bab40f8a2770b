package subject

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fleetcache/fleetcache/rc"
)

// A Sample is the state of the process after some distinct keys were read.
type Sample struct {
	Keys      int
	HeapBytes uint64
	L1Entries int
	Fills     uint64
}

// ReadDistinct reads keys identifiers once each through an L1 of l1Size small
// values, with a free loader, and reports a sample every interval identifiers.
// The server should be one that evicts.
func ReadDistinct(ctx context.Context, addr string, keys, l1Size, interval int, report func(Sample)) (err error) {
	f, err := OpenFleet(ctx, addr, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := rc.New(f.Manager, "distinct", rc.Config[int]{TTL: TTL, L1Size: l1Size})
	if err != nil {
		return err
	}
	for from := 0; from < keys; from += interval {
		n := min(interval, keys-from)
		err := each(2*PerCore, n, func(i int) error {
			i += from
			v, err := s.GetOrSet(ctx, strconv.Itoa(i), func(context.Context) (int, error) { return i, nil })
			if err == nil && v != i {
				err = fmt.Errorf("identifier %d has the value %d", i, v)
			}
			return err
		})
		if err != nil {
			return err
		}
		st := f.Manager.Stats()
		report(Sample{Keys: from + n, HeapBytes: Heap(), L1Entries: st.L1Entries, Fills: st.Fills})
	}
	return nil
}
