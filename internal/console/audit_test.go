package console_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"callbackd/internal/app"
	"callbackd/internal/console/consoletest"
	"callbackd/internal/store/postgres/pgtest"
)

// Whoever looks at the audit log sees that somebody changed it in the database. A key is told
// of its own log only.
func TestTheAuditPageSaysThatTheLogWasChanged(t *testing.T) {
	at := app.StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	whole, broken := &site{consoletest.StartSiteAt(t, at)}, "The audit log is not what callbackd has written."
	whole.visitor(t).operator().says("/console/audit", "no entry was changed, added or removed")
	whole.visitor(t).signIn(whole.Key).says("/console/audit", "no entry was changed, added or removed")
	other := whole.NewKey("acme", "other")

	db, err := pgx.Connect(t.Context(), at.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if _, err := db.Exec(t.Context(), "UPDATE audit SET actor_name = 'nobody' WHERE key_no = $1 AND n = 1", whole.Key.ID); err != nil {
		t.Fatal(err)
	}
	whole.Stop()
	whole.Start()
	whole.visitor(t).operator().says("/console/audit", broken, "entry 1 of the audit log of API key", "callbackd audit verify")
	whole.visitor(t).signIn(whole.Key).says("/console/audit", broken, "Tell the operator")
	if text := words(t, whole.visitor(t).signIn(other).get("/console/audit")); strings.Contains(text, broken) {
		t.Error("a key is told that the log of another one was changed")
	}
	if text := words(t, whole.visitor(t).signIn(whole.Key).get("/console/audit")); strings.Contains(text, "API key 1") {
		t.Error("a key is told the operator's details")
	}
}
