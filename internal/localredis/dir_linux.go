package localredis

import (
	"errors"
	"os"
	"syscall"
)

const (
	sharedMemory = "/dev/shm"
	tmpfsMagic   = 0x01021994

	// wantedMemory is what has to be free in sharedMemory, in bytes. Containers
	// tend to have 64 MiB there, which an append-only file can fill.
	wantedMemory = 1 << 30
)

// tempBase returns where temporary directories go: TMPDIR if it is set, else
// memory if there is plenty, else /tmp. Servers write their cluster and
// sentinel state with fsync on the thread that also answers pings. On a busy
// disk that took seconds, and so nodes were failed over that nobody had killed,
// and sentinels that had been stuck refused to act.
func tempBase() string {
	if os.Getenv("TMPDIR") != "" {
		return os.TempDir()
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(sharedMemory, &fs); err != nil || int64(fs.Type) != tmpfsMagic ||
		fs.Bavail*uint64(fs.Bsize) < wantedMemory {
		return os.TempDir()
	}
	if syscall.Access(sharedMemory, 0x2 /* W_OK */) != nil {
		return os.TempDir()
	}
	return sharedMemory
}

// tryLock takes the exclusive lock of f, which its closing releases, and
// reports whether it was free.
func tryLock(f *os.File) (free bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
