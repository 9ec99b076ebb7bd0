// Package browser drives the console with Chromium, as a person does.
package browser

import (
	"path/filepath"
	"testing"

	"callbackd/internal/app"
	"callbackd/internal/console/consoletest"
	"callbackd/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, endChromium) }

// site is a running server that a browser visits.
type site struct{ *consoletest.Site }

type receiver = consoletest.Receiver

const operatorToken = consoletest.OperatorToken

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
