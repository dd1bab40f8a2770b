package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// productCount is how many products the database has, numbered from 1.
const productCount = 1000

var errDatabaseDown = errors.New("database is down")

// A Store is a SQLite database of products that takes its time, counts its
// queries, and fails when told to. All methods are safe for concurrent use.
type Store struct {
	db        *sql.DB
	queryTime time.Duration
	failing   atomic.Bool

	mu         sync.Mutex // protects the fields below
	starts     []time.Time
	running    int
	maxRunning int
}

// OpenStore makes a database with productCount products in a new file in dir.
// Each query takes queryTime.
func OpenStore(ctx context.Context, dir string, queryTime time.Duration) (*Store, error) {
	dsn := "file:" + filepath.ToSlash(filepath.Join(dir, "products.db")) +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxIdleConns(32)
	if err := addProducts(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("make products: %w", err), db.Close())
	}
	return &Store{db: db, queryTime: queryTime}, nil
}

func addProducts(ctx context.Context, db *sql.DB) error {
	const table = `CREATE TABLE products (
		id          INTEGER PRIMARY KEY,
		name        TEXT    NOT NULL,
		price_cents INTEGER NOT NULL,
		stock       INTEGER NOT NULL
	)`
	if _, err := db.ExecContext(ctx, table); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // has no effect after Commit
	colors := []string{"red", "blue", "green", "black", "white", "amber", "grey"}
	things := []string{"kettle", "lamp", "chair", "clock", "rug", "shelf", "mirror", "basket", "vase"}
	for id := 1; id <= productCount; id++ {
		name := colors[id%len(colors)] + " " + things[id%len(things)]
		_, err := tx.ExecContext(ctx, `INSERT INTO products VALUES (?, ?, ?, ?)`, id, name, 500+id*37%9500, id*13%200)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Product queries a product. It returns sql.ErrNoRows if there is none.
func (s *Store) Product(ctx context.Context, id int64) (Product, error) {
	s.begin()
	defer s.end()
	var p Product
	err := errDatabaseDown
	if !s.failing.Load() {
		err = s.db.QueryRowContext(ctx, `SELECT id, name, price_cents, stock FROM products WHERE id = ?`, id).
			Scan(&p.ID, &p.Name, &p.PriceCents, &p.Stock)
	}
	// The time is taken after the row was read, not before: an update in
	// between makes the answer old on its way, which is what caches get wrong.
	t := time.NewTimer(s.queryTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return Product{}, ctx.Err()
	}
	if err != nil {
		return Product{}, fmt.Errorf("query product %d: %w", id, err)
	}
	return p, nil
}

// Rename updates a product. It is not counted as a query.
func (s *Store) Rename(ctx context.Context, id int64, name string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE products SET name = ? WHERE id = ?`, name, id)
	return err
}

// Fail makes queries fail, or work again.
func (s *Store) Fail(on bool) { s.failing.Store(on) }

func (s *Store) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = append(s.starts, time.Now())
	s.running++
	s.maxRunning = max(s.maxRunning, s.running)
}

func (s *Store) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// ResetCounts forgets the queries that have begun until now.
func (s *Store) ResetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts, s.maxRunning = nil, s.running
}

// Queries returns how many queries have begun since ResetCounts.
func (s *Store) Queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.starts)
}

// MaxConcurrent returns the largest number of queries that ran at the same
// time since ResetCounts.
func (s *Store) MaxConcurrent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxRunning
}

// Bursts returns how many queries have begun since ResetCounts, in groups:
// those that began within the given time of the first of the group.
func (s *Store) Bursts(within time.Duration) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sizes []int
	var first time.Time
	for _, t := range s.starts {
		if len(sizes) == 0 || t.Sub(first) > within {
			sizes, first = append(sizes, 0), t
		}
		sizes[len(sizes)-1]++
	}
	return sizes
}
