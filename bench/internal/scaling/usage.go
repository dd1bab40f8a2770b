package scaling

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// usage is what a process has used.
type usage struct {
	cpu      float64 // µs
	resident float64 // bytes, the most so far
}

func ownUsage() usage {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return usage{} // it fails for bad arguments only
	}
	return usage{float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3, float64(u.Maxrss) * 1024} // Linux counts KiB
}

// machineMemory returns the bytes of memory that the machine has.
func machineMemory() (bytes float64, ok bool) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false // not Linux
	}
	for line := range strings.Lines(string(b)) {
		if v, found := strings.CutPrefix(line, "MemTotal:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			return kib * 1024, err == nil
		}
	}
	return 0, false
}
