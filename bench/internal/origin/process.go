//go:build unix

package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// RoleName is the role of the database in package crew.
const RoleName = "database"

// A Config says what the database has and how it answers.
type Config struct {
	IDs         []string
	Connections int
	Mode        Mode
	// Keep keeps each query in the log, and not only how many there were.
	Keep bool
}

// openArgs is what the process of the database is told.
type openArgs struct {
	Config
	Dir, Socket string
}

// Role is the process of the database, for crew.Enter.
func Role() (workers.Serve, func()) {
	p := &process{}
	return p.serve, p.close
}

// process is the database in its process.
type process struct {
	listener net.Listener
	store    *store
	accepted sync.WaitGroup
}

func (p *process) serve(op string, body json.RawMessage) (any, error) {
	if op != "open" {
		return nil, fmt.Errorf("origin: no such operation %q", op)
	}
	a, err := workers.Decode[openArgs](body)
	if err != nil {
		return nil, err
	}
	if p.store, err = openStore(context.Background(), a.Dir, a.IDs, a.Connections); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("unix", a.Socket); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	d := newDatabase(p.store, a.Connections, a.Mode, a.Keep)
	p.accepted.Go(func() { // until close
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			go serveConn(conn, d) // until its client has gone, or the process
		}
	})
	return nil, nil
}

func serveConn(conn net.Conn, d *database) {
	defer conn.Close() //nolint:errcheck // its client has gone
	workers.NewLink(conn, d.serve).Read(conn)
}

// close ends the listening. The connections end with the process.
func (p *process) close() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.accepted.Wait()
	}
	if p.store != nil {
		_ = p.store.close() // its file goes next
	}
}

// A Database is the database as the program sees that has started it.
type Database struct {
	// Socket is where clients find it.
	Socket string
	*Client

	member crew.Member
	dir    string
}

// Start runs a database until [Database.Stop].
func Start(ctx context.Context, cfg Config) (_ *Database, err error) {
	dir, err := os.MkdirTemp("", "origin-")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	d := &Database{Socket: filepath.Join(dir, "socket"), dir: dir}
	if d.member, err = crew.Start(RoleName, RoleName); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	err = d.member.Call(ctx, "open", openArgs{cfg, dir, d.Socket}, nil)
	if err == nil {
		d.Client, err = Dial(ctx, d.Socket)
	}
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// Stop ends the database and removes its file.
func (d *Database) Stop() error {
	var err error
	if d.Client != nil {
		err = d.Client.Close()
	}
	return errors.Join(err, d.member.End(), os.RemoveAll(d.dir))
}
