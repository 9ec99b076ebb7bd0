package console

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

type verifiedStore struct {
	store.Store
	times int
}

func (s *verifiedStore) VerifyAudit(ctx context.Context, _ []callbackd.AuditHead) (*store.AuditReport, error) {
	s.times++
	return &store.AuditReport{}, ctx.Err()
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
