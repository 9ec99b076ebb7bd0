package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/console"
	"callbackd/internal/obs"
	"callbackd/internal/store/sqlite"
)

// serveCmd is the options of a server.
type serveCmd struct {
	Listen string `default:"127.0.0.1:8080" env:"CALLBACKD_LISTEN" help:"Address to serve the API on; port 0 chooses a free one."`
	dataFlag
	AllowTarget   []string      `env:"CALLBACKD_ALLOW_TARGET" placeholder:"CIDR" help:"Range of private or special addresses that callbacks may reach, such as 127.0.0.0/8; repeatable, or with commas between. Public addresses are always allowed."`
	EgressProxy   string        `env:"CALLBACKD_EGRESS_PROXY" secret:"" placeholder:"URL" help:"HTTP proxy that deliveries go through; targets are judged all the same. Also from a file: CALLBACKD_EGRESS_PROXY_FILE."`
	CAFile        string        `name:"ca-file" env:"CALLBACKD_CA_FILE" placeholder:"FILE" help:"PEM file of certificates to trust besides the system's."`
	Keep          time.Duration `default:"30d" env:"CALLBACKD_KEEP" help:"How long finished events and their attempts are kept, such as 30d or 1d12h."`
	Grace         time.Duration `default:"20s" env:"CALLBACKD_GRACE" help:"How long a stop waits for attempts in flight."`
	MaxInFlight   int           `default:"4096" env:"CALLBACKD_MAX_IN_FLIGHT" help:"Attempts at a time over all callbacks."`
	MaxConns      int           `name:"max-connections" env:"CALLBACKD_MAX_CONNECTIONS" placeholder:"N" help:"Connections of visitors at a time, by default 8192 or fewer where memory or descriptors are short; when there are more, the longest silent one is closed for each new one. Half of them may come from one address."`
	TrustedProxy  []string      `env:"CALLBACKD_TRUSTED_PROXY" placeholder:"CIDR" help:"Range of addresses of proxies that are believed who a visitor is (X-Forwarded-For or Forwarded) and whether by TLS (X-Forwarded-Proto); repeatable, or with commas between. The rightmost address that is not in such a range counts."`
	PublicURL     string        `name:"public-url" env:"CALLBACKD_PUBLIC_URL" placeholder:"URL" help:"Where people reach this server, such as https://example.com/callbackd: links, cookies and redirects of the console lead there, and forms from there are accepted."`
	MetricsListen string        `env:"CALLBACKD_METRICS_LISTEN" placeholder:"HOST:PORT" help:"Serve /metrics on an address of its own. Without it they are at the main address for programs on this machine. Whoever sends the operator token (Authorization: Bearer …) gets them at the main address always."`
	Lease         time.Duration `default:"10s" env:"CALLBACKD_LEASE" help:"With --database-url: within how long other nodes take over the work of one that died; 2s or more, the same for all nodes."`
	OperatorToken string        `env:"CALLBACKD_OPERATOR_TOKEN" secret:"" placeholder:"TOKEN" help:"Signs the operator in to the console, with 16 characters or more. Also from a file: CALLBACKD_OPERATOR_TOKEN_FILE. Without it, the command console prints one-time links."`
	RequireHTTPS  bool          `name:"require-https" env:"CALLBACKD_REQUIRE_HTTPS" help:"Let live API keys register https URLs only."`
	CaptureURL    string        `name:"capture-url" env:"CALLBACKD_CAPTURE_URL" placeholder:"TEMPLATE" help:"Link that the person opens to capture a session, as sessions show it in capture_url: a URL with {account} and {session_key} in it, such as https://{account}.capture.example/{session_key}. A key may have its own."`
	MaskHeaders   bool          `name:"mask-callback-headers" env:"CALLBACKD_MASK_CALLBACK_HEADERS" help:"Mask callback headers when they are read back; a PUT with the mask keeps the stored value."`
	LogFormat     string        `default:"text" enum:"text,json" env:"CALLBACKD_LOG_FORMAT" help:"text or json."`
	LogLevel      string        `default:"info" enum:"debug,info,warn,error" env:"CALLBACKD_LOG_LEVEL" help:"debug, info, warn or error."`
}

// minConns is the least number of connections that leaves room for a reserve.
const minConns = 64

// config checks the options and turns them into the app's configuration.
func (c *serveCmd) config(e *env) (app.Config, error) {
	out := app.Config{Listen: c.Listen, StoreConfig: c.place(), Retention: c.Keep, RequireHTTPS: c.RequireHTTPS, MaskHeaders: c.MaskHeaders, MaxInFlight: c.MaxInFlight, MaxConns: c.MaxConns, Lease: c.Lease, OperatorToken: callbackd.Secret(c.OperatorToken)}
	if c.Lease < 2*time.Second {
		return out, settingf("--lease %s is too short for a busy machine; give it 2s or more", callbackd.FormatDuration(c.Lease))
	}
	var err error
	if out.CaptureURL, err = captureTemplate(c.CaptureURL, ""); err != nil {
		return out, err
	}
	for _, s := range c.AllowTarget {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return out, settingf("--allow-target %q is not a range; write for example 127.0.0.0/8 or 10.1.2.3/32", s)
		}
		out.AllowTargets = append(out.AllowTargets, p.Masked())
	}
	if err := c.publicly(&out); err != nil {
		return out, err
	}
	if c.EgressProxy != "" {
		u, err := url.Parse(c.EgressProxy)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return out, settingf("--egress-proxy is not a proxy's URL; write for example http://proxy.internal:3128")
		}
		out.Proxy = u
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return out, settingf("--ca-file: %v", err)
		}
		if out.Roots, err = x509.SystemCertPool(); err != nil {
			out.Roots = x509.NewCertPool()
		}
		if !out.Roots.AppendCertsFromPEM(pem) {
			return out, settingf("--ca-file %s holds no certificate in PEM form", c.CAFile)
		}
	}
	switch {
	case c.Keep < time.Hour:
		return out, settingf("--keep is shorter than an hour: events would vanish before anybody can ask for them; give at least 1h")
	case c.Grace < 0:
		return out, settingf("--grace is negative; give 0s or more")
	case c.OperatorToken != "" && len(c.OperatorToken) < console.MinOperatorToken:
		return out, settingf("--operator-token is shorter than %d characters: it opens every key's data; make one with: openssl rand -hex 16", console.MinOperatorToken)
	case c.MaxConns != 0 && c.MaxConns < minConns:
		return out, settingf("--max-connections %d is too few; give it %d or more, or leave it out", c.MaxConns, minConns)
	case c.MaxInFlight < 1:
		return out, settingf("--max-in-flight must be at least 1")
	}
	out.LogBuffer = obs.NewLogBuffer(e.stderr)
	if out.Log, err = obs.NewLogger(out.LogBuffer, c.LogFormat, c.LogLevel); err == nil {
		out.LogBuffer.Tell(out.Log)
	}
	return out, err
}

// lingerFor is how long a server whose data directory was removed or replaced
// goes on to answer 503, so that balancers and publishers see why, and nobody
// starts the next one on the wrong directory at once.
const lingerFor = 15 * time.Second

func linger(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(lingerFor):
	}
}

// publicly checks what is said of proxies and of the server's own addresses.
func (c *serveCmd) publicly(out *app.Config) error {
	for _, s := range c.TrustedProxy {
		p, err := readRange(s)
		if err != nil {
			return settingf("--trusted-proxy %q is no address and no range; write for example 127.0.0.1 or 10.0.0.0/8", s)
		}
		out.TrustedProxies = append(out.TrustedProxies, p)
	}
	if c.PublicURL != "" {
		u, err := publicURL(c.PublicURL)
		if err != nil {
			return err
		}
		out.PublicURL = u
	}
	out.MetricsListen = c.MetricsListen
	return nil
}

// publicURL reads where people reach the server. Its host and port are as
// browsers write an origin, in small letters and without the scheme's own port:
// forms are compared with it.
func publicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		path.Clean("/"+u.Path) != "/"+strings.Trim(u.Path, "/") || u.EscapedPath() != u.Path || strings.Contains(u.Host, "%") {
		return nil, settingf("--public-url %q is not the URL of a server; write for example https://example.com or https://example.com/callbackd", text)
	}
	if strings.IndexFunc(u.Host, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0 {
		return nil, settingf("--public-url %q has a host with letters beyond ASCII; write it as browsers send it, xn--…", text)
	}
	u.Host = strings.TrimSuffix(strings.ToLower(u.Host), ":"+map[string]string{"http": "80", "https": "443"}[u.Scheme])
	u.Host = strings.TrimSuffix(u.Host, ":")
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return nil, settingf("--public-url %q has no port that can be; give one from 1 to 65535", text)
	}
	return u, nil
}

// readRange reads a range of addresses, or one address.
func readRange(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// gcPercent trades memory for CPU: what lives on the heap is bounded and
// small, what passes through it is not. GOGC overrides it.
const gcPercent = 300

// Run serves until it is told to stop.
func (c *serveCmd) Run(e *env) error {
	cfg, err := c.config(e)
	if err != nil {
		return err
	}
	defer cfg.LogBuffer.Close(lastWords)
	outliveReaders(cfg.Log)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	app.LimitMemory(cfg.Log)
	a, err := app.Start(e.ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "listening on", a.URL())
	c.whatNext(e, a)
	failed := false
	select {
	case <-e.ctx.Done():
	case <-a.Failed():
		failed = true
		cfg.Log.Error("the store failed", "error", a.Failure())
		if errors.Is(a.Failure(), sqlite.ErrReplaced) {
			linger(e.ctx)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Grace)
	defer cancel()
	go func() {
		select {
		case <-e.second:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := a.Stop(ctx); err != nil {
		return err
	}
	if failed {
		return a.Failure()
	}
	return nil
}
