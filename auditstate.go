package callbackd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AuditState is what the audit log shows of a setting: its members by name, as in
// "policy.timeout". Secrets are hashes in it.
type AuditState map[string]any

// AuditDigest returns a function that replaces a secret by a keyed hash. Equal secrets of
// one chain have equal hashes. Without the key, a short secret cannot be guessed from its
// hash.
func AuditDigest(key []byte, chain KeyID) func(secret string) string {
	return func(secret string) string {
		h := auditMAC(key, "secret", numberBytes(int64(chain)), []byte(secret))
		return "hmac-sha256:" + hex.EncodeToString(h[:16])
	}
}

// set adds a member, unless the value is the zero value of its type.
func (s AuditState) set(name string, value any) {
	if v := reflect.ValueOf(value); v.IsValid() && !v.IsZero() {
		s[name] = value
	}
}

// setTime adds a time, unless it is zero.
func (s AuditState) setTime(name string, at time.Time) {
	if !at.IsZero() {
		s[name] = at.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
	}
}

// setDuration adds a duration, unless it is 0.
func (s AuditState) setDuration(name string, d time.Duration) {
	if d != 0 {
		s[name] = FormatDuration(d)
	}
}

// setSecret adds the hash of a secret, unless it is empty.
func (s AuditState) setSecret(name string, secret Secret, digest func(string) string) {
	if secret != "" {
		s[name] = digest(secret.Reveal())
	}
}

// AuditChange returns Before and After of an entry: canonical JSON of the members in which
// two states differ. A nil state leads to nil. changed is false when nothing differs.
func AuditChange(before, after AuditState, digest func(string) string) (b, a []byte, changed bool) {
	if before != nil && after != nil {
		before, after = before.without(after), after.without(before)
		if len(before) == 0 && len(after) == 0 {
			return nil, nil, false
		}
	}
	return before.encode(digest), after.encode(digest), true
}

// without returns the members of s that o does not have with the same value.
func (s AuditState) without(o AuditState) AuditState {
	out := AuditState{}
	for name, v := range s {
		if w, has := o[name]; !has || !reflect.DeepEqual(v, w) {
			out[name] = v
		}
	}
	return out
}

// encode returns canonical JSON within the limits: the members are ordered by name.
func (s AuditState) encode(digest func(string) string) []byte {
	if s == nil {
		return nil
	}
	out := AuditState{}
	for name, v := range s {
		if raw := auditJSON(v); len(raw) > MaxAuditValue {
			v = fmt.Sprintf("%d bytes, %s", len(raw), digest(string(raw)))
		}
		out[name] = v
	}
	if raw := auditJSON(out); len(raw) <= MaxAuditState {
		return raw
	}
	for name, v := range s {
		out[name] = digest(string(auditJSON(v)))
	}
	if raw := auditJSON(out); len(raw) <= MaxAuditState {
		return raw
	}
	return auditJSON(AuditState{"members": len(s), "hash": digest(string(auditJSON(s)))})
}

// auditJSON writes JSON without escaping HTML, so that it reads as it was given.
func auditJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return strconv.AppendQuote(nil, err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// auditText returns a text that JSON and every store can have.
func auditText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// AuditState returns what the audit log shows of a callback: what a person set. Health,
// which attempts change, is not part of it.
func (c *Callback) AuditState(digest func(string) string) AuditState {
	s := AuditState{"url": auditText(c.URL), "method": c.Method, "payload": auditText(string(c.Payload))}
	if c.Types != nil { // it is for one session
		s["events"] = strings.Join(typeNames(c.Types), ", ")
	}
	for i, h := range c.Headers {
		name := "headers." + h.Name
		if _, twice := s[name]; twice {
			name += "." + strconv.Itoa(i+1)
		}
		s[name] = digest(h.Value.Reveal())
	}
	for i, secret := range c.Secrets {
		name := "secrets." + strconv.Itoa(i+1)
		s.setSecret(name, secret.Value, digest)
		s.setTime(name+".expires_at", secret.ExpiresAt)
	}
	s.setAuth("policy.auth", c.Policy.Auth, digest)
	s.setAuth("old_auth", c.OldAuth.Auth, digest)
	s.setTime("old_auth.ends_at", c.OldAuth.EndsAt)
	maps.Copy(s, c.Policy.auditState())
	s.set("pause", string(c.Pause.Reason))
	if c.Types != nil {
		s.hideTexts(digest)
	}
	return s
}

// hideTexts replaces what the setting of a callback for one session may have of a person by
// hashes, because no erasure changes the audit log.
func (s AuditState) hideTexts(digest func(string) string) {
	for name, v := range s {
		of := strings.HasPrefix(name, "policy.auth.") || strings.HasPrefix(name, "old_auth.") && name != "old_auth.ends_at" ||
			slices.Contains([]string{"url", "payload", "policy.filter", "policy.fields", "policy.order_group"}, name)
		if text, ok := v.(string); of && ok && text != "{}" {
			s[name] = digest(text)
		}
	}
}

// auditState returns the members of a policy, but not how it signs in, which has secrets.
func (p *Policy) auditState() AuditState {
	s := AuditState{}
	s.setDuration("policy.timeout", p.Timeout)
	if len(p.Retry) > 0 {
		var delays []string
		for _, d := range p.Retry {
			delays = append(delays, FormatDuration(d))
		}
		s["policy.retry"] = strings.Join(delays, " ")
	}
	switch p.OrderWait {
	case NoOrderWait:
		s["policy.order"] = FormatDuration(0)
	default:
		s.setDuration("policy.order", p.OrderWait)
	}
	s.set("policy.rate", p.Rate)
	s.set("policy.concurrency", p.Concurrency)
	if p.NoKeepAlive {
		s["policy.keep_alive"] = false
	}
	if p.NoResponse {
		s["policy.store_response"] = false
	}
	if len(p.Signing) > 0 {
		var schemes []string
		for _, scheme := range p.Signing {
			schemes = append(schemes, fmt.Sprintf("%v", scheme))
		}
		s["policy.signing"] = strings.Join(schemes, " ")
	}
	s.setDuration("policy.ttl", p.TTL)
	s.setDuration("policy.expect", p.Expect)
	s.set("policy.order_group", p.OrderGroup)
	s.set("policy.filter", auditText(p.Filter.String()))
	s.set("policy.format", string(p.Format))
	s.set("policy.fields", auditText(p.Fields.String()))
	return s
}

// setAuth adds how a callback signs in.
func (s AuditState) setAuth(name string, a *Auth, digest func(string) string) {
	if a == nil {
		return
	}
	for _, secret := range a.Secrets() {
		s.setSecret(name+"."+secret.Name, *secret.Value, digest)
	}
	if o := a.OAuth2; o != nil {
		s.set(name+".oauth2.token_url", auditText(o.TokenURL))
		s.set(name+".oauth2.client_id", auditText(o.ClientID))
		s.set(name+".oauth2.scope", auditText(o.Scope))
		s.set(name+".oauth2.audience", auditText(o.Audience))
		s.set(name+".oauth2.style", string(o.Style))
	}
	if a.Basic != nil {
		s.set(name+".basic.username", auditText(a.Basic.Username))
	}
	if t := a.TLS; t != nil {
		s.set(name+".tls.cert", auditText(t.Cert))
		s.set(name+".tls.ca", auditText(t.CA))
		s.set(name+".tls.server_name", auditText(t.ServerName))
	}
}

// AuditSubject returns the subject of entries about a callback.
func (c *Callback) AuditSubject() string {
	if c.OfSession() {
		return c.Session + " " + c.Name
	}
	return string(c.Event) + " " + c.Name
}

// AuditActionOf returns what a change of a callback is called.
func AuditActionOf(before, after *Callback) AuditAction {
	switch {
	case after.Deleted():
		return AuditCallbackDeleted
	case !before.SendsLike(after) || !before.Policy.withoutAuth().Identical(after.Policy.withoutAuth()):
		return AuditCallbackReplaced
	case !slices.Equal(before.Secrets, after.Secrets):
		return AuditSecretRotated
	case !before.Policy.Auth.Same(after.Policy.Auth) || !before.OldAuth.Auth.Same(after.OldAuth.Auth):
		return AuditAuthRotated
	case after.Paused():
		return AuditCallbackPaused
	}
	return AuditCallbackResumed
}

func (p Policy) withoutAuth() Policy {
	p.Auth = nil
	return p
}

// AuditActor returns who paused a callback for a reason, when it was not a person. url is
// that of the callback.
func (r PauseReason) AuditActor(url string) Actor {
	if r == PausedByReceiver {
		return Actor{Kind: ActorReceiver, Name: Origin(url)}
	}
	return Actor{Kind: ActorSystem}
}

// AuditState returns what the audit log shows of an API key.
func (k *Key) AuditState(digest func(string) string) AuditState {
	s := AuditState{"account": auditText(k.Account), "api_key": auditText(k.APIKey), "live": k.Live}
	s.set("name", auditText(k.Name))
	s.setSecret("secret", k.Secret, digest)
	s.setSecret("old_secret", k.OldSecret, digest)
	s.setTime("old_secret.ends_at", k.OldUntil)
	s.setDuration("sessions_expire_after", k.SessionTimeFrame())
	s.set("capture_url", auditText(string(k.CaptureURL)))
	s.setTime("expires_at", k.ExpiresAt)
	for _, l := range []struct {
		name  Limit
		value float64
	}{
		{LimitPublishRate, k.Limits.PublishRate}, {LimitPending, float64(k.Limits.Pending)},
		{LimitPendingBytes, float64(k.Limits.PendingBytes)}, {LimitCallbacks, float64(k.Limits.Callbacks)},
	} {
		if l.value != 0 {
			s["limits."+string(l.name)] = max(0, l.value) // as settings have it: 0 for no limit
		}
	}
	s.set("callback_policy", auditText(k.CallbackPolicy))
	if k.Retention != 0 {
		s.setDuration("retention", k.Retention)
	}
	s.set("retention_events", auditText(k.RetentionEvents))
	s.setTime("revoked_at", k.RevokedAt)
	return s
}

// AuditActionOfKey returns what a change of an API key is called.
func AuditActionOfKey(before, after *Key) AuditAction {
	switch {
	case after.Revoked() && !before.Revoked():
		return AuditKeyRevoked
	case before.Secret != after.Secret:
		return AuditKeyRotated
	}
	return AuditKeyChanged
}

// AuditState returns what the audit log shows of an operator token.
func (t *OperatorToken) AuditState() AuditState {
	s := AuditState{"name": auditText(t.Name), "role": string(t.Role)}
	s.setTime("expires_at", t.ExpiresAt)
	s.setTime("revoked_at", t.RevokedAt)
	return s
}

// AuditState returns what the audit log shows of a link; nil for one of the operator.
func (l *ConsoleLink) AuditState() AuditState {
	if l.Role == "" {
		return nil
	}
	s := AuditState{"role": string(l.Role)}
	s.set("return_to", auditText(l.ReturnTo))
	s.setDuration("lasts", l.Lasts)
	return s
}

// AuditState returns what the audit log shows of an incident: what people did about it.
func (i *Incident) AuditState() AuditState {
	s := AuditState{}
	s.setTime("acknowledged_at", i.AckedAt)
	s.set("acknowledged_by", auditText(i.AckedBy))
	s.setTime("muted_until", i.MutedUntil)
	return s
}

// AuditActionOfIncident returns what a change of an incident by a person is called; it is
// empty when the change is not by a person.
func AuditActionOfIncident(before, after *Incident) AuditAction {
	switch {
	case !before.AckedAt.Equal(after.AckedAt):
		return AuditIncidentAcknowledged
	case !before.MutedUntil.Equal(after.MutedUntil):
		return AuditIncidentMuted
	}
	return ""
}

// AuditState returns what the audit log shows of a replay when it starts.
func (r *Replay) AuditState() AuditState {
	f := &r.Filter
	s := AuditState{"total": r.Total}
	if len(f.States) > 0 {
		var states []string
		for _, state := range f.States {
			states = append(states, string(state))
		}
		s["states"] = strings.Join(states, " ")
	}
	s.set("event", string(f.Type))
	s.set("callback", int64(f.Callback))
	s.set("session_key", auditText(f.Session))
	s.setTime("since", f.Since)
	s.setTime("until", f.Until)
	s.set("target", int64(f.Target))
	s.set("missing", f.Missing)
	s.set("rate", r.Rate)
	if r.Cancel != nil && f.Session == "" { // else it may name a person, and stays where an erasure reaches it
		s.set("reason", auditText(r.Cancel.Reason))
	}
	return s
}

// AuditState returns what the audit log shows of a session: what a person can change by
// hand. What may be about a person is a hash, because no erasure changes the audit log.
func (s *Session) AuditState(digest func(string) string) AuditState {
	out := AuditState{}
	out.setSecret("redirect_url", Secret(s.RedirectURL), digest)
	out.set("language", auditText(s.Language))
	out.set("theme", s.Theme)
	out.setSecret("sms.to", Secret(s.SMS.To), digest)
	out.setSecret("sms.to_name", Secret(s.SMS.ToName), digest)
	return out
}

// AuditState returns what the audit log shows of an erasure. What it looked for is a hash.
func (e *Erase) AuditState() AuditState {
	s := AuditState{"by": string(e.By), "subject": auditText(e.Subject)}
	s.set("dry_run", e.DryRun)
	if e.Group != 0 {
		s["group"] = e.Group.String()
	}
	if !e.Running() {
		s["receipt_sha256"] = ReceiptHash(e.Receipt)
		s["sessions"], s["events"] = e.Progress.Counts.Sessions, e.Progress.Counts.Events
		s.set("callbacks", e.Progress.Counts.Callbacks)
	}
	return s
}

// AuditActionOfReplay returns what the start of a replay, or a change of its state, is
// called. started says that it was just created.
func AuditActionOfReplay(r *Replay, started bool) AuditAction {
	switch {
	case started && r.Cancels():
		return AuditDeliveriesCanceled
	case started:
		return AuditReplayStarted
	case r.State == ReplayPaused:
		return AuditReplayPaused
	case r.State == ReplayCanceled:
		return AuditReplayCanceled
	}
	return AuditReplayResumed
}

// AuditDifference is one member that differs in an entry. Before or After is empty when
// there is no value.
type AuditDifference struct{ Name, Before, After string }

// AuditDifferences returns what an entry changed, by the names of the members. A text is
// shown as it is, and any other value as JSON.
func AuditDifferences(e *AuditEntry) (out []AuditDifference) {
	before, after := auditMembers(e.Before), auditMembers(e.After)
	names := slices.Collect(maps.Keys(before))
	for name := range after {
		if _, has := before[name]; !has {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, AuditDifference{name, before[name], after[name]})
	}
	return out
}

func auditMembers(raw []byte) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	out := map[string]string{}
	for name, v := range members {
		var text string
		if json.Unmarshal(v, &text) != nil {
			text = string(v)
		}
		out[name] = text
	}
	return out
}
