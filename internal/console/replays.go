package console

import (
	"net/http"

	"callbackd"
	"callbackd/internal/store"
)

// replayRow is a replay in the list.
type replayRow struct {
	callbackd.Replay
	Owner string
}

// Progress is how many deliveries of the replay have ended, in per mille.
func (r replayRow) Progress() int64 {
	if r.Total == 0 {
		return 1000
	}
	return 1000 * ended(&r.Replay) / r.Total
}

// ended returns how many deliveries of a replay have ended.
func ended(r *callbackd.Replay) int64 {
	return r.Skipped + r.Delivered + r.Failed + r.Canceled
}

type replaysPage struct {
	base
	scope
	list
	Rows []replayRow
}

func (c *Console) replays(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	p := &replaysPage{
		base:  c.base(req, "replays", "Replays"),
		scope: s,
		list:  newList(link("replays"), s.query()),
	}
	var after callbackd.ReplayID
	if err := readCursor(&p.list, req.URL.Query(), &after, callbackd.ParseReplayID); err != nil {
		return err
	}
	p.refreshFirst(&p.list, 2)
	page, err := c.Store.ListReplays(req.Context(), store.ReplayQuery{Key: s.KeyID, After: after, Limit: pageRows})
	if err != nil {
		return err
	}
	for _, r := range page.Replays {
		p.Rows = append(p.Rows, replayRow{r, s.owner(r.Key)})
	}
	if page.Next != 0 {
		p.setNext(page.Next.String())
	}
	return c.render(w, http.StatusOK, "replays", p)
}

// replayFromPath returns the replay that the path names, when the user may see
// it.
func (c *Console) replayFromPath(req *userRequest) (*callbackd.Replay, error) {
	id, ok := callbackd.ParseReplayID(req.PathValue("id"))
	if !ok {
		return nil, errPageNotFound
	}
	r, err := c.Store.Replay(req.Context(), req.keyFilter(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, errPageNotFound
	}
	return r, err
}

// setReplayState returns a handler that sets the state of a replay.
func (c *Console) setReplayState(state callbackd.ReplayState) func(http.ResponseWriter, *userRequest) error {
	return func(w http.ResponseWriter, req *userRequest) error {
		r, err := c.replayFromPath(req)
		if err == nil {
			r, err = c.Store.SetReplayState(req.Context(), r.Key, r.ID, state, c.now())
		}
		if err != nil {
			return err
		}
		c.Dispatcher.ReplaysChanged()
		return redirect(w, req, link("replays", r.ID), "")
	}
}
