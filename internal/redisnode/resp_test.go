package redisnode

import (
	"bufio"
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     any
		ok       bool
	}{
		{"simple string", "+OK\r\n", "OK", true},
		{"error", "-ERR no\r\n", RedisError("ERR no"), true},
		{"integer", ":-7\r\n", int64(-7), true},
		{"bulk with line ends", "$4\r\na\r\nb\r\n", "a\r\nb", true},
		{"empty bulk", "$0\r\n\r\n", "", true},
		{"null bulk", "$-1\r\n", nil, true},
		{"null array", "*-1\r\n", nil, true},
		{"empty array", "*0\r\n", []any{}, true},
		{"nested array", "*2\r\n*1\r\n:1\r\n-ERR in\r\n", []any{[]any{int64(1)}, RedisError("ERR in")}, true},
		{"unknown type", "%1\r\n", nil, false},
		{"bare newline", "+OK\n", nil, false},
		{"empty line", "\r\n", nil, false},
		{"bulk longer than its length", "$1\r\nab\r\n", nil, false},
		{"bulk cut short", "$5\r\nab\r\n", nil, false},
		{"absurd length", "$99999999999\r\n", nil, false},
		{"negative length", "*-2\r\n", nil, false},
		{"no integer", ":x\r\n", nil, false},
		{"too deep", strings.Repeat("*1\r\n", 20) + ":1\r\n", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)), 0)
			if !reflect.DeepEqual(got, tt.want) || (err == nil) != tt.ok {
				t.Errorf("readReply(%q) = %#v, %v, want %#v, ok %t", tt.in, got, err, tt.want, tt.ok)
			}
		})
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "$-1\r\n", "-ERR\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := readReply(bufio.NewReader(strings.NewReader(in)), 0)
		if err != nil && got != nil {
			t.Errorf("readReply(%q) = %#v together with %v", in, got, err)
		}
	})
}

func TestRoundTripEndsWithItsContext(t *testing.T) {
	t.Parallel()
	// Accepts and never answers. That it closes the connection after cancel may
	// be what ends the read, and must not hide the cause.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
		}
		cancel()
	}()
	if _, err := roundTrip(ctx, l.Addr().String(), Access{}, []string{"PING"}); !errors.Is(err, context.Canceled) {
		t.Errorf("roundTrip = %v, want Canceled", err)
	}
	<-accepted
}
