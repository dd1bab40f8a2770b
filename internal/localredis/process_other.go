//go:build !linux

package localredis

import (
	"context"
	"os/exec"
)

// setDeathSignal does nothing: only Linux can tie a child's life to ours.
func setDeathSignal(*exec.Cmd) {}

// awaitFrozen does nothing: there is no portable way to ask. The signal is on
// its way.
func awaitFrozen(context.Context, int) error { return nil }
