package lock

import (
	"crypto/rand"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

//go:embed scripts/handover.lua
var handoverSrc string

//go:embed scripts/acquire.lua
var acquireSrc string

//go:embed scripts/release.lua
var releaseSrc string

//go:embed scripts/extend.lua
var extendSrc string

//go:embed scripts/vote.lua
var voteSrc string

var (
	acquireScript = rueidis.NewLuaScript(handoverSrc + acquireSrc)
	releaseScript = rueidis.NewLuaScript(handoverSrc + releaseSrc)
	extendScript  = rueidis.NewLuaScript(extendSrc)
	voteText      = strip(voteSrc)
	voteDigest    = digest(voteText)
)

func digest(src string) string {
	sum := sha1.Sum([]byte(src))
	return hex.EncodeToString(sum[:])
}

// strip takes comments and indentation out of a script.
func strip(src string) string {
	var b strings.Builder
	for line := range strings.Lines(src) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// errReply means that a server answered what the script does not return.
var errReply = errors.New("unexpected reply")

var errShort = errors.New("wrong number of elements")

// newID returns 16 random bytes in hex. Reading them does not fail (crypto/rand).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func millis(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// toString returns an argument of redsync as Redis gets it.
func toString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	}
	return fmt.Sprint(v)
}
