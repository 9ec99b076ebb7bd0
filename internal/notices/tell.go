package notices

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// tell sends the notices that are due, and returns how many incidents it told of.
func (w *Watcher) tell(ctx context.Context) (told int, err error) {
	operator, err := w.operatorKey(ctx)
	if err != nil {
		return 0, err
	}
	for after := callbackd.IncidentID(0); ; {
		page, err := w.Store.ListIncidents(ctx, store.IncidentQuery{Key: store.AllKeys, Untold: true, After: after, Limit: store.MaxPage})
		if err != nil {
			return told, err
		}
		for i := range page.Incidents {
			changed, err := w.tellOf(ctx, &page.Incidents[i], operator)
			if err != nil {
				return told, err
			}
			if changed {
				told++
			}
			if told >= maxChanges {
				return told, nil
			}
		}
		if after = page.Next; after == 0 {
			return told, nil
		}
	}
}

// operatorKey returns the operator's API key; nil when there is none.
func (w *Watcher) operatorKey(ctx context.Context) (*callbackd.Key, error) {
	if w.OperatorKey == "" {
		return nil, nil
	}
	k, err := w.Store.Key(ctx, w.OperatorKey)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, nil
	}
	return k, err
}

// tellOf sends the notices of one incident on all channels, and notes them. It reports
// whether there was one that need not wait.
func (w *Watcher) tellOf(ctx context.Context, i *callbackd.Incident, operator *callbackd.Key) (bool, error) {
	about, err := w.keyOf(ctx, i)
	if err != nil {
		return false, err
	}
	done := map[callbackd.Channel]int{}
	for _, ch := range callbackd.Channels {
		typ, told := i.Notice(ch, w.Now())
		if told == i.Told[ch] || ch == callbackd.ToMail && w.Mailer != nil { // Mail does that
			continue
		}
		if typ != "" {
			sent, err := w.send(ctx, i, ch, typ, about, operator)
			if err != nil {
				w.Log.Error("a notice was not sent, trying again", "incident", i.ID.String(), "channel", string(ch), "error", err)
				continue
			}
			if !sent {
				continue
			}
		}
		done[ch] = told
	}
	if len(done) == 0 {
		return false, nil
	}
	_, err = w.Store.ChangeIncident(ctx, store.AllKeys, i.ID, func(i *callbackd.Incident) error {
		for ch, told := range done {
			i.Told[ch] = told
		}
		return nil
	})
	return true, err
}

// keyOf returns the API key that an incident is about; nil for the whole server.
func (w *Watcher) keyOf(ctx context.Context, i *callbackd.Incident) (*callbackd.Key, error) {
	if i.Key == 0 {
		return nil, nil
	}
	return w.Store.KeyByID(ctx, i.Key)
}

// send sends a notice on a channel. It returns false when the notice must wait.
func (w *Watcher) send(ctx context.Context, i *callbackd.Incident, ch callbackd.Channel, typ callbackd.EventType, about, operator *callbackd.Key) (bool, error) {
	to := about
	switch {
	case ch == callbackd.ToMail:
		return true, nil
	case ch == callbackd.ToOperator && (operator == nil || operator.ID == i.Key): // it is told as the key's own
		return true, nil
	case ch == callbackd.ToOperator:
		to = operator
	}
	if to.Revoked() {
		return true, nil
	}
	page, err := w.Store.ListCallbacks(ctx, store.CallbackQuery{Key: to.ID, Event: typ, Limit: 1})
	if err != nil || len(page.Callbacks) == 0 {
		return err == nil, err
	}
	if !w.limits.Allow(recipient{ch, to.ID}, w.Now()) {
		return false, nil
	}
	data, err := json.Marshal(view.Notice(i, about))
	if err != nil {
		return false, err
	}
	_, err = w.Store.Accept(ctx, store.Batch{Key: to.ID, At: time.Now(), Events: []store.NewEvent{{
		Type: typ, Session: i.Session(), Data: data, Idempotency: fmt.Sprintf("%s %d %s", i.ID, i.Stage, ch),
	}}})
	if callbackd.KindOf(err) == callbackd.KindConflict { // accepted already, before this process was restarted
		return true, nil
	}
	if err == nil {
		w.Accepted(1)
	}
	return err == nil, err
}
