package lock

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// A lease keeps each lock in one key of one deployment. It is immutable.
type lease struct {
	client rueidis.Client
	cfg    Config
	node   string
}

func nodeName(opt rueidis.ClientOption) string { return strings.Join(opt.InitAddress, ",") }

// key returns the key of a lock. Those of the queue and the counter, and the
// channels, are this with a suffix, so all are in one slot.
func (e *lease) key(name string) string {
	return e.cfg.Prefix + ":lock:{" + escape.Replace(name) + "}"
}

// exec runs a script that begins with handover.lua.
func (e *lease) exec(ctx context.Context, s *rueidis.Lua, name string, args ...string) rueidis.RedisResult {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.OpTimeout)
	defer cancel()
	k := e.key(name)
	common := []string{k + ":w:", millis(e.cfg.Grace), millis(maxTTL + e.cfg.TTL)}
	return s.Exec(ctx, e.client, []string{k, k + ":q", k + ":n"}, append(common, args...))
}

func (e *lease) fault(op string, err error) error { return &NodeError{Op: op, Node: e.node, Err: err} }

// flag is a bool as the scripts get it.
func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// try sends one script. If ctx ends meanwhile the script is on its way, and so a
// release on the same connection comes after it.
func (e *lease) try(ctx context.Context, name, id string, queue bool) answer {
	ttl := e.cfg.TTL
	arr, err := e.exec(ctx, acquireScript, name, id, millis(ttl), flag(queue), millis(2*ttl+e.cfg.Grace)).ToArray()
	if err != nil {
		return answer{err: e.fault(opAcquire, err)}
	}
	a, err := parseAnswer(arr)
	if err != nil {
		return answer{err: e.fault(opAcquire, fmt.Errorf("%w: %w", errReply, err))}
	}
	a.id = id
	// A place in the queue lasts two of our TTLs, whatever the holder's is.
	a.left = min(a.left, ttl)
	return a
}

func parseAnswer(arr []rueidis.RedisMessage) (a answer, err error) {
	if len(arr) < 2 {
		return a, errShort
	}
	code, err := arr[0].AsInt64()
	if err != nil {
		return a, err
	}
	if code == 0 {
		if len(arr) != 4 {
			return a, errShort
		}
		heard, err := arr[3].AsInt64()
		if err != nil {
			return a, err
		}
		a.deaf = heard == 0
		if a.server, err = parseInt(arr[2]); err != nil {
			return a, err
		}
		ms, err := arr[1].AsInt64()
		a.left = time.Duration(max(ms, 1)) * time.Millisecond
		return a, err
	}
	token, err := parseInt(arr[1])
	a.granted, a.token = err == nil, uint64(token)
	return a, err
}

// parseInt parses an integer that came as text: Lua's own lose digits.
func parseInt(m rueidis.RedisMessage) (int64, error) {
	text, err := m.ToString()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

func (e *lease) extend(ctx context.Context, name, id string) (held, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.OpTimeout)
	defer cancel()
	n, err := extendScript.Exec(ctx, e.client, []string{e.key(name)}, []string{id, millis(e.cfg.TTL)}).AsInt64()
	if err != nil {
		return false, false, e.fault(opExtend, err)
	}
	return n == 1, true, nil
}

func (e *lease) release(name, id string, queued bool) (bool, error) {
	n, err := e.exec(context.Background(), releaseScript, name, id, flag(queued)).AsInt64()
	if err != nil {
		return false, e.fault(opRelease, err)
	}
	return n == 1, nil
}

func (e *lease) stations(name, id string) []station {
	return []station{{e.client, e.key(name) + ":w:" + id}}
}

func (e *lease) close() { e.client.Close() }
