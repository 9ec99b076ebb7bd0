// Code generated from openapi.yaml by scripts/clients. DO NOT EDIT.

import { type CallOptions, escape, type ServerSentEvent, Transport } from './transport.js';

export interface Links {
  message: string;
  console: string;
  docs: string;
  callbacks: string;
  events: string;
  sessions: string;
  openapi: string;
  health: string;
  ready: string;
  metrics: string;
}

export interface Message {
  message: string;
}

export interface LogLevel {
  level: "debug" | "info" | "warn" | "error";
}

export interface Status {
  version: string;
  started_at: string;
  ready: boolean;
  /** Why it is not ready. */
  reason?: string;
  store: "sqlite" | "postgresql";
  log_level: string;
  /** Attempts. */
  in_flight: number;
  /** Deliveries; null: the store did not answer. */
  pending: number | null;
  /** Since when a delivery has been due, the oldest one of callbacks that are not paused; null: none is due. */
  oldest_due: string | null;
  /** null: the store did not answer. */
  incidents?: {
    open: number;
    /** Incidents of which a mail is to be sent. */
    mails_waiting: number;
    /** Incidents of which a mail could not be sent yet. */
    mails_failing: number;
  } | null;
  /** Why the archive (`serve --archive`) cannot be written, so that nothing old is removed; null: it can be. Of several nodes only the one that removes old events has it. */
  archive?: {
    failing_since: string;
    error: string;
  } | null;
  /** Callbacks that fail, are paused or are late, up to 20. */
  troubled: number;
  nodes: Array<{
    name: string;
    address: string;
    version: string;
    started_at: string;
    /** The node that answers. */
    self: boolean;
    shards: number;
    in_flight: number;
  }>;
  /** The last faults that were logged, up to 20, the last ones first. */
  errors: Array<{
    at: string;
    level: string;
    message: string;
    error?: string;
    /** How often it was logged. */
    count: number;
  }>;
}

export interface KeyedMessage {
  api_key: string;
  message: string;
}

/** The callback's payload is added to the members. */
export interface SMSProcessEvent {
  event: "SESSION:SMS_PROCESS";
  session_key: string;
  /** The number that the SMS went to. */
  phone: string;
  status: "success" | "error";
  /** What the provider said. */
  message: string;
}

/** The callback's payload is added to the members. */
export interface StageChangeEvent {
  event: "SESSION:STAGE_CHANGE";
  session_key: string;
  photo_url: string;
  /** ACCEPTED, or why the photo was rejected. */
  photo_status: string;
  photo_code: number;
  photo_label: string;
}

/** The callback's payload is added to the members. */
export interface StatusChangeEvent {
  event: "SESSION:STATUS_CHANGE";
  session_key: string;
  status: "IDLE" | "STARTED" | "PROCESS" | "QC_PASSED" | "CONFIRM" | "COMPLETE" | "EXPIRED" | "INVALID";
  timestamp: string;
  previous_status: "IDLE" | "STARTED" | "PROCESS" | "QC_PASSED" | "CONFIRM" | "COMPLETE" | "EXPIRED" | "INVALID";
}

/** The callback's payload is added to the members. */
export interface NoteInsertEvent {
  event: "SESSION:NOTE_INSERT";
  session_key: string;
  note: {
    title: string;
    description: string;
    inserted_by: string;
    inserted_at: string;
  };
}

/** The callback's payload is added to the members. */
export interface SMSRequestedEvent {
  event: "SESSION:SMS_REQUESTED";
  session_key: string;
  phone: string;
  name: string;
  /** The page on which the inspection is made. */
  link: string;
}

/** A notice of an incident. Members that do not apply are absent. The callback's payload is added to the members. */
export interface NoticeEvent {
  event: "CALLBACK:FAILING" | "CALLBACK:PAUSED" | "CALLBACK:RECOVERED" | "DELIVERY:FAILED" | "BACKLOG:OLD" | "CERTIFICATE:ENDING" | "SILENCE" | "DISK:LOW" | "NODE:LOST" | "ARCHIVE:FAILING";
  /** The same for all notices about one callback, volume or node; so they arrive in order. */
  session_key: string;
  incident: string;
  state: "open" | "closed";
  /** A sentence for people. */
  text: string;
  opened_at: string;
  closed_at: string | null;
  /** How often it happened. */
  count: number;
  account?: string;
  key_name?: string;
  /** The ID of the callback, when it is about one. */
  callback?: number;
  callback_event?: string;
  callback_name?: string;
  /** The origin of the URL. */
  origin?: string;
  since?: string;
  /** Of the last answer. */
  status?: number;
  /** Of the last attempt that failed. */
  fault?: string;
  pause_reason?: string;
  pending?: number;
  ends_at?: string;
  /** It is the client certificate of callbackd. */
  own?: boolean;
  expect?: string;
  free_bytes?: number;
  node?: string;
  /** The incident ended because the callback was deleted. */
  deleted?: boolean;
}

export interface EventKind {
  type: EventType;
  /** session: published, or fired by a session. notice: by callbackd, about itself. own: a type of the platform's own, published. */
  group: "session" | "notice" | "own";
  description: string;
  /** JSON Schema 2020-12 of the body that a receiver gets, without the payload of the callback. */
  schema: Record<string, unknown>;
  /** The whole body of a sample. */
  sample: Record<string, unknown>;
}

export interface EventKindList {
  data: Array<EventKind>;
}

/** PAVE's five: SESSION:SMS_PROCESS, SESSION:STAGE_CHANGE, SESSION:STATUS_CHANGE, SESSION:COMPLETE and SESSION:NOTE_INSERT. callbackd's own SESSION:SMS_REQUESTED. The notices about callbackd itself: CALLBACK:FAILING, CALLBACK:PAUSED, CALLBACK:RECOVERED, DELIVERY:FAILED, BACKLOG:OLD, CERTIFICATE:ENDING, SILENCE, DISK:LOW, NODE:LOST and ARCHIVE:FAILING. And the platform's own types (`serve --event-types`), such as VEHICLE:ARRIVED. `GET /v1/event-types` lists all of them. */
export type EventType = string;

export type IncidentID = string;

export interface Incident {
  id: IncidentID;
  /** In the management API only, and not of an incident of the whole server. */
  api_key?: string;
  /** The type of its last notice, not counting that of the end. */
  event: string;
  state: "open" | "closed";
  /** One sentence for people. */
  text: string;
  opened_at: string;
  /** Since when the condition has been gone; null while it lasts. */
  gone_at: string | null;
  closed_at: string | null;
  /** How often the condition came, or how many deliveries were given up. */
  count: number;
  /** Of the API key; only in the data of notices, and in the management API. */
  account?: string;
  /** Of the API key; only in the data of notices, and in the management API. */
  key_name?: string;
  /** The callback's ID. */
  callback?: number;
  callback_event?: string;
  callback_name?: string;
  /** Scheme, host and port of the callback's URL. */
  origin?: string;
  /** When the condition began. */
  since?: string;
  /** Of the last attempt that failed. */
  status?: number;
  /** Of the last attempt that failed. */
  fault?: string;
  pause_reason?: "gone" | "receiver" | "no_success";
  /** Deliveries that waited when the incident was opened. */
  pending?: number;
  /** When the certificate expires. */
  ends_at?: string;
  /** It is the client certificate of the callback. */
  own?: boolean;
  /** The policy's expect. */
  expect?: string;
  /** Of the volume of the data directory. */
  free_bytes?: number;
  /** The name of the node. */
  node?: string;
  /** The incident ended because the callback was deleted. */
  deleted?: boolean;
  acknowledged_at: string | null;
  acknowledged_by?: string;
  muted_until: string | null;
}

export interface IncidentList {
  data: Array<Incident>;
  next: string | null;
}

export interface Mute {
  /** How long from now: 0s to 30d. 0s ends the mute. */
  for: string;
}

export type State = "pending" | "delivered" | "failed" | "canceled" | "expired";

export type EventID = string;

/** The event's ID and the callback's ID. */
export type DeliveryID = string;

/** Such as "30s", "2h" or "1d12h"; a number counts as seconds. */
export type Duration = string;

/** A duration, or an empty text for none. */
export type DurationOrNone = string;

export type DurationText = string;

export interface CallbackUpdate {
  /** When given, it must be the event of the path. */
  event?: EventType;
  /** Only of a callback for one session. Without this member it gets callbackd's events of sessions, and none of the platform's own types. */
  events?: Array<EventType>;
  /** Absolute, http or https, without a user, password or fragment. The limit is in bytes. It is called as it is given: what is escaped stays so, and only what RFC 3986 does not allow in a path or query is escaped. Hosts are read by WHATWG's rules. */
  url: string;
  /** POST, PUT, PATCH, GET or DELETE, in upper or lower case; default POST. */
  method?: string;
  /** Headers to add, or a string that holds such an object. Names and values together are at most 8192 bytes. Those that HTTP or callbackd must own are refused: Host, Content-Length, Transfer-Encoding, Connection and other hop-by-hop headers, Accept-Encoding, Expect, webhook-*, callback-*. */
  headers?: Record<string, string>;
  /** Attributes to send along with the event's data, or a string that holds such an object. At most 16384 bytes. */
  payload?: Record<string, unknown>;
  /** The name of the callback among those of the key for the event; default `default`. */
  name?: string;
  /** How to treat the receiver. An unknown member or a wrong value is a 400 that names it. */
  policy?: NewPolicy;
  /** Only when a callback is created; a PUT with it is a 400. */
  secret?: NewSecret;
  /** As in policy. */
  timeout?: Duration;
  /** As in policy. */
  retry?: Array<Duration>;
  /** As in policy. */
  order?: Duration;
  /** As in policy. */
  rate?: number;
  /** As in policy. */
  concurrency?: number;
}

export interface NewPolicy {
  /** The timeout of a whole attempt, from DNS to the last byte; 1s to 1m, default 15s. When very many attempts would time out together, some have up to a tenth more. */
  timeout?: Duration;
  /** Delays before attempts 1, 2, …; the first is 0, each at most 168h. Default 0, 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h. */
  retry?: Array<Duration>;
  /** How long a failed delivery blocks later ones of its session; 0 to 24h, default 5m. */
  order?: Duration;
  /** Attempts a second, from 0.001. The default is 0, which means no limit. */
  rate?: number;
  /** Largest number of attempts in flight; default 32. */
  concurrency?: number;
  /** Whether a connection to the receiver serves more than one request; default true. With false each request asks the receiver to close it (`Connection: close`), as receivers need that serve one connection at a time. */
  keep_alive?: boolean;
  /** Whether the headers and the body of the receiver's answers are stored; default true. With false only the status, the size, the times and the fault of an attempt are, for receivers that answer with personal data. A change applies to new attempts. */
  store_response?: boolean;
  /** How requests are signed, with HMAC-SHA256: `standard` is Standard Webhooks (the default); `github` is `X-Hub-Signature-256`, as GitHub signs; `hmac-hex:X-Signature` puts the digest of the body, in hex, into the header X-Signature, or any other. The last two use the text of the newest secret as the key; for GET and DELETE they sign the query. One scheme, or an array of them. */
  signing?: Array<SigningScheme>;
  /** How long after it may be sent a delivery expires, from 1s to 30d: then no attempt starts any more, and it ends as `expired`. It counts from the event's `deliver_at`, and without one from its acceptance. When the event has an `expires_at`, the earlier one counts. A change applies to events that are accepted from then on. The default is never; so is an empty text. */
  ttl?: DurationOrNone;
  /** How soon after the last event for the callback the next one is expected, from 1m to 30d: a longer silence is an incident and fires `SILENCE`. It counts from when it was set at the earliest. In a callback for `SILENCE` it is about all events of the API key. The default is whenever; so is an empty text. */
  expect?: DurationOrNone;
  /** The callbacks of the API key with the same group get the events of a session in the order of their sequence numbers, across event types. `auto` groups the callbacks at one origin. An empty text is no group. */
  order_group?: string;
  /** Which events go to the callback; the default is all. Judged when an event is accepted. `GET /v1/events/{id}/explain` names the term that failed, and a replay can send the event all the same. */
  filter?: Filter;
  /** What the body of a notice is like. `json` (the default) is as for other events. `slack` is `{"text": …}` as an incoming webhook of Slack takes it, and `teams` is a message with an Adaptive Card, as a workflow of Microsoft Teams takes it. Only callbacks for notices, such as `CALLBACK:FAILING`, may have another format than `json`, and no `fields` then. */
  format?: "json" | "slack" | "teams";
  /** What of an event's data is sent; the default is all. It is applied before the request is signed. `event`, `session_key` and the extra payload are always sent. */
  fields?: Fields;
  /** How callbackd signs in at the receiver. A PUT without it ends that. When it changes, the old credentials are kept for 24 hours, see /v1/callbacks/{event}/auth/rotate. */
  auth?: Auth;
}

export interface FilterTrial {
  /** Only events of this type. */
  event?: EventType;
  filter?: Filter;
  fields?: Fields;
}

export interface FilterTest {
  api_key: string;
  /** How many of the events match. */
  matching: number;
  data: Array<{
    id: string;
    event: EventType;
    session_key: string;
    accepted_at: string;
    matches: boolean;
    /** The term that did not hold; empty when the event matches. */
    failed: string;
    /** What is sent of the data. */
    data: Record<string, unknown>;
  }>;
}

/** Either `{"only": [paths]}` or `{"except": [paths]}`. A path has names of members of the data and numbers of array elements, separated by dots, such as `vehicle.vin`; it does not begin with `data.`. In an array, `*` stands for all elements: `photos.*.url`. At most 8 KiB and 100 paths, 10 of them with `*`. */
export interface Fields {
  only?: Array<string>;
  except?: Array<string>;
}

/** Operators by path, such as `{"data.grade": {"lt": 3}}`. All of them must hold. `all` and `any` have an array of filters, `not` has one. Paths are `data.…` (names of members and numbers of array elements, separated by dots), `session.status`, `session.reference.…` and `session.options.client_id`. Operators are `eq`, `ne`, `in`, `exists`, `prefix`, `lt` and `gt`; numbers are compared by value. Where there is nothing at a path, only `ne` and `exists: false` hold. At most 8 KiB, 32 operators, 8 filters within each other, 255 bytes and 16 names of a path, 100 values of `in`; and 400 operators in the different filters of all callbacks of an API key for one event. */
export type Filter = Record<string, unknown>;

/** At most one of `oauth2`, `basic` and `bearer`, which make the header Authorization, and `tls`, which may stand beside it. Answers have `[redacted]` in place of secrets; a PUT that sends it back keeps the stored value. */
export interface Auth {
  oauth2?: OAuth2;
  basic?: BasicAuth;
  bearer?: BearerAuth;
  tls?: ClientTLS;
}

/** Access tokens of the client credentials grant (RFC 6749, section 4.4). */
export interface OAuth2 {
  /** The token endpoint. The rules for a callback's url apply. */
  token_url: string;
  client_id: string;
  client_secret: string;
  /** Several are separated by spaces. */
  scope?: string;
  /** A parameter that some providers need. */
  audience?: string;
  /** Where the request for a token has the client's id and secret: in the header Authorization (the default) or among the parameters. */
  style?: "basic" | "body";
}

export interface BasicAuth {
  /** Without colons. */
  username: string;
  password: string;
}

export interface BearerAuth {
  token: string;
}

/** For https only. All texts but server_name are PEM. */
export interface ClientTLS {
  /** The client certificate, and the intermediate ones behind it. It is shown as it is, so a private key in it is refused. */
  cert?: string;
  /** The private key of cert, without a passphrase. */
  key?: string;
  /** The authorities to trust for this receiver, instead of those of the server's machine. */
  ca?: string;
  /** The name in the receiver's certificate, when it is not the host of the url. */
  server_name?: string;
}

export interface AuthRotation {
  /** How long the old credentials stay valid; 0 to 720h, default 24h. */
  keep?: Duration;
  oauth2?: OAuth2;
  basic?: BasicAuth;
  bearer?: BearerAuth;
  tls?: ClientTLS;
}

/** What came back. A part is null when there is nothing to try. */
export interface AuthTest {
  ok: boolean;
  /** The answer of the token endpoint, without the token. */
  token: {
    /** 0 when there was no answer. */
    status: number;
    error: string;
    token_type: string;
    /** Seconds; 0 when the answer did not say. */
    expires_in: number;
    scope: string;
  } | null;
  /** The TLS handshake with the receiver. */
  tls: {
    error: string;
    /** When the receiver's certificate expires. */
    cert_ends: string | null;
  } | null;
}

export type CallbackInPath = string;

/** A callback for one session: it gets events of that session only. It lives as long as the session or an event of it is stored. The same url for the same events is given to a session once; when it is given again, its other members are replaced. */
export interface SessionCallback {
  url: string;
  method?: "POST" | "PUT" | "PATCH" | "GET" | "DELETE";
  headers?: Headers;
  payload?: Record<string, unknown>;
  /** The events that it gets. Without this member these are callbackd's events of sessions, and none of the platform's own types. No notices. */
  events?: Array<EventType>;
  policy?: NewPolicy;
}

/** What became of the callback that a call gave a session. */
export interface GivenCallback {
  url: string;
  method: "POST" | "PUT" | "PATCH" | "GET" | "DELETE";
  headers: Headers;
  payload: Record<string, unknown>;
  /** It names the callback in paths, such as GET /v1/callbacks/{event}. */
  callback_id: number;
  session_key: string;
  events: Array<EventType>;
  /** The signing secret, `whsec_…`. Only in the answer to the call that made the callback. */
  secret?: string;
}

export type SigningScheme = string;

/** The signing secret that the receiver knows already, from another sender. Without it, the server makes one. For the signature `standard` it is `whsec_` and the base64 of 24 to 64 bytes; for the others any text. */
export type NewSecret = string;

export type NewCallback = CallbackUpdate & Required<Pick<CallbackUpdate, "event">>;

export type Headers = Record<string, string>;

export interface Callback {
  api_key: string;
  /** Not of a callback for one session. */
  event?: EventType;
  /** As it was given. */
  url: string;
  method: "POST" | "PUT" | "PATCH" | "GET" | "DELETE";
  headers: Headers;
  payload: Record<string, unknown>;
  /** Not for the default one. */
  name?: string;
  /** Only of a callback for one session, as session_key and events. */
  callback_id?: number;
  session_key?: string;
  events?: Array<EventType>;
  /** Only of a callback for one session, in the answer to the call that made it or moved it to another host. */
  secret?: string;
}

export interface CallbackSetting {
  /** Not of a callback for one session. */
  event?: EventType;
  url: string;
  method: "POST" | "PUT" | "PATCH" | "GET" | "DELETE";
  headers: Headers;
  payload: Record<string, unknown>;
  /** Not for the default one. */
  name?: string;
  /** Only of a callback for one session, as session_key and events. */
  callback_id?: number;
  session_key?: string;
  events?: Array<EventType>;
  /** Only where a call gave a session the callback: see GivenCallback. */
  secret?: string;
}

export interface CallbackList {
  api_key: string;
  data: Array<CallbackSetting>;
}

export interface CallbackOne {
  api_key: string;
  data: CallbackSetting;
}

export interface CallbackStats {
  api_key: string;
  event: EventType;
  name: string;
  /** The callback's ID. */
  callback: number;
  /** An attempt failed, and none has succeeded since. */
  failing: boolean;
  failing_since: string | null;
  paused: boolean;
  pause_reason: string;
  /** Pending deliveries, counted up to 10,000, the oldest events first. */
  pending: number;
  /** There may be more pending deliveries than were counted. */
  pending_more: boolean;
  /** Deliveries among the counted ones that have been waiting for more than a minute. */
  overdue: number;
  /** Since when the oldest of the counted deliveries has been waiting; null when nothing is pending. */
  waiting_since: string | null;
  last_success: string | null;
  last_failure: string | null;
  /** The fault of the last failure; empty when there is none. */
  last_fault: string;
  /** The status of the last failure; 0 without an answer. */
  last_status: number;
  /** When the receiver's latest certificate ends; null when it is not known. */
  certificate_ends: string | null;
  last_hour: StatsWindow;
  last_day: StatsWindow;
  last_week: StatsWindow;
}

/** Attempts that failed, by kind; kinds that did not happen are left out. An answer other than 2xx is counted by the class of its status. What versions before this member counted in `faults` is missing. */
export type ByFault = Record<string, number>;

export interface StatsWindow {
  /** When the first of the counted minutes or hours began. */
  since: string;
  attempts: number;
  /** Attempts that succeeded. */
  succeeded: number;
  /** Attempts that failed, for any reason. */
  faults: number;
  by_fault: ByFault;
  /** Attempts of resends and replays. */
  repeats: number;
  /** Deliveries that ended so. */
  delivered: number;
  /** Deliveries that ended so. */
  failed: number;
  /** Deliveries that ended so. It is less than 0 when a cancellation of an earlier time was replaced by an outcome. */
  canceled: number;
  /** Deliveries that ended so. It may be less than 0 for the same reason. */
  expired: number;
  /** Time from acceptance to success in milliseconds, without resends and replays; at most √2 times the true value. Null when nothing was delivered. */
  latency_ms: {
    p50: number;
    p95: number;
    p99: number;
  } | null;
}

export interface Policy {
  api_key: string;
  event?: EventType;
  name: string;
  /** The callback's ID. */
  callback: number;
  timeout: DurationText;
  retry: Array<DurationText>;
  order: DurationText;
  rate: number;
  concurrency: number;
  /** Whether a connection is used for more than one request. */
  keep_alive: boolean;
  /** Whether headers and bodies of answers are stored. */
  store_response: boolean;
  signing: Array<SigningScheme>;
  /** How long after it may be sent a delivery expires; empty for never. */
  ttl: string;
  /** How soon after the last event the next one is expected; empty for whenever. */
  expect: string;
  /** `auto`, a name, or empty when there is none. */
  order_group: string;
  /** Which events go to the callback; null for all. */
  filter: Record<string, unknown> | null;
  /** What of the data is sent; null for all. */
  fields: Record<string, unknown> | null;
  /** What the body of a notice is like. */
  format: "json" | "slack" | "teams";
  /** How callbackd signs in, with its secrets masked; without members when it does not. */
  auth: Auth;
  /** Until when the credentials before are tried when the present ones are refused. */
  old_auth_ends: string | null;
  paused: boolean;
  pause_reason: "" | "user" | "gone" | "receiver" | "no_success";
  paused_at: string | null;
  /** Until when the receiver asked, with Retry-After, for nothing to be sent to it. */
  closed_until: string | null;
}

export interface Secret {
  api_key: string;
  event?: EventType;
  /** `whsec_…`, or the text that was given. */
  secret: string;
}

export interface Rotation {
  /** How long the previous secrets stay valid; 0 to 720h, default 24h. */
  keep?: Duration;
  secret?: NewSecret;
}

export interface NewEvent {
  event: EventType;
  session_key: string;
  /** At most 262144 bytes, which are stored and sent unchanged. Default {}. */
  data?: Record<string, unknown>;
  /** The idempotency key of this event. It is not the event's id. */
  id?: string;
  /** Before this time nothing is sent. Then the event takes its turn in its session. It may be 30 days in the future, must be before `expires_at`, and a time in the past means now. RFC 3339 with an offset, to the millisecond. */
  deliver_at?: string;
  /** From this time on no attempt starts, and a delivery that was not delivered ends as `expired`. RFC 3339 with an offset, to the millisecond. */
  expires_at?: string;
  /** Given to the session before the event is accepted. */
  callback?: SessionCallback;
  /** True marks the event as a test. It goes where a real event goes: to the same callbacks, by filter and in order. It is tried once, expires after ten minutes, is in no replay, and changes neither health nor notices. A receiver tells it by the header `callback-test` and the member `test`. */
  test?: boolean;
}

export type NewEvents = Array<NewEvent>;

/** One event, or an array of them. */
export type PublishBody = NewEvent | NewEvents;

export interface Accepted {
  id: EventID;
  event: EventType;
  session_key: string;
  /** Within the session. */
  sequence: number;
  /** The number of callbacks that get the event. */
  deliveries: number;
  callback?: GivenCallback;
  /** What in the data does not fit the schema of the event's type, with the first places as JSON Pointers. Left out when all fits, and without `serve --validate warn`. */
  warning?: string;
}

export type AcceptedEvents = Array<Accepted>;

/** An array if the body was one. */
export type PublishAnswer = Accepted | AcceptedEvents;

export interface Event {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  id: EventID;
  event: EventType;
  session_key: string;
  sequence: number;
  accepted_at: string;
  /** Before it nothing is sent. It is left out when the event has none. */
  deliver_at?: string;
  /** From it on no attempt starts. It is left out when the event has none. */
  expires_at?: string;
  test: boolean;
  data: Record<string, unknown>;
  deliveries: Array<DeliveryID>;
  /** The callbacks whose filter did not match when the event was accepted. A replay may have sent it to them since. */
  withheld: Array<{
    callback: number;
    /** The first term of the filter that did not match; empty when the event was erased. */
    term: string;
  }>;
  /** When an erasure removed the data; data is then empty. Left out before. */
  erased_at?: string;
  /** The trace that the event belongs to, from the header traceparent of the call that made it. Left out without one. */
  trace_id?: string;
}

export interface EventList {
  data: Array<Event>;
  /** The cursor of the next page. */
  next: string | null;
}

export interface Delivery {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  id: DeliveryID;
  event_id: EventID;
  event: EventType;
  session_key: string;
  sequence: number;
  callback: number;
  callback_name: string;
  state: State;
  attempts: number;
  accepted_at: string;
  /** Null: at once, or ended. */
  next_attempt_at: string | null;
  /** Of a pending delivery: from when on no attempt starts, by its event or the ttl of its callback. It is left out when it does not expire. */
  expires_at?: string;
  /** A person resent it and it is pending. */
  repeated: boolean;
  test: boolean;
  /** Up to 50 of the newest attempts, oldest first. Lists leave them out. */
  history?: Array<Attempt>;
  /** There are attempts before those of history: read them with ?before= and this number. */
  earlier?: number;
  cancellation?: Cancellation;
  expiry?: Expiry;
}

/** When the delivery expired, and why. When it expired during an attempt, the attempt says so. Lists do not have it. */
export interface Expiry {
  /** When it ended: within about a second of its expiry, or when callbackd ran again. */
  at: string;
  /** Such as: it expired at 2026-01-02T15:04:05Z. */
  why: string;
}

/** When the delivery was canceled, and why. When it was canceled during an attempt, the attempt says so. Lists do not have it. */
export interface Cancellation {
  at: string;
  /** Such as: canceled by API key 3: wrong receiver. */
  why: string;
}

export interface DeliveryList {
  data: Array<Delivery>;
  /** The cursor of the next page. */
  next: string | null;
}

export interface Attempt {
  number: number;
  /** The delivery had ended before, and a person resent it. */
  repeat: boolean;
  started_at: string;
  /** The address of the connection, as ip:port; empty without one. */
  address: string;
  connection_reused: boolean;
  timings_ms: Timings;
  request: Request;
  response: Response;
  fault: "" | "status" | "refused" | "dns" | "connect" | "tls" | "timeout" | "protocol" | "proxy" | "local" | "shutdown" | "query" | "auth";
  /** What went wrong. After a success it can say that the body of the answer is incomplete. */
  error: string;
  state: State;
  /** The reason for the state and for the time of the next attempt. */
  why: string;
  next_attempt_at: string | null;
  /** What is not shown: erased is the request, and the answer except its status and size; response_not_stored is the answer except its status and size, by policy.store_response. Left out when everything is shown. */
  capture?: "erased" | "response_not_stored";
}

/** Milliseconds; 0 for what did not happen. */
export interface Timings {
  dns: number;
  connect: number;
  tls: number;
  first_byte: number;
  total: number;
}

/** The request of the attempt. The header names are in the spelling and order of the wire. Host, Connection and Content-Length are left out. The values of the callback's own headers and the signatures are redacted. */
export interface Request {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
  /** The body is left out here, because it is longer than 4 KiB and the same as that of this attempt. */
  body_of?: number;
}

/** The answer as received, with the first 16384 bytes of its body. Null without an answer. */
export type Response = {
  status: number;
  /** The header lines. */
  headers: string;
  body: string;
  body_encoding: "utf-8" | "base64";
  /** Bytes read. */
  size: number;
  /** The body was longer than what is stored. */
  truncated: boolean;
  /** The target of a redirect, which was not followed. */
  location: string;
  retry_after: string;
} | null;

/** A time in seconds, UTC; null: not yet. */
export type Stamp = string | null;

export type SessionStatus = "IDLE" | "STARTED" | "PROCESS" | "QC_PASSED" | "CONFIRM" | "COMPLETE" | "EXPIRED" | "INVALID";

/** vehicle is present once something is known about it. */
export interface Session {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  session_key: string;
  theme: "LITE" | "PRO" | "CAPT";
  /** The session is in use or completed. It is false when the session is EXPIRED or INVALID. */
  active: boolean;
  status: SessionStatus;
  redirect_url: string | null;
  inspect_started_at: Stamp;
  inspect_ended_at: Stamp;
  created_at: Stamp;
  updated_at: Stamp;
  language: string;
  /** The link that the user opens, from the template of the key or the server; null without one. */
  capture_url: string | null;
  options: SessionOptions;
  source: SessionSource;
  vehicle?: Vehicle;
  callback?: GivenCallback;
  /** When an erasure removed what the session had of people and of the vehicle. Left out before. */
  erased_at?: string;
}

export interface SessionOptions {
  client_id: string | null;
  sms: SessionSMS;
  contact: SessionContact;
  /** Any JSON, as it was given. It is null without one, and from 24 hours after completion on. */
  reference: unknown;
}

export interface SessionSMS {
  to: string | null;
  to_name: string | null;
  from: string | null;
  by: string | null;
}

export interface SessionContact {
  first_name: string | null;
  last_name: string | null;
}

export interface SessionSource {
  type: "api" | "dashboard" | "shareable_link" | "embedded_widget";
  properties: Record<string, unknown>;
}

export interface Vehicle {
  vehicle_id: number | null;
  vin: string | null;
  year: number | null;
  make: string | null;
  model: string | null;
  body_type: string | null;
  trim: string | null;
  transmission: string | null;
  drivetrain: string | null;
  engine_type: string | null;
  fuel_type: string | null;
  ext_col: string | null;
  int_col: string | null;
  odom_reading: string | null;
  odom_unit: string | null;
}

export interface NewVehicle {
  vehicle_id?: string;
  /** 17 letters and digits. */
  vin?: string;
  year?: string;
  make?: string;
  model?: string;
  body_type?: string;
  trim?: string;
  transmission?: string;
  drivetrain?: string;
  engine_type?: string;
  fuel_type?: string;
  ext_col?: string;
  int_col?: string;
  odom_reading?: string;
  odom_unit?: string;
}

export interface NewSMS {
  to?: string;
  to_name?: string;
  from?: string;
  by?: string;
}

export interface NewContact {
  first_name?: string;
  last_name?: string;
}

export interface NewOptions {
  client_id?: string;
  /** Any JSON, at most 16384 bytes; it comes back in the session until 24 hours after completion. */
  reference?: unknown;
  sms?: NewSMS;
  contact?: NewContact;
}

/** The members of vehicle, sms, options and contact may also be at the top level. Unknown members are ignored. An empty array counts as an empty object, null or no body counts as {}, and a string may contain an object. */
export interface NewSession {
  /** LITE, PRO or CAPT; default PRO. */
  theme?: string;
  /** A language code, kept as it is given; default EN. */
  language?: string;
  /** Absolute: http, https, or the scheme of an app; not javascript, data, vbscript or file. */
  redirect_url?: string;
  client_id?: string;
  /** Any JSON, at most 16384 bytes; it comes back in the session until 24 hours after completion. */
  reference?: unknown;
  /** type, which is api, dashboard, shareable_link or embedded_widget, and free properties. Anything but an object is ignored. */
  source?: Record<string, unknown>;
  vehicle?: NewVehicle;
  sms?: NewSMS;
  contact?: NewContact;
  options?: NewOptions;
  /** The same members once more. */
  session?: Record<string, unknown>;
  callback?: SessionCallback;
  [member: string]: unknown;
}

export interface SessionUpdate {
  /** Absolute: http, https, or the scheme of an app; not javascript, data, vbscript or file. */
  redirect_url?: string;
  /** A language code, kept as it is given; default EN. */
  language?: string;
  /** LITE, PRO or CAPT; default PRO. */
  theme?: string;
  sms?: NewSMS;
}

export interface Photo {
  photo_code: number;
  photo_label: string;
  /** Empty for a typed value. */
  url: string;
  approved: boolean;
  /** ACCEPTED, or REJECTED: and the reason. */
  approved_message: string;
  created_at: Stamp;
  updated_at: Stamp;
}

export interface NewPhoto {
  /** 1 VIN, 2 Interior, 3 Cluster, 4 Left, 10 Front_Left, 5 Front, 11 Front_Right, 7 Right, 12 Rear_Right, 8 Rear, 13 Rear_Left, 9 Windshield, 6 Tires. */
  photo_code: number;
  url?: string;
  approved?: boolean;
  /** Why it was rejected. */
  approved_message?: string;
  /** Instead of url, the typed value of VIN or Cluster. */
  typed?: string;
}

export interface Note {
  title: string;
  description: string;
  inserted_by: string;
  inserted_at: Stamp;
}

/** title or description is needed. */
export interface NewNote {
  title?: string;
  description?: string;
  inserted_by?: string;
  /** The same members once more. */
  note?: Record<string, unknown>;
}

export interface SMSReport {
  /** success or error. */
  status: string;
  /** Default: the session's. */
  phone?: string;
  message?: string;
}

/** Any object of at most 163840 bytes. */
export interface NewResults {
  vehicle?: NewVehicle;
  /** Members that are added to the session, such as user_account. */
  session?: Record<string, unknown>;
  [member: string]: unknown;
}

export interface Invalidation {
  reason: string;
}

/** What COMPLETE delivers, without the callback's extra members. A member that the platform did not send is null. Other members that it sent follow. */
export interface SessionResults {
  event: "SESSION:COMPLETE";
  session_key: string;
  session: CompletedSession;
  /** The photos of GET …/photos, unless the platform sent others. */
  photos: Array<Record<string, unknown>>;
  vehicle: CompletedVehicle;
  /** As the platform put it. */
  location: unknown;
  /** As the platform put it. */
  disclosures: unknown;
  /** As the platform put it. */
  announcements: unknown;
  /** As the platform sent it, such as {damages_overview, detected_damages, detected_status, grading, annotated_images, case_details}. */
  inspection: unknown;
  /** A URL, as the platform sent it. */
  condition_report: unknown;
  /** A URL, as the platform sent it. */
  landing_page: unknown;
  [member: string]: unknown;
}

/** The platform may have added members with the object `session` of its results. */
export interface CompletedSession {
  session_key: string;
  theme: "LITE" | "PRO" | "CAPT";
  /** It is in use or completed. */
  active: boolean;
  status: SessionStatus;
  redirect_url: string | null;
  inspect_started_at: Stamp;
  inspect_ended_at: Stamp;
  created_at: Stamp;
  updated_at: Stamp;
  language: string;
  options: SessionOptions;
  user_account: UserAccount;
  source: SessionSource;
  /** Seconds from start to QC_PASSED. */
  capture_duration: number;
  /** Seconds from start to completion. */
  inspect_duration: number;
  vehicle: CompletedVehicle;
  [member: string]: unknown;
}

/** The user of the session. Unknown members are null. */
export interface UserAccount {
  username: string | null;
  first_name: string | null;
  last_name: string | null;
  email: string | null;
  phone: string | null;
  [member: string]: unknown;
}

/** The vehicle, with the members that the platform added. In the session it also has session_key and vrm. */
export interface CompletedVehicle {
  /** A number, or what the platform sent; null when unknown. */
  id: unknown;
  /** 17 letters and digits. */
  vin: unknown;
  /** A number, or a text as the platform sent it. */
  year: unknown;
  make: unknown;
  model: unknown;
  body_type: unknown;
  trim: unknown;
  transmission: unknown;
  drivetrain: unknown;
  engine_type: unknown;
  fuel_type: unknown;
  ext_col: unknown;
  int_col: unknown;
  odom_reading: unknown;
  odom_unit: unknown;
  [member: string]: unknown;
}

export interface SessionChange {
  session_key: string;
  status: SessionStatus;
  events: Array<Accepted>;
}

export interface SessionList {
  data: Array<Session>;
  /** The cursor of the next page. */
  next: string | null;
}

export interface SessionEvent {
  id: EventID;
  event: EventType;
  sequence: number;
  accepted_at: string;
  data: Record<string, unknown>;
  deliveries: Array<SessionDelivery>;
  /** When an erasure removed the data; data is then empty. Left out before. */
  erased_at?: string;
}

export interface SessionDelivery {
  id: DeliveryID;
  callback: number;
  callback_name: string;
  state: State;
  attempts: number;
  /** Null: at once, or ended. */
  next_attempt_at: string | null;
}

export interface SessionStory {
  session_key: string;
  data: Array<SessionEvent>;
  /** The cursor of the next page. */
  next: string | null;
}

export interface Resent {
  status: "success";
  message: string;
  session_key: string;
  phone: string;
  session_age_days: number;
  days_remaining: number;
}

export interface NotResent {
  status: "error";
  message: string;
  session_key: string;
  session_status?: SessionStatus;
}

export type ReplayID = string;

/** A callback's ID, as a text or a number, or its name, together with an event. */
export type CallbackRef = string;

export interface NewReplay {
  states?: Array<State>;
  event?: EventType;
  callback?: CallbackRef;
  session_key?: string;
  /** Event accepted at or after this time, in any form that API-Timestamp may have. */
  since?: string;
  /** Event accepted before this time. */
  until?: string;
  /** Send to this callback instead. */
  target?: CallbackRef;
  /** Deliveries a second; 0 means no limit. */
  rate?: number;
  /** Send only events that were not delivered to the callback they would go to, and that are not pending for it. Without target that is every callback of the event, and events from before it was created are missing too; states may not be given. */
  missing?: boolean;
  /** Count only. */
  dry_run?: boolean;
}

export interface NewCancellation {
  event?: EventType;
  callback?: CallbackRef;
  session_key?: string;
  /** Event accepted at or after this time, in any form that API-Timestamp may have. */
  since?: string;
  /** Event accepted before this time. */
  until?: string;
  /** Deliveries a second; 0 means no limit. */
  rate?: number;
  /** Why, in one line of at most 500 bytes. It is shown with each delivery. */
  reason?: string;
  /** Count only. */
  dry_run?: boolean;
}

export interface ReplayCount {
  total: number;
}

export interface Replay {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  id: ReplayID;
  /** What it does with its set. */
  action: "resend" | "cancel";
  state: "running" | "paused" | "done" | "canceled";
  /** Empty: any. */
  states: Array<State>;
  /** Empty: any. */
  event: string;
  /** 0: any. */
  callback: number;
  /** Empty: any. */
  session_key: string;
  since: string | null;
  until: string | null;
  /** 0 when the replay has no target. */
  target: number;
  /** Only events that were not delivered. */
  missing: boolean;
  /** Who cancels, such as API key 3; empty when it resends. */
  by: string;
  /** Why it cancels. */
  reason: string;
  rate: number;
  created_at: string;
  ended_at: string | null;
  /** The size of the set. */
  total: number;
  /** Deliveries of the set that were made due, canceled or skipped. */
  due: number;
  /** Deliveries that were not made due: they were waiting already, or can no longer be sent. Of a cancellation, those that were not pending any more. */
  skipped: number;
  /** Deliveries that did not exist before. */
  created: number;
  /** Deliveries that were made due and have not ended. */
  pending: number;
  delivered: number;
  failed: number;
  canceled: number;
}

export interface ReplayList {
  data: Array<Replay>;
  next: string | null;
}

export type EraseID = string;

/** Exactly one of session_key, vin, phone and reference. */
export interface NewErase {
  session_key?: string;
  vin?: string;
  phone?: string;
  /** A text or a number of the reference. */
  reference?: string;
  /** Count what would be erased, and erase nothing. */
  dry_run?: boolean;
}

export interface Erase {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  group?: EraseGroupID;
  id: EraseID;
  by: "session_key" | "vin" | "phone" | "reference";
  /** The session key, or a keyed hash of the value that was looked for. Equal values of a key have equal hashes while the primary sealing key is the same. */
  subject: string;
  dry_run: boolean;
  state: "running" | "done";
  phase: "find_sessions" | "find_events" | "count" | "erase" | "callbacks" | "answers" | "logs" | "replays" | "overwrite" | "done";
  created_at: string;
  ended_at: string | null;
  counts: EraseCounts;
  /** Canonical JSON: members in alphabetical order, without spaces. Null before the end. */
  receipt: Record<string, unknown> | null;
  /** SHA-256 of the bytes of receipt, in hexadecimal digits; empty before the end. */
  receipt_sha256: string;
}

/** The erasure over all API keys that an erasure belongs to; only in answers of /v1/admin, and left out of an erasure of one key. */
export type EraseGroupID = string;

/** An erasure over all API keys. */
export interface EraseGroup {
  id: EraseGroupID;
  by: "session_key" | "vin" | "phone" | "reference";
  dry_run: boolean;
  /** done when the erasure of the last API key has ended. */
  state: "running" | "done";
  created_at: string;
  ended_at: string | null;
  /** In how many API keys it was started. */
  keys: number;
  counts: EraseCounts;
  /** Canonical JSON with the sums, and the hash of each key's receipt. Null before the end, and when an erasure of the group is no longer stored. */
  receipt: Record<string, unknown> | null;
  /** SHA-256 of the bytes of receipt, in hexadecimal digits; empty without one. */
  receipt_sha256: string;
  /** The erasure of each API key. */
  data: Array<Erase>;
}

export interface EraseGroupList {
  data: Array<EraseGroup>;
  /** Cursor of the next page. */
  next: string | null;
}

/** What was erased so far; of a dry run, what would be. */
export interface EraseCounts {
  /** Session keys. */
  sessions: number;
  /** Stored sessions among them. */
  session_records: number;
  photos: number;
  notes: number;
  events: number;
  /** Pending deliveries that were canceled first. */
  canceled: number;
  attempts: number;
  /** That were for one of the sessions. Their settings are erased, and they end. */
  callbacks: number;
  /** Their answers and digests. The keys stay used: a repeat gets 409. */
  idempotency_keys: number;
  log_messages: number;
  /** Of cancellations that were made for one of the sessions. */
  reasons: number;
}

export interface EraseList {
  data: Array<Erase>;
  next: string | null;
}

export interface Explanation {
  /** Null when there is no delivery. */
  delivery: string | null;
  event_id: EventID;
  callback: number;
  callback_name: string;
  /** Empty without a delivery. */
  state: string;
  /** The decisive one first. */
  reasons: Array<Reason>;
  /** What to do; empty when there is nothing to do. */
  next: string;
}

export interface Reason {
  code: "not_registered_yet" | "deleted_before" | "other_event" | "other_session" | "test" | "filtered" | "not_owed" | "delivered" | "failed" | "expired" | "refused_address" | "last_attempt" | "erased" | "canceled" | "callback_deleted" | "key_revoked" | "paused" | "not_running" | "breaker_open" | "asked_to_wait" | "probation" | "waiting_retry" | "deferred" | "expires" | "held" | "order_group" | "sending" | "rate_limited" | "at_limit" | "replay" | "backlog" | "due";
  message: string;
  since: string | null;
  until: string | null;
}

export interface EventExplanation {
  event_id: EventID;
  data: Array<Explanation>;
}

export interface Log {
  /** The API key that it belongs to; only in answers of /v1/admin. */
  api_key?: string;
  /** Of a sum: when its minute began. */
  at: string;
  /** ANY for sums of several. */
  method: string;
  /** Without the query. */
  path: string;
  status: number;
  /** Of a sum: the mean. */
  duration_ms: number;
  /** The message of an answer that was an error. */
  message: string;
  /** The caller's address; of a sum, that of the last call. */
  address: string;
  count: number;
}

export type AuditAction = "key.created" | "key.changed" | "key.rotated" | "key.revoked" | "callback.created" | "callback.replaced" | "callback.deleted" | "callback.paused" | "callback.resumed" | "callback.secret_rotated" | "callback.auth_rotated" | "replay.started" | "replay.paused" | "replay.resumed" | "replay.canceled" | "deliveries.canceled" | "delivery.resent" | "erasure.started" | "erasure.ended" | "incident.acknowledged" | "incident.muted" | "session.changed" | "session.removed" | "session.sms_resent" | "token.created" | "token.revoked" | "console.link_created" | "console.link_used" | "console.signed_in" | "console.signed_out" | "server.options_changed" | "server.log_level_changed" | "keyset.changed" | "keyset.resealed";

/** `api_key` is a signed call, `api_key_console` a person who signed in to the console with the key, `console_link` one who did so by a link of the operator, `receiver` the answer of a receiver, `callbackd` one of its rules. */
export type ActorKind = "api_key" | "api_key_console" | "console_link" | "operator" | "operator_token" | "command_line" | "receiver" | "callbackd" | "unknown";

/** Who made a change, and from where. Of the operator only the kind is shown. */
export interface AuditActor {
  kind: ActorKind;
  /** The API key or the origin of the receiver; else empty. */
  name: string;
  /** The IP address; empty when there is none. */
  address: string;
}

export interface AuditEntry {
  number: number;
  at: string;
  action: AuditAction;
  actor: AuditActor;
  /** The event and the name of a callback, the id of a replay or a delivery, a session key, or the API key. */
  subject: string;
  /** The number of the callback; 0 when it is about none. */
  callback: number;
  /** The members that differ, as they were; null when there was nothing before. Secrets are keyed hashes. */
  before: Record<string, unknown> | null;
  /** The members that differ, as they are now; null when nothing is left. */
  after: Record<string, unknown> | null;
  /** A keyed hash of the entry and of the hash before it. */
  hash: string;
}

export interface AuditList {
  data: Array<AuditEntry>;
  next: string | null;
}

export interface LogList {
  data: Array<Log>;
  next: string | null;
}

export interface NewOperatorToken {
  /** Who or what uses the token. No two tokens in force have one name. */
  name: string;
  role: "read" | "full";
  /** How long the token is valid, from 1m to 730d: a text such as 30d, or seconds. */
  expires_after?: string;
}

export interface OperatorToken {
  id: string;
  name: string;
  role: "read" | "full";
  state: "active" | "expired" | "revoked";
  created_at: string;
  expires_at: string;
  /** The last call with the token; it may be a minute late. */
  last_used_at: string | null;
  revoked_at: string | null;
  /** The text of the token; only in the answer of the call that created it. */
  token?: string;
}

export interface OperatorTokenList {
  data: Array<OperatorToken>;
}

export interface AdminMessage {
  api_key?: string;
  message: string;
}

export interface KeySettings {
  /** Shown in lists and in the console. */
  name?: string;
  /** How long after its creation a session expires, unless it has passed quality control: a text such as 3d, or seconds. */
  sessions_expire_after?: string;
  /** Template of the links to the key's sessions, with {account} and {session_key}. Empty: the server's. */
  capture_url?: string;
  /** When the key's calls begin to be refused. What was accepted before is still delivered. Left out: never. */
  expires_at?: string;
  limits?: KeyLimits;
  callback_policy?: CallbackPolicy;
  /** How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's. */
  retention?: string;
  retention_events?: RetentionEvents;
}

/** What the key may use. A member that is left out or null is the server's default (`serve --key-publish-rate`, `--key-pending-deliveries`, `--key-pending-bytes`), and 0 is no limit. */
export interface KeyLimits {
  /** Events a second, from 0.001. A change of a session counts as one. */
  publish_rate?: number | null;
  /** Deliveries that have not ended. */
  pending_deliveries?: number | null;
  /** Event data of the pending deliveries, in bytes; an event counts once for each delivery. */
  pending_bytes?: number | null;
  /** Callbacks for one event; 100 by default. */
  callbacks?: number | null;
}

/** How long finished events of some types are kept, instead of retention: a duration such as 1d, from 1h, for each type. It is never longer than the server keeps events. */
export type RetentionEvents = Record<string, string>;

/** What a callback of the key gets that is registered or replaced from now on and leaves it out of its own policy. Callbacks that exist stay as they are. Empty: the server's defaults. */
export interface CallbackPolicy {
  timeout?: Duration;
  retry?: Array<Duration>;
  order?: Duration;
  rate?: number;
  concurrency?: number;
  keep_alive?: boolean;
  store_response?: boolean;
  signing?: Array<SigningScheme>;
  ttl?: DurationOrNone;
  expect?: DurationOrNone;
}

export interface LimitUse {
  /** 0 is no limit. */
  limit: number;
  used: number;
}

export interface RateUse {
  /** Events a second; 0 is no limit. */
  limit: number;
  /** How many events may be published at once: what the rate allows in a second. */
  burst: number;
  /** How many of them are left now. */
  left: number;
}

export interface Limits {
  api_key: string;
  publish_rate: RateUse;
  pending_deliveries: LimitUse;
  pending_bytes: LimitUse;
  callbacks: LimitUse;
  /** When the pending deliveries were counted. What was accepted or ended since is added. */
  counted_at: string;
}

export interface NewKey {
  /** The customer. The name is part of what tokens sign. */
  account: string;
  /** False for a test key. */
  live?: boolean;
  name?: string;
  sessions_expire_after?: string;
  capture_url?: string;
  expires_at?: string;
  limits?: KeyLimits;
  callback_policy?: CallbackPolicy;
  /** How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's. */
  retention?: string;
  retention_events?: RetentionEvents;
}

export interface KeyRotation {
  /** How long the old secret stays valid beside the new one: a text such as 12h, or seconds; at most 30d. */
  keep?: string;
}

export interface Key {
  api_key: string;
  account: string;
  name: string;
  live: boolean;
  state: "active" | "expired" | "revoked";
  sessions_expire_after: string;
  /** Null: the server's. */
  capture_url: string | null;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  /** Until when the secret from before the last rotation is accepted. */
  old_secret_ends_at: string | null;
  limits: KeyLimits;
  callback_policy: CallbackPolicy;
  /** How long finished events of the key are kept, when that is shorter than the server keeps them. Null: the server's. */
  retention: string | null;
  retention_events: RetentionEvents;
  /** Only in the answer of the call that made it. */
  secret?: string;
}

export interface KeyList {
  data: Array<Key>;
  next: string | null;
}

export interface Account {
  account: string;
  keys: number;
  /** Keys in force. */
  active: number;
}

export interface AccountList {
  data: Array<Account>;
}

export interface CallbackState {
  api_key: string;
  callback: number;
  event: EventType;
  name: string;
  url: string;
  method: string;
  paused: boolean;
  pause_reason: string;
  paused_at: string | null;
  /** Null: the last attempt succeeded, or there was none. */
  failing_since: string | null;
  /** Until when the receiver asked to wait. */
  closed_until: string | null;
  created_at: string;
  updated_at: string;
}

export interface CallbackStateList {
  data: Array<CallbackState>;
  next: number | null;
}

export interface Stats {
  /** When the interval began. */
  at: string;
  delivered: number;
  failed: number;
  canceled: number;
  expired: number;
  attempts: number;
  /** Attempts that failed, for any reason. */
  faults: number;
  by_fault: ByFault;
  /** Attempts of resends and replays. */
  repeats: number;
}

export interface StatsList {
  data: Array<Stats>;
}

export interface Node {
  name: string;
  version: string;
  address: string;
  /** It answered the call. */
  self: boolean;
  started_at: string;
  shards: number;
  /** Attempts in flight. */
  in_flight: number;
  /** Callbacks with pending deliveries. */
  callbacks: number;
  /** Null: it has the store to itself and needs no lease. */
  lease_until: string | null;
}

export interface NodeList {
  data: Array<Node>;
}

export interface Setting {
  /** The option, without its hyphens. */
  name: string;
  /** Masked when the option is a secret and has a value. */
  value: string;
  /** default, command line, or the variable that it comes from. */
  source: string;
}

export interface NewConsoleLink {
  /** viewer reads, without secrets; developer also changes callbacks, sends tests, resends, replays, cancels and erases. */
  role: "viewer" | "developer";
  /** Where "Back to …" leads: https, of an origin that `callbackd serve --return-origin` names. */
  return_to?: string;
  expires_in?: Duration;
}

export interface ConsoleLink {
  api_key: string;
  url: string;
  role: "viewer" | "developer";
  return_to: string;
  /** Of the link. */
  expires_at: string;
  /** How long the browser stays signed in, from when the link is used: 8h by default, 5m to 7d. */
  expires_in: string;
}

export interface SettingsFile {
  version: number;
  keys: Array<SettingsKey>;
}

export interface SettingsKey {
  /** Left out or empty: the key with this account and name, or a new one. */
  api_key?: string;
  /** It cannot change. */
  account: string;
  name?: string;
  /** It cannot change. */
  live?: boolean;
  secret?: SecretReference;
  sessions_expire_after?: string;
  capture_url?: string;
  expires_at?: string | null;
  limits?: KeyLimits;
  callback_policy?: CallbackPolicy;
  /** How long finished events of the key are kept, when that is shorter than the server keeps them (`serve --retention`): a text such as 7d, or seconds; from 1h. Left out: the server's. */
  retention?: string;
  retention_events?: RetentionEvents;
  /** Left out: those of the key are left alone, also with prune. */
  callbacks?: Array<SettingsCallback>;
}

export interface SettingsCallback {
  event: EventType;
  name?: string;
  url: string;
  method?: string;
  /** A value is a text, or a reference such as {"keep": true}. */
  headers?: Record<string, unknown>;
  payload?: Record<string, unknown>;
  /** As of POST /v1/callbacks, with references in place of the secrets of auth. The callback_policy of the key does not count here. */
  policy?: Record<string, unknown>;
  secret?: SecretReference;
  /** Left out: as it is. */
  paused?: boolean;
}

/** What stands for a secret. A value that differs from the stored one replaces it, and the old one is valid for another 24 h. */
export type SecretReference = {
  /** The stored one. */
  keep?: true;
  value?: string;
} | null;

export interface SettingsApplication {
  settings: SettingsFile;
  /** Say what would change, and change nothing. */
  dry_run?: boolean;
  /** Revoke API keys that the file does not name, and delete callbacks that it does not name of keys that have the member callbacks. */
  prune?: boolean;
  /** Of a dry run. When the settings have changed since, nothing is applied. */
  fingerprint?: string;
}

export interface SettingsPlan {
  /** false: it was a dry run. */
  applied: boolean;
  /** Of the settings that the plan was made from: those of the keys that the file names, and with prune those of all. */
  fingerprint: string;
  created: number;
  changed: number;
  removed: number;
  changes: Array<SettingsChange>;
  /** API keys that were made, with their secrets. */
  keys: Array<SettingsNewKey>;
  warnings: Array<string>;
}

export interface SettingsChange {
  action: "create" | "change" | "remove";
  /** In the file, such as keys[0].callbacks[2]; empty when the file does not name what is removed. */
  place: string;
  /** Empty for a key that is still to be made. */
  api_key: string;
  account: string;
  key_name: string;
  /** Of the callback; empty when the change is one of the key. */
  event: string;
  /** Of the callback. */
  name: string;
  members: Array<SettingsMember>;
}

export interface SettingsMember {
  /** Such as policy.timeout. */
  name: string;
  /** Empty when there was none. Secrets are [redacted]. */
  before: string;
  after: string;
}

export interface SettingsNewKey {
  api_key: string;
  account: string;
  name: string;
  /** It is shown once. */
  secret: string;
}

export interface SettingList {
  data: Array<Setting>;
}

/** The body of a request that a receiver gets. */
export type ReceivedEvent = SMSProcessEvent | StageChangeEvent | StatusChangeEvent | SessionResults | NoteInsertEvent | SMSRequestedEvent | NoticeEvent;

/** Calls callbackd's HTTP API. It has a method for each operation. */
export class Client extends Transport {
  /** The paths of this server. A browser is redirected to the console. GET / */
  root(options: CallOptions = {}): Promise<Links> {
    return this.json({ method: 'GET', path: '/', auth: 'none' }, options);
  }


  /** Check that the process runs. GET /healthz */
  healthz(options: CallOptions = {}): Promise<Message> {
    return this.json({ method: 'GET', path: '/healthz', auth: 'none' }, options);
  }


  /** Check that the store takes writes and the engine runs. GET /readyz */
  readyz(options: CallOptions = {}): Promise<Message> {
    return this.json({ method: 'GET', path: '/readyz', auth: 'none' }, options);
  }


  /** Metrics for Prometheus. GET /metrics */
  metrics(options: CallOptions = {}): Promise<string> {
    return this.text({ method: 'GET', path: '/metrics', auth: 'none' }, options);
  }


  /** What the server says of itself to the operator. GET /statusz */
  serverStatus(options: CallOptions = {}): Promise<Status> {
    return this.json({ method: 'GET', path: '/statusz', auth: 'none' }, options);
  }


  /** Change what the server logs, until its next start. PUT /log-level */
  setLogLevel(body: LogLevel, options: CallOptions = {}): Promise<LogLevel> {
    return this.json({ method: 'PUT', path: '/log-level', auth: 'none', body }, options);
  }


  /** This document. GET /openapi.yaml */
  openapi(options: CallOptions = {}): Promise<string> {
    return this.text({ method: 'GET', path: '/openapi.yaml', auth: 'none' }, options);
  }


  /** Create a callback setting. POST /v1/callbacks */
  createCallback(body: NewCallback, options: CallOptions = {}): Promise<Callback> {
    return this.json({ method: 'POST', path: '/v1/callbacks', auth: 'apiKey', body }, options);
  }


  /** List the key's callback settings, in PAVE's order of events, then by name. GET /v1/callbacks */
  listCallbacks(query: { session?: string } = {}, options: CallOptions = {}): Promise<CallbackList> {
    return this.json({ method: 'GET', path: '/v1/callbacks', auth: 'apiKey', query }, options);
  }


  /** Read a callback setting. GET /v1/callbacks/{event} */
  getCallback(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<CallbackOne> {
    return this.json({ method: 'GET', path: `/v1/callbacks/${escape(event)}`, auth: 'apiKey', query }, options);
  }


  /** Replace a callback setting. PUT /v1/callbacks/{event} */
  replaceCallback(event: CallbackInPath, body: CallbackUpdate, query: { name?: string } = {}, options: CallOptions = {}): Promise<Callback> {
    return this.json({ method: 'PUT', path: `/v1/callbacks/${escape(event)}`, auth: 'apiKey', body, query }, options);
  }


  /** Remove a callback. Its pending deliveries are canceled; its history stays. DELETE /v1/callbacks/{event} */
  deleteCallback(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<KeyedMessage> {
    return this.json({ method: 'DELETE', path: `/v1/callbacks/${escape(event)}`, auth: 'apiKey', query }, options);
  }


  /** Read a callback's policy, with its defaults, and whether it is paused. GET /v1/callbacks/{event}/policy */
  getPolicy(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'GET', path: `/v1/callbacks/${escape(event)}/policy`, auth: 'apiKey', query }, options);
  }


  /** Read a callback's health, its backlog, and what was counted in the last hour, day and week. GET /v1/callbacks/{event}/stats */
  getStats(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<CallbackStats> {
    return this.json({ method: 'GET', path: `/v1/callbacks/${escape(event)}/stats`, auth: 'apiKey', query }, options);
  }


  /** Read the secret that signs the requests to the receiver. GET /v1/callbacks/{event}/secret */
  getSecret(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Secret> {
    return this.json({ method: 'GET', path: `/v1/callbacks/${escape(event)}/secret`, auth: 'apiKey', query }, options);
  }


  /** Make a new signing secret. POST /v1/callbacks/{event}/secret/rotate */
  rotateSecret(event: CallbackInPath, body?: Rotation, query: { name?: string } = {}, options: CallOptions = {}): Promise<Secret> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/secret/rotate`, auth: 'apiKey', body, query }, options);
  }


  /** Give a callback other credentials. POST /v1/callbacks/{event}/auth/rotate */
  rotateAuth(event: CallbackInPath, body: AuthRotation, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/auth/rotate`, auth: 'apiKey', body, query }, options);
  }


  /** Try how a callback signs in, and show what came back. POST /v1/callbacks/{event}/auth/test */
  testAuth(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<AuthTest> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/auth/test`, auth: 'apiKey', query }, options);
  }


  /** Pause a callback. Its deliveries wait; events are still accepted, and nothing is lost. POST /v1/callbacks/{event}/pause */
  pauseCallback(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/pause`, auth: 'apiKey', query }, options);
  }


  /** Resume a callback that a person or callbackd has paused, and send the deliveries that wait. POST /v1/callbacks/{event}/resume */
  resumeCallback(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/resume`, auth: 'apiKey', query }, options);
  }


  /** Try a filter and fields with the latest events. POST /v1/callbacks/filter/test */
  testFilter(body?: FilterTrial, options: CallOptions = {}): Promise<FilterTest> {
    return this.json({ method: 'POST', path: '/v1/callbacks/filter/test', auth: 'apiKey', body }, options);
  }


  /** Send a marked sample of the event, once, and show the result. POST /v1/callbacks/{event}/test */
  testCallback(event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Delivery> {
    return this.json({ method: 'POST', path: `/v1/callbacks/${escape(event)}/test`, auth: 'apiKey', query }, options);
  }


  /** List the types of events, each with the schema and a sample of the body that a receiver gets. GET /v1/event-types */
  listEventTypes(options: CallOptions = {}): Promise<EventKindList> {
    return this.json({ method: 'GET', path: '/v1/event-types', auth: 'apiKey' }, options);
  }


  /** Read one type of events, with the schema and a sample of the body that a receiver gets. GET /v1/event-types/{type} */
  getEventType(type: EventType, options: CallOptions = {}): Promise<EventKind> {
    return this.json({ method: 'GET', path: `/v1/event-types/${escape(type)}`, auth: 'apiKey' }, options);
  }


  /** Read the limits of the API key, and what it uses of them. GET /v1/limits */
  getLimits(options: CallOptions = {}): Promise<Limits> {
    return this.json({ method: 'GET', path: '/v1/limits', auth: 'apiKey' }, options);
  }


  /** Publish one event or up to 1000, all or nothing. POST /v1/events */
  publish(body: PublishBody, options: CallOptions = {}): Promise<PublishAnswer> {
    return this.json({ method: 'POST', path: '/v1/events', auth: 'apiKey', body }, options);
  }


  /** List events, newest first. With `after`, read the events after a cursor, oldest first. GET /v1/events */
  listEvents(query: { after?: string; wait?: number; event?: EventType; session_key?: string; since?: string; until?: string; withheld?: string; limit?: number; cursor?: EventID } = {}, options: CallOptions = {}): Promise<EventList> {
    return this.json({ method: 'GET', path: '/v1/events', auth: 'apiKey', query }, options);
  }


  /** Events as they are accepted, as server-sent events. GET /v1/events/stream */
  streamEvents(query: { after?: string; event?: EventType; session_key?: string } = {}, options: CallOptions = {}): AsyncGenerator<ServerSentEvent> {
    return this.stream({ method: 'GET', path: '/v1/events/stream', auth: 'apiKey', query }, options);
  }


  /** Read one event. GET /v1/events/{id} */
  getEvent(id: EventID, options: CallOptions = {}): Promise<Event> {
    return this.json({ method: 'GET', path: `/v1/events/${escape(id)}`, auth: 'apiKey' }, options);
  }


  /** Explain why a callback did or did not get an event. GET /v1/events/{id}/explain */
  explainEvent(id: EventID, query: { callback?: string } = {}, options: CallOptions = {}): Promise<EventExplanation> {
    return this.json({ method: 'GET', path: `/v1/events/${escape(id)}/explain`, auth: 'apiKey', query }, options);
  }


  /** List deliveries, the newest event first, and those of one event with the newest callback first. GET /v1/deliveries */
  listDeliveries(query: { state?: State; event?: EventType; session_key?: string; callback?: number; status?: string; fault?: "status" | "refused" | "dns" | "connect" | "tls" | "timeout" | "protocol" | "proxy" | "local" | "shutdown" | "query" | "auth"; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<DeliveryList> {
    return this.json({ method: 'GET', path: '/v1/deliveries', auth: 'apiKey', query }, options);
  }


  /** Read one delivery with its newest attempts, up to 50. GET /v1/deliveries/{id} */
  getDelivery(id: DeliveryID, query: { before?: number } = {}, options: CallOptions = {}): Promise<Delivery> {
    return this.json({ method: 'GET', path: `/v1/deliveries/${escape(id)}`, auth: 'apiKey', query }, options);
  }


  /** Cancel pending deliveries. POST /v1/deliveries/cancel */
  cancelDeliveries(body: NewCancellation, options: CallOptions = {}): Promise<ReplayCount | Replay> {
    return this.json({ method: 'POST', path: '/v1/deliveries/cancel', auth: 'apiKey', body }, options);
  }


  /** Resend a delivery at once, also one that was delivered. Its retry schedule starts again. POST /v1/deliveries/{id}/retry */
  retryDelivery(id: DeliveryID, options: CallOptions = {}): Promise<Delivery> {
    return this.json({ method: 'POST', path: `/v1/deliveries/${escape(id)}/retry`, auth: 'apiKey' }, options);
  }


  /** Create a session. POST /v1/sessions */
  createSession(body?: NewSession, options: CallOptions = {}): Promise<Session> {
    return this.json({ method: 'POST', path: '/v1/sessions', auth: 'apiKey', body }, options);
  }


  /** Find sessions, newest first. GET /v1/sessions */
  listSessions(query: { status?: SessionStatus; q?: string; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<SessionList> {
    return this.json({ method: 'GET', path: '/v1/sessions', auth: 'apiKey', query }, options);
  }


  /** Create a session, at the path that PAVE's samples have. POST /v1/session */
  createSessionAsInSamples(body?: NewSession, options: CallOptions = {}): Promise<Session> {
    return this.json({ method: 'POST', path: '/v1/session', auth: 'apiKey', body }, options);
  }


  /** Read a session. GET /v1/sessions/{key} */
  getSession(key: string, options: CallOptions = {}): Promise<Session> {
    return this.json({ method: 'GET', path: `/v1/sessions/${escape(key)}`, auth: 'apiKey' }, options);
  }


  /** Change the members that can still be changed. PUT /v1/sessions/{key} */
  updateSession(key: string, body: SessionUpdate, options: CallOptions = {}): Promise<Session> {
    return this.json({ method: 'PUT', path: `/v1/sessions/${escape(key)}`, auth: 'apiKey', body }, options);
  }


  /** Remove a session that is IDLE. DELETE /v1/sessions/{key} */
  deleteSession(key: string, options: CallOptions = {}): Promise<Message> {
    return this.json({ method: 'DELETE', path: `/v1/sessions/${escape(key)}`, auth: 'apiKey' }, options);
  }


  /** The latest capture of each step, in capture order. GET /v1/sessions/{key}/photos */
  getPhotos(key: string, options: CallOptions = {}): Promise<Array<Photo>> {
    return this.json({ method: 'GET', path: `/v1/sessions/${escape(key)}/photos`, auth: 'apiKey' }, options);
  }


  /** A photo was captured, or its value typed. POST /v1/sessions/{key}/photos */
  addPhoto(key: string, body: NewPhoto, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/photos`, auth: 'apiKey', body }, options);
  }


  /** The notes, oldest first. GET /v1/sessions/{key}/notes */
  getNotes(key: string, options: CallOptions = {}): Promise<Array<Note>> {
    return this.json({ method: 'GET', path: `/v1/sessions/${escape(key)}/notes`, auth: 'apiKey' }, options);
  }


  /** A note was added. Fires NOTE_INSERT. POST /v1/sessions/{key}/notes */
  addNote(key: string, body: NewNote, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/notes`, auth: 'apiKey', body }, options);
  }


  /** What COMPLETE delivers. GET /v1/sessions/{key}/results */
  getResults(key: string, options: CallOptions = {}): Promise<SessionResults> {
    return this.json({ method: 'GET', path: `/v1/sessions/${escape(key)}/results`, auth: 'apiKey' }, options);
  }


  /** Set the results. It moves the session to CONFIRM; they can be replaced until it is complete. PUT /v1/sessions/{key}/results */
  putResults(key: string, body: NewResults, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'PUT', path: `/v1/sessions/${escape(key)}/results`, auth: 'apiKey', body }, options);
  }


  /** The user pressed start. POST /v1/sessions/{key}/start */
  startSession(key: string, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/start`, auth: 'apiKey' }, options);
  }


  /** The SMS was sent, or it failed. Fires SMS_PROCESS. POST /v1/sessions/{key}/sms */
  reportSMS(key: string, body: SMSReport, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/sms`, auth: 'apiKey', body }, options);
  }


  /** The user confirmed. It fires STATUS_CHANGE, then COMPLETE. POST /v1/sessions/{key}/complete */
  completeSession(key: string, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/complete`, auth: 'apiKey' }, options);
  }


  /** The vehicle does not match, or the photos are unusable. POST /v1/sessions/{key}/invalidate */
  invalidateSession(key: string, body: Invalidation, options: CallOptions = {}): Promise<SessionChange> {
    return this.json({ method: 'POST', path: `/v1/sessions/${escape(key)}/invalidate`, auth: 'apiKey', body }, options);
  }


  /** List a session's events in order, with their deliveries. GET /v1/sessions/{key}/events */
  sessionEvents(key: string, query: { limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<SessionStory> {
    return this.json({ method: 'GET', path: `/v1/sessions/${escape(key)}/events`, auth: 'apiKey', query }, options);
  }


  /** Erase what is stored of people in a session and its events. DELETE /v1/sessions/{key}/data */
  eraseSession(key: string, query: { dry_run?: boolean } = {}, options: CallOptions = {}): Promise<Erase> {
    return this.json({ method: 'DELETE', path: `/v1/sessions/${escape(key)}/data`, auth: 'apiKey', query }, options);
  }


  /** Ask for the SMS again, once in a session's life. POST /v2/capture/sessions/{key}/resend */
  resend(key: string, body?: {
  /** Default: the session's. */
  phone?: string;
}, options: CallOptions = {}): Promise<Resent> {
    return this.json({ method: 'POST', path: `/v2/capture/sessions/${escape(key)}/resend`, auth: 'accessToken', body }, options);
  }


  /** Explain why a delivery is in its state, in sentences and codes, and what to do. GET /v1/deliveries/{id}/explain */
  explainDelivery(id: DeliveryID, options: CallOptions = {}): Promise<Explanation> {
    return this.json({ method: 'GET', path: `/v1/deliveries/${escape(id)}/explain`, auth: 'apiKey' }, options);
  }


  /** Erase what is stored of people in all sessions that have a value. POST /v1/erases */
  createErase(body: NewErase, options: CallOptions = {}): Promise<Erase> {
    return this.json({ method: 'POST', path: '/v1/erases', auth: 'apiKey', body }, options);
  }


  /** List erasures, newest first. GET /v1/erases */
  listErases(query: { limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<EraseList> {
    return this.json({ method: 'GET', path: '/v1/erases', auth: 'apiKey', query }, options);
  }


  /** Read an erasure, and its receipt when it has ended. GET /v1/erases/{id} */
  getErase(id: EraseID, options: CallOptions = {}): Promise<Erase> {
    return this.json({ method: 'GET', path: `/v1/erases/${escape(id)}`, auth: 'apiKey' }, options);
  }


  /** Send deliveries again, or events to another callback. POST /v1/replays */
  createReplay(body: NewReplay, options: CallOptions = {}): Promise<ReplayCount | Replay> {
    return this.json({ method: 'POST', path: '/v1/replays', auth: 'apiKey', body }, options);
  }


  /** List replays, newest first. GET /v1/replays */
  listReplays(query: { limit?: number; cursor?: ReplayID } = {}, options: CallOptions = {}): Promise<ReplayList> {
    return this.json({ method: 'GET', path: '/v1/replays', auth: 'apiKey', query }, options);
  }


  /** Read a replay and how far it is. GET /v1/replays/{id} */
  getReplay(id: ReplayID, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'GET', path: `/v1/replays/${escape(id)}`, auth: 'apiKey' }, options);
  }


  /** Cancel a replay. Deliveries that are due already are still sent, at most 512 of each callback that were not tried yet. DELETE /v1/replays/{id} */
  cancelReplay(id: ReplayID, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'DELETE', path: `/v1/replays/${escape(id)}`, auth: 'apiKey' }, options);
  }


  /** Pause a replay. It makes nothing more due until it is resumed. POST /v1/replays/{id}/pause */
  pauseReplay(id: ReplayID, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'POST', path: `/v1/replays/${escape(id)}/pause`, auth: 'apiKey' }, options);
  }


  /** Resume a paused replay. POST /v1/replays/{id}/resume */
  resumeReplay(id: ReplayID, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'POST', path: `/v1/replays/${escape(id)}/resume`, auth: 'apiKey' }, options);
  }


  /** The incidents of this API key, newest first. GET /v1/incidents */
  listIncidents(query: { state?: "open"; limit?: number; cursor?: IncidentID } = {}, options: CallOptions = {}): Promise<IncidentList> {
    return this.json({ method: 'GET', path: '/v1/incidents', auth: 'apiKey', query }, options);
  }


  /** Read one incident. GET /v1/incidents/{id} */
  getIncident(id: IncidentID, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'GET', path: `/v1/incidents/${escape(id)}`, auth: 'apiKey' }, options);
  }


  /** Note that a person knows of the incident. It no longer counts in the console's navigation. POST /v1/incidents/{id}/acknowledge */
  acknowledgeIncident(id: IncidentID, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'POST', path: `/v1/incidents/${escape(id)}/acknowledge`, auth: 'apiKey' }, options);
  }


  /** Send no notices of the incident for a while, also when it comes back meanwhile. POST /v1/incidents/{id}/mute */
  muteIncident(id: IncidentID, body: Mute, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'POST', path: `/v1/incidents/${escape(id)}/mute`, auth: 'apiKey', body }, options);
  }


  /** The calls made with this API key in the last 7 days, newest first. GET /v1/logs */
  listLogs(query: { method?: string; path?: string; status?: string; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<LogList> {
    return this.json({ method: 'GET', path: '/v1/logs', auth: 'apiKey', query }, options);
  }


  /** Who changed what of this API key, newest first. GET /v1/audit */
  listAudit(query: { action?: AuditAction; actor?: ActorKind; callback?: number; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<AuditList> {
    return this.json({ method: 'GET', path: '/v1/audit', auth: 'apiKey', query }, options);
  }


  /** List the operator tokens, oldest first. GET /v1/admin/tokens */
  listOperatorTokens(options: CallOptions = {}): Promise<OperatorTokenList> {
    return this.json({ method: 'GET', path: '/v1/admin/tokens', auth: 'operator' }, options);
  }


  /** Create an operator token. POST /v1/admin/tokens */
  createOperatorToken(body: NewOperatorToken, options: CallOptions = {}): Promise<OperatorToken> {
    return this.json({ method: 'POST', path: '/v1/admin/tokens', auth: 'operator', body }, options);
  }


  /** Revoke an operator token. The next call with it is refused. DELETE /v1/admin/tokens/{id} */
  revokeOperatorToken(id: string, options: CallOptions = {}): Promise<OperatorToken> {
    return this.json({ method: 'DELETE', path: `/v1/admin/tokens/${escape(id)}`, auth: 'operator' }, options);
  }


  /** List the accounts, with the numbers of their API keys. GET /v1/admin/accounts */
  listAccounts(options: CallOptions = {}): Promise<AccountList> {
    return this.json({ method: 'GET', path: '/v1/admin/accounts', auth: 'operator' }, options);
  }


  /** List API keys, oldest first, without secrets. GET /v1/admin/keys */
  listKeys(query: { account?: string; state?: "active" | "expired" | "revoked"; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<KeyList> {
    return this.json({ method: 'GET', path: '/v1/admin/keys', auth: 'operator', query }, options);
  }


  /** Create an API key. POST /v1/admin/keys */
  createKey(body: NewKey, options: CallOptions = {}): Promise<Key> {
    return this.json({ method: 'POST', path: '/v1/admin/keys', auth: 'operator', body }, options);
  }


  /** Read an API key, without its secret. GET /v1/admin/keys/{key} */
  getKey(key: string, options: CallOptions = {}): Promise<Key> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}`, auth: 'operator' }, options);
  }


  /** Replace the settings of an API key. PUT /v1/admin/keys/{key} */
  replaceKey(key: string, body?: KeySettings, options: CallOptions = {}): Promise<Key> {
    return this.json({ method: 'PUT', path: `/v1/admin/keys/${escape(key)}`, auth: 'operator', body }, options);
  }


  /** Read the limits in force of an API key, and what it uses of them. GET /v1/admin/keys/{key}/limits */
  getLimitsOfKey(key: string, options: CallOptions = {}): Promise<Limits> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}/limits`, auth: 'operator' }, options);
  }


  /** Give an API key a new secret. POST /v1/admin/keys/{key}/rotate */
  rotateKey(key: string, body?: KeyRotation, options: CallOptions = {}): Promise<Key> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/rotate`, auth: 'operator', body }, options);
  }


  /** Revoke an API key. Its calls are refused, and its pending deliveries are canceled. POST /v1/admin/keys/{key}/revoke */
  revokeKey(key: string, options: CallOptions = {}): Promise<Key> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/revoke`, auth: 'operator' }, options);
  }


  /** Make a link that signs a browser in to the console of the API key, once, within 10 minutes. POST /v1/admin/keys/{key}/link */
  createLink(key: string, body: NewConsoleLink, options: CallOptions = {}): Promise<ConsoleLink> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/link`, auth: 'operator', body }, options);
  }


  /** List callbacks in force, by key, then in the order of events, then by name. GET /v1/admin/callbacks */
  listAllCallbacks(query: { key?: string; event?: EventType; name?: string; limit?: number; cursor?: number } = {}, options: CallOptions = {}): Promise<CallbackStateList> {
    return this.json({ method: 'GET', path: '/v1/admin/callbacks', auth: 'operator', query }, options);
  }


  /** List sessions, newest first. GET /v1/admin/sessions */
  listAllSessions(query: { key?: string; status?: SessionStatus; q?: string; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<SessionList> {
    return this.json({ method: 'GET', path: '/v1/admin/sessions', auth: 'operator', query }, options);
  }


  /** List events, newest first. GET /v1/admin/events */
  listAllEvents(query: { key?: string; event?: EventType; session_key?: string; since?: string; until?: string; withheld?: string; limit?: number; cursor?: EventID } = {}, options: CallOptions = {}): Promise<EventList> {
    return this.json({ method: 'GET', path: '/v1/admin/events', auth: 'operator', query }, options);
  }


  /** Read an event. GET /v1/admin/events/{id} */
  getAnyEvent(id: EventID, options: CallOptions = {}): Promise<Event> {
    return this.json({ method: 'GET', path: `/v1/admin/events/${escape(id)}`, auth: 'operator' }, options);
  }


  /** List deliveries, the newest event first. GET /v1/admin/deliveries */
  listAllDeliveries(query: { key?: string; state?: State; event?: EventType; session_key?: string; callback?: number; status?: string; fault?: "status" | "refused" | "dns" | "connect" | "tls" | "timeout" | "protocol" | "proxy" | "local" | "shutdown" | "query" | "auth"; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<DeliveryList> {
    return this.json({ method: 'GET', path: '/v1/admin/deliveries', auth: 'operator', query }, options);
  }


  /** Read a delivery with its attempts. GET /v1/admin/deliveries/{id} */
  getAnyDelivery(id: DeliveryID, query: { before?: number } = {}, options: CallOptions = {}): Promise<Delivery> {
    return this.json({ method: 'GET', path: `/v1/admin/deliveries/${escape(id)}`, auth: 'operator', query }, options);
  }


  /** List erasures, newest first. GET /v1/admin/erases */
  listAllErases(query: { key?: string; limit?: number; cursor?: EraseID } = {}, options: CallOptions = {}): Promise<EraseList> {
    return this.json({ method: 'GET', path: '/v1/admin/erases', auth: 'operator', query }, options);
  }


  /** Erase what is stored of people in the sessions of all API keys that have a value. POST /v1/admin/erases */
  createErases(body: NewErase, options: CallOptions = {}): Promise<EraseGroup> {
    return this.json({ method: 'POST', path: '/v1/admin/erases', auth: 'operator', body }, options);
  }


  /** Read an erasure, and its receipt when it has ended. GET /v1/admin/erases/{id} */
  getAnyErase(id: string, options: CallOptions = {}): Promise<Erase> {
    return this.json({ method: 'GET', path: `/v1/admin/erases/${escape(id)}`, auth: 'operator' }, options);
  }


  /** List erasures over all API keys, newest first. GET /v1/admin/erase-groups */
  listEraseGroups(query: { limit?: number; cursor?: EraseGroupID } = {}, options: CallOptions = {}): Promise<EraseGroupList> {
    return this.json({ method: 'GET', path: '/v1/admin/erase-groups', auth: 'operator', query }, options);
  }


  /** Read an erasure over all API keys, and its receipt when it has ended. GET /v1/admin/erase-groups/{id} */
  getEraseGroup(id: string, options: CallOptions = {}): Promise<EraseGroup> {
    return this.json({ method: 'GET', path: `/v1/admin/erase-groups/${escape(id)}`, auth: 'operator' }, options);
  }


  /** List incidents of all API keys and of the server, newest first. GET /v1/admin/incidents */
  listAllIncidents(query: { key?: string; state?: "open"; limit?: number; cursor?: IncidentID } = {}, options: CallOptions = {}): Promise<IncidentList> {
    return this.json({ method: 'GET', path: '/v1/admin/incidents', auth: 'operator', query }, options);
  }


  /** Read one incident. GET /v1/admin/incidents/{id} */
  getAnyIncident(id: IncidentID, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'GET', path: `/v1/admin/incidents/${escape(id)}`, auth: 'operator' }, options);
  }


  /** Note that a person knows of the incident. It no longer counts in the console's navigation. POST /v1/admin/incidents/{id}/acknowledge */
  acknowledgeAnyIncident(id: IncidentID, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'POST', path: `/v1/admin/incidents/${escape(id)}/acknowledge`, auth: 'operator' }, options);
  }


  /** Send no notices of the incident for a while, also when it comes back meanwhile. POST /v1/admin/incidents/{id}/mute */
  muteAnyIncident(id: IncidentID, body: Mute, options: CallOptions = {}): Promise<Incident> {
    return this.json({ method: 'POST', path: `/v1/admin/incidents/${escape(id)}/mute`, auth: 'operator', body }, options);
  }


  /** List replays and cancellations, newest first. GET /v1/admin/replays */
  listAllReplays(query: { key?: string; limit?: number; cursor?: ReplayID } = {}, options: CallOptions = {}): Promise<ReplayList> {
    return this.json({ method: 'GET', path: '/v1/admin/replays', auth: 'operator', query }, options);
  }


  /** Read a replay or a cancellation. GET /v1/admin/replays/{id} */
  getAnyReplay(id: string, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'GET', path: `/v1/admin/replays/${escape(id)}`, auth: 'operator' }, options);
  }


  /** List the calls of API keys, newest first. GET /v1/admin/logs */
  listAllLogs(query: { key?: string; method?: string; path?: string; status?: string; since?: string; until?: string; limit?: number; cursor?: string } = {}, options: CallOptions = {}): Promise<LogList> {
    return this.json({ method: 'GET', path: '/v1/admin/logs', auth: 'operator', query }, options);
  }


  /** Count attempts and deliveries that ended, by minute or hour. GET /v1/admin/stats */
  listStats(query: { key?: string; interval?: "minute" | "hour"; callback?: number; since?: string; until?: string } = {}, options: CallOptions = {}): Promise<StatsList> {
    return this.json({ method: 'GET', path: '/v1/admin/stats', auth: 'operator', query }, options);
  }


  /** List the processes on the store. GET /v1/admin/nodes */
  listNodes(options: CallOptions = {}): Promise<NodeList> {
    return this.json({ method: 'GET', path: '/v1/admin/nodes', auth: 'operator' }, options);
  }


  /** List the options that the server which answers runs with. GET /v1/admin/settings */
  listSettings(options: CallOptions = {}): Promise<SettingList> {
    return this.json({ method: 'GET', path: '/v1/admin/settings', auth: 'operator' }, options);
  }


  /** Read all API keys with their callbacks as a file, without secrets. GET /v1/admin/settings/export */
  exportSettings(query: { key?: string } = {}, options: CallOptions = {}): Promise<SettingsFile> {
    return this.json({ method: 'GET', path: '/v1/admin/settings/export', auth: 'operator', query }, options);
  }


  /** Make API keys and their callbacks like a file, in one transaction, or say what would change. POST /v1/admin/settings/apply */
  applySettings(body: SettingsApplication, options: CallOptions = {}): Promise<SettingsPlan> {
    return this.json({ method: 'POST', path: '/v1/admin/settings/apply', auth: 'operator', body }, options);
  }


  /** Read a session of an API key. GET /v1/admin/keys/{key}/sessions/{session} */
  getSessionOfKey(key: string, session: string, options: CallOptions = {}): Promise<Session> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}/sessions/${escape(session)}`, auth: 'operator' }, options);
  }


  /** Explain what became of an event, for each callback. GET /v1/admin/keys/{key}/events/{id}/explain */
  explainEventOfKey(key: string, id: EventID, query: { callback?: string } = {}, options: CallOptions = {}): Promise<EventExplanation> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}/events/${escape(id)}/explain`, auth: 'operator', query }, options);
  }


  /** Explain where a delivery is and what it waits for. GET /v1/admin/keys/{key}/deliveries/{id}/explain */
  explainDeliveryOfKey(key: string, id: DeliveryID, options: CallOptions = {}): Promise<Explanation> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}/deliveries/${escape(id)}/explain`, auth: 'operator' }, options);
  }


  /** Send a delivery again, now. POST /v1/admin/keys/{key}/deliveries/{id}/retry */
  retryDeliveryOfKey(key: string, id: DeliveryID, options: CallOptions = {}): Promise<Delivery> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/deliveries/${escape(id)}/retry`, auth: 'operator' }, options);
  }


  /** Cancel pending deliveries of an API key. POST /v1/admin/keys/{key}/deliveries/cancel */
  cancelDeliveriesOfKey(key: string, body: NewCancellation, options: CallOptions = {}): Promise<Replay | ReplayCount> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/deliveries/cancel`, auth: 'operator', body }, options);
  }


  /** Erase what is stored of people in the sessions of an API key that have a value. POST /v1/admin/keys/{key}/erases */
  createEraseOfKey(key: string, body: NewErase, options: CallOptions = {}): Promise<Erase> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/erases`, auth: 'operator', body }, options);
  }


  /** Send many deliveries of an API key again. POST /v1/admin/keys/{key}/replays */
  createReplayOfKey(key: string, body: NewReplay, options: CallOptions = {}): Promise<Replay | ReplayCount> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/replays`, auth: 'operator', body }, options);
  }


  /** End a replay. DELETE /v1/admin/keys/{key}/replays/{id} */
  cancelReplayOfKey(key: string, id: string, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'DELETE', path: `/v1/admin/keys/${escape(key)}/replays/${escape(id)}`, auth: 'operator' }, options);
  }


  /** Pause a replay. POST /v1/admin/keys/{key}/replays/{id}/pause */
  pauseReplayOfKey(key: string, id: string, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/replays/${escape(id)}/pause`, auth: 'operator' }, options);
  }


  /** Resume a replay. POST /v1/admin/keys/{key}/replays/{id}/resume */
  resumeReplayOfKey(key: string, id: string, options: CallOptions = {}): Promise<Replay> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/replays/${escape(id)}/resume`, auth: 'operator' }, options);
  }


  /** Read how deliveries to a callback are made. GET /v1/admin/keys/{key}/callbacks/{event}/policy */
  getPolicyOfKey(key: string, event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'GET', path: `/v1/admin/keys/${escape(key)}/callbacks/${escape(event)}/policy`, auth: 'operator', query }, options);
  }


  /** Pause a callback of an API key. POST /v1/admin/keys/{key}/callbacks/{event}/pause */
  pauseCallbackOfKey(key: string, event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/callbacks/${escape(event)}/pause`, auth: 'operator', query }, options);
  }


  /** Resume a callback of an API key. POST /v1/admin/keys/{key}/callbacks/{event}/resume */
  resumeCallbackOfKey(key: string, event: CallbackInPath, query: { name?: string } = {}, options: CallOptions = {}): Promise<Policy> {
    return this.json({ method: 'POST', path: `/v1/admin/keys/${escape(key)}/callbacks/${escape(event)}/resume`, auth: 'operator', query }, options);
  }
}
