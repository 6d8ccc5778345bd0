// What the tests of the dialects share: the vendors' SDKs from outside the tree, the stand's models, and what left the
// gateway.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

export const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const sdk = require("openai");
export const OpenAI = sdk.OpenAI ?? sdk.default;
export const AzureOpenAI = sdk.AzureOpenAI;
export const Anthropic = require("@anthropic-ai/sdk").Anthropic ?? require("@anthropic-ai/sdk").default;
export const { GoogleGenAI } = require("@google/genai");

export const URL = process.env.TIDEGATE_URL;
export const key = (name = "app") => process.env[`STAND_KEY_${name.toUpperCase()}`];
export const STRANGER = `tg-${"A".repeat(38)}`;
const MODELS = JSON.parse(process.env.STAND_MODELS);
// The provider through which the gateway speaks a dialect upstream.
export const PROVIDERS = { chat: "", responses: "openai", messages: "anthropic", gemini: "gemini" };
export const EVERY = ["chat", "messages", "gemini"];

// The name by which a client asks for one of the stand's models so that the gateway speaks `egress` upstream.
export const model = (egress, short) => MODELS[PROVIDERS[egress]][short];
// One whose requests are written down, also those in the client's own dialect.
export const heard = (egress, short) => model(egress === "chat" ? "responses" : egress, short);

export const makeOpenAI = (name, more = {}) => new OpenAI({ baseURL: `${URL}/v1`, apiKey: key(name), maxRetries: 0, ...more });
export const makeAnthropic = (name, more = {}) => new Anthropic({ baseURL: URL, apiKey: key(name), maxRetries: 0, ...more });
export const makeGoogle = (name, more = {}) => new GoogleGenAI({ apiKey: key(name), httpOptions: { baseUrl: URL, ...more } });

export const text = "the tide [[pace=0]]";
export const names = ["weather", "tide"];
export const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
export const ferry = { type: "object", properties: { name: { type: "string" }, seats: { type: "integer" } }, required: ["name", "seats"], additionalProperties: false };
export const PDF = Buffer.from("%PDF-1.4 a tide table").toString("base64");
export const WAVE = Buffer.concat([Buffer.from("RIFF"), Buffer.alloc(40)]).toString("base64");
export const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

let words = 0;
// A word that no other test sends.
export function marker() {
  words += 1;
  return `mark-${process.pid}-${words}-${Date.now()}`;
}

// What follows the last newline is still being written.
const lines = (path) => readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));

// The requests that left the gateway for itself and hold the word.
export const sent = (word) => lines(process.env.STAND_RECORD).filter((request) => request.body.includes(word))
  .map((request) => ({ ...request, body: JSON.parse(request.body) }));

// How the upstream's calls ended whose bodies hold the word; waits (bounded) until they did.
export async function ends(word, patience = 10_000) {
  for (const deadline = Date.now() + patience; ; await sleep(20)) {
    const all = lines(process.env.STAND_JOURNAL);
    const asked = all.filter((line) => line.line === "dispatch" && (line.body ?? "").includes(word));
    const found = asked.map((one) => all.find((line) => line.line === "end" && line.number === one.number)?.end);
    if (found.length > 0 && found.every(Boolean)) return found;
    if (Date.now() > deadline) throw new Error(`the upstream has ${found.length} calls with ${word}, not all ended`);
  }
}

// What `call` was refused with.
export async function refused(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("it should have been refused");
}

export async function all(stream) {
  const parts = [];
  for await (const part of await stream) parts.push(part);
  return parts;
}
