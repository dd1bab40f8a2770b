package lock

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/redis/rueidis"
)

// shardTags returns n hash tags whose slots lie in the middle of n equal parts of
// all slots, or within a 32nd of a part of it. They depend on n alone: clients
// exclude each other whatever topology they see.
func shardTags(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		middle, near := (2*i+1)*hashslot.Count/(2*n), max(1, hashslot.Count/(32*n))
		for k := 0; ; k++ {
			tags[i] = "r" + strconv.Itoa(k)
			if d := int(hashslot.Of(tags[i])) - middle; -near <= d && d <= near {
				break
			}
		}
	}
	return tags
}

// checkSpread reports a shard that alone decides about every lock: without it
// there would be no locks.
func checkSpread(ctx context.Context, client rueidis.Client, tags []string) error {
	if client.Mode() != rueidis.ClientModeCluster {
		return errors.New("shards of a deployment that is no cluster")
	}
	ranges, err := client.Do(ctx, client.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return fmt.Errorf("CLUSTER SLOTS: %w", err)
	}
	votes := map[string]int{}
	for _, r := range ranges {
		first, last, id, err := parseRange(r)
		if err != nil {
			return fmt.Errorf("CLUSTER SLOTS: %w", err)
		}
		for _, tag := range tags {
			if s := int64(hashslot.Of(tag)); first <= s && s <= last {
				votes[id]++
			}
		}
	}
	for id, n := range votes {
		if n > len(tags)/2 {
			return fmt.Errorf("shard %s has %d of %d keys, quorum impossible without it", id, n, len(tags))
		}
	}
	return nil
}

// parseRange parses a row of CLUSTER SLOTS: slots and the id of their primary.
func parseRange(m rueidis.RedisMessage) (first, last int64, id string, err error) {
	row, err := m.ToArray()
	if err != nil || len(row) < 3 {
		return 0, 0, "", errors.Join(err, errReply)
	}
	first, err1 := row[0].AsInt64()
	last, err2 := row[1].AsInt64()
	primary, err3 := row[2].ToArray()
	if err := errors.Join(err1, err2, err3); err != nil || len(primary) < 3 {
		return 0, 0, "", errors.Join(err, errReply)
	}
	id, err = primary[2].ToString()
	return first, last, id, err
}
