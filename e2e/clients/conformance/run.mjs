// Makes the calls that it reads from standard input, a JSON object a line, with the client
// for TypeScript, and answers each with a line.
import { createInterface } from 'node:readline';
import { CallbackdError, Client, VerificationError, verify } from './dist/index.js';

const { SERVER: base, ACCOUNT: account, KEY: apiKey, SECRET: apiSecret, TOKEN: operatorToken } = process.env;
const clients = {
  '': new Client({ base, account, apiKey, apiSecret, operatorToken }),
  stranger: new Client({ base, account, apiKey, apiSecret: 'x', operatorToken: 'x' }),
};

async function answer({ as = '', call, path = [], body, query, idempotency_key: idempotencyKey, verify: request }) {
  if (request !== undefined) {
    return verify(request.secrets, request.headers, Buffer.from(request.body), { now: new Date(request.now * 1000) });
  }
  const more = [body, query, idempotencyKey && { idempotencyKey }].filter((one) => one !== undefined);
  const out = await clients[as][call](...path, ...more);
  if (typeof out === 'string') return { begin: out.slice(0, 14) };
  if (!(Symbol.asyncIterator in out)) return out;
  for await (const { id, event, data } of out) if (data !== '') return { id, event };
}

for await (const line of createInterface({ input: process.stdin })) {
  let out;
  try {
    out = { status: 200, answer: (await answer(JSON.parse(line))) ?? null };
  } catch (e) {
    if (e instanceof CallbackdError) out = { status: e.status, reason: e.reason };
    else if (e instanceof VerificationError) out = { status: 0, reason: e.message };
    else throw e;
  }
  console.log(JSON.stringify(out));
}
