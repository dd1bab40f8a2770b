package subject

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// TTL is how long every subject keeps a value: longer than any run, so that
// nothing expires while it is measured.
const TTL = time.Hour

// A Product is the value every subject caches: some 250 bytes of JSON, with
// strings and a slice, so that decoding it costs what a row of a table costs.
type Product struct {
	ID      int64     `json:"id"`
	SKU     string    `json:"sku"`
	Name    string    `json:"name"`
	Price   int64     `json:"price"`
	Tags    []string  `json:"tags"`
	Stock   int32     `json:"stock"`
	Active  bool      `json:"active"`
	Updated time.Time `json:"updated"`
}

// NewProduct returns the product with a number.
func NewProduct(n int64) Product {
	s := strconv.FormatInt(n, 10)
	return Product{
		ID:      n,
		SKU:     "SKU-0000-" + s,
		Name:    "A product with a name of usual length, number " + s,
		Price:   1999 + n%1000,
		Tags:    []string{"garden", "tools", "on sale"},
		Stock:   int32(n % 100),
		Active:  n%7 != 0,
		Updated: time.Unix(1_700_000_000+n, 0).UTC(),
	}
}

// words are what the names of larger products are made of.
var words = strings.Fields("with a handle of oak and steel for wet ground or stone light balanced " +
	"sharp garden spade rake hoe fork blade edge care clean dry store keep away from children " +
	"made in small series by hand tested warranty spare parts available order number see page")

// NewLargeProduct returns the product with a number, whose JSON has about size
// bytes: its name is that much longer. It compresses as text does.
func NewLargeProduct(n int64, size int) Product {
	p := NewProduct(n)
	if size <= smallProduct {
		return p
	}
	var b strings.Builder
	b.WriteString(p.Name)
	for r := rand.New(rand.NewPCG(uint64(n), 1)); b.Len() < size-smallProduct+len(p.Name); {
		b.WriteByte(' ')
		b.WriteString(words[r.IntN(len(words))])
	}
	p.Name = b.String()
	return p
}

// smallProduct is about how many bytes of JSON a product has.
const smallProduct = 200

// IDs returns the identifiers of the first n products, in an order that has
// nothing to do with their numbers. n must be a power of two: then a benchmark
// finds the next one without a division, which would cost as much as a hit.
func IDs(n int) []string {
	if n&(n-1) != 0 {
		panic("subject: IDs of a number that is no power of two")
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "product:" + strconv.Itoa(i*7919%n)
	}
	return ids
}

// fresh numbers identifiers that no run has used before.
var fresh atomic.Int64

// freshID returns an identifier that is cached nowhere.
func freshID() string { return "fresh:" + strconv.FormatInt(fresh.Add(1), 10) }

// theProduct is what free loaders return: making one is not what is measured.
var theProduct = NewProduct(42)

func freeLoad(context.Context) (Product, error) { return theProduct, nil }

// decode is the decoding of fleetcache's default codec, for subjects that
// bring none.
func decode(b []byte) (p Product, err error) {
	err = json.Unmarshal(b, &p)
	return p, err
}
