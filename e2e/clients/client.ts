// Calls a server with openapi-fetch and the types that openapi-typescript makes.
import { createHmac } from 'node:crypto';
import createClient from 'openapi-fetch';
import type { paths } from './api.js';

const { SERVER, RECEIVER, ACCOUNT, KEY, SECRET } = process.env as Record<string, string>;
const c = createClient<paths>({ baseUrl: SERVER });
c.use({
  onRequest({ request }) {
    const at = new Date().toISOString();
    request.headers.set('API-Key', KEY);
    request.headers.set('API-Timestamp', at);
    request.headers.set('API-Token', createHmac('sha256', SECRET).update(`${ACCOUNT}:${KEY}@${at}`).digest('hex'));
  },
});

// data is what a call must be answered with.
async function data<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (data === undefined) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`);
  return data;
}

function must(ok: boolean, what: string) {
  if (!ok) throw new Error(what);
}

async function callbacks() {
  const made = await data(c.POST('/v1/callbacks', {
    body: { event: 'SESSION:STAGE_CHANGE', url: RECEIVER, headers: { Authorization: 'Bearer x' }, payload: { source: 'PAVE' }, policy: { timeout: '5s', retry: ['0s', '1m'] } },
  }));
  must(made.payload['source'] === 'PAVE', 'payload');
  const at = { params: { path: { event: 'SESSION:STAGE_CHANGE' as const } } };
  must((await data(c.GET('/v1/callbacks/{event}/policy', at))).timeout === '5s', 'policy');
  const sent = await data(c.POST('/v1/callbacks/{event}/test', at));
  must(sent.state === 'delivered' && sent.history?.[0]?.response?.status === 200, 'test');
  await data(c.POST('/v1/callbacks', { body: { event: 'SESSION:NOTE_INSERT', url: 'http://127.0.0.1:1/' } }));
  const lost = await data(c.POST('/v1/callbacks/{event}/test', { params: { path: { event: 'SESSION:NOTE_INSERT' } } }));
  must(lost.history?.[0]?.response === null, 'test without an answer');
  const none = await c.GET('/v1/callbacks/{event}', { params: { path: { event: 'SESSION:COMPLETE' } } });
  must(none.error !== undefined && 'api_key' in none.error, '404');
}

async function events() {
  const event = { event: 'SESSION:STATUS_CHANGE' as const, session_key: 'ACM-0123456789', data: { status: 'STARTED' } };
  const one = await data(c.POST('/v1/events', { params: { header: { 'Idempotency-Key': 'one' } }, body: event }));
  if (Array.isArray(one)) throw new Error('one event was answered with an array');
  const many = await data(c.POST('/v1/events', { body: [event, event] }));
  must(Array.isArray(many) && many.length === 2, 'many');
  must((await data(c.GET('/v1/events/{id}', { params: { path: { id: one.id } } }))).data['status'] === 'STARTED', 'event');
  const page = await data(c.GET('/v1/events', { params: { query: { limit: 2 } } }));
  must(page.data.length === 2 && page.next !== null, 'events');
  await data(c.GET('/v1/events/{id}/explain', { params: { path: { id: one.id } } }));
  await data(c.POST('/v1/replays', { body: { callback: '1', states: ['delivered'], dry_run: true } }));
}

async function session() {
  // Members of vehicle may stand at the top too.
  await data(c.POST('/v1/sessions', { body: { vin: 'JN1CV6AR9BM123456', session: { reference: { stock: 'A2' } } } }));
  const { session_key: key } = await data(c.POST('/v1/sessions', {
    body: { vehicle: { vin: 'JN1CV6AR9BM123456', year: '2017' }, sms: { to: '+15555550100' }, options: { reference: { stock: 'A1' } } },
  }));
  const params = { path: { key } };
  await data(c.POST('/v1/sessions/{key}/start', { params }));
  for (let code = 1; code <= 13; code++) {
    await data(c.POST('/v1/sessions/{key}/photos', { params, body: { photo_code: code, url: 'https://photos.example/1.jpg', approved: true } }));
  }
  await data(c.PUT('/v1/sessions/{key}/results', { params, body: { landing_page: 'https://report.example/1', inspection: { grade: 4 } } }));
  must((await data(c.POST('/v1/sessions/{key}/complete', { params }))).status === 'COMPLETE', 'complete');
  must((await data(c.GET('/v1/sessions/{key}/results', { params }))).session.session_key === key, 'results');
}

await callbacks();
await events();
await session();
console.log('every call was answered as openapi.yaml says');
