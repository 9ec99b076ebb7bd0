package callbacks

import (
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/strictjson"
)

// policyMember reads one member of a policy. name is what messages call it.
type policyMember struct {
	name string
	read func(p *callbackd.Policy, name string, v strictjson.Value) error
	flat bool // older clients send it beside url, too
}

// policyMembers lists what the object "policy" may hold.
var policyMembers = []policyMember{
	{"timeout", readTimeout, true},
	{"retry", readRetry, true},
	{"order", readOrder, true},
	{"rate", readRate, true},
	{"concurrency", readConcurrency, true},
	{"keep_alive", readKeepAlive, false},
}

// readPolicy reads the object "policy" and the older members beside it. Unlike
// the rest of a setting the object is strict: whoever asks for something that
// callbackd does not have must not be told that all is well.
func readPolicy(body map[string]strictjson.Value) (p callbackd.Policy, err error) {
	_, members, err := objectValue("policy", body["policy"])
	if err != nil {
		return p, err
	}
	given := map[string]strictjson.Value{}
	for _, m := range members {
		given[m.Name] = m.Value
	}
	for _, m := range policyMembers {
		name, v := "policy."+m.name, given[m.name]
		delete(given, m.name)
		if v.IsNull() {
			v = nil
		}
		if beside := body[m.name]; m.flat && beside != nil {
			if v != nil {
				return p, invalid("%s is given twice: in policy and beside it. Leave out the one beside it.", m.name)
			}
			name, v = m.name, beside
		}
		if v == nil {
			continue
		}
		if err := m.read(&p, name, v); err != nil {
			return p, err
		}
	}
	for _, m := range members {
		if _, unknown := given[m.Name]; unknown {
			return p, invalid("policy has no member %q; it has %s.", clip(m.Name, 60), policyNames())
		}
	}
	return p, nil
}

func policyNames() string {
	names := make([]string, len(policyMembers))
	for i, m := range policyMembers {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

func readTimeout(p *callbackd.Policy, name string, v strictjson.Value) (err error) {
	p.Timeout, err = ReadDuration(name, v, callbackd.MinTimeout, callbackd.MaxTimeout)
	return err
}

func readOrder(p *callbackd.Policy, name string, v strictjson.Value) (err error) {
	p.OrderWait, err = ReadDuration(name, v, 0, callbackd.MaxOrderWait)
	if p.OrderWait == 0 {
		p.OrderWait = callbackd.NoOrderWait
	}
	return err
}

func readRetry(p *callbackd.Policy, name string, v strictjson.Value) error {
	steps, err := strictjson.Array(v)
	if err != nil || len(steps) == 0 || len(steps) > callbackd.MaxRetries {
		return invalid("%s must be an array of 1 to %d delays, the first before attempt 1.", name, callbackd.MaxRetries)
	}
	for _, s := range steps {
		d, err := ReadDuration(name, s, 0, callbackd.MaxRetryDelay)
		if err != nil {
			return err
		}
		p.Retry = append(p.Retry, d)
	}
	if p.Retry[0] != 0 {
		return invalid("%s must begin with 0: the first attempt is made at once.", name)
	}
	return nil
}

func readRate(p *callbackd.Policy, name string, v strictjson.Value) error {
	rate, ok := v.Float()
	if !ok || rate < 0 || rate > callbackd.MaxRate || rate > 0 && rate < 0.001 {
		return invalid("%s must be a number of attempts a second from 0.001 to %s, or 0 for no limit.", name, humanize.Number(callbackd.MaxRate))
	}
	p.Rate = rate
	return nil
}

func readConcurrency(p *callbackd.Policy, name string, v strictjson.Value) error {
	f, ok := v.Float()
	if !ok || f != float64(int(f)) || f < 1 || f > callbackd.MaxConcurrency {
		return invalid("%s must be a whole number from 1 to %d.", name, callbackd.MaxConcurrency)
	}
	p.Concurrency = int(f)
	return nil
}

func readKeepAlive(p *callbackd.Policy, name string, v strictjson.Value) error {
	if k := v.Kind(); k != 't' && k != 'f' {
		return invalid("%s must be true or false.", name)
	}
	p.NoKeepAlive = v.Kind() == 'f'
	return nil
}

// ReadDuration reads the member called name: text such as "30s", or seconds.
func ReadDuration(name string, v strictjson.Value, least, most time.Duration) (time.Duration, error) {
	d, ok := time.Duration(0), false
	if s, text := v.Text(); text {
		var err error
		d, err = callbackd.ParseDuration(s)
		ok = err == nil
	} else if f, number := v.Float(); number && f >= 0 && f <= most.Seconds() {
		d, ok = time.Duration(f*float64(time.Second)), true
	}
	if !ok || d < least || d > most {
		return 0, invalid("%s must be a duration from %s to %s, such as \"30s\".", name, callbackd.FormatDuration(least), callbackd.FormatDuration(most))
	}
	return d, nil
}
