package store_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
)

// fill sets every field of a struct to a different value.
func fill(v reflect.Value, n *int64) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.UnixMilli(1_700_000_000_000 + *n).UTC()
		return
	case *[]byte:
		*x = fmt.Appendf(nil, `{"n":%d}`, *n)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("é ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), n)
		}
	}
}

// Every field of a session is in its document or in a column.
func TestDocumentsHoldWhatIsNoColumn(t *testing.T) {
	var s callbackd.Session
	n := int64(0)
	fill(reflect.ValueOf(&s).Elem(), &n)
	got := callbackd.Session{Key: s.Key, SessionKey: s.SessionKey, Status: s.Status, Reference: s.Reference, Results: s.Results, CreatedAt: s.CreatedAt, EndedAt: s.EndedAt}
	before := fmt.Sprintf("%+v", s)
	b := store.EncodeSession(&s)
	if err := store.DecodeSession(b, &got); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Errorf("the session reads back differently: -want +got\n%s", diff)
	}
	if after := fmt.Sprintf("%+v", s); after != before {
		t.Errorf("encoding changed the session: %s", after)
	}
	var zero, back callbackd.Session
	if err := store.DecodeSession(store.EncodeSession(&zero), &back); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(zero, back); diff != "" {
		t.Errorf("the empty session reads back differently: -want +got\n%s", diff)
	}
}

// Reading a damaged document fails with an error and never panics.
func FuzzDecodeSession(f *testing.F) {
	var s callbackd.Session
	n := int64(0)
	fill(reflect.ValueOf(&s).Elem(), &n)
	whole := store.EncodeSession(&s)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{1})
	f.Add([]byte(nil))
	f.Add([]byte("\x01" + strings.Repeat("\xff", 30)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again callbackd.Session
		if store.DecodeSession(b, &s) != nil {
			return
		}
		if err := store.DecodeSession(store.EncodeSession(&s), &again); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("the session reads back differently: -want +got\n%s", diff)
		}
	})
}
