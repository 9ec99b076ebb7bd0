package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"callbackd/wire"
)

// Server calls what needs neither an API key nor a token. The operator's paths, such as
// /metrics, may be at another address than the API. It may be used concurrently.
type Server struct {
	Base string // such as http://127.0.0.1:8080
	HTTP *http.Client
}

func (s *Server) do(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.Base+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json, */*;q=0.9") // a browser gets pages
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return (&Client{HTTP: s.HTTP}).send(req, out)
}

// Links reads the paths to go on with.
func (s *Server) Links(ctx context.Context) (out wire.Links, err error) {
	return out, s.do(ctx, http.MethodGet, "/", nil, &out)
}

// Health fails when the process does not work.
func (s *Server) Health(ctx context.Context) (out wire.Message, err error) {
	return out, s.do(ctx, http.MethodGet, "/healthz", nil, &out)
}

// Ready fails while the server takes no calls. The error says why.
func (s *Server) Ready(ctx context.Context) (out wire.Message, err error) {
	return out, s.do(ctx, http.MethodGet, "/readyz", nil, &out)
}

// Metrics reads the metrics as text.
func (s *Server) Metrics(ctx context.Context) (out string, err error) {
	return out, s.do(ctx, http.MethodGet, "/metrics", nil, &out)
}

// Status reads what the server says of itself.
func (s *Server) Status(ctx context.Context) (out wire.Status, err error) {
	return out, s.do(ctx, http.MethodGet, "/statusz", nil, &out)
}

// SetLogLevel sets the lowest level that the server logs: debug, info, warn or error.
func (s *Server) SetLogLevel(ctx context.Context, level string) (out wire.LogLevel, err error) {
	return out, s.do(ctx, http.MethodPut, "/log-level", wire.LogLevel{Level: level}, &out)
}

// Document reads the OpenAPI document of the server's API.
func (s *Server) Document(ctx context.Context) (out string, err error) {
	return out, s.do(ctx, http.MethodGet, "/openapi.yaml", nil, &out)
}
