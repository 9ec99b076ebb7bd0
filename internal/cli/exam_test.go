package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd/internal/exam"
	"callbackd/internal/signature"
)

func TestExamCommand(t *testing.T) {
	secret := signature.NewSecret()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	checks := true // whether the receiver verifies
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Token") != "a:b" || checks && signature.Verify(key, r.Header, body, time.Now()) != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer receiver.Close()
	junit := filepath.Join(t.TempDir(), "exam.xml")
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Main(t.Context(), append([]string{"exam"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	good := []string{receiver.URL, "--secret", secret, "--header", "X-Token: a:b"}
	if code, out, errs := run(append(good, "--junit", junit)...); code != 0 || !strings.HasSuffix(out, "\n11 cases: 11 passed, 0 failed\n") || errs != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if raw, err := os.ReadFile(junit); err != nil || !strings.Contains(string(raw), `tests="11" failures="0"`) {
		t.Errorf("%v %s", err, raw)
	}
	checks = false
	code, out, _ := run(append(good, "--json")...)
	var r exam.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || r.Failed != 2 || r.URL != receiver.URL {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	if strings.Contains(out, secret) {
		t.Error("the report has the secret")
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{receiver.URL, exitSetting, "--signing-secret"},
		{receiver.URL + " --secret nothing", exitSetting, "the secret is invalid"},
		{receiver.URL + " --secret " + secret + " --event X", exitSetting, `--event "X" is unknown`},
		{receiver.URL + " --secret " + secret + " --timeout 0s", exitSetting, "--timeout 0s is invalid"},
		{receiver.URL + " --secret " + secret + " --header X", exitSetting, `--header "X" has no colon`},
		{receiver.URL + " --secret " + secret + " --allow-target all", exitSetting, `--allow-target "all" is not an address range`},
		{"http://8.8.8.8/ --secret " + secret, exitSetting, "--allow-target 8.8.8.8/32"},
		{receiver.URL + " --secret " + secret + " --header X-Token:a:b --junit " + t.TempDir(), exitFailed, "--junit: "},
	} {
		if code, out, errs := run(strings.Fields(tt.args)...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
}
