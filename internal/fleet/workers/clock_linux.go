package workers

import (
	"os/exec"
	"syscall"
	"unsafe"
)

// Now returns the machine's monotonic clock in nanoseconds. All processes read
// the same one; the one inside time.Now is private to its process.
func Now() int64 {
	var ts syscall.Timespec
	const clockMonotonic = 1
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic(e) // the kernel has had this clock since 2.6
	}
	return ts.Nano()
}

// dieWithParent makes the kernel kill the child when its parent ends, even a
// child that is frozen and would not see the end of its input.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
