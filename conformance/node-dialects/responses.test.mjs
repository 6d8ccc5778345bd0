// OpenAI's SDK for JavaScript at its newer door, with providers of its own dialect and of foreign ones.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";

import { EVERY, OpenAI, all, city, makeOpenAI, marker, model, names, refused, require, sent, text, STRANGER, URL } from "./sdks.mjs";

const { z } = require("zod");
const { zodTextFormat } = require("openai/helpers/zod");
const { ResponsesWS } = require("openai/resources/responses/ws");

const openai = makeOpenAI();
const tools = names.map((name) => ({ type: "function", name, strict: false, parameters: city }));
const Ferry = z.object({ name: z.string(), seats: z.number().int() });
const create = (name, more = {}, options = {}) => openai.responses.create({ model: name, input: text, store: false, ...more }, options);
const calls = (answer) => answer.output.filter((item) => item.type === "function_call");

// A connection that gives its events in turn. The SDK knows no address but `wss:`; the TLS, which elsewhere ends in front of
// the gateway, is left out by an option of the socket.
function connect() {
  const connection = new ResponsesWS(openai, { createConnection: ({ host, port }) => net.connect(port, host) });
  const heard = [];
  let wake = () => {};
  const push = (event) => { heard.push(event); wake(); };
  connection.on("event", push);
  connection.on("error", (error) => { if (!error.error) push(error); });
  const next = async () => {
    while (heard.length === 0) await new Promise((resolve) => { wake = resolve; });
    return heard.shift();
  };
  const until = async (...last) => {
    const events = [await next()];
    while (!last.includes(events.at(-1).type)) events.push(await next());
    return events;
  };
  return { until, ask: (event) => connection.send({ type: "response.create", ...event }), close: () => connection.close() };
}

for (const egress of ["responses", ...EVERY]) {
  const of = (short) => model(egress, short);

  test(`responses → ${egress}: Going on from an earlier answer`, async () => {
    const first = await create(of("echo"), { store: true });
    const second = await create(of("echo"), { store: true, previous_response_id: first.id });
    assert.ok(second.usage.input_tokens > first.usage.input_tokens);
    const kept = await openai.responses.retrieve(second.id);
    assert.equal(kept.output_text ?? kept.output[0].content[0].text, second.output_text);
    await openai.responses.delete(second.id);
    await assert.rejects(openai.responses.retrieve(second.id), OpenAI.NotFoundError);
  });

  test(`responses → ${egress}: Text and usage`, async () => {
    const answer = await create(of("echo"));
    assert.equal(answer.status, "completed");
    assert.ok(answer.output_text.includes("the tide"));
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  });

  test(`responses → ${egress}: Stream helper equals the whole answer`, async () => {
    const whole = await create(of("story"));
    const stream = openai.responses.stream({ model: of("story"), input: text, store: false });
    const events = await all(stream);
    const final = await stream.finalResponse();
    assert.equal(final.output_text, whole.output_text);
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
    assert.deepEqual(events.map((event) => event.type).slice(0, 2), ["response.created", "response.in_progress"]);
    assert.equal(events.at(-1).type, "response.completed");
  });

  for (const stream of [false, true]) {
    const way = stream ? "streamed" : "whole";
    const ask = (asked) => stream ? openai.responses.stream({ store: false, ...asked }).finalResponse() : openai.responses.create({ store: false, ...asked });

    test(`responses → ${egress}: Tool round trip with parallel calls, ${way}`, async () => {
      const input = [{ role: "user", content: text }];
      const said = await ask({ model: of("tools"), input, tools });
      assert.deepEqual(calls(said).map((call) => call.name), names);
      for (const call of calls(said)) assert.equal(typeof JSON.parse(call.arguments).city, "string");
      // What the helper adds of its own the API would refuse.
      input.push(...said.output.map(({ parsed_arguments: _, ...item }) => item));
      input.push(...calls(said).map((call) => ({ type: "function_call_output", call_id: call.call_id, output: `mild ${call.name}` })));
      const after = await ask({ model: of("tools"), input, tools });
      for (const name of names) assert.ok(after.output_text.includes(`mild ${name}`), after.output_text);
    });

    test(`responses → ${egress}: Reasoning that the server does not keep, given back, ${way}`, async () => {
      const more = { reasoning: { effort: "low", summary: "auto" }, include: ["reasoning.encrypted_content"] };
      const input = [{ role: "user", content: text }];
      const said = await ask({ model: of("think"), input, ...more });
      assert.deepEqual(said.output.map((item) => item.type), ["reasoning", "message"]);
      const [thought] = said.output;
      assert.ok(thought.summary.map((part) => part.text).join(""), JSON.stringify(thought));
      const output = said.output.map((item) => ({ ...item, content: item.content?.map(({ parsed: _, ...part }) => part) }));
      const next = await ask({ model: of("think"), input: [...input, ...output, { role: "user", content: "and?" }], ...more });
      assert.ok(next.output_text);
    });

    test(`responses → ${egress}: parse() gives an object of the asked type, ${way}`, async () => {
      const asked = { model: of("json"), input: text, store: false, text: { format: zodTextFormat(Ferry, "ferry") } };
      const answer = stream ? await openai.responses.stream(asked).finalResponse() : await openai.responses.parse(asked);
      Ferry.parse(answer.output_parsed);
    });

    test(`responses → ${egress}: Stop by length, ${way}`, async () => {
      const asked = await create(of("story"), { max_output_tokens: 20, stream });
      const answer = stream ? (await all(asked)).at(-1).response : asked;
      assert.deepEqual([answer.status, answer.incomplete_details.reason], ["incomplete", "max_output_tokens"]);
    });

    test(`responses → ${egress}: Errors of the upstream: 400, 429, 503, ${way}`, async () => {
      await assert.rejects(create(of("wrong"), { stream }), OpenAI.BadRequestError);
      await assert.rejects(create(of("busy"), { stream }), OpenAI.RateLimitError);
      await assert.rejects(create(of("broken"), { stream }), OpenAI.InternalServerError);
    });
  }

  test(`responses → ${egress}: Tool choice: none, required, by name, of those allowed, one call only`, async () => {
    const called = async (short, tool_choice, more = {}) => calls(await create(of(short), { tools, tool_choice, ...more })).map((call) => call.name);
    assert.deepEqual(await called("tools", "none"), []);
    assert.deepEqual(await called("tools", "auto"), names);
    assert.deepEqual(await called("echo", "required"), ["weather"]);
    assert.deepEqual(await called("echo", { type: "function", name: "tide" }), ["tide"]);
    assert.deepEqual(await called("echo", { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "tide" }] }), ["tide"]);
    if (egress !== "gemini") assert.deepEqual(await called("tools", "auto", { parallel_tool_calls: false }), ["weather"]);
  });

  for (const short of ["dies", "errs"]) {
    test(`responses → ${egress}: An error in mid-stream is response.failed${short === "dies" ? ", also a death" : ""}`, async () => {
      const events = await all(create(of(short), { stream: true }));
      assert.equal(events.at(-1).type, "response.failed");
      assert.ok(events.at(-1).response.error.message);
      assert.ok(events.every((event) => event.type !== "response.completed"));
    });
  }

  test(`responses → ${egress}: Input tokens are counted before a call`, async () => {
    const count = async (input) => (await openai.responses.inputTokens.count({ model: of("echo"), input })).input_tokens;
    const [few, many] = [await count("the sea"), await count("the sea ".repeat(100))];
    assert.ok(few > 0 && few < many);
  });

  test(`responses → ${egress}: background: polled to its end, and cancelled`, async () => {
    let made = await openai.responses.create({ model: of("story"), input: text, background: true });
    assert.ok(["queued", "in_progress"].includes(made.status));
    for (const deadline = Date.now() + 30_000; ["queued", "in_progress"].includes(made.status); made = await openai.responses.retrieve(made.id)) {
      assert.ok(Date.now() < deadline, made.status);
    }
    assert.equal(made.status, "completed");
    const { id } = await openai.responses.create({ model: of("hangs"), input: text, background: true });
    assert.equal((await openai.responses.cancel(id)).status, "cancelled");
    assert.equal((await openai.responses.retrieve(id)).status, "cancelled");
  });

  test(`responses → ${egress}: A connection: turns, tools, and what is wrong does not end it`, async () => {
    const connection = connect();
    try {
      connection.ask({ model: of("echo"), input: text });
      const first = (await connection.until("response.completed")).at(-1).response;
      connection.ask({ model: of("echo"), input: "and the moon", previous_response_id: first.id });
      const second = await connection.until("response.completed");
      assert.ok(second.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("").includes("and the moon"));
      assert.ok(second.at(-1).response.usage.input_tokens > first.usage.input_tokens);
      connection.ask({ model: of("tools"), input: text, tools });
      assert.deepEqual(calls((await connection.until("response.completed")).at(-1).response).map((call) => call.name), names);
      connection.ask({ model: "demo/none", input: text });
      assert.equal((await connection.until("error")).at(-1).error.param, "model");
      connection.ask({ model: of("dies"), input: text });
      const died = (await connection.until("error", "response.failed", "response.completed")).at(-1);
      assert.notEqual(died.type, "response.completed");
    } finally {
      connection.close();
    }
  });
}

test("responses → -: Errors of the gateway: 400, 401, 403, 404", async () => {
  const error = await refused(() => create("demo/echo", { input: 7 }));
  assert.ok(error instanceof OpenAI.BadRequestError && error.param === "input");
  const stranger = new OpenAI({ baseURL: `${URL}/v1`, apiKey: STRANGER, maxRetries: 0 });
  await assert.rejects(stranger.responses.create({ model: "demo/echo", input: text }), OpenAI.AuthenticationError);
  await assert.rejects(makeOpenAI("narrow").responses.create({ model: "up/ok", input: text }), OpenAI.PermissionDeniedError);
  await assert.rejects(create("demo/ecco"), OpenAI.NotFoundError);
});

test("responses → responses: An earlier answer is the provider's own to know", async () => {
  const word = marker();
  const first = await create(model("responses", "echo"), { store: true, input: word });
  await create(model("responses", "echo"), { store: true, input: `${word} again`, previous_response_id: first.id });
  const requests = sent(word);
  assert.equal(requests.length, 2);
  assert.equal(requests[1].body.previous_response_id, first.id);
});

test("responses → messages: An earlier answer is put before the request", async () => {
  const word = marker();
  const first = await create(model("messages", "echo"), { store: true, input: word });
  await create(model("messages", "echo"), { store: true, input: `${word} again`, previous_response_id: first.id });
  assert.deepEqual(sent(word)[1].body.messages.map((message) => message.role), ["user", "assistant", "user"]);
});
