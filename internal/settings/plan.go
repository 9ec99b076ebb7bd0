package settings

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
	"callbackd/internal/signature"
	"callbackd/internal/strictjson"
)

// Options says how to plan.
type Options struct {
	Prune        bool // remove what the file does not name
	RequireHTTPS bool // live keys may have https URLs only
	At           time.Time
	// NewKey makes an API key with a new text and secret, and NewSecret a signing secret.
	NewKey    func(account, name string, live bool, at time.Time) (callbackd.Key, error)
	NewSecret func() callbackd.Secret
}

// NewOptions returns the options of a plan that is made at a time, with random texts and
// secrets.
func NewOptions(prune, requireHTTPS bool, at time.Time) Options {
	return Options{
		Prune: prune, RequireHTTPS: requireHTTPS, At: at, NewKey: apikey.New,
		NewSecret: func() callbackd.Secret { return callbackd.Secret(signature.NewSecret()) },
	}
}

// Plan has the changes that make the stored settings like a file.
type Plan struct {
	Changes []callbackd.SettingsChange // in the order in which they are made
	// Fingerprint stands for the settings that the plan was made from: those of the API
	// keys that the file names, and with Prune those of all.
	Fingerprint string
	// made has the keys whose text was made for the plan.
	made map[*callbackd.Key]bool
}

// Removed returns how many changes remove something.
func (p *Plan) Removed() (n int) {
	for i := range p.Changes {
		if p.Changes[i].Action() == callbackd.ChangeRemove {
			n++
		}
	}
	return n
}

// Planner plans within the transaction that makes the changes. Plan is that of the last
// call of Changes.
type Planner struct {
	*File
	Options
	Fingerprint string // that the plan must have; empty for any
	Plan        *Plan
}

// Changes returns the changes of the plan. It fails when the settings are not those of the
// fingerprint.
func (p *Planner) Changes(now []callbackd.KeySettings) (_ []callbackd.SettingsChange, err error) {
	if p.Plan, err = p.File.Plan(now, p.Options); err != nil {
		return nil, err
	}
	if p.Fingerprint != "" && p.Fingerprint != p.Plan.Fingerprint {
		return nil, callbackd.Errorf(callbackd.KindConflict, "The settings have changed since the plan was made. Nothing was changed. Make the plan again with a dry run, read it, and apply it with its fingerprint.")
	}
	return p.Plan.Changes, nil
}

// planner makes one plan.
type planner struct {
	Options
	now  []callbackd.KeySettings
	plan *Plan
	used map[int]string // the place in the file, by the index in now
}

// Plan returns the changes that make the settings now like the file. It changes neither.
func (f *File) Plan(now []callbackd.KeySettings, o Options) (*Plan, error) {
	o.At = o.At.UTC().Truncate(time.Millisecond)
	p := &planner{o, now, &Plan{made: map[*callbackd.Key]bool{}}, map[int]string{}}
	for _, named := range []bool{true, false} { // what has an api_key is not found by its name
		for i := range f.keys {
			if k := &f.keys[i]; (k.key.APIKey != "") == named {
				if err := p.key(k); err != nil {
					return nil, err
				}
			}
		}
	}
	var from []*callbackd.KeySettings
	for i := range now {
		_, named := p.used[i]
		if named || o.Prune {
			from = append(from, &now[i])
		}
		if !named && o.Prune && !now[i].Key.Revoked() {
			after := now[i].Key
			after.Revoke(o.At)
			p.add(callbackd.SettingsChange{KeyBefore: &now[i].Key, Key: &after})
		}
	}
	callbackd.SortSettings(p.plan.Changes)
	p.plan.Fingerprint = fingerprint(from)
	return p.plan, nil
}

func (p *planner) add(c callbackd.SettingsChange) { p.plan.Changes = append(p.plan.Changes, c) }

// find returns the index of the stored key that the file means; -1 when it means a new one.
func (p *planner) find(k *fileKey) (int, error) {
	found := -1
	for i := range p.now {
		stored := &p.now[i].Key
		same := stored.APIKey == k.key.APIKey
		if k.key.APIKey == "" {
			same = stored.Account == k.key.Account && stored.Name == k.key.Name && !stored.Revoked() && p.used[i] == ""
		}
		switch {
		case same && found >= 0:
			return 0, callbackd.Errorf(callbackd.KindConflict, "In %s: two API keys of the account %q have this name. Say which one it is with api_key.", k.place, k.key.Account)
		case same:
			found = i
		}
	}
	if found < 0 {
		return found, nil
	}
	stored := &p.now[found].Key
	switch {
	case stored.Revoked():
		return 0, callbackd.Errorf(callbackd.KindConflict, "In %s: the API key %s is revoked, and cannot be used again. Remove it from the file.", k.place, stored.APIKey)
	case stored.Account != k.key.Account:
		return 0, callbackd.Errorf(callbackd.KindConflict, "In %s: account is %q, but the API key belongs to another account. A key cannot change its account.", k.place, k.key.Account)
	case stored.Live != k.key.Live:
		return 0, callbackd.Errorf(callbackd.KindConflict, "In %s: live is %t, but the API key is of the other kind. A key cannot change its kind.", k.place, k.key.Live)
	}
	p.used[found] = k.place
	return found, nil
}

// key plans the changes of an API key and of its callbacks.
func (p *planner) key(k *fileKey) error {
	i, err := p.find(k)
	if err != nil {
		return err
	}
	if i < 0 {
		return p.newKey(k)
	}
	stored := &p.now[i]
	after := stored.Key
	after.SetSettings(&k.key)
	if sameKey(&after, &stored.Key) {
		after = stored.Key // times may be equal in different zones
	}
	if k.key.Secret != "" && k.key.Secret != callbackd.Mask {
		if err := after.Rotate(k.key.Secret, p.At.Add(callbackd.DefaultKeep)); err != nil {
			return at(k.place, err)
		}
	}
	if after != stored.Key {
		p.add(callbackd.SettingsChange{Place: k.place, KeyBefore: &stored.Key, Key: &after})
	}
	return p.callbacks(k, &after, stored.Callbacks)
}

func sameKey(a, b *callbackd.Key) bool {
	return a.Name == b.Name && a.SessionTimeFrame() == b.SessionTimeFrame() && a.CaptureURL == b.CaptureURL && a.ExpiresAt.Equal(b.ExpiresAt) &&
		a.Limits == b.Limits && a.CallbackPolicy == b.CallbackPolicy &&
		a.Retention == b.Retention && a.RetentionEvents == b.RetentionEvents
}

func (p *planner) newKey(k *fileKey) error {
	if k.key.Secret == callbackd.Mask {
		return callbackd.Invalid(`In %s: secret is {"keep": true}, but there is no such API key yet. Give its secret as {"env": "NAME"} or {"file": "PATH"}, or leave it out to have one made.`, k.place)
	}
	made, err := p.NewKey(k.key.Account, k.key.Name, k.key.Live, p.At)
	if err != nil {
		return at(k.place, err)
	}
	made.SetSettings(&k.key)
	if k.key.Secret != "" {
		made.Secret = k.key.Secret
	}
	p.plan.made[&made] = k.key.APIKey == ""
	if k.key.APIKey != "" {
		made.APIKey = k.key.APIKey
	}
	p.add(callbackd.SettingsChange{Place: k.place, Key: &made})
	return p.callbacks(k, &made, nil)
}

// callbacks plans the changes of the callbacks of a key.
func (p *planner) callbacks(k *fileKey, key *callbackd.Key, stored []*callbackd.Callback) error {
	places := map[*callbackd.Callback]string{}
	type id struct {
		event callbackd.EventType
		name  string
	}
	seen := map[id]string{}
	for i := range k.callbacks {
		c := &k.callbacks[i]
		what := id{c.callback.Event, c.callback.Name}
		if seen[what] != "" {
			return callbackd.Invalid("In %s: this is the same event and name as %s.", c.place, seen[what])
		}
		seen[what] = c.place
		at := slices.IndexFunc(stored, func(s *callbackd.Callback) bool { return s.Event == what.event && s.Name == what.name })
		var before *callbackd.Callback
		if at >= 0 {
			before = stored[at]
			places[before] = c.place
		}
		if err := p.callback(c, key, before); err != nil {
			return err
		}
	}
	for _, s := range stored {
		if p.Prune && k.named && places[s] == "" {
			after := *s
			after.Releasing = false
			after.Delete(p.At)
			p.add(callbackd.SettingsChange{Key: key, Before: s, After: &after})
		}
	}
	return nil
}

// callback plans the change of one callback; before is nil when it is new.
func (p *planner) callback(c *fileCallback, key *callbackd.Key, before *callbackd.Callback) error {
	var after callbackd.Callback
	var err error
	if before == nil {
		after, err = p.created(c)
	} else {
		after, err = p.changed(c, before)
	}
	if err == nil {
		err = callbacks.Check(&after)
	}
	if err == nil {
		err = callbacks.Admit(key, &after, p.RequireHTTPS)
	}
	if err != nil {
		return at(c.place, err)
	}
	if before == nil || !unchanged(before, &after) {
		p.add(callbackd.SettingsChange{Place: c.place, Key: key, Before: before, After: &after})
	}
	return nil
}

func (p *planner) created(c *fileCallback) (callbackd.Callback, error) {
	after := c.callback
	after.CreatedAt = p.At
	if err := refuseKeeps(nil, &after); err != nil {
		return after, err
	}
	switch {
	case len(after.Secrets) == 0:
		after.Secrets = []callbackd.SigningSecret{{Value: p.NewSecret()}}
	case after.Secrets[0].Value == callbackd.Mask:
		return after, callbackd.Invalid(`secret is {"keep": true}, but there is no such callback yet. Give its secret as {"env": "NAME"} or {"file": "PATH"}, or leave it out to have one made.`)
	}
	if c.paused != nil && *c.paused {
		after.Pause = callbackd.Pause{Reason: callbackd.PausedByUser, At: p.At}
	}
	return after, nil
}

func (p *planner) changed(c *fileCallback, before *callbackd.Callback) (callbackd.Callback, error) {
	after, next := *before, c.callback
	after.Releasing = false // so that a new release shows
	next.Headers = slices.Clone(next.Headers)
	if err := refuseKeeps(before, &next); err != nil {
		return after, err
	}
	if err := callbacks.Unmask(before, &next); err != nil {
		return after, err
	}
	if err := callbacks.UnmaskAuth(before, &next); err != nil {
		return after, err
	}
	given := callbackd.Secret("")
	if len(next.Secrets) > 0 {
		given = next.Secrets[0].Value
	}
	moves := !callbackd.SameOrigin(before.URL, next.URL)
	switch {
	case given == callbackd.Mask && moves:
		return after, callbackd.Invalid(`secret is {"keep": true}, but url names another receiver. Leave secret out to have a new one made, or give it.`)
	case given == callbackd.Mask:
		given = ""
	}
	next.Secrets = []callbackd.SigningSecret{{Value: given}}
	if given == "" {
		next.Secrets[0].Value = p.NewSecret() // it counts when the origin changes only
	}
	keepSpelling(before, &next)
	if !before.SendsLike(&next) || !before.Policy.Identical(next.Policy) {
		after.Replace(&next, p.At)
	}
	if given != "" && after.Secrets[0].Value != given {
		if err := after.RotateSecret(given, p.At.Add(callbackd.DefaultKeep), p.At); err != nil {
			return after, err
		}
	}
	p.pause(c, &after)
	return after, nil
}

// refuseKeeps returns an error when next keeps a value that before does not have, in the words
// of a file. before is nil when there is no such callback.
func refuseKeeps(before, next *callbackd.Callback) error {
	const instead = `Give it as {"env": "NAME"} or {"file": "PATH"}.`
	kept := func(name string) error {
		switch {
		case before == nil:
			return callbackd.Invalid(`%s is {"keep": true}, but there is no such callback yet. %s`, name, instead)
		case !callbackd.SameOrigin(before.URL, next.URL):
			return callbackd.Invalid(`%s is {"keep": true}, but url names another receiver. %s`, name, instead)
		}
		return callbackd.Invalid(`%s is {"keep": true}, but the callback has no such value. %s`, name, instead)
	}
	for _, h := range next.Headers {
		has := func(o callbackd.Header) bool { return strings.EqualFold(o.Name, h.Name) }
		if h.Value == callbackd.Mask && (before == nil || !callbackd.SameOrigin(before.URL, next.URL) || !slices.ContainsFunc(before.Headers, has)) {
			return kept("headers." + h.Name)
		}
	}
	if before != nil && before.Policy.Auth != nil || next.Policy.Auth == nil {
		return nil
	}
	for _, secret := range next.Policy.Auth.Secrets() {
		if *secret.Value == callbackd.Mask {
			return kept("policy.auth." + secret.Name)
		}
	}
	return nil
}

// pause pauses or resumes a callback as the file says, if it says so.
func (p *planner) pause(c *fileCallback, cb *callbackd.Callback) {
	if c.paused == nil || *c.paused == cb.Paused() {
		return
	}
	reason := callbackd.NotPaused
	if *c.paused {
		reason = callbackd.PausedByUser
	}
	cb.SetPause(callbackd.Pause{Reason: reason, At: p.At})
}

// keepSpelling gives next the JSON and the policy of before where they mean the same, however
// the file spells them.
func keepSpelling(before, next *callbackd.Callback) {
	same := func(a, b string) bool {
		return strictjson.Same(strictjson.Value(a), strictjson.Value(b), callbackd.CanonicalNumber)
	}
	if same(string(before.Payload), string(next.Payload)) {
		next.Payload = before.Payload
	}
	if same(before.Policy.Filter.String(), next.Policy.Filter.String()) {
		next.Policy.Filter = before.Policy.Filter
	}
	if same(before.Policy.Fields.String(), next.Policy.Fields.String()) {
		next.Policy.Fields = before.Policy.Fields
	}
	if before.Policy.Same(next.Policy) {
		next.Policy = before.Policy
	}
}

// unchanged reports whether a plan leaves a callback as it was.
func unchanged(before, after *callbackd.Callback) bool {
	return before.SendsLike(after) && before.Policy.Identical(after.Policy) && slices.Equal(before.Secrets, after.Secrets) && before.Pause == after.Pause && !after.Releasing
}

// fingerprint returns a hash of settings. Secrets are part of it, so it is keyed by the
// secret of each API key, which nobody can guess.
func fingerprint(from []*callbackd.KeySettings) string {
	all := sha256.New()
	plain := func(secret string) string { return secret }
	for _, k := range from {
		m := hmac.New(sha256.New, []byte(k.Key.Secret.Reveal()))
		enc := json.NewEncoder(m)
		states := []any{k.Key.ID, k.Key.AuditState(plain)}
		for _, cb := range k.Callbacks {
			states = append(states, cb.ID, cb.Version, cb.AuditState(plain))
		}
		if err := enc.Encode(states); err != nil {
			m.Write([]byte(err.Error()))
		}
		all.Write(m.Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil)[:16])
}
