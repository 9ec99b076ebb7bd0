package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
	"callbackd/internal/obs"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Paths of the operator.
const (
	StatusPath   = "/statusz"
	LogLevelPath = "/log-level"
)

// operator answers the operator's calls about this process.
type operator struct {
	a      *App
	token  callbackd.Secret
	level  *slog.LevelVar // nil: it cannot be changed
	recent *obs.Recent    // may be nil
	// changing makes changes of the level one after the other.
	changing sync.Mutex
	// status is guarded as the metrics are.
	status http.Handler
}

func (a *App) operator(c Config) *operator {
	o := &operator{a: a, token: c.OperatorToken, level: c.LogLevel, recent: c.Recent}
	o.status = guarded(http.HandlerFunc(o.serveStatus), c.OperatorToken, false, "The status needs the operator token (Authorization: Bearer …). Without it, ask from this machine.")
	return o
}

// ServeHTTP is part of http.Handler.
func (o *operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == StatusPath {
		o.status.ServeHTTP(w, r)
		return
	}
	o.setLevel(w, r)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}

// statusTimeout is how long the status waits for the store.
const statusTimeout = 5 * time.Second

func (o *operator) serveStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	answerJSON(w, http.StatusOK, o.read(ctx))
}

// read returns the status. What the store does not answer in time is left out.
func (o *operator) read(ctx context.Context) wire.Status {
	a := o.a
	out := wire.Status{Version: Version, StartedAt: a.started.UTC(), Store: "sqlite", InFlight: a.engine.InFlight(), Nodes: []wire.StatusNode{}, Errors: []wire.StatusError{}}
	if a.member != nil {
		out.Store = "postgresql"
	}
	if o.level != nil {
		out.LogLevel = obs.LevelName(o.level.Level())
	}
	err := cmp.Or(a.store.Ready(ctx), a.ready(ctx))
	if out.Ready = err == nil; !out.Ready {
		out.Reason = callbackd.Sentence(err)
	}
	if b, err := a.store.Backlogs(ctx, time.Now()); err == nil {
		out.Pending, out.Troubled = &b.Pending, len(b.Troubled)
		if !b.OldestDue.IsZero() {
			due := b.OldestDue.UTC()
			out.OldestDue = &due
		}
	}
	if f, err := a.store.Figures(ctx); err == nil {
		out.Incidents = &wire.StatusIncidents{Open: f.Incidents.Open, Mails: f.Incidents.Mails, MailsFailing: f.Incidents.MailsFailing}
	}
	if since, err := a.archiveFailing(); err != nil {
		out.Archive = &wire.StatusArchive{FailingSince: since.UTC(), Error: err.Error()}
	}
	nodes, _ := a.nodes(ctx) // none when the store does not answer: Reason says why
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, wire.StatusNode{Name: n.Name, Address: n.Address, Version: n.Version, StartedAt: n.StartedAt.UTC(), Self: n.Self, Shards: n.Shards, InFlight: n.InFlight})
	}
	if o.recent != nil {
		for _, l := range o.recent.Lines() {
			out.Errors = append(out.Errors, wire.StatusError{At: l.At.UTC(), Level: obs.LevelName(l.Level), Message: l.Message, Error: l.Error, Count: l.Count})
		}
	}
	return out
}

// maxLevelBody is enough for the body of a call that sets the log level, in bytes.
const maxLevelBody = 1 << 10

// setLevel changes the log level until the next start. The caller proves to be the operator
// by the operator token or by a one-time token that a command has put into the store.
func (o *operator) setLevel(w http.ResponseWriter, r *http.Request) {
	ok, err := o.isOperator(r)
	if err != nil {
		w.Header().Set("Retry-After", "1")
		answerJSON(w, http.StatusServiceUnavailable, wire.Message{Message: callbackd.Sentence(err)})
		return
	}
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		answerJSON(w, http.StatusUnauthorized, wire.Message{Message: "The log level needs the operator token (Authorization: Bearer …), or a one-time token of `callbackd log-level`."})
		return
	}
	next, err := readLevel(r)
	if err == nil && o.level == nil {
		err = callbackd.Invalid("The log level of this server cannot be changed.")
	}
	if err != nil {
		answerJSON(w, http.StatusBadRequest, wire.Message{Message: callbackd.Sentence(err)})
		return
	}
	o.changeLevel(r, next)
	answerJSON(w, http.StatusOK, wire.LogLevel{Level: obs.LevelName(next)})
}

// readLevel reads the body of a call that sets the log level, as every body is read.
func readLevel(r *http.Request) (next slog.Level, err error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxLevelBody+1))
	if err != nil {
		return 0, callbackd.Invalid("The body did not arrive completely.")
	}
	if len(raw) > maxLevelBody {
		return 0, callbackd.Invalid("The body is larger than %s bytes.", humanize.Number(maxLevelBody))
	}
	body, err := request.ReadBody(r.Header.Get("Content-Type"), bytes.TrimPrefix(raw, []byte("\ufeff")))
	if err != nil {
		return 0, err
	}
	_, object, err := body.Object()
	if err != nil {
		return 0, err
	}
	var name string
	err = object.Strict("A log level").Read(request.Choice("level", &name, obs.LevelNames()).Required())
	if err != nil {
		return 0, err
	}
	next, err = obs.ParseLevel(name)
	return next, err
}

// changeLevel changes the log level, and audits that. It does so too while the store does not
// answer, because that is when the operator needs the log.
func (o *operator) changeLevel(r *http.Request, next slog.Level) {
	o.changing.Lock()
	defer o.changing.Unlock()
	before := o.level.Level()
	o.level.Set(min(before, next)) // so that the line about it is logged
	o.a.log.Warn("the log level was changed until the next start", "level_before", obs.LevelName(before), "level_now", obs.LevelName(next))
	o.level.Set(next)
	if before == next {
		return
	}
	ctx := store.WithActor(r.Context(), callbackd.Actor{Kind: callbackd.ActorOperator, Address: front.ClientText(r)})
	o.a.audit(ctx, func(ctx context.Context) error {
		return o.a.store.Note(ctx, callbackd.AuditLogLevelChanged, hostname(), callbackd.AuditState{"log_level": obs.LevelName(before)}, callbackd.AuditState{"log_level": obs.LevelName(next)})
	})
}

// isOperator reports whether a request has the operator token, or a one-time token.
func (o *operator) isOperator(r *http.Request) (bool, error) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if given == "" || !strings.EqualFold(scheme, "Bearer") {
		return false, nil
	}
	if bears(r, o.token) {
		return true, nil
	}
	login, err := o.a.store.TakeLogin(r.Context(), console.HashToken(strings.TrimSpace(given)))
	if callbackd.KindOf(err) == callbackd.KindNotFound && err != nil {
		return false, nil
	}
	return err == nil && login.Link && login.Key == 0 && !login.Expired(time.Now()), err
}
