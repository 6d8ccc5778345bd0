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

  // At its own providers it has a suite of its own (`node`).
  if (egress !== "chat") {
    const asked = [{ role: "user", content: text }];

    test(`chat → ${egress}: Stream helper equals the whole answer`, async () => {
      const whole = await openai.chat.completions.create({ model: model("story"), messages: asked });
      const final = await openai.chat.completions.stream({ model: model("story"), messages: asked }).finalChatCompletion();
      assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
      assert.equal(final.choices[0].finish_reason, "stop");
      assert.ok(whole.usage.prompt_tokens > 0 && whole.usage.completion_tokens > 0);
    });

    test(`chat → ${egress}: Tool round trip with parallel calls`, async () => {
      const tools = names.map((name) => ({ type: "function", function: { name, parameters: city } }));
      const ask = { model: model("tools"), messages: asked, tools };
      const final = await openai.chat.completions.stream(ask).finalChatCompletion();
      const said = final.choices[0].message;
      assert.deepEqual(said.tool_calls.map((call) => call.function.name), names);
      const results = said.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "mild" }));
      const after = await openai.chat.completions.create({ ...ask, messages: [...asked, said, ...results] });
      assert.ok(after.choices[0].message.content);
    });

    test(`chat → ${egress}: Structured output`, async () => {
      const json_schema = { name: "place", strict: true, schema: { ...city, additionalProperties: false } };
      const answer = await openai.chat.completions.create({ model: model("json"), messages: asked, response_format: { type: "json_schema", json_schema } });
      assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)), ["city"]);
    });

    test(`chat → ${egress}: An error in mid-stream raises`, async () => {
      await assert.rejects(openai.chat.completions.stream({ model: model("errs"), messages: asked }).finalChatCompletion(), OpenAI.APIError);
    });
  }

  test(`chat → ${egress}: Errors of the upstream: 400, 429, 503`, async () => {
    const ask = (short) => openai.chat.completions.create({ model: model(short), messages: [{ role: "user", content: text }] });
    await assert.rejects(ask("wrong"), OpenAI.BadRequestError);
    await assert.rejects(ask("busy"), OpenAI.RateLimitError);
    await assert.rejects(ask("broken"), OpenAI.InternalServerError);
  });

  test(`messages → ${egress}: Tool round trip over three turns, one result an error`, async () => {
    const tools = names.map((name) => ({ name, description: name, input_schema: city }));
    const messages = [{ role: "user", content: text }];
    for (let turn = 0; turn < 2; turn += 1) {
      const said = await anthropic.messages.create({ model: model("tools"), max_tokens: 500, tools, messages, tool_choice: { type: "any" } });
      const calls = said.content.filter((block) => block.type === "tool_use");
      assert.ok(calls.length > 0);
      const results = calls.map((call, at) => ({ type: "tool_result", tool_use_id: call.id, content: "mild", is_error: at === 0 }));
      messages.push({ role: "assistant", content: said.content }, { role: "user", content: results });
    }
    const last = await anthropic.messages.create({ model: model("tools"), max_tokens: 500, tools, messages });
    assert.ok(last.content.some((block) => block.type === "text"));
  });

  test(`messages → ${egress}: Thinking`, async () => {
    const ask = { model: model("think"), max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 2000 }, messages: [{ role: "user", content: text }] };
    const final = await anthropic.messages.stream(ask).finalMessage();
    assert.ok(final.content.some((block) => block.type === "thinking" && block.thinking));
    assert.ok(final.content.some((block) => block.type === "text" && block.text));
  });

  test(`messages → ${egress}: Tokens are counted before a call`, async () => {
    const counted = await anthropic.messages.countTokens({ model: model("plain"), messages: [{ role: "user", content: text }] });
    assert.ok(counted.input_tokens > 0 && counted.input_tokens < 60);
  });

  test(`messages → ${egress}: Errors of the upstream: 400, 429, 529`, async () => {
    const ask = (short) => anthropic.messages.create({ model: model(short), max_tokens: 50, messages: [{ role: "user", content: text }] });
    await assert.rejects(ask("wrong"), Anthropic.BadRequestError);
    await assert.rejects(ask("busy"), Anthropic.RateLimitError);
    await assert.rejects(ask("broken"), (error) => error instanceof Anthropic.InternalServerError && [503, 529].includes(error.status));
  });

  test(`gemini → ${egress}: Output by a JSON schema`, async () => {
    const config = { responseMimeType: "application/json", responseJsonSchema: city };
    const answer = await google.models.generateContent({ model: model("json"), contents: text, config });
    assert.deepEqual(Object.keys(JSON.parse(answer.text)), ["city"]);
  });

  test(`gemini → ${egress}: Function round trip`, async () => {
    const tools = [{ functionDeclarations: names.map((name) => ({ name, description: name, parametersJsonSchema: city })) }];
    const ask = { model: model("tools"), config: { tools } };
    const said = await google.models.generateContent({ ...ask, contents: text });
    const results = said.functionCalls.map((call) => ({ functionResponse: { id: call.id, name: call.name, response: { result: "mild" } } }));
    const contents = [{ role: "user", parts: [{ text }] }, said.candidates[0].content, { role: "user", parts: results }];
    const after = await google.models.generateContent({ ...ask, contents });
    assert.ok(after.text);
  });

  test(`gemini → ${egress}: Tokens are counted before a call`, async () => {
    const counted = await google.models.countTokens({ model: model("plain"), contents: text });
    assert.ok(counted.totalTokens > 0 && counted.totalTokens < 60);
  });

  test(`gemini → ${egress}: Errors of the upstream: 400, 429, 503`, async () => {
    const ask = (short) => google.models.generateContent({ model: model(short), contents: text });
    for (const [short, status] of [["wrong", 400], ["busy", 429], ["broken", 503]]) {
      await assert.rejects(ask(short), (error) => error.status === status);
    }
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
