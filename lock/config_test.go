package lock

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func asNode(err error, n **NodeError) bool { return errors.As(err, n) }

// Open says which field is wrong before it connects.
func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Prefix: "a{b"}, "Prefix"},
		{Config{Prefix: strings.Repeat("x", 129)}, "Prefix"},
		{Config{TTL: time.Second, OpTimeout: 334 * time.Millisecond}, "TTL"},
		{Config{TTL: -time.Second}, "TTL"},
		{Config{TTL: 24*time.Hour + 1}, "TTL"},
		{Config{OpTimeout: time.Microsecond}, "OpTimeout"},
		{Config{Grace: -1}, "Grace"},
	} {
		if _, err := Open(t.Context(), option("127.0.0.1:1"), c.cfg); err == nil || !strings.Contains(err.Error(), "Config."+c.want) {
			t.Errorf("Open(%+v) = %v, want an error of %s", c.cfg, err, c.want)
		}
	}
	if err := (Config{}).withDefaults().validate(); err != nil {
		t.Error(err)
	}
	for name, ok := range map[string]bool{"": false, "n": true, strings.Repeat("x", maxName): true, strings.Repeat("x", maxName+1): false} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName of %d bytes = %v", len(name), err)
		}
	}
}
