package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"callbackd/client"

	"go.yaml.in/yaml/v4"
)

// series is a scrape: the values by the names and labels of the series.
type series map[string]float64

// scraped reads the metrics of a server.
func scraped(t *testing.T, srv *server) series {
	t.Helper()
	all := series{}
	for l := range strings.Lines(read(t, srv.url+"/metrics")) {
		i := strings.LastIndexByte(l, ' ')
		if strings.HasPrefix(l, "#") || i < 0 {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(l[i:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		all[l[:i]] = n
	}
	return all
}

// sum adds up the series of a metric.
func (s series) sum(metric string) (sum float64) {
	for name, n := range s {
		if name == metric || strings.HasPrefix(name, metric+"{") {
			sum += n
		}
	}
	return sum
}

// unexplained is how many of the accepted deliveries are neither pending nor ended.
func (s series) unexplained() float64 {
	return s.sum("callbackd_store_deliveries_accepted_total") - s.sum("callbackd_store_deliveries_ended_total") - s.sum("callbackd_store_deliveries_pending")
}

// outage is a server with sixteen receivers, of which eight can fail, and a paused callback.
type outage struct {
	*server
	dir  string
	cl   *client.Client
	down atomic.Bool
}

const receivers = 16

func newOutage(t *testing.T) *outage {
	t.Helper()
	o := &outage{dir: t.TempDir()}
	o.server, o.cl = serve(t, o.dir, "--archive", t.TempDir()), newClient(t, o.dir)
	o.cl.Base = o.url
	for i := range receivers + 1 {
		fails := i < receivers/2
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if fails && o.down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(receiver.Close)
		name := fmt.Sprint("r", i)
		if _, err := o.cl.CreateCallback(t.Context(), client.NewCallback{Event: event, Name: name, URL: receiver.URL}); err != nil {
			t.Fatal(err)
		}
		if i < receivers {
			continue
		}
		if err := o.cl.Do(t.Context(), "POST", "/v1/callbacks/"+event+"/pause?name="+name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// publish publishes n events, each of a session of its own.
func (o *outage) publish(t *testing.T, n int) {
	t.Helper()
	b := make([]client.NewEvent, n)
	for i := range b {
		b[i] = client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i), Data: map[string]int{"i": i}}
	}
	if err := o.cl.Do(t.Context(), "POST", "/v1/events", b, nil); err != nil {
		t.Fatal(err)
	}
}

// await scrapes until ok.
func (o *outage) await(t *testing.T, what string, ok func(series) bool) (s series) {
	t.Helper()
	eventually(t, what, func() bool { s = scraped(t, o.server); return ok(s) })
	return s
}

const (
	delivered = `callbackd_store_deliveries_ended_total{state="delivered"}`
	failing   = `callbackd_callbacks{health="failing",paused="no"}`
)

// begin returns scrapes from before and during the time in which eight receivers are down.
func (o *outage) begin(t *testing.T) (before, during series) {
	t.Helper()
	const events = 30
	o.publish(t, 1)
	before = o.await(t, "every receiver has the first event", func(s series) bool {
		return s[delivered] == receivers && s["callbackd_store_deliveries_pending"] == 1 && s["callbackd_oldest_due_seconds"] == 0
	})
	o.down.Store(true)
	o.publish(t, events)
	const waiting = events*receivers/2 + events + 1 // of the receivers that are down, and of the paused callback
	during = o.await(t, "eight callbacks fail and their deliveries wait", func(s series) bool {
		return s[failing] == receivers/2 && s[delivered] == receivers+events*receivers/2 &&
			s["callbackd_store_deliveries_pending"] == waiting && s["callbackd_oldest_due_seconds"] > 0
	})
	return before, during
}

// Half of the receivers are down. Nothing has failed for good and the server is ready, but
// alerts fire within two minutes. Prometheus itself scrapes the server with the
// configuration of deploy/, reads the alerts and every expression of the dashboard.
func TestAlertsTellThatHalfOfTheReceiversAreDown(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	before, during := o.begin(t)
	if read(t, o.url+"/readyz"); during[`callbackd_store_deliveries_ended_total{state="failed"}`] != 0 {
		t.Error("deliveries failed for good")
	}
	t.Run("Rules", func(t *testing.T) {
		alertsFire(t, "no outage", before, before, "30m")
		alertsFire(t, "a minute before", before, before, "1m")
		alertsFire(t, "within two minutes", before, during, "2m", "CallbackdManyReceiversDown", "CallbackdDeliveriesLate")
		alertsFire(t, "after half an hour", before, during, "30m", "CallbackdManyReceiversDown", "CallbackdDeliveriesLate", "CallbackdReceiverDown")
	})
	api := startPrometheus(t, o.server)
	eventually(t, "Prometheus has an alert of the outage", func() bool {
		var a struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
		api(t, "/api/v1/alerts", &a)
		for _, alert := range a.Alerts {
			if alert.Labels["alertname"] == "CallbackdManyReceiversDown" {
				return alert.State == "pending" || alert.State == "firing"
			}
		}
		return false
	})
	t.Run("Dashboard", func(t *testing.T) {
		for _, expr := range dashboard(t) {
			var result json.RawMessage
			api(t, "/api/v1/query?query="+url.QueryEscape(expr), &result)
			namesAreServed(t, expr, during)
		}
	})
	alerts, err := os.ReadFile(deployed + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, expr := range exprs(t, alerts) {
		namesAreServed(t, expr, during)
	}
}

// grows reports whether a series of seconds grows while an outage lasts.
func grows(name string) bool {
	return strings.HasPrefix(name, "callbackd_oldest_due_seconds") || strings.HasPrefix(name, "callbackd_callback_failing_seconds") || strings.HasPrefix(name, "callbackd_callback_oldest_due_seconds")
}

// alertsFire checks with promtool which alerts of deploy/ fire at a time when an outage
// begins right after the scrape at 0. Prometheus scrapes and evaluates every 15 s.
func alertsFire(t *testing.T, when string, before, during series, at string, want ...string) {
	t.Helper()
	type input struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	type sample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
	named := func(name string) string {
		metric, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		return fmt.Sprintf(`%s{job="callbackd",instance="a",%s}`, metric, labels)
	}
	all := []input{{`up{job="callbackd",instance="a"}`, "1x130"}}
	for name := range namesOf(before, during) {
		if !strings.HasPrefix(name, "callbackd_") || strings.Contains(name, "_bucket{") {
			continue
		}
		first, has := before[name]
		values := fmt.Sprint(first)
		if !has {
			values = "_"
		}
		if then, has := during[name]; has && grows(name) && then > 0 {
			values += fmt.Sprintf(" %g+15x130", then)
		} else if has {
			values += fmt.Sprintf(" %gx130", then)
		}
		all = append(all, input{named(name), values})
	}
	var fire []sample
	for _, name := range want {
		fire = append(fire, sample{fmt.Sprintf(`{alertname=%q}`, name), 1})
	}
	rules, err := filepath.Abs(deployed + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	test, err := yaml.Marshal(map[string]any{
		"rule_files": []string{rules}, "evaluation_interval": "15s",
		"tests": []any{map[string]any{
			"interval": "15s", "input_series": all,
			"promql_expr_test": []any{map[string]any{"expr": `group by (alertname) (ALERTS{alertstate="firing"})`, "eval_time": at, "exp_samples": fire}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, test, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", when, err, out)
	}
}

// namesOf returns the names of the series of both.
func namesOf(a, b series) map[string]bool {
	all := map[string]bool{}
	for _, s := range []series{a, b} {
		for name := range s {
			all[name] = true
		}
	}
	return all
}

// startPrometheus runs Prometheus on a server, with the configuration of deploy/ but for
// the address and the intervals, once it has scraped. It returns how to call its API.
func startPrometheus(t *testing.T, srv *server) func(t *testing.T, path string, data any) {
	t.Helper()
	config, err := os.ReadFile(deployed + "prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(deployed + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), "127.0.0.1:"+freePort(t)
	text := strings.NewReplacer("127.0.0.1:8080", strings.TrimPrefix(srv.url, "http://"), "15s", "1s", "- alerts.yaml", "- "+rules).Replace(string(config))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	log := filepath.Join(dir, "log")
	if cmd.Stderr, err = os.Create(log); err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	call := func(path string) (status string, data json.RawMessage) {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return err.Error(), nil
		}
		defer resp.Body.Close()
		var answer struct {
			Status, Error string
			Data          json.RawMessage
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return err.Error(), nil
		}
		return answer.Status + answer.Error, answer.Data
	}
	defer func() {
		if said, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("%s", said)
		}
	}()
	eventually(t, "Prometheus has scraped the server", func() bool {
		_, data := call("/api/v1/targets?state=active")
		return strings.Contains(string(data), `"health":"up"`)
	})
	return func(t *testing.T, path string, data any) {
		t.Helper()
		status, raw := call(path)
		if status != "success" {
			t.Errorf("%s: %s", path, status)
			return
		}
		if err := json.Unmarshal(raw, data); err != nil {
			t.Errorf("%s: %v: %s", path, err, raw)
		}
	}
}

// dashboard returns the expressions of the dashboard of deploy/, without Grafana's
// variables.
func dashboard(t *testing.T) (all []string) {
	t.Helper()
	raw, err := os.ReadFile(deployed + "grafana/callbackd.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, strings.NewReplacer("$job", "callbackd", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	if len(all) < 20 {
		t.Errorf("the dashboard has %d expressions", len(all))
	}
	return all
}

// exprs returns the expressions of a file of alerts. The page about alerts says what to do
// about each.
func exprs(t *testing.T, file []byte) (all []string) {
	t.Helper()
	var f struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/howto/be-alerted.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Expr)
			if !strings.Contains(string(page), "| `"+r.Alert+"` |") {
				t.Errorf("docs/howto/be-alerted.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if len(all) < 8 {
		t.Errorf("there are %d alerts", len(all))
	}
	return all
}

var metricName = regexp.MustCompile(`callbackd_\w+`)

// namesAreServed checks that a server serves every metric that an expression names.
func namesAreServed(t *testing.T, expr string, served series) {
	t.Helper()
	var names []string
	for name := range served {
		metric, _, _ := strings.Cut(name, "{")
		names = append(names, metric)
	}
	for _, name := range metricName.FindAllString(expr, -1) {
		if !slices.Contains(names, name) {
			t.Errorf("%s names %s, which is not served", expr, name)
		}
	}
}

// What was accepted is delivered, failed, canceled or pending, seen from outside: also
// after deliveries were sent again, a replay, a cancellation, and kill -9.
func TestAcceptedIsWhatEndedAndWhatIsPending(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	balanced := func(when string) series {
		t.Helper()
		return o.await(t, "every accepted delivery is pending or has ended "+when, func(s series) bool { return s.unexplained() == 0 })
	}
	o.begin(t)
	during := balanced("during the outage")
	o.kill()
	o.server = serve(t, o.dir)
	o.cl.Base = o.url
	after := balanced("after kill -9")
	for _, name := range []string{delivered, `callbackd_store_deliveries_accepted_total{reason="event"}`, "callbackd_store_deliveries_pending"} {
		if after[name] != during[name] || during[name] == 0 {
			t.Errorf("%s was %v, and is %v after kill -9", name, during[name], after[name])
		}
	}
	says(t, callAs(o.cl, "deliveries", "cancel", "--callback", "r0", "--event", event, "--follow"), "canceled")
	s := balanced("after a cancellation")
	if s[`callbackd_store_deliveries_ended_total{state="canceled"}`] == 0 {
		t.Error("no canceled delivery is counted")
	}
	o.down.Store(false)
	says(t, callAs(o.cl, "replay", "start", "--state", "canceled", "--callback", "r0", "--event", event), "")
	o.await(t, "what was canceled is sent again", func(s series) bool {
		return s.unexplained() == 0 && s[`callbackd_store_deliveries_accepted_total{reason="again"}`] > 0
	})
	o.term(t)
	fsck(t, o.dir)
}
