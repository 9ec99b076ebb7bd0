package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const (
	cookieName = "callbackd_console"
	// loginLasts bounds a login; revoking the key or changing the operator
	// token ends it at once.
	loginLasts = 7 * 24 * time.Hour
	// LinkLasts is how long a one-time link waits for its visitor.
	LinkLasts = 10 * time.Minute
	// MinOperatorToken is the least length of an operator token, in bytes.
	MinOperatorToken = 16
)

// NewLink makes a one-time link for the operator and the login to store for
// it. base is where the server is, such as http://127.0.0.1:8080.
func NewLink(base string, now time.Time) (address string, l store.Login) {
	token := rand.Text()
	l = store.Login{Hash: sha256.Sum256([]byte(token)), Link: true, CreatedAt: now, ExpiresAt: now.Add(LinkLasts)}
	return strings.TrimSuffix(base, "/") + withQuery(link("link"), "token", token), l
}

// proof binds a login to the secret it was got with: when the secret changes,
// the login is void. The browser's token salts it.
func proof(token string, secret callbackd.Secret) [32]byte {
	return sha256.Sum256([]byte(token + "\x00" + secret.Reveal()))
}

// byLink is the secret of a login that a link made.
const byLink callbackd.Secret = "link"

// visitor is who is signed in; nil when nobody is.
func (c *Console) visitor(r *http.Request) (*visit, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return nil, nil
	}
	hash := sha256.Sum256([]byte(cookie.Value))
	l, err := c.Store.Login(r.Context(), hash, c.now())
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := &visit{Request: r, login: hash}
	secrets := []callbackd.Secret{byLink}
	if l.Key == 0 && c.OperatorToken != "" {
		secrets = append(secrets, c.OperatorToken)
	}
	if l.Key != 0 {
		if v.key, err = c.Store.KeyByID(r.Context(), l.Key); err != nil || v.key.Revoked() {
			return nil, err
		}
		secrets = v.key.Secrets(c.now())
	}
	for _, s := range secrets {
		if want := proof(cookie.Value, s); subtle.ConstantTimeCompare(l.Proof[:], want[:]) == 1 {
			return v, nil
		}
	}
	return nil, nil
}

// toDoor sends a browser to sign in, and back afterwards. A stream or a form
// is not repeated after it.
func (c *Console) toDoor(w http.ResponseWriter, r *http.Request) {
	to := link("sign-in")
	if r.Method == http.MethodGet && r.Header.Get("Accept") != "text/event-stream" && r.URL.Path != link() {
		to = withQuery(to, "next", r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// safeNext is where to go after signing in: a page of ours or the first one.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, Root+"/") || strings.ContainsAny(next, "\\\r\n") || strings.Contains(u.Path, "..") || strings.HasPrefix(u.Path, Root+"/sign-") {
		return link()
	}
	return u.RequestURI()
}

type doorPage struct {
	base
	As      string // "key" or "operator"
	Next    string
	APIKey  string
	Token   string // of a link
	ByToken bool   // the operator token is set
	Fault   string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) error {
	if v, err := c.visitor(r); err != nil {
		return err
	} else if v != nil {
		return toRoot(w, r)
	}
	as := "key"
	if r.URL.Query().Get("as") == "operator" {
		as = "operator"
	}
	b := c.doorBase("Sign in")
	b.Notice = notices[r.URL.Query().Get("done")]
	return c.render(w, http.StatusOK, "sign-in", &doorPage{base: b, As: as, Next: r.URL.Query().Get("next"), ByToken: c.OperatorToken != ""})
}

func (c *Console) doorBase(title string) base { return base{Title: title, Version: c.Version} }

// signIn checks a key and its secret, or the operator's token. What is wrong
// is not said, and takes the same time. What is right always passes: tries of
// strangers must not keep anybody out.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) error {
	p := &doorPage{base: c.doorBase("Sign in"), As: r.PostFormValue("as"), Next: r.PostFormValue("next"), APIKey: strings.TrimSpace(r.PostFormValue("api_key")), ByToken: c.OperatorToken != ""}
	doors := []string{"from " + remote(r)}
	if p.As != "operator" {
		p.As = "key"
		name := sha256.Sum256([]byte(p.APIKey))
		doors = append(doors, "key "+string(name[:8]))
	}
	no, secret, err := c.check(r, p)
	if err != nil {
		return err
	}
	if secret == "" {
		wait := c.doors.enter(c.now(), doors...)
		c.refused.warn(c.now(), c.Log, r, p.As, wait > 0)
		if wait > 0 {
			p.Fault = "Too many tries. Wait " + wait.Round(time.Second).String() + " and try again."
			w.Header().Set("Retry-After", "10")
			return c.render(w, http.StatusTooManyRequests, "sign-in", p)
		}
		p.Fault = "This API key and secret do not belong together, or the key was revoked."
		if p.As == "operator" {
			p.Fault = "This is not the operator token."
		}
		return c.render(w, http.StatusUnauthorized, "sign-in", p)
	}
	return c.admit(w, r, no, secret, p.Next)
}

// check is the key number and the secret that was right; no secret: it was not.
func (c *Console) check(r *http.Request, p *doorPage) (callbackd.KeyID, callbackd.Secret, error) {
	same := func(given string, want callbackd.Secret) bool {
		a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want.Reveal()))
		return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
	}
	if p.As == "operator" {
		if same(r.PostFormValue("token"), c.OperatorToken) {
			return 0, c.OperatorToken, nil
		}
		return 0, "", nil
	}
	key, err := c.Store.Key(r.Context(), p.APIKey)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return 0, "", err
	}
	if err != nil || key.Revoked() {
		key = &callbackd.Key{}
	}
	for _, secret := range key.Secrets(c.now()) {
		if same(strings.TrimSpace(r.PostFormValue("secret")), secret) {
			return key.ID, secret, nil
		}
	}
	return 0, "", nil
}

// admit makes a login and hands its token to the browser.
func (c *Console) admit(w http.ResponseWriter, r *http.Request, key callbackd.KeyID, secret callbackd.Secret, next string) error {
	now := c.now()
	token := rand.Text()
	l := store.Login{Hash: sha256.Sum256([]byte(token)), Key: key, Proof: proof(token, secret), CreatedAt: now, ExpiresAt: now.Add(loginLasts)}
	if err := c.Store.CreateLogin(r.Context(), l); err != nil {
		return err
	}
	if old, err := r.Cookie(cookieName); err == nil {
		if err := c.Store.DeleteLogin(r.Context(), sha256.Sum256([]byte(old.Value))); err != nil {
			return err
		}
	}
	c.setCookie(w, r, token, int(loginLasts/time.Second))
	c.Log.Info("signed in to the console", "key", int64(key), "operator", key == 0, "from", remote(r))
	http.Redirect(w, r, safeNext(next), http.StatusSeeOther)
	return nil
}

func (c *Console) setCookie(w http.ResponseWriter, r *http.Request, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: Base(c.Public) + Root, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: c.secure(r)})
}

// signOut ends the login in the store, not only in the browser.
func (c *Console) signOut(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if err := c.Store.DeleteLogin(r.Context(), sha256.Sum256([]byte(cookie.Value))); err != nil {
			return err
		}
	}
	c.setCookie(w, r, "", -1)
	http.Redirect(w, r, withQuery(link("sign-in"), "done", "signed-out"), http.StatusSeeOther)
	return nil
}

// linkPage asks before it uses a link up: programs that look at links for
// people must not.
func (c *Console) linkPage(w http.ResponseWriter, r *http.Request) error {
	return c.render(w, http.StatusOK, "link", &doorPage{base: c.doorBase("Sign in"), Token: r.URL.Query().Get("token")})
}

func (c *Console) link(w http.ResponseWriter, r *http.Request) error {
	l, err := c.Store.TakeLink(r.Context(), sha256.Sum256([]byte(r.PostFormValue("token"))), c.now())
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		wait := c.doors.enter(c.now(), "from "+remote(r))
		c.refused.warn(c.now(), c.Log, r, "link", wait > 0)
		if wait > 0 {
			return callbackd.Errorf(callbackd.KindLimited, "Too many tries. Wait %v and try again.", wait.Round(time.Second))
		}
		p := &doorPage{base: c.doorBase("Sign in"), Fault: "This link was used already, or is older than 10 minutes. Print another with: callbackd console"}
		return c.render(w, http.StatusUnauthorized, "link", p)
	}
	if err != nil {
		return err
	}
	return c.admit(w, r, l.Key, byLink, "")
}
