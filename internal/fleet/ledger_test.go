//go:build unix

package fleet

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	ledgerKeys     = 8
	ledgerVersions = 1 << 14 // per key
	ledgerHeader   = 2       // words per key: current version, loads
	ledgerStride   = ledgerHeader + ledgerVersions
)

// ledger is the database of a test, in memory that all its processes share. A
// key is its number. Each key has one writer; anybody may read. All methods
// are safe for concurrent use, by several processes too.
type ledger struct {
	words []atomic.Uint64
	mem   []byte
}

// openLedger maps the ledger in a file, which it makes if there is none.
func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = ledgerKeys * ledgerStride * 8
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[0])), size/8)
	return &ledger{words: words, mem: mem}, nil
}

func (l *ledger) close() { _ = syscall.Munmap(l.mem) }

func (l *ledger) word(key, i int) *atomic.Uint64 { return &l.words[key*ledgerStride+i] }

// commit writes the next version of a key to the database and returns it.
func (l *ledger) commit(key int) uint64 {
	v := l.word(key, 0).Add(1)
	if v >= ledgerVersions {
		panic("ledger: too many versions of one key")
	}
	return v
}

// current returns the version the database has, 0 before the first commit.
func (l *ledger) current(key int) uint64 { return l.word(key, 0).Load() }

// load is current for a loader, and counts it.
func (l *ledger) load(key int) uint64 {
	l.word(key, 1).Add(1)
	return l.current(key)
}

func (l *ledger) loads(key int) uint64 { return l.word(key, 1).Load() }

// acknowledge records that the cache was told of a version, by time t at the
// latest.
func (l *ledger) acknowledge(key int, v uint64, t int64) {
	l.word(key, ledgerHeader+int(v)).Store(uint64(t))
}

// forget takes back the acknowledgements of versions from to to.
func (l *ledger) forget(key int, from, to uint64) {
	for v := from; v <= to; v++ {
		l.acknowledge(key, v, 0)
	}
}

// superseded returns when the first successor of version v was acknowledged,
// 0 if none was.
func (l *ledger) superseded(key int, v uint64) int64 {
	for last := l.current(key); v < last; {
		v++
		if t := l.word(key, ledgerHeader+int(v)).Load(); t != 0 {
			return int64(t)
		}
	}
	return 0
}
