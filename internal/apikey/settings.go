package apikey

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/safetext"
)

// maxExpiry bounds when a key may expire.
var maxExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Fields describes the settings of a key that can change, apart from the policy of its
// callbacks. A field that is not given
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
		limitsField("limits", &k.Limits),
		RetentionField(&k.Retention),
		RetentionsField(&k.RetentionEvents),
	}
}

// RetentionField describes how long the events of a key are kept.
func RetentionField(to *time.Duration) request.Field {
	return request.Duration("retention", to, callbackd.MinRetention, callbackd.MaxRetention).Check(func(string) error {
		*to = to.Truncate(time.Millisecond)
		return nil
	})
}

// maxRetentions is how long the JSON of retention_events may be, in bytes.
const maxRetentions = 8 << 10

// RetentionsField describes how long events of some types are kept. It keeps the object in
// one spelling.
func RetentionsField(to *string) request.Field {
	var raw []byte
	return request.RawObject("retention_events", &raw, maxRetentions).Check(func(name string) error {
		types, err := callbackd.ParseRetentions(string(raw))
		if err != nil {
			return callbackd.Invalid("In %s, %s", name, err)
		}
		*to = callbackd.FormatRetentions(types)
		return nil
	})
}

// limitsField reads the object with the limits of a key.
func limitsField(name string, to *callbackd.KeyLimits) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		body, err := v.Inner()
		if err != nil {
			return err
		}
		*to = callbackd.KeyLimits{}
		return body.Strict(name).Read(LimitFields(to)...)
	}}
}

// LimitFields describes the limits of a key. One that is not given leaves l as it is, and
// 0 stands for no limit.
func LimitFields(l *callbackd.KeyLimits) []request.Field {
	return []request.Field{
		request.Rate(string(callbackd.LimitPublishRate), &l.PublishRate, callbackd.MaxPublishRate, "events").Check(noLimit(&l.PublishRate)),
		countField(callbackd.LimitPending, "deliveries", &l.Pending),
		countField(callbackd.LimitPendingBytes, "bytes", &l.PendingBytes),
		request.Whole(string(callbackd.LimitCallbacks), &l.Callbacks, 1, callbackd.MaxCallbacks),
	}
}

func countField(name callbackd.Limit, what string, to *int64) request.Field {
	words := fmt.Sprintf("a whole number of %s up to %s, or 0 for no limit", what, humanize.Number(int64(callbackd.MaxPendingLimit)))
	return request.WholeAs(string(name), to, 0, callbackd.MaxPendingLimit, words).Check(noLimit(to))
}

// noLimit turns the 0 that a person gives into the value that does not limit.
func noLimit[T int64 | float64](to *T) func(string) error {
	return func(string) error {
		if *to == 0 {
			*to = callbackd.NoLimit
		}
		return nil
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
