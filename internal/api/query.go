package api

import (
	"net/http"
	"strings"

	"callbackd/internal/request"
	"callbackd/internal/store"
)

const (
	defaultLimit = 50 // rows of a page
	// maxQueryText is the longest text in a query. The server reads no longer ones.
	maxQueryText = maxHeaderBytes
)

// nameParams are the parameters of routes that name one callback.
var nameParams = []string{"name"}

// withQuery returns a route for signed calls with a query. fields sets the defaults of
// the query and describes its parameters.
func withQuery[Q any](pattern string, f func(http.ResponseWriter, *call, *Q) error, fields func(*Q) []request.Field) route {
	handler := func(w http.ResponseWriter, c *call) error {
		var q Q
		if err := c.query.Read(fields(&q)...); err != nil {
			return err
		}
		return f(w, c, &q)
	}
	return route{pattern: pattern, params: request.Names(fields(new(Q))), signed: handler}
}

// limitField reads the number of rows of a page.
func limitField(to *int) request.Field {
	*to = defaultLimit
	return request.Whole("limit", to, 1, store.MaxPage)
}

func queryText(name string, to *string) request.Field {
	return request.Text(name, to, maxQueryText)
}

// methodField reads the method of logged calls, in upper or lower case.
func methodField(to *string) request.Field {
	return queryText("method", to).Check(func(string) error {
		*to = strings.ToUpper(*to)
		return nil
	})
}
