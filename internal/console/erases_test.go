package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

// dryRun makes a dry run of an erasure of a session, and returns its id.
func (s *site) dryRun(t *testing.T, k callbackd.Key, session string) string {
	t.Helper()
	e, err := s.Client(k).EraseSession(context.Background(), session, true)
	if err != nil {
		t.Fatal(err)
	}
	s.awaitErase(t, k, e.ID)
	return e.ID
}

// dryRunOverKeys makes a dry run as one over all API keys, and returns its id.
func (s *site) dryRunOverKeys(t *testing.T, session string) string {
	t.Helper()
	return s.eraseOverKeys(t, callbackd.Erase{By: callbackd.EraseSession, DryRun: true}, session, s.Key.ID).ID.String()
}

// eraseOverKeys erases in keys as an erasure over all keys does, and waits for the end. The other
// keys of the server belong to tests that run at the same time.
func (s *site) eraseOverKeys(t *testing.T, e callbackd.Erase, value string, keys ...callbackd.KeyID) *callbackd.EraseGroup {
	t.Helper()
	st, ctx := s.Store(true), context.Background()
	defer st.Close()
	e.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	g, err := st.CreateErases(ctx, e, keys, value)
	if err != nil {
		t.Fatal(err)
	}
	s.Await(func() bool {
		if g, err = st.EraseGroup(ctx, g.ID); err != nil {
			t.Fatal(err)
		}
		return !g.Running()
	})
	return g
}

// aPersonIsErasedInAllKeys looks at an erasure over all API keys. Its page is the operator's.
func aPersonIsErasedInAllKeys(t *testing.T, s *site) {
	other := s.NewKey("other-account", "second")
	for _, k := range []callbackd.Key{s.Key, other} {
		s.Publish(k, callbackd.Complete, "ACM-EVERYWHERE", map[string]any{"phone": "+1 555 0144"})
		// eraseOverKeys works in the database beside the server, which may still have the event
		// in its buffer. An erasure of the server flushes it.
		dry, err := s.Client(k).EraseSession(context.Background(), "ACM-EVERYWHERE", true)
		if err != nil {
			t.Fatal(err)
		}
		s.awaitErase(t, k, dry.ID)
	}
	g := s.eraseOverKeys(t, callbackd.Erase{By: callbackd.ErasePhone}, "15550144", s.Key.ID, other.ID)
	receipt, err := g.Receipt()
	if err != nil {
		t.Fatal(err)
	}
	op, holder := s.visitor(t).operator(), s.visitor(t).signIn(s.Key)
	page, one := "/console/erase-groups/"+g.ID.String(), "/console/erases/"+g.Erases[0].ID.String()
	op.says(one, "Part of an erasure over all API keys")
	op.says(page, "Erasure over all API keys", "This much is erased in 2 API keys:", "Events2", "other-account / second", string(receipt), callbackd.ReceiptHash(receipt))
	if strings.Contains(holder.get(one).body, "erase-groups") {
		t.Error("the page of a key's erasure links its holder to the erasure over all keys")
	}
	if a := holder.get(page); a.StatusCode == http.StatusOK {
		t.Error("the holder of a key sees an erasure over all keys")
	}
	s.confirmedInAllKeys(t, op, holder, other)
	for _, id := range []string{"x", "erg_1jzv8q00m0000"} {
		if a := op.get("/console/erase-groups/" + id); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered with %s, want 404", id, a.Status)
		}
	}
}

// confirmedInAllKeys erases a session from the form of the operator, in the two keys that have it.
// A session key is looked for, because the other keys of the server belong to other tests.
func (s *site) confirmedInAllKeys(t *testing.T, op, holder *visitor, other callbackd.Key) {
	t.Helper()
	for _, k := range []callbackd.Key{s.Key, other} {
		s.Publish(k, callbackd.Complete, "ACM-BOTH", map[string]any{"phone": "+1 555 0145"})
	}
	form := url.Values{"by": {"session_key"}, "value": {"ACM-NOBODY"}, "all": {"yes"}}
	if a := op.do("POST", "/console/erases/new", form); a.StatusCode != http.StatusBadRequest || !strings.Contains(words(t, a), "There is no API key with such a session") {
		t.Errorf("a session that no key has is answered with %s: %s", a.Status, words(t, a))
	}
	form.Set("value", "ACM-BOTH")
	dry := op.post("/console/erases/new", form)
	op.awaitPage(dry, "Erase it?")
	op.says(dry, "Dry run over all API keys", "Nothing was erased. This much would be erased in 2 API keys:", "Events2")
	if s.data(t, "ACM-BOTH") == "{}" {
		t.Fatal("the dry run erased the session")
	}
	if a := holder.do("POST", dry+"/confirm", nil); a.StatusCode == http.StatusSeeOther || s.data(t, "ACM-BOTH") == "{}" {
		t.Errorf("the holder of a key confirms the operator's erasure: %s", a.Status)
	}
	done := op.post(dry+"/confirm", nil)
	op.awaitPage(done, "Receipt")
	op.says(done, "Erasure over all API keys", "This much is erased in 2 API keys:", "Events2")
	if got := s.data(t, "ACM-BOTH"); got != "{}" {
		t.Errorf("the data is %s after the erasure", got)
	}
	if a := op.do("POST", done+"/confirm", nil); a.StatusCode != http.StatusConflict {
		t.Errorf("the confirmation of what is erased is answered with %s, want 409", a.Status)
	}
	list := op.get("/console/erase-groups").body
	for _, page := range []string{dry, done} {
		if !strings.Contains(list, page) {
			t.Errorf("the list of erasures over all API keys has no link to %s", page)
		}
	}
	// A holder that asks for all keys gets an erasure of the own key.
	if to := holder.post("/console/erases/new", form); !strings.HasPrefix(to, "/console/erases/") {
		t.Errorf("the holder of a key starts %s", to)
	}
}

// awaitErase waits until an erasure has ended.
func (s *site) awaitErase(t *testing.T, k callbackd.Key, id string) (e wire.Erase) {
	t.Helper()
	s.Await(func() bool {
		var err error
		if e, err = s.Client(k).Erase(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		return e.State == "done"
	})
	return e
}

// aPersonIsErased erases a session from its page, and others by a phone number: a dry run,
// the confirmation, the receipt. Nothing is erased without the confirmation, with another
// value, or by another key.
func aPersonIsErased(t *testing.T, s *site) {
	for session, phone := range map[string]string{"ACM-ERASE": "+1 555 0100", "ACM-PHONE": "+1 555 0123", "ACM-STAYS": "+1 555 0999"} {
		s.Publish(s.Key, callbackd.Complete, session, map[string]any{"phone": phone})
	}
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/sessions/ACM-ERASE", "Erase…")

	dry := v.post("/console/sessions/ACM-ERASE/erase", nil)
	v.awaitPage(dry, "Erase it?")
	v.says(dry, "Dry run of an erasure", "Session ACM-ERASE", "Nothing was erased. This much would be erased:", "Events1", "Erase now")
	if s.data(t, "ACM-ERASE") == "{}" {
		t.Fatal("the dry run erased the session")
	}
	other := s.withKeyOf(t)
	stranger := other.visitor(t).signIn(other.Key)
	for path, method := range map[string]string{dry: "GET", dry + "/confirm": "POST", "/console/sessions/ACM-ERASE/erase": "POST"} {
		if a := stranger.do(method, path, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("another key gets %s for %s %s, want 404", a.Status, method, path)
		}
	}
	done := v.post(dry+"/confirm", nil)
	v.awaitPage(done, "Receipt")
	e := s.awaitErase(t, s.Key, strings.TrimPrefix(done, "/console/erases/"))
	v.says(done, "This much is erased:", "Events1", string(e.Receipt), e.ReceiptSHA256)
	if got := s.data(t, "ACM-ERASE"); got != "{}" {
		t.Errorf("the data is %s after the erasure", got)
	}
	if a := v.do("POST", done+"/confirm", nil); a.StatusCode != http.StatusConflict {
		t.Errorf("the confirmation of what is erased is answered with %s, want 409", a.Status)
	}

	op := s.visitor(t).operator()
	dry = op.post("/console/erases/new", url.Values{"key": {s.Key.APIKey}, "by": {"phone"}, "value": {"+1 (555) 0123"}})
	op.awaitPage(dry, "Erase it?")
	op.says(dry, "Phone number, once more", "Sessions1")
	for _, wrong := range []string{"", "x", "+1 555 0999"} {
		a := op.do("POST", dry+"/confirm", url.Values{"value": {wrong}})
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(words(t, a), "Nothing was erased. Correct the marked field.") {
			t.Errorf("the number %q is answered with %s: %s", wrong, a.Status, words(t, a))
		}
	}
	done = op.post(dry+"/confirm", url.Values{"value": {"15550123"}})
	op.awaitPage(done, "Receipt")
	if got := s.data(t, "ACM-PHONE"); got != "{}" {
		t.Errorf("the data is %s after the erasure", got)
	}
	if s.data(t, "ACM-STAYS") == "{}" {
		t.Error("the session of another person was erased")
	}
	v.says("/console/erases", "Phone number", "Session ACM-ERASE", "dry run", "done")
	op.says("/console/erases?key="+s.Key.APIKey, "Phone number")
	if list := words(t, v.get("/console/erases")); strings.Contains(list, "5550123") || strings.Contains(list, "555 0123") {
		t.Error("the list has the phone number")
	}
}

// data returns the data of a session's only event.
func (s *site) data(t *testing.T, session string) string {
	t.Helper()
	var list wire.SessionEventList
	if err := s.Client(s.Key).Do(context.Background(), "GET", "/v1/sessions/"+session+"/events", nil, &list); err != nil {
		t.Fatal(err)
	}
	return string(list.Data[0].Data)
}
