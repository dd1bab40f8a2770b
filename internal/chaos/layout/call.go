//go:build unix

package layout

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// callTimeout bounds calls that do nothing that takes long.
const callTimeout = 30 * time.Second

// Call asks a process, nil if it does not run. Errors name it and what it was
// asked.
func Call(ctx context.Context, p *workers.Process, name, op string, in, out any) error {
	if p == nil {
		return fmt.Errorf("chaos: %s: %s does not run", op, name)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := p.Link.Call(ctx, op, in, out); err != nil {
		return fmt.Errorf("chaos: %s of %s: %w", op, name, err)
	}
	return nil
}
