package subject

import (
	"strconv"

	"github.com/fleetcache/fleetcache/rc"
)

// tagNames is how many different tags there are in each place of a value's
// tags: few enough that values share them, as those of a shop share categories.
const tagNames = 64

// TagsOf returns the first n tags of a product.
func TagsOf(id int64, n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = "t" + strconv.Itoa(i) + ":" + strconv.FormatInt(id*int64(i+1)%tagNames, 10)
	}
	return tags
}

// Tagged returns a service of the same Manager, in a namespace of its own,
// whose values have n tags. It ends with f.
func (f *Fleet) Tagged(n int) (*Fleet, error) {
	cfg := rc.Config[Product]{TTL: TTL}
	if n > 0 {
		cfg.Tags = func(_ string, p Product) []string { return TagsOf(p.ID, n) }
	}
	s, err := rc.New(f.Manager, "tagged-"+strconv.Itoa(n), cfg)
	if err != nil {
		return nil, err
	}
	return &Fleet{Manager: f.Manager, Service: s}, nil
}
