// Good answers: whole, streamed, embedded, listed; unchanged both ways.

import assert from "node:assert/strict";
import test from "node:test";

import { OpenAI, URL, ask, dispatches, key, makeClient, require, textOf } from "./stand.mjs";

const client = makeClient();

test("chat", async () => {
  const answer = await client.chat.completions.create({ model: "up/ok", messages: ask() });
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.completion_tokens, 16);
  assert.match(answer._request_id, /^[0-9a-f-]{36}$/);
});

test("a stream is the whole answer in parts", async () => {
  const whole = await client.chat.completions.create({ model: "demo/story", messages: ask("the sea") });
  const stream = await client.chat.completions.create({ model: "demo/story", messages: ask("the sea"), stream: true });
  assert.equal(await textOf(stream), whole.choices[0].message.content);
});

test("the usage chunk comes only if asked for", async () => {
  const parts = async (more) => {
    const all = [];
    const stream = await client.chat.completions.create({ model: "up/ok", messages: ask(), stream: true, ...more });
    for await (const part of stream) all.push(part);
    return all;
  };
  const asked = await parts({ stream_options: { include_usage: true } });
  assert.equal(asked.at(-1).usage.completion_tokens, 16);
  const plain = await parts({});
  assert.ok(plain.every((part) => part.usage == null && part.choices.length > 0));
});

test("embeddings, by default and as floats", async () => {
  const packed = await client.embeddings.create({ model: "demo/embed", input: "the sea" });
  const floats = await client.embeddings.create({ model: "demo/embed", input: "the sea", encoding_format: "float" });
  const [a, b] = [packed.data[0].embedding, floats.data[0].embedding];
  assert.equal(a.length, b.length);
  assert.ok(a.every((number, at) => Math.abs(number - b[at]) < 1e-6));
});

test("completions", async () => {
  const answer = await client.completions.create({ model: "up/ok", prompt: "once" });
  assert.ok(answer.choices[0].text);
});

test("models are listed, found, and not found", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.filter((name) => name.startsWith("demo/")).length >= 10);
  assert.equal((await client.models.retrieve("demo/echo")).id, "demo/echo");
  await assert.rejects(client.models.retrieve("demo/ecco"), OpenAI.NotFoundError);
});

test("the key is taken where other SDKs put it", async () => {
  for (const headers of [{ "x-api-key": key("app") }, { "api-key": key("app") }, { "x-goog-api-key": key("app") }]) {
    const answer = await fetch(`${URL}/models`, { headers });
    assert.equal(answer.status, 200, Object.keys(headers)[0]);
  }
  assert.equal((await fetch(`${URL}/models?key=${key("app")}`)).status, 200);
  assert.equal((await fetch(`${URL}/models`)).status, 401);
});

test("fifty streams at once do not mix", async () => {
  const one = async (n) => {
    const word = `only-${n}-here`;
    const messages = ask(Array(20).fill(word).join(" "));
    const stream = await client.chat.completions.create({ model: "up/ok-echo-d5", messages, stream: true });
    return [word, await textOf(stream)];
  };
  for (const [word, text] of await Promise.all(Array.from({ length: 50 }, (_, n) => one(n)))) {
    assert.ok(text.includes(word));
    assert.deepEqual(text.split(/\s+/).filter((part) => part && part !== word), [], `${word} got words of others`);
  }
});

test("tool calls through the helper", async () => {
  const tool = (name) => ({
    type: "function",
    function: { name, parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
  });
  const stream = (client.chat.completions.stream ? client.chat.completions : client.beta.chat.completions).stream({
    model: "demo/tools",
    messages: ask("weather in Lisbon and Oslo"),
    tools: [tool("weather"), tool("tide")],
  });
  const final = await stream.finalChatCompletion();
  const calls = final.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((call) => call.function.name).sort(), ["tide", "weather"]);
  for (const call of calls) assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
});

test("parse gives an object of the asked type", async () => {
  const { z } = require("zod");
  const { zodResponseFormat } = require("openai/helpers/zod");
  const Ferry = z.object({ name: z.string(), seats: z.number().int(), open_deck: z.boolean() });
  const answer = await client.chat.completions.parse({
    model: "demo/json",
    messages: ask("a ferry"),
    response_format: zodResponseFormat(Ferry, "ferry"),
  });
  Ferry.parse(answer.choices[0].message.parsed);
});

test("headers tell what happened", async () => {
  const { response, data } = await client.chat.completions.create({ model: "up/ok", messages: ask() }).withResponse();
  const header = (name) => response.headers.get(name);
  assert.equal(header("x-tidegate-model"), "up/ok");
  assert.equal(header("x-tidegate-attempts"), "1");
  assert.match(header("x-tidegate-release"), /[0-9]+$/);
  assert.match(header("server-timing"), /^gateway;dur=[0-9.]+$/);
  const cost = (data.usage.prompt_tokens * 0.1 + data.usage.completion_tokens * 0.4) / 1e6;
  assert.ok(Math.abs(Number(header("x-tidegate-cost")) - cost) < 1e-9, header("x-tidegate-cost"));
  assert.equal(header("x-request-id"), data._request_id);
});

test("unknown fields pass both ways", async () => {
  const body = JSON.stringify({
    id: "c1", object: "chat.completion", created: 1, model: "m", x_new: { deep: [1, 2] },
    choices: [{ index: 0, message: { role: "assistant", content: "hi", x_mood: "calm" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  });
  const answer = await client.chat.completions.create({
    model: "up/ok", messages: ask(), chat_template_kwargs: { enable_thinking: false }, fake: { body },
  });
  assert.deepEqual(answer.x_new, { deep: [1, 2] });
  assert.equal(answer.choices[0].message.x_mood, "calm");
  const [dispatch] = await dispatches(answer._request_id);
  assert.deepEqual(JSON.parse(dispatch.body).chat_template_kwargs, { enable_thinking: false });
});
