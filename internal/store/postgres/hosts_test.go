package postgres

import (
	"strings"
	"testing"
	"time"

	"callbackd"

	"github.com/jackc/pgx/v5"
)

// With several hosts in the URL, the store uses the one that answers and takes writes,
// and another one as soon as that one fails.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	u := stock.URL(t)
	first, firstURL := newLine(t, u)
	second, _ := newLine(t, u)
	two := strings.Replace(firstURL, first.Addr().String(), first.Addr().String()+","+second.Addr().String(), 1)
	d, nodes := newDatabase(t, two+"&target_session_attrs=read-write", 1)
	first.Close()
	first.cut()
	evs, err := d.accept(nodes[0], time.Now(), "S", "S")
	if err != nil || evs[1].Sequence != 2 {
		t.Errorf("through the second host: %v", err)
	}
	second.Close()
	second.cut()
	o := d.Options
	o.URL, o.patience = two, 100*time.Millisecond
	if s, err := Open(t.Context(), o); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("no host answers: %v, %v", s, err)
	}
}

// A demoted server answers but takes no writes: commands fail with Unavailable until a
// server takes writes again.
func TestServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	d, _ := newDatabase(t, stock.URL(t), 1)
	s := open(t, d.Options)
	defer s.Close()
	admin, err := pgx.Connect(t.Context(), d.URL)
	d.must(err)
	defer admin.Close(t.Context())
	for _, readOnly := range []string{"on", "off"} {
		// Only new connections get the setting, so existing ones are ended.
		_, err := admin.Exec(t.Context(), "ALTER DATABASE "+admin.Config().Database+" SET default_transaction_read_only = "+readOnly)
		d.must(err)
		_, err = admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		d.must(err)
		s.patience = unhurried
		if readOnly == "on" {
			s.patience = time.Second // of what cannot succeed
		}
		_, err = d.accept(s, time.Now(), "S")
		for what, err := range map[string]error{"an event": err, "Ready": s.Ready(t.Context())} {
			if unavailable := err != nil && callbackd.KindOf(err) == callbackd.KindUnavailable; unavailable != (readOnly == "on") {
				t.Errorf("read only %s: %s ends with %v", readOnly, what, err)
			}
		}
		if refused := s.refusals.Err(); (refused != nil) != (readOnly == "on") {
			t.Errorf("read only %s: the last write was refused: %v", readOnly, refused)
		}
	}
}
