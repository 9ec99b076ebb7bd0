package console

import (
	"net"
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/humanize"
)

// allowFrames lets the pages of FrameAncestors show this one in a frame.
func (c *Console) allowFrames(w http.ResponseWriter) {
	if len(c.FrameAncestors) > 0 {
		w.Header().Set("Content-Security-Policy", policy+strings.Join(c.FrameAncestors, " "))
	}
}

// framable serves pages that may be shown in a frame.
func (c *Console) framable(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.allowFrames(w)
		h.ServeHTTP(w, r)
	})
}

// isLoopback reports whether the browser reached the server at an address of its own machine,
// which browsers trust as they trust TLS.
func isLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return callbackd.IsLoopbackHost(strings.Trim(host, "[]"))
}

// enterPage asks before it uses up a link for a customer, because programs that check links
// open them too.
func (c *Console) enterPage(w http.ResponseWriter, r *http.Request) error {
	p := &signInForm{base: c.signedOutBase("Sign in"), Token: r.URL.Query().Get("token")}
	return c.render(w, http.StatusOK, "enter", p)
}

// enter signs a browser in by a link for a customer, and uses the link up.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) error {
	login, err := c.Store.TakeLogin(r.Context(), HashToken(r.PostFormValue("token")))
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return err
	}
	if err != nil || !login.Link || login.Key == 0 || login.Customer.Role.Includes(callbackd.ConsoleHolder) || !login.Customer.Role.Includes(callbackd.ConsoleViewer) || login.Expired(c.now()) {
		return c.refuseEntry(w, r)
	}
	key, err := c.Store.KeyByID(r.Context(), login.Key)
	if err != nil {
		return err
	}
	if !key.InForce(c.now()) {
		return c.refuseEntry(w, r)
	}
	return c.startLogin(w, r, *login, linkProof, "")
}

// refuseEntry refuses a link. A browser that is signed in by a link goes on: the person has
// pressed the button twice.
func (c *Console) refuseEntry(w http.ResponseWriter, r *http.Request) error {
	if req, err := c.authenticate(r); err == nil && req != nil && req.customer.Role != "" {
		return redirectToRoot(w, r)
	}
	if wait := c.takeAttempt(r, "link"); wait > 0 {
		return callbackd.Errorf(callbackd.KindLimited, "%s", tooManyAttempts(wait))
	}
	p := &signInForm{base: c.signedOutBase("Sign in")}
	p.Fault = "This link was used already, or is older than " + humanize.Duration(LinkLifetime) + ". Go back to where you came from, and open the page again."
	return c.render(w, http.StatusUnauthorized, "enter", p)
}

// endOfVisit answers in a frame that nobody is signed in any more.
func (c *Console) endOfVisit(w http.ResponseWriter, r *http.Request) {
	c.allowFrames(w)
	p := &signInForm{base: c.signedOutBase("Sign in"), Fault: "You are not signed in, or your time has ended. Go back to where you came from, and open the page again."}
	if err := c.render(w, http.StatusUnauthorized, "enter", p); err != nil {
		c.fail(w, r, nil, err)
	}
}
