package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/session"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// sessionRoutes returns the endpoints of sessions: PAVE's, our own, and those for the
// platform.
func (a *API) sessionRoutes() []route {
	return []route{
		{pattern: "POST /v1/sessions", signed: a.createSession},
		{pattern: "POST /v1/session", signed: a.createSession}, // as PAVE's samples have it
		withQuery("GET /v1/sessions", a.listSessions, sessionListFields),
		{pattern: "GET /v1/sessions/{key}", signed: a.getSession},
		{pattern: "PUT /v1/sessions/{key}", signed: a.updateSession},
		{pattern: "DELETE /v1/sessions/{key}", signed: a.deleteSession},
		{pattern: "GET /v1/sessions/{key}/photos", signed: a.getPhotos},
		{pattern: "GET /v1/sessions/{key}/notes", signed: a.getNotes},
		{pattern: "GET /v1/sessions/{key}/results", signed: a.getResults},
		withQuery("GET /v1/sessions/{key}/events", a.sessionEvents, sessionEventsFields),
		{pattern: "POST /v2/capture/sessions/{key}/resend", itself: a.resend},

		{pattern: "POST /v1/sessions/{key}/start", signed: a.startSession},
		{pattern: "POST /v1/sessions/{key}/photos", signed: a.addPhoto},
		{pattern: "POST /v1/sessions/{key}/notes", signed: a.addNote},
		{pattern: "POST /v1/sessions/{key}/sms", signed: a.reportSMS},
		{pattern: "PUT /v1/sessions/{key}/results", signed: a.putResults},
		{pattern: "POST /v1/sessions/{key}/complete", signed: a.completeSession},
		{pattern: "POST /v1/sessions/{key}/invalidate", signed: a.invalidateSession},
	}
}

// session returns the session key in the path. A text that cannot be a session key gets
// the same error as an unknown session.
func (c *call) session() (string, error) {
	key := cmp.Or(c.PathValue("session"), c.PathValue("key")) // the API key is {key} in the management API
	if !callbackd.IsSessionKey(key) {
		return "", callbackd.Errorf(callbackd.KindNotFound, "Session %s cannot be found.", callbackd.Clip(key, callbackd.MaxSessionKey))
	}
	return key, nil
}

func (a *API) createSession(w http.ResponseWriter, c *call) error {
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	s := session.New(c.key, session.Now())
	if s.SourceProperties, err = marshal(map[string]string{"api_name": c.key.Name}); err != nil {
		return err
	}
	var given *callbackd.Callback
	if err := body.Read(append(newSessionFields(s), callbacks.SessionField("callback", &given))...); err != nil {
		return err
	}
	if given != nil {
		if err := a.admitGiven(c, []store.NewEvent{{Callback: given}}); err != nil {
			return err
		}
	}
	shown := func(cb *callbackd.Callback) wire.Session {
		out := a.shown(c, s)
		if cb != nil {
			out.Callback = a.showGiven(w, cb, true)
		}
		return out
	}
	show := func(made store.Changed) ([]byte, error) { return marshal(shown(made.Callback)) }
	ctx := once(c, http.StatusOK, show)
	fired := 0
	err = a.withinLimits(c, func() (_ []*callbackd.Event, err error) {
		fired, err = session.Create(ctx, a.Store, s, given, a.link(c.key, s.SessionKey))
		if callbackd.KindOf(err) == callbackd.KindConflict { // the random key exists already: 1 in 36^10
			s.SessionKey = callbackd.NewSessionKey(c.key.Account)
			fired, err = session.Create(ctx, a.Store, s, given, a.link(c.key, s.SessionKey))
		}
		return nil, err // the next count of what is pending has the events
	})
	if err != nil {
		return err
	}
	a.Accepted(fired)
	var made *callbackd.Callback
	if given != nil {
		page, err := a.Store.ListCallbacks(c.Context(), store.CallbackQuery{Key: c.key.ID, Session: s.SessionKey, Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Callbacks) > 0 { // nobody deleted it meanwhile
			made = page.Callbacks[0]
		}
	}
	answer(w, http.StatusOK, shown(made))
	return nil
}

// link returns the link to the capture pages of a session.
func (a *API) link(key *callbackd.Key, sessionKey string) string {
	return key.CaptureLink(a.CaptureURL, sessionKey)
}

func (a *API) shown(c *call, s *callbackd.Session) wire.Session {
	return view.Session(s, a.link(c.key, s.SessionKey))
}

// listed returns a session in a list, which may be over all API keys.
func (a *API) listed(c *call, s *callbackd.Session) (wire.Session, error) {
	if c.token == nil {
		return a.shown(c, s), nil
	}
	k, err := a.Store.KeyByID(c.Context(), s.Key)
	if err != nil {
		return wire.Session{}, err
	}
	out := view.Session(s, a.link(k, s.SessionKey))
	out.APIKey = k.APIKey
	return out, nil
}

// stored reads the session in the path.
func (a *API) stored(c *call) (*callbackd.Session, error) {
	key, err := c.session()
	if err != nil {
		return nil, err
	}
	return a.Store.Session(c.Context(), c.key.ID, key)
}

func (a *API) getSession(w http.ResponseWriter, c *call) error {
	s, err := a.stored(c)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, a.shown(c, s))
	return nil
}

func (a *API) getPhotos(w http.ResponseWriter, c *call) error {
	s, err := a.stored(c)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, view.Photos(s))
	return nil
}

func (a *API) getNotes(w http.ResponseWriter, c *call) error {
	key, err := c.session()
	if err != nil {
		return err
	}
	notes, err := a.Store.SessionNotes(c.Context(), c.key.ID, key)
	if err != nil {
		return err
	}
	out := make([]wire.Note, 0, len(notes))
	for _, n := range notes {
		out = append(out, view.Note(n))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) getResults(w http.ResponseWriter, c *call) error {
	s, err := a.stored(c)
	if err != nil {
		return err
	}
	if s.Status != callbackd.StatusComplete {
		return callbackd.Invalid("Session is not yet completed.")
	}
	body, err := session.Results(s)
	if err != nil {
		return err
	}
	answerRaw(w, http.StatusOK, append(body, '\n'))
	return nil
}

func (a *API) updateSession(w http.ResponseWriter, c *call) error {
	key, err := c.session()
	if err != nil {
		return err
	}
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	u, err := readUpdate(body)
	if err != nil {
		return err
	}
	now, link := session.Now(), a.link(c.key, key)
	show := func(made store.Changed) ([]byte, error) { return marshal(a.shown(c, made.Session)) }
	var s *callbackd.Session
	var fired []*callbackd.Event
	err = a.withinLimits(c, func() (_ []*callbackd.Event, err error) {
		s, fired, err = session.ChangeByHand(once(c, http.StatusOK, show), a.Store, c.key.ID, key, now, callbackd.AuditSessionChanged, func(s *callbackd.Session) ([]callbackd.Fired, error) { return s.Update(u, link, now) })
		return fired, err
	})
	if err != nil {
		return err
	}
	a.Accepted(len(fired))
	answer(w, http.StatusOK, a.shown(c, s))
	return nil
}

func (a *API) deleteSession(w http.ResponseWriter, c *call) error {
	key, err := c.session()
	if err != nil {
		return err
	}
	gone := wire.Message{Message: "Session " + key + " has been successfully removed."}
	show := func(store.Changed) ([]byte, error) { return marshal(gone) }
	now := session.Now()
	_, _, err = a.Store.ChangeSession(once(c, http.StatusOK, show), c.key.ID, key, now, func(s *callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true, Action: callbackd.AuditSessionRemoved}, s.CheckDelete(now)
	})
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, gone)
	return nil
}

func sessionListFields(q *store.SessionQuery) []request.Field {
	return []request.Field{
		request.Choice("status", &q.Status, callbackd.SessionStatuses),
		queryText("q", &q.Text),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		limitField(&q.Limit),
		request.Cursor("cursor", &q.After, parseSessionCursor),
	}
}

func (a *API) listSessions(w http.ResponseWriter, c *call, q *store.SessionQuery) error {
	q.Key = c.keyID()
	page, err := a.Store.ListSessions(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.SessionList{Data: []wire.Session{}}
	for _, s := range page.Sessions {
		one, err := a.listed(c, s)
		if err != nil {
			return err
		}
		out.Data = append(out.Data, one)
	}
	if page.Next != (store.SessionCursor{}) {
		out.Next = new(fmt.Sprintf("%d.%s", page.Next.CreatedAt.UnixMilli(), page.Next.SessionKey))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func parseSessionCursor(s string) (store.SessionCursor, bool) {
	ms, key, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(ms, 10, 64)
	at := store.SessionCursor{CreatedAt: time.UnixMilli(n), SessionKey: key}
	return at, err == nil && callbackd.IsSessionKey(key)
}

func sessionEventsFields(q *store.SessionEventQuery) []request.Field {
	return []request.Field{limitField(&q.Limit), request.Cursor("cursor", &q.After, parseSequence)}
}

// parseSequence reads the number of an event within its session.
func parseSequence(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1
}

// sessionEvents answers with the events of a session and their deliveries. The session
// need not be stored here: its events may have been published.
func (a *API) sessionEvents(w http.ResponseWriter, c *call, q *store.SessionEventQuery) error {
	q.Key, q.Session = c.key.ID, c.PathValue("key")
	events, err := a.Store.SessionEvents(c.Context(), *q)
	if err != nil {
		return err
	}
	if len(events) == 0 && q.After == 0 {
		if _, err := a.stored(c); err != nil {
			return err
		}
	}
	out := wire.SessionEventList{SessionKey: q.Session, Data: []wire.SessionEvent{}}
	for i := range events {
		out.Data = append(out.Data, view.SessionEvent(&events[i]))
	}
	if store.SessionEventsFull(events, q.Limit) {
		out.Next = new(strconv.FormatInt(out.Data[len(out.Data)-1].Sequence, 10))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// resend answers PAVE's v2 endpoint. The API key authenticates the call without a
// signature, and refusals have a form of their own.
func (a *API) resend(w http.ResponseWriter, r *http.Request) {
	err := a.tryResend(w, r)
	if callbackd.KindOf(err) == callbackd.KindInvalid {
		err = refuseResend(r, http.StatusBadRequest, callbackd.Sentence(err), "")
	}
	refusal, refused := errors.AsType[*resendRefusal](err)
	switch {
	case err == nil, repeated(w, err):
	case refused:
		answer(w, refusal.status, refusal.body)
	default:
		a.fail(w, r, err)
	}
}

// resendRefusal is a refusal in the form that PAVE documents for resend.
type resendRefusal struct {
	status int
	body   wire.NotResent
}

// Error returns the message of the refusal.
func (e *resendRefusal) Error() string { return e.body.Message }

func refuseResend(r *http.Request, status int, message string, session callbackd.SessionStatus) error {
	body := wire.NotResent{Status: "error", Message: message, SessionKey: r.PathValue("key"), SessionStatus: string(session)}
	return &resendRefusal{status, body}
}

func (a *API) tryResend(w http.ResponseWriter, r *http.Request) error {
	key, err := a.Store.Key(r.Context(), r.Header.Get(signature.HeaderAccessToken))
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !key.InForce(time.Now()) {
		return refuseResend(r, http.StatusUnauthorized, "The header "+signature.HeaderAccessToken+" must hold an API key.", "")
	}
	if err != nil {
		return err
	}
	if err := front.BeginCall(r, key.APIKey, front.Unauthenticated); err != nil {
		return err
	}
	if _, err := request.Query(r.URL.RawQuery, nil); err != nil {
		return err
	}
	c := &call{Request: r, key: key}
	c.Request, c.span = a.traced(r, time.Now())
	if err := a.prepareOnce(w, c); err != nil {
		return err
	}
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	err = a.madeMeanwhile(c, a.resendSMS(w, c, body))
	status := http.StatusOK
	if refusal, ok := errors.AsType[*resendRefusal](err); ok {
		status = refusal.status
	} else if first, ok := errors.AsType[*store.Repeated](err); ok {
		status = first.Status
	} else if err != nil {
		status = front.Status(err)
	}
	c.endSpan(status)
	return err
}

// resendSMS asks the platform for another SMS of the session. A wrong phone is
// refused within the change, so that the answer has the session's status.
func (a *API) resendSMS(w http.ResponseWriter, c *call, body request.Object) error {
	phone := ""
	phoneErr := body.Read(shortText("phone", &phone))
	now, sessionKey := session.Now(), c.PathValue("key")
	var status callbackd.SessionStatus
	rule := func(s *callbackd.Session) ([]callbackd.Fired, error) {
		status = s.StatusAt(now)
		if phoneErr != nil {
			return nil, phoneErr
		}
		return s.Resend(phone, a.link(c.key, sessionKey), now)
	}
	show := func(made store.Changed) ([]byte, error) { return marshal(view.Resent(made.Session, now)) }
	var s *callbackd.Session
	var fired []*callbackd.Event
	err := a.withinLimits(c, func() (_ []*callbackd.Event, err error) {
		s, fired, err = session.ChangeByHand(once(c, http.StatusOK, show), a.Store, c.key.ID, sessionKey, now, callbackd.AuditSMSResent, rule)
		return fired, err
	})
	switch {
	case err == nil:
		a.Accepted(len(fired))
		answer(w, http.StatusOK, view.Resent(s, now))
		return nil
	case callbackd.KindOf(err) == callbackd.KindNotFound:
		return refuseResend(c.Request, http.StatusNotFound, "Session not found", "")
	case callbackd.KindOf(err) == callbackd.KindInvalid:
		return refuseResend(c.Request, http.StatusBadRequest, err.Error(), status)
	}
	return err
}
