package codec

import (
	"encoding/binary"

	"callbackd"
)

// AppendWithheld appends what a column says of the callbacks that an event was withheld
// from: for each the ID, and the length and the text of the term. It appends nothing
// when there is none.
func AppendWithheld(dst []byte, withheld []callbackd.Withheld) []byte {
	for _, w := range withheld {
		dst = binary.AppendUvarint(dst, uint64(w.Callback))
		dst = binary.AppendUvarint(dst, uint64(len(w.Term)))
		dst = append(dst, w.Term...)
	}
	return dst
}

// WithheldColumn returns what a column says of withheld; nil, which is NULL, when there is
// none.
func WithheldColumn(withheld []callbackd.Withheld) any {
	if len(withheld) == 0 {
		return nil
	}
	return AppendWithheld(nil, withheld)
}

// Withheld reads what AppendWithheld wrote. It ends at what nobody wrote.
func Withheld(b []byte) (withheld []callbackd.Withheld) {
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > uint64(len(b)-n-m) {
			break
		}
		term := b[n+m:][:size]
		withheld = append(withheld, callbackd.Withheld{Callback: callbackd.CallbackID(id), Term: string(term)})
		b = b[n+m+int(size):]
	}
	return withheld
}
