package codec

import "callbackd"

// TraceColumn returns what a column says of a trace context: its ID, its span, its flags and
// its state. It is nil, which is NULL, for none.
func TraceColumn(t *callbackd.Trace) []byte {
	if t == nil {
		return nil
	}
	b := make([]byte, 0, len(t.ID)+len(t.Span)+1+len(t.State))
	b = append(append(b, t.ID[:]...), t.Span[:]...)
	return append(append(b, t.Flags), t.State...)
}

// Trace reads what TraceColumn wrote; nil when that is nothing.
func Trace(b []byte) *callbackd.Trace {
	var t callbackd.Trace
	if len(b) < len(t.ID)+len(t.Span)+1 {
		return nil
	}
	b = b[copy(t.ID[:], b):]
	b = b[copy(t.Span[:], b):]
	t.Flags, t.State = b[0], string(b[1:])
	return &t
}
