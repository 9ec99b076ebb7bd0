package cli

import (
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

type nodesCmd struct {
	dataFlag
}

// Run prints one line for each node.
func (c *nodesCmd) Run(e *env) error {
	if c.DatabaseURL == "" {
		return settingf("a data directory has one node only, the server that runs on it; to list the nodes on a PostgreSQL database, give --database-url")
	}
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	nodes, err := s.(store.Cluster).Nodes(e.ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	inner := slices.ContainsFunc(nodes, func(n store.Node) bool { return n.Inner != "" })
	fmt.Fprintln(w, "NODE\tNAME\tADDRESS\t"+column(inner, "INNER ADDRESS")+"VERSION\tUP\tSHARDS\tLEASE RENEWED\tIN FLIGHT\tBACKLOG\tSTATE")
	free, cut := callbackd.Shards, false
	for _, n := range nodes {
		free -= n.Shards
		backlog := humanize.Number(n.Backlog)
		if n.Callbacks > 0 && n.Backlog >= store.MaxCounted {
			backlog, cut = "≥ "+backlog, true
		}
		state := "ok"
		switch {
		case n.Leaving:
			state = "leaving"
		case n.Skew.Abs() > callbackd.MaxSkew:
			state = fmt.Sprintf("clock differs by %s: owns no shards", humanize.Duration(n.Skew))
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s%s\t%s\t%s\t%s ago\t%s\t%s for %s callbacks\t%s\n", n.ID, n.Name, n.Address, column(inner, n.Inner), n.Version,
			humanize.Duration(time.Since(n.StartedAt)), humanize.Number(n.Shards), humanize.Latency(n.Unseen), humanize.Number(n.InFlight), backlog, humanize.Number(n.Callbacks), state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if free > 0 {
		fmt.Fprintf(e.stdout, "%s of %s shards have no owner at this moment\n", humanize.Number(free), humanize.Number(callbackd.Shards))
	}
	if cut {
		fmt.Fprintf(e.stdout, "≥: at most %s deliveries of each callback are counted\n", humanize.Number(store.MaxCounted))
	}
	return nil
}

// column returns a cell of a column that is shown or left out.
func column(shown bool, cell string) string {
	if !shown {
		return ""
	}
	return cell + "\t"
}
