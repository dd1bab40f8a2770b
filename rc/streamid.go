package rc

import (
	"strconv"
	"strings"
)

// startID reports whether a group can begin there.
func startID(id string) bool {
	_, _, whole := parseID(id)
	_, err := strconv.ParseUint(id, 10, 64)
	return whole || err == nil || id == "$"
}

// idLess reports whether the id of one entry comes before that of another. What
// is no id comes before nothing.
func idLess(a, b string) bool {
	am, as, ok1 := parseID(a)
	bm, bs, ok2 := parseID(b)
	return ok1 && ok2 && (am < bm || am == bm && as < bs)
}

func parseID(id string) (ms, seq uint64, ok bool) {
	left, right, found := strings.Cut(id, "-")
	ms, err1 := strconv.ParseUint(left, 10, 64)
	seq, err2 := strconv.ParseUint(right, 10, 64)
	return ms, seq, found && err1 == nil && err2 == nil
}
