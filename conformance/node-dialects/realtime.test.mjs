// OpenAI's SDK for JavaScript in a session over a WebSocket. It knows no address but `wss:`; the TLS, which elsewhere ends
// in front of the gateway, is left out by an option of the socket.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";
import test from "node:test";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const OpenAI = require("openai").OpenAI ?? require("openai").default;
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const client = new OpenAI({ baseURL: `${process.env.TIDEGATE_URL}/v1`, apiKey: process.env.STAND_KEY_APP, maxRetries: 0 });
const asked = (text) => ({ type: "conversation.item.create",
  item: { type: "message", role: "user", content: [{ type: "input_text", text }] } });

// Opens a session, sends the events, and gives what came until the socket closed.
function session(model, events, ended) {
  return new Promise((resolve, reject) => {
    const heard = [];
    const options = { createConnection: ({ host, port }) => net.connect(port, host) };
    const realtime = new OpenAIRealtimeWS({ model, options }, client);
    realtime.on("error", (error) => { if (!error.error) reject(error); });
    realtime.on("event", (event) => {
      heard.push(event);
      if (event.type === "session.created") for (const one of events) realtime.send(one);
      if (event.type === ended) realtime.close();
    });
    realtime.socket.on("close", (code) => resolve({ heard, code }));
    realtime.socket.on("unexpected-response", (_, answer) => reject(Object.assign(new Error(`status ${answer.statusCode}`), { status: answer.statusCode })));
  });
}

test("chat → -: Realtime: a turn of text", async () => {
  const update = { type: "session.update", session: { type: "realtime", output_modalities: ["text"] } };
  const { heard } = await session("demo/realtime", [update, asked("high water"), { type: "response.create" }], "response.done");
  const said = heard.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  assert.ok(said.includes("high water"), said);
  const { usage } = heard.at(-1).response;
  assert.equal(usage.total_tokens, usage.input_tokens + usage.output_tokens);
});

test("chat → -: Realtime: close codes", async () => {
  const { heard, code } = await session("demo/realtime", [asked("farewell [[close=4321]]"), { type: "response.create" }], "none");
  assert.equal(heard.at(-1).type, "response.done");
  assert.equal(code, 4321);
});

test("chat → -: Realtime: refusals come before the upgrade", async () => {
  await assert.rejects(session("demo/none", [], "none"), (error) => error.status === 404);
});
