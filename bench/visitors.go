package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
	"callbackd/internal/signature"
)

// visitors measures how much one visitor that takes as much as it can slows the calls of
// another API key.
type visitors struct {
	extremes
	connections, deleted, calls, limit int
}

func visitorsCommand(fs *flag.FlagSet) func() error {
	v := &visitors{}
	fs.IntVar(&v.connections, "connections", 10_000, "connections that one visitor holds")
	fs.IntVar(&v.deleted, "deleted", 12_000, "deleted callbacks of its key")
	fs.IntVar(&v.calls, "calls", 1000, "publishes, and as many lists, of the other key in each measurement")
	fs.IntVar(&v.limit, "memory", 512, "MiB that the server may use; Go is told three quarters, as from a control group")
	v.dirFlag(fs)
	return func() error {
		if err := v.open(); err != nil {
			return err
		}
		return v.compare()
	}
}

func (v *visitors) compare() error {
	f, err := v.fixture("visitors")
	if err != nil {
		return err
	}
	ctx := context.Background()
	hostile, err := f.newKey("hostile")
	if err != nil {
		return err
	}
	if err := f.deleteMany(hostile.ID, v.deleted); err != nil {
		return err
	}
	os.Setenv("GOMEMLIMIT", fmt.Sprint(v.limit<<20/4*3))
	p, other, err := f.serve(v.server)
	os.Unsetenv("GOMEMLIMIT")
	if err != nil {
		return err
	}
	cl := f.client(p, "hostile")
	large := map[string]string{"x": strings.Repeat("x", callbackd.MaxEventData-100)}
	for range 90 {
		if _, err := cl.Publish(ctx, client.NewEvent{Event: "SESSION:COMPLETE", SessionKey: "large", Data: large}); err != nil {
			return err
		}
	}
	step("calls alone")
	alone, err := v.callsOf(other)
	if err != nil {
		return err
	}
	step("%d connections", v.connections)
	held, err := v.hold(strings.TrimPrefix(p.url, "http://"), cl)
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	visited, err := v.callsOf(other)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	for i := range 2 * front.MaxReads {
		work.Go(func() { v.ask(asking, i, cl) })
	}
	asked, err := v.callsOf(other)
	stop()
	work.Wait()
	if err != nil {
		return err
	}
	now, peak := p.rss()
	printHead(fmt.Sprintf("%s calls, %s connections of the visitor, %s deleted callbacks", humanize.Number(2*v.calls), humanize.Number(v.connections), humanize.Number(v.deleted)),
		"calls of another key", "p50", "p99", "p99, times alone")
	base := v.show("alone", alone, 0)
	v.show("while a visitor holds its connections", visited, base)
	v.show("and while it asks for the largest pages, over and over", asked, base)
	fmt.Printf("\nRSS %s, at its peak %s of %d MiB\n", memoryText(now), memoryText(peak), v.limit)
	return nil
}

// show prints a row and returns its p99.
func (v *visitors) show(figure string, took []time.Duration, base time.Duration) time.Duration {
	p50, p99 := percentiles(took)
	ratio := ""
	if base > 0 {
		ratio = ratioText(float64(p99) / float64(base))
	}
	printRow(figure, humanize.Latency(p50), humanize.Latency(p99), ratio)
	return p99
}

// ask reads the largest pages until ctx is done.
func (v *visitors) ask(ctx context.Context, i int, cl *client.Client) {
	pages := []string{"/v1/events?limit=200", "/v1/events?after=start&limit=200", "/v1/deliveries?state=failed&limit=200", "/v1/callbacks?deleted=true"}
	for ctx.Err() == nil {
		if cl.Do(ctx, http.MethodGet, pages[i%len(pages)], nil, nil) != nil {
			select { // the visitor expects to be refused
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// deleteMany makes and deletes n callbacks of a key.
func (f *fixture) deleteMany(key callbackd.KeyID, n int) error {
	const side = 64
	ctx := context.Background()
	return atOnce(n, side, func(i int) error {
		cb := callbackd.Callback{Key: key, Event: callbackd.StatusChange, Name: fmt.Sprint("n", i%side), URL: "https://a.example/", Method: "POST", Payload: bytes.Repeat([]byte(" "), 8000),
			Headers: []callbackd.Header{{Name: "X-A", Value: callbackd.Secret(strings.Repeat("a", 4000))}}, Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}
		if _, _, err := f.CreateCallback(ctx, cb, time.Now()); err != nil {
			return err
		}
		_, err := f.ChangeCallback(ctx, key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.Delete(time.Now())
			return nil
		})
		return err
	})
}

// callsOf makes calls of a key, one after the other.
func (v *visitors) callsOf(cl *client.Client) (took []time.Duration, err error) {
	ctx := context.Background()
	for i := range v.calls {
		for _, call := range []func() error{
			func() error {
				_, err := cl.Publish(ctx, client.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: fmt.Sprint("S", i)})
				return err
			},
			func() error { return cl.Do(ctx, http.MethodGet, "/v1/events?limit=5", nil, nil) },
		} {
			begun := time.Now()
			if err := call(); err != nil {
				return nil, fmt.Errorf("call %d of the other key: %w", i, err)
			}
			took = append(took, time.Since(begun))
		}
	}
	return took, nil
}

// hold opens connections from ten addresses and leaves them as they are: some
// silent, some with a body that never comes, some with an answer that nobody
// reads. The server closes some of them.
func (v *visitors) hold(address string, cl *client.Client) (held []net.Conn, err error) {
	body := append(v.head(cl, "POST /v1/events", "Content-Length: 1048576\r\n"), bytes.Repeat([]byte(" "), 8192)...)
	list, deliveries := v.head(cl, "GET /v1/events?limit=200", ""), v.head(cl, "GET /v1/deliveries?state=failed&limit=200", "")
	for i := range v.connections {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(20+i%10))}, Timeout: time.Minute,
			Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
			}}
		c, err := d.DialContext(context.Background(), "tcp", address)
		if err != nil {
			return held, fmt.Errorf("connection %d: %w", i, err)
		}
		held = append(held, c)
		switch i % 10 { // errors of connections that the server has closed meanwhile do not matter
		case 0, 1, 2, 3:
			c.Write(body)
		case 4, 5:
			c.Write(list)
		case 6:
			c.Write(deliveries)
		}
	}
	return held, nil
}

// head is the head of a signed request.
func (v *visitors) head(cl *client.Client, line, more string) []byte {
	var b bytes.Buffer
	b.WriteString(line + " HTTP/1.1\r\nHost: x\r\n" + more)
	h := http.Header{}
	signature.SetHeaders(h, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	h.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}
