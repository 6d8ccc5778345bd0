// Vercel's AI SDK with its providers for OpenAI (both doors), OpenAI-compatible servers, Anthropic and Google.
// A test's name is `client ingress → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { generateText, streamText, generateObject, streamObject, tool, stepCountIs, isStepCount } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");
const { createGoogleGenerativeAI } = await load("@ai-sdk/google");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { z } = await load("zod");

const URL = process.env.TIDEGATE_URL;
const apiKey = process.env.STAND_KEY_APP;
const MODELS = JSON.parse(process.env.STAND_MODELS);
const EGRESS = { chat: "", responses: "openai", messages: "anthropic", gemini: "gemini" };
const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
// By the names that it knows this client decides whether a model thinks; of others it must be told.
const THINKING = { openai: { reasoningSummary: "auto", reasoningEffort: "low", forceReasoning: true },
  anthropic: { thinking: { type: "enabled", budgetTokens: 2000 } },
  google: { thinkingConfig: { includeThoughts: true } } };
const steps = stepCountIs ?? isStepCount;
const baseURL = `${URL}/v1`;
const openai = createOpenAI({ baseURL, apiKey });
const compatible = createOpenAICompatible({ name: "tidegate", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const CLIENTS = [
  ["@ai-sdk/openai", "responses", (name) => openai.responses(name)],
  ["@ai-sdk/openai", "chat", (name) => openai.chat(name)],
  ["@ai-sdk/openai-compatible", "chat", (name) => compatible(name)],
  ["@ai-sdk/anthropic", "messages", createAnthropic({ baseURL, apiKey })],
  ["@ai-sdk/google", "gemini", createGoogleGenerativeAI({ baseURL: `${URL}/v1beta`, apiKey })],
];
const ferry = z.object({ name: z.string(), seats: z.number().int() });
const city = z.object({ city: z.string() });
const tools = {
  weather: tool({ description: "Tells the weather.", inputSchema: city, execute: async ({ city }) => `fine in ${city}` }),
  tide: tool({ description: "Tells the tide.", inputSchema: city, execute: async ({ city }) => `high in ${city}` }),
};

for (const [client, ingress, speak] of CLIENTS) {
  for (const egress of new Set([ingress, "chat", "messages", "gemini"])) {
    const model = (short) => speak(MODELS[EGRESS[egress]][short]);
    const name = (feature) => `${client} ${ingress} → ${egress}: ${feature}`;
    const asked = (text) => ({ prompt: `${text} [[pace=0]]`, maxRetries: 0 });

    test(name("generateText"), async () => {
      const answer = await generateText({ model: model("echo"), ...asked("the tide") });
      assert.ok(answer.text.includes("the tide"), answer.text);
      assert.equal(answer.finishReason, "stop");
      assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
    });

    test(name("streamText"), async () => {
      const answer = streamText({ model: model("echo"), ...asked("the tide") });
      let text = "";
      for await (const piece of answer.textStream) text += piece;
      assert.ok(text.includes("the tide"), text);
      assert.ok((await answer.usage).outputTokens > 0);
      assert.equal(await answer.finishReason, "stop");
    });

    test(name("Tool loop with parallel calls"), async () => {
      const answer = await generateText({ model: model("tools"), tools, stopWhen: steps(4), ...asked("weather and tide?") });
      assert.equal(answer.steps.length, 2);
      assert.deepEqual(answer.steps[0].toolCalls.map((call) => call.toolName), ["weather", "tide"]);
      assert.ok(answer.text);
    });

    test(name("Tool loop, streamed"), async () => {
      const answer = streamText({ model: model("tools"), tools, stopWhen: steps(4), ...asked("weather and tide?") });
      for await (const part of answer.fullStream) assert.notEqual(part.type, "error", JSON.stringify(part.error ?? null));
      assert.deepEqual((await answer.steps)[0].toolResults.map((result) => result.toolName).sort(), ["tide", "weather"]);
      assert.ok(await answer.text);
    });

    test(name("generateObject"), async () => {
      const answer = await generateObject({ model: model("json"), schema: ferry, ...asked("a ferry") });
      assert.deepEqual(Object.keys(ferry.parse(answer.object)), ["name", "seats"]);
    });

    test(name("streamObject"), async () => {
      const answer = streamObject({ model: model("json"), schema: ferry, ...asked("a ferry") });
      let last;
      for await (const part of answer.partialObjectStream) last = part;
      assert.deepEqual(Object.keys(ferry.parse(await answer.object)), ["name", "seats"]);
      assert.deepEqual(last, await answer.object);
    });

    for (const [way, ask] of [["whole", generateText], ["streamed", streamText]]) {
      // Of Chat this client reads no thoughts: OpenAI shows none there.
      if (client !== "@ai-sdk/openai" || ingress === "responses") {
        test(name(`Reasoning, ${way}`), async () => {
          const answer = await ask({ model: model("think"), ...asked("think"), providerOptions: THINKING });
          assert.ok(await answer.text);
          assert.ok(await answer.reasoningText);
        });
      }

      test(name(`Tool choice: none, required, by name, ${way}`), async () => {
        const called = async (short, toolChoice) => {
          const answer = await ask({ model: model(short), tools, toolChoice, ...asked("weather and tide?") });
          return (await answer.toolCalls).map((call) => call.toolName);
        };
        assert.deepEqual(await called("tools", "none"), []);
        assert.deepEqual(await called("echo", "auto"), []);
        assert.deepEqual(await called("echo", "required"), ["weather"]);
        assert.deepEqual(await called("echo", { type: "tool", toolName: "tide" }), ["tide"]);
      });

      test(name(`Images, ${way}`), async () => {
        const content = [{ type: "text", text: "what is it? [[pace=0]]" }, { type: "image", image: Buffer.from(DOT, "base64"), mediaType: "image/png" }];
        const answer = await ask({ model: model("vision"), messages: [{ role: "user", content }], maxRetries: 0 });
        assert.match(await answer.text, /1 image: a PNG image of 1 by 1 pixels/);
      });
    }

    test(name("A death in mid-stream is an error part"), async () => {
      for (const short of ["dies", "errs"]) {
        const kinds = [];
        const answer = streamText({ model: model(short), ...asked("x"), onError: () => {} });
        // The text's own promise is refused too, which nobody waits for here.
        for (const promise of [answer.text, answer.usage, answer.finishReason, answer.steps]) Promise.resolve(promise).catch(() => {});
        for await (const part of answer.fullStream) kinds.push(part.type);
        assert.ok(kinds.includes("error"), `${short}: ${kinds}`);
      }
    });

    test(name("Errors of the upstream"), async () => {
      await assert.rejects(generateText({ model: model("busy"), ...asked("x") }), (error) => error.statusCode === 429);
      await assert.rejects(generateText({ model: model("wrong"), ...asked("x") }), (error) => error.statusCode === 400);
    });
  }
}
