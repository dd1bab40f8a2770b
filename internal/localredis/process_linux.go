package localredis

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// setDeathSignal makes the kernel kill the child when the thread that starts it
// ends, and so at the latest when this process ends in whatever way.
func setDeathSignal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// awaitFrozen waits until every thread of pid had the time to stop: SIGSTOP is
// only queued when kill returns.
func awaitFrozen(ctx context.Context, pid int) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return err
		}
		// The state follows the command name, which may hold anything but is
		// closed by the last parenthesis.
		_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
		if len(state) > 0 && state[0] == 'T' {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d is not stopped yet: %w", pid, ctx.Err())
		case <-ticker.C:
		}
	}
}
