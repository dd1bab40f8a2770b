package fleet

import (
	"os/exec"
	"syscall"
	"unsafe"
)

// monotonic returns the machine's monotonic clock in nanoseconds. All processes
// read the same one; time.Now's is private to its process.
func monotonic() int64 {
	var ts syscall.Timespec
	const clockMonotonic = 1
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic(e)
	}
	return ts.Nano()
}

// dieWithParent makes the kernel kill the child when its parent ends, even a
// child that is frozen and would not see the end of its input.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
