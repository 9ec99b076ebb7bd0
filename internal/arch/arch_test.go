// Package arch holds the arrows of the architecture: which package may know
// which, and why.
package arch

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrow says what a package of ours may import of ours.
type arrow struct {
	pkg    string
	may    []string
	reason string
}

// drivers is what every driver shares with the others.
var drivers = []string{"callbackd", "callbackd/internal/store/core", "callbackd/internal/store/transfer", "callbackd/internal/store/codec", "callbackd/internal/store/seal", "callbackd/internal/store/memo", "callbackd/internal/clock", "callbackd/internal/system"}

var arrows = []arrow{
	{"callbackd", nil, "the domain is pure: it must be readable and testable without any machinery"},
	{"callbackd/wire", nil, "wire is the JSON of the API and nothing else, so that clients can import it"},
	{"callbackd/client", []string{"callbackd/wire", "callbackd/internal/signature"}, "a client knows the wire and how to sign, never the server"},
	{"callbackd/internal/system", nil, "what differs between operating systems is in one place, and knows nothing of ours"},
	{"callbackd/internal/profile", []string{"callbackd", "callbackd/internal/system"}, "a profile is a file with a secret: who may read it must be auditable alone"},
	{"callbackd/internal/progress", []string{"callbackd/internal/humanize"}, "a bar knows numbers, and nothing of what they count"},
	{"callbackd/internal/strictjson", nil, "a reader of hostile input depends on nothing of ours"},
	{"callbackd/internal/signature", nil, "signing is used by server, client and receiver alike"},
	{"callbackd/internal/egress", []string{"callbackd/internal/system"}, "the guard must be auditable alone"},
	{"callbackd/internal/engine", []string{"callbackd"}, "the engine decides when; it declares the interfaces it calls and knows neither database nor HTTP"},
	{"callbackd/internal/sender", []string{"callbackd/internal/system", "callbackd", "callbackd/internal/egress", "callbackd/internal/humanize", "callbackd/internal/signature", "callbackd/internal/strictjson"}, "the sender says what happened; policy and storage live elsewhere"},
	{"callbackd/internal/store", []string{"callbackd"}, "the contract is domain words only"},
	{"callbackd/internal/store/codec", []string{"callbackd", "callbackd/internal/store"}, "what both drivers write alike knows the contract's words only"},
	{"callbackd/internal/store/core", []string{"callbackd", "callbackd/internal/store", "callbackd/internal/store/codec", "callbackd/internal/store/seal", "callbackd/internal/store/memo"}, "a command that is not hot is written once: it knows the contract and a small seam, and no driver"},
	{"callbackd/internal/store/seal", []string{"callbackd/internal/system", "callbackd"}, "what seals secrets must be auditable alone"},
	{"callbackd/internal/store/memo", nil, "a cache knows nothing of what it keeps"},
	{"callbackd/internal/store/transfer", nil, "what takes rows from one database to another knows neither of them, nor what they mean"},
	{"callbackd/internal/store/sqlite", append(drivers, "callbackd/internal/store"), "a driver knows its contract and no other driver"},
	{"callbackd/internal/store/postgres", append(drivers, "callbackd/internal/store"), "a driver knows its contract and no other driver"},
	{"callbackd/internal/callbacks", []string{"callbackd", "callbackd/internal/ratelimit", "callbackd/internal/request", "callbackd/internal/humanize", "callbackd/internal/store", "callbackd/internal/strictjson", "callbackd/internal/egress", "callbackd/internal/signature", "callbackd/internal/session", "callbackd/internal/view"}, "what a setting may be is one rule for API and console"},
	{"callbackd/internal/clock", nil, "waiting has one form, which knows nothing of what is waited for"},
	{"callbackd/internal/safetext", nil, "what makes text safe to show must be auditable alone"},
	{"callbackd/internal/keylimit", []string{"callbackd", "callbackd/internal/ratelimit"}, "what keys may use, and use, is counted in one place; a function that app injects counts in the store"},
	{"callbackd/internal/ratelimit", nil, "a limiter knows neither whom it limits nor what"},
	{"callbackd/internal/request", []string{"callbackd", "callbackd/internal/humanize", "callbackd/internal/signature", "callbackd/internal/strictjson"}, "a reader of what callers send knows neither HTTP nor what is asked for"},
	{"callbackd/internal/apikey", []string{"callbackd", "callbackd/internal/humanize", "callbackd/internal/request", "callbackd/internal/safetext"}, "making a key needs no store"},
	{"callbackd/internal/console", []string{"callbackd", "callbackd/internal/ratelimit", "callbackd/internal/safetext", "callbackd/internal/request", "callbackd/internal/humanize", "callbackd/wire", "callbackd/internal/apikey", "callbackd/internal/callbacks", "callbackd/internal/live", "callbackd/internal/view", "callbackd/internal/store", "callbackd/internal/signature", "callbackd/internal/obs", "callbackd/internal/front", "callbackd/internal/keylimit", "callbackd/internal/eventtypes"}, "the console shows and asks; it knows neither engine nor driver"},
	{"callbackd/internal/view", []string{"callbackd", "callbackd/internal/humanize", "callbackd/wire", "callbackd/internal/store", "callbackd/internal/keylimit"}, "API and console tell the same story of a delivery"},
	{"callbackd/internal/settings", []string{"callbackd", "callbackd/wire", "callbackd/internal/apikey", "callbackd/internal/callbacks", "callbackd/internal/request", "callbackd/internal/safetext", "callbackd/internal/signature", "callbackd/internal/strictjson", "callbackd/internal/view"}, "a plan is a function of a file and of the settings that there are: it knows neither store nor HTTP"},
	{"callbackd/internal/export", []string{"callbackd/internal/system", "callbackd", "callbackd/wire", "callbackd/internal/store", "callbackd/internal/view"}, "an export shows what the API shows, and knows no driver"},
	{"callbackd/internal/archive", []string{"callbackd", "callbackd/internal/system"}, "an archive is files: what is written to them comes from outside"},
	{"callbackd/internal/api", []string{"callbackd", "callbackd/internal/openapi", "callbackd/internal/humanize", "callbackd/internal/request", "callbackd/wire", "callbackd/internal/callbacks", "callbackd/internal/view", "callbackd/internal/store", "callbackd/internal/signature", "callbackd/internal/strictjson", "callbackd/internal/obs", "callbackd/internal/session", "callbackd/internal/front", "callbackd/internal/apikey", "callbackd/internal/ratelimit", "callbackd/internal/keylimit", "callbackd/internal/settings", "callbackd/internal/eventtypes"}, "after Accept the api calls what app injects; it does not know the engine"},
	{"callbackd/internal/eventtypes", []string{"callbackd", "callbackd/internal/safetext", "callbackd/internal/session", "callbackd/internal/strictjson", "callbackd/wire"}, "a catalogue is types, schemas and samples: it knows neither who publishes nor who is told"},
	{"callbackd/internal/session", []string{"callbackd", "callbackd/internal/view", "callbackd/internal/humanize", "callbackd/wire", "callbackd/internal/store", "callbackd/internal/strictjson"}, "sessions are rules in a transaction and JSON: neither HTTP nor a driver"},
	{"callbackd/internal/simulate", []string{"callbackd", "callbackd/internal/clock", "callbackd/client", "callbackd/wire"}, "a simulation is a client: what it can do, every client can"},
	{"callbackd/internal/exam", []string{"callbackd", "callbackd/internal/egress", "callbackd/internal/humanize", "callbackd/internal/safetext", "callbackd/internal/sender", "callbackd/internal/session", "callbackd/internal/signature"}, "an exam sends what the sender builds, with samples of real events, and needs no store"},
	{"callbackd/internal/zoo", []string{"callbackd"}, "a hostile receiver knows what a fault is called, and nothing of the sender that it attacks"},
	{"callbackd/internal/live", []string{"callbackd"}, "what happens now is told to whoever looks"},
	{"callbackd/internal/stats", []string{"callbackd", "callbackd/internal/ratelimit", "callbackd/internal/store"}, "the journal knows what it writes and not who reads it"},
	{"callbackd/internal/replays", []string{"callbackd", "callbackd/internal/store"}, "the runner decides when; what is next is the store's"},
	{"callbackd/internal/mail", []string{"callbackd", "callbackd/internal/safetext"}, "what sends a mail does not know what it is about"},
	{"callbackd/internal/notices", []string{"callbackd", "callbackd/internal/callbacks", "callbackd/internal/humanize", "callbackd/internal/mail", "callbackd/internal/safetext", "callbackd/internal/ratelimit", "callbackd/internal/store", "callbackd/internal/view"}, "a notice is an event like any other: what finds incidents knows the store, and neither engine nor HTTP"},
	{"callbackd/internal/front", []string{"callbackd/internal/system", "callbackd", "callbackd/internal/obs"}, "what bounds visitors knows neither what they ask for nor where it is kept"},
	{"callbackd/internal/home", []string{"callbackd/internal/system", "callbackd", "callbackd/internal/front"}, "what forwards calls knows neither what they ask for nor how nodes agree"},
	{"callbackd/internal/doctor", []string{"callbackd/internal/system", "callbackd", "callbackd/internal/humanize", "callbackd/internal/safetext", "callbackd/internal/store"}, "a check asks the machine that it is given and the contract of the store; it opens nothing by itself"},
	{"callbackd/docs", nil, "documents are text"},
	{"callbackd/internal/openapi", nil, "a reader of the API's document knows nothing of what it describes"},
	{"callbackd/internal/docsite", []string{"callbackd/internal/openapi"}, "pages are made of documents that app injects: they know nothing of what the documents describe"},
	{"callbackd/internal/telemetry", []string{"callbackd"}, "who collects traces is told of calls and attempts in the domain's words; nobody but the wiring knows of it"},
	{"callbackd/internal/humanize", []string{"callbackd"}, "numbers for people have one style, which knows nothing of what they count"},
	{"callbackd/internal/obs", []string{"callbackd", "callbackd/internal/safetext"}, "logs and metrics know the domain's words only, and clean names that people chose"},
}

type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func list(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Standard,Imports", "callbackd/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]listed{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

func ours(path string) bool { return path == "callbackd" || strings.HasPrefix(path, "callbackd/") }

func TestArrowsPointInward(t *testing.T) {
	pkgs := list(t)
	for _, a := range arrows {
		for _, imp := range pkgs[a.pkg].Imports {
			if ours(imp) && !slices.Contains(a.may, imp) {
				t.Errorf("%s imports %s, but may import only %v: %s", a.pkg, imp, a.may, a.reason)
			}
		}
	}
}

func TestTheDomainUsesTheStandardLibraryOnly(t *testing.T) {
	for _, imp := range list(t)["callbackd"].Imports {
		if strings.Contains(strings.Split(imp, "/")[0], ".") {
			t.Errorf("callbackd imports %s: the domain must build with nothing but the standard library", imp)
		}
		if slices.Contains([]string{"os", "net", "database/sql", "io"}, imp) {
			t.Errorf("callbackd imports %s: the domain does no I/O", imp)
		}
	}
}

func TestOnlyAppKnowsDrivers(t *testing.T) {
	for path, p := range list(t) {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "callbackd/internal/store/") && !slices.Contains([]string{"callbackd/internal/app", "callbackd/internal/cli", "callbackd/bench"}, path) && !strings.HasPrefix(path, "callbackd/internal/store/") {
				t.Errorf("%s imports the driver %s: everything but the wiring speaks to the contract", path, imp)
			}
		}
	}
}

// Every connection callbackd opens for a customer goes through egress; a
// second way out is a way around the guard.
func TestOneWayOut(t *testing.T) {
	forbidden := map[string][]string{
		"net/http": {"Get", "Post", "PostForm", "Head", "DefaultClient", "DefaultTransport", "Transport", "Client"},
		"net":      {"Dial", "DialTimeout", "DialTCP", "DialUDP", "Dialer"},
		"tls":      {"Dial", "DialWithDialer"},
	}
	root := filepath.Join("..", "..")
	free := []string{"internal/egress", "client", "bench", "internal/cli", "internal/home", "internal/mail"} // the cli is a client, not the server; home connects to nodes, which prove that they are; mail connects to the operator's server only
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if filepath.ToSlash(rel) == "e2e/clients" { // a module of its own, which only tests use
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if slices.Contains(free, filepath.ToSlash(filepath.Dir(rel))) {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			for pkg, names := range forbidden {
				if id.Name == pkg[strings.LastIndex(pkg, "/")+1:] && slices.Contains(names, sel.Sel.Name) {
					t.Errorf("%s: %s.%s: only internal/egress opens outbound connections, or the guard has a way around it", fset.Position(n.Pos()), id.Name, sel.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The simulation gives each node a clock of its own (cluster.Clock), which runs fast,
// is wrong or stands still. Whatever asks for the machine's time escapes it.
func TestTheClusterTakesItsTimeFromItsClock(t *testing.T) {
	machine := map[string][]string{
		"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		"clock":   {"Sleep"},
		"context": {"WithTimeout", "WithDeadline"},
	}
	s := readSource(t)
	for path, file := range s.files {
		if !strings.HasPrefix(path, "internal/cluster/") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && slices.Contains(machine[id.Name], sel.Sel.Name) {
				t.Errorf("%s: %s.%s: the cluster takes its time from its Clock", s.fset.Position(n.Pos()), id.Name, sel.Sel.Name)
			}
			return true
		})
	}
}
