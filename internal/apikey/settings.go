package apikey

import (
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/safetext"
)

// maxExpiry bounds when a key may expire.
var maxExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Fields describes the settings of a key that can change. A field that is not given
// leaves k as it is.
func Fields(k *callbackd.Key) []request.Field {
	return []request.Field{
		request.Text("name", &k.Name, callbackd.MaxName).Check(func(name string) error {
			if !safetext.IsVisible(k.Name) {
				return callbackd.Invalid("%s must be printable text, without characters that format or hide text.", name)
			}
			return nil
		}),
		request.Duration("sessions_expire_after", &k.TimeFrame, callbackd.MinTimeFrame, callbackd.MaxTimeFrame),
		captureField("capture_url", k),
		request.Time("expires_at", &k.ExpiresAt).Check(func(name string) error {
			k.ExpiresAt = k.ExpiresAt.UTC().Truncate(time.Millisecond)
			if k.ExpiresAt.After(maxExpiry) {
				return callbackd.Invalid("%s must be before the year 10000.", name)
			}
			return nil
		}),
	}
}

// captureField reads the template of the links to a key's sessions.
func captureField(name string, k *callbackd.Key) request.Field {
	text := ""
	return request.Text(name, &text, callbackd.MaxURL).Optional().Check(func(name string) error {
		if text == "" {
			return nil
		}
		t, err := callbackd.ParseCaptureTemplate(text)
		if err != nil {
			return callbackd.Invalid("%s %q %v.", name, callbackd.Clip(text, 100), err)
		}
		if !t.Fits(k.Account) {
			return callbackd.Invalid("%s has {account} in its host name, and the account %q is not letters, digits and hyphens only. Put {account} into the path instead.", name, k.Account)
		}
		k.CaptureURL = t
		return nil
	})
}
