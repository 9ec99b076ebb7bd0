package cli

import (
	"fmt"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"callbackd/internal/humanize"
	"callbackd/internal/zoo"
)

type zooCmd struct {
	Listen string `default:"127.0.0.1:9900" env:"CALLBACKD_ZOO_LISTEN" help:"Address of the index page and of the receivers that have a path. Those with a port of their own are at the ports that follow. Port 0 chooses free ports."`
	CAFile string `name:"zoo-ca-file" type:"path" placeholder:"FILE" help:"Write the certificate of the zoo's authority to this file, in PEM. The sender must trust it. It is also at /ca.pem. It is a new one at each start."`
}

// Run serves the zoo until it is stopped, and prints each visit.
func (c *zooCmd) Run(e *env) error {
	var mu sync.Mutex
	print := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(e.stdout, format, args...)
	}
	z, err := zoo.Open(c.Listen, func(v zoo.Visit) {
		caught := ""
		if v.Caught {
			caught = "  CAUGHT: the sender did what it must not do"
		}
		print("%s  %-23s  %s sent in %s%s\n", time.Now().Format("15:04:05.000"), v.Exhibit, humanize.Size(v.Sent), humanize.Latency(v.Took), caught)
	})
	if err != nil {
		return fmt.Errorf("--listen %q: %w; choose another address, or port 0", c.Listen, err)
	}
	defer z.Close()
	if c.CAFile != "" {
		if err := os.WriteFile(c.CAFile, z.CA(), 0o644); err != nil {
			return fmt.Errorf("--zoo-ca-file: %w", err)
		}
	}
	mu.Lock()
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, x := range z.Exhibits() {
		fmt.Fprintf(w, "%s\t%s\n", x.URL, x.Does)
	}
	w.Flush()
	fmt.Fprintf(e.stdout, "zoo on %s\n", z.URL())
	mu.Unlock()
	<-e.ctx.Done()
	return nil
}
