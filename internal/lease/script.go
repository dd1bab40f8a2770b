package lease

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed scripts/acquire.lua
var acquireSrc string

//go:embed scripts/newer.lua
var newerSrc string

//go:embed scripts/fill.lua
var fillSrc string

//go:embed scripts/set.lua
var setSrc string

//go:embed scripts/expire.lua
var expireSrc string

//go:embed scripts/reset.lua
var resetSrc string

//go:embed scripts/extend.lua
var extendSrc string

//go:embed scripts/release.lua
var releaseSrc string

var (
	acquireScript = newScript(acquireSrc)
	fillScript    = newScript(newerSrc + fillSrc)
	setScript     = newScript(newerSrc + setSrc)
	expireScript  = newScript(expireSrc)
	resetScript   = newScript(resetSrc)
	extendScript  = newScript(extendSrc)
	releaseScript = newScript(releaseSrc)
)

// A script is a Lua script and the digest by which the server knows it.
// rueidis has such a type too, but it sends commands by itself and cannot be
// part of a pipeline.
type script struct{ src, sha string }

func newScript(src string) *script {
	sum := sha1.Sum([]byte(src)) // the digest EVALSHA is defined with
	return &script{src: src, sha: hex.EncodeToString(sum[:])}
}

// cmd builds the call, by digest, or with the whole text when the server is
// known not to have it.
func (s *script) cmd(b rueidis.Builder, whole bool, keys, args []string) rueidis.Completed {
	if whole {
		return b.Eval().Script(s.src).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
	}
	return b.Evalsha().Sha1(s.sha).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

// missing reports whether the server does not know the digest.
func missing(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(re.Error(), "NOSCRIPT")
}
