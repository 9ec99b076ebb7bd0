// Verifies one request with the libraries of others. It reads an object with secret,
// headers (their names in lower case) and body from standard input, and prints the name of
// each header whose signature is right.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
if (headers["webhook-signature"]) {
  new Webhook(secret).verify(body, headers);
  console.log("webhook-signature");
}
if (headers["x-hub-signature-256"] && (await verify(secret, body, headers["x-hub-signature-256"]))) {
  console.log("x-hub-signature-256");
}
const hex = headers["x-acme-signature"];
if (hex && timingSafeEqual(Buffer.from(hex, "hex"), createHmac("sha256", secret).update(body).digest())) {
  console.log("x-acme-signature");
}
