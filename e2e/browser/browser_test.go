package browser

import (
	"context"
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"callbackd"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var shotsDir = flag.String("shots", "", "keep the screenshots of the test run in this directory")

// patience bounds every wait of a browser test; nothing waits that long unless
// it has failed.
const patience = 30 * time.Second

// browser is a tab with an eye on what must not happen: an error in its
// console, a request to another host.
type browser struct {
	t    *testing.T
	site *site
	ctx  context.Context
	dir  string

	mu    sync.Mutex
	wrong []string
}

type void = chromedp.Action[chromedp.Void]

// starts is how often Chromium may fail to come up: on a small machine under
// load its own processes do.
const starts = 5

// chromium is the one browser of the test run. Each test has its own context
// in it, with its own cookies.
var chromium struct {
	ctx context.Context
	end func()
}

// running starts Chromium when it does not run.
func running(t *testing.T) context.Context {
	t.Helper()
	for n := 1; chromium.ctx == nil || chromium.ctx.Err() != nil; n++ {
		endChromium()
		err := startChromium()
		if err == nil {
			break
		}
		t.Logf("chromium does not start: %v", err)
		if n == starts {
			t.FailNow()
		}
	}
	return chromium.ctx
}

func startChromium() error {
	dir, err := os.MkdirTemp("", "callbackd-chromium")
	if err != nil {
		return err
	}
	ctx, stopAlloc := chromedp.NewExecAllocator(context.Background(),
		chromedp.NoFirstRun, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.UserDataDir(dir))
	ctx, stopTab := chromedp.NewContext(ctx)
	chromium.ctx, chromium.end = ctx, func() {
		chromedp.Cancel(ctx)
		stopTab()
		stopAlloc()
		os.RemoveAll(dir)
	}
	if _, err = chromedp.Call(ctx, runtime.Enable, struct{}{}); err != nil {
		endChromium()
	}
	return err
}

func endChromium() {
	if chromium.ctx != nil {
		chromium.end()
		chromium.ctx = nil
	}
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	b := &browser{t: t, site: s, dir: *shotsDir}
	if b.dir == "" {
		b.dir = t.TempDir()
	}
	ctx, stop := context.WithTimeout(running(t), 5*time.Minute)
	ctx, stopTab := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(func() {
		stopTab()
		stop()
	})
	b.ctx = ctx
	err := chromedp.Listen(ctx, b.watch)
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, struct{}{})
	}
	if err == nil {
		_, err = chromedp.Call(ctx, runtime.Enable, struct{}{})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.device(false)
	b.theme("light")
	return b
}

func (b *browser) watch(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			b.wrong = append(b.wrong, "console.error")
		}
	case *log.EventEntryAdded:
		// A page that answers 4xx on purpose is logged as a failed load.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			b.wrong = append(b.wrong, "log: "+e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && "http://"+u.Host != b.site.URL {
			b.wrong = append(b.wrong, "request to "+e.Request.URL)
		}
	}
}

// clean fails the test for what must not have happened.
func (b *browser) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		b.t.Error(w)
	}
	b.wrong = nil
}

func (b *browser) call(f func(ctx context.Context) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := f(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) do(actions ...void) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fatal(err)
	}
}

func (b *browser) fatal(err error) {
	b.t.Helper()
	b.shot("failed")
	b.t.Fatalf("%v\non %s:\n%s", err, b.text("title"), b.text("main"))
}

func eval[T any](b *browser, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return v
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.site.URL+path), chromedp.WaitReady(chromedp.CSS("main")))
}

// press clicks and waits for the page that follows.
func (b *browser) press(sel string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(sel))); err != nil {
		b.t.Logf("press %s", sel)
		b.fatal(err)
	}
	b.do(chromedp.WaitReady(chromedp.CSS("main")))
}

// button presses the button or link with these words.
func (b *browser) button(words string) {
	b.t.Helper()
	found := eval[bool](b, `(() => { for (const e of document.querySelectorAll("[data-pressed]")) delete e.dataset.pressed;
		const all = [...document.querySelectorAll("main button, main a"), ...document.querySelectorAll("header button, header a")];
		for (const e of all) if (e.textContent.trim() === `+strconv.Quote(words)+` && e.offsetParent) { e.dataset.pressed = "1"; return true }
		return false })()`)
	if !found {
		b.t.Fatalf("there is no button %q on %s:\n%s", words, b.text("title"), b.text("main"))
	}
	b.press("[data-pressed]")
}

func (b *browser) fill(sel, text string) {
	b.t.Helper()
	b.choose(sel, "")
	b.do(chromedp.SendKeys(chromedp.CSS(sel), text))
}

func (b *browser) choose(sel, value string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(` + strconv.Quote(sel) + `).value = ` + strconv.Quote(value)))
}

// text is what a selector shows; empty when there is none.
func (b *browser) text(sel string) string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => { const e = document.querySelector(`+strconv.Quote(sel)+`); return e ? e.value || e.textContent : "" })()`))
	if err != nil {
		return err.Error()
	}
	return out
}

// sees waits until the page shows the words: live parts change by themselves.
func (b *browser) sees(words string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](`document.querySelector("main").innerText.replace(/\s+/g, " ").includes(`+strconv.Quote(words)+`)`,
		chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(50*time.Millisecond)))
}

// waits until a script says so.
func (b *browser) waits(script string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(50*time.Millisecond)))
}

// presses presses a key until a script is true. On a busy machine Chromium drops a key now and
// then, and a person presses it again.
func (b *browser) presses(key, script string) {
	b.t.Helper()
	var err error
	for range int(patience / time.Second) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		err = chromedp.Do(ctx, chromedp.KeyEvent(key), chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(time.Second), chromedp.WithPollingInterval(50*time.Millisecond)))
		cancel()
		if !errors.Is(err, chromedp.ErrPollingTimeout) {
			break
		}
	}
	if err != nil {
		b.t.Logf("the key %q was pressed, and this is to be true: %s", key, script)
		b.fatal(err)
	}
}

// unfold opens what is folded.
func (b *browser) unfold() {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach((d) => { d.open = true })`))
}

func (b *browser) device(phone bool) {
	b.t.Helper()
	p := emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 860, DeviceScaleFactor: 1}
	if phone {
		p.Width, p.Height, p.Mobile = 390, 844, true
	}
	b.call(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, p)
		return err
	})
}

func (b *browser) theme(name string) {
	b.t.Helper()
	b.call(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	})
}

// shot takes a picture of the whole page.
func (b *browser) shot(name string) { b.capture(name, true) }

// screen takes a picture of what a screen shows of it.
func (b *browser) screen(name string) { b.capture(name, false) }

func (b *browser) capture(name string, beyond bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
	if err != nil {
		b.t.Logf("no picture %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(b.dir, name+".png"), res.Data, 0o644); err != nil {
		b.t.Error(err)
	}
}

// pictures takes a page in light, in dark and on a phone, where nothing may be
// wider than the screen: on one store, for no store changes how a page looks.
func (b *browser) pictures(name string) {
	b.t.Helper()
	if b.site.Place.DatabaseURL != "" {
		return
	}
	b.shot(name + "-light")
	b.theme("dark")
	b.shot(name + "-dark")
	b.theme("light")
	b.device(true)
	b.shot(name + "-phone")
	b.fits(name)
	b.device(false)
}

// fits fails the test when something is wider than the screen.
func (b *browser) fits(name string) {
	b.t.Helper()
	wide := eval[string](b, `(() => { const w = document.documentElement.clientWidth; if (document.documentElement.scrollWidth <= w) return "";
		return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > w + 1).map((e) => e.tagName + "." + e.className).slice(0, 5).join(", ") })()`)
	if wide != "" {
		b.t.Errorf("%s is wider than a phone: %s", name, wide)
	}
	if find := eval[int](b, `document.getElementById("find")?.offsetWidth ?? 1000`); find < 200 {
		b.t.Errorf("%s has a search box of %d pixels", name, find)
	}
	// The navigation is one row there: each of its links is as high up.
	if rows := eval[int](b, `new Set([...document.querySelectorAll(".nav a")].map((a) => Math.round(a.getBoundingClientRect().top))).size`); rows > 1 {
		b.t.Errorf("%s has a navigation of %d rows", name, rows)
	}
}

// signIn signs in with a key.
func (b *browser) signIn(k callbackd.Key) {
	b.t.Helper()
	b.open("/console/sign-in")
	b.fill("#api_key", k.APIKey)
	b.fill("#secret", k.Secret.Reveal())
	b.button("Sign in")
}

// tabsThrough presses the tabulator until it is round, and compares what had
// the focus with what can be acted on.
func (b *browser) tabsThrough() {
	b.t.Helper()
	want := eval[int](b, `(() => { document.activeElement?.blur(); window.reached = new Set(); window.unseen = [];
		document.addEventListener("focusin", (e) => { const s = getComputedStyle(e.target);
			if (e.target.id !== "main" && s.outlineStyle === "none" && s.boxShadow === "none") unseen.push(e.target.outerHTML.slice(0, 80)); reached.add(e.target) });
		window.wanted = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, pre[tabindex]")].filter((e) => e.checkVisibility());
		return wanted.length })()`)
	for range 3*want + 10 { // a field of a date has several stops
		b.do(chromedp.KeyEvent(kb.Tab))
		if eval[bool](b, `wanted.every((e) => reached.has(e))`) {
			break
		}
	}
	if missed := eval[string](b, `wanted.filter((e) => !reached.has(e)).map((e) => e.outerHTML.slice(0, 100)).join("\n")`); missed != "" {
		b.t.Errorf("%s: not reached:\n%s", b.text("title"), missed)
	}
	if unseen := eval[string](b, `unseen.join("\n")`); unseen != "" {
		b.t.Errorf("%s: the focus does not show:\n%s", b.text("title"), unseen)
	}
}
