package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Bounds of what is read of a store.
const (
	walkRows     = 500
	walkTime     = 5 * time.Second
	maxCallbacks = 5_000
	maxHosts     = 8
)

// facts is what the store tells. It is read once and closed again, because no server can
// start on a data directory while it is read.
type facts struct {
	survey    store.Survey
	surveyErr error
	openErr   error // set when the survey was made and the store does not open
	opened    bool

	keys    callbackd.Keyset
	sealed  store.SealedCounts
	partly  bool  // only some of the secrets were read
	walkErr error // why they were not read
	nodes   []store.Node
	hosts   []string     // of callbacks; at most maxHosts
	clients []clientCert // of callbacks
	readErr error        // why nodes or callbacks were not read

	audit    *store.AuditReport
	auditErr error // why the audit log was not read
}

// clientCert is a client certificate of a callback.
type clientCert struct {
	callback string
	pem      string
}

// read looks into the store.
func read(ctx context.Context, s *Settings, m *Machine, o Opener) (f facts) {
	if f.survey, f.surveyErr = o.Survey(ctx, m.Now); f.surveyErr != nil || !f.survey.Made || f.survey.Schema != f.survey.Program {
		return f
	}
	if s.Database && s.Keyset == "" {
		return f // the settings are invalid, and checkSettings says so
	}
	st, err := o.Inspect(ctx)
	if err != nil {
		f.openErr = err
		return f
	}
	f.opened = true
	f.keys = st.Keyset()
	f.walkErr = f.walk(ctx, st, m)
	if cluster, ok := st.(store.Cluster); ok && s.Database {
		f.nodes, f.readErr = cluster.Nodes(ctx)
	}
	f.readErr = errors.Join(f.readErr, f.callbacks(ctx, st))
	end := m.Now().Add(walkTime)
	f.audit, f.auditErr = st.VerifyAudit(ctx, nil, func(_, _ int64) bool { return !m.Now().After(end) })
	if err := st.Close(); err != nil && f.readErr == nil {
		f.readErr = err
	}
	return f
}

// walk opens every secret, as far as that is possible within walkTime.
func (f *facts) walk(ctx context.Context, st store.Store, m *Machine) error {
	if len(f.keys.Keys) == 0 { // no keyset, and no API key either
		return nil
	}
	w := store.SealedWalk{Rows: walkRows}
	for end := m.Now().Add(walkTime); !w.Done && !f.partly; f.partly = !w.Done && m.Now().After(end) {
		if err := st.WalkSealed(ctx, &w); err != nil {
			return err
		}
	}
	f.sealed = w.Sealed
	return nil
}

// callbacks reads what checks need of the callbacks in force.
func (f *facts) callbacks(ctx context.Context, st store.Store) error {
	q := store.CallbackQuery{Key: store.AllKeys, Limit: store.MaxPage}
	for n := 0; n < maxCallbacks; n += q.Limit {
		page, err := st.ListCallbacks(ctx, q)
		if err != nil {
			return err
		}
		for _, cb := range page.Callbacks {
			f.callback(cb)
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	return nil
}

func (f *facts) callback(cb *callbackd.Callback) {
	if auth := cb.Policy.Auth; auth != nil && auth.TLS != nil && auth.TLS.Cert != "" {
		f.clients = append(f.clients, clientCert{fmt.Sprintf("callback %d (%s, %s)", cb.ID, cb.Event, cb.Name), auth.TLS.Cert})
	}
	u, err := url.Parse(cb.URL)
	if err != nil || len(f.hosts) == maxHosts {
		return
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !slices.Contains(f.hosts, host) {
		f.hosts = append(f.hosts, host)
	}
}
