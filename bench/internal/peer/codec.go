package peer

import (
	"encoding/json"
	"fmt"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// encode and decode are JSON, as in fleetcache, for peers that leave the
// encoding to their user.
func encode(v *subject.Product) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("peer: encode: %w", err)
	}
	return b, nil
}

func decode(b []byte) (v subject.Product, err error) {
	if err = json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("peer: decode: %w", err)
	}
	return v, nil
}
