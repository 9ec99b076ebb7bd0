package console

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// formField returns a field of a form as the user wrote it, with hidden
// characters made visible.
func formField(s string) string { return clean(strings.TrimSpace(s)) }

// typed are the values of a form as the user typed them, to show them again.
type typed map[string]string

// readTyped returns the fields of a form that are filled in.
func readTyped(q url.Values, names ...string) typed {
	t := typed{}
	for _, name := range names {
		if text := formField(q.Get(name)); text != "" {
			t[name] = text
		}
	}
	return t
}

// values returns the fields as parameters of an address.
func (t typed) values() url.Values {
	q := url.Values{}
	for name, text := range t {
		q.Set(name, text)
	}
	return q
}

// with returns the fields with one set to another value.
func (t typed) with(name, value string) typed {
	out := typed{}
	for n, text := range t {
		out[n] = text
	}
	delete(out, name)
	if value != "" {
		out[name] = value
	}
	return out
}

// read reads the fields and notes the errors.
func (t typed) read(errs formErrors, fields ...request.Field) {
	for _, p := range request.Values(t.values()).ReadAll(fields...) {
		errs.add(p.Field, p.Err)
	}
}

// sessionKey reads any text: a session that does not exist has no deliveries.
func sessionKey(to *string) request.Field { return request.Text("session", to, maxForm) }

// readKeep reads how long requests are also signed with the old secret.
func readKeep(q url.Values) (keep time.Duration, err error) {
	field := request.Duration("keep", &keep, 0, callbacks.MaxKeep)
	return keep, request.Values(q).Read(field.Required())
}

// readDeliveryCursor reads the cursor of a list of deliveries. It may also be
// the end of an event, which is written with the callback 0.
func readDeliveryCursor(s string) (callbackd.DeliveryID, bool) {
	if event, ok := strings.CutSuffix(s, "-0"); ok {
		id, ok := callbackd.ParseDeliveryID(event + "-1")
		return callbackd.DeliveryID{Event: id.Event}, ok && id.Event > 0
	}
	id, ok := callbackd.ParseDeliveryID(s)
	return id, ok && id.Event != 0
}

// logCursorText writes a cursor as the number of an entry and that of its key.
func logCursorText(at store.LogCursor) string {
	return strconv.FormatInt(int64(at.ID), 10) + "-" + strconv.FormatInt(int64(at.Key), 10)
}

func readLogCursor(s string) (store.LogCursor, bool) {
	entry, key, _ := strings.Cut(s, "-")
	id, err := strconv.ParseInt(entry, 10, 64)
	n, keyErr := strconv.ParseInt(key, 10, 64)
	return store.LogCursor{ID: store.LogID(id), Key: callbackd.KeyID(n)}, err == nil && keyErr == nil && id >= 1 && n >= 0
}
