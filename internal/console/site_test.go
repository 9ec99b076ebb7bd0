package console_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"callbackd/internal/app"
	"callbackd/internal/console/consoletest"
	"callbackd/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	patience      = consoletest.Patience
	operatorToken = consoletest.OperatorToken
)

// site is a running server with the requests that these tests make.
type site struct{ *consoletest.Site }

type receiver = consoletest.Receiver

func startSite(t *testing.T) *site { return &site{consoletest.StartSite(t)} }

func newReceiver(t *testing.T) *receiver { return consoletest.NewReceiver(t) }

// onBothStores runs what the store may make different, on each.
func onBothStores(t *testing.T, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) { test(t, startSite(t)) })
	t.Run("postgres", func(t *testing.T) {
		at := app.StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
		test(t, &site{consoletest.StartSiteAt(t, at)})
	})
}

func urlQuery(s string) string { return url.QueryEscape(s) }

func urlPath(s string) string { return url.PathEscape(s) }
