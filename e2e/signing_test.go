package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"callbackd/client"
)

// TestForeignLibrariesVerifySignatures sends an event to a callback for each way to sign,
// with a secret that its receiver brought along. @octokit/webhooks-methods,
// standardwebhooks and node:crypto verify the requests.
func TestForeignLibrariesVerifySignatures(t *testing.T) {
	t.Parallel()
	const theirs, standard = "It's a Secret to Everybody", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	dir := t.TempDir()
	srv, cl := serve(t, dir), newClient(t, dir)
	cl.Base = srv.url
	for name, c := range map[string]struct {
		secret  string
		signing []string
		want    string
	}{
		"standard":          {standard, nil, "webhook-signature"},
		"github":            {theirs, []string{"github"}, "x-hub-signature-256"},
		"hmac-hex":          {theirs, []string{"hmac-hex:X-Acme-Signature"}, "x-acme-signature"},
		"beside-each-other": {standard, []string{"standard", "github", "hmac-hex:X-Acme-Signature"}, "webhook-signature x-hub-signature-256 x-acme-signature"},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan map[string]any, 10)
			receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				headers := map[string]string{}
				for name := range r.Header {
					headers[strings.ToLower(name)] = r.Header.Get(name)
				}
				got <- map[string]any{"secret": c.secret, "headers": headers, "body": string(body)}
			}))
			t.Cleanup(receiver.Close)
			n := client.NewCallback{Event: event, Name: name, URL: receiver.URL, Secret: c.secret}
			if c.signing != nil {
				n.Policy = &client.Policy{Signing: c.signing}
			}
			if _, err := cl.CreateCallback(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: name, Data: map[string]string{"name": "Zoë"}}); err != nil {
				t.Fatal(err)
			}
			request, err := json.Marshal(<-got)
			if err != nil {
				t.Fatal(err)
			}
			verify := exec.CommandContext(t.Context(), "node", "clients/verify.mjs")
			verify.Stdin = strings.NewReader(string(request))
			out, err := verify.CombinedOutput()
			if said := strings.Join(strings.Fields(string(out)), " "); err != nil || said != c.want {
				t.Errorf("the signatures that are right: %q, %v; want %q\n%s", said, err, c.want, request)
			}
		})
	}
}
