package console

import (
	"net/http"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
)

type keyRow struct{ callbackd.Key }

// State is the key's state in a word.
func (k keyRow) State() string {
	if k.Revoked() {
		return "revoked"
	}
	return "in force"
}

type keyForm struct {
	Account, Name, Frame string
	Test                 bool
}

type keysPage struct {
	base
	Rows    []keyRow
	F       keyForm
	Wrong   wrong
	Created *callbackd.Key
	Rotated bool // Created has a new secret only
	Until   time.Time
}

func (c *Console) keysPage(v *visit) (*keysPage, error) {
	p := &keysPage{base: c.base(v, "keys", "API Keys")}
	if !v.operator() {
		p.Rows = []keyRow{{*v.key}}
		return p, nil
	}
	keys, err := c.Store.ListKeys(v.Context())
	for i := len(keys) - 1; i >= 0; i-- {
		p.Rows = append(p.Rows, keyRow{keys[i]})
	}
	return p, err
}

func (c *Console) keys(w http.ResponseWriter, v *visit) error {
	p, err := c.keysPage(v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "keys", p)
}

// createKey answers with the page itself: the secret is shown this once, and
// a redirect would have to carry it.
func (c *Console) createKey(w http.ResponseWriter, v *visit) error {
	f := keyForm{Account: strings.TrimSpace(v.PostFormValue("account")), Name: strings.TrimSpace(v.PostFormValue("name")), Test: v.PostFormValue("kind") == "test"}
	f.Frame = field(v.PostFormValue("frame"))
	bad := wrong{}
	_, err := apikey.New(f.Account, "", !f.Test, c.now())
	bad.add("account", err)
	_, err = apikey.New("account", f.Name, !f.Test, c.now())
	bad.add("name", err)
	k, _ := apikey.New(f.Account, f.Name, !f.Test, c.now())
	if f.Frame != "" {
		k.TimeFrame, err = callbackd.ParseDuration(f.Frame)
		if err != nil || k.TimeFrame < callbackd.MinTimeFrame || k.TimeFrame > callbackd.MaxTimeFrame {
			bad.add("frame", callbackd.Errorf(callbackd.KindInvalid, "It must be a duration from %s to %s, such as 7d.", callbackd.FormatDuration(callbackd.MinTimeFrame), callbackd.FormatDuration(callbackd.MaxTimeFrame)))
		}
	}
	if len(bad) == 0 {
		k, err = c.Store.CreateKey(v.Context(), k)
		if err = bad.add("", err); err != nil {
			return err
		}
	}
	p, err := c.keysPage(v)
	if err != nil {
		return err
	}
	if p.Wrong = bad; len(bad) > 0 {
		p.F = f
		return c.render(w, http.StatusBadRequest, "keys", p)
	}
	p.Created = &k
	return c.render(w, http.StatusOK, "keys", p)
}

// Frame is how long the key's sessions may take.
func (k keyRow) Frame() time.Duration { return k.SessionTimeFrame() }

// keyNamed is the key that the path names, when it may be seen.
func (c *Console) keyNamed(v *visit) (*callbackd.Key, error) {
	key, err := c.Store.Key(v.Context(), v.PathValue("key"))
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !v.sees(key.ID) {
		return nil, errNoPage
	}
	return key, err
}

func (c *Console) rotatePage(w http.ResponseWriter, v *visit) error {
	key, err := c.keyNamed(v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "key-rotate", &revokePage{c.base(v, "keys", "Rotate API secret"), key})
}

// rotateKey answers with the page itself, as createKey does.
func (c *Console) rotateKey(w http.ResponseWriter, v *visit) error {
	key, err := c.keyNamed(v)
	if err != nil {
		return err
	}
	keep, err := readKeep(v.PostFormValue("keep"))
	if err != nil {
		return err
	}
	until := c.now().Add(keep)
	secret := apikey.Secret()
	if err := c.Store.RotateKey(v.Context(), key.APIKey, secret, until); err != nil {
		return err
	}
	p, err := c.keysPage(v)
	if err != nil {
		return err
	}
	made := *key
	made.Secret = secret
	p.Created, p.Rotated, p.Until = &made, true, until
	return c.render(w, http.StatusOK, "keys", p)
}

// readKeep reads how long an old secret signs too.
func readKeep(s string) (time.Duration, error) {
	keep, err := callbackd.ParseDuration(s)
	if err != nil || keep < 0 || keep > callbacks.MaxKeep {
		return 0, callbackd.Errorf(callbackd.KindInvalid, "An old secret signs too for 0s to %s.", callbackd.FormatDuration(callbacks.MaxKeep))
	}
	return keep, nil
}

type revokePage struct {
	base
	Key *callbackd.Key
}

func (c *Console) revokePage(w http.ResponseWriter, v *visit) error {
	key, err := c.keyNamed(v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "key-revoke", &revokePage{c.base(v, "keys", "Revoke API key"), key})
}

func (c *Console) revokeKey(w http.ResponseWriter, v *visit) error {
	if err := c.Store.RevokeKey(v.Context(), v.PathValue("key"), c.now()); err != nil {
		return err
	}
	return see(w, v, link("keys"), "revoked")
}
