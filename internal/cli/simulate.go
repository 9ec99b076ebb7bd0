package cli

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/simulate"
)

type simulateCmd struct {
	accountFlags
	Sessions int     `default:"100" help:"Number of inspections to play, up to 1,000,000. They start within ten minutes of simulated time, and each takes about five."`
	Speed    speed   `default:"60x" help:"How much faster than real time to play, such as 60x. max does not wait at all."`
	Reject   float64 `default:"0.1" help:"Share of photos that are rejected and captured again, from 0 to 0.95."`
	Abandon  float64 `aliases:"expire" default:"0.02" help:"Share of sessions that are abandoned, from 0 to 1. They expire as the key says (keys create --sessions-expire-after)."`
	Invalid  float64 `default:"0.02" help:"Share of sessions that are found invalid, from 0 to 1."`
	Seed     uint64  `help:"Seed of the random choices. The same seed plays the same inspections. Default: 0, a new seed each time."`
}

// speed is a factor; 0 stands for no waits at all.
type speed float64

// UnmarshalText reads "60x", "60" or "max".
func (s *speed) UnmarshalText(b []byte) error {
	if string(b) == "max" {
		*s = 0
		return nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(string(b), "x"), 64)
	if err != nil || !(f >= 0.01 && f <= 1e6) {
		return settingf("the speed %q is neither a factor such as 60x nor max", b)
	}
	*s = speed(f)
	return nil
}

// connections is the largest number of calls at a time.
const connections = 64

// Run plays the inspections and prints their results.
func (c *simulateCmd) Run(e *env) error {
	for name, share := range map[string]float64{"reject": c.Reject, "abandon": c.Abandon, "invalid": c.Invalid} {
		if share < 0 || share > 1 {
			return settingf("--%s %g is not a share; give a number from 0 to 1, such as 0.1", name, share)
		}
	}
	switch {
	case c.Reject > 0.95:
		return settingf("--reject %g is too high: hardly any photo would be accepted; give at most 0.95", c.Reject)
	case c.Abandon+c.Invalid > 1:
		return settingf("--abandon and --invalid together are more than 1; give smaller shares")
	case c.Sessions < 1 || c.Sessions > 1_000_000:
		return settingf("--sessions %d is invalid; give a number from 1 to 1,000,000", c.Sessions)
	}
	seed := cmp.Or(c.Seed, rand.Uint64())
	cl, err := c.client()
	if err != nil {
		return err
	}
	cl.HTTP = &http.Client{Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute}}
	fmt.Fprintf(e.stdout, "%s inspections, seed %d\n", humanize.Number(c.Sessions), seed)
	bar := progress.New(e.stderr, "sessions", humanize.Number[int64])
	show := func(played, events int) {
		bar.Show(int64(played), int64(c.Sessions), humanize.Number(events)+" events")
	}
	r, err := simulate.Run(e.ctx, cl, simulate.Options{Sessions: c.Sessions, Speed: float64(c.Speed), Seed: seed, Progress: show,
		Odds: simulate.Odds{Reject: c.Reject, Expire: c.Abandon, Invalid: c.Invalid}})
	bar.Clear()
	if err != nil {
		return fmt.Errorf("%w; is callbackd running at %s, and are --account, --key and --secret right?", err, c.Server)
	}
	return c.print(e.stdout, r)
}

func (c *simulateCmd) print(out io.Writer, r *simulate.Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, n int) { fmt.Fprintf(w, "  %s\t%9s\n", name, humanize.Number(n)) }
	total := 0
	fmt.Fprintln(w, "sessions\t")
	for _, st := range callbackd.SessionStatuses {
		if n := r.Statuses[st]; n > 0 {
			row(string(st), n)
		}
	}
	fmt.Fprintln(w, "events\t")
	for _, t := range callbackd.SessionEvents {
		row(string(t), r.Events[t])
		total += r.Events[t]
	}
	fmt.Fprintln(w, "deliveries\t")
	for _, st := range []callbackd.State{callbackd.Delivered, callbackd.Pending, callbackd.Failed, callbackd.Canceled, callbackd.Expired} {
		row(string(st), r.Deliveries[st])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s in %s", humanize.Plural(total, "event"), humanize.Latency(r.Took))
	if r.Abandoned > 0 {
		fmt.Fprintf(out, "; %s abandoned, to expire", humanize.Plural(r.Abandoned, "session"))
	}
	_, err := fmt.Fprintln(out)
	return err
}
