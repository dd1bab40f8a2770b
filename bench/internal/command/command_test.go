package command

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		code int
		want string
	}{
		{t.Context(), nil, 0, ""},
		{t.Context(), errors.New("no server"), 1, "x: no server\n"},
		{t.Context(), errors.New("x: no server"), 1, "x: no server\n"}, // of a package of that name
		{ended, errors.New("read: context canceled"), 1, "x: interrupted\n"},
		{ended, nil, 0, ""}, // it was through
	} {
		var out strings.Builder
		code := status(test.ctx, &out, "x", func(context.Context) error { return test.err })
		if code != test.code || out.String() != test.want {
			t.Errorf("%v: exit %d and %q, want %d and %q", test.err, code, out.String(), test.code, test.want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "go run ./cmd/x"},
		{[]string{"-quick", "-out", "/tmp/o"}, "go run ./cmd/x -quick -out /tmp/o"},
		{[]string{"-only", "no cache", "-a", "it's"}, `go run ./cmd/x -only 'no cache' -a 'it'\''s'`},
	} {
		if got := line("x", test.args); got != test.want {
			t.Errorf("line of %q = %q, want %q", test.args, got, test.want)
		}
	}
}
