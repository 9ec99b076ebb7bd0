package console

import (
	"context"
	"net/http"
	"time"
)

// Node is one running callbackd process.
type Node struct {
	Name       string
	Version    string
	Address    string
	Self       bool
	StartedAt  time.Time
	Shards     int
	LeaseUntil time.Time // zero: it needs none
	InFlight   int
	Backlog    int64 // callbacks with something pending
}

type nodesPage struct {
	base
	Nodes  []Node
	Shards int
	Bars   []bar
}

func (c *Console) nodes(w http.ResponseWriter, v *visit) error {
	nodes, err := c.Nodes(v.Context())
	if err != nil {
		return err
	}
	p := &nodesPage{base: c.base(v, "nodes", "Nodes"), Nodes: nodes}
	p.Refresh = 2
	for _, n := range nodes {
		p.Shards += n.Shards
	}
	x, classes := 0.0, []string{"f-accent", "connect", "tls", "wait", "dns", "body"}
	for i, n := range nodes {
		if p.Shards > 0 && n.Shards > 0 {
			width := 1000 * float64(n.Shards) / float64(p.Shards)
			p.Bars = append(p.Bars, bar{X: round(x), W: round(width), H: 10, Class: classes[i%len(classes)]})
			x += width
		}
	}
	return c.render(w, http.StatusOK, "nodes", p)
}

// Nodes tells which nodes there are.
type Nodes func(ctx context.Context) ([]Node, error)
