package console

import (
	"net/http"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/safetext"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// callbackRow is a callback in the list.
type callbackRow struct {
	*callbackd.Callback
	store.Backlog
	Owner       string
	Health      string
	LastFailure string // of its receiver
	Rates       successRates
	Chart       *chart
}

type callbacksPage struct {
	base
	scope
	list
	Rows []callbackRow
}

// health is a callback's state in a word.
func health(cb *callbackd.Callback) string {
	switch {
	case cb.Deleted():
		return "deleted"
	case cb.Paused():
		return "paused"
	case !cb.FailingSince.IsZero():
		return "failing"
	}
	return "healthy"
}

func (c *Console) callbacks(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	p := &callbacksPage{
		base:  c.base(req, "callbacks", "Callbacks"),
		scope: s,
		list:  newList(link("callbacks"), s.query()),
	}
	q := store.HealthQuery{
		CallbackQuery: store.CallbackQuery{Key: s.KeyID, Limit: pageRows},
		OverdueBefore: c.now().Add(-callbackd.OverdueAfter),
	}
	if err := readCursor(&p.list, req.URL.Query(), &q.After, parseCallbackID); err != nil {
		return err
	}
	p.refreshFirst(&p.list, 10)
	page, err := c.Store.ListHealth(req.Context(), q)
	if err != nil {
		return err
	}
	for i := range page.Callbacks {
		row, err := c.newCallbackRow(req, s, &page.Callbacks[i])
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, row)
	}
	if page.Next != 0 {
		p.setNext(strconv.FormatInt(int64(page.Next), 10))
	}
	return c.render(w, http.StatusOK, "callbacks", p)
}

func (c *Console) newCallbackRow(req *userRequest, s scope, h *store.CallbackHealth) (callbackRow, error) {
	row := callbackRow{
		Callback: h.Callback,
		Backlog:  h.Backlog,
		Owner:    s.owner(h.Callback.Key),
		Health:   health(h.Callback),
	}
	if row.Health == "healthy" && h.LastSuccess.IsZero() && h.LastFailure.IsZero() {
		row.Health = "new"
	}
	if !row.FailingSince.IsZero() {
		row.LastFailure = view.LastFailure(&h.Receiver)
	}
	buckets, err := c.buckets(req, row.Key, row.ID, lastDay)
	if err != nil {
		return row, err
	}
	sum := view.SumOf(buckets)
	row.Rates = successRatesOf(&sum, row.Overdue)
	row.Chart = failureChart(buckets, lastDay, lastDay.Since(c.now()), row.FailingSince, 240, 28)
	return row, nil
}

// readableCallback returns a callback that the user may see.
func (c *Console) readableCallback(req *userRequest, id callbackd.CallbackID) (*callbackd.Callback, error) {
	cb, err := c.Store.CallbackByID(req.Context(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, errPageNotFound
	}
	if err != nil {
		return nil, err
	}
	if !req.mayRead(cb.Key) {
		return nil, errPageNotFound
	}
	return cb, nil
}

func parseCallbackID(s string) (callbackd.CallbackID, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return callbackd.CallbackID(id), err == nil && id > 0
}

// callbackFromPath returns the callback that the path names and its key, when
// the user may see them.
func (c *Console) callbackFromPath(req *userRequest) (*callbackd.Callback, *callbackd.Key, error) {
	id, ok := parseCallbackID(req.PathValue("callback"))
	if !ok {
		return nil, nil, errPageNotFound
	}
	cb, err := c.readableCallback(req, id)
	if err != nil {
		return nil, nil, err
	}
	key, err := c.Store.KeyByID(req.Context(), cb.Key)
	return cb, key, err
}

// activeCallback is callbackFromPath for pages that change the callback or send
// to it. Deleted callbacks have no such pages.
func (c *Console) activeCallback(req *userRequest) (*callbackd.Callback, *callbackd.Key, error) {
	cb, key, err := c.callbackFromPath(req)
	if err == nil && cb.Deleted() {
		err = errPageNotFound
	}
	return cb, key, err
}

// ownerFor names the key of an object to the operator. A key holder has one key
// only.
func ownerFor(req *userRequest, k *callbackd.Key) string {
	if !req.isOperator() {
		return ""
	}
	return scope{}.KeyLabel(*k) + " (" + safetext.Clip(k.APIKey, 8) + ")"
}

func (c *Console) deleteCallbackPage(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := &callbackPage{base: c.base(req, "callbacks", "Delete callback"), CB: cb}
	return c.render(w, http.StatusOK, "callback-delete", p)
}

func (c *Console) deleteCallback(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err == nil {
		now := c.now()
		_, err = c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.Delete(now)
			return nil
		})
	}
	if err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	return redirect(w, req, link("callbacks"), "deleted")
}

func (c *Console) pauseCallback(w http.ResponseWriter, req *userRequest) error {
	return c.setPause(w, req, callbackd.Pause{Reason: callbackd.PausedByUser, At: c.now()}, "paused")
}

func (c *Console) resumeCallback(w http.ResponseWriter, req *userRequest) error {
	return c.setPause(w, req, callbackd.Pause{At: c.now()}, "resumed")
}

// setPause sets or ends the pause of a callback, and shows the notice done.
func (c *Console) setPause(w http.ResponseWriter, req *userRequest, pause callbackd.Pause, done string) error {
	cb, _, err := c.activeCallback(req)
	if err == nil {
		err = c.allowChange(req, cb.Key)
	}
	if err == nil {
		_, err = c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.SetPause(pause)
			return nil
		})
	}
	if err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	return redirect(w, req, link("callbacks", cb.ID), done)
}

type secretPage struct {
	base
	CB       *callbackd.Callback
	Secret   string      // empty when it is not shown any more
	Once     string      // why the page shows a secret that is shown once
	OldUntil []time.Time // when each older secret ends that still signs
	Snippets []snippet
	First    *firstRun
}

func (c *Console) secretPage(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	return c.showSecret(w, req, cb, "")
}

// showSecret shows the page of the signing secret. That of a callback for one session is
// shown once, after it was made; once says then why.
func (c *Console) showSecret(w http.ResponseWriter, req *userRequest, cb *callbackd.Callback, once string) (err error) {
	p := &secretPage{base: c.base(req, "callbacks", "Signing secret"), CB: cb, Once: once}
	for _, old := range cb.Secrets[1:] {
		if c.now().Before(old.ExpiresAt) {
			p.OldUntil = append(p.OldUntil, old.ExpiresAt)
		}
	}
	if !cb.OfSession() || once != "" {
		p.Secret = cb.Secrets[0].Value.Reveal()
		p.Snippets = snippets(p.Secret, cb.URL)
	}
	if !cb.OfSession() {
		if p.First, err = c.firstRun(req, cb.Key, ""); err != nil {
			return err
		}
	}
	return c.render(w, http.StatusOK, "callback-secret", p)
}

func (c *Console) rotateSecret(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	secret := callbackd.Secret(signature.NewSecret())
	keep, err := readKeep(req.Request, callbacks.SecretField("secret", &secret).Optional())
	if err != nil {
		return err
	}
	if err := c.allowChange(req, cb.Key); err != nil {
		return err
	}
	now := c.now()
	stored, err := c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
		if err := cb.RotateSecret(secret, now.Add(keep), now); err != nil {
			return err
		}
		return callbacks.CheckSigning(cb)
	})
	if err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	if stored.OfSession() {
		return c.showSecret(w, req, stored, "There is a new signing secret.")
	}
	return redirect(w, req, link("callbacks", cb.ID, "secret"), "rotated")
}
