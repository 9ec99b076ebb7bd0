// Package signed is what the clients need that no generator makes: PAVE's
// three headers.
package signed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Server and Receiver are the URLs that the test gives.
var (
	Server   = os.Getenv("SERVER")
	Receiver = os.Getenv("RECEIVER")
)

// Client returns an HTTP client that signs every request.
func Client() *http.Client { return &http.Client{Transport: transport{}, Timeout: time.Minute} }

type transport struct{}

func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	account, key, at := os.Getenv("ACCOUNT"), os.Getenv("KEY"), time.Now().UTC().Format(time.RFC3339)
	mac := hmac.New(sha256.New, []byte(os.Getenv("SECRET")))
	fmt.Fprintf(mac, "%s:%s@%s", account, key, at)
	r = r.Clone(r.Context())
	r.Header.Set("API-Key", key)
	r.Header.Set("API-Token", hex.EncodeToString(mac.Sum(nil)))
	r.Header.Set("API-Timestamp", at)
	return http.DefaultTransport.RoundTrip(r)
}

// Must ends the program unless the answer is as expected.
func Must(ok bool, what string, got any, err error) {
	if err != nil || !ok {
		fmt.Fprintf(os.Stderr, "%s: %v %+v\n", what, err, got)
		os.Exit(1)
	}
}
