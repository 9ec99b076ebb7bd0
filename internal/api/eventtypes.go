package api

import (
	"net/http"
	"slices"
	"sync"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/openapi"
	"callbackd/wire"
)

// EventKinds returns the catalogue of events: the requests to receivers that the OpenAPI
// document describes, with their schemas.
var EventKinds = sync.OnceValues(func() ([]wire.EventKind, error) {
	root, err := openapi.Parse(openAPI)
	if err != nil {
		return nil, err
	}
	var out []wire.EventKind
	for _, t := range callbackd.EventTypes {
		request := root.Get("webhooks", string(t), "post")
		schema, err := request.Get("requestBody", "content", "application/json", "schema").Schema(root)
		if err != nil {
			return nil, err
		}
		k := wire.EventKind{Type: string(t), Group: "session", Description: request.Get("summary").Text(), Schema: schema, Sample: callbacks.SampleBody(t)}
		if t.IsNotice() {
			k.Group = "notice"
		}
		out = append(out, k)
	}
	return out, nil
})

func (a *API) listEventTypes(w http.ResponseWriter, _ *call) error {
	kinds, err := EventKinds()
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, wire.EventKindList{Data: kinds})
	return nil
}

func (a *API) getEventType(w http.ResponseWriter, c *call) error {
	kinds, err := EventKinds()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(kinds, func(k wire.EventKind) bool { return k.Type == c.PathValue("type") })
	if i < 0 {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s. GET /v1/event-types lists all of them.", callbackd.Clip(c.PathValue("type"), 60))
	}
	answer(w, http.StatusOK, kinds[i])
	return nil
}
