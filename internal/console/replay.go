package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"callbackd"
)

type replayPage struct {
	base
	R         *callbackd.Replay
	Percent   string
	Selection []string // what it replays
	Bars      []bar
	TimeLeft  string
}

func (c *Console) replay(w http.ResponseWriter, req *userRequest) error {
	r, err := c.replayFromPath(req)
	if err != nil {
		return err
	}
	p := &replayPage{
		base:    c.base(req, "replays", replayTitle(r)),
		R:       r,
		Percent: percent(ended(r), r.Total),
		Bars: shareBars([]sharePart{
			{r.Delivered, "f-ok"},
			{r.Failed, "f-bad"},
			{r.Canceled + r.Skipped, "f-idle"},
			{r.Pending(), "f-accent"},
			{r.Total - ended(r) - r.Pending(), ""},
		}),
	}
	if !r.State.Ended() || r.Pending() > 0 {
		p.Refresh = 1
	}
	if p.Selection, err = c.replaySelection(req, r); err != nil {
		return err
	}
	if rest := r.Total - r.Due; rest > 0 && r.Rate > 0 && r.State == callbackd.ReplayRunning {
		p.TimeLeft = duration(atRate(rest, r.Rate)) + " left at this rate"
	}
	return c.render(w, http.StatusOK, "replay", p)
}

// replayTitle says what a replay is.
func replayTitle(r *callbackd.Replay) string {
	if r.Cancels() {
		return "Cancellation"
	}
	return "Replay"
}

// atRate returns how long n deliveries take at a rate per second.
func atRate(n int64, perSecond float64) time.Duration {
	return time.Duration(float64(n) / perSecond * float64(time.Second)).Round(time.Second)
}

// replaySelection says what a replay sends, in parts.
func (c *Console) replaySelection(req *userRequest, r *callbackd.Replay) ([]string, error) {
	f := r.Filter
	if r.Cancels() {
		parts, err := c.filterParts(req, &f)
		return append([]string{r.Cancel.Why()}, parts...), err
	}
	parts := []string{"deliveries that are delivered, failed, canceled or expired"}
	switch {
	case f.Missing && len(f.States) == 0:
		parts = []string{"events that were not delivered"}
	case len(f.States) > 0:
		states := make([]string, len(f.States))
		for i, s := range f.States {
			states[i] = string(s)
		}
		parts = []string{"deliveries that are " + strings.Join(states, " or ")}
	}
	more, err := c.filterParts(req, &f)
	if err != nil {
		return nil, err
	}
	parts = append(parts, more...)
	if f.Missing && len(f.States) > 0 {
		parts = append(parts, "not delivered there yet")
	}
	if f.Target != 0 {
		name, err := c.callbackText(req, f.Target)
		if err != nil {
			return nil, err
		}
		parts = append(parts, "sent to "+name)
	}
	return parts, nil
}

// filterParts says what a filter chooses besides states, in parts.
func (c *Console) filterParts(req *userRequest, f *callbackd.ReplayFilter) (parts []string, err error) {
	if f.Type != "" {
		parts = append(parts, "event "+string(f.Type))
	}
	if f.Callback != 0 {
		name, err := c.callbackText(req, f.Callback)
		if err != nil {
			return nil, err
		}
		parts = append(parts, "of the callback "+name)
	}
	if f.Session != "" {
		parts = append(parts, "session "+f.Session)
	}
	if !f.Since.IsZero() {
		parts = append(parts, "from "+formatTime(f.Since).Long)
	}
	if !f.Until.IsZero() {
		parts = append(parts, "until "+formatTime(f.Until).Long)
	}
	return parts, nil
}

// callbackText names a callback by its event and host.
func (c *Console) callbackText(req *userRequest, id callbackd.CallbackID) (string, error) {
	cb, err := c.Store.CallbackByID(req.Context(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return fmt.Sprintf("%d, which was deleted", id), nil
	}
	if err != nil {
		return "", err
	}
	return callbackTitle(cb) + " at " + host(cb.URL), nil
}
