package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	otlp = "OTEL_EXPORTER_OTLP_"
	// maxNumber bounds times in milliseconds, and maxSize sizes of queues and batches, for
	// which the SDK takes memory at the start.
	maxNumber = 1_000_000_000
	maxSize   = 1_000_000
)

// samplers are those of the SDK.
var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// check returns an error for a variable of the signals that are sent with a value that cannot
// be right. The SDK would go on with its default instead: it would send to another address or
// with another sampler, and log a header with the token in it.
func (s Signals) check(getenv func(string) string) error {
	get := func(name string) string { return strings.TrimSpace(getenv(name)) }
	for _, of := range []struct {
		sent   bool
		prefix string
	}{{s.Traces || s.Metrics, otlp}, {s.Traces, otlp + "TRACES_"}, {s.Metrics, otlp + "METRICS_"}} {
		if !of.sent {
			continue
		}
		for _, check := range []func(func(string) string, string) error{checkEndpoint, checkHeaders, checkCompression, checkCertificates} {
			if err := check(get, of.prefix); err != nil {
				return err
			}
		}
		if err := checkNumber(get, of.prefix+"TIMEOUT", 0, maxNumber); err != nil {
			return err
		}
	}
	if s.Traces {
		if err := checkTraces(get); err != nil {
			return err
		}
	}
	if s.Metrics {
		for _, name := range []string{"OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"} {
			if err := checkNumber(get, name, 1, maxNumber); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkEndpoint shows a value only when it cannot have a password.
func checkEndpoint(get func(string) string, prefix string) error {
	name, value := prefix+"ENDPOINT", get(prefix+"ENDPOINT")
	if value == "" {
		return nil
	}
	if u, err := url.Parse(value); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	if !strings.Contains(value, "@") {
		name += fmt.Sprintf(" is %q, which", value)
	}
	return fmt.Errorf("%s is not a URL of a collector; set it to one such as http://127.0.0.1:4318", name)
}

// checkHeaders does not show values, because they are secret.
func checkHeaders(get func(string) string, prefix string) error {
	value := get(prefix + "HEADERS")
	if value == "" {
		return nil
	}
	for n, header := range strings.Split(value, ",") {
		name, text, found := strings.Cut(header, "=")
		text, err := url.PathUnescape(text)
		if !found || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) || !httpguts.ValidHeaderFieldValue(strings.TrimSpace(text)) {
			return fmt.Errorf("%sHEADERS: header %d is not valid; write name=value, with a comma between two; in a value, a comma is %%2C and a percent sign %%25", prefix, n+1)
		}
	}
	return nil
}

func checkCompression(get func(string) string, prefix string) error {
	switch value := get(prefix + "COMPRESSION"); value {
	case "", "none", "gzip":
		return nil
	default:
		return fmt.Errorf("%sCOMPRESSION is %q; set it to gzip or none", prefix, value)
	}
}

func checkCertificates(get func(string) string, prefix string) error {
	if path := get(prefix + "CERTIFICATE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%sCERTIFICATE: %w; name a PEM file with the authority of the collector's certificate", prefix, err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return fmt.Errorf("%sCERTIFICATE: %s has no certificate; name a PEM file with the authority of the collector's certificate", prefix, path)
		}
	}
	cert, key := get(prefix+"CLIENT_CERTIFICATE"), get(prefix+"CLIENT_KEY")
	if cert == "" && key == "" {
		return nil
	}
	if cert == "" || key == "" {
		return fmt.Errorf("%sCLIENT_CERTIFICATE and %sCLIENT_KEY need each other; set both or none", prefix, prefix)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return fmt.Errorf("%sCLIENT_CERTIFICATE: %w; name two PEM files that belong together", prefix, err)
	}
	return nil
}

func checkTraces(get func(string) string) error {
	sampler := strings.ToLower(get("OTEL_TRACES_SAMPLER"))
	if sampler != "" && !slices.Contains(samplers, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER is %q, which callbackd does not have; set it to one of %s", sampler, strings.Join(samplers, ", "))
	}
	if arg := get("OTEL_TRACES_SAMPLER_ARG"); arg != "" && strings.HasSuffix(sampler, "traceidratio") {
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q; set it to the share of traces to collect, from 0 to 1, such as 0.01", arg)
		}
	}
	for _, number := range []struct {
		name string
		most int64
	}{
		{"OTEL_BSP_SCHEDULE_DELAY", maxNumber}, {"OTEL_BSP_EXPORT_TIMEOUT", maxNumber},
		{"OTEL_BSP_MAX_QUEUE_SIZE", maxSize}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", maxSize},
	} {
		if err := checkNumber(get, number.name, 1, number.most); err != nil {
			return err
		}
	}
	return nil
}

func checkNumber(get func(string) string, name string, least, most int64) error {
	value := get(name)
	if value == "" {
		return nil
	}
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < least || n > most {
		return fmt.Errorf("%s is %q; set it to a whole number from %d to %d, without a unit (times are in milliseconds)", name, value, least, most)
	}
	return nil
}
