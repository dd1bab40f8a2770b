package localredis

import (
	"fmt"
	"os"
	"syscall"
)

// reservePort takes a free port from the kernel and holds it by a socket that
// is bound to it and never listens. Bound without SO_REUSEADDR it conflicts
// with every other user of the port. Set afterwards, the option lets servers in
// that set it too, as Redis does, while the kernel still gives the port to
// nobody who asks for any port. So a dead server's port stays its own until it
// is started again, and no client's outgoing connection can sit on it.
//
// Docker does not ask for any port: it gives containers one after the other from
// the beginning of the kernel's range, and its proxy sets SO_REUSEADDR, too. So
// ports from the first quarter are passed over.
func reservePort() (*reservation, error) {
	var passed []*reservation
	defer func() {
		for _, r := range passed {
			r.free()
		}
	}()
	for {
		r, err := reserveAny()
		if err != nil || r.port >= dockerEnd() || len(passed) == maxPassed {
			return r, err
		}
		passed = append(passed, r)
	}
}

// maxPassed is how many ports are passed over before one is taken that Docker may
// take, too.
const maxPassed = 32

// dockerEnd is the port up to which Docker hopefully does not come.
func dockerEnd() int {
	var first, last int
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(b), &first, &last); err != nil {
		return 0
	}
	return first + (last-first)/4
}

func reserveAny() (*reservation, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve port: socket: %w", err)
	}
	r, err := holdPort(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("reserve port: %w", err)
	}
	return r, nil
}

func holdPort(fd int) (*reservation, error) {
	loopback := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, loopback); err != nil {
		return nil, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	port := addr.(*syscall.SockaddrInet4).Port
	return &reservation{port: port, release: func() { _ = syscall.Close(fd) }}, nil
}
