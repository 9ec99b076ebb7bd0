# Code generated from openapi.yaml by scripts/clients. DO NOT EDIT.
# ruff: noqa: E501
from __future__ import annotations

import typing as t

from ._transport import ServerSentEvent, Transport, escape


class Links(t.TypedDict):
    message: str
    console: str
    docs: str
    callbacks: str
    events: str
    sessions: str
    openapi: str
    health: str
    ready: str
    metrics: str



class Message(t.TypedDict):
    message: str



class LogLevel(t.TypedDict):
    level: t.Literal["debug", "info", "warn", "error"]



class StatusIncidents(t.TypedDict):
    """null: the store did not answer."""

    open: int
    # Incidents of which a mail is to be sent.
    mails_waiting: int
    # Incidents of which a mail could not be sent yet.
    mails_failing: int



class StatusArchive(t.TypedDict):
    """Why the archive (`serve --archive`) cannot be written, so that nothing old is removed; null: it can be. Of several nodes only the one that removes old events has it."""

    failing_since: str
    error: str



class StatusNodes(t.TypedDict):
    name: str
    address: str
    version: str
    started_at: str
    # The node that answers.
    self: bool
    shards: int
    in_flight: int



class StatusErrors(t.TypedDict):
    at: str
    level: str
    message: str
    error: t.NotRequired[str]
    # How often it was logged.
    count: int



class Status(t.TypedDict):
    version: str
    started_at: str
    ready: bool
    # Why it is not ready.
    reason: t.NotRequired[str]
    store: t.Literal["sqlite", "postgresql"]
    log_level: str
    # Attempts.
    in_flight: int
    # Deliveries; null: the store did not answer.
    pending: int | None
    # Since when a delivery has been due, the oldest one of callbacks that are not paused; null: none is due.
    oldest_due: str | None
    # null: the store did not answer.
    incidents: t.NotRequired[StatusIncidents | None]
    # Why the archive (`serve --archive`) cannot be written, so that nothing old is removed; null: it can be. Of several nodes only the one that removes old events has it.
    archive: t.NotRequired[StatusArchive | None]
    # Callbacks that fail, are paused or are late, up to 20.
    troubled: int
    nodes: list[StatusNodes]
    # The last faults that were logged, up to 20, the last ones first.
    errors: list[StatusErrors]



class KeyedMessage(t.TypedDict):
    api_key: str
    message: str



class SMSProcessEvent(t.TypedDict):
    """The callback's payload is added to the members."""

    event: t.Literal["SESSION:SMS_PROCESS"]
    session_key: str
    # The number that the SMS went to.
    phone: str
    status: t.Literal["success", "error"]
    # What the provider said.
    message: str



class StageChangeEvent(t.TypedDict):
    """The callback's payload is added to the members."""

    event: t.Literal["SESSION:STAGE_CHANGE"]
    session_key: str
    photo_url: str
    # ACCEPTED, or why the photo was rejected.
    photo_status: str
    photo_code: int
    photo_label: str



class StatusChangeEvent(t.TypedDict):
    """The callback's payload is added to the members."""

    event: t.Literal["SESSION:STATUS_CHANGE"]
    session_key: str
    status: t.Literal["IDLE", "STARTED", "PROCESS", "QC_PASSED", "CONFIRM", "COMPLETE", "EXPIRED", "INVALID"]
    timestamp: str
    previous_status: t.Literal["IDLE", "STARTED", "PROCESS", "QC_PASSED", "CONFIRM", "COMPLETE", "EXPIRED", "INVALID"]



class NoteInsertEventNote(t.TypedDict):
    title: str
    description: str
    inserted_by: str
    inserted_at: str



class NoteInsertEvent(t.TypedDict):
    """The callback's payload is added to the members."""

    event: t.Literal["SESSION:NOTE_INSERT"]
    session_key: str
    note: NoteInsertEventNote



class SMSRequestedEvent(t.TypedDict):
    """The callback's payload is added to the members."""

    event: t.Literal["SESSION:SMS_REQUESTED"]
    session_key: str
    phone: str
    name: str
    # The page on which the inspection is made.
    link: str



class NoticeEvent(t.TypedDict):
    """A notice of an incident. Members that do not apply are absent. The callback's payload is added to the members."""

    event: t.Literal["CALLBACK:FAILING", "CALLBACK:PAUSED", "CALLBACK:RECOVERED", "DELIVERY:FAILED", "BACKLOG:OLD", "CERTIFICATE:ENDING", "SILENCE", "DISK:LOW", "NODE:LOST", "ARCHIVE:FAILING"]
    # The same for all notices about one callback, volume or node; so they arrive in order.
    session_key: str
    incident: str
    state: t.Literal["open", "closed"]
    # A sentence for people.
    text: str
    opened_at: str
    closed_at: str | None
    # How often it happened.
    count: int
    account: t.NotRequired[str]
    key_name: t.NotRequired[str]
    # The ID of the callback, when it is about one.
    callback: t.NotRequired[int]
    callback_event: t.NotRequired[str]
    callback_name: t.NotRequired[str]
    # The origin of the URL.
    origin: t.NotRequired[str]
    since: t.NotRequired[str]
    # Of the last answer.
    status: t.NotRequired[int]
    # Of the last attempt that failed.
    fault: t.NotRequired[str]
    pause_reason: t.NotRequired[str]
    pending: t.NotRequired[int]
    ends_at: t.NotRequired[str]
    # It is the client certificate of callbackd.
    own: t.NotRequired[bool]
    expect: t.NotRequired[str]
    free_bytes: t.NotRequired[int]
    node: t.NotRequired[str]
    # The incident ended because the callback was deleted.
    deleted: t.NotRequired[bool]



class EventKind(t.TypedDict):
    type: EventType
    # session: published, or fired by a session. notice: by callbackd, about itself. own: a type of the platform's own, published.
    group: t.Literal["session", "notice", "own"]
    description: str
    # JSON Schema 2020-12 of the body that a receiver gets, without the payload of the callback.
    schema: dict[str, t.Any]
    # The whole body of a sample.
    sample: dict[str, t.Any]



class EventKindList(t.TypedDict):
    data: list[EventKind]



class Incident(t.TypedDict):
    id: IncidentID
    # In the management API only, and not of an incident of the whole server.
    api_key: t.NotRequired[str]
    # The type of its last notice, not counting that of the end.
    event: str
    state: t.Literal["open", "closed"]
    # One sentence for people.
    text: str
    opened_at: str
    # Since when the condition has been gone; null while it lasts.
    gone_at: str | None
    closed_at: str | None
    # How often the condition came, or how many deliveries were given up.
    count: int
    # Of the API key; only in the data of notices, and in the management API.
    account: t.NotRequired[str]
    # Of the API key; only in the data of notices, and in the management API.
    key_name: t.NotRequired[str]
    # The callback's ID.
    callback: t.NotRequired[int]
    callback_event: t.NotRequired[str]
    callback_name: t.NotRequired[str]
    # Scheme, host and port of the callback's URL.
    origin: t.NotRequired[str]
    # When the condition began.
    since: t.NotRequired[str]
    # Of the last attempt that failed.
    status: t.NotRequired[int]
    # Of the last attempt that failed.
    fault: t.NotRequired[str]
    pause_reason: t.NotRequired[t.Literal["gone", "receiver", "no_success"]]
    # Deliveries that waited when the incident was opened.
    pending: t.NotRequired[int]
    # When the certificate expires.
    ends_at: t.NotRequired[str]
    # It is the client certificate of the callback.
    own: t.NotRequired[bool]
    # The policy's expect.
    expect: t.NotRequired[str]
    # Of the volume of the data directory.
    free_bytes: t.NotRequired[int]
    # The name of the node.
    node: t.NotRequired[str]
    # The incident ended because the callback was deleted.
    deleted: t.NotRequired[bool]
    acknowledged_at: str | None
    acknowledged_by: t.NotRequired[str]
    muted_until: str | None



class IncidentList(t.TypedDict):
    data: list[Incident]
    next: str | None



Mute = t.TypedDict(
    "Mute",
    {
        # How long from now: 0s to 30d. 0s ends the mute.
        "for": "str",
    },
)



class CallbackUpdate(t.TypedDict):
    # When given, it must be the event of the path.
    event: t.NotRequired[EventType]
    # Only of a callback for one session. Without this member it gets callbackd's events of sessions, and none of the platform's own types.
    events: t.NotRequired[list[EventType]]
    # Absolute, http or https, without a user, password or fragment. The limit is in bytes. It is called as it is given: what is escaped stays so, and only what RFC 3986 does not allow in a path or query is escaped. Hosts are read by WHATWG's rules.
    url: str
    # POST, PUT, PATCH, GET or DELETE, in upper or lower case; default POST.
    method: t.NotRequired[str]
    # Headers to add, or a string that holds such an object. Names and values together are at most 8192 bytes. Those that HTTP or callbackd must own are refused: Host, Content-Length, Transfer-Encoding, Connection and other hop-by-hop headers, Accept-Encoding, Expect, webhook-*, callback-*.
    headers: t.NotRequired[dict[str, str]]
    # Attributes to send along with the event's data, or a string that holds such an object. At most 16384 bytes.
    payload: t.NotRequired[dict[str, t.Any]]
    # The name of the callback among those of the key for the event; default `default`.
    name: t.NotRequired[str]
    # How to treat the receiver. An unknown member or a wrong value is a 400 that names it.
    policy: t.NotRequired[NewPolicy]
    # Only when a callback is created; a PUT with it is a 400.
    secret: t.NotRequired[NewSecret]
    # As in policy.
    timeout: t.NotRequired[Duration]
    # As in policy.
    retry: t.NotRequired[list[Duration]]
    # As in policy.
    order: t.NotRequired[Duration]
    # As in policy.
    rate: t.NotRequired[float]
    # As in policy.
    concurrency: t.NotRequired[int]



class NewPolicy(t.TypedDict):
    # The timeout of a whole attempt, from DNS to the last byte; 1s to 1m, default 15s. When very many attempts would time out together, some have up to a tenth more.
    timeout: t.NotRequired[Duration]
    # Delays before attempts 1, 2, …; the first is 0, each at most 168h. Default 0, 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h.
    retry: t.NotRequired[list[Duration]]
    # How long a failed delivery blocks later ones of its session; 0 to 24h, default 5m.
    order: t.NotRequired[Duration]
    # Attempts a second, from 0.001. The default is 0, which means no limit.
    rate: t.NotRequired[float]
    # Largest number of attempts in flight; default 32.
    concurrency: t.NotRequired[int]
    # Whether a connection to the receiver serves more than one request; default true. With false each request asks the receiver to close it (`Connection: close`), as receivers need that serve one connection at a time.
    keep_alive: t.NotRequired[bool]
    # Whether the headers and the body of the receiver's answers are stored; default true. With false only the status, the size, the times and the fault of an attempt are, for receivers that answer with personal data. A change applies to new attempts.
    store_response: t.NotRequired[bool]
    # How requests are signed, with HMAC-SHA256: `standard` is Standard Webhooks (the default); `github` is `X-Hub-Signature-256`, as GitHub signs; `hmac-hex:X-Signature` puts the digest of the body, in hex, into the header X-Signature, or any other. The last two use the text of the newest secret as the key; for GET and DELETE they sign the query. One scheme, or an array of them.
    signing: t.NotRequired[list[SigningScheme]]
    # How long after it may be sent a delivery expires, from 1s to 30d: then no attempt starts any more, and it ends as `expired`. It counts from the event's `deliver_at`, and without one from its acceptance. When the event has an `expires_at`, the earlier one counts. A change applies to events that are accepted from then on. The default is never; so is an empty text.
    ttl: t.NotRequired[DurationOrNone]
    # How soon after the last event for the callback the next one is expected, from 1m to 30d: a longer silence is an incident and fires `SILENCE`. It counts from when it was set at the earliest. In a callback for `SILENCE` it is about all events of the API key. The default is whenever; so is an empty text.
    expect: t.NotRequired[DurationOrNone]
    # The callbacks of the API key with the same group get the events of a session in the order of their sequence numbers, across event types. `auto` groups the callbacks at one origin. An empty text is no group.
    order_group: t.NotRequired[str]
    # Which events go to the callback; the default is all. Judged when an event is accepted. `GET /v1/events/{id}/explain` names the term that failed, and a replay can send the event all the same.
    filter: t.NotRequired[Filter]
    # What the body of a notice is like. `json` (the default) is as for other events. `slack` is `{"text": …}` as an incoming webhook of Slack takes it, and `teams` is a message with an Adaptive Card, as a workflow of Microsoft Teams takes it. Only callbacks for notices, such as `CALLBACK:FAILING`, may have another format than `json`, and no `fields` then.
    format: t.NotRequired[t.Literal["json", "slack", "teams"]]
    # What of an event's data is sent; the default is all. It is applied before the request is signed. `event`, `session_key` and the extra payload are always sent.
    fields: t.NotRequired[Fields]
    # How callbackd signs in at the receiver. A PUT without it ends that. When it changes, the old credentials are kept for 24 hours, see /v1/callbacks/{event}/auth/rotate.
    auth: t.NotRequired[Auth]



class FilterTrial(t.TypedDict):
    # Only events of this type.
    event: t.NotRequired[EventType]
    filter: t.NotRequired[Filter]
    fields: t.NotRequired[Fields]



class FilterTestData(t.TypedDict):
    id: str
    event: EventType
    session_key: str
    accepted_at: str
    matches: bool
    # The term that did not hold; empty when the event matches.
    failed: str
    # What is sent of the data.
    data: dict[str, t.Any]



class FilterTest(t.TypedDict):
    api_key: str
    # How many of the events match.
    matching: int
    data: list[FilterTestData]



Fields = t.TypedDict(
    "Fields",
    {
        "only": "t.NotRequired[list[str]]",
        "except": "t.NotRequired[list[str]]",
    },
)



class Auth(t.TypedDict):
    """At most one of `oauth2`, `basic` and `bearer`, which make the header Authorization, and `tls`, which may stand beside it. Answers have `[redacted]` in place of secrets; a PUT that sends it back keeps the stored value."""

    oauth2: t.NotRequired[OAuth2]
    basic: t.NotRequired[BasicAuth]
    bearer: t.NotRequired[BearerAuth]
    tls: t.NotRequired[ClientTLS]



class OAuth2(t.TypedDict):
    """Access tokens of the client credentials grant (RFC 6749, section 4.4)."""

    # The token endpoint. The rules for a callback's url apply.
    token_url: str
    client_id: str
    client_secret: str
    # Several are separated by spaces.
    scope: t.NotRequired[str]
    # A parameter that some providers need.
    audience: t.NotRequired[str]
    # Where the request for a token has the client's id and secret: in the header Authorization (the default) or among the parameters.
    style: t.NotRequired[t.Literal["basic", "body"]]



class BasicAuth(t.TypedDict):
    # Without colons.
    username: str
    password: str



class BearerAuth(t.TypedDict):
    token: str



class ClientTLS(t.TypedDict):
    """For https only. All texts but server_name are PEM."""

    # The client certificate, and the intermediate ones behind it. It is shown as it is, so a private key in it is refused.
    cert: t.NotRequired[str]
    # The private key of cert, without a passphrase.
    key: t.NotRequired[str]
    # The authorities to trust for this receiver, instead of those of the server's machine.
    ca: t.NotRequired[str]
    # The name in the receiver's certificate, when it is not the host of the url.
    server_name: t.NotRequired[str]



class AuthRotation(t.TypedDict):
    # How long the old credentials stay valid; 0 to 720h, default 24h.
    keep: t.NotRequired[Duration]
    oauth2: t.NotRequired[OAuth2]
    basic: t.NotRequired[BasicAuth]
    bearer: t.NotRequired[BearerAuth]
    tls: t.NotRequired[ClientTLS]



class AuthTestToken(t.TypedDict):
    """The answer of the token endpoint, without the token."""

    # 0 when there was no answer.
    status: int
    error: str
    token_type: str
    # Seconds; 0 when the answer did not say.
    expires_in: int
    scope: str



class AuthTestTls(t.TypedDict):
    """The TLS handshake with the receiver."""

    error: str
    # When the receiver's certificate expires.
    cert_ends: str | None



class AuthTest(t.TypedDict):
    """What came back. A part is null when there is nothing to try."""

    ok: bool
    # The answer of the token endpoint, without the token.
    token: AuthTestToken | None
    # The TLS handshake with the receiver.
    tls: AuthTestTls | None



class SessionCallback(t.TypedDict):
    """A callback for one session: it gets events of that session only. It lives as long as the session or an event of it is stored. The same url for the same events is given to a session once; when it is given again, its other members are replaced."""

    url: str
    method: t.NotRequired[t.Literal["POST", "PUT", "PATCH", "GET", "DELETE"]]
    headers: t.NotRequired[Headers]
    payload: t.NotRequired[dict[str, t.Any]]
    # The events that it gets. Without this member these are callbackd's events of sessions, and none of the platform's own types. No notices.
    events: t.NotRequired[list[EventType]]
    policy: t.NotRequired[NewPolicy]



class GivenCallback(t.TypedDict):
    """What became of the callback that a call gave a session."""

    url: str
    method: t.Literal["POST", "PUT", "PATCH", "GET", "DELETE"]
    headers: Headers
    payload: dict[str, t.Any]
    # It names the callback in paths, such as GET /v1/callbacks/{event}.
    callback_id: int
    session_key: str
    events: list[EventType]
    # The signing secret, `whsec_…`. Only in the answer to the call that made the callback.
    secret: t.NotRequired[str]



class Callback(t.TypedDict):
    api_key: str
    # Not of a callback for one session.
    event: t.NotRequired[EventType]
    # As it was given.
    url: str
    method: t.Literal["POST", "PUT", "PATCH", "GET", "DELETE"]
    headers: Headers
    payload: dict[str, t.Any]
    # Not for the default one.
    name: t.NotRequired[str]
    # Only of a callback for one session, as session_key and events.
    callback_id: t.NotRequired[int]
    session_key: t.NotRequired[str]
    events: t.NotRequired[list[EventType]]
    # Only of a callback for one session, in the answer to the call that made it or moved it to another host.
    secret: t.NotRequired[str]



class CallbackSetting(t.TypedDict):
    # Not of a callback for one session.
    event: t.NotRequired[EventType]
    url: str
    method: t.Literal["POST", "PUT", "PATCH", "GET", "DELETE"]
    headers: Headers
    payload: dict[str, t.Any]
    # Not for the default one.
    name: t.NotRequired[str]
    # Only of a callback for one session, as session_key and events.
    callback_id: t.NotRequired[int]
    session_key: t.NotRequired[str]
    events: t.NotRequired[list[EventType]]
    # Only where a call gave a session the callback: see GivenCallback.
    secret: t.NotRequired[str]



class CallbackList(t.TypedDict):
    api_key: str
    data: list[CallbackSetting]



class CallbackOne(t.TypedDict):
    api_key: str
    data: CallbackSetting



class CallbackStats(t.TypedDict):
    api_key: str
    event: EventType
    name: str
    # The callback's ID.
    callback: int
    # An attempt failed, and none has succeeded since.
    failing: bool
    failing_since: str | None
    paused: bool
    pause_reason: str
    # Pending deliveries, counted up to 10,000, the oldest events first.
    pending: int
    # There may be more pending deliveries than were counted.
    pending_more: bool
    # Deliveries among the counted ones that have been waiting for more than a minute.
    overdue: int
    # Since when the oldest of the counted deliveries has been waiting; null when nothing is pending.
    waiting_since: str | None
    last_success: str | None
    last_failure: str | None
    # The fault of the last failure; empty when there is none.
    last_fault: str
    # The status of the last failure; 0 without an answer.
    last_status: int
    # When the receiver's latest certificate ends; null when it is not known.
    certificate_ends: str | None
    last_hour: StatsWindow
    last_day: StatsWindow
    last_week: StatsWindow



class StatsWindowLatencyMs(t.TypedDict):
    """Time from acceptance to success in milliseconds, without resends and replays; at most √2 times the true value. Null when nothing was delivered."""

    p50: float
    p95: float
    p99: float



class StatsWindow(t.TypedDict):
    # When the first of the counted minutes or hours began.
    since: str
    attempts: int
    # Attempts that succeeded.
    succeeded: int
    # Attempts that failed, for any reason.
    faults: int
    by_fault: ByFault
    # Attempts of resends and replays.
    repeats: int
    # Deliveries that ended so.
    delivered: int
    # Deliveries that ended so.
    failed: int
    # Deliveries that ended so. It is less than 0 when a cancellation of an earlier time was replaced by an outcome.
    canceled: int
    # Deliveries that ended so. It may be less than 0 for the same reason.
    expired: int
    # Time from acceptance to success in milliseconds, without resends and replays; at most √2 times the true value. Null when nothing was delivered.
    latency_ms: StatsWindowLatencyMs | None



class Policy(t.TypedDict):
    api_key: str
    event: t.NotRequired[EventType]
    name: str
    # The callback's ID.
    callback: int
    timeout: DurationText
    retry: list[DurationText]
    order: DurationText
    rate: float
    concurrency: int
    # Whether a connection is used for more than one request.
    keep_alive: bool
    # Whether headers and bodies of answers are stored.
    store_response: bool
    signing: list[SigningScheme]
    # How long after it may be sent a delivery expires; empty for never.
    ttl: str
    # How soon after the last event the next one is expected; empty for whenever.
    expect: str
    # `auto`, a name, or empty when there is none.
    order_group: str
    # Which events go to the callback; null for all.
    filter: dict[str, t.Any] | None
    # What of the data is sent; null for all.
    fields: dict[str, t.Any] | None
    # What the body of a notice is like.
    format: t.Literal["json", "slack", "teams"]
    # How callbackd signs in, with its secrets masked; without members when it does not.
    auth: Auth
    # Until when the credentials before are tried when the present ones are refused.
    old_auth_ends: str | None
    paused: bool
    pause_reason: t.Literal["", "user", "gone", "receiver", "no_success"]
    paused_at: str | None
    # Until when the receiver asked, with Retry-After, for nothing to be sent to it.
    closed_until: str | None



class Secret(t.TypedDict):
    api_key: str
    event: t.NotRequired[EventType]
    # `whsec_…`, or the text that was given.
    secret: str



class Rotation(t.TypedDict):
    # How long the previous secrets stay valid; 0 to 720h, default 24h.
    keep: t.NotRequired[Duration]
    secret: t.NotRequired[NewSecret]



class NewEvent(t.TypedDict):
    event: EventType
    session_key: str
    # At most 262144 bytes, which are stored and sent unchanged. Default {}.
    data: t.NotRequired[dict[str, t.Any]]
    # The idempotency key of this event. It is not the event's id.
    id: t.NotRequired[str]
    # Before this time nothing is sent. Then the event takes its turn in its session. It may be 30 days in the future, must be before `expires_at`, and a time in the past means now. RFC 3339 with an offset, to the millisecond.
    deliver_at: t.NotRequired[str]
    # From this time on no attempt starts, and a delivery that was not delivered ends as `expired`. RFC 3339 with an offset, to the millisecond.
    expires_at: t.NotRequired[str]
    # Given to the session before the event is accepted.
    callback: t.NotRequired[SessionCallback]
    # True marks the event as a test. It goes where a real event goes: to the same callbacks, by filter and in order. It is tried once, expires after ten minutes, is in no replay, and changes neither health nor notices. A receiver tells it by the header `callback-test` and the member `test`.
    test: t.NotRequired[bool]



class Accepted(t.TypedDict):
    id: EventID
    event: EventType
    session_key: str
    # Within the session.
    sequence: int
    # The number of callbacks that get the event.
    deliveries: int
    callback: t.NotRequired[GivenCallback]
    # What in the data does not fit the schema of the event's type, with the first places as JSON Pointers. Left out when all fits, and without `serve --validate warn`.
    warning: t.NotRequired[str]



class EventWithheld(t.TypedDict):
    callback: int
    # The first term of the filter that did not match; empty when the event was erased.
    term: str



class Event(t.TypedDict):
    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    id: EventID
    event: EventType
    session_key: str
    sequence: int
    accepted_at: str
    # Before it nothing is sent. It is left out when the event has none.
    deliver_at: t.NotRequired[str]
    # From it on no attempt starts. It is left out when the event has none.
    expires_at: t.NotRequired[str]
    test: bool
    data: dict[str, t.Any]
    deliveries: list[DeliveryID]
    # The callbacks whose filter did not match when the event was accepted. A replay may have sent it to them since.
    withheld: list[EventWithheld]
    # When an erasure removed the data; data is then empty. Left out before.
    erased_at: t.NotRequired[str]
    # The trace that the event belongs to, from the header traceparent of the call that made it. Left out without one.
    trace_id: t.NotRequired[str]



class EventList(t.TypedDict):
    data: list[Event]
    # The cursor of the next page.
    next: str | None



class Delivery(t.TypedDict):
    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    id: DeliveryID
    event_id: EventID
    event: EventType
    session_key: str
    sequence: int
    callback: int
    callback_name: str
    state: State
    attempts: int
    accepted_at: str
    # Null: at once, or ended.
    next_attempt_at: str | None
    # Of a pending delivery: from when on no attempt starts, by its event or the ttl of its callback. It is left out when it does not expire.
    expires_at: t.NotRequired[str]
    # A person resent it and it is pending.
    repeated: bool
    test: bool
    # Up to 50 of the newest attempts, oldest first. Lists leave them out.
    history: t.NotRequired[list[Attempt]]
    # There are attempts before those of history: read them with ?before= and this number.
    earlier: t.NotRequired[int]
    cancellation: t.NotRequired[Cancellation]
    expiry: t.NotRequired[Expiry]



class Expiry(t.TypedDict):
    """When the delivery expired, and why. When it expired during an attempt, the attempt says so. Lists do not have it."""

    # When it ended: within about a second of its expiry, or when callbackd ran again.
    at: str
    # Such as: it expired at 2026-01-02T15:04:05Z.
    why: str



class Cancellation(t.TypedDict):
    """When the delivery was canceled, and why. When it was canceled during an attempt, the attempt says so. Lists do not have it."""

    at: str
    # Such as: canceled by API key 3: wrong receiver.
    why: str



class DeliveryList(t.TypedDict):
    data: list[Delivery]
    # The cursor of the next page.
    next: str | None



class Attempt(t.TypedDict):
    number: int
    # The delivery had ended before, and a person resent it.
    repeat: bool
    started_at: str
    # The address of the connection, as ip:port; empty without one.
    address: str
    connection_reused: bool
    timings_ms: Timings
    request: Request
    response: Response
    fault: t.Literal["", "status", "refused", "dns", "connect", "tls", "timeout", "protocol", "proxy", "local", "shutdown", "query", "auth"]
    # What went wrong. After a success it can say that the body of the answer is incomplete.
    error: str
    state: State
    # The reason for the state and for the time of the next attempt.
    why: str
    next_attempt_at: str | None
    # What is not shown: erased is the request, and the answer except its status and size; response_not_stored is the answer except its status and size, by policy.store_response. Left out when everything is shown.
    capture: t.NotRequired[t.Literal["erased", "response_not_stored"]]



class Timings(t.TypedDict):
    """Milliseconds; 0 for what did not happen."""

    dns: float
    connect: float
    tls: float
    first_byte: float
    total: float



class Request(t.TypedDict):
    """The request of the attempt. The header names are in the spelling and order of the wire. Host, Connection and Content-Length are left out. The values of the callback's own headers and the signatures are redacted."""

    method: str
    url: str
    headers: dict[str, str]
    body: str
    # The body is left out here, because it is longer than 4 KiB and the same as that of this attempt.
    body_of: t.NotRequired[int]



class ResponseObject(t.TypedDict):
    """The answer as received, with the first 16384 bytes of its body. Null without an answer."""

    status: int
    # The header lines.
    headers: str
    body: str
    body_encoding: t.Literal["utf-8", "base64"]
    # Bytes read.
    size: int
    # The body was longer than what is stored.
    truncated: bool
    # The target of a redirect, which was not followed.
    location: str
    retry_after: str



class Session(t.TypedDict):
    """vehicle is present once something is known about it."""

    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    session_key: str
    theme: t.Literal["LITE", "PRO", "CAPT"]
    # The session is in use or completed. It is false when the session is EXPIRED or INVALID.
    active: bool
    status: SessionStatus
    redirect_url: str | None
    inspect_started_at: Stamp
    inspect_ended_at: Stamp
    created_at: Stamp
    updated_at: Stamp
    language: str
    # The link that the user opens, from the template of the key or the server; null without one.
    capture_url: str | None
    options: SessionOptions
    source: SessionSource
    vehicle: t.NotRequired[Vehicle]
    callback: t.NotRequired[GivenCallback]
    # When an erasure removed what the session had of people and of the vehicle. Left out before.
    erased_at: t.NotRequired[str]



class SessionOptions(t.TypedDict):
    client_id: str | None
    sms: SessionSMS
    contact: SessionContact
    # Any JSON, as it was given. It is null without one, and from 24 hours after completion on.
    reference: t.Any



SessionSMS = t.TypedDict(
    "SessionSMS",
    {
        "to": "str | None",
        "to_name": "str | None",
        "from": "str | None",
        "by": "str | None",
    },
)



class SessionContact(t.TypedDict):
    first_name: str | None
    last_name: str | None



class SessionSource(t.TypedDict):
    type: t.Literal["api", "dashboard", "shareable_link", "embedded_widget"]
    properties: dict[str, t.Any]



class Vehicle(t.TypedDict):
    vehicle_id: int | None
    vin: str | None
    year: int | None
    make: str | None
    model: str | None
    body_type: str | None
    trim: str | None
    transmission: str | None
    drivetrain: str | None
    engine_type: str | None
    fuel_type: str | None
    ext_col: str | None
    int_col: str | None
    odom_reading: str | None
    odom_unit: str | None



class NewVehicle(t.TypedDict):
    vehicle_id: t.NotRequired[str]
    # 17 letters and digits.
    vin: t.NotRequired[str]
    year: t.NotRequired[str]
    make: t.NotRequired[str]
    model: t.NotRequired[str]
    body_type: t.NotRequired[str]
    trim: t.NotRequired[str]
    transmission: t.NotRequired[str]
    drivetrain: t.NotRequired[str]
    engine_type: t.NotRequired[str]
    fuel_type: t.NotRequired[str]
    ext_col: t.NotRequired[str]
    int_col: t.NotRequired[str]
    odom_reading: t.NotRequired[str]
    odom_unit: t.NotRequired[str]



NewSMS = t.TypedDict(
    "NewSMS",
    {
        "to": "t.NotRequired[str]",
        "to_name": "t.NotRequired[str]",
        "from": "t.NotRequired[str]",
        "by": "t.NotRequired[str]",
    },
)



class NewContact(t.TypedDict):
    first_name: t.NotRequired[str]
    last_name: t.NotRequired[str]



class NewOptions(t.TypedDict):
    client_id: t.NotRequired[str]
    # Any JSON, at most 16384 bytes; it comes back in the session until 24 hours after completion.
    reference: t.NotRequired[t.Any]
    sms: t.NotRequired[NewSMS]
    contact: t.NotRequired[NewContact]



class NewSession(t.TypedDict):
    """The members of vehicle, sms, options and contact may also be at the top level. Unknown members are ignored. An empty array counts as an empty object, null or no body counts as {}, and a string may contain an object."""

    # LITE, PRO or CAPT; default PRO.
    theme: t.NotRequired[str]
    # A language code, kept as it is given; default EN.
    language: t.NotRequired[str]
    # Absolute: http, https, or the scheme of an app; not javascript, data, vbscript or file.
    redirect_url: t.NotRequired[str]
    client_id: t.NotRequired[str]
    # Any JSON, at most 16384 bytes; it comes back in the session until 24 hours after completion.
    reference: t.NotRequired[t.Any]
    # type, which is api, dashboard, shareable_link or embedded_widget, and free properties. Anything but an object is ignored.
    source: t.NotRequired[dict[str, t.Any]]
    vehicle: t.NotRequired[NewVehicle]
    sms: t.NotRequired[NewSMS]
    contact: t.NotRequired[NewContact]
    options: t.NotRequired[NewOptions]
    # The same members once more.
    session: t.NotRequired[dict[str, t.Any]]
    callback: t.NotRequired[SessionCallback]



class SessionUpdate(t.TypedDict):
    # Absolute: http, https, or the scheme of an app; not javascript, data, vbscript or file.
    redirect_url: t.NotRequired[str]
    # A language code, kept as it is given; default EN.
    language: t.NotRequired[str]
    # LITE, PRO or CAPT; default PRO.
    theme: t.NotRequired[str]
    sms: t.NotRequired[NewSMS]



class Photo(t.TypedDict):
    photo_code: int
    photo_label: str
    # Empty for a typed value.
    url: str
    approved: bool
    # ACCEPTED, or REJECTED: and the reason.
    approved_message: str
    created_at: Stamp
    updated_at: Stamp



class NewPhoto(t.TypedDict):
    # 1 VIN, 2 Interior, 3 Cluster, 4 Left, 10 Front_Left, 5 Front, 11 Front_Right, 7 Right, 12 Rear_Right, 8 Rear, 13 Rear_Left, 9 Windshield, 6 Tires.
    photo_code: int
    url: t.NotRequired[str]
    approved: t.NotRequired[bool]
    # Why it was rejected.
    approved_message: t.NotRequired[str]
    # Instead of url, the typed value of VIN or Cluster.
    typed: t.NotRequired[str]



class Note(t.TypedDict):
    title: str
    description: str
    inserted_by: str
    inserted_at: Stamp



class NewNote(t.TypedDict):
    """title or description is needed."""

    title: t.NotRequired[str]
    description: t.NotRequired[str]
    inserted_by: t.NotRequired[str]
    # The same members once more.
    note: t.NotRequired[dict[str, t.Any]]



class SMSReport(t.TypedDict):
    # success or error.
    status: str
    # Default: the session's.
    phone: t.NotRequired[str]
    message: t.NotRequired[str]



class NewResults(t.TypedDict):
    """Any object of at most 163840 bytes."""

    vehicle: t.NotRequired[NewVehicle]
    # Members that are added to the session, such as user_account.
    session: t.NotRequired[dict[str, t.Any]]



class Invalidation(t.TypedDict):
    reason: str



class SessionResults(t.TypedDict):
    """What COMPLETE delivers, without the callback's extra members. A member that the platform did not send is null. Other members that it sent follow."""

    event: t.Literal["SESSION:COMPLETE"]
    session_key: str
    session: CompletedSession
    # The photos of GET …/photos, unless the platform sent others.
    photos: list[dict[str, t.Any]]
    vehicle: CompletedVehicle
    # As the platform put it.
    location: t.Any
    # As the platform put it.
    disclosures: t.Any
    # As the platform put it.
    announcements: t.Any
    # As the platform sent it, such as {damages_overview, detected_damages, detected_status, grading, annotated_images, case_details}.
    inspection: t.Any
    # A URL, as the platform sent it.
    condition_report: t.Any
    # A URL, as the platform sent it.
    landing_page: t.Any



class CompletedSession(t.TypedDict):
    """The platform may have added members with the object `session` of its results."""

    session_key: str
    theme: t.Literal["LITE", "PRO", "CAPT"]
    # It is in use or completed.
    active: bool
    status: SessionStatus
    redirect_url: str | None
    inspect_started_at: Stamp
    inspect_ended_at: Stamp
    created_at: Stamp
    updated_at: Stamp
    language: str
    options: SessionOptions
    user_account: UserAccount
    source: SessionSource
    # Seconds from start to QC_PASSED.
    capture_duration: int
    # Seconds from start to completion.
    inspect_duration: int
    vehicle: CompletedVehicle



class UserAccount(t.TypedDict):
    """The user of the session. Unknown members are null."""

    username: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None



class CompletedVehicle(t.TypedDict):
    """The vehicle, with the members that the platform added. In the session it also has session_key and vrm."""

    # A number, or what the platform sent; null when unknown.
    id: t.Any
    # 17 letters and digits.
    vin: t.Any
    # A number, or a text as the platform sent it.
    year: t.Any
    make: t.Any
    model: t.Any
    body_type: t.Any
    trim: t.Any
    transmission: t.Any
    drivetrain: t.Any
    engine_type: t.Any
    fuel_type: t.Any
    ext_col: t.Any
    int_col: t.Any
    odom_reading: t.Any
    odom_unit: t.Any



class SessionChange(t.TypedDict):
    session_key: str
    status: SessionStatus
    events: list[Accepted]



class SessionList(t.TypedDict):
    data: list[Session]
    # The cursor of the next page.
    next: str | None



class SessionEvent(t.TypedDict):
    id: EventID
    event: EventType
    sequence: int
    accepted_at: str
    data: dict[str, t.Any]
    deliveries: list[SessionDelivery]
    # When an erasure removed the data; data is then empty. Left out before.
    erased_at: t.NotRequired[str]



class SessionDelivery(t.TypedDict):
    id: DeliveryID
    callback: int
    callback_name: str
    state: State
    attempts: int
    # Null: at once, or ended.
    next_attempt_at: str | None



class SessionStory(t.TypedDict):
    session_key: str
    data: list[SessionEvent]
    # The cursor of the next page.
    next: str | None



class Resent(t.TypedDict):
    status: t.Literal["success"]
    message: str
    session_key: str
    phone: str
    session_age_days: int
    days_remaining: int



class NotResent(t.TypedDict):
    status: t.Literal["error"]
    message: str
    session_key: str
    session_status: t.NotRequired[SessionStatus]



class NewReplay(t.TypedDict):
    states: t.NotRequired[list[State]]
    event: t.NotRequired[EventType]
    callback: t.NotRequired[CallbackRef]
    session_key: t.NotRequired[str]
    # Event accepted at or after this time, in any form that API-Timestamp may have.
    since: t.NotRequired[str]
    # Event accepted before this time.
    until: t.NotRequired[str]
    # Send to this callback instead.
    target: t.NotRequired[CallbackRef]
    # Deliveries a second; 0 means no limit.
    rate: t.NotRequired[float]
    # Send only events that were not delivered to the callback they would go to, and that are not pending for it. Without target that is every callback of the event, and events from before it was created are missing too; states may not be given.
    missing: t.NotRequired[bool]
    # Count only.
    dry_run: t.NotRequired[bool]



class NewCancellation(t.TypedDict):
    event: t.NotRequired[EventType]
    callback: t.NotRequired[CallbackRef]
    session_key: t.NotRequired[str]
    # Event accepted at or after this time, in any form that API-Timestamp may have.
    since: t.NotRequired[str]
    # Event accepted before this time.
    until: t.NotRequired[str]
    # Deliveries a second; 0 means no limit.
    rate: t.NotRequired[float]
    # Why, in one line of at most 500 bytes. It is shown with each delivery.
    reason: t.NotRequired[str]
    # Count only.
    dry_run: t.NotRequired[bool]



class ReplayCount(t.TypedDict):
    total: int



class Replay(t.TypedDict):
    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    id: ReplayID
    # What it does with its set.
    action: t.Literal["resend", "cancel"]
    state: t.Literal["running", "paused", "done", "canceled"]
    # Empty: any.
    states: list[State]
    # Empty: any.
    event: str
    # 0: any.
    callback: int
    # Empty: any.
    session_key: str
    since: str | None
    until: str | None
    # 0 when the replay has no target.
    target: int
    # Only events that were not delivered.
    missing: bool
    # Who cancels, such as API key 3; empty when it resends.
    by: str
    # Why it cancels.
    reason: str
    rate: float
    created_at: str
    ended_at: str | None
    # The size of the set.
    total: int
    # Deliveries of the set that were made due, canceled or skipped.
    due: int
    # Deliveries that were not made due: they were waiting already, or can no longer be sent. Of a cancellation, those that were not pending any more.
    skipped: int
    # Deliveries that did not exist before.
    created: int
    # Deliveries that were made due and have not ended.
    pending: int
    delivered: int
    failed: int
    canceled: int



class ReplayList(t.TypedDict):
    data: list[Replay]
    next: str | None



class NewErase(t.TypedDict):
    """Exactly one of session_key, vin, phone and reference."""

    session_key: t.NotRequired[str]
    vin: t.NotRequired[str]
    phone: t.NotRequired[str]
    # A text or a number of the reference.
    reference: t.NotRequired[str]
    # Count what would be erased, and erase nothing.
    dry_run: t.NotRequired[bool]



class Erase(t.TypedDict):
    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    group: t.NotRequired[EraseGroupID]
    id: EraseID
    by: t.Literal["session_key", "vin", "phone", "reference"]
    # The session key, or a keyed hash of the value that was looked for. Equal values of a key have equal hashes while the primary sealing key is the same.
    subject: str
    dry_run: bool
    state: t.Literal["running", "done"]
    phase: t.Literal["find_sessions", "find_events", "count", "erase", "callbacks", "answers", "logs", "replays", "overwrite", "done"]
    created_at: str
    ended_at: str | None
    counts: EraseCounts
    # Canonical JSON: members in alphabetical order, without spaces. Null before the end.
    receipt: dict[str, t.Any] | None
    # SHA-256 of the bytes of receipt, in hexadecimal digits; empty before the end.
    receipt_sha256: str



class EraseGroup(t.TypedDict):
    """An erasure over all API keys."""

    id: EraseGroupID
    by: t.Literal["session_key", "vin", "phone", "reference"]
    dry_run: bool
    # done when the erasure of the last API key has ended.
    state: t.Literal["running", "done"]
    created_at: str
    ended_at: str | None
    # In how many API keys it was started.
    keys: int
    counts: EraseCounts
    # Canonical JSON with the sums, and the hash of each key's receipt. Null before the end, and when an erasure of the group is no longer stored.
    receipt: dict[str, t.Any] | None
    # SHA-256 of the bytes of receipt, in hexadecimal digits; empty without one.
    receipt_sha256: str
    # The erasure of each API key.
    data: list[Erase]



class EraseGroupList(t.TypedDict):
    data: list[EraseGroup]
    # Cursor of the next page.
    next: str | None



class EraseCounts(t.TypedDict):
    """What was erased so far; of a dry run, what would be."""

    # Session keys.
    sessions: int
    # Stored sessions among them.
    session_records: int
    photos: int
    notes: int
    events: int
    # Pending deliveries that were canceled first.
    canceled: int
    attempts: int
    # That were for one of the sessions. Their settings are erased, and they end.
    callbacks: int
    # Their answers and digests. The keys stay used: a repeat gets 409.
    idempotency_keys: int
    log_messages: int
    # Of cancellations that were made for one of the sessions.
    reasons: int



class EraseList(t.TypedDict):
    data: list[Erase]
    next: str | None



class Explanation(t.TypedDict):
    # Null when there is no delivery.
    delivery: str | None
    event_id: EventID
    callback: int
    callback_name: str
    # Empty without a delivery.
    state: str
    # The decisive one first.
    reasons: list[Reason]
    # What to do; empty when there is nothing to do.
    next: str



class Reason(t.TypedDict):
    code: t.Literal["not_registered_yet", "deleted_before", "other_event", "other_session", "test", "filtered", "not_owed", "delivered", "failed", "expired", "refused_address", "last_attempt", "erased", "canceled", "callback_deleted", "key_revoked", "paused", "not_running", "breaker_open", "asked_to_wait", "probation", "waiting_retry", "deferred", "expires", "held", "order_group", "sending", "rate_limited", "at_limit", "replay", "backlog", "due"]
    message: str
    since: str | None
    until: str | None



class EventExplanation(t.TypedDict):
    event_id: EventID
    data: list[Explanation]



class Log(t.TypedDict):
    # The API key that it belongs to; only in answers of /v1/admin.
    api_key: t.NotRequired[str]
    # Of a sum: when its minute began.
    at: str
    # ANY for sums of several.
    method: str
    # Without the query.
    path: str
    status: int
    # Of a sum: the mean.
    duration_ms: float
    # The message of an answer that was an error.
    message: str
    # The caller's address; of a sum, that of the last call.
    address: str
    count: int



class AuditActor(t.TypedDict):
    """Who made a change, and from where. Of the operator only the kind is shown."""

    kind: ActorKind
    # The API key or the origin of the receiver; else empty.
    name: str
    # The IP address; empty when there is none.
    address: str



class AuditEntry(t.TypedDict):
    number: int
    at: str
    action: AuditAction
    actor: AuditActor
    # The event and the name of a callback, the id of a replay or a delivery, a session key, or the API key.
    subject: str
    # The number of the callback; 0 when it is about none.
    callback: int
    # The members that differ, as they were; null when there was nothing before. Secrets are keyed hashes.
    before: dict[str, t.Any] | None
    # The members that differ, as they are now; null when nothing is left.
    after: dict[str, t.Any] | None
    # A keyed hash of the entry and of the hash before it.
    hash: str



class AuditList(t.TypedDict):
    data: list[AuditEntry]
    next: str | None



class LogList(t.TypedDict):
    data: list[Log]
    next: str | None



class NewOperatorToken(t.TypedDict):
    # Who or what uses the token. No two tokens in force have one name.
    name: str
    role: t.Literal["read", "full"]
    # How long the token is valid, from 1m to 730d: a text such as 30d, or seconds.
    expires_after: t.NotRequired[str]



class OperatorToken(t.TypedDict):
    id: str
    name: str
    role: t.Literal["read", "full"]
    state: t.Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str
    # The last call with the token; it may be a minute late.
    last_used_at: str | None
    revoked_at: str | None
    # The text of the token; only in the answer of the call that created it.
    token: t.NotRequired[str]



class OperatorTokenList(t.TypedDict):
    data: list[OperatorToken]



class AdminMessage(t.TypedDict):
    api_key: t.NotRequired[str]
    message: str



class KeySettings(t.TypedDict):
    # Shown in lists and in the console.
    name: t.NotRequired[str]
    # How long after its creation a session expires, unless it has passed quality control: a text such as 3d, or seconds.
    sessions_expire_after: t.NotRequired[str]
    # Template of the links to the key's sessions, with {account} and {session_key}. Empty: the server's.
    capture_url: t.NotRequired[str]
    # When the key's calls begin to be refused. What was accepted before is still delivered. Left out: never.
    expires_at: t.NotRequired[str]
    limits: t.NotRequired[KeyLimits]
    callback_policy: t.NotRequired[CallbackPolicy]
    # How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's.
    retention: t.NotRequired[str]
    retention_events: t.NotRequired[RetentionEvents]



class KeyLimits(t.TypedDict):
    """What the key may use. A member that is left out or null is the server's default (`serve --key-publish-rate`, `--key-pending-deliveries`, `--key-pending-bytes`), and 0 is no limit."""

    # Events a second, from 0.001. A change of a session counts as one.
    publish_rate: t.NotRequired[float | None]
    # Deliveries that have not ended.
    pending_deliveries: t.NotRequired[int | None]
    # Event data of the pending deliveries, in bytes; an event counts once for each delivery.
    pending_bytes: t.NotRequired[int | None]
    # Callbacks for one event; 100 by default.
    callbacks: t.NotRequired[int | None]



class CallbackPolicy(t.TypedDict):
    """What a callback of the key gets that is registered or replaced from now on and leaves it out of its own policy. Callbacks that exist stay as they are. Empty: the server's defaults."""

    timeout: t.NotRequired[Duration]
    retry: t.NotRequired[list[Duration]]
    order: t.NotRequired[Duration]
    rate: t.NotRequired[float]
    concurrency: t.NotRequired[int]
    keep_alive: t.NotRequired[bool]
    store_response: t.NotRequired[bool]
    signing: t.NotRequired[list[SigningScheme]]
    ttl: t.NotRequired[DurationOrNone]
    expect: t.NotRequired[DurationOrNone]



class LimitUse(t.TypedDict):
    # 0 is no limit.
    limit: int
    used: int



class RateUse(t.TypedDict):
    # Events a second; 0 is no limit.
    limit: float
    # How many events may be published at once: what the rate allows in a second.
    burst: int
    # How many of them are left now.
    left: int



class Limits(t.TypedDict):
    api_key: str
    publish_rate: RateUse
    pending_deliveries: LimitUse
    pending_bytes: LimitUse
    callbacks: LimitUse
    # When the pending deliveries were counted. What was accepted or ended since is added.
    counted_at: str



class NewKey(t.TypedDict):
    # The customer. The name is part of what tokens sign.
    account: str
    # False for a test key.
    live: t.NotRequired[bool]
    name: t.NotRequired[str]
    sessions_expire_after: t.NotRequired[str]
    capture_url: t.NotRequired[str]
    expires_at: t.NotRequired[str]
    limits: t.NotRequired[KeyLimits]
    callback_policy: t.NotRequired[CallbackPolicy]
    # How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's.
    retention: t.NotRequired[str]
    retention_events: t.NotRequired[RetentionEvents]



class KeyRotation(t.TypedDict):
    # How long the old secret stays valid beside the new one: a text such as 12h, or seconds; at most 30d.
    keep: t.NotRequired[str]



class Key(t.TypedDict):
    api_key: str
    account: str
    name: str
    live: bool
    state: t.Literal["active", "expired", "revoked"]
    sessions_expire_after: str
    # Null: the server's.
    capture_url: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    # Until when the secret from before the last rotation is accepted.
    old_secret_ends_at: str | None
    limits: KeyLimits
    callback_policy: CallbackPolicy
    # How long finished events of the key are kept, when that is shorter than the server keeps them. Null: the server's.
    retention: str | None
    retention_events: RetentionEvents
    # Only in the answer of the call that made it.
    secret: t.NotRequired[str]



class KeyList(t.TypedDict):
    data: list[Key]
    next: str | None



class Account(t.TypedDict):
    account: str
    keys: int
    # Keys in force.
    active: int



class AccountList(t.TypedDict):
    data: list[Account]



class CallbackState(t.TypedDict):
    api_key: str
    callback: int
    event: EventType
    name: str
    url: str
    method: str
    paused: bool
    pause_reason: str
    paused_at: str | None
    # Null: the last attempt succeeded, or there was none.
    failing_since: str | None
    # Until when the receiver asked to wait.
    closed_until: str | None
    created_at: str
    updated_at: str



class CallbackStateList(t.TypedDict):
    data: list[CallbackState]
    next: int | None



class Stats(t.TypedDict):
    # When the interval began.
    at: str
    delivered: int
    failed: int
    canceled: int
    expired: int
    attempts: int
    # Attempts that failed, for any reason.
    faults: int
    by_fault: ByFault
    # Attempts of resends and replays.
    repeats: int



class StatsList(t.TypedDict):
    data: list[Stats]



class Node(t.TypedDict):
    name: str
    version: str
    address: str
    # It answered the call.
    self: bool
    started_at: str
    shards: int
    # Attempts in flight.
    in_flight: int
    # Callbacks with pending deliveries.
    callbacks: int
    # Null: it has the store to itself and needs no lease.
    lease_until: str | None



class NodeList(t.TypedDict):
    data: list[Node]



class Setting(t.TypedDict):
    # The option, without its hyphens.
    name: str
    # Masked when the option is a secret and has a value.
    value: str
    # default, command line, or the variable that it comes from.
    source: str



class NewConsoleLink(t.TypedDict):
    # viewer reads, without secrets; developer also changes callbacks, sends tests, resends, replays, cancels and erases.
    role: t.Literal["viewer", "developer"]
    # Where "Back to …" leads: https, of an origin that `callbackd serve --return-origin` names.
    return_to: t.NotRequired[str]
    expires_in: t.NotRequired[Duration]



class ConsoleLink(t.TypedDict):
    api_key: str
    url: str
    role: t.Literal["viewer", "developer"]
    return_to: str
    # Of the link.
    expires_at: str
    # How long the browser stays signed in, from when the link is used: 8h by default, 5m to 7d.
    expires_in: str



class SettingsFile(t.TypedDict):
    version: int
    keys: list[SettingsKey]



class SettingsKey(t.TypedDict):
    # Left out or empty: the key with this account and name, or a new one.
    api_key: t.NotRequired[str]
    # It cannot change.
    account: str
    name: t.NotRequired[str]
    # It cannot change.
    live: t.NotRequired[bool]
    secret: t.NotRequired[SecretReference]
    sessions_expire_after: t.NotRequired[str]
    capture_url: t.NotRequired[str]
    expires_at: t.NotRequired[str | None]
    limits: t.NotRequired[KeyLimits]
    callback_policy: t.NotRequired[CallbackPolicy]
    # How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's.
    retention: t.NotRequired[str]
    retention_events: t.NotRequired[RetentionEvents]
    # Left out: those of the key are left alone, also with prune.
    callbacks: t.NotRequired[list[SettingsCallback]]



class SettingsCallback(t.TypedDict):
    event: EventType
    name: t.NotRequired[str]
    url: str
    method: t.NotRequired[str]
    # A value is a text, or a reference such as {"keep": true}.
    headers: t.NotRequired[dict[str, t.Any]]
    payload: t.NotRequired[dict[str, t.Any]]
    # As of POST /v1/callbacks, with references in place of the secrets of auth. The callback_policy of the key does not count here.
    policy: t.NotRequired[dict[str, t.Any]]
    secret: t.NotRequired[SecretReference]
    # Left out: as it is.
    paused: t.NotRequired[bool]



class SecretReferenceObject(t.TypedDict):
    """What stands for a secret. A value that differs from the stored one replaces it, and the old one is valid for another 24 h."""

    # The stored one.
    keep: t.NotRequired[t.Literal[True]]
    value: t.NotRequired[str]



class SettingsApplication(t.TypedDict):
    settings: SettingsFile
    # Say what would change, and change nothing.
    dry_run: t.NotRequired[bool]
    # Revoke API keys that the file does not name, and delete callbacks that it does not name of keys that have the member callbacks.
    prune: t.NotRequired[bool]
    # Of a dry run. When the settings have changed since, nothing is applied.
    fingerprint: t.NotRequired[str]



class SettingsPlan(t.TypedDict):
    # false: it was a dry run.
    applied: bool
    # Of the settings that the plan was made from: those of the keys that the file names, and with prune those of all.
    fingerprint: str
    created: int
    changed: int
    removed: int
    changes: list[SettingsChange]
    # API keys that were made, with their secrets.
    keys: list[SettingsNewKey]
    warnings: list[str]



class SettingsChange(t.TypedDict):
    action: t.Literal["create", "change", "remove"]
    # In the file, such as keys[0].callbacks[2]; empty when the file does not name what is removed.
    place: str
    # Empty for a key that is still to be made.
    api_key: str
    account: str
    key_name: str
    # Of the callback; empty when the change is one of the key.
    event: str
    # Of the callback.
    name: str
    members: list[SettingsMember]



class SettingsMember(t.TypedDict):
    # Such as policy.timeout.
    name: str
    # Empty when there was none. Secrets are [redacted].
    before: str
    after: str



class SettingsNewKey(t.TypedDict):
    api_key: str
    account: str
    name: str
    # It is shown once.
    secret: str



class SettingList(t.TypedDict):
    data: list[Setting]


# PAVE's five: SESSION:SMS_PROCESS, SESSION:STAGE_CHANGE, SESSION:STATUS_CHANGE, SESSION:COMPLETE and SESSION:NOTE_INSERT. callbackd's own SESSION:SMS_REQUESTED. The notices about callbackd itself: CALLBACK:FAILING, CALLBACK:PAUSED, CALLBACK:RECOVERED, DELIVERY:FAILED, BACKLOG:OLD, CERTIFICATE:ENDING, SILENCE, DISK:LOW, NODE:LOST and ARCHIVE:FAILING. And the platform's own types (`serve --event-types`), such as VEHICLE:ARRIVED. `GET /v1/event-types` lists all of them.
EventType: t.TypeAlias = str
IncidentID: t.TypeAlias = str
State: t.TypeAlias = t.Literal["pending", "delivered", "failed", "canceled", "expired"]
EventID: t.TypeAlias = str
# The event's ID and the callback's ID.
DeliveryID: t.TypeAlias = str
# Such as "30s", "2h" or "1d12h"; a number counts as seconds.
Duration: t.TypeAlias = str
# A duration, or an empty text for none.
DurationOrNone: t.TypeAlias = str
DurationText: t.TypeAlias = str
# Operators by path, such as `{"data.grade": {"lt": 3}}`. All of them must hold. `all` and `any` have an array of filters, `not` has one. Paths are `data.…` (names of members and numbers of array elements, separated by dots), `session.status`, `session.reference.…` and `session.options.client_id`. Operators are `eq`, `ne`, `in`, `exists`, `prefix`, `lt` and `gt`; numbers are compared by value. Where there is nothing at a path, only `ne` and `exists: false` hold. At most 8 KiB, 32 operators, 8 filters within each other, 255 bytes and 16 names of a path, 100 values of `in`; and 400 operators in the different filters of all callbacks of an API key for one event.
Filter: t.TypeAlias = dict[str, t.Any]
CallbackInPath: t.TypeAlias = str
SigningScheme: t.TypeAlias = str
# The signing secret that the receiver knows already, from another sender. Without it, the server makes one. For the signature `standard` it is `whsec_` and the base64 of 24 to 64 bytes; for the others any text.
NewSecret: t.TypeAlias = str
# Its required members: event.
NewCallback: t.TypeAlias = CallbackUpdate
Headers: t.TypeAlias = dict[str, str]
# Attempts that failed, by kind; kinds that did not happen are left out. An answer other than 2xx is counted by the class of its status. What versions before this member counted in `faults` is missing.
ByFault: t.TypeAlias = dict[str, int]
NewEvents: t.TypeAlias = list[NewEvent]
# One event, or an array of them.
PublishBody: t.TypeAlias = NewEvent | NewEvents
AcceptedEvents: t.TypeAlias = list[Accepted]
# An array if the body was one.
PublishAnswer: t.TypeAlias = Accepted | AcceptedEvents
# The answer as received, with the first 16384 bytes of its body. Null without an answer.
Response: t.TypeAlias = ResponseObject | None
# A time in seconds, UTC; null: not yet.
Stamp: t.TypeAlias = str | None
SessionStatus: t.TypeAlias = t.Literal["IDLE", "STARTED", "PROCESS", "QC_PASSED", "CONFIRM", "COMPLETE", "EXPIRED", "INVALID"]
ReplayID: t.TypeAlias = str
# A callback's ID, as a text or a number, or its name, together with an event.
CallbackRef: t.TypeAlias = str
EraseID: t.TypeAlias = str
# The erasure over all API keys that an erasure belongs to; only in answers of /v1/admin, and left out of an erasure of one key.
EraseGroupID: t.TypeAlias = str
AuditAction: t.TypeAlias = t.Literal["key.created", "key.changed", "key.rotated", "key.revoked", "callback.created", "callback.replaced", "callback.deleted", "callback.paused", "callback.resumed", "callback.secret_rotated", "callback.auth_rotated", "replay.started", "replay.paused", "replay.resumed", "replay.canceled", "deliveries.canceled", "delivery.resent", "erasure.started", "erasure.ended", "incident.acknowledged", "incident.muted", "session.changed", "session.removed", "session.sms_resent", "token.created", "token.revoked", "console.link_created", "console.link_used", "console.signed_in", "console.signed_out", "server.options_changed", "server.log_level_changed", "keyset.changed", "keyset.resealed"]
# `api_key` is a signed call, `api_key_console` a person who signed in to the console with the key, `console_link` one who did so by a link of the operator, `receiver` the answer of a receiver, `callbackd` one of its rules.
ActorKind: t.TypeAlias = t.Literal["api_key", "api_key_console", "console_link", "operator", "operator_token", "command_line", "receiver", "callbackd", "unknown"]
# How long finished events of some types are kept, instead of retention: a duration such as 1d, from 1h, for each type. It is never longer than the server keeps events.
RetentionEvents: t.TypeAlias = dict[str, str]
# What stands for a secret. A value that differs from the stored one replaces it, and the old one is valid for another 24 h.
SecretReference: t.TypeAlias = SecretReferenceObject | None
# The body of a request that a receiver gets.
ReceivedEvent: t.TypeAlias = SMSProcessEvent | StageChangeEvent | StatusChangeEvent | SessionResults | NoteInsertEvent | SMSRequestedEvent | NoticeEvent


class Client(Transport):
    """Calls callbackd's HTTP API. It has a method for each operation."""

    def root(self) -> Links:
        """The paths of this server. A browser is redirected to the console. GET /"""
        return self._json("GET", "/", "none")

    def healthz(self) -> Message:
        """Check that the process runs. GET /healthz"""
        return self._json("GET", "/healthz", "none")

    def readyz(self) -> Message:
        """Check that the store takes writes and the engine runs. GET /readyz"""
        return self._json("GET", "/readyz", "none")

    def metrics(self) -> str:
        """Metrics for Prometheus. GET /metrics"""
        return self._text("GET", "/metrics", "none")

    def server_status(self) -> Status:
        """What the server says of itself to the operator. GET /statusz"""
        return self._json("GET", "/statusz", "none")

    def set_log_level(self, body: LogLevel) -> LogLevel:
        """Change what the server logs, until its next start. PUT /log-level"""
        return self._json("PUT", "/log-level", "none", body=body)

    def openapi(self) -> str:
        """This document. GET /openapi.yaml"""
        return self._text("GET", "/openapi.yaml", "none")

    def create_callback(self, body: NewCallback, *, idempotency_key: str | None = None) -> Callback:
        """Create a callback setting. POST /v1/callbacks"""
        return self._json("POST", "/v1/callbacks", "api_key", body=body, idempotency_key=idempotency_key)

    def list_callbacks(self, *, session: str | None = None) -> CallbackList:
        """List the key's callback settings, in PAVE's order of events, then by name. GET /v1/callbacks"""
        return self._json("GET", "/v1/callbacks", "api_key", query={"session": session})

    def get_callback(self, event: CallbackInPath, *, name: str | None = None) -> CallbackOne:
        """Read a callback setting. GET /v1/callbacks/{event}"""
        return self._json("GET", f"/v1/callbacks/{escape(event)}", "api_key", query={"name": name})

    def replace_callback(self, event: CallbackInPath, body: CallbackUpdate, *, name: str | None = None, idempotency_key: str | None = None) -> Callback:
        """Replace a callback setting. PUT /v1/callbacks/{event}"""
        return self._json("PUT", f"/v1/callbacks/{escape(event)}", "api_key", body=body, query={"name": name}, idempotency_key=idempotency_key)

    def delete_callback(self, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> KeyedMessage:
        """Remove a callback. Its pending deliveries are canceled; its history stays. DELETE /v1/callbacks/{event}"""
        return self._json("DELETE", f"/v1/callbacks/{escape(event)}", "api_key", query={"name": name}, idempotency_key=idempotency_key)

    def get_policy(self, event: CallbackInPath, *, name: str | None = None) -> Policy:
        """Read a callback's policy, with its defaults, and whether it is paused. GET /v1/callbacks/{event}/policy"""
        return self._json("GET", f"/v1/callbacks/{escape(event)}/policy", "api_key", query={"name": name})

    def get_stats(self, event: CallbackInPath, *, name: str | None = None) -> CallbackStats:
        """Read a callback's health, its backlog, and what was counted in the last hour, day and week. GET /v1/callbacks/{event}/stats"""
        return self._json("GET", f"/v1/callbacks/{escape(event)}/stats", "api_key", query={"name": name})

    def get_secret(self, event: CallbackInPath, *, name: str | None = None) -> Secret:
        """Read the secret that signs the requests to the receiver. GET /v1/callbacks/{event}/secret"""
        return self._json("GET", f"/v1/callbacks/{escape(event)}/secret", "api_key", query={"name": name})

    def rotate_secret(self, event: CallbackInPath, body: Rotation | None = None, *, name: str | None = None, idempotency_key: str | None = None) -> Secret:
        """Make a new signing secret. POST /v1/callbacks/{event}/secret/rotate"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/secret/rotate", "api_key", body=body, query={"name": name}, idempotency_key=idempotency_key)

    def rotate_auth(self, event: CallbackInPath, body: AuthRotation, *, name: str | None = None, idempotency_key: str | None = None) -> Policy:
        """Give a callback other credentials. POST /v1/callbacks/{event}/auth/rotate"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/auth/rotate", "api_key", body=body, query={"name": name}, idempotency_key=idempotency_key)

    def test_auth(self, event: CallbackInPath, *, name: str | None = None) -> AuthTest:
        """Try how a callback signs in, and show what came back. POST /v1/callbacks/{event}/auth/test"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/auth/test", "api_key", query={"name": name})

    def pause_callback(self, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> Policy:
        """Pause a callback. Its deliveries wait; events are still accepted, and nothing is lost. POST /v1/callbacks/{event}/pause"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/pause", "api_key", query={"name": name}, idempotency_key=idempotency_key)

    def resume_callback(self, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> Policy:
        """Resume a callback that a person or callbackd has paused, and send the deliveries that wait. POST /v1/callbacks/{event}/resume"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/resume", "api_key", query={"name": name}, idempotency_key=idempotency_key)

    def test_filter(self, body: FilterTrial | None = None) -> FilterTest:
        """Try a filter and fields with the latest events. POST /v1/callbacks/filter/test"""
        return self._json("POST", "/v1/callbacks/filter/test", "api_key", body=body)

    def test_callback(self, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> Delivery:
        """Send a marked sample of the event, once, and show the result. POST /v1/callbacks/{event}/test"""
        return self._json("POST", f"/v1/callbacks/{escape(event)}/test", "api_key", query={"name": name}, idempotency_key=idempotency_key)

    def list_event_types(self) -> EventKindList:
        """List the types of events, each with the schema and a sample of the body that a receiver gets. GET /v1/event-types"""
        return self._json("GET", "/v1/event-types", "api_key")

    def get_event_type(self, type: EventType) -> EventKind:
        """Read one type of events, with the schema and a sample of the body that a receiver gets. GET /v1/event-types/{type}"""
        return self._json("GET", f"/v1/event-types/{escape(type)}", "api_key")

    def get_limits(self) -> Limits:
        """Read the limits of the API key, and what it uses of them. GET /v1/limits"""
        return self._json("GET", "/v1/limits", "api_key")

    def publish(self, body: PublishBody, *, idempotency_key: str | None = None) -> PublishAnswer:
        """Publish one event or up to 1000, all or nothing. POST /v1/events"""
        return self._json("POST", "/v1/events", "api_key", body=body, idempotency_key=idempotency_key)

    def list_events(self, *, after: str | None = None, wait: int | None = None, event: EventType | None = None, session_key: str | None = None, since: str | None = None, until: str | None = None, withheld: str | None = None, limit: int | None = None, cursor: EventID | None = None) -> EventList:
        """List events, newest first. With `after`, read the events after a cursor, oldest first. GET /v1/events"""
        return self._json("GET", "/v1/events", "api_key", query={"after": after, "wait": wait, "event": event, "session_key": session_key, "since": since, "until": until, "withheld": withheld, "limit": limit, "cursor": cursor})

    def stream_events(self, *, after: str | None = None, event: EventType | None = None, session_key: str | None = None) -> t.Iterator[ServerSentEvent]:
        """Events as they are accepted, as server-sent events. GET /v1/events/stream"""
        return self._stream("GET", "/v1/events/stream", "api_key", query={"after": after, "event": event, "session_key": session_key})

    def get_event(self, id: EventID) -> Event:
        """Read one event. GET /v1/events/{id}"""
        return self._json("GET", f"/v1/events/{escape(id)}", "api_key")

    def explain_event(self, id: EventID, *, callback: str | None = None) -> EventExplanation:
        """Explain why a callback did or did not get an event. GET /v1/events/{id}/explain"""
        return self._json("GET", f"/v1/events/{escape(id)}/explain", "api_key", query={"callback": callback})

    def list_deliveries(self, *, state: State | None = None, event: EventType | None = None, session_key: str | None = None, callback: int | None = None, status: str | None = None, fault: t.Literal["status", "refused", "dns", "connect", "tls", "timeout", "protocol", "proxy", "local", "shutdown", "query", "auth"] | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> DeliveryList:
        """List deliveries, the newest event first, and those of one event with the newest callback first. GET /v1/deliveries"""
        return self._json("GET", "/v1/deliveries", "api_key", query={"state": state, "event": event, "session_key": session_key, "callback": callback, "status": status, "fault": fault, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def get_delivery(self, id: DeliveryID, *, before: int | None = None) -> Delivery:
        """Read one delivery with its newest attempts, up to 50. GET /v1/deliveries/{id}"""
        return self._json("GET", f"/v1/deliveries/{escape(id)}", "api_key", query={"before": before})

    def cancel_deliveries(self, body: NewCancellation, *, idempotency_key: str | None = None) -> ReplayCount | Replay:
        """Cancel pending deliveries. POST /v1/deliveries/cancel"""
        return self._json("POST", "/v1/deliveries/cancel", "api_key", body=body, idempotency_key=idempotency_key)

    def retry_delivery(self, id: DeliveryID, *, idempotency_key: str | None = None) -> Delivery:
        """Resend a delivery at once, also one that was delivered. Its retry schedule starts again. POST /v1/deliveries/{id}/retry"""
        return self._json("POST", f"/v1/deliveries/{escape(id)}/retry", "api_key", idempotency_key=idempotency_key)

    def create_session(self, body: NewSession | None = None, *, idempotency_key: str | None = None) -> Session:
        """Create a session. POST /v1/sessions"""
        return self._json("POST", "/v1/sessions", "api_key", body=body, idempotency_key=idempotency_key)

    def list_sessions(self, *, status: SessionStatus | None = None, q: str | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> SessionList:
        """Find sessions, newest first. GET /v1/sessions"""
        return self._json("GET", "/v1/sessions", "api_key", query={"status": status, "q": q, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def create_session_as_in_samples(self, body: NewSession | None = None, *, idempotency_key: str | None = None) -> Session:
        """Create a session, at the path that PAVE's samples have. POST /v1/session"""
        return self._json("POST", "/v1/session", "api_key", body=body, idempotency_key=idempotency_key)

    def get_session(self, key: str) -> Session:
        """Read a session. GET /v1/sessions/{key}"""
        return self._json("GET", f"/v1/sessions/{escape(key)}", "api_key")

    def update_session(self, key: str, body: SessionUpdate, *, idempotency_key: str | None = None) -> Session:
        """Change the members that can still be changed. PUT /v1/sessions/{key}"""
        return self._json("PUT", f"/v1/sessions/{escape(key)}", "api_key", body=body, idempotency_key=idempotency_key)

    def delete_session(self, key: str, *, idempotency_key: str | None = None) -> Message:
        """Remove a session that is IDLE. DELETE /v1/sessions/{key}"""
        return self._json("DELETE", f"/v1/sessions/{escape(key)}", "api_key", idempotency_key=idempotency_key)

    def get_photos(self, key: str) -> list[Photo]:
        """The latest capture of each step, in capture order. GET /v1/sessions/{key}/photos"""
        return self._json("GET", f"/v1/sessions/{escape(key)}/photos", "api_key")

    def add_photo(self, key: str, body: NewPhoto, *, idempotency_key: str | None = None) -> SessionChange:
        """A photo was captured, or its value typed. POST /v1/sessions/{key}/photos"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/photos", "api_key", body=body, idempotency_key=idempotency_key)

    def get_notes(self, key: str) -> list[Note]:
        """The notes, oldest first. GET /v1/sessions/{key}/notes"""
        return self._json("GET", f"/v1/sessions/{escape(key)}/notes", "api_key")

    def add_note(self, key: str, body: NewNote, *, idempotency_key: str | None = None) -> SessionChange:
        """A note was added. Fires NOTE_INSERT. POST /v1/sessions/{key}/notes"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/notes", "api_key", body=body, idempotency_key=idempotency_key)

    def get_results(self, key: str) -> SessionResults:
        """What COMPLETE delivers. GET /v1/sessions/{key}/results"""
        return self._json("GET", f"/v1/sessions/{escape(key)}/results", "api_key")

    def put_results(self, key: str, body: NewResults, *, idempotency_key: str | None = None) -> SessionChange:
        """Set the results. It moves the session to CONFIRM; they can be replaced until it is complete. PUT /v1/sessions/{key}/results"""
        return self._json("PUT", f"/v1/sessions/{escape(key)}/results", "api_key", body=body, idempotency_key=idempotency_key)

    def start_session(self, key: str, *, idempotency_key: str | None = None) -> SessionChange:
        """The user pressed start. POST /v1/sessions/{key}/start"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/start", "api_key", idempotency_key=idempotency_key)

    def report_sms(self, key: str, body: SMSReport, *, idempotency_key: str | None = None) -> SessionChange:
        """The SMS was sent, or it failed. Fires SMS_PROCESS. POST /v1/sessions/{key}/sms"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/sms", "api_key", body=body, idempotency_key=idempotency_key)

    def complete_session(self, key: str, *, idempotency_key: str | None = None) -> SessionChange:
        """The user confirmed. It fires STATUS_CHANGE, then COMPLETE. POST /v1/sessions/{key}/complete"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/complete", "api_key", idempotency_key=idempotency_key)

    def invalidate_session(self, key: str, body: Invalidation, *, idempotency_key: str | None = None) -> SessionChange:
        """The vehicle does not match, or the photos are unusable. POST /v1/sessions/{key}/invalidate"""
        return self._json("POST", f"/v1/sessions/{escape(key)}/invalidate", "api_key", body=body, idempotency_key=idempotency_key)

    def session_events(self, key: str, *, limit: int | None = None, cursor: str | None = None) -> SessionStory:
        """List a session's events in order, with their deliveries. GET /v1/sessions/{key}/events"""
        return self._json("GET", f"/v1/sessions/{escape(key)}/events", "api_key", query={"limit": limit, "cursor": cursor})

    def erase_session(self, key: str, *, dry_run: bool | None = None, idempotency_key: str | None = None) -> Erase:
        """Erase what is stored of people in a session and its events. DELETE /v1/sessions/{key}/data"""
        return self._json("DELETE", f"/v1/sessions/{escape(key)}/data", "api_key", query={"dry_run": dry_run}, idempotency_key=idempotency_key)

    def resend(self, key: str, body: dict[str, t.Any] | None = None, *, idempotency_key: str | None = None) -> Resent:
        """Ask for the SMS again, once in a session's life. POST /v2/capture/sessions/{key}/resend"""
        return self._json("POST", f"/v2/capture/sessions/{escape(key)}/resend", "access_token", body=body, idempotency_key=idempotency_key)

    def explain_delivery(self, id: DeliveryID) -> Explanation:
        """Explain why a delivery is in its state, in sentences and codes, and what to do. GET /v1/deliveries/{id}/explain"""
        return self._json("GET", f"/v1/deliveries/{escape(id)}/explain", "api_key")

    def create_erase(self, body: NewErase, *, idempotency_key: str | None = None) -> Erase:
        """Erase what is stored of people in all sessions that have a value. POST /v1/erases"""
        return self._json("POST", "/v1/erases", "api_key", body=body, idempotency_key=idempotency_key)

    def list_erases(self, *, limit: int | None = None, cursor: str | None = None) -> EraseList:
        """List erasures, newest first. GET /v1/erases"""
        return self._json("GET", "/v1/erases", "api_key", query={"limit": limit, "cursor": cursor})

    def get_erase(self, id: EraseID) -> Erase:
        """Read an erasure, and its receipt when it has ended. GET /v1/erases/{id}"""
        return self._json("GET", f"/v1/erases/{escape(id)}", "api_key")

    def create_replay(self, body: NewReplay, *, idempotency_key: str | None = None) -> ReplayCount | Replay:
        """Send deliveries again, or events to another callback. POST /v1/replays"""
        return self._json("POST", "/v1/replays", "api_key", body=body, idempotency_key=idempotency_key)

    def list_replays(self, *, limit: int | None = None, cursor: ReplayID | None = None) -> ReplayList:
        """List replays, newest first. GET /v1/replays"""
        return self._json("GET", "/v1/replays", "api_key", query={"limit": limit, "cursor": cursor})

    def get_replay(self, id: ReplayID) -> Replay:
        """Read a replay and how far it is. GET /v1/replays/{id}"""
        return self._json("GET", f"/v1/replays/{escape(id)}", "api_key")

    def cancel_replay(self, id: ReplayID, *, idempotency_key: str | None = None) -> Replay:
        """Cancel a replay. Deliveries that are due already are still sent, at most 512 of each callback that were not tried yet. DELETE /v1/replays/{id}"""
        return self._json("DELETE", f"/v1/replays/{escape(id)}", "api_key", idempotency_key=idempotency_key)

    def pause_replay(self, id: ReplayID, *, idempotency_key: str | None = None) -> Replay:
        """Pause a replay. It makes nothing more due until it is resumed. POST /v1/replays/{id}/pause"""
        return self._json("POST", f"/v1/replays/{escape(id)}/pause", "api_key", idempotency_key=idempotency_key)

    def resume_replay(self, id: ReplayID, *, idempotency_key: str | None = None) -> Replay:
        """Resume a paused replay. POST /v1/replays/{id}/resume"""
        return self._json("POST", f"/v1/replays/{escape(id)}/resume", "api_key", idempotency_key=idempotency_key)

    def list_incidents(self, *, state: t.Literal["open"] | None = None, limit: int | None = None, cursor: IncidentID | None = None) -> IncidentList:
        """The incidents of this API key, newest first. GET /v1/incidents"""
        return self._json("GET", "/v1/incidents", "api_key", query={"state": state, "limit": limit, "cursor": cursor})

    def get_incident(self, id: IncidentID) -> Incident:
        """Read one incident. GET /v1/incidents/{id}"""
        return self._json("GET", f"/v1/incidents/{escape(id)}", "api_key")

    def acknowledge_incident(self, id: IncidentID, *, idempotency_key: str | None = None) -> Incident:
        """Note that a person knows of the incident. It no longer counts in the console's navigation. POST /v1/incidents/{id}/acknowledge"""
        return self._json("POST", f"/v1/incidents/{escape(id)}/acknowledge", "api_key", idempotency_key=idempotency_key)

    def mute_incident(self, id: IncidentID, body: Mute, *, idempotency_key: str | None = None) -> Incident:
        """Send no notices of the incident for a while, also when it comes back meanwhile. POST /v1/incidents/{id}/mute"""
        return self._json("POST", f"/v1/incidents/{escape(id)}/mute", "api_key", body=body, idempotency_key=idempotency_key)

    def list_logs(self, *, method: str | None = None, path: str | None = None, status: str | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> LogList:
        """The calls made with this API key in the last 7 days, newest first. GET /v1/logs"""
        return self._json("GET", "/v1/logs", "api_key", query={"method": method, "path": path, "status": status, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def list_audit(self, *, action: AuditAction | None = None, actor: ActorKind | None = None, callback: int | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> AuditList:
        """Who changed what of this API key, newest first. GET /v1/audit"""
        return self._json("GET", "/v1/audit", "api_key", query={"action": action, "actor": actor, "callback": callback, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def list_operator_tokens(self) -> OperatorTokenList:
        """List the operator tokens, oldest first. GET /v1/admin/tokens"""
        return self._json("GET", "/v1/admin/tokens", "operator")

    def create_operator_token(self, body: NewOperatorToken, *, idempotency_key: str | None = None) -> OperatorToken:
        """Create an operator token. POST /v1/admin/tokens"""
        return self._json("POST", "/v1/admin/tokens", "operator", body=body, idempotency_key=idempotency_key)

    def revoke_operator_token(self, id: str, *, idempotency_key: str | None = None) -> OperatorToken:
        """Revoke an operator token. The next call with it is refused. DELETE /v1/admin/tokens/{id}"""
        return self._json("DELETE", f"/v1/admin/tokens/{escape(id)}", "operator", idempotency_key=idempotency_key)

    def list_accounts(self) -> AccountList:
        """List the accounts, with the numbers of their API keys. GET /v1/admin/accounts"""
        return self._json("GET", "/v1/admin/accounts", "operator")

    def list_keys(self, *, account: str | None = None, state: t.Literal["active", "expired", "revoked"] | None = None, limit: int | None = None, cursor: str | None = None) -> KeyList:
        """List API keys, oldest first, without secrets. GET /v1/admin/keys"""
        return self._json("GET", "/v1/admin/keys", "operator", query={"account": account, "state": state, "limit": limit, "cursor": cursor})

    def create_key(self, body: NewKey, *, idempotency_key: str | None = None) -> Key:
        """Create an API key. POST /v1/admin/keys"""
        return self._json("POST", "/v1/admin/keys", "operator", body=body, idempotency_key=idempotency_key)

    def get_key(self, key: str) -> Key:
        """Read an API key, without its secret. GET /v1/admin/keys/{key}"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}", "operator")

    def replace_key(self, key: str, body: KeySettings | None = None, *, idempotency_key: str | None = None) -> Key:
        """Replace the settings of an API key. PUT /v1/admin/keys/{key}"""
        return self._json("PUT", f"/v1/admin/keys/{escape(key)}", "operator", body=body, idempotency_key=idempotency_key)

    def get_limits_of_key(self, key: str) -> Limits:
        """Read the limits in force of an API key, and what it uses of them. GET /v1/admin/keys/{key}/limits"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}/limits", "operator")

    def rotate_key(self, key: str, body: KeyRotation | None = None, *, idempotency_key: str | None = None) -> Key:
        """Give an API key a new secret. POST /v1/admin/keys/{key}/rotate"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/rotate", "operator", body=body, idempotency_key=idempotency_key)

    def revoke_key(self, key: str, *, idempotency_key: str | None = None) -> Key:
        """Revoke an API key. Its calls are refused, and its pending deliveries are canceled. POST /v1/admin/keys/{key}/revoke"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/revoke", "operator", idempotency_key=idempotency_key)

    def create_link(self, key: str, body: NewConsoleLink, *, idempotency_key: str | None = None) -> ConsoleLink:
        """Make a link that signs a browser in to the console of the API key, once, within 10 minutes. POST /v1/admin/keys/{key}/link"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/link", "operator", body=body, idempotency_key=idempotency_key)

    def list_all_callbacks(self, *, key: str | None = None, event: EventType | None = None, name: str | None = None, limit: int | None = None, cursor: int | None = None) -> CallbackStateList:
        """List callbacks in force, by key, then in the order of events, then by name. GET /v1/admin/callbacks"""
        return self._json("GET", "/v1/admin/callbacks", "operator", query={"key": key, "event": event, "name": name, "limit": limit, "cursor": cursor})

    def list_all_sessions(self, *, key: str | None = None, status: SessionStatus | None = None, q: str | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> SessionList:
        """List sessions, newest first. GET /v1/admin/sessions"""
        return self._json("GET", "/v1/admin/sessions", "operator", query={"key": key, "status": status, "q": q, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def list_all_events(self, *, key: str | None = None, event: EventType | None = None, session_key: str | None = None, since: str | None = None, until: str | None = None, withheld: str | None = None, limit: int | None = None, cursor: EventID | None = None) -> EventList:
        """List events, newest first. GET /v1/admin/events"""
        return self._json("GET", "/v1/admin/events", "operator", query={"key": key, "event": event, "session_key": session_key, "since": since, "until": until, "withheld": withheld, "limit": limit, "cursor": cursor})

    def get_any_event(self, id: EventID) -> Event:
        """Read an event. GET /v1/admin/events/{id}"""
        return self._json("GET", f"/v1/admin/events/{escape(id)}", "operator")

    def list_all_deliveries(self, *, key: str | None = None, state: State | None = None, event: EventType | None = None, session_key: str | None = None, callback: int | None = None, status: str | None = None, fault: t.Literal["status", "refused", "dns", "connect", "tls", "timeout", "protocol", "proxy", "local", "shutdown", "query", "auth"] | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> DeliveryList:
        """List deliveries, the newest event first. GET /v1/admin/deliveries"""
        return self._json("GET", "/v1/admin/deliveries", "operator", query={"key": key, "state": state, "event": event, "session_key": session_key, "callback": callback, "status": status, "fault": fault, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def get_any_delivery(self, id: DeliveryID, *, before: int | None = None) -> Delivery:
        """Read a delivery with its attempts. GET /v1/admin/deliveries/{id}"""
        return self._json("GET", f"/v1/admin/deliveries/{escape(id)}", "operator", query={"before": before})

    def list_all_erases(self, *, key: str | None = None, limit: int | None = None, cursor: EraseID | None = None) -> EraseList:
        """List erasures, newest first. GET /v1/admin/erases"""
        return self._json("GET", "/v1/admin/erases", "operator", query={"key": key, "limit": limit, "cursor": cursor})

    def create_erases(self, body: NewErase, *, idempotency_key: str | None = None) -> EraseGroup:
        """Erase what is stored of people in the sessions of all API keys that have a value. POST /v1/admin/erases"""
        return self._json("POST", "/v1/admin/erases", "operator", body=body, idempotency_key=idempotency_key)

    def get_any_erase(self, id: str) -> Erase:
        """Read an erasure, and its receipt when it has ended. GET /v1/admin/erases/{id}"""
        return self._json("GET", f"/v1/admin/erases/{escape(id)}", "operator")

    def list_erase_groups(self, *, limit: int | None = None, cursor: EraseGroupID | None = None) -> EraseGroupList:
        """List erasures over all API keys, newest first. GET /v1/admin/erase-groups"""
        return self._json("GET", "/v1/admin/erase-groups", "operator", query={"limit": limit, "cursor": cursor})

    def get_erase_group(self, id: str) -> EraseGroup:
        """Read an erasure over all API keys, and its receipt when it has ended. GET /v1/admin/erase-groups/{id}"""
        return self._json("GET", f"/v1/admin/erase-groups/{escape(id)}", "operator")

    def list_all_incidents(self, *, key: str | None = None, state: t.Literal["open"] | None = None, limit: int | None = None, cursor: IncidentID | None = None) -> IncidentList:
        """List incidents of all API keys and of the server, newest first. GET /v1/admin/incidents"""
        return self._json("GET", "/v1/admin/incidents", "operator", query={"key": key, "state": state, "limit": limit, "cursor": cursor})

    def get_any_incident(self, id: IncidentID) -> Incident:
        """Read one incident. GET /v1/admin/incidents/{id}"""
        return self._json("GET", f"/v1/admin/incidents/{escape(id)}", "operator")

    def acknowledge_any_incident(self, id: IncidentID, *, idempotency_key: str | None = None) -> Incident:
        """Note that a person knows of the incident. It no longer counts in the console's navigation. POST /v1/admin/incidents/{id}/acknowledge"""
        return self._json("POST", f"/v1/admin/incidents/{escape(id)}/acknowledge", "operator", idempotency_key=idempotency_key)

    def mute_any_incident(self, id: IncidentID, body: Mute, *, idempotency_key: str | None = None) -> Incident:
        """Send no notices of the incident for a while, also when it comes back meanwhile. POST /v1/admin/incidents/{id}/mute"""
        return self._json("POST", f"/v1/admin/incidents/{escape(id)}/mute", "operator", body=body, idempotency_key=idempotency_key)

    def list_all_replays(self, *, key: str | None = None, limit: int | None = None, cursor: ReplayID | None = None) -> ReplayList:
        """List replays and cancellations, newest first. GET /v1/admin/replays"""
        return self._json("GET", "/v1/admin/replays", "operator", query={"key": key, "limit": limit, "cursor": cursor})

    def get_any_replay(self, id: str) -> Replay:
        """Read a replay or a cancellation. GET /v1/admin/replays/{id}"""
        return self._json("GET", f"/v1/admin/replays/{escape(id)}", "operator")

    def list_all_logs(self, *, key: str | None = None, method: str | None = None, path: str | None = None, status: str | None = None, since: str | None = None, until: str | None = None, limit: int | None = None, cursor: str | None = None) -> LogList:
        """List the calls of API keys, newest first. GET /v1/admin/logs"""
        return self._json("GET", "/v1/admin/logs", "operator", query={"key": key, "method": method, "path": path, "status": status, "since": since, "until": until, "limit": limit, "cursor": cursor})

    def list_stats(self, *, key: str | None = None, interval: t.Literal["minute", "hour"] | None = None, callback: int | None = None, since: str | None = None, until: str | None = None) -> StatsList:
        """Count attempts and deliveries that ended, by minute or hour. GET /v1/admin/stats"""
        return self._json("GET", "/v1/admin/stats", "operator", query={"key": key, "interval": interval, "callback": callback, "since": since, "until": until})

    def list_nodes(self) -> NodeList:
        """List the processes on the store. GET /v1/admin/nodes"""
        return self._json("GET", "/v1/admin/nodes", "operator")

    def list_settings(self) -> SettingList:
        """List the options that the server which answers runs with. GET /v1/admin/settings"""
        return self._json("GET", "/v1/admin/settings", "operator")

    def export_settings(self, *, key: str | None = None) -> SettingsFile:
        """Read all API keys with their callbacks as a file, without secrets. GET /v1/admin/settings/export"""
        return self._json("GET", "/v1/admin/settings/export", "operator", query={"key": key})

    def apply_settings(self, body: SettingsApplication, *, idempotency_key: str | None = None) -> SettingsPlan:
        """Make API keys and their callbacks like a file, in one transaction, or say what would change. POST /v1/admin/settings/apply"""
        return self._json("POST", "/v1/admin/settings/apply", "operator", body=body, idempotency_key=idempotency_key)

    def get_session_of_key(self, key: str, session: str) -> Session:
        """Read a session of an API key. GET /v1/admin/keys/{key}/sessions/{session}"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}/sessions/{escape(session)}", "operator")

    def explain_event_of_key(self, key: str, id: EventID, *, callback: str | None = None) -> EventExplanation:
        """Explain what became of an event, for each callback. GET /v1/admin/keys/{key}/events/{id}/explain"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}/events/{escape(id)}/explain", "operator", query={"callback": callback})

    def explain_delivery_of_key(self, key: str, id: DeliveryID) -> Explanation:
        """Explain where a delivery is and what it waits for. GET /v1/admin/keys/{key}/deliveries/{id}/explain"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}/deliveries/{escape(id)}/explain", "operator")

    def retry_delivery_of_key(self, key: str, id: DeliveryID, *, idempotency_key: str | None = None) -> Delivery:
        """Send a delivery again, now. POST /v1/admin/keys/{key}/deliveries/{id}/retry"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/deliveries/{escape(id)}/retry", "operator", idempotency_key=idempotency_key)

    def cancel_deliveries_of_key(self, key: str, body: NewCancellation, *, idempotency_key: str | None = None) -> Replay | ReplayCount:
        """Cancel pending deliveries of an API key. POST /v1/admin/keys/{key}/deliveries/cancel"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/deliveries/cancel", "operator", body=body, idempotency_key=idempotency_key)

    def create_erase_of_key(self, key: str, body: NewErase, *, idempotency_key: str | None = None) -> Erase:
        """Erase what is stored of people in the sessions of an API key that have a value. POST /v1/admin/keys/{key}/erases"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/erases", "operator", body=body, idempotency_key=idempotency_key)

    def create_replay_of_key(self, key: str, body: NewReplay, *, idempotency_key: str | None = None) -> Replay | ReplayCount:
        """Send many deliveries of an API key again. POST /v1/admin/keys/{key}/replays"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/replays", "operator", body=body, idempotency_key=idempotency_key)

    def cancel_replay_of_key(self, key: str, id: str, *, idempotency_key: str | None = None) -> Replay:
        """End a replay. DELETE /v1/admin/keys/{key}/replays/{id}"""
        return self._json("DELETE", f"/v1/admin/keys/{escape(key)}/replays/{escape(id)}", "operator", idempotency_key=idempotency_key)

    def pause_replay_of_key(self, key: str, id: str, *, idempotency_key: str | None = None) -> Replay:
        """Pause a replay. POST /v1/admin/keys/{key}/replays/{id}/pause"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/replays/{escape(id)}/pause", "operator", idempotency_key=idempotency_key)

    def resume_replay_of_key(self, key: str, id: str, *, idempotency_key: str | None = None) -> Replay:
        """Resume a replay. POST /v1/admin/keys/{key}/replays/{id}/resume"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/replays/{escape(id)}/resume", "operator", idempotency_key=idempotency_key)

    def get_policy_of_key(self, key: str, event: CallbackInPath, *, name: str | None = None) -> Policy:
        """Read how deliveries to a callback are made. GET /v1/admin/keys/{key}/callbacks/{event}/policy"""
        return self._json("GET", f"/v1/admin/keys/{escape(key)}/callbacks/{escape(event)}/policy", "operator", query={"name": name})

    def pause_callback_of_key(self, key: str, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> Policy:
        """Pause a callback of an API key. POST /v1/admin/keys/{key}/callbacks/{event}/pause"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/callbacks/{escape(event)}/pause", "operator", query={"name": name}, idempotency_key=idempotency_key)

    def resume_callback_of_key(self, key: str, event: CallbackInPath, *, name: str | None = None, idempotency_key: str | None = None) -> Policy:
        """Resume a callback of an API key. POST /v1/admin/keys/{key}/callbacks/{event}/resume"""
        return self._json("POST", f"/v1/admin/keys/{escape(key)}/callbacks/{escape(event)}/resume", "operator", query={"name": name}, idempotency_key=idempotency_key)
