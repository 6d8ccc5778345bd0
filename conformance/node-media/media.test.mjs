// Pictures, sound, moderations, files and batches by the vendors' SDKs for JavaScript, bytes compared at both ends.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import test from "node:test";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const sdk = require("openai");
const OpenAI = sdk.OpenAI ?? sdk.default;
const Anthropic = require("@anthropic-ai/sdk").Anthropic ?? require("@anthropic-ai/sdk").default;
const { GoogleGenAI } = require("@google/genai");

const URL = process.env.TIDEGATE_URL;
const KEY = process.env.STAND_KEY_APP;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const wave = Buffer.concat([Buffer.from("RIFF"), Buffer.alloc(70_000, 7)]);
const sound = Buffer.from(Array.from({ length: 256 * 512 }, (_, at) => at % 256));

const of = (provider) => ({ "x-tidegate-provider": provider });
const openai = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY, maxRetries: 0, defaultHeaders: of("openai") });
const azure = new sdk.AzureOpenAI({ endpoint: URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: URL, apiKey: KEY, maxRetries: 0, defaultHeaders: of("anthropic") });
const file = (bytes, name) => OpenAI.toFile ? OpenAI.toFile(bytes, name) : sdk.toFile(bytes, name);

test("media-openai → -: images.generate, whole and streamed", async () => {
  const whole = await openai.images.generate({ model: "openai/gpt-image-1", prompt: "a tide" });
  assert.ok(whole.data[0].b64_json && whole.usage.output_tokens === 100);
  const kinds = [];
  for await (const event of await openai.images.generate({ model: "openai/gpt-image-1", prompt: "a tide", stream: true })) kinds.push(event.type);
  assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.completed"]);
});

test("media-openai → -: images.edit, a form", async () => {
  const answer = await openai.images.edit({ model: "openai/gpt-image-1", image: await file(wave, "tide.png"), prompt: "höher" });
  const seen = JSON.parse(answer.data[0].revised_prompt);
  assert.deepEqual([seen.image, seen.prompt, seen.model], [digest(wave), "höher", "gpt-image-1"]);
});

test("media-openai → -: audio.speech and transcriptions", async () => {
  const spoken = await openai.audio.speech.create({ model: "openai/tts-1", voice: "alloy", input: "hello" });
  assert.equal(digest(Buffer.from(await spoken.arrayBuffer())), digest(sound));
  const heard = await openai.audio.transcriptions.create({ model: "openai/whisper-1", file: await file(wave, "a.wav") });
  assert.equal(heard.text, `whisper-1 heard ${digest(wave)}`);
});

test("media-openai → -: moderations", async () => {
  const answer = await openai.moderations.create({ model: "openai/omni-moderation-latest", input: ["fine", "bad"] });
  assert.deepEqual(answer.results.map((result) => result.flagged), [false, true]);
});

test("media-openai → -: files and batches", async () => {
  const kept = await openai.files.create({ file: await file(wave, "a.jsonl"), purpose: "batch" });
  assert.equal(digest(Buffer.from(await (await openai.files.content(kept.id)).arrayBuffer())), digest(wave));
  const batch = await openai.batches.create({ input_file_id: kept.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  assert.equal((await openai.batches.retrieve(batch.id)).status, "completed");
  assert.equal((await openai.files.delete(kept.id)).deleted, true);
});

test("media-azure → -: images, speech, transcriptions", async () => {
  assert.ok((await azure.images.generate({ model: "openai/gpt-image-1", prompt: "a tide" })).data[0].b64_json);
  const spoken = await azure.audio.speech.create({ model: "openai/tts-1", voice: "alloy", input: "hello" });
  assert.equal(digest(Buffer.from(await spoken.arrayBuffer())), digest(sound));
  const heard = await azure.audio.transcriptions.create({ model: "openai/whisper-1", file: await file(wave, "a.wav") });
  assert.equal(heard.text, `whisper-1 heard ${digest(wave)}`);
});

test("media-anthropic → -: message batches: create, poll, results", async () => {
  const params = { model: "claude-sonnet-5", max_tokens: 10, messages: [{ role: "user", content: "hello" }] };
  const batch = await anthropic.messages.batches.create({ requests: [{ custom_id: "a", params }] });
  assert.equal((await anthropic.messages.batches.retrieve(batch.id)).processing_status, "ended");
  const results = [];
  for await (const result of await anthropic.messages.batches.results(batch.id)) results.push(result);
  assert.equal(results[0].result.message.content[0].text, "done");
});

for (const mount of ["", "/gemini"]) {
  test(`media-gemini → -: files: upload in pieces, get, list, delete${mount && ", at the mount"}`, async () => {
    const google = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: URL + mount } });
    const content = Buffer.alloc(10_000_000, 5);
    const kept = await google.files.upload({ file: new Blob([content], { type: "video/mp4" }), config: { mimeType: "video/mp4" } });
    assert.equal(Number(kept.sizeBytes), content.length);
    assert.equal((await google.files.get({ name: kept.name })).sha256Hash, digest(content));
    const names = [];
    for await (const one of await google.files.list()) names.push(one.name);
    assert.ok(names.includes(kept.name));
    await google.files.delete({ name: kept.name });
    await assert.rejects(google.files.get({ name: kept.name }), (error) => error.status === 404);
  });
}
