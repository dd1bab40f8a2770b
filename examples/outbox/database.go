package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// An Order is a row of the database, and what is cached of it.
type Order struct {
	ID, Version int64
}

// OrderChanged is the event of a change. It is in the outbox as JSON.
type OrderChanged struct {
	// Change numbers the changes, for the count of this example.
	Change int64 `json:"change"`
	Order  int64 `json:"order"`
}

// EventName is what the event is called in the outbox and in the stream.
func (OrderChanged) EventName() string { return "orders.changed" }

// A Message is a row of the outbox.
type Message struct {
	ID         int64
	Type, Data string
}

// A Database has orders and the outbox. Several processes may have it open.
type Database struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
	id   INTEGER PRIMARY KEY,
	type TEXT NOT NULL,
	data TEXT NOT NULL,
	sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unsent ON outbox (id) WHERE sent = 0;`

// OpenDatabase opens the database in dir, and makes it if there is none.
func OpenDatabase(ctx context.Context, dir string) (*Database, error) {
	dsn := "file:" + filepath.ToSlash(filepath.Join(dir, "orders.db")) +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("make tables: %w", err), db.Close())
	}
	return &Database{db}, nil
}

// Close closes the database.
func (d *Database) Close() error { return d.db.Close() }

// Change changes an order, and writes the event of it in the same transaction:
// there is never one without the other.
func (d *Database) Change(ctx context.Context, order, change int64) error {
	data, err := json.Marshal(OrderChanged{Change: change, Order: order})
	if err != nil {
		return err
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // has no effect after Commit
	const upsert = `INSERT INTO orders VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET version = version + 1`
	if _, err := tx.ExecContext(ctx, upsert, order); err != nil {
		return err
	}
	const insert = `INSERT INTO outbox (id, type, data) VALUES (?, ?, ?)`
	if _, err := tx.ExecContext(ctx, insert, change, OrderChanged{}.EventName(), string(data)); err != nil {
		return err
	}
	return tx.Commit()
}

// Order returns an order; one that was never changed has version 0.
func (d *Database) Order(ctx context.Context, id int64) (Order, error) {
	o := Order{ID: id}
	err := d.db.QueryRowContext(ctx, `SELECT version FROM orders WHERE id = ?`, id).Scan(&o.Version)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return o, err
}

// Unsent returns the oldest messages of the outbox that are not marked as sent.
func (d *Database) Unsent(ctx context.Context, limit int) (out []Message, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, type, data FROM outbox WHERE sent = 0 ORDER BY id LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err has it
	for rows.Next() {
		var m Message
		if err := rows.Scan(&m.ID, &m.Type, &m.Data); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// MarkSent marks a message of the outbox as sent.
func (d *Database) MarkSent(ctx context.Context, id int64) error {
	_, err := d.db.ExecContext(ctx, `UPDATE outbox SET sent = 1 WHERE id = ?`, id)
	return err
}
