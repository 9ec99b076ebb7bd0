package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type eraseAllCmd struct {
	profileFlag
	Server string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL of the server."`
	Token  string `required:"" env:"CALLBACKD_ADMIN_TOKEN" secret:"" placeholder:"TOKEN" help:"Operator token that may change things: callbackd tokens create --role full. Also from a file: CALLBACKD_ADMIN_TOKEN_FILE."`
	eraseFlags
	List bool   `env:"CALLBACKD_ERASE_LIST" help:"List the erasures over all API keys, newest first, and start none."`
	ID   string `arg:"" optional:"" help:"ID of an erasure over all API keys, such as erg_1jzv8q00m0000: show it, and start none."`
	JSON bool   `help:"Print JSON instead of text."`
}

// Run starts an erasure in all API keys, or shows one that was started.
func (c *eraseAllCmd) Run(e *env) error {
	admin, err := operatorClient(c.Server, c.Token)
	if err != nil {
		return err
	}
	if c.List {
		if c.ID != "" || c.Follow || c.order() != (wire.NewErase{}) {
			return settingf("erase all --list lists erasures, and starts or shows none: leave out the ID and the other options")
		}
		return c.list(e, admin)
	}
	var g wire.EraseGroup
	if c.ID == "" {
		g, err = admin.StartErases(e.ctx, c.order())
	} else if c.order() != (wire.NewErase{}) {
		err = settingf("erase all shows %s, or starts another erasure, not both: leave out the ID, or the other options", c.ID)
	} else {
		g, err = admin.EraseGroup(e.ctx, c.ID)
	}
	if err != nil {
		return err
	}
	if err := c.print(e.stdout, g); err != nil || !c.Follow {
		return err
	}
	return c.follow(e, admin, g)
}

// list prints a line for each erasure over all API keys.
func (c *eraseAllCmd) list(e *env, admin *client.Admin) error {
	for q := (url.Values{}); ; {
		page, err := admin.EraseGroups(e.ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Data {
			g := &page.Data[i]
			if c.JSON {
				err = json.NewEncoder(e.stdout).Encode(g)
			} else {
				_, err = fmt.Fprintf(e.stdout, "%s; API keys: %d  %s  %s\n", eraseLine(g.ID, g.State, g.DryRun, g.Counts), g.Keys, g.CreatedAt.Format(time.RFC3339), g.By)
			}
			if err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		q.Set("cursor", *page.Next)
	}
}

// follow shows the progress until the erasure has ended in all API keys.
func (c *eraseAllCmd) follow(e *env, admin *client.Admin, g wire.EraseGroup) error {
	bar := followBar(e, c.JSON, "API keys", humanize.Number[int64])
	group := followed[wire.EraseGroup]{
		get:     func(ctx context.Context) (wire.EraseGroup, error) { return admin.EraseGroup(ctx, g.ID) },
		running: func(g wire.EraseGroup) bool { return g.State == "running" },
		same:    func(a, b wire.EraseGroup) bool { return a.Counts == b.Counts && a.State == b.State },
		bar:     bar,
		show: func(g wire.EraseGroup) {
			bar.Show(endedErases(&g), int64(g.Keys), fmt.Sprintf("sessions: %s, events: %s", humanize.Number(g.Counts.Sessions), humanize.Number(g.Counts.Events)))
		},
		print: c.print,
	}
	return group.follow(e, g)
}

// endedErases returns in how many API keys an erasure over all of them has ended. One that is no
// longer stored has ended too.
func endedErases(g *wire.EraseGroup) int64 {
	ended := int64(g.Keys)
	for i := range g.Data {
		if g.Data[i].State == "running" {
			ended--
		}
	}
	return ended
}

// print prints the sums, and at the end what was erased in each API key and the receipt.
func (c *eraseAllCmd) print(w io.Writer, g wire.EraseGroup) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(g)
	}
	_, err := fmt.Fprintf(w, "%s; API keys: %d\n", eraseLine(g.ID, g.State, g.DryRun, g.Counts), g.Keys)
	if g.State == "running" || err != nil {
		return err
	}
	for i := range g.Data {
		r := &g.Data[i]
		if _, err := fmt.Fprintf(w, "  %s  %s\n", r.APIKey, eraseLine(r.ID, r.State, r.DryRun, r.Counts)); err != nil {
			return err
		}
	}
	if len(g.Receipt) == 0 || string(g.Receipt) == "null" {
		_, err = fmt.Fprintf(w, "no receipt: %d of the erasures are no longer stored\n", g.Keys-len(g.Data))
		return err
	}
	_, err = fmt.Fprintf(w, "receipt %s\nSHA-256 %s\n", g.Receipt, g.ReceiptSHA256)
	return err
}
