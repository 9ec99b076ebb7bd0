package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/eventtypes"
	"callbackd/internal/openapi"
	"callbackd/internal/store"
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
			if k.Schema, err = ofOneNotice(k.Schema, t); err != nil {
				return nil, err
			}
		}
		out = append(out, k)
	}
	return out, nil
})

// ofOneNotice returns the schema that all notices share for one of them: its member event
// is this type.
func ofOneNotice(schema json.RawMessage, t callbackd.EventType) (json.RawMessage, error) {
	all, err := json.Marshal(callbackd.NoticeTypes)
	if err != nil {
		return nil, err
	}
	before, after, found := bytes.Cut(schema, append([]byte(`"event":{"type":"string","enum":`), append(all, '}')...))
	if !found {
		return nil, fmt.Errorf("the schema of notices in openapi.yaml does not have all their types as its events, in their order: %s", all)
	}
	return slices.Concat(before, []byte(`"event":{"type":"string","const":"`+string(t)+`"}`), after), nil
}

// builtIn returns the catalogue without checks. The document is part of the program, and a
// test reads it.
func builtIn() *eventtypes.Catalogue {
	kinds, err := EventKinds()
	if err != nil {
		panic(err)
	}
	c, err := eventtypes.New(kinds, eventtypes.Off)
	if err != nil {
		panic(err)
	}
	return c
}

func (a *API) listEventTypes(w http.ResponseWriter, _ *call) error {
	answer(w, http.StatusOK, wire.EventKindList{Data: a.Events.Kinds()})
	return nil
}

func (a *API) getEventType(w http.ResponseWriter, c *call) error {
	kind, ok := a.Events.Kind(callbackd.EventType(c.PathValue("type")))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s. GET /v1/event-types lists all of them.", callbackd.Clip(c.PathValue("type"), 60))
	}
	answer(w, http.StatusOK, kind)
	return nil
}

// checkTypes refuses events of a type that the platform does not have, or has no longer.
func (a *API) checkTypes(events []store.NewEvent, many bool) error {
	for i := range events {
		if err := a.checkType(events[i].Type); err != nil {
			if many {
				return callbackd.Invalid("Event %d of the array: %v", i+1, err)
			}
			return err
		}
	}
	return nil
}

func (a *API) checkType(t callbackd.EventType) error {
	if t.IsOwn() && !a.Events.Has(t) {
		return store.NoEventType(t)
	}
	return nil
}

// misfit is logged once a minute.
const misfit = "a published event does not fit the schema of its type"

// checkEvents checks the data of published events against the schemas of their types. It
// returns the warning of each event, or nil when there are none. An event that does not
// fit is an error when such events are refused.
func (a *API) checkEvents(events []store.NewEvent, many bool) (warnings []string, err error) {
	if !a.Events.Checks() {
		return nil, nil
	}
	for i := range events {
		ev := &events[i]
		faults := a.Events.Check(ev.Type, ev.Data)
		if faults == nil {
			continue
		}
		a.Misfit(a.Events.Refuses())
		a.Log.Warn(misfit, "event", string(ev.Type), "refused", a.Events.Refuses(), "faults", len(faults))
		if a.Events.Refuses() {
			err := callbackd.Invalid("The data does not fit the schema of %s, which GET /v1/event-types/%s shows. %s", ev.Type, ev.Type, strings.Join(faults, " "))
			if many {
				err = callbackd.Invalid("Event %d of the array: %v", i+1, err)
			}
			return nil, err
		}
		if warnings == nil {
			warnings = make([]string, len(events))
		}
		warnings[i] = strings.Join(faults, " ")
	}
	return warnings, nil
}
