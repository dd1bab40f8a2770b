package localredis

import (
	"fmt"
	"strings"
	"testing"
)

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var tl tail
	var all strings.Builder
	for i := range 4 * logKept / 16 {
		line := fmt.Sprintf("%015d\n", i)
		all.WriteString(line)
		_, _ = tl.Write([]byte(line))
	}
	_, _ = tl.Write([]byte("the end\n"))
	all.WriteString("the end\n")
	if got := tl.last(20); got != "the end\n" {
		t.Errorf("last(20) = %q, want whole lines from the end", got)
	}
	got := tl.last(1 << 30)
	if len(got) < logKept || len(got) > 2*logKept {
		t.Errorf("keeps %d bytes, want %d to %d", len(got), logKept, 2*logKept)
	}
	if !strings.HasSuffix(all.String(), got) {
		t.Error("what is kept is not the end of what was written")
	}
}
