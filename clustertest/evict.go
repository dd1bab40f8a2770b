package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Evict makes a primary evict some of its keys, as it would under maxmemory: it
// lowers the limit below what is in use, with the policy allkeys-random unless
// one is set that evicts, until evicted keys are counted, and then restores both
// settings. A node that has no keys cannot evict: that is an error.
func (c *Cluster) Evict(ctx context.Context, n *Node) error {
	return c.record(ctx, "evict keys of "+n.String(), func() (err error) {
		if _, err := c.servers([]*Node{n}); err != nil {
			return err
		}
		limit, err := n.setting(ctx, "maxmemory")
		if err != nil {
			return err
		}
		policy, err := n.setting(ctx, "maxmemory-policy")
		if err != nil {
			return err
		}
		defer func() {
			// The settings have to be restored when ctx has ended, too.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, restored := n.Do(ctx, "CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", policy)
			err = errors.Join(err, restored)
		}()
		if !strings.HasPrefix(policy, "allkeys-") {
			policy := "allkeys-random"
			if _, err := n.Do(ctx, "CONFIG", "SET", "maxmemory-policy", policy); err != nil {
				return err
			}
		}
		return n.squeeze(ctx)
	})
}

// squeeze lowers maxmemory until the server has evicted something.
func (n *Node) squeeze(ctx context.Context) error {
	before, _, err := n.memory(ctx)
	if err != nil {
		return err
	}
	// Not all memory in use counts against the limit, so the first steps may be
	// too small to matter.
	for cut := int64(1); ; cut *= 4 {
		evicted, used, err := n.memory(ctx)
		if err != nil || evicted > before {
			return err
		}
		if size, err := n.Do(ctx, "DBSIZE"); err != nil || size == int64(0) {
			return errors.Join(err, errors.New("the node has no keys, so there is nothing to evict: write some first"))
		}
		limit := strconv.FormatInt(max(used-cut, 1), 10)
		if _, err := n.Do(ctx, "CONFIG", "SET", "maxmemory", limit); err != nil {
			return err
		}
	}
}

// memory returns the count of evicted keys and the memory in use, in bytes.
func (n *Node) memory(ctx context.Context) (evicted, used int64, err error) {
	info, err := n.text(ctx, "INFO", "everything")
	if err != nil {
		return 0, 0, err
	}
	if evicted, err = strconv.ParseInt(infoField(info, "evicted_keys"), 10, 64); err != nil {
		return 0, 0, err
	}
	used, err = strconv.ParseInt(infoField(info, "used_memory"), 10, 64)
	return evicted, used, err
}

// setting returns the value of a configuration parameter.
func (n *Node) setting(ctx context.Context, name string) (string, error) {
	reply, err := n.Do(ctx, "CONFIG", "GET", name)
	if err != nil {
		return "", err
	}
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		if value, ok := pair[1].(string); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("clustertest: %s: unexpected reply %v to CONFIG GET %s", n, reply, name)
}
