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

test("media-openai → -: audio.transcriptions: text, srt, verbose, streamed; audio.translations", async () => {
  const said = `whisper-1 heard ${digest(wave)}`;
  const ask = async (more) => openai.audio.transcriptions.create({ model: "openai/whisper-1", file: await file(wave, "a.wav"), ...more });
  assert.equal((await ask({ response_format: "text" })).trim(), said);
  const srt = await ask({ response_format: "srt" });
  assert.ok(srt.includes(said) && srt.includes("-->"));
  const verbose = await ask({ response_format: "verbose_json" });
  assert.deepEqual([verbose.text, verbose.duration, verbose.language], [said, 1, "english"]);
  const kinds = [];
  for await (const event of await ask({ model: "openai/gpt-4o-transcribe", stream: true })) kinds.push(event.type);
  assert.deepEqual(kinds, ["transcript.text.delta", "transcript.text.done"]);
  const translated = await openai.audio.translations.create({ model: "openai/whisper-1", file: await file(wave, "a.wav") });
  assert.equal(translated.text, said);
});

test("media-openai → -: files and batches: lists, a file in parts, cancel", async () => {
  const content = Buffer.alloc(250_000, 9);
  const upload = await openai.uploads.create({ filename: "large.bin", bytes: content.length, mime_type: "application/octet-stream", purpose: "user_data" });
  const parts = [];
  for (let at = 0; at < content.length; at += 100_000) {
    parts.push((await openai.uploads.parts.create(upload.id, { data: await file(content.subarray(at, at + 100_000), "part") })).id);
  }
  const done = await openai.uploads.complete(upload.id, { part_ids: parts });
  assert.equal(done.status, "completed");
  assert.equal(digest(Buffer.from(await (await openai.files.content(done.file.id)).arrayBuffer())), digest(content));
  const names = [];
  for await (const one of await openai.files.list()) names.push(one.id);
  assert.ok(names.includes(done.file.id));
  const batch = await openai.batches.create({ input_file_id: done.file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  const batches = [];
  for await (const one of await openai.batches.list()) batches.push(one.id);
  assert.ok(batches.includes(batch.id));
  assert.equal((await openai.batches.cancel(batch.id)).status, "cancelling");
  await openai.files.delete(done.file.id);
  await assert.rejects(openai.files.retrieve(done.file.id), OpenAI.NotFoundError);
});

test("media-anthropic → -: files: upload, list, content, delete", async () => {
  const files = anthropic.beta.files;
  const kept = await files.upload({ file: await file(wave, "tide.pdf") });
  assert.equal((await files.retrieveMetadata(kept.id)).size_bytes, wave.length);
  assert.equal(digest(Buffer.from(await (await files.download(kept.id)).arrayBuffer())), digest(wave));
  const names = [];
  for await (const one of files.list()) names.push(one.id);
  assert.ok(names.includes(kept.id));
  assert.equal((await files.delete(kept.id)).id, kept.id);
});

test("media-anthropic → -: message batches: list, cancel, delete", async () => {
  const { batches } = anthropic.messages;
  const params = { model: "claude-sonnet-5", max_tokens: 10, messages: [{ role: "user", content: "hello" }] };
  const batch = await batches.create({ requests: [{ custom_id: "a", params }] });
  const names = [];
  for await (const one of batches.list()) names.push(one.id);
  assert.ok(names.includes(batch.id));
  assert.equal((await batches.cancel(batch.id)).processing_status, "canceling");
  assert.equal((await batches.delete(batch.id)).id, batch.id);
});

test("media-openai → -: responses.compact", async () => {
  const answer = await openai.responses.compact({ model: "openai/gpt-5", input: "the tide" });
  assert.deepEqual([answer.object, ...answer.output.map((item) => item.type)], ["response.compaction", "message", "compaction"]);
  assert.equal(answer.usage.total_tokens, 12);
});
