import { createHmac } from 'node:crypto';

/** Where the server is, and who calls it. */
export interface ClientOptions {
  /** Such as http://127.0.0.1:8080. */
  base: string;
  account?: string;
  apiKey?: string;
  apiSecret?: string;
  /** An operator token, for the calls of /v1/admin. */
  operatorToken?: string;
  /** How long a call may take, in milliseconds; the default is 60000. A stream has no such limit. */
  timeout?: number;
  fetch?: typeof globalThis.fetch;
}

/** What one call may have besides its parameters. */
export interface CallOptions {
  /** The call has its effect once: a repeat with the same key gets the first answer. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** A call was answered with another status than 2xx. */
export class CallbackdError extends Error {
  override name = 'CallbackdError';
  constructor(
    readonly status: number,
    /** What the server says is wrong. */
    readonly reason: string,
    /** After how many seconds the call may be repeated, when the server says so. */
    readonly retryAfter?: number,
  ) {
    super(`${status}: ${reason}`);
  }
}

/** One message of a stream. A message without data has the cursor to go on with as its id. */
export interface ServerSentEvent {
  id: string;
  event: string;
  data: string;
}

type Authentication = 'apiKey' | 'operator' | 'accessToken' | 'none';

interface Call {
  method: string;
  path: string;
  auth: Authentication;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
}

/** Returns text as a part of a path. */
export function escape(text: string | number): string {
  return encodeURIComponent(String(text));
}

/** Makes the calls of Client. */
export class Transport {
  constructor(private readonly settings: ClientOptions) {}

  protected async json<T>(call: Call, options: CallOptions): Promise<T> {
    return JSON.parse(await this.text(call, options)) as T;
  }

  protected async text(call: Call, options: CallOptions): Promise<string> {
    const limit = AbortSignal.timeout(this.settings.timeout ?? 60_000);
    const either = new AbortController();
    const stop = (signal: AbortSignal) => () => either.abort(signal.reason);
    const stops = [limit, options.signal].map((signal) => {
      if (signal === undefined) return () => undefined;
      const listener = stop(signal);
      if (signal.aborted) listener();
      signal.addEventListener('abort', listener);
      return () => signal.removeEventListener('abort', listener);
    });
    try {
      return await (await this.send(call, options, either.signal)).text();
    } finally {
      for (const remove of stops) remove();
    }
  }

  protected async *stream(call: Call, options: CallOptions): AsyncGenerator<ServerSentEvent> {
    const { body } = await this.send(call, options, options.signal);
    if (body === null) return;
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = '';
    let message: ServerSentEvent = { id: '', event: '', data: '' };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const [, name, text] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
          if (name === 'id' || name === 'event' || name === 'data') message[name] += text;
          if (line !== '') continue;
          if (message.id !== '' || message.data !== '') yield message;
          message = { id: '', event: '', data: '' };
        }
      }
    } finally {
      await reader.cancel();
    }
  }

  private async send(call: Call, options: CallOptions, signal?: AbortSignal): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const headers = this.authentication(call.auth);
    headers['Accept'] = 'application/json, */*;q=0.9';
    if (call.body !== undefined) headers['Content-Type'] = 'application/json';
    if (options.idempotencyKey !== undefined) headers['Idempotency-Key'] = options.idempotencyKey;
    const text = query.toString();
    const answer = await (this.settings.fetch ?? fetch)(this.settings.base.replace(/\/+$/, '') + call.path + (text && `?${text}`), {
      method: call.method,
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
      redirect: 'manual', // so that no other server gets the headers
      signal: signal ?? null,
    });
    if (answer.ok) return answer;
    const after = Number(answer.headers.get('Retry-After') ?? NaN);
    throw new CallbackdError(answer.status, message(await answer.text()) || answer.statusText, Number.isFinite(after) ? after : undefined);
  }

  private authentication(by: Authentication): Record<string, string> {
    const { account = '', apiKey = '', apiSecret = '', operatorToken = '' } = this.settings;
    if (by === 'operator') return { Authorization: `Bearer ${operatorToken}` };
    if (by === 'accessToken') return { 'API-Access-Token': apiKey };
    if (by === 'none') return {};
    const at = new Date().toISOString();
    const token = createHmac('sha256', apiSecret).update(`${account}:${apiKey}@${at}`).digest('hex');
    return { 'API-Key': apiKey, 'API-Timestamp': at, 'API-Token': token };
  }
}

// message returns what an error says; it is empty when the body is not one of callbackd's.
function message(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
