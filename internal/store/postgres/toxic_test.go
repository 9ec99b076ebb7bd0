package postgres

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// newToxic returns a proxy to the database at rawURL, and the URL through it.
func newToxic(t *testing.T, rawURL string) (*toxiproxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	must(t)(err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "database", "127.0.0.1:0", u.Host)
	must(t)(p.Start())
	t.Cleanup(p.Stop)
	u.Host = p.Listen
	return p, u.String()
}

// The network fails in several ways, while many goroutines send events and outcomes, and
// recovers. Callers get Unavailable and no other error, what was acknowledged is stored
// once, and the store works again without being reopened.
func TestNetworkFaultsUnderLoad(t *testing.T) {
	for name, toxics := range map[string][]string{
		"down":      nil,
		"latency":   {`{"name": "down", "type": "latency", "stream": "downstream", "attributes": {"latency": 2000}}`},
		"reset":     {`{"name": "down", "type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 5}}`},
		"half open": {`{"name": "down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`},
		"silent": {`{"name": "down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`,
			`{"name": "up", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`},
		"cut in the middle": {`{"name": "down", "type": "limit_data", "stream": "downstream", "attributes": {"bytes": 20000}}`,
			`{"name": "up", "type": "limit_data", "stream": "upstream", "attributes": {"bytes": 70000}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, u := newToxic(t, stock.URL(t)+"&connect_timeout=1")
			d, _ := newDatabase(t, u, 1)
			s := open(t, d.Options)
			defer s.Close()
			s.patience = time.Second // while the line is bad
			faulty(t, d, s, func(round int) {
				switch {
				case round == 2 && toxics == nil:
					p.Stop()
				case round == 12 && toxics == nil:
					must(t)(p.Start())
				case round == 2:
					for _, toxic := range toxics {
						_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
						must(t)(err)
					}
				case round == 12:
					p.Toxics.ResetToxics(t.Context())
				}
			})
		})
	}
}
