package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"
)

// startGo makes the steps with the Go client.
func startGo(t *testing.T, env map[string]string) func(step) reply {
	return func(s step) reply {
		if v := s.Verify; v != nil {
			h := http.Header{}
			for name, value := range v.Headers {
				h.Set(name, value)
			}
			if err := client.Verify(h, []byte(v.Body), time.Unix(v.Now, 0), v.Secrets...); err != nil {
				return reply{Reason: err.Error()}
			}
			return reply{Status: 200}
		}
		ctx := t.Context()
		if s.IdempotencyKey != "" {
			ctx = client.WithIdempotencyKey(ctx, s.IdempotencyKey)
		}
		out, err := callGo(ctx, env, s)
		if answer := (*client.Error)(nil); errors.As(err, &answer) {
			return reply{Status: answer.Status, Reason: answer.Message}
		} else if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		raw, err := json.Marshal(out)
		r := reply{Status: 200}
		if err = errors.Join(err, json.Unmarshal(raw, &r.Answer)); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// callGo calls the method for an operation.
func callGo(ctx context.Context, env map[string]string, s step) (any, error) {
	c, a, srv := clientsOf(env, s.As)
	q := url.Values{}
	for name, value := range s.Query {
		q.Set(name, fmt.Sprint(value))
	}
	path := strings.Join(s.Path, "/")
	switch s.Call {
	case "createCallback":
		return with(s, func(n client.NewCallback) (wire.Callback, error) { return c.CreateCallback(ctx, n) })
	case "getCallback":
		return c.Callback(ctx, path, "")
	case "listCallbacks":
		return c.Callbacks(ctx)
	case "deleteCallback":
		return c.DeleteCallback(ctx, path, "")
	case "getSecret":
		secret, err := c.Secret(ctx, path)
		return wire.Secret{Secret: secret}, err
	case "rotateSecret":
		return with(s, func(r client.Rotation) (wire.Secret, error) { return c.RotateSecret(ctx, path, "", r) })
	case "publish":
		if bytes.HasPrefix(s.Body, []byte("[")) {
			return with(s, func(n []client.NewEvent) ([]wire.Accepted, error) { return c.PublishAll(ctx, n) })
		}
		return with(s, func(n client.NewEvent) (wire.Accepted, error) { return c.Publish(ctx, n) })
	case "getEvent":
		return c.Event(ctx, path)
	case "listEvents":
		return c.Events(ctx, q)
	case "streamEvents":
		return firstOfStream(ctx, c, q)
	case "createReplay":
		return with(s, func(n wire.NewReplay) (any, error) {
			if n.DryRun {
				total, err := c.CountReplay(ctx, n)
				return wire.ReplayCount{Total: total}, err
			}
			return c.StartReplay(ctx, n)
		})
	case "getReplay":
		return c.Replay(ctx, path)
	case "explainDelivery":
		return c.ExplainDelivery(ctx, path)
	case "explainEvent":
		return c.ExplainEvent(ctx, path, "")
	case "createSession":
		return with(s, func(n client.NewSession) (wire.Session, error) { return c.CreateSession(ctx, n) })
	case "startSession":
		return c.StartSession(ctx, path)
	case "completeSession":
		return c.CompleteSession(ctx, path)
	case "listKeys":
		return a.Keys(ctx, q)
	case "createKey":
		return with(s, func(n wire.NewKey) (wire.Key, error) { return a.CreateKey(ctx, n) })
	case "healthz":
		return srv.Health(ctx)
	case "openapi":
		text, err := srv.Document(ctx)
		return map[string]string{"begin": text[:min(14, len(text))]}, err
	}
	return nil, fmt.Errorf("no method is known for %s", s.Call)
}

// with calls a method with the body of a step.
func with[B, A any](s step, method func(B) (A, error)) (any, error) {
	var body B
	if err := json.Unmarshal(s.Body, &body); err != nil {
		return nil, err
	}
	return method(body)
}

// firstOfStream returns id and type of the first message of a stream that has data.
func firstOfStream(ctx context.Context, c *client.Client, q url.Values) (map[string]string, error) {
	body, err := c.StreamEvents(ctx, q)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if name == "data" {
			return out, nil
		}
		out[name] = value
	}
	return nil, errors.Join(lines.Err(), errors.New("the stream ended before a message"))
}
