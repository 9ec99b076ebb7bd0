package console

import (
	"context"
	"net/http"
	"time"
)

// Nodes returns the nodes that run.
type Nodes func(ctx context.Context) ([]Node, error)

// Node is one running callbackd process.
type Node struct {
	Name       string
	Version    string
	Address    string
	Inner      string // where other nodes reach it; empty: they cannot
	Self       bool   // it serves this page
	StartedAt  time.Time
	Shards     int
	LeaseUntil time.Time // zero when it needs no lease
	InFlight   int
	Callbacks  int // callbacks with pending deliveries
}

type nodesPage struct {
	base
	Nodes  []Node
	Shards int
	Bars   []bar
}

func (c *Console) nodes(w http.ResponseWriter, req *userRequest) error {
	nodes, err := c.Nodes(req.Context())
	if err != nil {
		return err
	}
	p := &nodesPage{base: c.base(req, "nodes", "Nodes"), Nodes: nodes}
	p.Refresh = 2
	classes := []string{"f-accent", "connect", "tls", "wait", "dns", "body"}
	var parts []sharePart
	for i, n := range nodes {
		p.Shards += n.Shards
		parts = append(parts, sharePart{int64(n.Shards), classes[i%len(classes)]})
	}
	p.Bars = shareBars(parts)
	return c.render(w, http.StatusOK, "nodes", p)
}
