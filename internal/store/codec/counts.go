package codec

import (
	"encoding/binary"

	"callbackd/internal/store"
)

// AppendCounts appends counts as varints, up to the last one that is not 0.
func AppendCounts(dst []byte, counts store.Counts) []byte {
	for _, n := range counts.Trimmed() {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// ReadCounts reads what AppendCounts wrote into counts, and leaves out what they have no
// room for.
func ReadCounts(b []byte, counts store.Counts) {
	clear(counts)
	for i := 0; i < len(counts) && len(b) > 0; i++ {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			break
		}
		counts[i], b = uint32(n), b[size:]
	}
}

// AddCounts returns the sums of two columns with counts.
func AddCounts(dst, a, b []byte) []byte {
	for len(a) > 0 || len(b) > 0 {
		x, n := binary.Uvarint(a)
		y, m := binary.Uvarint(b)
		if n < 0 || m < 0 {
			break
		}
		dst = binary.AppendUvarint(dst, uint64(uint32(x)+uint32(y)))
		a, b = a[n:], b[m:]
	}
	return dst
}
