//go:build unix

package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// A Client asks the database, any number of callers at a time. Make it with
// [Dial].
type Client struct {
	conn net.Conn
	link *workers.Link
	read sync.WaitGroup
}

// Dial connects to the database at a socket.
func Dial(ctx context.Context, socket string) (*Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	c := &Client{conn: conn}
	c.link = workers.NewLink(conn, func(op string, _ json.RawMessage) (any, error) {
		return nil, fmt.Errorf("origin: the database asked for %q", op)
	})
	c.read.Go(func() { c.link.Read(conn) }) // until Close, or the end of the database
	return c, nil
}

// Close ends the connection. Queries under way fail.
func (c *Client) Close() error {
	err := c.conn.Close()
	c.read.Wait()
	return err
}

// Query reads a row.
func (c *Client) Query(ctx context.Context, id string) (r Row, err error) {
	err = c.link.Call(ctx, "query", id, &r)
	if err == nil && r.ID != id {
		err = fmt.Errorf("origin: query %q was answered with %q", id, r.ID)
	}
	return r, err
}

// Update gives a row its next version and returns it.
func (c *Client) Update(ctx context.Context, id string) (version uint64, err error) {
	err = c.link.Call(ctx, "update", id, &version)
	return version, err
}

// SetMode changes how the database answers from now on.
func (c *Client) SetMode(ctx context.Context, m Mode) error { return c.link.Call(ctx, "mode", m, nil) }

// Take returns the log and begins a new one.
func (c *Client) Take(ctx context.Context) (l Log, err error) {
	err = c.link.Call(ctx, "take", nil, &l)
	return l, err
}

// IsDown reports whether a query failed because the database is down.
func IsDown(err error) bool { return err != nil && strings.Contains(err.Error(), errDown.Error()) }
