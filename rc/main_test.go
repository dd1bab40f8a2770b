package rc_test

import (
	"testing"

	"github.com/fleetcache/fleetcache/internal/leak"
)

// module begins the name of every function that counts as ours.
const module = "github.com/fleetcache/fleetcache/"

// TestMain fails the package if goroutines of this module outlive its tests.
func TestMain(m *testing.M) { leak.Main(m, module, nil) }
