//go:build unix

package origin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// A Row is what the database has for an identifier.
type Row struct {
	ID string
	// Version is 1 at first and grows by one with each update.
	Version uint64
	// Read is when the database read the row, by workers.Now.
	Read int64
	// Name stands for what else a row has.
	Name string
}

// store is the SQLite file.
type store struct {
	db   *sql.DB
	read *sql.Stmt
}

func openStore(ctx context.Context, dir string, ids []string, connections int) (*store, error) {
	dsn := "file:" + filepath.ToSlash(filepath.Join(dir, "rows.db")) +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("origin: open: %w", err)
	}
	// A read of SQLite is short: what keeps a connection is the service time.
	connections = min(connections, 16) + 1 // one for updates
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	s := &store{db: db}
	if err := s.fill(ctx, ids); err != nil {
		return nil, errors.Join(fmt.Errorf("origin: make rows: %w", err), db.Close())
	}
	return s, nil
}

func (s *store) fill(ctx context.Context, ids []string) error {
	const table = `CREATE TABLE rows (id TEXT PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT NULL) WITHOUT ROWID`
	if _, err := s.db.ExecContext(ctx, table); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // has no effect after Commit
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, `INSERT INTO rows VALUES (?, 1, ?)`, id, "A product with a name of usual length, called "+id); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.read, err = s.db.PrepareContext(ctx, `SELECT id, version, name FROM rows WHERE id = ?`)
	return err
}

// row reads a row.
func (s *store) row(ctx context.Context, id string) (r Row, err error) {
	err = s.read.QueryRowContext(ctx, id).Scan(&r.ID, &r.Version, &r.Name)
	r.Read = workers.Now()
	if err != nil {
		return Row{}, fmt.Errorf("origin: query %q: %w", id, err)
	}
	return r, nil
}

// update gives a row its next version.
func (s *store) update(ctx context.Context, id string) (version uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = s.db.QueryRowContext(ctx, `UPDATE rows SET version = version + 1 WHERE id = ? RETURNING version`, id).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("origin: update %q: %w", id, err)
	}
	return version, nil
}

func (s *store) close() error { return s.db.Close() }
