package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/callbacks"
	"callbackd/internal/console"
	"callbackd/internal/humanize"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Create an API key and print its secret."`
	List   keysListCmd   `cmd:"" help:"List API keys, without secrets."`
	Set    keysSetCmd    `cmd:"" help:"Change the settings of an API key."`
	Rotate keysRotateCmd `cmd:"" help:"Give an API key a new secret. The old secret stays valid for a while."`
	Link   keysLinkCmd   `cmd:"" help:"Print a link that signs a customer in to the console of an API key, once, within 10 minutes."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke an API key: its calls are refused, and its pending deliveries are canceled."`
}

// dataFlag holds the options of commands that work on a store, with or without
// a server that runs on it.
type dataFlag struct {
	Data        string `default:"./callbackd-data" env:"CALLBACKD_DATA" help:"Data directory of the embedded store."`
	DatabaseURL string `name:"database-url" env:"CALLBACKD_DATABASE_URL" secret:"" placeholder:"URL" help:"PostgreSQL database to use instead of a data directory, such as postgres://callbackd@db.internal/callbackd. Needs --secret-keys. Also from a file: CALLBACKD_DATABASE_URL_FILE."`
	SecretKeys  string `env:"CALLBACKD_SECRET_KEYS" placeholder:"FILE" help:"Keyset file that encrypts stored secrets. Default: secret-keys.json in the data directory. With --database-url every node needs a copy of the same file."`
}

func (d *dataFlag) storeConfig() app.StoreConfig {
	return app.StoreConfig{Data: d.Data, DatabaseURL: d.DatabaseURL, KeysetFile: d.SecretKeys}
}

func (d *dataFlag) open(ctx context.Context) (store.Store, error) {
	return d.storeConfig().Open(ctx, true, nil)
}

// existing opens a store for commands that do not create one.
func (d *dataFlag) existing(ctx context.Context) (store.Store, error) {
	return d.storeConfig().Existing(ctx)
}

// inspect opens a store read-only.
func (d *dataFlag) inspect(ctx context.Context) (store.Store, error) {
	return d.storeConfig().Inspect(ctx)
}

// waitForServers waits until every running server has noticed a change of keys.
func waitForServers() { <-time.After(store.MaxKeyAge + 50*time.Millisecond) }

type keysCreateCmd struct {
	dataFlag
	Account string        `required:"" help:"Account name, which is part of the signed text of each call."`
	Name    string        `help:"Name of the key, shown in lists and in the console."`
	Test    bool          `help:"Create a test key instead of a live key."`
	Expires time.Duration `name:"sessions-expire-after" aliases:"expires" default:"7d" help:"How long after its creation a session of this key expires, unless it has passed quality control, such as 3d."`
	Capture string        `name:"capture-url" env:"CALLBACKD_KEY_CAPTURE_URL" placeholder:"TEMPLATE" help:"Link that a person opens to capture a session of this key, instead of the server's --capture-url: a URL with {account} and {session_key} in it."`
	Ends    string        `name:"expires-at" placeholder:"TIME" help:"When calls with this key begin to be refused: 2027-01-02T15:04:05Z, or 90d for that long from now. Default: never. What was accepted before is still delivered."`
	keyLimitOptions
	Server string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" help:"URL of the server, for the commands that are printed."`
	JSON   bool   `help:"Print JSON instead of text."`
}

// expiry reads --expires-at; the zero time stands for never.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" || text == "never" {
		return time.Time{}, nil
	}
	if d, err := callbackd.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d).UTC().Truncate(time.Millisecond), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, settingf("--expires-at %q is not a time; write for example 2027-01-02T15:04:05Z, or 90d for that long from now", text)
	}
	return at.UTC().Truncate(time.Millisecond), nil
}

// captureTemplate reads --capture-url, which may be empty. The account must fit
// into the template, unless account is empty: not known.
func captureTemplate(s, account string) (callbackd.CaptureTemplate, error) {
	if s == "" {
		return "", nil
	}
	t, err := callbackd.ParseCaptureTemplate(s)
	if err != nil {
		return "", settingf("--capture-url %q %v", s, err)
	}
	if account != "" && !t.Fits(account) {
		return "", settingf("--capture-url %q has {account} in its host name, and the account %q is not letters, digits and hyphens only; put {account} into the path instead", s, account)
	}
	return t, nil
}

// createdKey is the output of keys create --json.
type createdKey struct {
	Account   string `json:"account"`
	APIKey    string `json:"api_key"`
	APISecret string `json:"api_secret"`
	Name      string `json:"name"`
	Live      bool   `json:"live"`
}

// Run creates a key.
func (c *keysCreateCmd) Run(e *env) error {
	k, err := apikey.New(c.Account, c.Name, !c.Test, time.Now())
	if err != nil {
		return settingf("--%v", err)
	}
	if err := checkDuration("--sessions-expire-after", c.Expires, callbackd.MinTimeFrame, callbackd.MaxTimeFrame); err != nil {
		return err
	}
	if k.CaptureURL, err = captureTemplate(c.Capture, c.Account); err != nil {
		return err
	}
	if k.ExpiresAt, err = expiry(c.Ends, time.Now()); err != nil {
		return err
	}
	if err := c.keyLimitOptions.set(&k); err != nil {
		return err
	}
	s, err := c.open(e.ctx)
	if err != nil {
		return err
	}
	k.TimeFrame = c.Expires
	k, err = s.CreateKey(e.ctx, k)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	waitForServers()
	out := createdKey{k.Account, k.APIKey, k.Secret.Reveal(), k.Name, k.Live}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(out)
	}
	at := strings.TrimSuffix(c.Server, "/")
	_, err = fmt.Fprintf(e.stdout, `account     %[1]s
api key     %[2]s
api secret  %[3]s

The secret signs every call. Set it in bash, for callbackd and its how-to pages:
  export CALLBACKD_URL=%[4]s CALLBACKD_ACCOUNT=%[5]s CALLBACKD_KEY=%[2]s CALLBACKD_SECRET=%[3]s
Then try:
  curl -H @<(%[6]s headers) $CALLBACKD_URL/v1/callbacks
Key and secret also sign in to the console: %[7]s%[8]s/
`, out.Account, out.APIKey, out.APISecret, shellQuote(at), shellQuote(out.Account), self(), at, console.Root)
	return err
}

type keysListCmd struct {
	dataFlag
	JSON bool `help:"Print JSON instead of text, one key a line."`
}

// Run lists the keys.
func (c *keysListCmd) Run(e *env) error {
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	keys, err := s.ListKeys(e.ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "API KEY\tACCOUNT\tNAME\tKIND\tCREATED\tEXPIRES\tREVOKED")
	}
	for _, k := range keys {
		kind, expires, revoked := "live", "-", "-"
		if !k.ExpiresAt.IsZero() {
			expires = k.ExpiresAt.Format(time.RFC3339)
		}
		if !k.Live {
			kind = "test"
		}
		if k.Revoked() {
			revoked = k.RevokedAt.Format(time.RFC3339)
		}
		if c.JSON {
			shown := view.Key(&k, k.CreatedAt)
			err := json.NewEncoder(e.stdout).Encode(map[string]any{"account": k.Account, "api_key": k.APIKey, "name": k.Name, "live": k.Live, "capture_url": string(k.CaptureURL), "sessions_expire_after": callbackd.FormatDuration(k.SessionTimeFrame()), "created_at": k.CreatedAt, "expires_at": timeOrNil(k.ExpiresAt), "limits": view.KeyLimits(k.Limits), "retention": shown.Retention, "retention_events": shown.RetentionEvents, "revoked": k.Revoked()})
			if err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.APIKey, k.Account, k.Name, kind, k.CreatedAt.Format(time.RFC3339), expires, revoked)
	}
	return w.Flush()
}

// timeOrNil returns a time for JSON, or nil for the zero time.
func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

type keysSetCmd struct {
	dataFlag
	Key string `arg:"" help:"The API key."`
	keyLimitOptions
	Ends    string `name:"expires-at" placeholder:"TIME" help:"When calls with the key begin to be refused: 2027-01-02T15:04:05Z, 90d for that long from now, or never."`
	Capture string `name:"capture-url" env:"CALLBACKD_KEY_CAPTURE_URL" placeholder:"TEMPLATE" help:"Link that a person opens to capture a session of this key: a URL with {account} and {session_key} in it, or none, so that the server's --capture-url is used."`
}

// Run changes a key's settings.
func (c *keysSetCmd) Run(e *env) error {
	if c.Capture == "" && c.Ends == "" && !c.keyLimitOptions.given() {
		return settingf("keys set changes nothing without an option; give --capture-url, --expires-at, or a limit such as --publish-rate")
	}
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	err = c.set(e.ctx, s)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	waitForServers()
	_, err = fmt.Fprintln(e.stdout, "changed", c.Key)
	return err
}

func (c *keysSetCmd) set(ctx context.Context, s store.Store) error {
	k, err := s.Key(ctx, c.Key)
	if err != nil {
		return err
	}
	next := *k
	next.CaptureURL = ""
	if c.Capture != "none" {
		if next.CaptureURL, err = captureTemplate(c.Capture, k.Account); err != nil {
			return err
		}
	}
	if c.Ends != "" {
		if next.ExpiresAt, err = expiry(c.Ends, time.Now()); err != nil {
			return err
		}
	}
	if err := c.keyLimitOptions.set(&next); err != nil { // before anything is changed
		return err
	}
	return s.ChangeKey(ctx, c.Key, func(k *callbackd.Key) error {
		if err := c.keyLimitOptions.set(k); err != nil {
			return err
		}
		if c.Capture != "" {
			k.CaptureURL = next.CaptureURL
		}
		if c.Ends != "" {
			k.ExpiresAt = next.ExpiresAt
		}
		return nil
	})
}

type keysRotateCmd struct {
	dataFlag
	Key     string        `arg:"" help:"The API key."`
	Overlap time.Duration `aliases:"keep" default:"1d" env:"CALLBACKD_ROTATE_OVERLAP" help:"How long the old secret stays valid in addition to the new one, such as 12h. 0s ends it at once."`
}

// Run rotates a key's secret.
func (c *keysRotateCmd) Run(e *env) error {
	if err := checkDuration("--overlap", c.Overlap, 0, callbacks.MaxKeep); err != nil {
		return err
	}
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	secret, until := apikey.Secret(), time.Now().Add(c.Overlap)
	err = s.ChangeKey(e.ctx, c.Key, func(k *callbackd.Key) error { return k.Rotate(secret, until) })
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	waitForServers()
	old := "The old secret is no longer valid."
	if c.Overlap > 0 {
		old = "The old secret stays valid until " + until.UTC().Format(time.RFC3339) + "."
	}
	_, err = fmt.Fprintf(e.stdout, "api key     %s\napi secret  %s\n\n%s\n", c.Key, secret.Reveal(), old)
	return err
}

type keysRevokeCmd struct {
	dataFlag
	Key string `arg:"" help:"The API key."`
}

// Run revokes a key.
func (c *keysRevokeCmd) Run(e *env) error {
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	err = s.ChangeKey(e.ctx, c.Key, func(k *callbackd.Key) error {
		k.Revoke(now)
		return nil
	})
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	waitForServers()
	_, err = fmt.Fprintln(e.stdout, "revoked", c.Key)
	return err
}

type headersCmd struct{ keyFlags }

// Run prints the headers, one a line.
func (c *headersCmd) Run(e *env) error {
	if err := c.checkKey(); err != nil {
		return err
	}
	stamp := time.Now().UTC().Format(time.RFC3339)
	_, err := fmt.Fprintf(e.stdout, "%s: %s\n%s: %s\n%s: %s\n", signature.HeaderKey, c.Key,
		signature.HeaderToken, signature.Token(c.Account, c.Key, stamp, c.Secret), signature.HeaderTimestamp, stamp)
	return err
}

type fsckCmd struct {
	dataFlag
}

// Run checks the store and prints a balance for each callback.
func (c *fsckCmd) Run(e *env) error {
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	ctx, clear := withBar(e, "events", humanize.Number[int64])
	r, err := s.Check(ctx)
	clear()
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "callback\tevent\taccepted\tdelivered\tfailed\tcanceled\texpired\tpending\tattempts\trepeats\t")
	for _, b := range r.Callbacks {
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", b.Callback.ID, cmp.Or(b.Callback.Session, string(b.Callback.Event)), b.Accepted, b.Delivered, b.Failed, b.Canceled, b.Expired, b.Pending, b.Attempts, b.Repeats)
		if !b.Balanced() {
			r.Fault("callback %d: accepted is not delivered + failed + canceled + expired + pending", b.Callback.ID)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printSealed(e.stdout, s.Keyset(), &r.Sealed)
	for _, f := range r.Faults {
		fmt.Fprintln(e.stdout, "FAULT:", f)
	}
	if r.FaultN > 0 {
		fmt.Fprintf(e.stdout, "%s, %s\n", humanize.Plural(r.Events, "event"), humanize.Plural(r.FaultN, "fault"))
		return exit(1)
	}
	fmt.Fprintf(e.stdout, "%s, every delivery is in exactly one state\n", humanize.Plural(r.Events, "event"))
	return nil
}

// printSealed prints how many secrets each key has sealed.
func printSealed(w io.Writer, k callbackd.Keyset, counts *store.SealedCounts) {
	if counts.Secrets == 0 {
		return
	}
	var parts []string
	for _, key := range keysOf(k, counts) {
		if key.Secrets > 0 {
			parts = append(parts, fmt.Sprintf("%s with the key %s (%s)", humanize.Number(key.Secrets), key.Key, key.State))
		}
	}
	fmt.Fprintf(w, "%s: %s\n", humanize.Plural(counts.Secrets, "secret"), strings.Join(parts, ", "))
}

func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
