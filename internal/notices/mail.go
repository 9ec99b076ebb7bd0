package notices

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/mail"
	"callbackd/internal/store"

	"golang.org/x/time/rate"
)

const (
	// mailRate and mailBurst limit the mails about one incident each. What is above waits,
	// and is told in one mail then.
	mailRate  = 1.0 / 300 // a second
	mailBurst = 10
	// maxMailed is how many incidents one step tells of.
	maxMailed = 1000
	// recordTimeout is how long the store may take to note that a mail was sent.
	recordTimeout = 5 * time.Second
)

// Mailer sends mails to the operator.
type Mailer interface {
	Send(ctx context.Context, m mail.Message) error
}

// mailing is what this process remembers of mails. The rest is in the incidents.
type mailing struct {
	mu    sync.Mutex // held while mails are sent
	limit *rate.Limiter
	held  bool              // some were held back by the limit
	all   callbackd.Mailing // of tries that failed whatever the mail was about
}

// errTaken is the answer to a claim of a mail that another node sends, or that is not due.
var errTaken = callbackd.Errorf(callbackd.KindConflict, "the mail is not due any more")

// Mail sends the mails that are due. One node calls it for all; for the moment in which two
// nodes do, each mail is claimed before it is sent. It stops at the first mail that cannot be
// sent, unless the server refused only this one.
func (w *Watcher) Mail(ctx context.Context) error {
	w.mailing.mu.Lock()
	defer w.mailing.mu.Unlock()
	if w.Mailer == nil || !w.mailing.all.Due(w.Now()) {
		return nil
	}
	due, err := w.mailsDue(ctx)
	if err != nil {
		return err
	}
	for len(due) > 0 {
		if !w.mailing.limit.AllowN(w.Now(), 1) {
			w.mailing.held = true
			return nil
		}
		next := due[:1]
		if w.mailing.held {
			next = due
		}
		due, w.mailing.held = due[len(next):], false
		if err := w.mail(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// mailsDue returns the incidents of which a mail is due, the oldest first.
func (w *Watcher) mailsDue(ctx context.Context) (due []callbackd.Incident, err error) {
	now := w.Now()
	for after := callbackd.IncidentID(0); ; {
		page, err := w.Store.ListIncidents(ctx, store.IncidentQuery{Key: store.AllKeys, Untold: true, After: after, Limit: store.MaxPage})
		if err != nil {
			return nil, err
		}
		for _, i := range page.Incidents {
			if _, told := i.Notice(callbackd.ToMail, now); told != i.Told[callbackd.ToMail] && i.Mail.Due(now) {
				due = append(due, i)
			}
		}
		if after = page.Next; after == 0 || len(due) >= maxMailed {
			break
		}
	}
	slices.Reverse(due)
	return due, nil
}

// mail claims incidents, sends one mail about them and notes that.
func (w *Watcher) mail(ctx context.Context, due []callbackd.Incident) error {
	var claimed []mailed
	for n := range due {
		m, err := w.claimMail(ctx, due[n].ID)
		if err != nil {
			return err
		}
		if m != nil {
			claimed = append(claimed, *m)
		}
	}
	if len(claimed) == 0 {
		return nil
	}
	err := w.Mailer.Send(ctx, compose(claimed, w.ConsoleURL))
	if err != nil && ctx.Err() != nil {
		return nil // this process stops; the claims end soon
	}
	var refused *mail.Refused
	var partly *mail.Partly
	w.Mailed(err)
	switch {
	case err == nil:
	case errors.As(err, &partly):
		w.Log.Error("a mail about incidents was not sent to all addresses", "incident", claimed[0].ID.String(), "error", err)
		err = nil
	default:
		w.Log.Error("a mail about incidents was not sent, trying again later", "incident", claimed[0].ID.String(), "error", err)
	}
	switch {
	case err == nil:
		w.mailing.all = callbackd.Mailing{}
	case !errors.As(err, &refused):
		w.mailing.all.Fail(w.Now())
	}
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return w.noteMail(recording, claimed, err != nil)
}

// claimMail keeps other nodes from sending a mail, and returns what to tell. It returns nil
// when there is nothing to tell now.
func (w *Watcher) claimMail(ctx context.Context, id callbackd.IncidentID) (*mailed, error) {
	now := w.Now()
	var m mailed
	i, err := w.Store.ChangeIncident(ctx, store.AllKeys, id, func(i *callbackd.Incident) error {
		m.typ, m.told = i.Notice(callbackd.ToMail, now)
		switch {
		case m.told == i.Told[callbackd.ToMail] || !i.Mail.Due(now):
			return errTaken
		case m.typ == "":
			i.Told[callbackd.ToMail], i.Mail = m.told, callbackd.Mailing{}
		default:
			i.Mail.Claim(now)
		}
		return nil
	})
	if errors.Is(err, errTaken) || callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && m.typ == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.Incident = *i
	m.key, err = w.keyOf(ctx, i)
	return &m, err
}

// noteMail notes that a mail about incidents was sent, or that it failed.
func (w *Watcher) noteMail(ctx context.Context, all []mailed, failed bool) error {
	for n := range all {
		m := &all[n]
		_, err := w.Store.ChangeIncident(ctx, store.AllKeys, m.ID, func(i *callbackd.Incident) error {
			if failed {
				i.Mail.Fail(w.Now())
			} else {
				i.Told[callbackd.ToMail], i.Mail = m.told, callbackd.Mailing{}
			}
			return nil
		})
		if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
			return err
		}
	}
	return nil
}
