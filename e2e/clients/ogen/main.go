// Command ogen calls a server with the client that ogen makes, which also
// checks each request and each answer against the document.
package main

import (
	"context"
	"fmt"

	"clients/ogen/api"
	"clients/signed"

	"github.com/go-faster/jx"
)

var (
	ctx  = context.Background()
	must = signed.Must
)

// elsewhere leaves it to signed.Client to prove the API key.
type elsewhere struct{}

func (elsewhere) AccessToken(context.Context, api.OperationName) (api.AccessToken, error) {
	return api.AccessToken{}, nil
}

func (elsewhere) ApiKey(context.Context, api.OperationName) (api.ApiKey, error) {
	return api.ApiKey{}, nil
}

func (elsewhere) ApiTimestamp(context.Context, api.OperationName) (api.ApiTimestamp, error) {
	return api.ApiTimestamp{}, nil
}

func (elsewhere) ApiToken(context.Context, api.OperationName) (api.ApiToken, error) {
	return api.ApiToken{}, nil
}

func (elsewhere) Operator(context.Context, api.OperationName) (api.Operator, error) {
	return api.Operator{}, nil
}

// as is the answer as the type that belongs to its status.
func as[T any](what string, answer any, err error) T {
	got, ok := answer.(T)
	must(ok, what, answer, err)
	return got
}

func main() {
	c, err := api.NewClient(signed.Server, elsewhere{}, api.WithClient(signed.Client()))
	must(err == nil, "client", nil, err)
	callbacks(c)
	events(c)
	session(c)
	fmt.Println("every call was answered as openapi.yaml says")
}

func callbacks(c *api.Client) {
	answer, err := c.CreateCallback(ctx, &api.NewCallback{
		Event: "SESSION:STAGE_CHANGE", URL: signed.Receiver, Headers: api.NewOptNewCallbackHeaders(api.NewCallbackHeaders{"Authorization": "Bearer x"}),
		Payload: api.NewOptNewCallbackPayload(api.NewCallbackPayload{"source": jx.Raw(`"PAVE"`)}),
		Policy:  api.NewOptNewPolicy(api.NewPolicy{Timeout: api.NewOptDuration("5s"), Retry: []api.Duration{"0s", "1m"}}),
	}, api.CreateCallbackParams{})
	made := as[*api.CallbackAnswerHeaders]("create", answer, err).Response
	must(string(made.Payload["source"]) == `"PAVE"`, "create", made, nil)
	tested, err := c.TestCallback(ctx, api.TestCallbackParams{Event: "SESSION:STAGE_CHANGE"})
	sent := as[*api.Delivery]("test", tested, err)
	must(sent.State == "delivered" && !sent.History[0].Response.Null, "test", sent, nil)

	// An attempt without an answer has null in the place of the response.
	answer, err = c.CreateCallback(ctx, &api.NewCallback{Event: "SESSION:NOTE_INSERT", URL: "http://127.0.0.1:1/"}, api.CreateCallbackParams{})
	as[*api.CallbackAnswerHeaders]("create", answer, err)
	tested, err = c.TestCallback(ctx, api.TestCallbackParams{Event: "SESSION:NOTE_INSERT"})
	sent = as[*api.Delivery]("test without an answer", tested, err)
	must(sent.History[0].Response.Null, "test without an answer", sent, nil)

	none, err := c.GetCallback(ctx, api.GetCallbackParams{Event: "SESSION:COMPLETE"})
	as[*api.KeyedMessage]("404", none, err)
}

func events(c *api.Client) {
	event := api.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: "ACM-0123456789", Data: api.NewOptNewEventData(api.NewEventData{"status": jx.Raw(`"STARTED"`)})}
	answer, err := c.Publish(ctx, api.NewNewEventPublishBody(event), api.PublishParams{})
	accepted := as[*api.PublishAnswerHeaders]("publish", answer, err).Response.Accepted
	must(accepted.Sequence == 1, "publish", accepted, nil)
	answer, err = c.Publish(ctx, api.NewNewEventsPublishBody(api.NewEvents{event, event}), api.PublishParams{})
	must(len(as[*api.PublishAnswerHeaders]("publish", answer, err).Response.AcceptedEvents) == 2, "publish", answer, nil)
	read, err := c.GetEvent(ctx, api.GetEventParams{ID: accepted.ID})
	as[*api.Event]("event", read, err)
	page, err := c.ListEvents(ctx, api.ListEventsParams{Limit: api.NewOptInt(2)})
	must(len(as[*api.EventList]("events", page, err).Data) == 2, "events", page, nil)
	replay, err := c.CreateReplay(ctx, &api.NewReplay{Callback: api.NewOptCallbackRef("1"), DryRun: api.NewOptBool(true)}, api.CreateReplayParams{})
	as[*api.ReplayCount]("replay", replay, err)
}

func session(c *api.Client) {
	answer, err := c.CreateSession(ctx, api.NewOptNewSession(api.NewSession{
		Vehicle: api.NewOptNewVehicle(api.NewVehicle{Vin: api.NewOptString("JN1CV6AR9BM123456"), Year: api.NewOptString("2017")}),
		Options: api.NewOptNewOptions(api.NewOptions{Reference: jx.Raw(`{"stock":"A1"}`)}),
	}), api.CreateSessionParams{})
	key := as[*api.Session]("session", answer, err).SessionKey
	started, err := c.StartSession(ctx, api.StartSessionParams{Key: key})
	as[*api.SessionChange]("start", started, err)
	for code := 1; code <= 13; code++ {
		photo, err := c.AddPhoto(ctx, &api.NewPhoto{PhotoCode: code, URL: api.NewOptString("https://photos.example/1.jpg"), Approved: api.NewOptBool(true)}, api.AddPhotoParams{Key: key})
		as[*api.SessionChange]("photo", photo, err)
	}
	put, err := c.PutResults(ctx, &api.NewResults{AdditionalProps: api.NewResultsAdditional{"landing_page": jx.Raw(`"https://report.example/1"`)}}, api.PutResultsParams{Key: key})
	as[*api.SessionChange]("results", put, err)
	done, err := c.CompleteSession(ctx, api.CompleteSessionParams{Key: key})
	as[*api.SessionChange]("complete", done, err)
	results, err := c.GetResults(ctx, api.GetResultsParams{Key: key})
	as[*api.SessionResults]("results", results, err)
}
