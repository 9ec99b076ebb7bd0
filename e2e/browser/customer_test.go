package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/console"
	"callbackd/internal/store"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// logo is a mark that only draws.
const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#0b6e4f"/><path d="M6 12l4 4 8-8" stroke="#fff" stroke-width="2.500" fill="none"/></svg>`

// customerLink returns the path of a link to the console of the site's key.
func (s *site) customerLink(t *testing.T, role callbackd.ConsoleRole, returnTo string) string {
	t.Helper()
	token, hash := apikey.NewLinkToken()
	st := s.Store(true)
	defer st.Close()
	link := callbackd.ConsoleLink{Role: role, Lasts: time.Hour, ReturnTo: returnTo}
	if err := st.CreateLogin(context.Background(), store.NewCustomerLink(hash, s.Key.ID, link, time.Now())); err != nil {
		t.Fatal(err)
	}
	return callbackd.CustomerURL("", token)
}

// branded restarts the site with a name, a logo, a colour and a portal.
func (s *site) branded(t *testing.T, portal string) {
	t.Helper()
	s.Stop()
	var err error
	if s.Console.Brand, err = console.NewBrand("Acme Inspections", []byte(logo), "#0b6e4f"); err != nil {
		t.Fatal(err)
	}
	s.Console.ReturnOrigins, s.Console.FrameAncestors = []string{portal}, []string{portal}
	s.Start()
}

// A customer comes by a link, sees the deliveries of one key, and goes back.
func TestACustomersWay(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *site) {
		const portal = "https://app.example.com"
		s.branded(t, portal)
		recv := newReceiver(t)
		if _, err := s.Client(s.Key).CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:COMPLETE", URL: recv.URL}); err != nil {
			t.Fatal(err)
		}
		s.Publish(s.Key, callbackd.Complete, "ACM-0000000001", map[string]any{"grade": 2})
		b := s.browser(t)
		link := s.customerLink(t, callbackd.ConsoleViewer, portal+"/settings")
		b.open(link)
		b.sees("This link works once")
		b.pictures("enter")
		b.button("Continue")
		b.sees("Overview")
		b.sees("Back to app.example.com")
		if who := b.text(".who"); !strings.Contains(who, "viewer") {
			t.Errorf("the page says that %q is signed in", who)
		}
		b.pictures("overview-viewer")
		b.open("/console/callbacks")
		b.press(".main-link")
		b.sees("Health")
		b.pictures("callback-viewer")
		b.open("/console/callbacks/new")
		b.sees("This page is for the role developer")
		b.pictures("refused-viewer")
		b.open(link)
		b.button("Continue") // pressed twice
		b.sees("Overview")
		b.button("Sign out")
		b.open(link)
		b.button("Continue")
		b.sees("was used already")
		b.pictures("enter-used")

		b.open(s.customerLink(t, callbackd.ConsoleDeveloper, portal+"/settings"))
		b.button("Continue")
		b.open("/console/callbacks")
		b.press(".main-link")
		b.button("Pause")
		b.sees("The callback is paused")
		b.pictures("callback-developer")
		b.open("/console/audit")
		b.sees("console link developer")
		b.button("Sign out")
		b.sees("You are signed out")
		b.clean()
	})
}

// A page of another site shows the console in a frame, and its cookie works there. A page of
// a site that the operator did not name cannot.
func TestTheConsoleInAFrame(t *testing.T) {
	s := startSite(t)
	var frame string
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>portal</title><main>The portal<br><iframe src="%s" width="1200" height="800"></iframe></main>`, frame)
	}))
	t.Cleanup(portal.Close)
	// The site of localhost is another one than that of 127.0.0.1.
	port := portal.URL[strings.LastIndexByte(portal.URL, ':'):]
	s.branded(t, "http://localhost"+port)

	b := s.browser(t)
	frame = s.URL + s.customerLink(t, callbackd.ConsoleViewer, "")
	b.do(chromedp.Navigate("http://localhost"+port), chromedp.WaitReady(chromedp.CSS("main")))
	s.Await(func() bool { return b.frameAt("/console/enter") })
	b.screen("frame-enter")
	b.clickInFrame(485, 268)
	s.Await(func() bool { return b.frameAt("/console/") })
	// Only who is signed in there has the navigation.
	s.Await(func() bool {
		b.clickInFrame(88, 185)
		return b.frameAt("/console/callbacks")
	})
	b.screen("frame-callbacks")

	frame = s.URL + s.customerLink(t, callbackd.ConsoleViewer, "")
	b.do(chromedp.Navigate("http://127.0.0.1"+port), chromedp.WaitReady(chromedp.CSS("main")))
	s.Await(func() bool { return b.frameAt("chrome-error:") || b.frameAt("") })
	if b.frameAt("/console/") {
		t.Error("a page of an origin that is not named shows the console")
	}
	b.screen("frame-refused")
}

// frameAt reports whether a frame of another site has an address that ends with a text.
func (b *browser) frameAt(end string) bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	all, err := chromedp.Call(ctx, target.GetTargets, target.GetTargetsParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, info := range all.TargetInfos {
		address, _, _ := strings.Cut(info.URL, "?")
		if info.Type == "iframe" && end != "" && (strings.HasSuffix(address, end) || strings.HasPrefix(address, end)) {
			return true
		}
		if info.Type == "iframe" && end == "" {
			return false
		}
	}
	return end == ""
}

// clickInFrame presses what is at a place of the frame.
func (b *browser) clickInFrame(x, y float64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience/10)
	defer cancel()
	box := eval[[]float64](b, `(() => { const r = document.querySelector("iframe").getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()`)
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		_, err := chromedp.Call(ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: box[0] + x, Y: box[1] + y, Button: input.MouseButtonLeft, ClickCount: 1})
		if err != nil { // the frame went on to the next page before it answered
			b.t.Logf("%s: %v", kind, err)
		}
	}
}
