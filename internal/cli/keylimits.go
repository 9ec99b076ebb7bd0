package cli

import (
	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
)

// keyDefaults holds the options of a server that limit keys without limits of their own.
type keyDefaults struct {
	KeyRate    string `name:"key-publish-rate" env:"CALLBACKD_KEY_PUBLISH_RATE" placeholder:"N" help:"How many events a second an API key may publish that has no limit of its own: 0.001 to 1,000,000. Without the option there is no limit. Calls over it get a 429."`
	KeyPending string `name:"key-pending-deliveries" env:"CALLBACKD_KEY_PENDING_DELIVERIES" placeholder:"N" help:"How many deliveries of an API key may be pending that has no limit of its own. Without the option there is no limit. Calls that would make more get a 429."`
	KeyBytes   string `name:"key-pending-bytes" env:"CALLBACKD_KEY_PENDING_BYTES" placeholder:"N" help:"How many bytes of event data the pending deliveries of an API key may have together that has no limit of its own. Without the option there is no limit. Calls that would make more get a 429."`
}

func (d *keyDefaults) keyLimits() (callbackd.KeyLimits, error) {
	return readLimits(map[callbackd.Limit]limitOption{
		callbackd.LimitPublishRate: {"--key-publish-rate", d.KeyRate}, callbackd.LimitPending: {"--key-pending-deliveries", d.KeyPending}, callbackd.LimitPendingBytes: {"--key-pending-bytes", d.KeyBytes},
	}, callbackd.KeyLimits{})
}

// limitOption is an option with a limit; its value is empty when it was not given.
type limitOption struct{ option, value string }

// keyLimitOptions holds the options of commands that set the limits of a key.
type keyLimitOptions struct {
	Rate      string `name:"publish-rate" placeholder:"N" help:"How many events a second the key may publish: 0.001 to 1,000,000; 0 for no limit, or default for the server's --key-publish-rate."`
	Pending   string `name:"pending-deliveries" placeholder:"N" help:"How many of its deliveries may be pending: a number; 0 for no limit, or default for the server's --key-pending-deliveries."`
	Bytes     string `name:"pending-bytes" placeholder:"N" help:"How many bytes of event data its pending deliveries may have: a number; 0 for no limit, or default for the server's --key-pending-bytes."`
	Callbacks string `name:"callbacks" placeholder:"N" help:"How many callbacks it may have for one event: 1 to 100, or default for 100."`
	Policy    string `name:"callback-policy" placeholder:"JSON" help:"What callbacks get that are registered from now on and leave it out of their own policy: an object with timeout, retry, order, rate, concurrency, keep_alive, store_response, signing, ttl, expect. {} for nothing."`
	Retention string `name:"retention" env:"CALLBACKD_KEY_RETENTION" placeholder:"DURATION" help:"How long finished events of the key are kept, such as 7d, when that is shorter than the server's --retention: 1h or more; default for the server's."`
	Types     string `name:"retention-events" env:"CALLBACKD_KEY_RETENTION_EVENTS" placeholder:"JSON" help:"How long finished events of some types are kept instead: an object with a duration for each type. {} for nothing."`
}

// given reports whether one of the options was given.
func (o *keyLimitOptions) given() bool { return *o != keyLimitOptions{} }

// set gives k the limits that the options name.
func (o *keyLimitOptions) set(k *callbackd.Key) (err error) {
	k.Limits, err = readLimits(map[callbackd.Limit]limitOption{
		callbackd.LimitPublishRate: {"--publish-rate", o.Rate}, callbackd.LimitPending: {"--pending-deliveries", o.Pending},
		callbackd.LimitPendingBytes: {"--pending-bytes", o.Bytes}, callbackd.LimitCallbacks: {"--callbacks", o.Callbacks},
	}, k.Limits)
	if err != nil {
		return err
	}
	if o.Retention == "default" {
		k.Retention = 0
	} else if o.Retention != "" {
		f := apikey.RetentionField(&k.Retention)
		f.Name = "--retention"
		if err := f.Set(o.Retention); err != nil {
			return settingf("%s", callbackd.Sentence(err))
		}
	}
	for _, object := range []struct {
		option, text string
		field        request.Field
	}{
		{"--callback-policy", o.Policy, callbacks.KeyPolicyField(&k.CallbackPolicy)},
		{"--retention-events", o.Types, apikey.RetentionsField(&k.RetentionEvents)},
	} {
		if object.text == "" {
			continue
		}
		if err := object.field.Read(request.Value{Name: object.option, JSON: []byte(object.text)}); err != nil {
			return settingf("%s", callbackd.Sentence(err))
		}
	}
	return nil
}

// readLimits returns limits with those that options give. The word default removes one.
func readLimits(options map[callbackd.Limit]limitOption, limits callbackd.KeyLimits) (callbackd.KeyLimits, error) {
	for _, f := range apikey.LimitFields(&limits) {
		o := options[callbackd.Limit(f.Name)]
		if o.value == "" {
			continue
		}
		if o.value == "default" {
			limits.Reset(callbackd.Limit(f.Name))
			continue
		}
		f.Name = o.option
		if err := f.Set(o.value); err != nil {
			return limits, settingf("%s", callbackd.Sentence(err))
		}
	}
	return limits, nil
}
