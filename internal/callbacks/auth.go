package callbacks

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
)

// AuthFormFields are the fields of a form that say how callbackd signs in. Each is the
// member of the API with an underscore in place of the dot: oauth2_token_url.
var AuthFormFields = func() (names []string) {
	for _, p := range authParts(new(callbackd.Auth)) {
		names = append(names, request.Names(p.fields(p.name+"_"))...)
	}
	return names
}()

// authPart is one member of policy.auth.
type authPart struct {
	name string
	// fields makes the part and describes its members, whose names begin with the prefix.
	fields func(prefix string) []request.Field
}

func authParts(a *callbackd.Auth) []authPart {
	return []authPart{
		{"oauth2", func(prefix string) []request.Field {
			a.OAuth2 = &callbackd.OAuth2{Style: callbackd.StyleBasic}
			return oauth2Fields(prefix, a.OAuth2)
		}},
		{"basic", func(prefix string) []request.Field {
			a.Basic = &callbackd.BasicAuth{}
			return basicFields(prefix, a.Basic)
		}},
		{"bearer", func(prefix string) []request.Field {
			a.Bearer = &callbackd.BearerAuth{}
			return []request.Field{authText(prefix+"token", &a.Bearer.Token, callbackd.MaxAuthToken, "visible ASCII without spaces", isVisible).Required()}
		}},
		{"tls", func(prefix string) []request.Field {
			a.TLS = &callbackd.ClientTLS{}
			return tlsFields(prefix, a.TLS)
		}},
	}
}

// authField reads how callbackd signs in at the receiver. An object without members is
// no sign-in.
func authField(name string, to **callbackd.Auth) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		body, err := v.Inner()
		if err != nil {
			return err
		}
		var a callbackd.Auth
		if err := body.Strict(v.Name).Read(partFields(&a)...); err != nil {
			return err
		}
		return setAuth(v.Name, to, &a)
	}}.Optional()
}

// ReadAuth reads the members of policy.auth, and those of more, from the body of a
// rotation.
func ReadAuth(body request.Object, more ...request.Field) (out *callbackd.Auth, err error) {
	var a callbackd.Auth
	if err := body.Strict("A rotation").Read(append(partFields(&a), more...)...); err != nil {
		return nil, err
	}
	if err := setAuth("A rotation", &out, &a); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, callbackd.Invalid("Give the new credentials: oauth2, basic, bearer or tls. PUT the callback without policy.auth to have none.")
	}
	return out, nil
}

// ReadAuthForm reads the credentials of a rotation from [AuthFormFields].
func ReadAuthForm(body request.Object) (out *callbackd.Auth, problems []request.Problem) {
	problems = authOfForm(body, &out)
	if out == nil && len(problems) == 0 {
		problems = []request.Problem{{Err: callbackd.Invalid("Give the new credentials. To have none, empty the sign-in in the form of the callback.")}}
	}
	return out, problems
}

// RotateAuth gives a callback the credentials that a rotation named, where a mask stands for
// the stored value. The present ones are kept until keep.
func RotateAuth(cb *callbackd.Callback, auth *callbackd.Auth, keep, at time.Time) error {
	next := *cb
	next.Policy.Auth = auth
	if err := UnmaskAuth(cb, &next); err != nil {
		return err
	}
	cb.RotateAuth(next.Policy.Auth, keep, at)
	return Check(cb)
}

func partFields(a *callbackd.Auth) (fields []request.Field) {
	for _, p := range authParts(a) {
		fields = append(fields, request.Field{Name: p.name, Read: func(v request.Value) error {
			part, err := v.Inner()
			if err != nil {
				return err
			}
			return part.Strict(v.Name).Read(labeled(v.Name, p.fields(""))...)
		}})
	}
	return fields
}

// labeled returns fields whose messages about a missing member have the name of the
// object.
func labeled(object string, fields []request.Field) []request.Field {
	for i, f := range fields {
		if f.IsRequired() {
			fields[i] = f.RequiredElse(request.Missing(object + "." + f.Name))
		}
	}
	return fields
}

// authOfForm reads how callbackd signs in from the fields of a form: the parts of which
// any field is given.
func authOfForm(body request.Object, to **callbackd.Auth) (problems []request.Problem) {
	var a, unused callbackd.Auth
	unread := authParts(&unused)
	for i, p := range authParts(&a) {
		prefix := p.name + "_"
		if slices.ContainsFunc(request.Names(unread[i].fields(prefix)), body.Given) {
			problems = append(problems, body.ReadAll(p.fields(prefix)...)...)
		}
	}
	if err := setAuth("The sign-in", to, &a); err != nil {
		problems = append(problems, request.Problem{Err: err})
	}
	return problems
}

// setAuth sets what was read, unless it contradicts itself.
func setAuth(name string, to **callbackd.Auth, a *callbackd.Auth) error {
	ways := 0
	for _, set := range []bool{a.OAuth2 != nil, a.Basic != nil, a.Bearer != nil} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		return callbackd.Invalid("%s must have one of oauth2, basic and bearer, because each makes the header Authorization. tls may stand beside it.", name)
	}
	*to = nil
	if ways > 0 || a.TLS != nil {
		*to = a
	}
	return nil
}

func oauth2Fields(prefix string, o *callbackd.OAuth2) []request.Field {
	return []request.Field{
		tokenURLField(prefix+"token_url", &o.TokenURL).Required(),
		authText(prefix+"client_id", &o.ClientID, callbackd.MaxAuthText, "visible ASCII and spaces", isPrintable).Required(),
		authText(prefix+"client_secret", &o.ClientSecret, callbackd.MaxAuthText, "visible ASCII and spaces", isPrintable).Required(),
		authText(prefix+"scope", &o.Scope, callbackd.MaxAuthText, `visible ASCII and spaces without " and \`, isScope).Optional(),
		authText(prefix+"audience", &o.Audience, callbackd.MaxAuthText, "text without control characters", isText).Optional(),
		request.Choice(prefix+"style", &o.Style, callbackd.AuthStyles),
	}
}

func basicFields(prefix string, b *callbackd.BasicAuth) []request.Field {
	isName := func(s string) bool { return isText(s) && !strings.Contains(s, ":") }
	return []request.Field{
		authText(prefix+"username", &b.Username, callbackd.MaxAuthText, "text without colons and control characters", isName).Required(),
		authText(prefix+"password", &b.Password, callbackd.MaxAuthText, "text without control characters", isText).Required(),
	}
}

func tlsFields(prefix string, t *callbackd.ClientTLS) []request.Field {
	return []request.Field{
		pemField(prefix+"cert", &t.Cert),
		pemField(prefix+"key", &t.Key),
		pemField(prefix+"ca", &t.CA),
		authText(prefix+"server_name", &t.ServerName, callbackd.MaxName, "a host name, such as api.example.com", isHostName).Optional(),
	}
}

// authText reads a text with a rule for its characters.
func authText[T ~string](name string, to *T, most int, what string, ok func(string) bool) request.Field {
	return request.Text(name, to, most).Check(func(name string) error {
		if !ok(string(*to)) {
			return callbackd.Invalid("%s must be %s.", name, what)
		}
		return nil
	})
}

// pemField reads PEM. Line ends and space around it are read as one spelling of them: a form
// sends other ones than it was shown, and the same credentials must not count as new.
func pemField[T ~string](name string, to *T) request.Field {
	return authText(name, to, callbackd.MaxAuthPEM, "PEM, which begins with -----BEGIN", func(s string) bool {
		return s == callbackd.Mask || strings.Contains(s, "-----BEGIN ")
	}).Check(func(string) error {
		if *to != callbackd.Mask {
			*to = T(strings.TrimSpace(strings.ReplaceAll(string(*to), "\r\n", "\n")) + "\n")
		}
		return nil
	}).Optional()
}

func tokenURLField(name string, to *string) request.Field {
	return request.Text(name, to, callbackd.MaxQuery).Check(func(name string) error {
		kept, err := egress.KeepURL(*to)
		if err != nil {
			return callbackd.Invalid("%s cannot be used: %v.", name, err)
		}
		*to = kept
		return nil
	})
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

func isVisible(s string) bool { return isPrintable(s) && !strings.Contains(s, " ") }

func isScope(s string) bool { return isPrintable(s) && !strings.ContainsAny(s, `"\`) }

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

func isHostName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return strings.Trim(s, allowed) == ""
}

// CheckAuth returns an error when callbackd cannot sign in as the policy of a callback
// says: a value is the mask, a header contradicts it, or a certificate cannot be used.
func CheckAuth(cb *callbackd.Callback) error {
	a := cb.Policy.Auth
	if a == nil {
		return nil
	}
	for _, secret := range a.Secrets() {
		if *secret.Value == callbackd.Mask {
			return callbackd.Invalid("policy.auth.%s is masked, but no value is stored. Send the value itself.", secret.Name)
		}
	}
	if a.Authorizes() && slices.ContainsFunc(cb.Headers, func(h callbackd.Header) bool { return strings.EqualFold(h.Name, "Authorization") }) {
		return callbackd.Invalid("headers must not set Authorization: policy.auth makes it.")
	}
	if a.TLS == nil {
		return nil
	}
	if !strings.HasPrefix(callbackd.Origin(cb.URL), "https:") {
		return callbackd.Invalid("policy.auth.tls needs a url that begins with https://.")
	}
	if _, err := identity(a.TLS); err != nil {
		return callbackd.Invalid("policy.auth.tls.%v.", err)
	}
	return checkPublic(a.TLS)
}

// checkPublic returns an error when a text that is shown to whoever may read the callback has
// a private key in it, as a file with a certificate and its key has.
func checkPublic(t *callbackd.ClientTLS) error {
	for _, shown := range []struct{ name, text string }{{"cert", t.Cert}, {"ca", t.CA}} {
		if strings.Contains(shown.text, "PRIVATE KEY-----") {
			return callbackd.Invalid("policy.auth.tls.%s has a private key, and is not kept secret. Send only certificates in it, and the key in policy.auth.tls.key.", shown.name)
		}
	}
	return nil
}

// UnmaskAuth gives the secrets of next with which a callback signs in the stored values of
// old, where they are the mask. It fails when the receiver or the provider of the tokens
// changes, because a secret must only go to whom it was given for.
func UnmaskAuth(old, next *callbackd.Callback) error {
	masked := func(s callbackd.AuthSecret) bool { return *s.Value == callbackd.Mask }
	if !slices.ContainsFunc(next.Policy.Auth.Secrets(), masked) {
		return nil
	}
	next.Policy.Auth = next.Policy.Auth.Clone()
	for _, secret := range next.Policy.Auth.Secrets() {
		if !masked(secret) {
			continue
		}
		if changed := movedFrom(old, next); changed != "" {
			return callbackd.Invalid("policy.auth.%s is masked, but %s names another host. Send the value again.", secret.Name, changed)
		}
		for _, stored := range old.Policy.Auth.Secrets() {
			if stored.Name == secret.Name {
				*secret.Value = *stored.Value
			}
		}
	}
	return nil
}

// movedFrom returns the member of next that has another origin than that of old, or "".
func movedFrom(old, next *callbackd.Callback) string {
	if !callbackd.SameOrigin(old.URL, next.URL) {
		return "url"
	}
	a, b := old.Policy.Auth, next.Policy.Auth
	if a != nil && a.OAuth2 != nil && b.OAuth2 != nil && !callbackd.SameOrigin(a.OAuth2.TokenURL, b.OAuth2.TokenURL) {
		return "policy.auth.oauth2.token_url"
	}
	return ""
}

// AdviseAuth returns a warning when the client certificate of a callback is not valid at
// now, and an empty string otherwise.
func AdviseAuth(cb *callbackd.Callback, now time.Time) string {
	ends := ClientCertEnds(cb)
	if ends.IsZero() || now.Before(ends) {
		return ""
	}
	return "The client certificate in policy.auth.tls.cert expired at " + humanize.Time(ends) + ". Receivers refuse it. Send a new one."
}

// ClientCertEnds returns when the client certificate of a callback expires; zero when it
// has none.
func ClientCertEnds(cb *callbackd.Callback) time.Time {
	if cb.Policy.Auth == nil || cb.Policy.Auth.TLS == nil {
		return time.Time{}
	}
	id, err := identity(cb.Policy.Auth.TLS)
	if err != nil {
		return time.Time{}
	}
	return id.Ends
}

func identity(t *callbackd.ClientTLS) (*egress.Identity, error) {
	return egress.NewIdentity(t.Cert, t.Key.Reveal(), t.CA, t.ServerName)
}
