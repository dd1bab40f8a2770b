//go:build unix

package suite

import (
	"os"
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/instance"
)

func TestMain(m *testing.M) {
	if os.Getenv(instance.Env) != "" {
		os.Exit(instance.Main())
	}
	os.Exit(m.Run())
}
