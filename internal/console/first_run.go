package console

import (
	"callbackd"
	"callbackd/internal/store"
)

// firstRun is the way of a new API key: create a callback, send it a test, see the test
// arrive, verify the signature. Pages show it until it ends; nil shows nothing.
type firstRun struct{ Steps []firstStep }

// firstStep is one step of a [firstRun].
type firstStep struct {
	State string // "done", "next" or "later", or the state of the last test
	Title string
	Text  string
	Links []firstLink
}

type firstLink struct{ Label, Href string }

// testsOnly is how many of the latest deliveries of a callback must be tests for the first
// run to go on.
const testsOnly = 20

// firstRun returns how far a key is. It is nil for who may not change callbacks, for a key
// with several callbacks, and for one that was sent an event that is no test. apiKey is what
// the form of a new callback starts with.
func (c *Console) firstRun(req *userRequest, key callbackd.KeyID, apiKey string) (*firstRun, error) {
	if key == store.AllKeys || !req.role().Includes(callbackd.ConsoleDeveloper) {
		return nil, nil
	}
	page, err := c.Store.ListCallbacks(req.Context(), store.CallbackQuery{Key: key, Limit: 2})
	if err != nil || len(page.Callbacks) > 1 {
		return nil, err
	}
	if len(page.Callbacks) == 0 {
		return newFirstRun(nil, nil, apiKey), nil
	}
	cb := page.Callbacks[0]
	sent, err := c.Store.ListDeliveries(req.Context(), store.DeliveryQuery{Key: key, Callback: cb.ID, Limit: testsOnly})
	if err != nil {
		return nil, err
	}
	for i := range sent.Deliveries {
		if !sent.Deliveries[i].Event.Test {
			return nil, nil
		}
	}
	return newFirstRun(cb, sent.Deliveries, apiKey), nil
}

// newFirstRun returns the steps of a key with one callback or none, and the latest tests of
// the callback, newest first.
func newFirstRun(cb *callbackd.Callback, tests []store.DeliveryView, apiKey string) *firstRun {
	create := firstStep{State: "next", Title: "Create a callback",
		Text: "Choose an event, and enter the URL of your receiver. If you have none yet, the document has a receiver to copy."}
	test := firstStep{State: "later", Title: "Send a test",
		Text: "A test is a complete sample of the event. It is signed and sent as every event is."}
	arrive := firstStep{State: "later", Title: "See it arrive",
		Text: "The page of the test shows the request, and what your receiver answered."}
	verify := firstStep{State: "later", Title: "Verify the signature",
		Text: "Whoever knows the URL of your receiver can send to it. Only the signature shows that a request comes from here, so let your receiver check it. callbackd cannot see whether it does: callbackd exam tries it with wrong signatures."}
	receive := firstLink{"Receive your first callback", docsLink("howto", "receive-your-first-callback")}
	switch {
	case cb == nil:
		create.Links = []firstLink{{"New callback", withQuery(link("callbacks", "new"), "key", apiKey)}, receive}
	case len(tests) == 0:
		create.State, test.State = "done", "next"
		test.Links = []firstLink{{"Send a test", link("callbacks", cb.ID, "test")}}
	default:
		create.State, test.State = "done", "done"
		arrive.fillTest(cb, tests)
		if arrive.State == "done" {
			verify.State = "next"
			verify.Links = []firstLink{{"Secret and code", link("callbacks", cb.ID, "secret")}, {"Examine a receiver", docsLink("howto", "examine-a-receiver")}, {"Send another test", link("callbacks", cb.ID, "test")}}
		}
	}
	return &firstRun{[]firstStep{create, test, arrive, verify}}
}

// fillTest says what became of the tests. One that arrived is enough.
func (s *firstStep) fillTest(cb *callbackd.Callback, tests []store.DeliveryView) {
	last := &tests[0]
	for i := range tests {
		if tests[i].State == callbackd.Delivered {
			s.State, last = "done", &tests[i]
			break
		}
	}
	s.Links = []firstLink{{"The test", link("deliveries", last.ID)}}
	if s.State == "done" {
		return
	}
	s.State = stateText(*last)
	switch {
	case last.State == callbackd.Pending:
		s.Text = "The test is being sent."
	case last.Last != nil && last.Last.Fault != callbackd.NoFault:
		s.Text = "The last test did not arrive: " + callbackd.FailureText(last.Last.Fault, last.Last.Status) + ". Correct the receiver or the URL, and send another test."
		s.Links = append(s.Links, firstLink{"Edit the callback", link("callbacks", cb.ID, "edit")}, firstLink{"Send another test", link("callbacks", cb.ID, "test")})
	default:
		s.Text = "The last test was not sent."
		s.Links = append(s.Links, firstLink{"Send another test", link("callbacks", cb.ID, "test")})
	}
}
