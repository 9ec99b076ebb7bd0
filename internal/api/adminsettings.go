package api

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/settings"
	"callbackd/wire"
)

// exportSettings answers with all API keys, or one, and their callbacks, as a file.
func (a *API) exportSettings(w http.ResponseWriter, c *call) error {
	now, err := a.Store.ReadSettings(c.Context())
	if err != nil {
		return err
	}
	if c.key != nil {
		now = slices.DeleteFunc(now, func(k callbackd.KeySettings) bool { return k.Key.ID != c.key.ID })
	}
	out, err := settings.Export(now)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

// applySettings makes the stored settings like a file, or says what it would change.
func (a *API) applySettings(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	var in wire.SettingsApplication
	err = body.Strict("The call").Read(
		request.RawObject("settings", &in.Settings, settings.MaxFile).Required(),
		request.Flag("dry_run", &in.DryRun), request.Flag("prune", &in.Prune),
		request.Text("fingerprint", &in.Fingerprint, callbackd.MaxName),
	)
	if err != nil {
		return err
	}
	file, err := settings.Read(in.Settings)
	if err != nil {
		return err
	}
	plan := settings.Planner{File: file, Options: settings.NewOptions(in.Prune, a.RequireHTTPS, time.Now()), Fingerprint: in.Fingerprint}
	show := func([]callbackd.SettingsChange) ([]byte, error) { return marshal(a.shownPlan(&plan, !in.DryRun)) }
	if in.DryRun {
		now, err := a.Store.ReadSettings(c.Context())
		if err == nil {
			_, err = plan.Changes(now)
		}
		if err != nil {
			return err
		}
	} else {
		changes, err := a.Store.ChangeSettings(once(c, http.StatusOK, show), plan.Changes)
		if err != nil {
			return err
		}
		a.tellOf(changes)
	}
	out, err := show(nil)
	if err != nil {
		return err
	}
	answerRaw(w, http.StatusOK, out)
	return nil
}

// maxTelling is how many homes are told at a time: each may take a moment to answer.
const maxTelling = 64

// tellOf tells the homes of callbacks that were changed, and waits for them.
func (a *API) tellOf(changes []callbackd.SettingsChange) {
	var telling sync.WaitGroup
	slots := make(chan struct{}, maxTelling)
	for i := range changes {
		if cb := changes[i].After; cb != nil {
			slots <- struct{}{}
			telling.Go(func() {
				defer func() { <-slots }()
				a.Dispatcher.CallbackChanged(cb.ID)
			})
		}
	}
	telling.Wait()
}

// shownPlan returns a plan with the warnings about the callbacks that it changes.
func (a *API) shownPlan(p *settings.Planner, applied bool) wire.SettingsPlan {
	out := p.Plan.Show(applied)
	out.Keys, out.Warnings = []wire.SettingsNewKey{}, []string{}
	if applied {
		out.Keys = p.Plan.NewKeys()
	}
	for i := range p.Plan.Changes {
		c := &p.Plan.Changes[i]
		if c.After == nil || c.After.Deleted() {
			continue
		}
		for _, warning := range a.warnings(c.After) {
			out.Warnings = append(out.Warnings, c.Place+": "+warning)
		}
	}
	return out
}
