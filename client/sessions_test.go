package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"callbackd/client"
)

func TestSessionCalls(t *testing.T) {
	var got []string
	seen := func(method, uri, body string) { got = append(got, method+" "+uri+" "+body) }
	c := serve(t, 200, `{"session_key":"K","status":"IDLE","events":[],"data":[],"created_at":"2026-01-02T03:04:05+00:00"}`, seen)
	ctx := t.Context()
	s, err := c.CreateSession(ctx, client.NewSession{Theme: "LITE", SMS: &client.SMS{To: "+1"}, Options: &client.SessionOptions{Reference: 7}})
	want(t, "the key of the session", err, s.SessionKey, "K")
	lang := "FR"
	calls := []func() error{
		func() error { _, err := c.Session(ctx, "K"); return err },
		func() error { _, err := c.Sessions(ctx, url.Values{"status": {"IDLE"}}); return err },
		func() error { _, err := c.SessionEvents(ctx, "K", "7"); return err },
		func() error { _, err := c.Results(ctx, "K"); return err },
		func() error { _, err := c.UpdateSession(ctx, "K", client.SessionUpdate{Language: &lang}); return err },
		func() error { return c.DeleteSession(ctx, "K") },
		func() error { _, err := c.StartSession(ctx, "K"); return err },
		func() error {
			_, err := c.AddPhoto(ctx, "K", client.NewPhoto{PhotoCode: 4, URL: "u", Approved: true})
			return err
		},
		func() error { _, err := c.AddNote(ctx, "K", client.NewNote{Title: "n"}); return err },
		func() error { _, err := c.ReportSMS(ctx, "K", client.SMSReport{Status: "error"}); return err },
		func() error { _, err := c.PutResults(ctx, "K", map[string]int{"grade": 4}); return err },
		func() error { _, err := c.CompleteSession(ctx, "K"); return err },
		func() error { _, err := c.InvalidateSession(ctx, "K", "unfit"); return err },
	}
	for _, call := range calls {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
	sent := []string{
		`POST /v1/sessions {"theme":"LITE","options":{"reference":7},"sms":{"to":"+1"}}`, "GET /v1/sessions/K ", "GET /v1/sessions?status=IDLE ", "GET /v1/sessions/K/events?cursor=7&limit=200 ",
		"GET /v1/sessions/K/results ", `PUT /v1/sessions/K {"language":"FR"}`, "DELETE /v1/sessions/K ", "POST /v1/sessions/K/start ", `POST /v1/sessions/K/photos {"photo_code":4,"url":"u","approved":true}`,
		`POST /v1/sessions/K/notes {"title":"n"}`, `POST /v1/sessions/K/sms {"status":"error"}`, `PUT /v1/sessions/K/results {"grade":4}`, "POST /v1/sessions/K/complete ",
		`POST /v1/sessions/K/invalidate {"reason":"unfit"}`,
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestResendSendsTheKeyAlone(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want(t, "API-Access-Token", nil, r.Header.Get("API-Access-Token"), "k")
		want(t, "API-Token", nil, r.Header.Get("API-Token"), "")
		want(t, "the path", nil, r.URL.Path, "/v2/capture/sessions/K/resend")
		want(t, "the body", nil, string(body), `{"phone":"+1"}`)
		io.WriteString(w, `{"status":"success","days_remaining":6}`)
	}))
	defer web.Close()
	c := &client.Client{Base: web.URL, APIKey: "k"}
	r, err := c.Resend(t.Context(), "K", "+1")
	want(t, "the days that remain", err, r.DaysRemaining, 6)
}
