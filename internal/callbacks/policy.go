package callbacks

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/request"
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

func policyFields(p *callbackd.Policy) []request.Field {
	keepAlive := true
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
		signingField("signing", &p.Signing),
		ttlField("ttl", &p.TTL),
		request.Duration("expect", &p.Expect, callbackd.MinExpect, callbackd.MaxExpect),
		nameField("order_group", &p.OrderGroup).Optional(),
		FilterField("filter", &p.Filter),
		FieldsField("fields", &p.Fields),
		authField("auth", &p.Auth),
	}
}

// ttlField reads how long a delivery may wait. An empty text means that it never expires.
func ttlField(name string, to *time.Duration) request.Field {
	return request.Duration(name, to, callbackd.MinTTL, callbackd.MaxTTL).Check(func(string) error {
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
