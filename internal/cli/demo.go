package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/clock"
	"callbackd/internal/humanize"
	"callbackd/internal/obs"
	"callbackd/internal/safetext"
	"callbackd/internal/signature"
	"callbackd/internal/simulate"
	"callbackd/wire"
)

type demoCmd struct {
	Keep        bool   `env:"CALLBACKD_DEMO_KEEP" help:"Do not remove the temporary data directory at the end, and print its path."`
	DatabaseURL string `name:"database-url" env:"CALLBACKD_DATABASE_URL" secret:"" placeholder:"URL" help:"PostgreSQL database to use instead of a temporary data directory. Use an empty one: what the demo creates stays in it. Also from a file: CALLBACKD_DATABASE_URL_FILE."`
	SecretKeys  string `env:"CALLBACKD_SECRET_KEYS" placeholder:"FILE" help:"With --database-url: keyset file of the database. Default: a temporary file, which works with an empty database only."`
}

const (
	demoFails   = 3 // requests that the receiver refuses at first
	demoSeed    = 11
	demoTimeout = time.Minute
	demoShown   = 5 // events that the end of the demo lists
)

// describe returns an event in a few words.
func describe(body []byte) string {
	var d struct {
		Event, Status  string
		Phone          string
		PreviousStatus string `json:"previous_status"`
		PhotoStatus    string `json:"photo_status"`
		PhotoLabel     string `json:"photo_label"`
		Note           struct{ Title string }
		Photos         []json.RawMessage
	}
	json.Unmarshal(body, &d)
	text := ""
	switch callbackd.EventType(d.Event) {
	case callbackd.SMSProcess:
		text = "SMS status: " + d.Status
	case callbackd.SMSRequested:
		text = "to be sent to " + d.Phone
	case callbackd.StageChange:
		text = d.PhotoLabel + " " + strings.ToLower(d.PhotoStatus)
	case callbackd.StatusChange:
		text = d.PreviousStatus + " to " + d.Status
	case callbackd.NoteInsert:
		text = strings.ToLower(d.Note.Title)
	case callbackd.Complete:
		text = fmt.Sprintf("the whole inspection, %s", humanize.Plural(len(d.Photos), "photo"))
	}
	return fmt.Sprintf("%-21s  %s", d.Event, text)
}

// Run plays one inspection and shows every step of it.
func (c *demoCmd) Run(e *env) error {
	dir, err := os.MkdirTemp("", "callbackd-demo-")
	if err != nil {
		return err
	}
	if c.Keep {
		fmt.Fprintln(e.stdout, "data directory:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	d := &demo{out: e.stdout, start: time.Now(), done: make(chan struct{}), fails: demoFails}
	ctx, cancel := context.WithTimeout(e.ctx, demoTimeout)
	defer cancel()
	config := app.StoreConfig{Data: dir}
	if c.DatabaseURL != "" {
		config = app.StoreConfig{DatabaseURL: c.DatabaseURL, KeysetFile: cmp.Or(c.SecretKeys, filepath.Join(dir, "secret-keys.json"))}
	}
	a, cl, err := d.server(ctx, config)
	if err != nil {
		return err
	}
	err = d.play(ctx, cl)
	stop, cancelStop := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancelStop()
	return errors.Join(err, a.Stop(stop))
}

// demo is the receiver of the demonstration, and prints its steps.
type demo struct {
	out   io.Writer
	start time.Time
	done  chan struct{}

	mu    sync.Mutex
	keys  [][]byte
	fails int
	want  int // events that were fired; 0 until all are
	got   []taken
	wrong []string
}

// taken is an event that the receiver accepted.
type taken struct {
	event string
	seq   int64
}

func (d *demo) say(who, format string, args ...any) {
	fmt.Fprintf(d.out, "%6.3fs  %-9s  %s\n", time.Since(d.start).Seconds(), who, safetext.Replace(fmt.Sprintf(format, args...)))
}

// server starts callbackd on a store, with one API key.
func (d *demo) server(ctx context.Context, config app.StoreConfig) (*app.App, *client.Client, error) {
	s, err := config.Open(ctx, true, nil)
	if err != nil {
		return nil, nil, err
	}
	key := callbackd.Key{Account: "acme", APIKey: apikey.Text(), Secret: "demo-secret", Name: "demo", CreatedAt: time.Now()}
	_, err = s.CreateKey(ctx, key)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, nil, err
	}
	log, err := obs.NewLogger(io.Discard, "text", slog.LevelError)
	if err != nil {
		return nil, nil, err
	}
	a, err := app.Start(ctx, app.Config{Listen: "127.0.0.1:0", StoreConfig: config, Log: log, Retention: 24 * time.Hour, CaptureURL: "https://{account}.capture.example/{session_key}", AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		return nil, nil, err
	}
	where := "a temporary data directory"
	if config.DatabaseURL != "" {
		where = "PostgreSQL"
	}
	d.say("callbackd", "listens on %s, with its data in %s", a.URL(), where)
	return a, &client.Client{Base: a.URL(), Account: key.Account, APIKey: key.APIKey, APISecret: key.Secret.Reveal()}, nil
}

func (d *demo) play(ctx context.Context, cl *client.Client) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: d}
	go srv.Serve(l)
	defer srv.Close()
	d.say("receiver", "listens on http://%s, and will refuse the first %d requests", l.Addr(), demoFails)
	for _, t := range callbackd.SessionEvents {
		_, err := cl.CreateCallback(ctx, client.NewCallback{Event: string(t), URL: "http://" + l.Addr().String() + "/hook", Retry: []string{"0s", "500ms", "1s", "1s", "2s", "2s"}, Policy: &client.Policy{OrderGroup: callbackd.GroupByOrigin}})
		if err != nil {
			return fmt.Errorf("register a callback: %w", err)
		}
		secret, err := cl.Secret(ctx, string(t))
		if err != nil {
			return fmt.Errorf("read the signing secret: %w", err)
		}
		key, err := signature.ParseSecret(secret)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.keys = append(d.keys, key)
		d.mu.Unlock()
	}
	d.say("client", "registers a callback for each of the %d event types, all in one order group", len(callbackd.SessionEvents))
	fmt.Fprintf(d.out, "\n         %s%s\n\n", "One inspection. The callbacks of an order group get the events of a session in order:\n         ",
		"when one is refused, the later ones wait for its retry, and other sessions go on.")
	plan := simulate.New(rand.New(rand.NewPCG(demoSeed, demoSeed)), 1, simulate.Odds{Reject: 0.15})
	key, err := plan.Play(ctx, cl, 0, func(_, says string, c wire.SessionChange) {
		if c.Events == nil { // a call of the client itself, whose answer does not name the events
			d.say("client", "%s", says)
			return
		}
		d.say("platform", "%-34s  the session is %s, %s", says, c.Status, humanize.Plural(len(c.Events), "event"))
	})
	if err != nil {
		return err
	}
	page, err := cl.SessionEvents(ctx, key, "")
	if err != nil {
		return fmt.Errorf("read the events of the session: %w", err)
	}
	fired := len(page.Data)
	d.say("platform", "has an answer to each call: all %d events are on disk", fired)
	d.mu.Lock()
	d.want = fired
	d.finished()
	d.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		return fmt.Errorf("not every event was delivered within %s", humanize.Duration(demoTimeout))
	}
	return d.verdict(ctx, cl)
}

// finished closes done when every event was accepted by the receiver.
func (d *demo) finished() {
	if d.want > 0 && len(d.got) == d.want {
		close(d.done)
	}
}

// ServeHTTP is the receiver.
func (d *demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	seq, _ := strconv.ParseInt(r.Header.Get("callback-sequence"), 10, 64)
	verified := slices.ContainsFunc(d.keys, func(k []byte) bool { return signature.Verify(k, r.Header, body, time.Now()) == nil })
	if !verified {
		d.wrong = append(d.wrong, fmt.Sprintf("the signature of #%d is not valid", seq))
	}
	line, attempt := describe(body), r.Header.Get("callback-attempt")
	if d.fails > 0 {
		d.fails--
		d.say("receiver", "refuses  #%-2d %-46s  attempt %s: 503", seq, line, attempt)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d.say("receiver", "accepts  #%-2d %-46s  attempt %s", seq, line, attempt)
	event, _, _ := strings.Cut(line, " ")
	d.got = append(d.got, taken{event, seq})
	d.finished()
}

// verdict checks the order of the events, and that the API shows them all as delivered.
func (d *demo) verdict(ctx context.Context, cl *client.Client) error {
	for {
		list, err := cl.Deliveries(ctx, url.Values{"state": {"delivered"}, "limit": {"200"}})
		if err != nil {
			return fmt.Errorf("list deliveries: %w", err)
		}
		if len(list.Data) == d.want {
			break
		}
		if !clock.Sleep(ctx, 20*time.Millisecond) { // the last outcome is recorded a moment after its answer
			return fmt.Errorf("%d of %d deliveries are recorded as delivered", len(list.Data), d.want)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.out, "\n         The last events that the receiver accepted, in that order:")
	for _, g := range d.got[max(0, len(d.got)-demoShown):] {
		fmt.Fprintf(d.out, "         #%-2d %s\n", g.seq, g.event)
	}
	for i := 1; i < len(d.got); i++ {
		if d.got[i].seq <= d.got[i-1].seq {
			d.wrong = append(d.wrong, fmt.Sprintf("#%d %s arrived after #%d", d.got[i].seq, d.got[i].event, d.got[i-1].seq))
		}
	}
	if len(d.wrong) > 0 {
		return fmt.Errorf("the demonstration failed: %s", strings.Join(d.wrong, "; "))
	}
	fmt.Fprintf(d.out, "\nAll %d events were delivered, in order, and every signature was verified.\n", d.want)
	return nil
}
