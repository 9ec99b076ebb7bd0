package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// Admin calls the management API with an operator token. It may be used concurrently.
type Admin struct {
	Base  string // such as http://127.0.0.1:8080
	Token string // as `callbackd tokens create` prints it
	HTTP  *http.Client
}

// Do makes a call. It sends body as JSON unless it is nil, and reads the answer into out
// unless that is nil.
func (a *Admin) Do(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.Base+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return (&Client{HTTP: a.HTTP}).send(req, out)
}

// Tokens lists the operator tokens, oldest first.
func (a *Admin) Tokens(ctx context.Context) (out wire.OperatorTokenList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/tokens", nil, &out)
}

// CreateToken makes an operator token. The answer alone has its text.
func (a *Admin) CreateToken(ctx context.Context, n wire.NewOperatorToken) (out wire.OperatorToken, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/tokens", n, &out)
}

// RevokeToken revokes an operator token by its ID.
func (a *Admin) RevokeToken(ctx context.Context, id string) (out wire.OperatorToken, err error) {
	return out, a.Do(ctx, http.MethodDelete, "/v1/admin/tokens/"+url.PathEscape(id), nil, &out)
}
