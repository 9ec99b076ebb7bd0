package arch

import (
	"flag"
	"os"
	"testing"

	"golang.org/x/tools/go/packages"
)

// systems has TestTheCodeFitsOtherSystems run. scripts/test gives it, without the race
// detector, under which it would take minutes.
var systems = flag.Bool("systems", false, "read all packages as they are for other systems")

// The code has no call that another system lacks: it is read with all that it imports as a
// compiler for that system would, which takes seconds where a build takes a minute.
func TestTheCodeFitsOtherSystems(t *testing.T) {
	if !*systems {
		t.Skip("it reads all packages once for each system; -systems has it do so")
	}
	for _, system := range []string{"windows", "darwin"} {
		t.Run(system, func(t *testing.T) {
			loaded, err := packages.Load(&packages.Config{
				Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedSyntax | packages.NeedTypes,
				Dir:  "../..",
				Env:  append(os.Environ(), "GOOS="+system, "GOARCH=arm64", "CGO_ENABLED=0"),
			}, "./cmd/callbackd")
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			packages.Visit(loaded, nil, func(p *packages.Package) {
				seen++
				for _, err := range p.Errors {
					t.Errorf("%s: %v", p.PkgPath, err)
				}
			})
			if seen < 200 {
				t.Errorf("only %d packages were read", seen)
			}
		})
	}
}
