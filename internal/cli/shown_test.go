package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/view"
	"callbackd/wire"
)

// The settings that the management API shows say where each comes from, and no secret.
func TestSettingsAreShownWithoutSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy")
	if err := os.WriteFile(file, []byte("http://user:hidden-1@proxy.example:3128"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CALLBACKD_EGRESS_PROXY_FILE", file)
	t.Setenv("CALLBACKD_OPERATOR_TOKEN", "hidden-2-0123456789")
	t.Setenv("CALLBACKD_RETENTION", "3d")
	parser, err := newParser(&root{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse([]string{"serve", "--database-url", "postgres://u:hidden-3@db.example/x", "--allow-target", "10.0.0.0/8,127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]wire.Setting{}
	for _, o := range settingsOf(k, nil) {
		s := view.Setting(&o)
		if strings.Contains(fmt.Sprintf("%+v %#v", o, o), "hidden") {
			t.Errorf("%s is printed as %+v", o.Name, o)
		}
		if strings.Contains(s.Value, "hidden") {
			t.Errorf("%s shows %q", s.Name, s.Value)
		}
		got[s.Name] = s
	}
	for _, want := range []wire.Setting{
		{Name: "egress-proxy", Value: callbackd.Mask, Source: "file of CALLBACKD_EGRESS_PROXY_FILE"},
		{Name: "operator-token", Value: callbackd.Mask, Source: "environment CALLBACKD_OPERATOR_TOKEN"},
		{Name: "database-url", Value: callbackd.Mask, Source: "command line"},
		{Name: "retention", Value: "3d", Source: "environment CALLBACKD_RETENTION"},
		{Name: "allow-target", Value: "10.0.0.0/8,127.0.0.0/8", Source: "command line"},
		{Name: "grace", Value: "20s", Source: "default"},
	} {
		if got[want.Name] != want {
			t.Errorf("%s is %+v, want %+v", want.Name, got[want.Name], want)
		}
	}
}
