package console

import (
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/apikey"
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
	Account, Name string
	Test          bool
}

type keysPage struct {
	base
	Rows    []keyRow
	F       keyForm
	Fault   string
	Created *callbackd.Key
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
	k, err := apikey.New(f.Account, f.Name, !f.Test, c.now())
	if err == nil {
		k, err = c.Store.CreateKey(v.Context(), k)
	}
	status, invalid := http.StatusOK, callbackd.KindOf(err) == callbackd.KindInvalid
	if err != nil && !invalid {
		return err
	}
	p, errList := c.keysPage(v)
	if errList != nil {
		return errList
	}
	if invalid {
		p.F, p.Fault, status = f, sentence(err), http.StatusBadRequest
	} else {
		p.Created = &k
	}
	return c.render(w, status, "keys", p)
}

type revokePage struct {
	base
	Key *callbackd.Key
}

func (c *Console) revokePage(w http.ResponseWriter, v *visit) error {
	key, err := c.Store.Key(v.Context(), v.PathValue("key"))
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "key-revoke", &revokePage{c.base(v, "keys", "Revoke API key"), key})
}

func (c *Console) revokeKey(w http.ResponseWriter, v *visit) error {
	if err := c.Store.RevokeKey(v.Context(), v.PathValue("key"), c.now()); err != nil {
		return err
	}
	return see(w, v, "/keys", "revoked")
}
