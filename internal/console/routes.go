package console

import (
	"net/http"
	"strings"

	"callbackd"
)

// route is one entry of the table of everything that the console serves.
type route struct {
	pattern string
	handler http.Handler
	least   callbackd.ConsoleRole // that may use it; empty: everybody
}

// open returns a route for everybody.
func open(pattern string, h http.Handler) route { return route{pattern, h, ""} }

// at returns a route for people whose role includes least.
func (c *Console) at(pattern string, least callbackd.ConsoleRole, f func(http.ResponseWriter, *userRequest) error) route {
	return route{pattern, c.requireRole(least, f), least}
}

// routes returns the table of everything that the console serves, with the least role that
// may use it. What shows or changes a secret, and every form, is for developers at least.
func (c *Console) routes() []route {
	const viewer, developer, holder, operator = callbackd.ConsoleViewer, callbackd.ConsoleDeveloper, callbackd.ConsoleHolder, callbackd.ConsoleOperator
	return []route{
		open("GET "+Root+"/static/{hash}/{file}", http.HandlerFunc(c.static)),
		open("GET "+Root+"/sign-in", c.public(c.signInPage)),
		open("POST "+Root+"/sign-in", c.public(c.signIn)),
		open("GET "+Root+"/link", c.public(c.linkPage)),
		open("POST "+Root+"/link", c.public(c.link)),
		open("GET "+Root+"/enter", c.framable(c.public(c.enterPage))),
		open("POST "+Root+"/enter", c.framable(c.public(c.enter))),
		open("POST "+Root+"/sign-out", c.public(c.signOut)),

		open("GET "+Root, c.public(redirectToRoot)),
		c.at("GET "+Root+"/{$}", viewer, c.overview),

		c.at("GET "+Root+"/callbacks", viewer, c.callbacks),
		c.at("GET "+Root+"/callbacks/new", developer, c.newCallback),
		c.at("POST "+Root+"/callbacks/new", developer, c.createCallback),
		c.at("GET "+Root+"/callbacks/{callback}", viewer, c.callback),
		c.at("GET "+Root+"/callbacks/{callback}/edit", developer, c.editCallback),
		c.at("POST "+Root+"/callbacks/{callback}/edit", developer, c.replaceCallback),
		c.at("GET "+Root+"/callbacks/{callback}/delete", developer, c.deleteCallbackPage),
		c.at("POST "+Root+"/callbacks/{callback}/delete", developer, c.deleteCallback),
		c.at("POST "+Root+"/callbacks/{callback}/pause", developer, c.pauseCallback),
		c.at("POST "+Root+"/callbacks/{callback}/resume", developer, c.resumeCallback),
		c.at("GET "+Root+"/callbacks/{callback}/test", developer, c.testPage),
		c.at("POST "+Root+"/callbacks/{callback}/test", developer, c.test),
		c.at("GET "+Root+"/callbacks/{callback}/secret", developer, c.secretPage),
		c.at("POST "+Root+"/callbacks/{callback}/secret", developer, c.rotateSecret),
		c.at("GET "+Root+"/callbacks/{callback}/auth", developer, c.authPage),
		c.at("POST "+Root+"/callbacks/{callback}/auth", developer, c.rotateAuth),
		c.at("POST "+Root+"/callbacks/{callback}/auth/test", developer, c.testAuth),

		// Older versions called callbacks webhooks in their paths.
		c.at("GET "+Root+"/webhooks", viewer, redirectToCallbacks),
		c.at("GET "+Root+"/webhooks/{rest...}", viewer, redirectToCallbacks),

		c.at("GET "+Root+"/deliveries", viewer, c.deliveries),
		c.at("GET "+Root+"/deliveries/live", viewer, c.livePage),
		c.at("GET "+Root+"/deliveries/stream", viewer, c.stream),
		c.at("GET "+Root+"/deliveries/cancel", developer, c.cancelForm),
		c.at("POST "+Root+"/deliveries/cancel", developer, c.cancelPending),
		c.at("GET "+Root+"/deliveries/{id}", viewer, c.delivery),
		c.at("GET "+Root+"/deliveries/{id}/curl", developer, c.curlPage),
		c.at("POST "+Root+"/deliveries/{id}/resend", developer, c.resend),

		c.at("GET "+Root+"/audit", viewer, c.audit),
		c.at("GET "+Root+"/search", viewer, c.search),
		c.at("GET "+Root+"/sessions", viewer, c.sessions),
		c.at("GET "+Root+"/sessions/{session}", viewer, c.session),

		c.at("GET "+Root+"/events/{event}", viewer, c.event),
		c.at("POST "+Root+"/events/{event}/replay", developer, c.replayEvent),

		c.at("GET "+Root+"/logs", viewer, c.logs),

		c.at("GET "+Root+"/incidents", viewer, c.incidents),
		c.at("POST "+Root+"/incidents/{incident}/acknowledge", developer, c.acknowledgeIncident),
		c.at("POST "+Root+"/incidents/{incident}/mute", developer, c.muteIncident),

		c.at("GET "+Root+"/replays", viewer, c.replays),
		c.at("GET "+Root+"/replays/new", developer, c.newReplay),
		c.at("POST "+Root+"/replays/new", developer, c.createReplay),
		c.at("GET "+Root+"/replays/{id}", viewer, c.replay),
		c.at("POST "+Root+"/replays/{id}/pause", developer, c.setReplayState(callbackd.ReplayPaused)),
		c.at("POST "+Root+"/replays/{id}/resume", developer, c.setReplayState(callbackd.ReplayRunning)),
		c.at("POST "+Root+"/replays/{id}/cancel", developer, c.setReplayState(callbackd.ReplayCanceled)),

		c.at("POST "+Root+"/sessions/{session}/erase", developer, c.eraseSession),
		c.at("GET "+Root+"/erases", viewer, c.erases),
		c.at("GET "+Root+"/erases/new", developer, c.newErase),
		c.at("POST "+Root+"/erases/new", developer, c.createErase),
		c.at("GET "+Root+"/erases/{erase}", viewer, c.erase),
		c.at("GET "+Root+"/erase-groups", operator, c.eraseGroups),
		c.at("GET "+Root+"/erase-groups/{group}", operator, c.eraseGroup),
		c.at("POST "+Root+"/erase-groups/{group}/confirm", operator, c.confirmEraseGroup),
		c.at("POST "+Root+"/erases/{erase}/confirm", developer, c.confirmErase),

		c.at("GET "+Root+"/nodes", operator, c.nodes),

		c.at("GET "+Root+"/tokens", operator, c.tokens),
		c.at("POST "+Root+"/tokens", operator, c.createToken),
		c.at("GET "+Root+"/tokens/{token}/revoke", operator, c.revokeTokenPage),
		c.at("POST "+Root+"/tokens/{token}/revoke", operator, c.revokeToken),

		c.at("GET "+Root+"/keys", viewer, c.keys),
		c.at("POST "+Root+"/keys", operator, c.createKey),
		c.at("GET "+Root+"/keys/{key}/limits", viewer, c.limitsPage),
		c.at("POST "+Root+"/keys/{key}/limits", operator, c.setLimits),
		c.at("GET "+Root+"/keys/{key}/rotate", holder, c.rotatePage),
		c.at("POST "+Root+"/keys/{key}/rotate", holder, c.rotateKey),
		c.at("GET "+Root+"/keys/{key}/revoke", operator, c.revokePage),
		c.at("POST "+Root+"/keys/{key}/revoke", operator, c.revokeKey),

		open(Root+"/", http.HandlerFunc(c.notFound)),
	}
}

// errPageNotFound also answers for objects of other keys, so that the answer
// does not tell that they exist.
var errPageNotFound = callbackd.Errorf(callbackd.KindNotFound, "There is no such page, or it belongs to another API key.")

// notFound answers for paths that do not exist. It shows logged-in users the
// navigation.
func (c *Console) notFound(w http.ResponseWriter, r *http.Request) {
	req, err := c.authenticate(r)
	if err == nil {
		err = errPageNotFound
	}
	c.fail(w, r, req, err)
}

func redirectToRoot(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, link(), http.StatusSeeOther)
	return nil
}

// redirectToCallbacks redirects an address of an older version, which people
// may have saved, to the page that replaces it.
func redirectToCallbacks(w http.ResponseWriter, req *userRequest) error {
	segments := []any{"callbacks"}
	if rest := req.PathValue("rest"); rest != "" {
		for segment := range strings.SplitSeq(rest, "/") {
			segments = append(segments, segment)
		}
	}
	to := withValues(link(segments...), req.URL.Query())
	http.Redirect(w, req.Request, to, http.StatusMovedPermanently)
	return nil
}
