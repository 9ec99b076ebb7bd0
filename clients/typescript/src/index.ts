export * from './api.js';
export { CallbackdError, type CallOptions, type ClientOptions, type ServerSentEvent } from './transport.js';
export { VerificationError, verify, type VerifyOptions } from './verify.js';
