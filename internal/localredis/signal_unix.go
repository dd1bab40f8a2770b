//go:build unix

package localredis

import "syscall"

func (p *process) freeze() error { return p.os.Signal(syscall.SIGSTOP) }

func (p *process) thaw() error { return p.os.Signal(syscall.SIGCONT) }
