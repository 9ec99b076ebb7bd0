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
}

func (c *Console) routes() []route {
	return []route{
		{"GET " + Root + "/static/{hash}/{file}", http.HandlerFunc(c.static)},
		{"GET " + Root + "/sign-in", c.public(c.signInPage)},
		{"POST " + Root + "/sign-in", c.public(c.signIn)},
		{"GET " + Root + "/link", c.public(c.linkPage)},
		{"POST " + Root + "/link", c.public(c.link)},
		{"POST " + Root + "/sign-out", c.public(c.signOut)},

		{"GET " + Root, c.public(redirectToRoot)},
		{"GET " + Root + "/{$}", c.requireLogin(c.overview)},

		{"GET " + Root + "/callbacks", c.requireLogin(c.callbacks)},
		{"GET " + Root + "/callbacks/new", c.requireLogin(c.newCallback)},
		{"POST " + Root + "/callbacks/new", c.requireLogin(c.createCallback)},
		{"GET " + Root + "/callbacks/{callback}", c.requireLogin(c.callback)},
		{"GET " + Root + "/callbacks/{callback}/edit", c.requireLogin(c.editCallback)},
		{"POST " + Root + "/callbacks/{callback}/edit", c.requireLogin(c.replaceCallback)},
		{"GET " + Root + "/callbacks/{callback}/delete", c.requireLogin(c.deleteCallbackPage)},
		{"POST " + Root + "/callbacks/{callback}/delete", c.requireLogin(c.deleteCallback)},
		{"POST " + Root + "/callbacks/{callback}/pause", c.requireLogin(c.pauseCallback)},
		{"POST " + Root + "/callbacks/{callback}/resume", c.requireLogin(c.resumeCallback)},
		{"GET " + Root + "/callbacks/{callback}/test", c.requireLogin(c.testPage)},
		{"POST " + Root + "/callbacks/{callback}/test", c.requireLogin(c.test)},
		{"GET " + Root + "/callbacks/{callback}/secret", c.requireLogin(c.secretPage)},
		{"POST " + Root + "/callbacks/{callback}/secret", c.requireLogin(c.rotateSecret)},
		{"GET " + Root + "/callbacks/{callback}/auth", c.requireLogin(c.authPage)},
		{"POST " + Root + "/callbacks/{callback}/auth", c.requireLogin(c.rotateAuth)},
		{"POST " + Root + "/callbacks/{callback}/auth/test", c.requireLogin(c.testAuth)},

		// Older versions called callbacks webhooks in their paths.
		{"GET " + Root + "/webhooks", c.requireLogin(redirectToCallbacks)},
		{"GET " + Root + "/webhooks/{rest...}", c.requireLogin(redirectToCallbacks)},

		{"GET " + Root + "/deliveries", c.requireLogin(c.deliveries)},
		{"GET " + Root + "/deliveries/live", c.requireLogin(c.livePage)},
		{"GET " + Root + "/deliveries/stream", c.requireLogin(c.stream)},
		{"GET " + Root + "/deliveries/cancel", c.requireLogin(c.cancelForm)},
		{"POST " + Root + "/deliveries/cancel", c.requireLogin(c.cancelPending)},
		{"GET " + Root + "/deliveries/{id}", c.requireLogin(c.delivery)},
		{"GET " + Root + "/deliveries/{id}/curl", c.requireLogin(c.curlPage)},
		{"POST " + Root + "/deliveries/{id}/resend", c.requireLogin(c.resend)},

		{"GET " + Root + "/audit", c.requireLogin(c.audit)},
		{"GET " + Root + "/search", c.requireLogin(c.search)},
		{"GET " + Root + "/sessions", c.requireLogin(c.sessions)},
		{"GET " + Root + "/sessions/{session}", c.requireLogin(c.session)},

		{"GET " + Root + "/events/{event}", c.requireLogin(c.event)},
		{"POST " + Root + "/events/{event}/replay", c.requireLogin(c.replayEvent)},

		{"GET " + Root + "/logs", c.requireLogin(c.logs)},

		{"GET " + Root + "/incidents", c.requireLogin(c.incidents)},
		{"POST " + Root + "/incidents/{incident}/acknowledge", c.requireLogin(c.acknowledgeIncident)},
		{"POST " + Root + "/incidents/{incident}/mute", c.requireLogin(c.muteIncident)},

		{"GET " + Root + "/replays", c.requireLogin(c.replays)},
		{"GET " + Root + "/replays/new", c.requireLogin(c.newReplay)},
		{"POST " + Root + "/replays/new", c.requireLogin(c.createReplay)},
		{"GET " + Root + "/replays/{id}", c.requireLogin(c.replay)},
		{"POST " + Root + "/replays/{id}/pause", c.requireLogin(c.setReplayState(callbackd.ReplayPaused))},
		{"POST " + Root + "/replays/{id}/resume", c.requireLogin(c.setReplayState(callbackd.ReplayRunning))},
		{"POST " + Root + "/replays/{id}/cancel", c.requireLogin(c.setReplayState(callbackd.ReplayCanceled))},

		{"GET " + Root + "/nodes", c.requireOperator(c.nodes)},

		{"GET " + Root + "/tokens", c.requireOperator(c.tokens)},
		{"POST " + Root + "/tokens", c.requireOperator(c.createToken)},
		{"GET " + Root + "/tokens/{token}/revoke", c.requireOperator(c.revokeTokenPage)},
		{"POST " + Root + "/tokens/{token}/revoke", c.requireOperator(c.revokeToken)},

		{"GET " + Root + "/keys", c.requireLogin(c.keys)},
		{"POST " + Root + "/keys", c.requireOperator(c.createKey)},
		{"GET " + Root + "/keys/{key}/limits", c.requireLogin(c.limitsPage)},
		{"POST " + Root + "/keys/{key}/limits", c.requireOperator(c.setLimits)},
		{"GET " + Root + "/keys/{key}/rotate", c.requireLogin(c.rotatePage)},
		{"POST " + Root + "/keys/{key}/rotate", c.requireLogin(c.rotateKey)},
		{"GET " + Root + "/keys/{key}/revoke", c.requireOperator(c.revokePage)},
		{"POST " + Root + "/keys/{key}/revoke", c.requireOperator(c.revokeKey)},

		{Root + "/", http.HandlerFunc(c.notFound)},
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
