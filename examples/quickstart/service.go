package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// This file is all there is to know to use the library. The rest of the
// program makes it hard for it, and looks at what comes out.

// fallbackLoads is how many queries one instance runs at a time while Redis
// does not answer.
const fallbackLoads = 4

// A Product is a row of the database, and what is cached of it.
type Product struct {
	ID         int64
	Name       string
	PriceCents int64
	Stock      int64
}

// A Database has the products. *Store is one.
type Database interface {
	// Product returns a product, or sql.ErrNoRows.
	Product(ctx context.Context, id int64) (Product, error)
	// Rename changes the name of a product.
	Rename(ctx context.Context, id int64, name string) error
}

// A ProductService is what the rest of an application asks for products. Each
// instance of the application has its own.
type ProductService struct {
	db    Database
	cache *rc.CacheService[Product]
}

// NewProductService returns a service that caches products of db for ttl.
// Instances with the same prefix share what they cache.
func NewProductService(m *rc.Manager, db Database, prefix string, ttl time.Duration) (*ProductService, error) {
	cache, err := rc.New(m, "products", rc.Config[Product]{
		Prefix:        prefix,
		TTL:           ttl,
		StaleFor:      time.Minute, // if the database fails, or while it is asked
		FallbackLoads: fallbackLoads,
	})
	if err != nil {
		return nil, err
	}
	return &ProductService{db: db, cache: cache}, nil
}

// GetProduct returns a product, from memory, from Redis, or else from the
// database, which is asked once for all instances.
func (s *ProductService) GetProduct(ctx context.Context, id int64) (Product, error) {
	return s.cache.GetOrSet(ctx, cacheID(id), func(ctx context.Context) (Product, error) {
		p, err := s.db.Product(ctx, id)
		if errors.Is(err, sql.ErrNoRows) {
			return p, rc.ErrNotFound // is remembered, too
		}
		return p, err
	})
}

// Rename changes the name of a product: in the database first, because a
// reader who finds nothing in the cache must find the new row.
//
// An *rc.InvalidationError means that the row is changed, that this instance
// knows, and that the others will when Redis can be told.
func (s *ProductService) Rename(ctx context.Context, id int64, name string) error {
	if err := s.db.Rename(ctx, id, name); err != nil {
		return fmt.Errorf("rename product %d: %w", id, err)
	}
	return s.cache.Delete(ctx, cacheID(id))
}

// Cached returns a product if it is cached, and does not ask the database.
func (s *ProductService) Cached(ctx context.Context, id int64) (Product, bool, error) {
	return s.cache.Get(ctx, cacheID(id))
}

// IsFresh reports whether a product is cached that is not past its time.
func (s *ProductService) IsFresh(ctx context.Context, id int64) (bool, error) {
	item, err := s.cache.Lookup(ctx, cacheID(id))
	return item.Found && !item.Stale, err
}

// Waited returns how many calls of this instance found nothing to return at
// once, and had to wait for a query.
func (s *ProductService) Waited() uint64 { return s.cache.Stats().Misses }

func cacheID(id int64) string { return strconv.FormatInt(id, 10) }
