//go:build !linux

package localredis

import (
	"fmt"
	"net"
)

// reservePort finds a free port and cannot hold it: between now and the start
// of the server anybody may take it, which Start repairs by trying another.
func reservePort() (*reservation, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("reserve port: %w", err)
	}
	defer l.Close()
	return &reservation{port: l.Addr().(*net.TCPAddr).Port}, nil
}
