package console

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// eraseGroupPage shows an erasure over all API keys.
type eraseGroupPage struct {
	base
	G      wire.EraseGroup
	Name   string // by what it is chosen
	Counts []countRow
	Rows   []eraseRow
	Gone   int // how many of its erasures are no longer stored
	confirmation
}

// eraseGroupRow is an erasure over all API keys in a list.
type eraseGroupRow struct {
	wire.EraseGroup
	Name string // by what it is chosen
}

type eraseGroupsPage struct {
	base
	list
	Rows []eraseGroupRow
	Tabs []tab
}

// eraseGroups lists the erasures over all API keys.
func (c *Console) eraseGroups(w http.ResponseWriter, req *userRequest) error {
	p := &eraseGroupsPage{base: c.base(req, "erases", "Erasures over all API keys"), list: newList(link("erase-groups"), nil), Tabs: eraseTabs(true)}
	var after callbackd.EraseGroupID
	if err := readCursor(&p.list, req.URL.Query(), &after, callbackd.ParseEraseGroupID); err != nil {
		return err
	}
	p.refreshFirst(&p.list, 2)
	page, err := c.Store.ListEraseGroups(req.Context(), store.EraseGroupQuery{After: after, Limit: pageRows})
	if err != nil {
		return err
	}
	for i := range page.Groups {
		g, err := view.EraseGroup(&page.Groups[i], nil)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, eraseGroupRow{g, eraseNames[g.By]})
	}
	if page.Next != 0 {
		p.setNext(page.Next.String())
	}
	return c.render(w, http.StatusOK, "erase-groups", p)
}

// startErases starts an erasure or a dry run of what has a value in all API keys, or what the dry
// run of e.Group has counted.
func (c *Console) startErases(req *userRequest, e callbackd.Erase, value string) (*callbackd.EraseGroup, error) {
	normal, ok := e.By.EraseValue(value)
	if !ok {
		return nil, e.By.ErrValue(value)
	}
	var ids []callbackd.KeyID
	if e.Group == 0 {
		keys, err := callbacks.KeysToErase(req.Context(), c.Store, e.By, normal)
		if err != nil {
			return nil, err
		}
		for i := range keys {
			ids = append(ids, keys[i].ID)
		}
	}
	e.CreatedAt = c.now().UTC().Truncate(time.Millisecond)
	made, err := c.Store.CreateErases(req.Context(), e, ids, normal)
	if callbackd.KindOf(err) == callbackd.KindLimited {
		err = callbackd.Errorf(callbackd.KindLimited, "Nothing was started in any API key. %s", callbackd.Sentence(err))
	}
	if err == nil {
		c.Dispatcher.ReplaysChanged()
	}
	return made, err
}

// eraseGroupFromPath returns the erasure over all API keys that the path names.
func (c *Console) eraseGroupFromPath(req *userRequest) (*callbackd.EraseGroup, error) {
	id, ok := callbackd.ParseEraseGroupID(req.PathValue("group"))
	if !ok {
		return nil, errPageNotFound
	}
	g, err := c.Store.EraseGroup(req.Context(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, errPageNotFound
	}
	return g, err
}

// eraseGroup shows how far an erasure over all API keys is, and its receipt when it has ended.
func (c *Console) eraseGroup(w http.ResponseWriter, req *userRequest) error {
	g, err := c.eraseGroupFromPath(req)
	if err != nil {
		return err
	}
	p, err := c.newEraseGroupPage(req, g)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "erase-group", p)
}

func (c *Console) newEraseGroupPage(req *userRequest, g *callbackd.EraseGroup) (*eraseGroupPage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	names, labels := map[callbackd.KeyID]string{}, map[callbackd.KeyID]string{}
	for _, k := range s.Keys {
		names[k.ID], labels[k.ID] = k.APIKey, s.KeyLabel(k)
	}
	title := "Erasure over all API keys"
	if g.Erases[0].DryRun {
		title = "Dry run over all API keys"
	}
	p := &eraseGroupPage{base: c.base(req, "erases", title), Gone: g.Keys - len(g.Erases)}
	if p.G, err = view.EraseGroup(g, names); err != nil {
		return nil, err
	}
	p.Name, p.Counts = eraseNames[p.G.By], eraseCounts(p.G.Counts)
	for i := range p.G.Data {
		p.Rows = append(p.Rows, eraseRow{p.G.Data[i], labels[g.Erases[i].Key]})
	}
	if g.Running() {
		p.Refresh, p.Reload = 1, 1
	}
	_, _, notCounted := g.Counted()
	p.confirmation = confirmation{Ready: notCounted == nil && p.MayChange, Typed: g.Erases[0].By != callbackd.EraseSession, By: p.Name, Confirm: link("erase-groups", g.ID, "confirm"), Errors: formErrors{}}
	return p, nil
}

// confirmEraseGroup erases in all API keys what a dry run has counted in them.
func (c *Console) confirmEraseGroup(w http.ResponseWriter, req *userRequest) error {
	if err := req.ParseForm(); err != nil {
		return errFormCut
	}
	g, err := c.eraseGroupFromPath(req)
	if err != nil {
		return err
	}
	if _, _, err := g.Counted(); err != nil {
		return err
	}
	by, value := g.Erases[0].By, req.PostFormValue("value")
	if by == callbackd.EraseSession {
		value = g.Erases[0].Subject
	}
	made, err := c.startErases(req, callbackd.Erase{By: by, Group: g.ID}, value)
	if err == nil {
		return redirect(w, req, link("erase-groups", made.ID), "")
	}
	p, viewErr := c.newEraseGroupPage(req, g)
	if viewErr != nil {
		return viewErr
	}
	if err := p.refuse(err); err != nil {
		return err
	}
	return c.render(w, http.StatusBadRequest, "erase-group", p)
}
