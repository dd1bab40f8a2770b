//go:build unix

// Package board is memory that all processes of a run share: which version of a
// key the database has, when the cache was told of each, and who has seen what.
// With it a reader can judge each of its reads as it makes it.
package board

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Versions is how many versions of one key there can be.
const Versions = 1 << 14

// ErrFull is returned by Commit when a key has had all its versions.
var ErrFull = errors.New("board: too many versions of one key in one phase")

// Board is the shared memory of one phase. Keys and instances are numbers; those
// out of range panic as an index would. All methods are safe for concurrent use,
// by several processes too, until Close.
type Board struct {
	keys, instances int
	words           []atomic.Uint64
	mem             []byte
}

// Open maps the board in a file, which it makes if there is none. All processes
// must open it with the same numbers of keys and instances.
func Open(path string, keys, instances int) (*Board, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	defer f.Close()
	size := (keys*(1+Versions) + keys*instances) * 8
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("board: map %s: %w", path, err)
	}
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[0])), size/8)
	return &Board{keys: keys, instances: instances, words: words, mem: mem}, nil
}

// Close gives the memory back. Nobody may use the board any more.
func (b *Board) Close() error { return syscall.Munmap(b.mem) }

func (b *Board) version(key int) *atomic.Uint64 { return &b.words[key*(1+Versions)] }

func (b *Board) ack(key int, v uint64) *atomic.Uint64 { return &b.words[key*(1+Versions)+int(v)] }

func (b *Board) seen(instance, key int) *atomic.Uint64 {
	return &b.words[b.keys*(1+Versions)+instance*b.keys+key]
}

// Commit makes the next version of a key current, and returns it. Only the
// database calls it.
func (b *Board) Commit(key int) (uint64, error) {
	c := b.version(key)
	v := c.Load()
	for {
		if v >= Versions {
			return 0, ErrFull
		}
		if c.CompareAndSwap(v, v+1) {
			return v + 1, nil
		}
		v = c.Load()
	}
}

// Current returns the version that the database has, 0 before the first commit.
func (b *Board) Current(key int) uint64 { return b.version(key).Load() }

// Acknowledge records that the cache had been told of a version by time t. The
// first time is kept.
func (b *Board) Acknowledge(key int, v uint64, t history.Time) {
	b.ack(key, v).CompareAndSwap(0, uint64(t))
}

// Acknowledged returns that time, 0 if there is none yet.
func (b *Board) Acknowledged(key int, v uint64) history.Time {
	return history.Time(b.ack(key, v).Load())
}

// Superseded returns the earliest time by which the cache had been told of any
// version newer than v, 0 if it has not been.
func (b *Board) Superseded(key int, v uint64) history.Time {
	var first history.Time
	for last := b.Current(key); v < last; {
		v++
		if t := b.Acknowledged(key, v); t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	return first
}

// See records that an instance has read a version of a key.
func (b *Board) See(instance, key int, v uint64) {
	s := b.seen(instance, key)
	for old := s.Load(); v > old && !s.CompareAndSwap(old, v); old = s.Load() {
	}
}

// Seen returns the newest version of a key that an instance has read.
func (b *Board) Seen(instance, key int) uint64 { return b.seen(instance, key).Load() }
