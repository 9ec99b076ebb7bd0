package browser

import (
	"context"
	"testing"

	"callbackd"
	"callbackd/client"

	"github.com/chromedp/chromedp"
)

// The operator erases a person in all API keys: the form, the dry run, the confirmation with the
// value, the receipt, the list. The audit log then says who did it.
func TestAPersonIsErasedInAllKeys(t *testing.T) { onBothStores(t, erasedInAllKeys) }

func erasedInAllKeys(t *testing.T, s *site) {
	keys := []callbackd.Key{s.Key, s.NewKey("blue", "staging")}
	for _, k := range keys {
		s.Publish(k, callbackd.Complete, "ACM-PERSON", map[string]any{"phone": "+1 555 555 0188"})
	}
	s.Publish(keys[1], callbackd.Complete, "ACM-OTHER", map[string]any{"phone": "+1 555 555 0199"})
	b := s.browser(t)
	b.open("/console/sign-in?as=operator")
	b.fill("#token", operatorToken)
	b.button("Sign in")
	b.open("/console/erase-groups")
	b.sees("No erasure over all API keys yet")
	b.pictures("erase-groups-empty")
	b.button("Erase a person")
	b.choose("#by", "phone")
	b.fill("#value", "none")
	b.button("Start the dry run")
	b.sees("Choose an API key, or all of them below.")
	b.pictures("erase-new-wrong")
	b.do(chromedp.Click(chromedp.CSS("input[name=all]")))
	b.fill("#value", "+1 (555) 555 0188")
	b.pictures("erase-new")
	b.button("Start the dry run")
	b.sees("This much would be erased in 2 API keys:")
	b.sees("Erase it?")
	b.pictures("erase-group-dry")
	b.fill("#value", "+1 555 555 0199")
	b.button("Erase now")
	b.sees("This phone is not the one of the dry run; nothing was erased.")
	b.pictures("erase-group-wrong")
	b.fill("#value", "15555550188")
	b.button("Erase now")
	b.sees("Receipt")
	b.sees("This much is erased in 2 API keys:")
	b.pictures("erase-group-done")
	for _, k := range keys {
		list, err := s.Client(k).Events(context.Background(), map[string][]string{"session_key": {"ACM-PERSON"}})
		if err != nil || len(list.Data) != 1 || string(list.Data[0].Data) != "{}" {
			t.Errorf("the event of %s is %+v, %v; want it erased", k.Account, list.Data, err)
		}
	}
	b.open("/console/erase-groups")
	b.sees("dry run")
	b.pictures("erase-groups")
	b.press("tbody .main-link")
	b.sees("Receipt")
	b.press("#list .main-link")
	b.sees("Part of an erasure over all API keys")
	b.pictures("erase-done")
	b.open("/console/erases")
	b.pictures("erases")

	cl, ctx := s.Client(s.Key), context.Background()
	if _, err := cl.CreateCallback(ctx, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/hook"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.ReplaceCallback(ctx, "SESSION:COMPLETE", "", client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/other"}); err != nil {
		t.Fatal(err)
	}
	b.open("/console/audit")
	b.sees("http://127.0.0.1:9/other")
	b.pictures("audit")
	b.open("/console/audit?actor=operator&callback=x")
	b.sees("The filter is invalid.")
	b.pictures("audit-wrong")
	b.open("/console/audit?actor=operator")
	b.sees("Filter (1)")
	b.pictures("audit-filtered")
	b.tabsThrough()
	b.clean()
}
