// Anthropic's SDK for JavaScript, with providers of its own dialect and of foreign ones.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import test from "node:test";

import { Anthropic, DOT, EVERY, PDF, STRANGER, URL, all, city, ends, ferry, heard, key, makeAnthropic, marker, model, names, refused, require, sent, text } from "./sdks.mjs";

const { z } = require("zod");
const { zodOutputFormat } = require("@anthropic-ai/sdk/helpers/zod");

const anthropic = makeAnthropic();
const tools = names.map((name) => ({ name, description: name, input_schema: city }));
const user = (content) => ({ role: "user", content });
const create = (name, more = {}, options = {}) => anthropic.messages.create({ model: name, max_tokens: 100, messages: [user(text)], ...more }, options);
const textOf = (answer) => answer.content.filter((block) => block.type === "text").map((block) => block.text).join("");
// As the SDK's users keep it: what the helper parsed is not the API's.
const kept = (answer) => ({ role: "assistant", content: answer.content.map(({ parsed_output: _, ...block }) => block) });

for (const egress of EVERY) {
  const of = (short) => model(egress, short);

  for (const stream of [false, true]) {
    const way = stream ? "streamed" : "whole";
    const ask = (asked) => stream ? anthropic.messages.stream(asked).finalMessage() : anthropic.messages.create(asked);

    test(`messages → ${egress}: Tool round trip, ${way}`, async () => {
      const asked = { model: of("tools"), max_tokens: 500, tools, messages: [user(text)] };
      const said = await ask(asked);
      const calls = said.content.filter((block) => block.type === "tool_use");
      assert.deepEqual(calls.map((call) => call.name), names);
      const results = calls.map((call, at) => ({ type: "tool_result", tool_use_id: call.id, content: `mild ${call.name}`, is_error: at === 1 }));
      const after = await ask({ ...asked, messages: [user(text), kept(said), user(results)] });
      assert.equal(after.stop_reason, "end_turn");
      for (const name of names) assert.ok(textOf(after).includes(`mild ${name}`), textOf(after));
    });

    test(`messages → ${egress}: Thinking with its signature, given back, ${way}`, async () => {
      const asked = { model: of("think"), max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 2000 }, messages: [user(text)] };
      const said = await ask(asked);
      assert.equal(said.content[0].type, "thinking", "thought comes before the answer");
      assert.ok(said.content[0].thinking && textOf(said));
      const word = marker();
      const next = await ask({ ...asked, messages: [...asked.messages, kept(said), user(word)] });
      assert.ok(textOf(next));
      assert.equal((await ends(word)).length, 1);
      if (egress === "messages") {
        const [{ body }] = sent(word);
        assert.deepEqual(body.messages[1].content[0], said.content[0], "it went back as it came");
      }
    });

    test(`messages → ${egress}: Stop by length, ${way}`, async () => {
      assert.equal((await ask({ model: of("story"), max_tokens: 5, messages: [user(text)] })).stop_reason, "max_tokens");
    });

    test(`messages → ${egress}: Structured output, ${way}`, async () => {
      const answer = await ask({ model: of("json"), max_tokens: 500, messages: [user(text)], output_config: { format: { type: "json_schema", schema: ferry } } });
      assert.deepEqual(Object.keys(JSON.parse(textOf(answer))), ["name", "seats"]);
    });

    test(`messages → ${egress}: Cached tokens apart from the others, ${way}`, async () => {
      const { usage } = await ask({ model: of("cached"), max_tokens: 100, messages: [user(text)] });
      assert.deepEqual([usage.input_tokens, usage.cache_read_input_tokens], [60, 40]);
    });
  }

  test(`messages → ${egress}: parse() gives an object of the asked type`, async () => {
    const Ferry = z.object({ name: z.string(), seats: z.number().int() });
    const answer = await anthropic.messages.parse({ model: of("json"), max_tokens: 500, messages: [user(text)], output_config: { format: zodOutputFormat(Ferry) } });
    Ferry.parse(answer.parsed_output);
  });

  test(`messages → ${egress}: Raw events in the documented order`, async () => {
    const kinds = (await all(create(of("echo"), { stream: true }))).map((event) => event.type).filter((kind) => kind !== "ping");
    assert.deepEqual(kinds.slice(0, 2), ["message_start", "content_block_start"]);
    assert.deepEqual(kinds.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
    assert.deepEqual([...new Set(kinds.slice(2, -3))], ["content_block_delta"]);
  });

  test(`messages → ${egress}: Tool choice: none, any, by name, one call only`, async () => {
    const called = async (short, tool_choice) => (await create(of(short), { tools, tool_choice })).content.filter((block) => block.type === "tool_use").map((block) => block.name);
    assert.deepEqual(await called("tools", { type: "none" }), []);
    assert.deepEqual(await called("tools", { type: "auto" }), names);
    assert.deepEqual(await called("echo", { type: "any" }), ["weather"]);
    assert.deepEqual(await called("echo", { type: "tool", name: "tide" }), ["tide"]);
    if (egress !== "gemini") assert.deepEqual(await called("tools", { type: "auto", disable_parallel_tool_use: true }), ["weather"]);
  });

  test(`messages → ${egress}: Stop sequence`, async () => {
    const answer = await create(of("echo"), { messages: [user("one two three [[pace=0]]")], stop_sequences: ["two"] });
    assert.ok(textOf(answer).includes("one") && !textOf(answer).includes("two"), textOf(answer));
  });

  test(`messages → ${egress}: Marks of the prompt cache reach Anthropic, and nobody else`, async () => {
    const word = marker();
    const cache_control = { type: "ephemeral", ttl: "1h" };
    await create(heard(egress, "plain"), { system: [{ type: "text", text: "Be brief.", cache_control }],
      tools: [{ ...tools[0], cache_control }], messages: [user([{ type: "text", text: word, cache_control }])] });
    const [{ body }] = sent(word);
    if (egress === "messages") {
      assert.deepEqual([body.system[0], body.tools[0], body.messages[0].content[0]].map((one) => one.cache_control), Array(3).fill(cache_control));
    } else assert.ok(!JSON.stringify(body).includes("cache_control"));
  });

  test(`messages → ${egress}: Images and documents`, async () => {
    const word = marker();
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: DOT } };
    const document = { type: "document", title: "tide.pdf", citations: { enabled: true }, source: { type: "base64", media_type: "application/pdf", data: PDF } };
    const { response } = await create(heard(egress, "plain"), { messages: [user([image, document, { type: "text", text: word }])] }).withResponse();
    const [{ body }] = sent(word);
    assert.ok(JSON.stringify(body).includes(DOT) && JSON.stringify(body).includes(PDF));
    if (egress === "messages") assert.deepEqual(body.messages[0].content.slice(0, 2), [image, document]);
    else assert.ok(response.headers.get("x-tidegate-dropped").includes("citations"));
  });

  test(`messages → ${egress}: Redacted thoughts go back to who made them, and to nobody else`, async () => {
    const word = marker();
    const hidden = { type: "redacted_thinking", data: "EncryptedThought" };
    await create(heard(egress, "plain"), { max_tokens: 2000, messages: [user("hello"), { role: "assistant", content: [hidden, { type: "text", text: "hi" }] }, user(word)] });
    assert.equal(JSON.stringify(sent(word)[0].body).includes("EncryptedThought"), egress === "messages");
  });

  // Of OpenAI's family stands there a model that takes no temperature.
  if (egress !== "chat") {
    test(`messages → ${egress}: Temperatures, whole and between`, async () => {
      for (const temperature of [0, 0.5, 1]) {
        const word = marker();
        await create(heard(egress, "plain"), { messages: [user(word)], temperature });
        const [{ body }] = sent(word);
        const said = egress === "gemini" ? body.generationConfig.temperature : body.temperature;
        assert.equal(said, temperature);
      }
    });
  }

  test(`messages → ${egress}: Headers of beta features reach Anthropic and nobody else`, async () => {
    const word = marker();
    await anthropic.beta.messages.create({ model: heard(egress, "plain"), max_tokens: 50, messages: [user(word)], betas: ["tides-2026-01-01", "ebb-2026-02-02"] });
    assert.equal(sent(word)[0].headers["anthropic-beta"], egress === "messages" ? "tides-2026-01-01,ebb-2026-02-02" : undefined);
  });

  test(`messages → ${egress}: Both API versions, both ways to send the key`, async () => {
    for (const version of ["2023-06-01", "2026-10-21"]) {
      assert.ok(textOf(await create(of("echo"), {}, { headers: { "anthropic-version": version } })));
    }
    const bearer = new Anthropic({ baseURL: URL, apiKey: null, authToken: key(), maxRetries: 0 });
    assert.ok(textOf(await bearer.messages.create({ model: of("echo"), max_tokens: 100, messages: [user(text)] })));
  });

  test(`messages → ${egress}: Pings and comments in a stream while nothing else comes`, async () => {
    const final = await anthropic.messages.stream({ model: of("pings"), max_tokens: 100, messages: [user(text)] }).finalMessage();
    assert.equal(textOf(final).trim().split(/\s+/).length, 12);
  });

  test(`messages → ${egress}: An upstream that dies in mid-stream raises`, async () => {
    const events = [];
    const error = await refused(async () => {
      for await (const event of await create(of("dies"), { stream: true })) events.push(event.type);
    });
    assert.ok(error instanceof Anthropic.APIError && error.message, error);
    assert.ok(events.length > 0 && !events.includes("message_stop"));
  });

  if (egress !== "gemini") {
    test(`messages → ${egress}: An abort ends the upstream's call`, async () => {
      const word = marker();
      const stream = await create(of("endless"), { messages: [user(word)], stream: true, max_tokens: 20_000 });
      let parts = 0;
      for await (const _ of stream) {
        parts += 1;
        if (parts === 5) break;
      }
      stream.controller.abort();
      const [end] = await ends(word, 5_000);
      assert.ok(end.aborted && end.events < 4_000, JSON.stringify(end));
    });
  }
}

for (const [egress, body] of [["chat", { top_k: 5 }], ["gemini", { container: "c_1" }]]) {
  test(`messages → ${egress}: What cannot be said upstream is signalled; strict refuses it`, async () => {
    const [field] = Object.keys(body);
    const { response } = await create(model(egress, "echo"), body).withResponse();
    assert.ok(response.headers.get("x-tidegate-dropped").split(/, */).includes(field));
    const error = await refused(() => create(model(egress, "echo"), body, { headers: { "x-tidegate-strict": "true" } }));
    assert.ok(error instanceof Anthropic.BadRequestError && error.message.includes(field), error.message);
  });
}

test("messages → -: Errors of the gateway: 400, 401, 402, 403, 404, 413", async () => {
  const of = (error) => [error.status, error.error?.error?.type];
  const asked = { model: "demo/echo", max_tokens: 50, messages: [user(text)] };
  assert.deepEqual(of(await refused(() => create("demo/echo", { messages: [{ role: "nobody", content: "x" }] }))), [400, "invalid_request_error"]);
  const stranger = new Anthropic({ baseURL: URL, apiKey: STRANGER, maxRetries: 0 });
  assert.deepEqual(of(await refused(() => stranger.messages.create(asked))), [401, "authentication_error"]);
  const poor = makeAnthropic("poor", { maxRetries: 3 });
  assert.deepEqual(of(await refused(() => poor.messages.create({ ...asked, model: "up/ok", max_tokens: 1000 }))), [402, "billing_error"]);
  assert.deepEqual(of(await refused(() => makeAnthropic("narrow").messages.create({ ...asked, model: "up/ok" }))), [403, "permission_error"]);
  assert.deepEqual(of(await refused(() => create("demo/ecco"))), [404, "not_found_error"]);
  assert.deepEqual(of(await refused(() => create("demo/echo", { messages: [user("x".repeat(70_000_000))] }))), [413, "request_too_large"]);
});
