package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Parameters of the routes' queries. A route without a list has none.
var (
	nameParams     = []string{"name"}
	pageParams     = []string{"limit", "cursor"}
	eventParams    = []string{"event", "session_key", "since", "until", "limit", "cursor"}
	afterParams    = []string{"after", "wait", "event", "session_key", "limit"}
	eventsParams   = append([]string{"after", "wait"}, eventParams...) // of both kinds of GET /v1/events
	streamParams   = []string{"after", "event", "session_key"}
	explainParams  = []string{"callback"}
	deliveryParams = append([]string{"state", "callback", "status", "fault"}, eventParams...)
	sessionParams  = []string{"status", "q", "since", "until", "limit", "cursor"}
	logParams      = []string{"method", "path", "status", "since", "until", "limit", "cursor"}
)

// readQuery reads the query of a request. A parameter that the route does not
// have is refused on every route: a filter with a typing error would answer
// with everything, and a selector with one would change something else.
func readQuery(r *http.Request, known []string) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query is malformed; percent-encode its values.")
	}
	for name, values := range q {
		if err := isParam(name, known); err != nil {
			return nil, err
		}
		if len(values) > 1 {
			return nil, invalid("%s is given twice.", name)
		}
	}
	return q, nil
}

func isParam(name string, known []string) error {
	switch {
	case slices.Contains(known, name):
		return nil
	case len(known) == 0:
		return invalid("%q is not a parameter of this call; it takes none.", clip(name, 60))
	}
	return invalid("%q is not a parameter of this call; it takes %s.", clip(name, 60), strings.Join(known, ", "))
}
