package console

import (
	"net/http"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
)

// maxTried is how many events of a trial the page shows.
const maxTried = 20

// filterTrial is what the filter and the fields of a form would do with the latest events.
type filterTrial struct {
	Events   int
	Matching int
	Rows     []callbacks.Tried // the first of them
	Problems []string          // why nothing was tried
}

// tryFilter shows the form of a callback with the result of its filter and fields, and
// saves nothing. The script of the page asks for it while one types, and takes the
// result alone.
func (c *Console) tryFilter(w http.ResponseWriter, req *userRequest, p *callbackFormPage, key *callbackd.Key) error {
	t := callbacks.Trial{Session: p.Session}
	p.Errors = formErrors{}
	p.F.read(p.Errors,
		request.EventType("event", &t.Type).Optional(),
		callbacks.FilterField("filter", &t.Filter),
		callbacks.FieldsField("fields", &t.Fields),
	)
	p.Trial = &filterTrial{}
	if key == nil {
		p.Errors.add("key", errChooseKey)
	}
	if len(p.Errors) > 0 {
		for _, field := range []string{"key", "event", "filter", "fields"} {
			if problem := p.Errors[field]; problem != "" {
				p.Trial.Problems = append(p.Trial.Problems, problem)
			}
		}
		return c.renderForm(w, http.StatusOK, p) // half of a filter is not an error while one types
	}
	if err := c.allowChange(req, key.ID); err != nil {
		return c.renderRefusal(w, p, err)
	}
	tried, err := t.Run(req.Context(), c.Store, key.ID)
	if err != nil {
		return err
	}
	p.Trial.Events, p.Trial.Matching, p.Trial.Rows = len(tried), callbacks.Matching(tried), tried[:min(len(tried), maxTried)]
	return c.renderForm(w, http.StatusOK, p)
}
