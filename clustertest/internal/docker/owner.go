package docker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Labels of every container and network that this package makes.
const (
	labelMine    = "org.fleetcache.clustertest"
	labelSession = labelMine + ".session" // one per Maker
	labelHost    = labelMine + ".host"
	labelBoot    = labelMine + ".boot"
	labelPid     = labelMine + ".pid"
	labelStart   = labelMine + ".start"
)

// owner identifies a process so that others can tell whether it lives.
type owner struct {
	host  string // machine and process id namespace: where pid means something
	boot  string // changes when the machine is booted
	pid   string
	start string // when the process began; empty where it cannot be read
}

// thisProcess returns the owner that this process is.
func thisProcess() owner {
	name, _ := os.Hostname() // empty does no harm: the rest still tells hosts apart
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	start, _ := processStart(os.Getpid())
	return owner{
		host:  strings.Join([]string{name, firstLine("/etc/machine-id"), namespace}, "/"),
		boot:  firstLine("/proc/sys/kernel/random/boot_id"),
		pid:   strconv.Itoa(os.Getpid()),
		start: start,
	}
}

// firstLine returns the content of a small file, empty if there is none.
func firstLine(name string) string {
	data, _ := os.ReadFile(name)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

func (o owner) labels() map[string]string {
	return map[string]string{
		labelMine: "1", labelHost: o.host, labelBoot: o.boot, labelPid: o.pid, labelStart: o.start,
	}
}

func ownerIn(labels map[string]string) owner {
	return owner{
		host: labels[labelHost], boot: labels[labelBoot],
		pid: labels[labelPid], start: labels[labelStart],
	}
}

// knowsDead reports whether other is a process that would be visible from o if
// it still lived, and is not there. In doubt it lives.
func (o owner) knowsDead(other owner) bool {
	pid, err := strconv.Atoi(other.pid)
	if err != nil || other.host != o.host {
		return false
	}
	if other.boot != o.boot {
		return true
	}
	start, alive := processStart(pid)
	return !alive || (start != "" && start != other.start)
}

// processStart returns when a process began, in whatever unit, or "" if that
// cannot be read, and whether the process lives.
func processStart(pid int) (start string, alive bool) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return "", false
	}
	defer func() { _ = process.Release() }() // it is only being looked at
	if err := process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
		return "", false
	}
	if runtime.GOOS != "linux" {
		return "", true
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", true
	}
	// The name in parentheses may hold anything; after it come the state and,
	// 19 fields later, the start time in clock ticks since boot.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", true
	}
	zombie := fields[0] == "Z" || fields[0] == "X"
	return fields[19], !zombie
}
