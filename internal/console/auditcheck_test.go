package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

type verifiedStore struct {
	store.Store
	times int
	err   error
}

func (s *verifiedStore) VerifyAudit(ctx context.Context, _ []callbackd.AuditHead, _ store.AuditStep) (*store.AuditReport, error) {
	s.times++
	return &store.AuditReport{}, errors.Join(s.err, ctx.Err())
}

// Visitors who leave before the audit log is verified do not have it begin again and again.
func TestAVisitorWhoLeavesDoesNotVerifyTheAuditLogTwice(t *testing.T) {
	s := &verifiedStore{}
	c := &Console{Options: Options{Store: s, Log: slog.New(slog.DiscardHandler)}, now: time.Now}
	gone, leave := context.WithCancel(t.Context())
	leave()
	req := &userRequest{httptest.NewRequest("GET", "/console/audit", nil).WithContext(gone), principal{key: &callbackd.Key{ID: 1}}}
	for range 3 {
		if state := c.auditState(req); !state.Complete || s.times != 1 {
			t.Errorf("%+v, verified %d times", state, s.times)
		}
	}
}

// A database that is away does not make a page say that somebody changed the audit log.
func TestAnAuditLogThatIsNotVerifiedIsNotCalledBroken(t *testing.T) {
	c := &Console{Options: Options{Store: &verifiedStore{err: errors.New("the database is away")}, Log: slog.New(slog.DiscardHandler)}, now: time.Now}
	for who, req := range map[string]*userRequest{
		"a key":        {httptest.NewRequest("GET", "/console/audit", nil), principal{key: &callbackd.Key{ID: 1}}},
		"the operator": {httptest.NewRequest("GET", "/console/audit", nil), principal{}},
	} {
		state := c.auditState(req)
		if !state.Failed || state.Complete || state.TooLong || len(state.Faults) > 0 != state.Operator {
			t.Errorf("%s is told %+v", who, state)
		}
		var page strings.Builder
		if err := parsePages()["audit"].ExecuteTemplate(&page, "audit.html", &auditPage{State: state}); err != nil {
			t.Fatal(err)
		}
		if text := page.String(); !strings.Contains(text, "could not be verified") || strings.Contains(text, "is not what callbackd has written") ||
			strings.Contains(text, "the database is away") != state.Operator {
			t.Errorf("%s reads %s", who, text)
		}
	}
}
