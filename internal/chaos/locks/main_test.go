//go:build unix

package locks

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(Env) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}
