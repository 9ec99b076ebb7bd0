package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/clock"
	"callbackd/internal/console"
	"callbackd/internal/eventtypes"
	"callbackd/internal/mail"
	"callbackd/internal/obs"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
	"callbackd/internal/telemetry"
)

// serveCmd holds the options of a server.
type serveCmd struct {
	Listen string `default:"127.0.0.1:8080" env:"CALLBACKD_LISTEN" help:"Address of the API, host:port. Port 0 chooses a free port, which the first line of output names."`
	dataFlag
	keyDefaults
	consoleOptions
	AllowTarget    []string      `env:"CALLBACKD_ALLOW_TARGET" placeholder:"CIDR" help:"Range of private or special addresses that callbacks may reach, such as 127.0.0.0/8. Repeat the option, or separate ranges with commas. Public addresses are always allowed."`
	EgressProxy    string        `env:"CALLBACKD_EGRESS_PROXY" secret:"" placeholder:"URL" help:"HTTP proxy for all deliveries, such as http://proxy.internal:3128. Target addresses are checked as without a proxy. Also from a file: CALLBACKD_EGRESS_PROXY_FILE."`
	CAFile         string        `name:"ca-file" env:"CALLBACKD_CA_FILE" placeholder:"FILE" help:"PEM file of certificates to trust in addition to the system's."`
	Retention      time.Duration `aliases:"keep" default:"30d" env:"CALLBACKD_RETENTION" help:"How long to keep finished events with their attempts, and ended sessions: 1h or more, such as 30d or 1d12h. Pending events are always kept."`
	Archive        string        `env:"CALLBACKD_ARCHIVE" placeholder:"DIR" help:"Directory for the events that retention removes: they are first written there and synced, one compressed file a day with a manifest. Without it, they are gone. See \"callbackd archive\"."`
	AuditRetention time.Duration `default:"0s" env:"CALLBACKD_AUDIT_RETENTION" help:"How long to keep the audit log: 1d or more, such as 365d. 0s keeps it until an API key has more than 10,000 entries."`
	Grace          time.Duration `default:"20s" env:"CALLBACKD_GRACE" help:"How long a stop waits for attempts in flight, such as 20s."`
	MaxInFlight    int           `default:"4096" env:"CALLBACKD_MAX_IN_FLIGHT" help:"Largest number of attempts in flight, over all callbacks."`
	MaxConns       int           `name:"max-connections" env:"CALLBACKD_MAX_CONNECTIONS" placeholder:"N" help:"Largest number of client connections, 64 or more. Default: 8,192, or fewer when memory or file descriptors are short. When all are in use, each new connection closes the one that has been silent longest. One address may hold half of them."`
	TrustedProxy   []string      `env:"CALLBACKD_TRUSTED_PROXY" placeholder:"CIDR" help:"Address range of reverse proxies, such as 10.0.0.0/8. Their X-Forwarded-For or Forwarded header names the client, and X-Forwarded-Proto says whether it used TLS. The client is the rightmost address outside these ranges. Repeat the option, or separate ranges with commas."`
	PublicURL      string        `name:"public-url" env:"CALLBACKD_PUBLIC_URL" placeholder:"URL" help:"URL at which people reach this server, such as https://example.com/callbackd. The console uses it for links, cookies and redirects, and accepts forms from it."`
	MetricsListen  string        `env:"CALLBACKD_METRICS_LISTEN" placeholder:"HOST:PORT" help:"Separate address for /metrics, such as 10.0.0.5:9090. Without it, programs on this machine read /metrics at the main address. Requests with the operator token (Authorization: Bearer …) always can."`
	NodeListen     string        `env:"CALLBACKD_NODE_LISTEN" placeholder:"HOST:PORT" help:"With --database-url: address at which other nodes reach this one, such as :8081. Without a host, the address by which this machine reaches the database; without the option, a free port there."`
	NodeAddress    string        `env:"CALLBACKD_NODE_ADDRESS" placeholder:"HOST:PORT" help:"With --database-url: the address that other nodes use for --node-listen, when it is another one, such as that of a port forwarding."`
	Lease          time.Duration `default:"10s" env:"CALLBACKD_LEASE" help:"With --database-url: how soon other nodes take over the work of a node that died, 2s or more. Use the same value on all nodes."`
	OperatorToken  string        `env:"CALLBACKD_OPERATOR_TOKEN" secret:"" placeholder:"TOKEN" help:"Token of 16 or more characters that signs the operator in to the console. Without it, \"callbackd console\" prints one-time links. Also from a file: CALLBACKD_OPERATOR_TOKEN_FILE."`
	NoticeKey      string        `env:"CALLBACKD_NOTICE_KEY" placeholder:"API-KEY" help:"API key whose callbacks for notices (CALLBACK:FAILING and so on) get those about all API keys. Without it, each key gets its own only."`
	SMTPURL        string        `name:"smtp-url" env:"CALLBACKD_SMTP_URL" secret:"" placeholder:"URL" help:"Mail server for notices to the operator, about all API keys: smtps://user:password@host:465, or smtp://user:password@host:587, which needs STARTTLS unless the host is a loopback address or the URL ends with ?tls=none. Also from a file: CALLBACKD_SMTP_URL_FILE."`
	NoticeMailFrom string        `env:"CALLBACKD_NOTICE_MAIL_FROM" placeholder:"ADDRESS" help:"With --smtp-url: the sender of the mails, such as callbackd@example.com."`
	NoticeMailTo   []string      `env:"CALLBACKD_NOTICE_MAIL_TO" placeholder:"ADDRESS" help:"With --smtp-url: who gets a mail when an incident begins and when it ends. Repeat the option, or separate addresses with commas."`
	BacklogOld     time.Duration `default:"15m" env:"CALLBACKD_BACKLOG_OLD" help:"Since when a delivery has been due when that is an incident (BACKLOG:OLD), such as 15m."`
	DiskLow        int64         `default:"1024" env:"CALLBACKD_DISK_LOW" placeholder:"MIB" help:"Free space on the volume of the data directory, in MiB, below which that is an incident (DISK:LOW)."`
	EventTypes     string        `name:"event-types" env:"CALLBACKD_EVENT_TYPES" placeholder:"DIR" help:"Directory with the platform's own types of events: one JSON file for each, with name, description, schema and sample. It is read at the start; give every node the same files."`
	Validate       string        `default:"off" enum:"off,warn,refuse" env:"CALLBACKD_VALIDATE" help:"Check the data of published events against the schema of their type (GET /v1/event-types): off; warn accepts an event that does not fit, and the answer says what is wrong; refuse answers 400."`
	RequireHTTPS   bool          `name:"require-https" env:"CALLBACKD_REQUIRE_HTTPS" help:"Refuse callback URLs of live API keys that are not https."`
	CaptureURL     string        `name:"capture-url" env:"CALLBACKD_CAPTURE_URL" placeholder:"TEMPLATE" help:"Link that a person opens to capture a session, shown as capture_url: a URL with {account} and {session_key} in it, such as https://{account}.capture.example/{session_key}. A key may have its own."`
	MaskHeaders    bool          `name:"mask-callback-headers" env:"CALLBACKD_MASK_CALLBACK_HEADERS" help:"Mask the values of callback headers when they are read. A PUT that sends the mask keeps the stored value."`
	LogFormat      string        `default:"text" enum:"text,json" env:"CALLBACKD_LOG_FORMAT" help:"Format of the log on standard error: text or json."`
	LogLevel       string        `default:"info" enum:"debug,info,warn,error" env:"CALLBACKD_LOG_LEVEL" help:"Lowest level that is logged: debug, info, warn or error."`
}

const (
	minLease     = 2 * time.Second
	minRetention = time.Hour
	// minAuditRetention is the shortest --audit-retention.
	minAuditRetention = 24 * time.Hour
	minConns          = 64 // leaves room for the operator's reserve
)

// config checks the options and turns them into the app's configuration.
func (c *serveCmd) config(e *env) (app.Config, error) {
	out := app.Config{
		Settings:    e.settings,
		StartedBy:   store.ActorOf(e.ctx),
		StoreConfig: c.storeConfig(), Listen: c.Listen, MetricsListen: c.MetricsListen,
		Retention: c.Retention, AuditRetention: c.AuditRetention, Lease: c.Lease, MaxInFlight: c.MaxInFlight, MaxConns: c.MaxConns,
		RequireHTTPS: c.RequireHTTPS, MaskHeaders: c.MaskHeaders, OperatorToken: callbackd.Secret(c.OperatorToken),
	}
	out.Archive, out.Validate = c.Archive, eventtypes.Mode(c.Validate)
	out.NoticeKey, out.BacklogOld, out.DiskLow = c.NoticeKey, c.BacklogOld, c.DiskLow<<20
	out.NodeListen, out.NodeAddress = c.NodeListen, c.NodeAddress
	if err := c.read(&out); err != nil {
		return out, err
	}
	out.LogBuffer = obs.NewLogBuffer(e.stderr)
	level, err := obs.ParseLevel(c.LogLevel)
	if err != nil {
		return out, err
	}
	out.LogLevel, out.Recent = new(slog.LevelVar), new(obs.Recent)
	out.LogLevel.Set(level)
	if out.Log, err = obs.NewLogger(out.LogBuffer, c.LogFormat, out.LogLevel); err != nil {
		return out, err
	}
	out.LogBuffer.ReportDropped(out.Log)
	out.Log = out.Recent.Keep(out.Log)
	return out, nil
}

// read checks the options that are not plain texts, and the variables of OpenTelemetry, and
// reads them.
func (c *serveCmd) read(out *app.Config) (err error) {
	if err := c.checkLimits(); err != nil {
		return err
	}
	if out.KeyLimits, err = c.keyLimits(); err != nil {
		return err
	}
	if err = c.consoleOptions.read(&out.Console); err != nil {
		return err
	}
	if out.CaptureURL, err = captureTemplate(c.CaptureURL, ""); err != nil {
		return err
	}
	if err := c.readEgress(out); err != nil {
		return err
	}
	if err := c.readMail(out); err != nil {
		return err
	}
	if c.EventTypes != "" {
		if out.EventTypes, err = eventtypes.ReadDir(c.EventTypes); err != nil {
			return settingf("--event-types: %v", err)
		}
	}
	if out.Signals, err = telemetry.Read(os.Getenv); err != nil {
		return settingf("%v", err)
	}
	return c.readIngress(out)
}

// checkLimits checks the options that are a number, a duration or a length.
func (c *serveCmd) checkLimits() error {
	switch {
	case c.Lease < minLease:
		return settingf("--lease %s is too short for a busy machine; give %s or more", callbackd.FormatDuration(c.Lease), callbackd.FormatDuration(minLease))
	case c.AuditRetention < 0 || c.AuditRetention > 0 && c.AuditRetention < minAuditRetention:
		return settingf("--audit-retention %s is too short: give at least %s, or 0s to remove nothing by age", callbackd.FormatDuration(c.AuditRetention), callbackd.FormatDuration(minAuditRetention))
	case c.Retention < minRetention:
		return settingf("--retention %s is too short: events would be removed before anybody can read them; give at least %s", callbackd.FormatDuration(c.Retention), callbackd.FormatDuration(minRetention))
	case c.Grace < 0:
		return settingf("--grace %s is negative; give 0s or more", callbackd.FormatDuration(c.Grace))
	case c.OperatorToken != "" && len(c.OperatorToken) < console.MinOperatorToken:
		return settingf("--operator-token has %d characters; give at least %d characters, because it opens the data of every key. Make one with: openssl rand -hex 16", len(c.OperatorToken), console.MinOperatorToken)
	case c.MaxConns != 0 && c.MaxConns < minConns:
		return settingf("--max-connections %d is too few; give %d or more, or leave the option out", c.MaxConns, minConns)
	case c.BacklogOld < time.Minute:
		return settingf("--backlog-old %s is too short: deliveries wait for a moment all the time; give 1m or more", callbackd.FormatDuration(c.BacklogOld))
	case c.DiskLow < 1 || c.DiskLow > 1<<40:
		return settingf("--disk-low %d is not a size in MiB; give 1 or more", c.DiskLow)
	case c.MaxInFlight < 1:
		return settingf("--max-in-flight %d is too few; give 1 or more", c.MaxInFlight)
	}
	return nil
}

// targets reads the ranges of --allow-target.
func targets(ranges []string) (out []netip.Prefix, err error) {
	for _, s := range ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, settingf("--allow-target %q is not an address range; write for example 127.0.0.0/8 or 10.1.2.3/32", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// readEgress reads the options about the way to receivers.
func (c *serveCmd) readEgress(out *app.Config) error {
	var err error
	if out.AllowTargets, err = targets(c.AllowTarget); err != nil {
		return err
	}
	if c.EgressProxy != "" {
		u, err := url.Parse(c.EgressProxy)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return settingf("--egress-proxy is not the URL of a proxy; write for example http://proxy.internal:3128")
		}
		out.Proxy = u
	}
	if c.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return settingf("--ca-file: %v", err)
	}
	if out.Roots, err = x509.SystemCertPool(); err != nil {
		out.Roots = x509.NewCertPool()
	}
	if !out.Roots.AppendCertsFromPEM(pem) {
		return settingf("--ca-file %s has no certificate in PEM format", c.CAFile)
	}
	return nil
}

// readMail reads the options about mails. They come after --ca-file, which counts for the mail
// server too.
func (c *serveCmd) readMail(out *app.Config) error {
	if c.SMTPURL == "" {
		if c.NoticeMailFrom != "" || len(c.NoticeMailTo) > 0 {
			return settingf("--notice-mail-from and --notice-mail-to need --smtp-url, the server that sends the mails")
		}
		return nil
	}
	if c.NoticeMailFrom == "" || len(c.NoticeMailTo) == 0 {
		return settingf("--smtp-url needs --notice-mail-from and --notice-mail-to, the sender of the mails and who gets them")
	}
	server, err := mail.ParseURL(c.SMTPURL)
	if err != nil {
		return settingf("--smtp-url is invalid: %v", err)
	}
	if err := mail.CheckAddress(c.NoticeMailFrom); err != nil {
		return settingf("--notice-mail-from %q is invalid: %v", c.NoticeMailFrom, err)
	}
	for _, to := range c.NoticeMailTo {
		if err := mail.CheckAddress(to); err != nil {
			return settingf("--notice-mail-to %q is invalid: %v", to, err)
		}
	}
	out.Mail = &mail.Sender{Server: server, From: c.NoticeMailFrom, To: c.NoticeMailTo, Roots: out.Roots}
	return nil
}

// lingerFor is how long a server continues to answer 503 after its data
// directory was removed or replaced. Load balancers and publishers see why, and
// no supervisor starts the next server on the wrong directory at once.
const lingerFor = 15 * time.Second

// readIngress reads the options about the way from clients.
func (c *serveCmd) readIngress(out *app.Config) error {
	for _, s := range c.TrustedProxy {
		p, err := readRange(s)
		if err != nil {
			return settingf("--trusted-proxy %q is neither an address nor an address range; write for example 127.0.0.1 or 10.0.0.0/8", s)
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
	return nil
}

// publicURL reads the URL at which people reach the server. It writes host and
// port as browsers write an origin, in small letters and without the scheme's
// default port, because the console compares the origin of forms with it.
func publicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || !isServerURL(u) {
		return nil, settingf("--public-url %q is not the URL of a server; write for example https://example.com or https://example.com/callbackd", text)
	}
	if strings.IndexFunc(u.Host, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0 {
		return nil, settingf("--public-url %q has a host with letters that are not ASCII; write the host as browsers send it, with xn--…", text)
	}
	u.Host = strings.TrimSuffix(strings.ToLower(u.Host), ":"+map[string]string{"http": "80", "https": "443"}[u.Scheme])
	u.Host = strings.TrimSuffix(u.Host, ":")
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return nil, settingf("--public-url %q has an invalid port; give one from 1 to 65535", text)
	}
	return u, nil
}

// isServerURL reports whether a URL has a scheme, a host and a plain path only.
func isServerURL(u *url.URL) bool {
	plainPath := path.Clean("/"+u.Path) == "/"+strings.Trim(u.Path, "/") && u.EscapedPath() == u.Path
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && !strings.Contains(u.Host, "%") &&
		u.User == nil && u.RawQuery == "" && u.Fragment == "" && plainPath
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

// Run serves until it is told to stop.
func (c *serveCmd) Run(e *env) error {
	cfg, err := c.config(e)
	if err != nil {
		return err
	}
	defer cfg.LogBuffer.Close(exitWait)
	signals := notifySignals()
	if os.Getenv("GOGC") == "" {
		go app.BoundGarbage(e.ctx)
	}
	app.LimitMemory(cfg.Log)
	a, err := app.Start(store.WithActor(e.ctx, callbackd.Actor{Kind: callbackd.ActorSystem}), cfg)
	if err != nil {
		return err
	}
	go handleSignals(e.ctx, signals, a, cfg.Log)
	fmt.Fprintln(e.stdout, "listening on", a.URL())
	c.whatNext(e, a)
	failed := false
	select {
	case <-e.ctx.Done():
	case <-a.Failed():
		failed = true
		cfg.Log.Error("the store failed", "error", a.Failure())
		if errors.Is(a.Failure(), sqlite.ErrReplaced) {
			clock.Sleep(e.ctx, lingerFor)
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
