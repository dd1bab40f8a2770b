package sweep

import (
	"iter"
	"math/bits"
)

const slotCount = 16384

// slotSet is a set of hash slots. The zero value is empty.
type slotSet [slotCount / 64]uint64

// allSlots returns the set of all slots.
func allSlots() *slotSet {
	s := new(slotSet)
	for i := range s {
		s[i] = ^uint64(0)
	}
	return s
}

func (s *slotSet) has(slot uint16) bool { return s[slot/64]&(1<<(slot%64)) != 0 }

func (s *slotSet) add(slot uint16) { s[slot/64] |= 1 << (slot % 64) }

func (s *slotSet) addAll(o *slotSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// keep removes what is not in o.
func (s *slotSet) keep(o *slotSet) {
	for i := range s {
		s[i] &= o[i]
	}
}

// within reports whether every slot of s is in o.
func (s *slotSet) within(o *slotSet) bool {
	for i := range s {
		if s[i]&^o[i] != 0 {
			return false
		}
	}
	return true
}

func (s *slotSet) len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// all yields the slots in ascending order.
func (s *slotSet) all() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(uint16(i*64 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
