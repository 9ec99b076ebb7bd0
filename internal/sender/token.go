package sender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"

	"golang.org/x/net/http/httpguts"
)

// Rules of access tokens.
const (
	// tokenTimeout is how long a provider may take to answer.
	tokenTimeout = callbackd.DefaultTimeout
	// defaultTokenLife is how long a token is used whose answer has no expires_in.
	defaultTokenLife = 5 * time.Minute
	// maxTokenLife is the longest time for which a token is used.
	maxTokenLife = 24 * time.Hour
	// providerThreshold consecutive failures of a provider close it for
	// callbackd.BreakerFirstWait. The wait doubles with each further failure, up to
	// callbackd.BreakerMaxWait.
	providerThreshold = 3
	maxTokenAnswer    = 64 << 10 // bytes
	maxTokenSources   = 4096
)

// token is an access token, and what the provider said about it.
type token struct {
	value   string
	life    time.Duration // of the answer; 0 when it has none
	scope   string
	refresh time.Time // it is not used after that
}

// header returns the value of the header Authorization.
func (t *token) header() callbackd.Secret { return callbackd.Secret("Bearer " + t.value) }

// tokenError says why there is no access token.
type tokenError struct {
	fault   callbackd.Fault
	text    string // for the key holder, without secrets
	status  int    // of the provider's answer; 0 when there was none
	refused bool   // the provider does not accept the client's credentials
	wait    time.Time
}

// tokenSources holds the sources of the clients that were used last.
type tokenSources struct {
	mu    sync.Mutex
	known map[callbackd.OAuth2]*tokenSource
}

// of returns the source for a client. Callbacks with equal settings share it.
func (ts *tokenSources) of(client callbackd.OAuth2, s *Sender) *tokenSource {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if source := ts.known[client]; source != nil {
		return source
	}
	if len(ts.known) >= maxTokenSources || ts.known == nil {
		ts.known = map[callbackd.OAuth2]*tokenSource{}
	}
	source := &tokenSource{fetch: func(ctx context.Context) (*token, *tokenError) { return s.fetchToken(ctx, &client) }}
	ts.known[client] = source
	return source
}

// tokenSource keeps the access token of one client, and fetches a new one when it is needed.
type tokenSource struct {
	fetch func(context.Context) (*token, *tokenError)

	mu       sync.Mutex
	token    *token    // nil: none
	running  *fetching // the fetch that is under way; nil: none
	failures int       // consecutive ones
	closed   time.Time // until then nothing is fetched
	lastErr  *tokenError
}

// fetching is a fetch that all who need the token wait for.
type fetching struct {
	done  chan struct{}
	token *token
	err   *tokenError
}

// get returns an access token other than refused, which may be nil. It waits until the
// deadline for a new one. fresh says that the token was fetched meanwhile. One fetch runs at
// a time.
func (ts *tokenSource) get(ctx context.Context, deadline time.Time, refused *token) (t *token, fresh bool, err *tokenError) {
	ts.mu.Lock()
	now := time.Now()
	if t := ts.token; t != nil && t != refused && now.Before(t.refresh) {
		ts.mu.Unlock()
		return t, false, nil
	}
	if ts.running == nil && now.Before(ts.closed) {
		defer ts.mu.Unlock()
		last := *ts.lastErr
		why := "asked to wait (Retry-After)"
		if ts.failures >= providerThreshold {
			why = "failed " + humanize.Number(ts.failures) + " times in a row"
		}
		last.text = fmt.Sprintf("%s. The provider %s and is not asked again before %s", last.text, why, ts.closed.UTC().Format(time.TimeOnly)+" UTC")
		return nil, false, &last
	}
	f := ts.running
	if f == nil {
		f = &fetching{done: make(chan struct{})}
		ts.running = f
		go ts.run(ctx, f)
	}
	ts.mu.Unlock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-f.done:
		return f.token, true, f.err
	case <-timer.C:
		return nil, false, &tokenError{fault: callbackd.FaultAuth, text: noTokenText + "the provider did not answer within the callback's timeout"}
	case <-ctx.Done():
		return nil, false, &tokenError{fault: callbackd.FaultShutdown, text: "callbackd stopped during the attempt"}
	}
}

// run makes a fetch and tells all who wait for it.
func (ts *tokenSource) run(ctx context.Context, f *fetching) {
	defer func() {
		if p := recover(); p != nil { // must not end the process
			f.err = &tokenError{fault: callbackd.FaultLocal, text: "callbackd failed; the attempt is made again"}
		}
		ts.mu.Lock()
		defer ts.mu.Unlock()
		ts.running = nil
		ts.note(f.token, f.err)
		close(f.done)
	}()
	f.token, f.err = ts.fetch(ctx)
}

// note takes the result of a fetch into account. A fault of this machine says nothing about
// the provider.
func (ts *tokenSource) note(t *token, err *tokenError) {
	switch {
	case err == nil:
		ts.token, ts.failures, ts.closed, ts.lastErr = t, 0, time.Time{}, nil
	case !err.fault.Internal():
		ts.failures++
		ts.lastErr = err
		if n := ts.failures - providerThreshold; n >= 0 {
			ts.closed = time.Now().Add(min(callbackd.BreakerFirstWait<<min(n, 10), callbackd.BreakerMaxWait))
		}
		if err.wait.After(ts.closed) {
			ts.closed = err.wait
		}
	}
}

// anew fetches a token in any case, and keeps it for the next attempts.
func (ts *tokenSource) anew(ctx context.Context) (*token, *tokenError) {
	t, err := ts.fetch(ctx)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.note(t, err)
	return t, err
}

// noTokenText begins the texts of faults of a provider.
const noTokenText = "no access token: "

// fetchToken asks the provider for an access token (RFC 6749, section 4.4). It goes the same
// way as a delivery, with the same rules for addresses.
func (s *Sender) fetchToken(ctx context.Context, client *callbackd.OAuth2) (*token, *tokenError) {
	var res callbackd.Result
	begin := time.Now()
	redact := newRedactor(&callbackd.Callback{Policy: callbackd.Policy{Auth: &callbackd.Auth{OAuth2: client}}})
	a := attempt{Sender: s, ctx: ctx, start: begin, deadline: begin.Add(tokenTimeout), redact: redact, res: &res, peer: "the provider"}
	t, err := a.token(client)
	if err == nil {
		return t, nil
	}
	s.log.Warn("no access token", "status", err.status, "error", err.text)
	return nil, err
}

func (a *attempt) token(client *callbackd.OAuth2) (*token, *tokenError) {
	req, err := tokenRequest(client, a.agent)
	if err != nil {
		return nil, &tokenError{fault: callbackd.FaultAuth, text: noTokenText + "token_url cannot be used: " + err.Error()}
	}
	resp, err := a.transport.Exchange(a.ctx, a.deadline, req, &a.trace)
	if err != nil {
		a.fail(err)
		if a.res.Fault.Internal() {
			return nil, &tokenError{fault: a.res.Fault, text: a.res.Error}
		}
		return nil, &tokenError{fault: callbackd.FaultAuth, text: noTokenText + a.res.Error}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	switch {
	case err != nil:
		return nil, a.noToken(resp.StatusCode, "the answer is incomplete: %s", a.bodyError(err))
	case resp.StatusCode/100 != 2:
		return nil, a.refusedToken(resp, body)
	case len(body) > maxTokenAnswer:
		return nil, a.noToken(resp.StatusCode, "the answer is longer than %d KiB", maxTokenAnswer>>10)
	}
	return a.readToken(resp.StatusCode, body)
}

// noToken returns the error of an answer without a token. It must not quote an answer with
// the status 200, which may have a token under another name.
func (a *attempt) noToken(status int, format string, args ...any) *tokenError {
	text := noTokenText + "the provider answered " + strconv.Itoa(status) + ", but " + fmt.Sprintf(format, args...)
	return &tokenError{fault: callbackd.FaultAuth, status: status, text: a.redact.text(text)}
}

// tokenRequest returns the request for a token.
func tokenRequest(client *callbackd.OAuth2, agent string) (*egress.Request, error) {
	target, err := egress.ParseURL(client.TokenURL)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	add := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	add("scope", client.Scope)
	add("audience", client.Audience)
	fields := []egress.Field{{Name: "User-Agent", Value: agent}, {Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "identity"},
		{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}
	if client.Style == callbackd.StyleBody {
		add("client_id", client.ClientID)
		add("client_secret", client.ClientSecret.Reveal())
	} else {
		fields = append(fields, egress.Field{Name: "Authorization", Value: clientHeader(client).Reveal()})
	}
	return &egress.Request{Method: http.MethodPost, URL: target, Fields: fields, Body: []byte(form.Encode())}, nil
}

// clientHeader returns the header in which a client signs in at the provider. Id and secret
// are encoded first (RFC 6749, section 2.3.1).
func clientHeader(client *callbackd.OAuth2) callbackd.Secret {
	pair := callbackd.BasicAuth{Username: url.QueryEscape(client.ClientID), Password: callbackd.Secret(url.QueryEscape(client.ClientSecret.Reveal()))}
	return pair.Header()
}

// maxProviderText is how much of a provider's answer an attempt has, in bytes.
const maxProviderText = 200

// tokenFailure is why a provider gives no token (RFC 6749, section 5.2).
type tokenFailure struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (f *tokenFailure) String() string {
	if f.Description == "" {
		return f.Error
	}
	return f.Error + ": " + f.Description
}

// refused reports whether the provider does not accept the client's credentials.
func (f *tokenFailure) refused() bool { return f.Error == "invalid_client" }

// refusedToken returns the error of an answer other than 2xx.
func (a *attempt) refusedToken(resp *http.Response, body []byte) *tokenError {
	var failure tokenFailure
	text := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &failure) == nil && failure.Error != "" {
		text = failure.String()
	}
	out := &tokenError{fault: callbackd.FaultAuth, status: resp.StatusCode, text: noTokenText + "the provider answered " + strconv.Itoa(resp.StatusCode)}
	out.refused = resp.StatusCode == http.StatusUnauthorized || failure.refused()
	if text = a.quoted(text, len(body) > maxTokenAnswer); text != "" {
		out.text += ": " + text
	}
	if resp.StatusCode/100 == 3 {
		out.text += "; redirects are not followed, so token_url must be the address that answers"
	}
	if until, ok := callbackd.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		out.wait = time.Now().Add(min(time.Until(until), callbackd.BreakerMaxWait))
	}
	return out
}

// quoted returns the beginning of what a provider wrote, for the key holder, without secrets.
// cut says that the text ends within the answer.
func (a *attempt) quoted(text string, cut bool) string {
	text = strings.TrimSpace(string(a.redact.body([]byte(text), cut)))
	return strings.TrimSuffix(callbackd.Clip(a.redact.text(text), maxProviderText), ".")
}

// readToken reads an answer with a token (RFC 6749, section 5.1). Members that do not decide
// whether the token can be used may be of any type: some providers write expires_in as a text,
// and scope as an array.
func (a *attempt) readToken(status int, body []byte) (*token, *tokenError) {
	var answer struct {
		tokenFailure
		Token   string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
		Scope   json.RawMessage `json:"scope"`
	}
	var oddType *json.UnmarshalTypeError // the member stays empty
	switch err := json.Unmarshal(body, &answer); {
	case err != nil && !errors.As(err, &oddType):
		return nil, a.noToken(status, "the answer is not the JSON of RFC 6749, section 5.1")
	case answer.Token == "" && answer.Error != "": // GitHub and others answer 200 with an error
		out := a.noToken(status, "without an access_token: %s", a.quoted(answer.String(), false))
		out.refused = answer.refused()
		return nil, out
	case answer.Token == "":
		return nil, a.noToken(status, "without an access_token")
	case len(answer.Token) > callbackd.MaxAuthToken || !httpguts.ValidHeaderFieldValue(answer.Token):
		return nil, a.noToken(status, "access_token has more than %d KiB, or characters that no header can have", callbackd.MaxAuthToken>>10)
	case answer.Type != "" && !strings.EqualFold(answer.Type, "bearer"):
		return nil, a.noToken(status, "token_type is %q, and callbackd can use bearer only", callbackd.Clip(answer.Type, 40))
	}
	t := &token{value: answer.Token, life: seconds(answer.Expires), scope: callbackd.Clip(a.redact.text(scopeText(answer.Scope)), maxProviderText)}
	use := defaultTokenLife
	if t.life > 0 {
		use = min(t.life, maxTokenLife) * 4 / 5
	}
	t.refresh = time.Now().Add(use)
	return t, nil
}

// scopeText returns a scope that is a text, or an array of texts, as one text. It returns ""
// for anything else.
func scopeText(raw json.RawMessage) string {
	var text string
	var list []string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	return strings.Join(list, " ")
}

// seconds reads a number of seconds, or a text of one. It returns 0 for anything else, and a
// large time for a number beyond those of programs.
func seconds(raw json.RawMessage) time.Duration {
	text := string(raw)
	if strings.HasPrefix(text, `"`) && json.Unmarshal(raw, &text) != nil {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64) // ±Inf with an error when it is out of range
	if err != nil && !errors.Is(err, strconv.ErrRange) || !(n >= 1) {
		return 0
	}
	return time.Duration(min(n, maxTokenLife.Seconds()*365) * float64(time.Second))
}
