package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/obs"
	"callbackd/internal/signature"
	"callbackd/internal/store/sqlite"
)

type demoCmd struct {
	Keep bool `help:"Keep the temporary data directory and print its path."`
}

const (
	demoSession = "ACM-7Q2M9XK4TD"
	demoFails   = 3 // requests the receiver refuses at first
	demoPatient = time.Minute
)

// demoEvent is an event and what it says, in a few words.
type demoEvent struct {
	client.NewEvent
	says string
}

// demoEvents is one inspection, as the platform publishes it.
func demoEvents() []demoEvent {
	type data = map[string]any
	var out []demoEvent
	add := func(t callbackd.EventType, says string, d data) {
		out = append(out, demoEvent{client.NewEvent{Event: string(t), SessionKey: demoSession, Data: d}, says})
	}
	status := func(from, to string) {
		add(callbackd.StatusChange, from+" to "+to, data{"status": to, "previous_status": from})
	}
	photo := func(code int, label, verdict string) {
		add(callbackd.StageChange, label+" "+strings.ToLower(verdict), data{"photo_code": code, "photo_label": label, "photo_status": verdict, "photo_url": fmt.Sprintf("https://photos.example.com/%s/%d.jpg", demoSession, code)})
	}
	add(callbackd.SMSProcess, "link sent by SMS", data{"phone": "+15555550100", "status": "success"})
	status("IDLE", "STARTED")
	photo(1, "VIN", "ACCEPTED")
	status("STARTED", "PROCESS")
	photo(4, "Left", "REJECTED: blurry")
	photo(4, "Left", "ACCEPTED")
	photo(5, "Front", "ACCEPTED")
	add(callbackd.NoteInsert, "scratch, left door", data{"note": data{"title": "Scratch", "description": "Left door, 4 cm", "inserted_by": "inspector", "inserted_at": "2026-01-02T03:04:05+00:00"}})
	status("PROCESS", "QC_PASSED")
	status("QC_PASSED", "CONFIRM")
	status("CONFIRM", "COMPLETE")
	add(callbackd.Complete, "the whole inspection", data{"session": data{"session_key": demoSession, "status": "COMPLETE"}})
	return out
}

// Run shows the whole way once.
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
	d := &demo{out: e.stdout, start: time.Now(), events: demoEvents(), done: make(chan struct{}), fails: demoFails}
	ctx, cancel := context.WithTimeout(e.ctx, demoPatient)
	defer cancel()
	a, cl, err := d.server(ctx, dir)
	if err != nil {
		return err
	}
	err = d.play(ctx, cl)
	stop, cancelStop := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancelStop()
	return errors.Join(err, a.Stop(stop))
}

// demo is the receiver and the voice of the demonstration.
type demo struct {
	out    io.Writer
	start  time.Time
	events []demoEvent
	done   chan struct{}

	mu    sync.Mutex
	keys  [][]byte
	fails int
	got   []int64 // sequence numbers that were taken
	wrong []string
}

func (d *demo) say(who, format string, args ...any) {
	fmt.Fprintf(d.out, "%6.3fs  %-9s  %s\n", time.Since(d.start).Seconds(), who, printable(fmt.Sprintf(format, args...)))
}

// server starts callbackd on the data directory with one key.
func (d *demo) server(ctx context.Context, dir string) (*app.App, *client.Client, error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Beside: true})
	if err != nil {
		return nil, nil, err
	}
	key := callbackd.Key{Account: "acme", APIKey: apikey.Text(), Secret: "demo-secret", Name: "demo", CreatedAt: time.Now()}
	_, err = s.CreateKey(ctx, key)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, nil, err
	}
	log, err := obs.NewLogger(io.Discard, "text", "error")
	if err != nil {
		return nil, nil, err
	}
	a, err := app.Start(ctx, app.Config{Listen: "127.0.0.1:0", Data: dir, Log: log, Keep: 24 * time.Hour, AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		return nil, nil, err
	}
	d.say("callbackd", "serves %s, on a temporary data directory", a.URL())
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
	d.say("receiver", "waits on http://%s, and will refuse %d requests at first", l.Addr(), demoFails)
	for _, t := range callbackd.EventTypes {
		_, err := cl.CreateCallback(ctx, client.NewCallback{Event: string(t), URL: "http://" + l.Addr().String() + "/hook", Retry: []string{"0s", "500ms", "1s", "1s", "2s", "2s"}})
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
	d.say("client", "registers a callback for each of the %d events of PAVE", len(callbackd.EventTypes))
	fmt.Fprintf(d.out, "\n         %s%s\n\n", "One inspection. A callback gets its events in order: when one is refused, the later\n         ",
		"ones of that callback wait for its retry, and the other callbacks go on.")
	for i, ev := range d.events {
		d.say("client", "publishes  #%-2d %s", i+1, d.line(i))
		got, err := cl.Publish(ctx, ev.NewEvent)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if got.Sequence != int64(i+1) {
			return fmt.Errorf("event %d of the session got the number %d", i+1, got.Sequence)
		}
	}
	d.say("client", "has a 202 for each: all %d are on disk, whatever happens now", len(d.events))
	select {
	case <-d.done:
	case <-ctx.Done():
		return fmt.Errorf("not everything was delivered within %v", demoPatient)
	}
	return d.verdict(ctx, cl)
}

// line describes event i.
func (d *demo) line(i int) string {
	return fmt.Sprintf("%-21s  %s", d.events[i].Event, d.events[i].says)
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
	if seq < 1 || seq > int64(len(d.events)) {
		d.wrong = append(d.wrong, fmt.Sprintf("a request with the sequence %d", seq))
		return
	}
	verified := slices.ContainsFunc(d.keys, func(k []byte) bool { return signature.Verify(k, r.Header, body, time.Now()) == nil })
	if !verified {
		d.wrong = append(d.wrong, fmt.Sprintf("#%d was not signed rightly", seq))
	}
	line, attempt := d.line(int(seq-1)), r.Header.Get("callback-attempt")
	if d.fails > 0 {
		d.fails--
		d.say("receiver", "refuses    #%-2d %-46s  attempt %s: 503", seq, line, attempt)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d.say("receiver", "takes      #%-2d %-46s  attempt %s", seq, line, attempt)
	d.got = append(d.got, seq)
	if len(d.got) == len(d.events) {
		close(d.done)
	}
}

// verdict checks the order of each callback and asks the API whether it
// agrees.
func (d *demo) verdict(ctx context.Context, cl *client.Client) error {
	for {
		list, err := cl.Deliveries(ctx, url.Values{"state": {"delivered"}, "limit": {"200"}})
		if err != nil {
			return fmt.Errorf("list deliveries: %w", err)
		}
		if len(list.Data) == len(d.events) {
			break
		}
		select { // the last outcome is recorded a moment after its answer
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d deliveries are recorded as delivered", len(list.Data), len(d.events))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	order := map[string][]int64{}
	for _, seq := range d.got {
		ev := d.events[seq-1].Event
		order[ev] = append(order[ev], seq)
	}
	fmt.Fprintln(d.out, "\n         What each callback got, in the order it got it:")
	for _, t := range callbackd.EventTypes {
		var numbers strings.Builder
		for _, seq := range order[string(t)] {
			fmt.Fprintf(&numbers, " #%d", seq)
		}
		fmt.Fprintf(d.out, "         %-21s %s\n", t, &numbers)
		if got := order[string(t)]; !slices.IsSorted(got) || len(slices.Compact(got)) < len(got) {
			d.wrong = append(d.wrong, fmt.Sprintf("%s came out of order or twice", t))
		}
	}
	if len(d.wrong) > 0 {
		return fmt.Errorf("not as promised: %s", strings.Join(d.wrong, "; "))
	}
	fmt.Fprintf(d.out, "\nall %d events were delivered, each callback's in order, every signature verified\n", len(d.events))
	return nil
}
