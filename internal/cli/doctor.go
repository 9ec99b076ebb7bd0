package cli

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"

	"callbackd/internal/app"
	"callbackd/internal/doctor"

	"github.com/alecthomas/kong"
)

// doctorCmd takes the options of serve, because it checks the server that they describe.
type doctorCmd struct {
	serveCmd
	JSON bool `help:"Print JSON instead of text."`
}

// Run prints what it finds. It fails when there is a problem.
func (c *doctorCmd) Run(e *env, k *kong.Context) error {
	s := c.subject(k)
	r := doctor.Run(e.ctx, s, thisMachine(), c.storeConfig())
	var err error
	if c.JSON {
		err = json.NewEncoder(e.stdout).Encode(r)
	} else {
		err = r.Print(e.stdout, hasColours(e.stdout))
	}
	if err == nil && r.Problems > 0 {
		return exit(exitFailed)
	}
	return err
}

// subject returns the settings of the server to check.
func (c *doctorCmd) subject(k *kong.Context) doctor.Settings {
	var config app.Config
	err := checkEnvironment(k.Model, os.Environ())
	if settings := c.read(&config); err == nil {
		err = settings
	}
	s := doctor.Settings{
		Err: err, Data: c.Data, Database: c.DatabaseURL != "", Listen: c.Listen, Proxy: config.Proxy, PublicURL: config.PublicURL, CAFile: c.CAFile, Archive: c.Archive,
		MaxInFlight: c.MaxInFlight, Grace: c.Grace, Lease: c.Lease, NodeConnections: app.NodeConnections,
	}
	if config.Mail != nil {
		s.Mail = config.Mail
	}
	var missing error
	if s.Keyset, missing = c.keysetFile(); err == nil {
		s.Err = missing
	}
	return s
}

func thisMachine() *doctor.Machine {
	m := doctor.ThisMachine()
	resolver := &net.Resolver{PreferGo: true}
	m.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		return resolver.LookupNetIP(ctx, "ip", host)
	}
	m.Dial = (&net.Dialer{Timeout: healthTimeout}).DialContext
	m.Answers = func(ctx context.Context, listen string) error {
		health := healthCmd{Listen: listen}
		return health.Run(&env{ctx: ctx, stdout: io.Discard})
	}
	m.Memory, m.GoMemory = app.GroupMemory(), debug.SetMemoryLimit(-1)
	return m
}
