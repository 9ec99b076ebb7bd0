import { createHmac, timingSafeEqual } from 'node:crypto';

/** A request is not one that callbackd sent with the secret. The message says why. */
export class VerificationError extends Error {
  override name = 'VerificationError';
}

/** What verify may be told. */
export interface VerifyOptions {
  /** How far webhook-timestamp may be from now, in seconds; the default is 300. */
  tolerance?: number;
  now?: Date;
}

type HeaderMap = Headers | Record<string, string | readonly string[] | undefined>;

/**
 * Checks a request by Standard Webhooks, and throws a VerificationError when it is not right.
 * The body is the one that was received, before it is read as JSON. A request may have
 * several signatures, and there may be several secrets while one is changed: one of each that
 * fit together is enough.
 */
export function verify(secrets: string | readonly string[], headers: HeaderMap, body: string | Uint8Array, options: VerifyOptions = {}): void {
  const id = header(headers, 'webhook-id');
  const stamp = header(headers, 'webhook-timestamp');
  const signatures = header(headers, 'webhook-signature');
  if (id === '' || stamp === '' || signatures === '') {
    throw new VerificationError('the request lacks webhook-id, webhook-timestamp or webhook-signature');
  }
  if (!/^[0-9]{1,15}$/.test(stamp)) throw new VerificationError('webhook-timestamp is not a number of seconds');
  const { tolerance = 300, now = new Date() } = options;
  const age = Math.abs(now.getTime() / 1000 - Number(stamp));
  if (!(age <= tolerance)) throw new VerificationError(`webhook-timestamp is ${Math.round(age)} s away from now, more than ${tolerance} s`);
  for (const secret of typeof secrets === 'string' ? [secrets] : secrets) {
    const right = Buffer.from('v1,' + createHmac('sha256', keyOf(secret)).update(`${id}.${stamp}.`).update(body).digest('base64'));
    for (const one of signatures.split(' ')) {
      const given = Buffer.from(one);
      if (given.length === right.length && timingSafeEqual(given, right)) return;
    }
  }
  throw new VerificationError('no signature in webhook-signature is right: the secret is another one, or the body was changed');
}

function keyOf(secret: string): Buffer {
  const text = secret.replace(/^whsec_/, '');
  const key = Buffer.from(text, 'base64');
  if (text === secret || key.toString('base64') !== text) throw new VerificationError('a signing secret is whsec_ and standard base64');
  if (key.length < 24 || key.length > 64) throw new VerificationError(`a signing secret holds 24 to 64 bytes; this one holds ${key.length}`);
  return key;
}

function header(headers: HeaderMap, name: string): string {
  if (typeof (headers as Headers).get === 'function') return (headers as Headers).get(name) ?? '';
  for (const [given, value] of Object.entries(headers)) {
    if (given.toLowerCase() === name) return typeof value === 'string' ? value : (value?.[0] ?? '');
  }
  return '';
}
