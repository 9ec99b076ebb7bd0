// Package callbacks holds the rules of a callback's setting, wherever it comes
// from: the API reads it from JSON, the console from a form. It also has the
// samples of test-sends and the limits of how often an API key may test and
// change.
package callbacks

import (
	"strings"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/request"
)

// Methods lists the methods that a callback may use; POST is the default.
var Methods = []string{"POST", "PUT", "PATCH", "GET", "DELETE"}

// ErrMissing is PAVE's answer to a body without event or url.
var ErrMissing = callbackd.Invalid("Missing required fields.")

// Read reads the members that POST and PUT send. When the event is not needed
// it may be absent, and is left empty. The policy gets what it leaves out from the key.
func Read(body request.Object, needEvent bool, key *callbackd.Key) (callbackd.Callback, error) {
	cb := withDefaults()
	event := request.EventType("event", &cb.Event).Optional()
	if needEvent {
		event = event.RequiredElse(ErrMissing)
	}
	address := urlField("url", &cb.URL).RequiredElse(ErrMissing)
	if err := body.Read(append([]request.Field{event, address}, otherFields(&cb)...)...); err != nil {
		return cb, err
	}
	policy, err := policyOf(body, besideURL)
	if err != nil {
		return cb, err
	}
	if err := readKeyPolicy(key, &cb.Policy); err != nil {
		return cb, err
	}
	return cb, policy.Read(policyFields(&cb.Policy)...)
}

// ReadAll reads a whole setting from a form, where the members of the policy stand among
// the others. It returns everything that is wrong in it. The policy gets what it leaves out
// from the key, which may be nil.
func ReadAll(body request.Object, key *callbackd.Key) (callbackd.Callback, []request.Problem) {
	cb := withDefaults()
	event := request.EventType("event", &cb.Event).Required()
	address := urlField("url", &cb.URL).Required()
	problems := body.ReadAll(append([]request.Field{event, address}, otherFields(&cb)...)...)
	fields := policyFields(&cb.Policy)
	policy, err := policyOf(body, request.Names(fields))
	if err != nil {
		return cb, append(problems, request.Problem{Field: "policy", Err: err})
	}
	if err := readKeyPolicy(key, &cb.Policy); err != nil {
		problems = append(problems, request.Problem{Field: "policy", Err: err})
	}
	problems = append(problems, policy.ReadAll(fields...)...)
	return cb, append(problems, authOfForm(body, &cb.Policy.Auth)...)
}

func withDefaults() callbackd.Callback {
	return callbackd.Callback{Name: callbackd.DefaultName, Method: "POST", Payload: []byte("{}")}
}

// otherFields describes the members of a setting beside event and url.
func otherFields(cb *callbackd.Callback) []request.Field {
	return []request.Field{
		methodField("method", &cb.Method),
		nameField("name", &cb.Name).Optional(),
		headersField("headers", &cb.Headers),
		request.RawObject("payload", &cb.Payload, callbackd.MaxPayload),
		secretsField("secret", &cb.Secrets),
	}
}

// secretsField reads the one secret of a callback that is created. A client that sends an
// empty text in JSON has lost the secret, and must not be told that all is well.
func secretsField(name string, to *[]callbackd.SigningSecret) request.Field {
	var secret callbackd.Secret
	field := SecretField(name, &secret)
	read := field.Read
	field.Read = func(v request.Value) error {
		if isEmptyText(v) && v.Lenient {
			return nil
		}
		err := read(v)
		*to = []callbackd.SigningSecret{{Value: secret}}
		return err
	}
	return field
}

func isEmptyText(v request.Value) bool {
	text, ok := v.JSON.Text()
	return ok && text == ""
}

func urlField(name string, to *string) request.Field {
	return request.Text(name, to, callbackd.MaxBody).Check(func(string) error {
		kept, err := egress.KeepURL(*to)
		if err != nil {
			return callbackd.Invalid("%v.", err)
		}
		*to = kept
		return nil
	})
}

// methodField reads a method, in capitals or not.
func methodField(name string, to *string) request.Field {
	f := request.Choice(name, to, Methods)
	read := f.Read
	f.Read = func(v request.Value) error {
		v.Lenient = true
		return read(v)
	}
	return f
}

func nameField(name string, to *string) request.Field {
	read := func(v request.Value) error {
		s, ok := v.JSON.Text()
		if !ok || !validName(s) {
			return callbackd.Invalid("%s must be 1 to %d letters, digits, dots, hyphens or underscores.", v.Name, callbackd.MaxName)
		}
		*to = s
		return nil
	}
	return request.Field{Name: name, Read: read}
}

func validName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return s != "" && len(s) <= callbackd.MaxName && strings.Trim(s, allowed) == ""
}
