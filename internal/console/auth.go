package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

const (
	cookieName = "callbackd_console"
	// loginLifetime bounds a login. Revoking the key or changing the operator
	// token ends it earlier.
	loginLifetime = 7 * 24 * time.Hour
	// LinkLifetime is how long a one-time link can be used.
	LinkLifetime = callbackd.LinkLifetime
	// MinOperatorToken is the least length of an operator token, in bytes.
	MinOperatorToken = 16
)

// NewToken makes a token that proves once to be the operator's, and the login to store for
// it.
func NewToken(now time.Time) (token string, l store.Login) {
	token = rand.Text()
	return token, store.Login{Hash: HashToken(token), Link: true, CreatedAt: now, ExpiresAt: now.Add(LinkLifetime)}
}

// NewLink makes a one-time link for the operator and the login to store for
// it. base is the URL of the server, such as http://127.0.0.1:8080.
func NewLink(base string, now time.Time) (address string, l store.Login) {
	token, l := NewToken(now)
	return strings.TrimSuffix(base, "/") + withQuery(link("link"), "token", token), l
}

// HashToken returns the hash of a token, which is what the store has of it.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// proof binds a login to the secret that opened it: when the secret changes,
// the login is void. The browser's token is the salt.
func proof(token string, secret callbackd.Secret) [sha256.Size]byte {
	return sha256.Sum256([]byte(token + "\x00" + secret.Reveal()))
}

// linkProof takes the place of the secret in a login that a one-time link opened.
const linkProof callbackd.Secret = "link"

// authenticate returns the request with the logged-in user, or nil when there is none.
func (c *Console) authenticate(r *http.Request) (*userRequest, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return nil, nil
	}
	login, err := c.Store.Login(r.Context(), HashToken(cookie.Value), c.now())
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	req := &userRequest{Request: r, principal: principal{customer: login.Customer}}
	if login.Key != 0 {
		req.key, err = c.Store.KeyByID(r.Context(), login.Key)
		if err != nil || !req.key.InForce(c.now()) {
			return nil, err
		}
	}
	for _, secret := range c.loginSecrets(req.principal) {
		want := proof(cookie.Value, secret)
		if subtle.ConstantTimeCompare(login.Proof[:], want[:]) == 1 {
			return req, nil
		}
	}
	return nil, nil
}

// loginSecrets returns the secrets that a login of a person may be bound to. A login by a
// link for a customer is bound to none of the key: it ends with the key.
func (c *Console) loginSecrets(p principal) []callbackd.Secret {
	switch {
	case p.customer.Role != "":
		return []callbackd.Secret{linkProof}
	case p.key != nil:
		return p.key.Secrets(c.now())
	case c.OperatorToken != "":
		return []callbackd.Secret{linkProof, c.OperatorToken}
	}
	return []callbackd.Secret{linkProof}
}

// redirectToSignIn redirects a browser to the sign-in page, and afterwards back to the
// page that it asked for. A stream or a form is not repeated. A frame gets a page that says
// so, because nobody signs in there.
func (c *Console) redirectToSignIn(w http.ResponseWriter, r *http.Request) {
	if len(c.FrameAncestors) > 0 && r.Header.Get("Sec-Fetch-Dest") == "iframe" {
		c.endOfVisit(w, r)
		return
	}
	to := link("sign-in")
	isPage := r.Method == http.MethodGet && r.Header.Get("Accept") != "text/event-stream"
	if isPage && r.URL.Path != link() {
		to = withQuery(to, "next", r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// safeNext returns next when it is a page of the console, and the overview
// otherwise, so that a link cannot make the sign-in lead to another site.
func safeNext(next string) string {
	u, err := url.Parse(next)
	switch {
	case err != nil,
		u.IsAbs() || u.Host != "",
		!strings.HasPrefix(u.Path, Root+"/"),
		strings.ContainsAny(next, "\\\r\n"),
		strings.Contains(u.Path, ".."),
		strings.HasPrefix(u.Path, Root+"/sign-"):
		return link()
	}
	return u.RequestURI()
}

type signInForm struct {
	base
	As      string // "key" or "operator"
	Next    string
	APIKey  string
	Token   string // of a one-time link
	ByToken bool   // there is an operator token
	Fault   string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) error {
	req, err := c.authenticate(r)
	if err != nil {
		return err
	}
	if req != nil {
		return redirectToRoot(w, r)
	}
	q := r.URL.Query()
	p := &signInForm{base: c.signedOutBase("Sign in"), As: "key", Next: q.Get("next"), ByToken: c.OperatorToken != ""}
	p.Notice = notices[q.Get("done")]
	if q.Get("as") == "operator" {
		p.As = "operator"
	}
	return c.render(w, http.StatusOK, "sign-in", p)
}

func (c *Console) signedOutBase(title string) base {
	return base{Title: title, Version: c.Version, Brand: c.Brand}
}

// signIn checks a key and its secret, or the operator token. The answer does
// not tell which part is wrong, and takes the same time either way. The right
// secret passes whatever the limit is.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) error {
	p := &signInForm{
		base:    c.signedOutBase("Sign in"),
		As:      "key",
		Next:    r.PostFormValue("next"),
		APIKey:  strings.TrimSpace(r.PostFormValue("api_key")),
		ByToken: c.OperatorToken != "",
	}
	if r.PostFormValue("as") == "operator" {
		p.As = "operator"
	}
	key, secret, err := c.checkCredentials(r, p)
	if err != nil {
		return err
	}
	if secret == "" {
		return c.refuseSignIn(w, r, p)
	}
	return c.startLogin(w, r, store.Login{Key: key}, secret, p.Next)
}

// refuseSignIn counts a wrong attempt and shows the form again.
func (c *Console) refuseSignIn(w http.ResponseWriter, r *http.Request, p *signInForm) error {
	var limits []string
	if p.As == "key" {
		name := sha256.Sum256([]byte(p.APIKey))
		limits = append(limits, "key "+string(name[:8]))
	}
	if wait := c.takeAttempt(r, p.As, limits...); wait > 0 {
		p.Fault = tooManyAttempts(wait)
		w.Header().Set("Retry-After", "10")
		return c.render(w, http.StatusTooManyRequests, "sign-in", p)
	}
	p.Fault = "This API key and secret do not belong together, or the key was revoked."
	if p.As == "operator" {
		p.Fault = "This is not the operator token."
	}
	return c.render(w, http.StatusUnauthorized, "sign-in", p)
}

func tooManyAttempts(wait time.Duration) string {
	return "Too many attempts. Wait " + humanize.Duration(wait.Round(time.Second)) + " and try again."
}

// checkCredentials returns the key and the secret that was right. The secret is
// empty when none was.
func (c *Console) checkCredentials(r *http.Request, p *signInForm) (callbackd.KeyID, callbackd.Secret, error) {
	if p.As == "operator" {
		if sameSecret(r.PostFormValue("token"), c.OperatorToken) {
			return 0, c.OperatorToken, nil
		}
		return 0, "", nil
	}
	key, err := c.Store.Key(r.Context(), p.APIKey)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return 0, "", err
	}
	if err != nil || !key.InForce(c.now()) {
		key = &callbackd.Key{}
	}
	for _, secret := range key.Secrets(c.now()) {
		if sameSecret(strings.TrimSpace(r.PostFormValue("secret")), secret) {
			return key.ID, secret, nil
		}
	}
	return 0, "", nil
}

// sameSecret reports whether both secrets are the same. It compares in constant time.
// An empty secret is never the same.
func sameSecret(given string, want callbackd.Secret) bool {
	a := sha256.Sum256([]byte(given))
	b := sha256.Sum256([]byte(want.Reveal()))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// startLogin stores the login of a key, or of a link for a customer, that is proven by a
// secret, ends the browser's old one, and gives the browser the token.
func (c *Console) startLogin(w http.ResponseWriter, r *http.Request, of store.Login, secret callbackd.Secret, next string) error {
	now, token, lasts := c.now(), rand.Text(), loginLifetime
	if of.Customer.Role != "" {
		lasts = of.Customer.Lasts
	}
	login := store.Login{
		Hash:      HashToken(token),
		Key:       of.Key,
		Customer:  of.Customer,
		Proof:     proof(token, secret),
		CreatedAt: now,
		ExpiresAt: now.Add(lasts),
	}
	ctx, err := c.signingIn(r, of)
	if err != nil {
		return err
	}
	if err := c.Store.CreateLogin(ctx, login); err != nil {
		return err
	}
	if err := c.endLogin(r); err != nil {
		return err
	}
	c.setCookie(w, r, token, int(lasts/time.Second), of.Customer.Role != "")
	c.Log.Info("signed in to the console", "key", int64(of.Key), "operator", of.Key == 0, "link", of.Customer.Role != "", "from", front.ClientAddr(r))
	http.Redirect(w, r, safeNext(next), http.StatusSeeOther)
	return nil
}

// signingIn returns the context of a command for who signs in.
func (c *Console) signingIn(r *http.Request, of store.Login) (context.Context, error) {
	who := principal{customer: of.Customer}
	if of.Key != 0 {
		var err error
		if who.key, err = c.Store.KeyByID(r.Context(), of.Key); err != nil {
			return nil, err
		}
	}
	return store.WithActor(r.Context(), who.actor(r)), nil
}

// endLogin deletes the login of the browser's cookie from the store.
func (c *Console) endLogin(r *http.Request) error {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	ctx := r.Context()
	if req, err := c.authenticate(r); err == nil && req != nil { // otherwise the login is void already
		ctx = store.WithActor(ctx, req.actor(r))
	}
	_, err = c.Store.TakeLogin(ctx, HashToken(cookie.Value))
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil
	}
	return err
}

// setCookie gives the browser a token. In a frame of another site, a browser sends a cookie
// only when it is Secure, SameSite=None and, in most browsers, Partitioned: kept apart for each
// site that shows the frame. Only logins by a link for a customer work in frames.
func (c *Console) setCookie(w http.ResponseWriter, r *http.Request, token string, maxAge int, customer bool) {
	cookie := &http.Cookie{
		Name:     cookieName,
		Value:    token,
		Path:     Base(c.Public) + Root,
		MaxAge:   maxAge,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
		Secure:   c.secure(r),
	}
	if customer && len(c.FrameAncestors) > 0 && (cookie.Secure || isLoopback(r)) {
		cookie.Secure, cookie.SameSite, cookie.Partitioned = true, http.SameSiteNoneMode, true
	}
	http.SetCookie(w, cookie)
}

// signOut ends the login in the store, so that a copied cookie is void too.
func (c *Console) signOut(w http.ResponseWriter, r *http.Request) error {
	req, err := c.authenticate(r)
	if err == nil {
		err = c.endLogin(r)
	}
	if err != nil {
		return err
	}
	c.setCookie(w, r, "", -1, req != nil && req.customer.Role != "")
	http.Redirect(w, r, withQuery(link("sign-in"), "done", "signed-out"), http.StatusSeeOther)
	return nil
}

// linkPage asks before it uses up a one-time link, because mail and chat
// programs open links too.
func (c *Console) linkPage(w http.ResponseWriter, r *http.Request) error {
	p := &signInForm{base: c.signedOutBase("Sign in"), Token: r.URL.Query().Get("token")}
	return c.render(w, http.StatusOK, "link", p)
}

func (c *Console) link(w http.ResponseWriter, r *http.Request) error {
	login, err := c.Store.TakeLogin(r.Context(), HashToken(r.PostFormValue("token")))
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return err
	}
	if err != nil || !login.Link || login.Key != 0 || login.Expired(c.now()) {
		return c.refuseLink(w, r)
	}
	return c.startLogin(w, r, *login, linkProof, "")
}

func (c *Console) refuseLink(w http.ResponseWriter, r *http.Request) error {
	if wait := c.takeAttempt(r, "link"); wait > 0 {
		return callbackd.Errorf(callbackd.KindLimited, "%s", tooManyAttempts(wait))
	}
	p := &signInForm{base: c.signedOutBase("Sign in")}
	p.Fault = "This link was used already, or is older than " + humanize.Duration(LinkLifetime) + ". Print a new one with: callbackd console"
	return c.render(w, http.StatusUnauthorized, "link", p)
}
