package cli

import (
	"fmt"
	"net/http"
	"testing"

	"callbackd"
	"callbackd/client"
)

// A message that asks goes on after its question mark, and a sentence after one full stop.
func TestTheOriginOfASecretFollowsTheMessage(t *testing.T) {
	settings := []callbackd.ServerOption{{Name: "secret", Source: "environment CALLBACKD_SECRET"}}
	refused := &client.Error{Status: http.StatusUnauthorized, Message: "Unknown API key."}
	const origin = " The API secret is from the environment CALLBACKD_SECRET"
	for end, err := range map[string]error{
		origin:       fmt.Errorf("%w Is the secret right?", refused),
		"." + origin: fmt.Errorf("%w; look again", refused),
	} {
		if got, want := withOrigin(err, settings).Error(), err.Error()+end; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, want := withOrigin(refused, settings).Error(), refused.Error()+origin; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
