package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd"
)

// The operator changes the limits of a key, and its holder sees them.
func TestLimitsOfAKey(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *site) {
		path := "/console/keys/" + s.Key.APIKey + "/limits"
		holder, operator := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
		shows := func(texts ...string) {
			t.Helper()
			body := holder.get(path).body
			for _, text := range texts {
				if !strings.Contains(body, text) {
					t.Errorf("the page lacks %q", text)
				}
			}
		}
		shows("no limit", "0 of 100")
		form := url.Values{"publish_rate": {"12.5"}, "pending_deliveries": {"40000"}, "pending_bytes": {"0"}, "callbacks": {""}, "callback_policy": {`{ "timeout": "5s" }`}, "retention": {"2d"}, "retention_events": {`{"SESSION:COMPLETE": "90m"}`}}
		if a := holder.submit("POST", path, form); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusNotFound {
			t.Errorf("a key holder changes limits: %s", a.Status)
		}
		operator.submit("POST", path, form)
		st := s.Store(true)
		defer st.Close()
		key, err := st.Key(context.Background(), s.Key.APIKey)
		if err != nil {
			t.Fatal(err)
		}
		if want := (callbackd.KeyLimits{PublishRate: 12.5, Pending: 40000, PendingBytes: callbackd.NoLimit}); key.Limits != want || key.CallbackPolicy != `{"timeout":"5s"}` {
			t.Errorf("the key has %+v and %s", key.Limits, key.CallbackPolicy)
		}
		if key.Retention != 48*time.Hour || key.RetentionEvents != `{"SESSION:COMPLETE":"1h30m"}` {
			t.Errorf("the key has the retention %s and %s", key.Retention, key.RetentionEvents)
		}
		shows("12.5", "SESSION:COMPLETE", "0 of 40,000", "timeout")
		if strings.Contains(holder.get(path).body, "Save the limits") {
			t.Error("a key holder sees the form")
		}
	})
}
