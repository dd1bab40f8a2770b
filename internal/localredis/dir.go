package localredis

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	dirPrefix = "localredis-"
	lockName  = "in-use"

	// sweepAge is the age from which an unlocked directory counts as left
	// behind. Until then its owner may be about to lock it.
	sweepAge = 10 * time.Second
)

// dataDir is a temporary directory of this process. Its lock is the proof to
// other processes that its owner lives: the kernel releases it when the owner
// ends, however it ends.
type dataDir struct {
	path string
	lock *os.File
}

// sweepOnce makes the first server of a process remove what processes that were
// killed have left behind; once is enough for the dirs not to pile up.
var sweepOnce sync.Once

func newDataDir() (*dataDir, error) {
	base := tempBase()
	sweepOnce.Do(func() { sweep(base, sweepAge) })
	return newDataDirIn(base)
}

func newDataDirIn(base string) (*dataDir, error) {
	path, err := os.MkdirTemp(base, dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("localredis: %w", err)
	}
	d := &dataDir{path: path}
	if d.lock, err = os.Create(filepath.Join(path, lockName)); err == nil {
		_, err = tryLock(d.lock)
	}
	if err != nil {
		d.remove()
		return nil, fmt.Errorf("localredis: lock directory: %w", err)
	}
	return d, nil
}

// remove deletes the directory and gives up the lock. A nil d is left alone.
func (d *dataDir) remove() {
	if d == nil {
		return
	}
	// A snapshot child of the server that was just killed may write a last file
	// between the listing and the removal: then there is something to list again.
	if os.RemoveAll(d.path) != nil {
		_ = os.RemoveAll(d.path)
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
}

// sweep removes directories in base whose owner is dead. Errors are ignored: a
// directory may belong to another user or be swept by somebody else just now.
func sweep(base string, age time.Duration) {
	locks, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*", lockName))
	for _, name := range locks {
		info, err := os.Stat(name)
		if err != nil || time.Since(info.ModTime()) < age {
			continue
		}
		lock, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if free, err := tryLock(lock); err == nil && free {
			_ = os.RemoveAll(filepath.Dir(name))
		}
		_ = lock.Close()
	}
}
