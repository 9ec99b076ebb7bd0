package app

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/console"
	"callbackd/internal/front"
)

// mount serves h at the root and below the path of the public URL, so that a proxy may
// remove the path or keep it. Redirects to the console lead below the path.
func mount(public *url.URL, h http.Handler) http.Handler {
	base := console.Base(public)
	if base == "" {
		return h
	}
	below := http.StripPrefix(base, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = &moved{w, base}
		switch {
		case r.URL.Path == base:
			http.Redirect(w, r, base+"/", http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, base+"/"):
			below.ServeHTTP(w, r)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// moved adds the path of the public URL to redirects to the console.
type moved struct {
	http.ResponseWriter
	base string
}

// WriteHeader is part of http.ResponseWriter.
func (m *moved) WriteHeader(status int) {
	if to := m.Header().Get("Location"); to == console.Root || strings.HasPrefix(to, console.Root+"/") {
		m.Header().Set("Location", m.base+to)
	}
	m.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (m *moved) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// guardedMetrics serves the metrics at the main address: to requests with the operator
// token and, unless the metrics have a separate address, to programs on this machine. A
// request through a proxy is not from this machine.
func guardedMetrics(h http.Handler, token callbackd.Secret, ownAddress bool) http.Handler {
	return guarded(h, token, ownAddress, "The metrics need the operator token (Authorization: Bearer …). Without it, read them from this machine, or at the address of serve --metrics-listen.")
}

// guarded serves h to requests with the operator token and, unless ownAddress is set, to
// programs on this machine. Others get the message.
func guarded(h http.Handler, token callbackd.Secret, ownAddress bool, message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bears(r, token) || !ownAddress && local(r) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"message": message})
	})
}

func bears(r *http.Request, token callbackd.Secret) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token.Reveal()))
	return token != "" && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func local(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return front.ClientAddr(r).IsLoopback()
}

// metricsServer serves the metrics at a separate address.
type metricsServer struct {
	server   *http.Server
	listener net.Listener
}

func serveMetrics(address string, h http.Handler, log *slog.Logger) (*metricsServer, error) {
	l, err := listen("--metrics-listen", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	limits := front.New(front.Options{MaxConns: metricsConns, Log: log})
	m := &metricsServer{api.Server(limits.Handler(mux, func(*http.Request) bool { return false }), log), l}
	m.server.ConnContext = front.ConnContext
	go m.server.Serve(limits.Listen(l)) // until the server is closed
	return m, nil
}

// metricsConns are enough for a few Prometheus servers.
const metricsConns = 64

func (m *metricsServer) addr() netip.AddrPort { return m.listener.Addr().(*net.TCPAddr).AddrPort() }

// MetricsURL returns the URL of the metrics when they have an address of their
// own, and an empty string otherwise.
func (a *App) MetricsURL() string {
	if a.metrics == nil {
		return ""
	}
	return fmt.Sprintf("http://%s/metrics", a.metrics.addr())
}
