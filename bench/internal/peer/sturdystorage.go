package peer

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// sturdyStorage is the distributed storage of sturdyc on rueidis.
type sturdyStorage struct {
	client rueidis.Client
	ttl    time.Duration
	s      Settings
}

// Get implements sturdyc.DistributedStorage.
func (s *sturdyStorage) Get(ctx context.Context, key string) ([]byte, bool) {
	b, err := s.client.Do(ctx, s.client.B().Get().Key(s.s.key(key)).Build()).AsBytes()
	return b, err == nil
}

// GetBatch implements sturdyc.DistributedStorage.
func (s *sturdyStorage) GetBatch(ctx context.Context, keys []string) map[string][]byte {
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = s.s.key(k)
	}
	found, err := rueidis.MGet(s.client, ctx, full)
	if err != nil {
		return nil
	}
	out := make(map[string][]byte, len(keys))
	for i, k := range keys {
		m := found[full[i]]
		if b, err := m.AsBytes(); err == nil {
			out[k] = b
		}
	}
	return out
}

func (s *sturdyStorage) set(key string, value []byte) rueidis.Completed {
	return s.client.B().Set().Key(s.s.key(key)).Value(rueidis.BinaryString(value)).Px(s.ttl).Build()
}

// Set implements sturdyc.DistributedStorage.
func (s *sturdyStorage) Set(ctx context.Context, key string, value []byte) {
	s.client.Do(ctx, s.set(key, value))
}

// SetBatch implements sturdyc.DistributedStorage.
func (s *sturdyStorage) SetBatch(ctx context.Context, records map[string][]byte) {
	cmds := make([]rueidis.Completed, 0, len(records))
	for k, v := range records {
		cmds = append(cmds, s.set(k, v))
	}
	s.client.DoMulti(ctx, cmds...)
}

// Delete implements sturdyc.DistributedStorageWithDeletions.
func (s *sturdyStorage) Delete(ctx context.Context, key string) {
	// The interface has no place for an error: the record ends with its TTL.
	_ = s.del(ctx, key)
}

// DeleteBatch implements sturdyc.DistributedStorageWithDeletions.
func (s *sturdyStorage) DeleteBatch(ctx context.Context, keys []string) {
	for _, k := range keys {
		s.Delete(ctx, k)
	}
}

func (s *sturdyStorage) del(ctx context.Context, key string) error {
	return s.client.Do(ctx, s.client.B().Del().Key(s.s.key(key)).Build()).Error()
}
