package settings

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"callbackd"
	"callbackd/wire"
)

// secretMark begins what stands for a secret while two states are compared. No text of a
// setting has it.
const secretMark = "\x00secret "

// digest replaces a secret, so that equal ones stay equal.
func digest(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return secretMark + string(h[:])
}

// Show returns a plan as the API answers it, without any secret. applied says that it was
// made, and not only planned: then the API keys whose text was made have it.
func (p *Plan) Show(applied bool) wire.SettingsPlan {
	out := wire.SettingsPlan{Applied: applied, Fingerprint: p.Fingerprint, Changes: []wire.SettingsChange{}}
	for i := range p.Changes {
		c := &p.Changes[i]
		shown := wire.SettingsChange{Action: string(c.Action()), Place: c.Place, Account: c.Key.Account, KeyName: c.Key.Name, Members: []wire.SettingsMember{}}
		if applied || !p.made[c.Key] {
			shown.APIKey = c.Key.APIKey
		}
		var before, after callbackd.AuditState
		switch {
		case c.After != nil:
			shown.Event, shown.Name, after = string(c.After.Event), c.After.Name, c.After.AuditState(digest)
			if c.Before != nil {
				before = c.Before.AuditState(digest)
			}
		default:
			after = c.Key.AuditState(digest)
			if c.KeyBefore != nil {
				before = c.KeyBefore.AuditState(digest)
			}
			delete(after, "api_key") // it is made when the plan is
		}
		if c.Action() != callbackd.ChangeRemove {
			shown.Members = differences(before, after)
		}
		switch c.Action() {
		case callbackd.ChangeCreate:
			out.Created++
		case callbackd.ChangeChange:
			out.Changed++
		case callbackd.ChangeRemove:
			out.Removed++
		}
		out.Changes = append(out.Changes, shown)
	}
	return out
}

// NewKeys returns the API keys that a plan makes, with their secrets.
func (p *Plan) NewKeys() []wire.SettingsNewKey {
	out := []wire.SettingsNewKey{}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.After == nil && c.KeyBefore == nil {
			out = append(out, wire.SettingsNewKey{APIKey: c.Key.APIKey, Account: c.Key.Account, Name: c.Key.Name, Secret: c.Key.Secret.Reveal()})
		}
	}
	return out
}

// differences returns the members that differ, by their names. Secrets are masked.
func differences(before, after callbackd.AuditState) []wire.SettingsMember {
	names := slices.Collect(maps.Keys(after))
	for name := range before {
		if _, has := after[name]; !has && name != "api_key" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := []wire.SettingsMember{}
	for _, name := range names {
		was, is := text(before, name), text(after, name)
		if was == is {
			continue
		}
		out = append(out, wire.SettingsMember{Name: name, Before: mask(was), After: mask(is)})
	}
	return out
}

// text returns a value: a text as it is, any other value as JSON; empty without one.
func text(s callbackd.AuditState, name string) string {
	v, has := s[name]
	if !has {
		return ""
	}
	if text, ok := v.(string); ok {
		return text
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// maxShown is how much of a value is shown, in bytes.
const maxShown = 500

func mask(value string) string {
	if strings.HasPrefix(value, secretMark) {
		return callbackd.Mask
	}
	return callbackd.Clip(value, maxShown)
}
