package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/request"
)

// keyRow is an API key in the list.
type keyRow struct {
	callbackd.Key
	now time.Time
}

// State is the key's state in a word.
func (k keyRow) State() string { return k.Key.State(k.now) }

// TimeFrame is how long sessions of the key may take.
func (k keyRow) TimeFrame() time.Duration { return k.SessionTimeFrame() }

// keyForm is a new key as a person writes it.
type keyForm struct {
	Account, Name, TimeFrame string
	Test                     bool
}

type keysPage struct {
	base
	Rows     []keyRow
	F        keyForm
	Errors   formErrors
	Created  *callbackd.Key // whose secret is shown
	Rotated  bool           // Created is an old key with a new secret
	OldUntil time.Time      // when its old secret ends
}

func (c *Console) keysPage(req *userRequest) (*keysPage, error) {
	p := &keysPage{base: c.base(req, "keys", "API Keys"), Errors: formErrors{}}
	if !req.isOperator() {
		p.Rows = []keyRow{{*req.key, c.now()}}
		return p, nil
	}
	keys, err := c.Store.ListKeys(req.Context())
	for _, k := range slices.Backward(keys) {
		p.Rows = append(p.Rows, keyRow{k, c.now()})
	}
	return p, err
}

func (c *Console) keys(w http.ResponseWriter, req *userRequest) error {
	p, err := c.keysPage(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "keys", p)
}

// createKey shows the list with the secret of the new key. It does not redirect,
// because the secret is shown once and an address would keep it.
func (c *Console) createKey(w http.ResponseWriter, req *userRequest) error {
	f := keyForm{
		Account:   strings.TrimSpace(req.PostFormValue("account")),
		Name:      strings.TrimSpace(req.PostFormValue("name")),
		TimeFrame: formField(req.PostFormValue("frame")),
		Test:      req.PostFormValue("kind") == "test",
	}
	errs := formErrors{}
	k := c.newKey(f, errs)
	if len(errs) == 0 {
		var err error
		k, err = c.Store.CreateKey(req.Context(), k)
		if err = errs.add("", err); err != nil {
			return err
		}
	}
	p, err := c.keysPage(req) // after the key was created, so that it is listed
	if err != nil {
		return err
	}
	if len(errs) > 0 {
		p.F, p.Errors = f, errs
		return c.render(w, http.StatusBadRequest, "keys", p)
	}
	p.Created = &k
	return c.render(w, http.StatusOK, "keys", p)
}

// newKey makes the key of a form and notes the errors of the form.
func (c *Console) newKey(f keyForm, errs formErrors) callbackd.Key {
	_, err := apikey.New(f.Account, "", !f.Test, c.now())
	errs.add("account", err)
	_, err = apikey.New("account", f.Name, !f.Test, c.now())
	errs.add("name", err)
	k, _ := apikey.New(f.Account, f.Name, !f.Test, c.now()) // its errors are noted
	field := request.Duration("frame", &k.TimeFrame, callbackd.MinTimeFrame, callbackd.MaxTimeFrame)
	errs.add("frame", field.Set(f.TimeFrame))
	return k
}

// keyFromPath returns the key that the path names, when the user may see it.
func (c *Console) keyFromPath(req *userRequest) (*callbackd.Key, error) {
	key, err := c.Store.Key(req.Context(), req.PathValue("key"))
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !req.mayRead(key.ID) {
		return nil, errPageNotFound
	}
	return key, err
}

// keyPage is a page about one key.
type keyPage struct {
	base
	Key *callbackd.Key
}

func (c *Console) rotatePage(w http.ResponseWriter, req *userRequest) error {
	key, err := c.keyFromPath(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "key-rotate", &keyPage{c.base(req, "keys", "Rotate API secret"), key})
}

// rotateKey shows the list with the new secret, as createKey does.
func (c *Console) rotateKey(w http.ResponseWriter, req *userRequest) error {
	key, err := c.keyFromPath(req)
	if err != nil {
		return err
	}
	keep, err := readKeep(req.Request)
	if err != nil {
		return err
	}
	rotated := *key
	rotated.Secret = apikey.Secret()
	until := c.now().Add(keep)
	err = c.Store.ChangeKey(req.Context(), key.APIKey, func(k *callbackd.Key) error { return k.Rotate(rotated.Secret, until) })
	if err != nil {
		return err
	}
	p, err := c.keysPage(req)
	if err != nil {
		return err
	}
	p.Created, p.Rotated, p.OldUntil = &rotated, true, until
	return c.render(w, http.StatusOK, "keys", p)
}

func (c *Console) revokePage(w http.ResponseWriter, req *userRequest) error {
	key, err := c.keyFromPath(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "key-revoke", &keyPage{c.base(req, "keys", "Revoke API key"), key})
}

func (c *Console) revokeKey(w http.ResponseWriter, req *userRequest) error {
	now := c.now()
	err := c.Store.ChangeKey(req.Context(), req.PathValue("key"), func(k *callbackd.Key) error {
		k.Revoke(now)
		return nil
	})
	if err != nil {
		return err
	}
	return redirect(w, req, link("keys"), "revoked")
}
