// What every test needs: the SDK from outside the tree, clients with the stand's keys, the upstream's journal.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const sdk = require("openai");
export const OpenAI = sdk.OpenAI ?? sdk.default;
export { require };

export const URL = `${process.env.TIDEGATE_URL}/v1`;

export function key(name) {
  return process.env[`STAND_KEY_${name.toUpperCase()}`];
}

export function makeClient(name = "app", more = {}) {
  return new OpenAI({ baseURL: URL, apiKey: key(name), maxRetries: 0, timeout: 30_000, ...more });
}

export function ask(content = "hello") {
  return [{ role: "user", content }];
}

let words = 0;
// A word that no other test sends.
export function marker() {
  words += 1;
  return `marker-node-${process.pid}-${words}-${Date.now()}`;
}

function lines() {
  // What follows the last newline is still being written.
  return readFileSync(process.env.STAND_JOURNAL, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

// All dispatches of one request of ours, each with its `end`; waits (bounded) until they ended.
export async function dispatches(requestId, patience = 10_000) {
  const deadline = Date.now() + patience;
  for (;;) {
    const all = lines();
    const ends = new Map(all.filter((line) => line.line === "end").map((line) => [line.number, line.end]));
    const found = all.filter((line) => line.line === "dispatch" && line.request_id === requestId);
    if (found.length > 0 && found.every((line) => ends.has(line.number))) {
      return found.map((line) => ({ ...line, end: ends.get(line.number) }));
    }
    if (Date.now() > deadline) throw new Error(`the upstream knows ${found.length} dispatches of ${requestId}, not all ended`);
    await sleep(20);
  }
}

// Distinct requests of ours whose body holds the word.
export function requestsOf(word) {
  const of = lines().filter((line) => line.line === "dispatch" && (line.body ?? "").includes(word));
  return new Set(of.map((line) => line.request_id));
}

export async function textOf(stream) {
  let text = "";
  for await (const part of stream) text += part.choices[0]?.delta?.content ?? "";
  return text;
}
