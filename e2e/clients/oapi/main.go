// Command oapi calls a server with the client that oapi-codegen makes.
package main

import (
	"context"
	"fmt"

	"clients/oapi/api"
	"clients/signed"
)

func ptr[T any](v T) *T { return &v }

var (
	ctx  = context.Background()
	must = signed.Must
)

func main() {
	c, err := api.NewClientWithResponses(signed.Server, api.WithHTTPClient(signed.Client()))
	must(err == nil, "client", nil, err)
	callbacks(c)
	events(c)
	session(c)
	fmt.Println("every call was answered as openapi.yaml says")
}

func callbacks(c *api.ClientWithResponses) {
	made, err := c.CreateCallbackWithResponse(ctx, nil, api.NewCallback{
		Event: "SESSION:STAGE_CHANGE", Url: signed.Receiver, Headers: &map[string]string{"Authorization": "Bearer x"},
		Payload: &map[string]any{"source": "PAVE"}, Policy: &api.NewPolicy{Timeout: ptr("5s"), Retry: &[]api.Duration{"0s", "1m"}},
	})
	must(err == nil && made.JSON200 != nil && made.JSON200.Payload["source"] == "PAVE", "create", made, err)
	policy, err := c.GetPolicyWithResponse(ctx, "SESSION:STAGE_CHANGE", &api.GetPolicyParams{})
	must(err == nil && policy.JSON200 != nil && policy.JSON200.Timeout == "5s", "policy", policy, err)
	sent, err := c.TestCallbackWithResponse(ctx, "SESSION:STAGE_CHANGE", &api.TestCallbackParams{})
	must(err == nil && sent.JSON200 != nil && sent.JSON200.State == "delivered" && (*sent.JSON200.History)[0].Response.Status == 200, "test", sent, err)

	// An attempt without an answer has null in the place of the response.
	_, err = c.CreateCallbackWithResponse(ctx, nil, api.NewCallback{Event: "SESSION:NOTE_INSERT", Url: "http://127.0.0.1:1/"})
	must(err == nil, "create", nil, err)
	sent, err = c.TestCallbackWithResponse(ctx, "SESSION:NOTE_INSERT", &api.TestCallbackParams{})
	must(err == nil && sent.JSON200 != nil && (*sent.JSON200.History)[0].Response == nil, "test without an answer", sent, err)

	none, err := c.GetCallbackWithResponse(ctx, "SESSION:COMPLETE", &api.GetCallbackParams{})
	must(err == nil && none.JSON404 != nil && none.JSON404.ApiKey != "", "404", none, err)
}

func events(c *api.ClientWithResponses) {
	event := api.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: "ACM-0123456789", Data: &map[string]any{"status": "STARTED"}}
	var body api.PublishBody
	must(true, "one", nil, body.FromNewEvent(event))
	one, err := c.PublishWithResponse(ctx, &api.PublishParams{IdempotencyKey: ptr("one")}, body)
	must(err == nil && one.JSON202 != nil, "publish", one, err)
	accepted, err := one.JSON202.AsAccepted()
	must(err == nil && accepted.Sequence == 1, "accepted", accepted, err)
	must(true, "many", nil, body.FromNewEvents(api.NewEvents{event, event}))
	many, err := c.PublishWithResponse(ctx, &api.PublishParams{}, body)
	must(err == nil && many.JSON202 != nil, "publish", many, err)
	list, err := many.JSON202.AsAcceptedEvents()
	must(err == nil && len(list) == 2, "accepted", list, err)

	read, err := c.GetEventWithResponse(ctx, accepted.Id)
	must(err == nil && read.JSON200 != nil && read.JSON200.Data["status"] == "STARTED", "event", read, err)
	page, err := c.ListEventsWithResponse(ctx, &api.ListEventsParams{SessionKey: ptr("ACM-0123456789"), Limit: ptr(2)})
	must(err == nil && page.JSON200 != nil && len(page.JSON200.Data) == 2 && page.JSON200.Next != nil, "events", page, err)
	why, err := c.ExplainEventWithResponse(ctx, accepted.Id, &api.ExplainEventParams{})
	must(err == nil && why.JSON200 != nil, "explain", why, err)
	deliveries, err := c.ListDeliveriesWithResponse(ctx, &api.ListDeliveriesParams{})
	must(err == nil && deliveries.JSON200 != nil && len(deliveries.JSON200.Data) == 2, "deliveries", deliveries, err)
	replay, err := c.CreateReplayWithResponse(ctx, nil, api.NewReplay{Callback: ptr("1"), States: &[]api.State{"delivered"}, DryRun: ptr(true)})
	must(err == nil && replay.JSON200 != nil, "replay", replay, err)
}

func session(c *api.ClientWithResponses) {
	made, err := c.CreateSessionWithResponse(ctx, nil, api.NewSession{
		Vehicle: &api.NewVehicle{Vin: ptr("JN1CV6AR9BM123456"), Year: ptr("2017")}, Sms: &api.NewSMS{To: ptr("+15555550100")},
		Options: &api.NewOptions{Reference: map[string]any{"stock": "A1"}},
	})
	must(err == nil && made.JSON200 != nil && made.JSON200.Vehicle != nil, "session", made, err)
	key := made.JSON200.SessionKey
	started, err := c.StartSessionWithResponse(ctx, key, nil)
	must(err == nil && started.JSON200 != nil && started.JSON200.Status == "STARTED", "start", started, err)
	for code := 1; code <= 13; code++ {
		photo, err := c.AddPhotoWithResponse(ctx, key, nil, api.NewPhoto{PhotoCode: code, Url: ptr("https://photos.example/1.jpg"), Approved: ptr(true)})
		must(err == nil && photo.JSON200 != nil, "photo", photo, err)
	}
	put, err := c.PutResultsWithResponse(ctx, key, nil, api.NewResults{AdditionalProperties: map[string]any{"landing_page": "https://report.example/1"}})
	must(err == nil && put.JSON200 != nil && put.JSON200.Status == "CONFIRM", "results", put, err)
	done, err := c.CompleteSessionWithResponse(ctx, key, nil)
	must(err == nil && done.JSON200 != nil && done.JSON200.Status == "COMPLETE", "complete", done, err)
	results, err := c.GetResultsWithResponse(ctx, key)
	must(err == nil && results.JSON200 != nil && results.JSON200.Session.SessionKey == key, "results", results, err)
	again, err := c.StartSessionWithResponse(ctx, key, nil)
	must(err == nil && again.JSON409 != nil, "start again", again, err)
	page, err := c.ListSessionsWithResponse(ctx, &api.ListSessionsParams{})
	must(err == nil && page.JSON200 != nil && len(page.JSON200.Data) == 1, "sessions", page, err)
	logs, err := c.ListLogsWithResponse(ctx, &api.ListLogsParams{})
	must(err == nil && logs.JSON200 != nil, "logs", logs, err)
}
