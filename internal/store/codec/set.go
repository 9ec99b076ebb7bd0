package codec

import (
	"cmp"
	"encoding/binary"
	"slices"

	"callbackd"
)

// chunkSize is how many events of a replay's set are in one row. The set is selected
// in one snapshot and stored as ids, so that later changes of the deliveries do not
// change it. A million ids are about five megabytes.
const chunkSize = 4096

// Set is the set of a replay while it is being selected. The zero value is empty.
type Set struct {
	parts map[callbackd.CallbackID]*Part
	total int64
}

// Part is the share of a set that goes to one callback. It has the ids of the events in
// ascending order, as varints of their differences, in chunks.
type Part struct {
	Callback callbackd.CallbackID
	Chunks   [][]byte
	Total    int64
	last     callbackd.EventID
}

// Add adds a delivery. The id of its event must be above those that the callback has so
// far. Add fails with KindTooLarge beyond [callbackd.MaxReplay].
func (s *Set) Add(ev callbackd.EventID, cb callbackd.CallbackID) error {
	p := s.parts[cb]
	if p == nil {
		if s.parts == nil {
			s.parts = map[callbackd.CallbackID]*Part{}
		}
		p = &Part{Callback: cb}
		s.parts[cb] = p
	}
	if p.Total%chunkSize == 0 {
		p.Chunks = append(p.Chunks, nil)
		p.last = 0
	}
	end := len(p.Chunks) - 1
	p.Chunks[end] = binary.AppendUvarint(p.Chunks[end], uint64(ev-p.last))
	p.last = ev
	p.Total++
	if s.total++; s.total > callbackd.MaxReplay {
		return callbackd.Errorf(callbackd.KindTooLarge, "The set would have more than %d deliveries; narrow it with since and until, and start several.", callbackd.MaxReplay)
	}
	return nil
}

// Total returns the number of deliveries in the set.
func (s *Set) Total() int64 { return s.total }

// Parts returns the parts of the set, ordered by ID of the callback.
func (s *Set) Parts() []*Part {
	out := make([]*Part, 0, len(s.parts))
	for _, p := range s.parts {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Part) int { return cmp.Compare(a.Callback, b.Callback) })
	return out
}

// ChunksOf returns the first and the last chunk that hold n events, beginning with the
// one at index from.
func ChunksOf(from, n int64) (first, last int64) { return from / chunkSize, (from + n - 1) / chunkSize }

// AppendSlice appends events of a chunk: those among the n events of the part that begin
// at index from.
func AppendSlice(ids []callbackd.EventID, chunk int64, b []byte, from, n int64) []callbackd.EventID {
	at, last := chunk*chunkSize, uint64(0)
	for ; len(b) > 0; at++ {
		diff, size := binary.Uvarint(b)
		if size <= 0 {
			break
		}
		b = b[size:]
		if last += diff; at >= from && at < from+n {
			ids = append(ids, callbackd.EventID(last))
		}
	}
	return ids
}

// ErrSet means that a part has fewer events than it should.
var ErrSet = callbackd.Errorf(callbackd.KindInternal, "the set of a replay is damaged: it has fewer events than were chosen")
