//go:build unix

package stampede

import (
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// product is a row as the value that all peers cache: the size of
// subject.NewProduct, with the identifier and the version of the row in it.
func product(r origin.Row) subject.Product {
	p := subject.NewProduct(1)
	p.SKU, p.Name, p.Price = r.ID, r.Name, int64(r.Version)
	p.Updated = time.Unix(0, r.Read).UTC()
	return p
}

// version returns the version of the row that a product was made of. It fails
// if the product is that of another row.
func version(p subject.Product, id string) (uint64, error) {
	if p.SKU != id || p.Price < 1 {
		return 0, fmt.Errorf("stampede: a read of %q got version %d of %q", id, p.Price, p.SKU)
	}
	return uint64(p.Price), nil
}
