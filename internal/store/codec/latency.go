package codec

import (
	"encoding/binary"

	"callbackd/internal/store"
)

// AppendLatency appends the counts of l as varints, up to the last one that is not 0.
func AppendLatency(dst []byte, l *store.Latency) []byte {
	end := len(l)
	for end > 0 && l[end-1] == 0 {
		end--
	}
	for _, n := range l[:end] {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// ReadLatency reads what AppendLatency wrote.
func ReadLatency(b []byte) (l store.Latency) {
	for i := 0; i < len(l) && len(b) > 0; i++ {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			break
		}
		l[i], b = uint32(n), b[size:]
	}
	return l
}
