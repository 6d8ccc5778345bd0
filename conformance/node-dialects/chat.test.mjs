// OpenAI's SDK for JavaScript at its older door, with providers of its own dialect and of foreign ones.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { AzureOpenAI, DOT, EVERY, OpenAI, PDF, URL, WAVE, all, city, ends, heard, key, makeOpenAI, marker, model, names, refused, require, sent, text } from "./sdks.mjs";

const { z } = require("zod");
const { zodResponseFormat } = require("openai/helpers/zod");
const errors = require("openai/error");

const openai = makeOpenAI();
const tools = names.map((name) => ({ type: "function", function: { name, parameters: city } }));
const Ferry = z.object({ name: z.string(), seats: z.number().int() });
const user = (content) => [{ role: "user", content }];
const create = (name, more = {}, options = {}) => openai.chat.completions.create({ model: name, messages: user(text), ...more }, options);
const parse = (name, more = {}) => openai.chat.completions.parse({ model: name, messages: user(text), response_format: zodResponseFormat(Ferry, "ferry"), ...more });
const joined = (parts, field = "content") => parts.map((part) => part.choices[0]?.delta?.[field] ?? "").join("");

for (const egress of EVERY) {
  const of = (short) => model(egress, short);

  test(`chat → ${egress}: Text and usage`, async () => {
    const answer = await create(of("echo"));
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.ok(answer.choices[0].message.content.includes("the tide"));
    const { usage } = answer;
    assert.ok(usage.prompt_tokens > 0 && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens);
  });

  test(`chat → ${egress}: The usage chunk comes only if asked for`, async () => {
    const whole = await create(of("story"));
    const plain = await all(create(of("story"), { stream: true }));
    assert.equal(joined(plain), whole.choices[0].message.content);
    assert.ok(plain.every((part) => part.usage == null && part.choices.length === 1));
    const asked = await all(create(of("story"), { stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(asked.at(-1).choices, []);
    assert.equal(asked.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
  });

  test(`chat → ${egress}: Tool choice: none, required, by name, of those allowed, one call only`, async () => {
    const called = async (short, tool_choice, more = {}) =>
      ((await create(of(short), { tools, tool_choice, ...more })).choices[0].message.tool_calls ?? []).map((call) => call.function.name);
    assert.deepEqual(await called("tools", "none"), []);
    assert.deepEqual(await called("tools", "auto"), names);
    const single = { parallel_tool_calls: false };
    if (egress === "gemini") {
      // Gemini cannot be told so, and that is said.
      const { response } = await create(of("tools"), { tools, ...single }).withResponse();
      assert.ok(response.headers.get("x-tidegate-dropped").includes("parallel_tool_calls"));
    } else assert.deepEqual(await called("tools", "auto", single), ["weather"]);
    assert.deepEqual(await called("echo", "auto"), []);
    assert.deepEqual(await called("echo", "required"), ["weather"]);
    assert.deepEqual(await called("echo", { type: "function", function: { name: "tide" } }), ["tide"]);
    if (egress !== "chat") {
      const allowed = { type: "allowed_tools", allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "tide" } }] } };
      assert.deepEqual(await called("echo", allowed), ["tide"]);
    }
  });

  for (const stream of [false, true]) {
    const way = stream ? "streamed" : "whole";

    test(`chat → ${egress}: Tool round trips over three turns, ${way}`, async () => {
      const messages = [];
      const ask = async () => {
        const asked = { model: of("tools"), messages, tools };
        const said = stream ? await openai.chat.completions.stream(asked).finalChatCompletion() : await openai.chat.completions.create(asked);
        messages.push(said.choices[0].message);
        return said.choices[0];
      };
      for (const place of ["Lisbon", "Oslo", "Hull"]) {
        messages.push(...user(`weather and tide in ${place}? [[pace=0]]`));
        const calling = await ask();
        assert.equal(calling.finish_reason, "tool_calls");
        assert.deepEqual(calling.message.tool_calls.map((call) => call.function.name), names);
        assert.equal(new Set(calling.message.tool_calls.map((call) => call.id)).size, 2);
        messages.push(...calling.message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: `mild ${place} ${call.function.name}` })));
        const { message } = await ask();
        for (const name of names) assert.ok(message.content.includes(`mild ${place} ${name}`), message.content);
      }
    });

    test(`chat → ${egress}: Reasoning, given back in the next turn, ${way}`, async () => {
      const asked = { model: of("think"), messages: user(text), reasoning_effort: "low" };
      const said = stream ? { role: "assistant", content: "", reasoning_content: "" } : (await openai.chat.completions.create(asked)).choices[0].message;
      if (stream) {
        for (const part of await all(openai.chat.completions.create({ ...asked, stream }))) {
          for (const field of ["content", "reasoning_content"]) said[field] += part.choices[0]?.delta?.[field] ?? "";
        }
      }
      assert.ok(said.reasoning_content && said.content, JSON.stringify(said));
      const word = marker();
      const next = await openai.chat.completions.create({ ...asked, messages: [...asked.messages, said, ...user(word)] });
      assert.ok(next.choices[0].message.content);
      assert.equal((await ends(word)).length, 1);
    });

    if (egress !== "gemini") {
      test(`chat → ${egress}: A refusal, ${way}`, async () => {
        const answer = await create(of("refuse"), { stream });
        const choices = stream ? (await all(answer)).flatMap((part) => part.choices) : answer.choices;
        const said = choices.map((choice) => (choice.delta ?? choice.message).refusal ?? "").join("");
        assert.ok(said || choices.at(-1).finish_reason === "content_filter", JSON.stringify(choices.at(-1)));
        assert.ok(!stream || choices.filter((choice) => choice.finish_reason).length === 1);
      });
    }

    if (egress !== "messages") {
      test(`chat → ${egress}: Three answers at once, ${way}`, async () => {
        const answer = await create(of("story"), { n: 3, stream });
        const texts = ["", "", ""];
        for (const choice of stream ? (await all(answer)).flatMap((part) => part.choices) : answer.choices) {
          texts[choice.index] += (choice.delta ?? choice.message).content ?? "";
        }
        assert.equal(texts.length, 3);
        assert.ok(texts.every((one) => one.includes("story")) && new Set(texts).size > 1, JSON.stringify(texts));
      });
    }

    test(`chat → ${egress}: AzureOpenAI: path, api-key header and api-version, ${way}`, async () => {
      const azure = new AzureOpenAI({ endpoint: URL, apiKey: key(), apiVersion: "2026-06-01", maxRetries: 0 });
      const answer = await azure.chat.completions.create({ model: of("echo"), messages: user(text), stream });
      assert.ok((stream ? joined(await all(answer)) : answer.choices[0].message.content).includes("the tide"));
      await assert.rejects(azure.chat.completions.create({ model: "demo/ecco", messages: user(text), stream }), OpenAI.NotFoundError);
    });
  }

  test(`chat → ${egress}: parse() gives an object of the asked type`, async () => {
    Ferry.parse((await parse(of("json"))).choices[0].message.parsed);
  });

  test(`chat → ${egress}: Stop by length and by a filter raises in parse()`, async () => {
    assert.equal((await create(of("story"), { max_completion_tokens: 5 })).choices[0].finish_reason, "length");
    await assert.rejects(parse(of("json"), { max_completion_tokens: 2 }), errors.LengthFinishReasonError);
    assert.equal((await create(of("filtered"))).choices[0].finish_reason, "content_filter");
    await assert.rejects(parse(of("filtered")), errors.ContentFilterFinishReasonError);
  });

  test(`chat → ${egress}: Images, in the message and by address`, async () => {
    const word = marker();
    const urls = [`data:image/png;base64,${DOT}`, "https://images.invalid/tide.png"];
    const ask = (short, shown) => create(heard(egress, short), {
      messages: user([{ type: "text", text: `${word} [[pace=0]]` }, ...shown.map((url) => ({ type: "image_url", image_url: { url } }))]) });
    assert.match((await ask("vision", urls.slice(0, 1))).choices[0].message.content, /1 image: a PNG image of 1 by 1 pixels/);
    await ask("plain", urls);
    const [, { body }] = sent(word);
    const parts = egress === "gemini" ? body.contents[0].parts : body.messages[0].content;
    assert.deepEqual(parts.slice(1), {
      chat: urls.map((url) => ({ type: "image_url", image_url: { url } })),
      messages: [{ type: "image", source: { type: "base64", media_type: "image/png", data: DOT } }, { type: "image", source: { type: "url", url: urls[1] } }],
      gemini: [{ inlineData: { mimeType: "image/png", data: DOT } }, { fileData: { mimeType: "image/png", fileUri: urls[1] } }],
    }[egress]);
  });

  test(`chat → ${egress}: A file within a message`, async () => {
    const word = marker();
    const file = { type: "file", file: { filename: "tide.pdf", file_data: `data:application/pdf;base64,${PDF}` } };
    await create(heard(egress, "plain"), { messages: user([{ type: "text", text: word }, file]) });
    const [{ body }] = sent(word);
    assert.deepEqual((egress === "gemini" ? body.contents[0].parts : body.messages[0].content)[1], {
      chat: file,
      messages: { type: "document", title: "tide.pdf", source: { type: "base64", media_type: "application/pdf", data: PDF } },
      gemini: { inlineData: { mimeType: "application/pdf", data: PDF } },
    }[egress]);
  });

  test(`chat → ${egress}: Sound within a message, or its refusal by name`, async () => {
    const word = marker();
    const sound = { type: "input_audio", input_audio: { data: WAVE, format: "wav" } };
    const ask = () => create(heard(egress, "plain"), { messages: user([{ type: "text", text: word }, sound]) });
    if (egress === "messages") {
      const error = await refused(ask);
      assert.ok(error instanceof OpenAI.BadRequestError && error.param && error.message.includes("no sound"), error.message);
      assert.deepEqual(sent(word), []);
      return;
    }
    await ask();
    const [{ body }] = sent(word);
    assert.deepEqual(egress === "gemini" ? body.contents[0].parts[1] : body.messages[0].content[1],
      egress === "gemini" ? { inlineData: { mimeType: "audio/wav", data: WAVE } } : sound);
  });

  test(`chat → ${egress}: What cannot be said upstream is signalled; strict refuses it`, async () => {
    const more = { logit_bias: { 50256: -100 } };
    const { response } = await create(of("echo"), more).withResponse();
    assert.equal(response.headers.get("x-tidegate-dropped")?.includes("logit_bias") ?? false, egress !== "chat");
    if (egress !== "chat") {
      const error = await refused(() => create(of("echo"), more, { headers: { "x-tidegate-strict": "true" } }));
      assert.ok(error instanceof OpenAI.BadRequestError && error.param === "logit_bias");
    }
  });

  test(`chat → ${egress}: An upstream that dies in mid-stream raises`, async () => {
    const parts = [];
    const error = await refused(async () => {
      for await (const part of await create(of("dies"), { stream: true })) parts.push(part);
    });
    assert.ok(error instanceof OpenAI.APIError && error.message, error);
    assert.ok(parts.length > 0 && parts.every((part) => !part.choices[0]?.finish_reason));
  });

  // A provider that bills on after an abort is listened to for its bill; the place is free at once all the same.
  if (egress !== "gemini") {
    test(`chat → ${egress}: An abort ends the upstream's call`, async () => {
      const word = marker();
      const stream = await create(of("endless"), { messages: user(word), stream: true });
      let parts = 0;
      for await (const _ of stream) {
        parts += 1;
        if (parts === 5) break;
      }
      stream.controller.abort();
      const [end] = await ends(word, 5_000);
      assert.ok(end.aborted && end.events < 4_000, JSON.stringify(end));
    });

    test(`chat → ${egress}: A client that gives up ends the upstream's call`, async () => {
      const word = marker();
      await assert.rejects(create(of("hangs"), { messages: user(word) }, { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
      const [end] = await ends(word, 5_000);
      assert.ok(end.aborted);
    });
  }

  test(`chat → ${egress}: An abort gives the place back`, async () => {
    const single = makeOpenAI("single");
    const ask = (short, stream) => single.chat.completions.create({ model: of(short), messages: user("the tide"), stream });
    const stream = await ask("slow", true);
    await assert.rejects(ask("echo", false), OpenAI.RateLimitError);
    stream.controller.abort();
    for (const deadline = Date.now() + 5_000; ; await sleep(20)) {
      const answer = await ask("echo", false).catch((error) => error);
      if (answer.choices) break;
      assert.ok(answer instanceof OpenAI.RateLimitError && Date.now() < deadline, answer);
    }
  });

  test(`chat → ${egress}: Fifty streams at once do not mix`, async () => {
    const one = async (n) => {
      const word = `only-${n}-here`;
      const said = joined(await all(create(of("echo"), { messages: user(`${Array(20).fill(word).join(" ")} [[pace=400]]`), stream: true })));
      return [word, said.replace("Simulated echo: ", "")];
    };
    for (const [word, said] of await Promise.all(Array.from({ length: 50 }, (_, n) => one(n)))) {
      assert.equal(said, Array(20).fill(word).join(" "));
    }
  });

  // Both lanes: the bytes as they are, and translated.
  if (egress !== "messages") {
    test(`chat → ${egress}: A body of 20 MB`, async () => {
      const answer = await create(of("plain"), { messages: user("tide ".repeat(4_000_000)) });
      assert.ok(answer.choices[0].message.content);
    });
  }
}

test("chat → chat: Annotations, whole and streamed", async () => {
  const annotations = [{ type: "url_citation", url_citation: { start_index: 0, end_index: 4, url: "https://tides.invalid", title: "Tides" } }];
  const shared = { id: "c1", created: 1, model: "m" };
  const body = JSON.stringify({ ...shared, object: "chat.completion", usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    choices: [{ index: 0, message: { role: "assistant", content: "high", annotations }, finish_reason: "stop" }] });
  assert.deepEqual((await create("up/ok", { fake: { body } })).choices[0].message.annotations, annotations);
  const event = (delta, finish_reason = null) => `data: ${JSON.stringify({ ...shared, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  const events = [event({ role: "assistant", content: "high" }), event({ annotations }), event({}, "stop"), "data: [DONE]\n\n"];
  const parts = await all(create("up/ok", { fake: { events }, stream: true }));
  assert.deepEqual(parts.flatMap((part) => part.choices[0].delta.annotations ?? []), annotations);
});

test("chat → chat: Probabilities of tokens, a seed, sound in the answer are asked as they came", async () => {
  const more = { logprobs: true, top_logprobs: 3, n: 2, seed: 7, modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } };
  const word = marker();
  await create(heard("chat", "plain"), { ...more, messages: user(word) });
  const [{ body }] = sent(word);
  assert.deepEqual(Object.fromEntries(Object.keys(more).map((name) => [name, body[name]])), more);
});

test("chat → -: Limits are told in the SDK's own format", async () => {
  const { response } = await makeOpenAI("metered").chat.completions.create({ model: "up/ok", messages: user(text) }).withResponse();
  assert.equal(response.headers.get("x-ratelimit-limit-requests"), "6000");
  assert.ok(Number(response.headers.get("x-ratelimit-remaining-tokens")) < 60_000_000);
});
