package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
)

// The whole way on PostgreSQL, with a kill -9 in the middle of it: the key
// and the proof by command, the URL with its password from a file.
func TestPostgreSQLServesAndSurvivesAKill(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	url := filepath.Join(t.TempDir(), "url")
	keyset := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(url, []byte(pg.Schema(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	on := func(args ...string) (string, string, int) {
		cmd := command(append(args, "--secret-keys", keyset)...)
		cmd.Env = append(cmd.Env, "CALLBACKD_DATABASE_URL_FILE="+url)
		return runCmd(t, cmd)
	}
	out, errs, code := on("keys", "create", "--account", "acme", "--json")
	var k struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	if err := json.Unmarshal([]byte(out), &k); err != nil || code != 0 {
		t.Fatalf("%v, %d: %s%s", err, code, out, errs)
	}
	cl := &client.Client{Account: "acme", APIKey: k.APIKey, APISecret: k.APISecret, HTTP: &http.Client{Timeout: 10 * time.Second}}
	sk := newSink(t)
	up := func() *server {
		cmd := command("serve", "--listen", "127.0.0.1:0", "--secret-keys", keyset, "--allow-target", "127.0.0.0/8", "--log-level", "error")
		cmd.Env = append(cmd.Env, "CALLBACKD_DATABASE_URL_FILE="+url)
		srv := listening(t, start(t, cmd))
		cl.Base = srv.url
		return srv
	}
	for round := range 3 {
		srv := up()
		if round == 0 {
			hook(t, cl, sk.URL, event)
		}
		for i := range 20 {
			if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i%3)}); err != nil {
				t.Fatal(err)
			}
		}
		srv.kill()
	}
	srv := up()
	sk.await(t, "all sixty arrive", func() bool { return len(sk.ids) == 60 })
	if code := srv.term(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	out, errs, code = on("fsck")
	if code != 0 || !strings.Contains(out, "60 events, every delivery is in exactly one state") {
		t.Errorf("fsck: %d: %s%s", code, out, errs)
	}
	sk.mu.Lock()
	defer sk.mu.Unlock()
	sk.inOrder(t)
}
