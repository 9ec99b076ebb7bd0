package console

import (
	"cmp"
	"net/http"

	"callbackd"
)

// eventSample is an event of the catalogue beside the form of a callback.
type eventSample struct {
	Type, Description string
	Body              string // a whole body, indented
	Open              bool   // it is the event of the form
}

// renderForm renders the form of a callback, with the bodies of the events that it may choose
// beside it. The form of a stored callback has its own event only.
func (c *Console) renderForm(w http.ResponseWriter, status int, p *callbackFormPage) error {
	chosen := cmp.Or(p.F["event"], string(callbackd.EventTypes[0]))
	for _, k := range c.Events() {
		if p.New || k.Type == chosen {
			p.Samples = append(p.Samples, eventSample{k.Type, k.Description, indented(string(k.Sample)), k.Type == chosen})
		}
	}
	return c.render(w, status, "callback-form", p)
}
