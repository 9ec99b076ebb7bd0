package browser

import (
	"context"
	"fmt"
	"testing"

	"callbackd/client"
	"callbackd/internal/eventtypes"
	"callbackd/wire"

	"github.com/chromedp/chromedp"
)

// The console shows a platform's own types of events like callbackd's: in the form of a
// callback with their samples, in a test, in the lists and their filters, and among the
// events of a callback for one session.
func TestAPlatformsOwnTypes(t *testing.T) {
	s := startSite(t)
	kind, err := eventtypes.ParseOwn([]byte(`{"name": "VEHICLE:ARRIVED", "description": "A vehicle came to a yard.",
		"schema": {"properties": {"vin": {"type": "string"}}, "required": ["vin"]}, "sample": {"vin": "1HGCM82633A004352"}}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.EventTypes = []wire.EventKind{kind}
	s.Start()
	recv := newReceiver(t)
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/callbacks/new")
	b.do(chromedp.Click(chromedp.CSS(`[data-sample="VEHICLE:ARRIVED"] summary`)))
	b.sees("A vehicle came to a yard.")
	b.sees(`"vin": "1HGCM82633A004352"`)
	b.choose("#event", "VEHICLE:ARRIVED")
	b.fill("#url", recv.URL+"/arrived")
	b.pictures("own-types-form")
	b.button("Create callback")
	b.sees("VEHICLE:ARRIVED")
	b.button("Send a test")
	b.sees(`"vin":"1HGCM82633A004352"`)
	b.button("Send it")
	b.sees("delivered")
	b.pictures("own-types-test")

	given, err := s.Client(s.Key).Publish(context.Background(), client.NewEvent{Event: "VEHICLE:ARRIVED", SessionKey: "ACM-1", Data: map[string]string{"vin": "1"},
		Callback: &client.NewSessionCallback{URL: recv.URL + "/own", Events: []string{"SESSION:COMPLETE"}}})
	if err != nil {
		t.Fatal(err)
	}
	b.open("/console/sessions/ACM-1")
	b.sees("VEHICLE:ARRIVED")
	b.open(fmt.Sprint("/console/callbacks/", given.Callback.ID, "/edit"))
	b.do(chromedp.Click(chromedp.CSS(`input[value="VEHICLE:ARRIVED"]`)))
	b.pictures("own-types-session-callback")
	b.button("Save")
	b.sees("COMPLETE, VEHICLE:ARRIVED")
	b.open("/console/deliveries?event=VEHICLE:ARRIVED")
	b.sees("ACM-1")
	b.waits(`document.querySelector("#event").value === "VEHICLE:ARRIVED"`)
	b.pictures("own-types-deliveries")
	b.clean()
}
