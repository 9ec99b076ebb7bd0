package console

import (
	"net/http"

	"callbackd"
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
}

// eraseGroup shows how far an erasure over all API keys is, and its receipt when it has ended.
func (c *Console) eraseGroup(w http.ResponseWriter, req *userRequest) error {
	id, ok := callbackd.ParseEraseGroupID(req.PathValue("group"))
	if !ok {
		return errPageNotFound
	}
	g, err := c.Store.EraseGroup(req.Context(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	s, err := c.scope(req)
	if err != nil {
		return err
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
		return err
	}
	p.Name, p.Counts = eraseNames[p.G.By], eraseCounts(p.G.Counts)
	for i := range p.G.Data {
		p.Rows = append(p.Rows, eraseRow{p.G.Data[i], labels[g.Erases[i].Key]})
	}
	if g.Running() {
		p.Refresh, p.Reload = 1, 1
	}
	return c.render(w, http.StatusOK, "erase-group", p)
}
