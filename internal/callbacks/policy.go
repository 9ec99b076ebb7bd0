package callbacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"
)

// besideURL lists the members of a policy that older clients send beside url.
var besideURL = []string{"timeout", "retry", "order", "rate", "concurrency"}

// policyOf returns the object "policy" with those of its members that may stand beside
// it. Unlike the rest of a setting it is strict: a client must learn that callbackd does
// not have something that it asks for.
func policyOf(body request.Object, beside []string) (request.Object, error) {
	policy, err := body.Nested("policy")
	if err != nil {
		return policy, err
	}
	policy, err = policy.Adopt(body, beside...)
	return policy.Strict("policy"), err
}

// keyPolicyFields describes the members of a policy that a key may have for its callbacks.
// What chooses or changes events, and what is secret, belongs to one callback.
func keyPolicyFields(p *callbackd.Policy) []request.Field {
	keepAlive, store := true, true
	return []request.Field{
		request.Duration("timeout", &p.Timeout, callbackd.MinTimeout, callbackd.MaxTimeout),
		retryField("retry", &p.Retry),
		orderField("order", &p.OrderWait),
		request.Rate("rate", &p.Rate, callbackd.MaxRate, "attempts"),
		request.Whole("concurrency", &p.Concurrency, 1, callbackd.MaxConcurrency),
		request.Flag("keep_alive", &keepAlive).Check(func(string) error {
			p.NoKeepAlive = !keepAlive
			return nil
		}),
		request.Flag("store_response", &store).Check(func(string) error {
			p.NoResponse = !store
			return nil
		}),
		signingField("signing", &p.Signing),
		ttlField("ttl", &p.TTL),
		orNone(request.Duration("expect", &p.Expect, callbackd.MinExpect, callbackd.MaxExpect), &p.Expect),
	}
}

// readKeyPolicy reads the policy for the callbacks of a key, which may be nil.
func readKeyPolicy(key *callbackd.Key, p *callbackd.Policy) error {
	if key == nil || key.CallbackPolicy == "" {
		return nil
	}
	body, err := keyPolicyOf([]byte(key.CallbackPolicy), "callback_policy")
	if err != nil {
		return err
	}
	return body.Read(keyPolicyFields(p)...)
}

// checkKeyPolicy checks a JSON object with the policy for the callbacks of a key.
func checkKeyPolicy(text []byte, name string) error {
	body, err := keyPolicyOf(text, name)
	if err != nil {
		return err
	}
	var p callbackd.Policy
	return body.Read(keyPolicyFields(&p)...)
}

func keyPolicyOf(text []byte, name string) (request.Object, error) {
	members, err := strictjson.Object(text)
	return request.Members(members).Strict(name), err
}

// maxCallbackPolicy is how long the policy for a key's callbacks may be, in bytes.
const maxCallbackPolicy = 4 << 10

// KeyPolicyField reads the policy that a key's callbacks get, and keeps it as JSON
// without space.
func KeyPolicyField(to *string) request.Field {
	var raw []byte
	return request.RawObject("callback_policy", &raw, maxCallbackPolicy).Check(func(name string) error {
		if err := checkKeyPolicy(raw, name); err != nil {
			return err
		}
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return err
		}
		*to = strings.TrimPrefix(b.String(), "{}")
		return nil
	})
}

func policyFields(p *callbackd.Policy) []request.Field {
	return append(keyPolicyFields(p),
		nameField("order_group", &p.OrderGroup).Optional(),
		FilterField("filter", &p.Filter),
		FieldsField("fields", &p.Fields),
		formatField("format", &p.Format),
		authField("auth", &p.Auth),
	)
}

// formatField reads a format. A policy stores FormatJSON as the empty text.
func formatField(name string, to *callbackd.Format) request.Field {
	var names []string
	for _, f := range callbackd.Formats {
		names = append(names, string(f))
	}
	chosen := string(callbackd.FormatJSON)
	return request.Choice(name, &chosen, names).Check(func(string) error {
		if *to = callbackd.Format(chosen); *to == callbackd.FormatJSON {
			*to = ""
		}
		return nil
	})
}

// checkFormat returns an error when the bodies of a callback cannot have the format of its
// policy.
func checkFormat(cb *callbackd.Callback) error {
	p := &cb.Policy
	switch {
	case !p.Format.ForPeople():
		return nil
	case !cb.Event.IsNotice():
		return callbackd.Invalid("policy.format %s is for callbacks for notices, such as %s, which have a text for people. Leave it out for other events.", p.Format, callbackd.NoticeFailing)
	case cb.Method == http.MethodGet || cb.Method == http.MethodDelete:
		return callbackd.Invalid("policy.format %s needs a body, which %s requests do not have. Use the method POST.", p.Format, cb.Method)
	case p.Fields != nil:
		return callbackd.Invalid("policy.fields chooses members of the data, and policy.format %s sends a text in their place. Leave one of them out.", p.Format)
	}
	return nil
}

// orNone returns the field of a duration as one for which an empty text in JSON is none, as a
// policy is shown. In a form it counts as absent.
func orNone(f request.Field, to *time.Duration) request.Field {
	read := f.Read
	f.Read = func(v request.Value) error {
		if isEmptyText(v) && !v.Lenient {
			*to = 0
			return nil
		}
		return read(v)
	}
	return f
}

// ttlField reads how long a delivery may wait.
func ttlField(name string, to *time.Duration) request.Field {
	return orNone(request.Duration(name, to, callbackd.MinTTL, callbackd.MaxTTL), to).Check(func(string) error {
		*to = to.Truncate(time.Millisecond) // as it is stored
		return nil
	})
}

// orderField reads how long a failed delivery blocks later ones of its session. A policy
// stores 0 as [callbackd.NoOrderWait].
func orderField(name string, to *time.Duration) request.Field {
	wait := time.Duration(-1)
	return request.Duration(name, &wait, 0, callbackd.MaxOrderWait).Check(func(string) error {
		switch {
		case wait == 0:
			*to = callbackd.NoOrderWait
		case wait > 0: // an empty text sets nothing
			*to = wait
		}
		return nil
	})
}

func retryField(name string, to *[]time.Duration) request.Field {
	what := fmt.Sprintf("an array of 1 to %d delays, the first before attempt 1", callbackd.MaxRetries)
	delay := func(name string, to *time.Duration) request.Field {
		return request.Duration(name, to, 0, callbackd.MaxRetryDelay)
	}
	return request.Array(name, to, 1, callbackd.MaxRetries, what, delay).Check(func(name string) error {
		if (*to)[0] != 0 {
			return callbackd.Invalid("%s must begin with 0: the first attempt is made at once.", name)
		}
		return nil
	})
}
