package cli

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/internal/egress"
	"callbackd/internal/sender"
	"callbackd/wire"
)

// With --json too, an event that cannot be sent is told.
func TestListenTellsWhatItCannotSend(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"message":"the key has ended"}`))
	}))
	defer server.Close()
	for _, asJSON := range []bool{true, false} {
		var out strings.Builder
		c := &listenCmd{}
		c.JSON = asJSON
		f := &follower{listenCmd: c, api: &client.Client{Base: server.URL, Account: "acme", APIKey: "k", APISecret: "s"}, out: &out, settings: map[string]localSetting{}}
		if err := f.take(t.Context(), &wire.Event{ID: "evt_38hffkejy0000", Event: "SESSION:COMPLETE", SessionKey: "ACM-0000000001"}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"evt_38hffkejy0000", "not sent: the server does not tell its callback", "the key has ended"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("with JSON %v, %q is not in %q", asJSON, want, out.String())
			}
		}
	}
}

// A notice has the body that its callback chooses, such as that of Slack.
func TestListenSendsTheFormatOfACallback(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"data":[{"event":"CALLBACK:FAILING","url":"https://hooks.example/","method":"POST","headers":{},"payload":{}}]}`
		if strings.HasSuffix(r.URL.Path, "/policy") {
			answer = `{"callback":7,"name":"default","timeout":"15s","format":"slack"}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	var out strings.Builder
	c := &listenCmd{Verbose: true}
	f := &follower{listenCmd: c, api: &client.Client{Base: server.URL, Account: "acme", APIKey: "k", APISecret: "s"}, out: &out, settings: map[string]localSetting{},
		secret: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", sender: sender.New(egress.NewTransport(egress.Options{}), "1", slog.New(slog.DiscardHandler))}
	ev := &wire.Event{ID: "evt_38hffkejy0000", Event: "CALLBACK:FAILING", SessionKey: "callback-7", Data: []byte(`{"text":"It has been failing for a minute."}`)}
	if err := f.take(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, `"text": "`) || strings.Contains(got, `"session_key"`) || !strings.Contains(got, "It has been failing for a minute.") {
		t.Errorf("it prints %s", got)
	}
}
