package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"callbackd/client"
)

// An export beside a running server has what the API shows of a delivery that was sent,
// and goes on with a file whose last line is torn.
func TestExportBesideAServer(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, _, cl := begin(t, sk)
	a, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S1", Data: map[string]string{"a": "<b>"}})
	if err != nil {
		t.Fatal(err)
	}
	sk.await(t, "the event", func() bool { return sk.ids[a.ID] > 0 })
	var list struct {
		Data []struct{ ID, State string }
	}
	sk.await(t, "its outcome", func() bool {
		err := cl.Do(t.Context(), "GET", "/v1/deliveries?state=delivered", nil, &list)
		return err != nil || len(list.Data) > 0
	})
	if len(list.Data) != 1 {
		t.Fatalf("%d deliveries, want 1", len(list.Data))
	}
	var shown any
	if err := cl.Do(t.Context(), "GET", "/v1/deliveries/"+list.Data[0].ID, nil, &shown); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	args := []string{"export", "events", "--data", dir, "--out", file}
	_, errs, code := run(t, args...)
	wantExit(t, "an export", code, 0, errs, "exported 1 event, 1 delivery and 1 attempt", "SHA-256")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		APIKey     string `json:"api_key"`
		ID         string
		Deliveries []any
	}
	if err := json.Unmarshal(whole, &line); err != nil {
		t.Fatal(err)
	}
	if line.APIKey != cl.APIKey || line.ID != a.ID || len(line.Deliveries) != 1 || !reflect.DeepEqual(line.Deliveries[0], shown) {
		t.Errorf("the export has\n%s\nand the API shows\n%v", whole, shown)
	}
	if strings.Contains(string(whole), cl.APISecret) {
		t.Error("the export has the secret of the API key")
	}
	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code = run(t, args...)
	wantExit(t, "an export that goes on", code, 0, errs, "removed a torn last line", "exported 1 event")
	if again, err := os.ReadFile(file); err != nil || string(again) != string(whole) {
		t.Errorf("the file is %s, want %s", again, whole)
	}
	_, errs, code = run(t, append(args, "--since", "nonsense")...)
	wantExit(t, "a wrong time", code, 78, errs, "--since")
	_, errs, code = run(t, append(args, "--key", "none")...)
	wantExit(t, "an unknown key", code, 78, errs, "keys list")
}
