package history

import "github.com/fleetcache/fleetcache/internal/fleet/workers"

// Now returns the time of the machine's monotonic clock, which all processes
// share.
func Now() Time { return Time(workers.Now()) }
