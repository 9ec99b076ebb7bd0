package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

type nodesCmd struct {
	dataFlag
}

// Run prints one line a node.
func (c *nodesCmd) Run(e *env) error {
	if c.DatabaseURL == "" {
		return settingf("a data directory has one node, the server that runs on it; name a PostgreSQL database with --database-url")
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
	fmt.Fprintln(w, "NODE\tNAME\tADDRESS\tVERSION\tUP\tSHARDS\tLEASE RENEWED\tIN FLIGHT\tBACKLOG\tSTATE")
	free, many := callbackd.Shards, false
	for _, n := range nodes {
		free -= n.Shards
		more := ""
		if n.Owed > 0 && n.Backlog >= store.MaxCounted {
			more, many = "+", true
		}
		state := "ok"
		switch {
		case n.Leaving:
			state = "leaving"
		case n.Skew.Abs() > callbackd.MaxSkew:
			state = fmt.Sprintf("clock is %s off: owns no shards", callbackd.FormatDuration(n.Skew.Round(time.Second)))
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%v\t%d\t%v ago\t%d\t%d%s for %d callbacks\t%s\n", n.ID, n.Name, n.Address, n.Version,
			callbackd.FormatDuration(time.Since(n.StartedAt).Round(time.Second)), n.Shards, callbackd.FormatDuration(n.Unseen.Round(100*time.Millisecond)), n.InFlight, n.Backlog, more, n.Owed, state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if free > 0 {
		fmt.Fprintf(e.stdout, "%d of %d shards are nobody's at this moment\n", free, callbackd.Shards)
	}
	if many {
		fmt.Fprintf(e.stdout, "+: of a callback no more than %d were counted\n", store.MaxCounted)
	}
	return nil
}
