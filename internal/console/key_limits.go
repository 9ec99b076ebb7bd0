package console

import (
	"net/http"
	"strconv"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/view"
	"callbackd/wire"
)

// limitFields are the fields of the form with the limits of a key.
var limitFields = []string{"publish_rate", "pending_deliveries", "pending_bytes", "callbacks", "callback_policy", "retention", "retention_events"}

// limitsPage shows the limits of a key, and what it uses of them.
type limitsPage struct {
	keyPage
	L      wire.Limits
	Policy string // for callbacks of the key
	F      typed
	Errors formErrors
}

func (c *Console) newLimitsPage(req *userRequest, key *callbackd.Key) (*limitsPage, error) {
	l, err := view.Limits(req.Context(), c.Store, c.Limits, key)
	if err != nil {
		return nil, err
	}
	return &limitsPage{keyPage: keyPage{c.base(req, "keys", "Limits"), key}, L: l, Policy: key.CallbackPolicy}, nil
}

func (c *Console) limitsPage(w http.ResponseWriter, req *userRequest) error {
	key, err := c.keyFromPath(req)
	if err != nil {
		return err
	}
	p, err := c.newLimitsPage(req, key)
	if err != nil {
		return err
	}
	p.F = typed{"callback_policy": key.CallbackPolicy, "retention_events": key.RetentionEvents}
	if key.Retention != 0 {
		p.F["retention"] = callbackd.FormatDuration(key.Retention)
	}
	for name, limit := range map[string]float64{
		"publish_rate": key.Limits.PublishRate, "pending_deliveries": float64(key.Limits.Pending),
		"pending_bytes": float64(key.Limits.PendingBytes), "callbacks": float64(key.Limits.Callbacks),
	} {
		if limit != 0 { // the form says 0 for no limit
			p.F[name] = strconv.FormatFloat(max(0, limit), 'f', -1, 64)
		}
	}
	return c.render(w, http.StatusOK, "key-limits", p)
}

// setLimits replaces the limits of a key by those of the form. A field that is empty gets
// the server's default.
func (c *Console) setLimits(w http.ResponseWriter, req *userRequest) error {
	key, err := c.keyFromPath(req)
	if err != nil {
		return err
	}
	f, err := readForm(req.Request, limitFields...)
	if err != nil {
		return err
	}
	var next callbackd.Key
	errs := formErrors{}
	errs.addAll(request.Values(f.values()).ReadAll(append(apikey.LimitFields(&next.Limits), apikey.RetentionField(&next.Retention))...))
	if f["callback_policy"] != "" {
		errs.add("callback_policy", callbacks.KeyPolicyField(&next.CallbackPolicy).Read(request.Value{Name: "callback_policy", JSON: []byte(f["callback_policy"])}))
	}
	if f["retention_events"] != "" {
		errs.add("retention_events", apikey.RetentionsField(&next.RetentionEvents).Read(request.Value{Name: "retention_events", JSON: []byte(f["retention_events"])}))
	}
	if len(errs) > 0 {
		p, err := c.newLimitsPage(req, key)
		if err != nil {
			return err
		}
		p.F, p.Errors = f, errs
		return c.render(w, http.StatusBadRequest, "key-limits", p)
	}
	err = c.Store.ChangeKey(req.Context(), key.APIKey, func(k *callbackd.Key) error {
		k.Limits, k.CallbackPolicy = next.Limits, next.CallbackPolicy
		k.Retention, k.RetentionEvents = next.Retention, next.RetentionEvents
		return nil
	})
	if err != nil {
		return err
	}
	return redirect(w, req, link("keys", key.APIKey, "limits"), "saved")
}
