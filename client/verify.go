package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"callbackd/internal/signature"
)

// Verify checks a request that a receiver got by Standard Webhooks: the headers webhook-id,
// webhook-timestamp and webhook-signature, and the body as it was received, before it is
// read as JSON. One right signature is enough; webhook-timestamp may be five minutes from
// now. While a secret is changed there may be several: one that is right is enough.
func Verify(h http.Header, body []byte, now time.Time, secrets ...string) error {
	err := errors.New("there is no secret to verify with")
	for _, s := range secrets {
		key, bad := signature.ParseSecret(s)
		if bad != nil {
			return fmt.Errorf("the signing secret: %w", bad)
		}
		if err = signature.Verify(key, h, body, now); err == nil {
			return nil
		}
	}
	return err
}
