package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
)

// formField returns a field of a form as the user wrote it, with hidden
// characters made visible. Browsers end lines with CR LF.
func formField(s string) string {
	return safetext.Escape(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")))
}

// typed are the values of a form as the user typed them, to show them again.
type typed map[string]string

// readForm returns the fields of a posted form that are filled in.
func readForm(r *http.Request, names ...string) (typed, error) {
	if err := r.ParseForm(); err != nil {
		return nil, errFormCut
	}
	return readTyped(r.PostForm, names...), nil
}

// readTyped returns the fields of a form or a query that are filled in.
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
	errs.addAll(request.Values(t.values()).ReadAll(fields...))
}

// sessionKey reads any text: a session that does not exist has no deliveries.
func sessionKey(to *string) request.Field { return request.Text("session", to, maxForm) }

// readKeep reads from a posted form how long an old secret stays valid in addition to the
// new one. more reads further fields.
func readKeep(r *http.Request, more ...request.Field) (keep time.Duration, err error) {
	fields := append(more, request.Duration("keep", &keep, 0, callbacks.MaxKeep).Required())
	t, err := readForm(r, request.Names(fields)...)
	if err != nil {
		return 0, err
	}
	return keep, request.Values(t.values()).Read(fields...)
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
