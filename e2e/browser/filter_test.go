package browser

import (
	"testing"

	"callbackd"
)

// What a filter and fields would do with the latest events is shown while one types, and
// also what is wrong in them.
func TestAFilterIsTriedWhileOneTypes(t *testing.T) {
	s := startSite(t)
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000004", map[string]any{"grade": 4})
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000002", map[string]any{"grade": 2, "vin": "1FM"})
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/callbacks/new?event=SESSION:COMPLETE")
	b.unfold()
	b.fill("#filter", `{"data.grade": {"lt": `)
	b.sees("filter is not valid JSON")
	b.fill("#filter", `{"data.grade": {"lt": 3}}`)
	b.sees("Matching: 1 of the latest 2 events.")
	b.sees("data.grade lt 3")
	b.sees(`{"grade":2,"vin":"1FM"}`)
	b.fill("#fields", `{"except": ["vin"]}`)
	b.waits(`document.querySelector("#trial").innerText.includes('{"grade":2}')`)
	b.fill("#filter", `{"data.grade": {"gt": 3}}`)
	b.waits(`document.querySelector("#trial").innerText.includes('{"grade":4}')`)
	b.clean()
}
