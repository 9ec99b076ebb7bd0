package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd"
	"callbackd/wire"
)

// apply calls apply with a file and other members.
func (o *operator) apply(settings, more string) wire.SettingsPlan {
	o.t.Helper()
	return decode[wire.SettingsPlan](o.call("POST", "/v1/admin/settings/apply", `{"settings":`+settings+more+`}`).ok(200))
}

// A file makes keys and callbacks, is exported again, and changes nothing then. The export
// has no secrets.
func TestSettingsAreExportedAndApplied(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		o := s.operator("gitops", callbackd.RoleFull)
		recv := listen(t, nil)
		s.register("SESSION:COMPLETE", recv.url, "")
		exported := o.call("GET", "/v1/admin/settings/export", "").ok(200)
		if strings.Contains(exported.body, "whsec_") || strings.Contains(exported.body, s.key.Secret.Reveal()) {
			t.Errorf("the export has a secret: %s", exported.body)
		}
		equal(t, "the changes of an export that is applied", len(o.apply(exported.body, `,"prune":true`).Changes), 0)

		file := decode[wire.SettingsFile](exported)
		file.Keys[0].Callbacks[0].Method = "PUT"
		file.Keys = append(file.Keys, wire.SettingsKey{Account: "beta", Name: "warehouse", Live: false, SessionsExpireAfter: "3d", Callbacks: []wire.SettingsCallback{
			{Event: "SESSION:COMPLETE", Name: "default", URL: "http://10.0.0.1/hook", Method: "POST", Headers: json.RawMessage(`{"X-Token":{"value":"hidden"}}`)},
		}})
		raw, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		dry := o.apply(text, `,"dry_run":true`)
		equal(t, "the dry run", []any{dry.Applied, dry.Created, dry.Changed, dry.Removed, len(dry.Keys)}, []any{false, 2, 1, 0, 0})
		if len(dry.Warnings) != 1 || !strings.Contains(dry.Warnings[0], "keys[1].callbacks[0]: ") {
			t.Errorf("the warnings are %q", dry.Warnings)
		}
		made := o.apply(text, `,"fingerprint":"`+dry.Fingerprint+`"`)
		equal(t, "the changes", []any{made.Applied, made.Created, made.Changed, len(made.Keys)}, []any{true, 2, 1, 1})
		holder := s.as(callbackd.Key{Account: "beta", APIKey: made.Keys[0].APIKey, Secret: callbackd.Secret(made.Keys[0].Secret)})
		list := decode[wire.CallbackList](holder.call("GET", "/v1/callbacks", "").ok(200))
		equal(t, "the callbacks of the new key", len(list.Data), 1)
		s.publish("SESSION:COMPLETE", "S-1", `{}`)
		equal(t, "the method of the next request", recv.next().method, http.MethodPut)

		o.call("POST", "/v1/admin/settings/apply", `{"settings":`+text+`,"fingerprint":"`+dry.Fingerprint+`"}`).says(409, "have changed since the plan was made")
		equal(t, "the changes of the same file", len(o.apply(text, "").Changes), 0)
		pruned := o.apply(fmt.Sprintf(`{"version":1,"keys":[{"api_key":%q,"account":"acme","live":%t,"callbacks":[]}]}`, s.key.APIKey, s.key.Live), `,"prune":true`)
		equal(t, "what was pruned", pruned.Removed, 2)
		holder.call("GET", "/v1/callbacks", "").ok(401)
		s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").ok(404)
	})
}

// One wrong callback and nothing of a file is applied.
func TestSettingsAreAppliedWhollyOrNotAtAll(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		o := s.operator("gitops", callbackd.RoleFull)
		good := `{"version":1,"keys":[{"account":"beta","name":"b","limits":{"callbacks":1},"callbacks":[{"event":"SESSION:COMPLETE","url":"https://a.example/"}`
		o.call("POST", "/v1/admin/settings/apply", `{"settings":`+good+`,{"event":"SESSION:COMPLETE","name":"two","url":"https://a.example/"}]}]}}`).says(429, "keys[0].callbacks[1]: This API key has 1 callbacks")
		equal(t, "the accounts", len(decode[wire.AccountList](o.call("GET", "/v1/admin/accounts", "").ok(200)).Data), 1)
		once := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }
		first := o.call("POST", "/v1/admin/settings/apply", `{"settings":`+good+`]}]}}`, once).ok(200)
		equal(t, "the repeated answer", o.call("POST", "/v1/admin/settings/apply", `{"settings":`+good+`]}]}}`, once).ok(200).body, first.body)
		for body, want := range map[string]string{
			`{}`: "settings is missing",
			`{"settings":{"version":1,"keys":[]},"yes":true}`:                                                                    `Unknown member "yes"`,
			`{"settings":{"version":1,"keys":[{"account":"a","secret":{"file":"/etc/passwd"}}]}}`:                                "reads no variables and files",
			`{"settings":{"version":1,"keys":[{"account":"a","callbacks":[{"event":"SESSION:COMPLETE","url":"gopher://x/"}]}]}}`: "keys[0].callbacks[0]: ",
		} {
			o.call("POST", "/v1/admin/settings/apply", body).says(400, want)
		}
		reader := s.operator("reader", callbackd.RoleRead)
		reader.call("POST", "/v1/admin/settings/apply", `{"settings":{"version":1,"keys":[]},"dry_run":true}`).says(403, "may read")
		reader.call("GET", "/v1/admin/settings/export?key="+s.key.APIKey, "").ok(200)
		reader.call("GET", "/v1/admin/settings/export?key=none", "").says(404, "There is no API key none")
	})
}
