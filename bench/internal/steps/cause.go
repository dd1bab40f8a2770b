//go:build unix

package steps

import (
	"errors"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/rc"
)

// What a request without a value may fail with in this scenario.
const (
	causeDown    = "the database is down"
	causeBackoff = "a load failed a moment ago (ErrBackoff)"
)

// cause names what a request failed with.
func cause(err error) string {
	switch {
	case errors.Is(err, rc.ErrBackoff):
		return causeBackoff
	case origin.IsDown(err):
		return causeDown
	}
	text := err.Error()
	return text[:min(len(text), 120)]
}
