// The vendors' own SDKs for JavaScript, each against a provider of its own dialect and of foreign ones.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const OpenAI = require("openai").OpenAI ?? require("openai").default;
const Anthropic = require("@anthropic-ai/sdk").Anthropic ?? require("@anthropic-ai/sdk").default;
const { GoogleGenAI } = require("@google/genai");

const URL = process.env.TIDEGATE_URL;
const KEY = process.env.STAND_KEY_APP;
const MODELS = JSON.parse(process.env.STAND_MODELS);
const EGRESS = { chat: "", messages: "anthropic", gemini: "gemini" };
const text = "the tide [[pace=0]]";
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const names = ["weather", "tide"];

const openai = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: URL } });

for (const [egress, provider] of Object.entries(EGRESS)) {
  const model = (short) => MODELS[provider][short];

  test(`responses → ${egress}: Text and usage`, async () => {
    const answer = await openai.responses.create({ model: model("echo"), input: text, store: false });
    assert.equal(answer.status, "completed");
    assert.ok(answer.output_text.includes("the tide"));
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  });

  test(`responses → ${egress}: Stream helper equals the whole answer`, async () => {
    const ask = { model: model("story"), input: text, store: false };
    const whole = await openai.responses.create(ask);
    const final = await openai.responses.stream(ask).finalResponse();
    assert.equal(final.output_text, whole.output_text);
  });

  test(`responses → ${egress}: Parallel tool calls`, async () => {
    const tools = names.map((name) => ({ type: "function", name, strict: false, parameters: city }));
    const final = await openai.responses.stream({ model: model("tools"), input: text, store: false, tools }).finalResponse();
    const calls = final.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => call.name), names);
    for (const call of calls) assert.equal(typeof JSON.parse(call.arguments).city, "string");
  });

  test(`messages → ${egress}: Text and usage`, async () => {
    const answer = await anthropic.messages.create({ model: model("echo"), max_tokens: 50, messages: [{ role: "user", content: text }] });
    assert.equal(answer.stop_reason, "end_turn");
    assert.ok(answer.content[0].text.includes("the tide"));
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
  });

  test(`messages → ${egress}: Stream helper equals the whole answer`, async () => {
    const ask = { model: model("story"), max_tokens: 500, messages: [{ role: "user", content: text }] };
    const whole = await anthropic.messages.create(ask);
    const final = await anthropic.messages.stream(ask).finalMessage();
    assert.equal(final.content[0].text, whole.content[0].text);
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  });

  test(`messages → ${egress}: Parallel tool calls`, async () => {
    const tools = names.map((name) => ({ name, description: name, input_schema: city }));
    const ask = { model: model("tools"), max_tokens: 500, tools, messages: [{ role: "user", content: text }] };
    const final = await anthropic.messages.stream(ask).finalMessage();
    assert.equal(final.stop_reason, "tool_use");
    assert.deepEqual(final.content.map((block) => block.name), names);
    for (const block of final.content) assert.equal(typeof block.input.city, "string");
  });

  test(`messages → ${egress}: An error in mid-stream raises`, async () => {
    const ask = { model: model("errs"), max_tokens: 50, messages: [{ role: "user", content: text }] };
    await assert.rejects(anthropic.messages.stream(ask).finalMessage(), Anthropic.APIError);
  });

  test(`gemini → ${egress}: Text and usage`, async () => {
    const answer = await google.models.generateContent({ model: model("echo"), contents: text });
    assert.ok(answer.text.includes("the tide"));
    assert.equal(answer.candidates[0].finishReason, "STOP");
    assert.ok(answer.usageMetadata.promptTokenCount > 0 && answer.usageMetadata.candidatesTokenCount > 0);
  });

  test(`gemini → ${egress}: Stream equals the whole answer`, async () => {
    const whole = await google.models.generateContent({ model: model("story"), contents: text });
    let told = "";
    for await (const part of await google.models.generateContentStream({ model: model("story"), contents: text })) {
      told += part.text ?? "";
    }
    assert.equal(told, whole.text);
  });

  test(`gemini → ${egress}: Parallel function calls`, async () => {
    const tools = [{ functionDeclarations: names.map((name) => ({ name, description: name, parametersJsonSchema: city })) }];
    const answer = await google.models.generateContent({ model: model("tools"), contents: text, config: { tools } });
    assert.deepEqual(answer.functionCalls.map((call) => call.name), names);
    for (const call of answer.functionCalls) assert.equal(typeof call.args.city, "string");
  });
}

test("messages → -: Errors of the gateway: 401, 404", async () => {
  const ask = (model) => ({ model, max_tokens: 50, messages: [{ role: "user", content: text }] });
  await assert.rejects(anthropic.messages.create(ask("demo/ecco")), Anthropic.NotFoundError);
  const stranger = new Anthropic({ baseURL: URL, apiKey: `tg-${"A".repeat(38)}`, maxRetries: 0 });
  await assert.rejects(stranger.messages.create(ask("demo/echo")), Anthropic.AuthenticationError);
});

test("gemini → -: Errors of the gateway: 401, 404", async () => {
  const asked = google.models.generateContent({ model: "demo/ecco", contents: text });
  await assert.rejects(asked, (error) => error.name === "ApiError" && error.status === 404);
});

test("messages → -: List of models in the SDK's shape", async () => {
  const models = [];
  for await (const one of anthropic.models.list({ limit: 1000 })) models.push(one.id);
  assert.ok(models.includes("demo/echo"));
});

test("gemini → -: List of models in the SDK's shape", async () => {
  const models = [];
  for await (const one of await google.models.list()) models.push(one.name);
  assert.ok(models.includes("models/demo/echo"));
});
