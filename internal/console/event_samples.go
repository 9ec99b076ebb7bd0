package console

import (
	"cmp"
	"net/http"
	"strings"

	"callbackd"
)

// eventSample is an event of the catalogue beside the form of a callback.
type eventSample struct {
	Type, Description string
	Body              string // a whole body, indented
	Open              bool   // it is the event of the form
}

// renderForm renders the form of a callback, with the bodies of the events that it may choose
// beside it. The form of a stored callback has its own events only.
func (c *Console) renderForm(w http.ResponseWriter, status int, p *callbackFormPage) error {
	first, _, _ := strings.Cut(p.F["events"], " ")
	chosen := cmp.Or(p.F["event"], first, string(callbackd.EventTypes[0]))
	for _, k := range c.Events.Kinds() {
		if p.New || k.Type == chosen || p.Session != "" && p.Gets(callbackd.EventType(k.Type)) {
			p.Samples = append(p.Samples, eventSample{k.Type, k.Description, indented(string(k.Sample)), k.Type == chosen})
		}
	}
	return c.render(w, status, "callback-form", p)
}
