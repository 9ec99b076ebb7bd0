package core

import (
	"fmt"
	"reflect"
	"time"

	"callbackd/internal/store"
)

// Text is a text that may hold any bytes, such as a path that a caller sent.
// It is text in SQLite and bytea in PostgreSQL, where text must be UTF-8.
type Text string

// Plain returns an argument of a statement as one of the types that drivers
// bind: nil, int64, float64, bool, string, [Text], []byte, []int64, []string
// or [store.Counts].
//
// Named types become what is underneath. A time becomes its milliseconds since
// 1970, and the zero time NULL. A duration becomes its microseconds. A nil
// pointer is NULL, a nil []byte is empty.
func Plain(arg any) (any, error) {
	switch v := arg.(type) {
	case nil, int64, float64, bool, string, Text, []int64, []string, store.Counts:
		return v, nil
	case []byte:
		if v == nil {
			return []byte{}, nil
		}
		return v, nil
	case time.Time:
		if v.IsZero() {
			return nil, nil
		}
		return v.UnixMilli(), nil
	case time.Duration:
		return v.Microseconds(), nil
	}
	return plainKind(reflect.ValueOf(arg))
}

// plainKind is Plain by what is under a named type.
func plainKind(v reflect.Value) (any, error) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return Plain(v.Elem().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint()), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Slice:
		return plainSlice(v)
	}
	return nil, fmt.Errorf("a statement cannot take an argument of type %s", v.Type())
}

func plainSlice(v reflect.Value) (any, error) {
	switch v.Type().Elem().Kind() {
	case reflect.Uint8:
		return v.Bytes(), nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		list := make([]int64, v.Len())
		for i := range list {
			list[i] = v.Index(i).Int()
		}
		return list, nil
	case reflect.String:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = v.Index(i).String()
		}
		return list, nil
	}
	return nil, fmt.Errorf("a statement cannot take a list of type %s", v.Type())
}

// NotEarlier rounds a time up to the millisecond that is stored, so that nothing is due
// before its time.
func NotEarlier(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMilli(t.Add(time.Millisecond - 1).UnixMilli())
}
