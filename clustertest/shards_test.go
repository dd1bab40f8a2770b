package clustertest

import (
	"strings"
	"testing"
)

func TestCheckShards(t *testing.T) {
	t.Parallel()
	node := func(role string) any { return []any{"id", "aa", "role", role, "health", "online"} }
	shard := func(nodes ...any) any { return []any{"slots", []any{int64(0), int64(1)}, "nodes", nodes} }
	for name, tt := range map[string]struct {
		reply any
		want  string // in the error; "" for none
	}{
		"in order":           {[]any{shard(node("master"), node("replica")), shard(node("replica"), node("master"))}, ""},
		"replica on its own": {[]any{shard(node("master")), shard(node("replica"))}, "0 primaries among 1 nodes"},
		"two primaries":      {[]any{shard(node("master"), node("master"))}, "2 primaries among 2 nodes"},
		"no nodes":           {[]any{[]any{"slots", []any{}}}, "0 primaries among 0 nodes"},
		"something else":     {[]any{"text"}, "0 primaries"},
	} {
		err := checkShards(tt.reply)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
