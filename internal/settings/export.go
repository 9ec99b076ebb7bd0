package settings

import (
	"encoding/json"
	"slices"

	"callbackd"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"
)

// keep stands for the secret that is stored.
var keep = json.RawMessage(`{"keep":true}`)

// Export returns settings as a file. Applied to the same settings, it changes nothing. It
// has no secrets, but references to those that are stored. Revoked keys are left out.
func Export(now []callbackd.KeySettings) (wire.SettingsFile, error) {
	out := wire.SettingsFile{Version: Version, Keys: []wire.SettingsKey{}}
	for i := range now {
		k := &now[i].Key
		if k.Revoked() {
			continue
		}
		shown := view.Key(k, k.CreatedAt)
		key := wire.SettingsKey{
			APIKey: k.APIKey, Account: k.Account, Name: k.Name, Live: k.Live, Secret: keep,
			SessionsExpireAfter: shown.SessionsExpireAfter, CaptureURL: string(k.CaptureURL), ExpiresAt: shown.ExpiresAt,
			CallbackPolicy: json.RawMessage(k.CallbackPolicy), Retention: shown.Retention, RetentionEvents: json.RawMessage(k.RetentionEvents), Callbacks: []wire.SettingsCallback{},
		}
		var err error
		if key.Limits, err = exportLimits(shown.Limits); err != nil {
			return out, err
		}
		for _, cb := range now[i].Callbacks {
			exported, err := exportCallback(cb)
			if err != nil {
				return out, err
			}
			key.Callbacks = append(key.Callbacks, exported)
		}
		out.Keys = append(out.Keys, key)
	}
	return out, nil
}

func exportCallback(cb *callbackd.Callback) (wire.SettingsCallback, error) {
	out := wire.SettingsCallback{
		Event: string(cb.Event), Name: cb.Name, URL: cb.URL, Method: cb.Method, Secret: keep,
		Paused: cb.Pause.Reason == callbackd.PausedByUser,
	}
	var headers []strictjson.Member
	for _, h := range cb.Headers {
		headers = append(headers, strictjson.Member{Name: h.Name, Value: strictjson.Value(keep)})
	}
	out.Headers = object(headers)
	if !strictjson.Same(cb.Payload, strictjson.Value("{}"), callbackd.CanonicalNumber) {
		out.Payload = json.RawMessage(cb.Payload)
	}
	policy, err := exportPolicy(&cb.Policy)
	out.Policy = object(policy)
	return out, err
}

// exportPolicy returns the members of a policy that are set.
func exportPolicy(p *callbackd.Policy) (members []strictjson.Member, err error) {
	add := func(name string, set bool, value any) {
		if !set || err != nil {
			return
		}
		var raw []byte
		if raw, err = json.Marshal(value); err == nil {
			members = append(members, strictjson.Member{Name: name, Value: raw})
		}
	}
	wait := callbackd.FormatDuration(max(0, p.OrderWait)) // NoOrderWait is less than 0
	var retry []string
	for _, d := range p.Retry {
		retry = append(retry, callbackd.FormatDuration(d))
	}
	add("timeout", p.Timeout != 0, callbackd.FormatDuration(p.Timeout))
	add("retry", len(retry) > 0, retry)
	add("order", p.OrderWait != 0, wait)
	add("rate", p.Rate != 0, p.Rate)
	add("concurrency", p.Concurrency != 0, p.Concurrency)
	add("keep_alive", p.NoKeepAlive, false)
	add("store_response", p.NoResponse, false)
	add("signing", len(p.Signing) > 0, p.Signing)
	add("ttl", p.TTL != 0, callbackd.FormatDuration(p.TTL))
	add("expect", p.Expect != 0, callbackd.FormatDuration(p.Expect))
	add("order_group", p.OrderGroup != "", p.OrderGroup)
	add("filter", p.Filter != nil, json.RawMessage(p.Filter.String()))
	add("format", p.Format != "", p.Format)
	add("fields", p.Fields != nil, json.RawMessage(p.Fields.String()))
	if p.Auth == nil || err != nil {
		return members, err
	}
	auth, err := exportAuth(p.Auth)
	return append(members, strictjson.Member{Name: "auth", Value: auth}), err
}

// exportAuth returns how a callback signs in, with references in place of the secrets.
func exportAuth(a *callbackd.Auth) (strictjson.Value, error) {
	masked, err := json.Marshal(view.Auth(a))
	if err != nil {
		return nil, err
	}
	toKeep := func(_ string, v strictjson.Value) (strictjson.Value, error) {
		if text, _ := v.Text(); text == "" { // tls without a key
			return v, nil
		}
		return strictjson.Value(keep), nil
	}
	return rewrite(nil, masked, "", secretSpots["keys"]["[]"]["callbacks"]["[]"]["policy"]["auth"], toKeep)
}

// exportLimits returns the limits that are set.
func exportLimits(l wire.KeyLimits) (json.RawMessage, error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(raw)
	return object(slices.DeleteFunc(members, func(m strictjson.Member) bool { return m.Value.IsNull() })), err
}

// object returns a JSON object with the members in their order; nil without any.
func object(members []strictjson.Member) json.RawMessage {
	if len(members) == 0 {
		return nil
	}
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(strictjson.AppendString(out, m.Name), ':'), m.Value...)
	}
	return append(out, '}')
}
