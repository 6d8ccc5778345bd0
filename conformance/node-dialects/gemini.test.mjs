// Google's SDK for JavaScript, with providers of its own dialect and of foreign ones.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.

import assert from "node:assert/strict";
import test from "node:test";

import { EVERY, GoogleGenAI, PDF, STRANGER, URL, WAVE, all, city, ferry, heard, key, makeGoogle, marker, model, names, refused, require, sent, text } from "./sdks.mjs";

const google = makeGoogle();
const tools = [{ functionDeclarations: names.map((name) => ({ name, description: name, parametersJsonSchema: city })) }];
const partsOf = (answers) => answers.flatMap((answer) => answer.candidates?.[0]?.content?.parts ?? []);
const said = (parts, thought = false) => parts.filter((part) => Boolean(part.thought) === thought).map((part) => part.text ?? "").join("");

// Google's cloud, with a token as its own libraries get one.
function cloud() {
  const { OAuth2Client } = require("google-auth-library");
  const authClient = new OAuth2Client();
  authClient.setCredentials({ access_token: key(), expiry_date: Date.now() + 3_600_000 });
  return new GoogleGenAI({ vertexai: true, project: "harbour", location: "us-central1", httpOptions: { baseUrl: URL }, googleAuthOptions: { authClient } });
}

for (const egress of EVERY) {
  const of = (short) => model(egress, short);

  for (const stream of [false, true]) {
    const way = stream ? "streamed" : "whole";
    const ask = async (asked, sdk = google) => stream ? all(sdk.models.generateContentStream(asked)) : [await sdk.models.generateContent(asked)];

    test(`gemini → ${egress}: Thoughts with their signatures, given back, ${way}`, async () => {
      const config = { thinkingConfig: { includeThoughts: true, thinkingBudget: 2000 } };
      const contents = [{ role: "user", parts: [{ text }] }];
      const parts = partsOf(await ask({ model: of("think"), contents, config }));
      assert.ok(said(parts, true) && said(parts), JSON.stringify(parts));
      contents.push({ role: "model", parts }, { role: "user", parts: [{ text: "and?" }] });
      assert.ok(said(partsOf(await ask({ model: of("think"), contents, config }))));
      const thoughtSignature = Buffer.from("SignedThought").toString("base64");
      const signed = marker();
      const foreign = [contents[0], { role: "model", parts: [{ text: "hi", thoughtSignature }] }, { role: "user", parts: [{ text: signed }] }];
      await ask({ model: heard(egress, "plain"), contents: foreign });
      const [{ body }] = sent(signed);
      if (egress === "gemini") assert.equal(body.contents[1].parts[0].thoughtSignature, thoughtSignature, "it went back as it came");
      else assert.ok(!JSON.stringify(body).includes(thoughtSignature), "nobody else can read it");
    });

    test(`gemini → ${egress}: Function round trip with signatures, ${way}`, async () => {
      const contents = [{ role: "user", parts: [{ text }] }];
      const parts = partsOf(await ask({ model: of("tools"), contents, config: { tools } }));
      const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
      assert.deepEqual(calls.map((call) => call.name), names);
      const results = calls.map(({ id, name }) => ({ functionResponse: { id, name, response: { result: `mild ${name}` } } }));
      contents.push({ role: "model", parts }, { role: "user", parts: results });
      const after = said(partsOf(await ask({ model: of("tools"), contents, config: { tools } })));
      for (const name of names) assert.ok(after.includes(`mild ${name}`), after);
    });

    test(`gemini → ${egress}: Stop by length, ${way}`, async () => {
      const answers = await ask({ model: of("story"), contents: text, config: { maxOutputTokens: 5 } });
      assert.equal(answers.at(-1).candidates[0].finishReason, "MAX_TOKENS");
    });

    test(`gemini → ${egress}: Cached tokens within the prompt's, ${way}`, async () => {
      const { usageMetadata } = (await ask({ model: of("cached"), contents: text })).at(-1);
      assert.deepEqual([usageMetadata.promptTokenCount, usageMetadata.cachedContentTokenCount], [100, 40]);
    });

    test(`gemini → ${egress}: An answer that was withheld, ${way}`, async () => {
      const answers = await ask({ model: of("filtered"), contents: text });
      const reasons = answers.flatMap((answer) => answer.candidates ?? []).map((candidate) => candidate.finishReason).filter(Boolean);
      const blocked = answers.some((answer) => answer.promptFeedback?.blockReason);
      assert.ok(blocked || ["SAFETY", "PROHIBITED_CONTENT"].includes(reasons.join()), JSON.stringify(answers));
    });

    test(`gemini → ${egress}: Output by a JSON schema, ${way}`, async () => {
      const config = { responseMimeType: "application/json", responseJsonSchema: ferry };
      assert.deepEqual(Object.keys(JSON.parse(said(partsOf(await ask({ model: of("json"), contents: text, config }))))), ["name", "seats"]);
    });

    test(`gemini → ${egress}: The client for Google's cloud: project, place and publisher in the path, ${way}`, async () => {
      assert.ok(said(partsOf(await ask({ model: of("echo"), contents: text }, cloud()))).includes("the tide"));
    });
  }

  test(`gemini → ${egress}: Automatic function calling`, async () => {
    const asked = [];
    const weather = {
      tool: async () => ({ functionDeclarations: [tools[0].functionDeclarations[0]] }),
      callTool: async (calls) => calls.map(({ id, name, args }) => {
        asked.push(args.city);
        return { functionResponse: { id, name, response: { celsius: 21 } } };
      }),
    };
    const answer = await google.models.generateContent({ model: of("tools"), contents: text, config: { tools: [weather] } });
    assert.equal(asked.length, 1);
    assert.equal(typeof asked[0], "string");
    assert.ok(answer.text.includes("21"), answer.text);
  });

  test(`gemini → ${egress}: Functions: none, any, one of those allowed`, async () => {
    const called = async (short, functionCallingConfig) => {
      const answer = await google.models.generateContent({ model: of(short), contents: text, config: { tools, toolConfig: { functionCallingConfig } } });
      return (answer.functionCalls ?? []).map((call) => call.name);
    };
    assert.deepEqual(await called("tools", { mode: "NONE" }), []);
    assert.deepEqual(await called("tools", { mode: "AUTO" }), names);
    assert.deepEqual(await called("echo", { mode: "ANY" }), ["weather"]);
    assert.deepEqual(await called("echo", { mode: "ANY", allowedFunctionNames: ["tide"] }), ["tide"]);
  });

  test(`gemini → ${egress}: A schema in Google's own form`, async () => {
    const responseSchema = { type: "OBJECT", properties: { name: { type: "STRING" }, seats: { type: "INTEGER" } }, required: ["name", "seats"] };
    const answer = await google.models.generateContent({ model: of("json"), contents: text, config: { responseMimeType: "application/json", responseSchema } });
    assert.deepEqual(Object.keys(JSON.parse(answer.text)), ["name", "seats"]);
  });

  test(`gemini → ${egress}: Sound and files within a message`, async () => {
    const word = marker();
    const parts = [{ text: word }, { inlineData: { mimeType: "application/pdf", data: PDF } }];
    if (egress !== "messages") parts.push({ inlineData: { mimeType: "audio/wav", data: WAVE } });
    await google.models.generateContent({ model: heard(egress, "plain"), contents: [{ role: "user", parts }] });
    const body = JSON.stringify(sent(word)[0].body);
    assert.ok(body.includes(PDF));
    assert.equal(body.includes(WAVE), egress !== "messages");
  });

  test(`gemini → ${egress}: An error in mid-stream raises`, async () => {
    for (const short of ["errs", "dies"]) {
      const error = await refused(() => all(google.models.generateContentStream({ model: of(short), contents: text })));
      assert.ok(error.message, short);
    }
  });

  test(`gemini → ${egress}: A chat remembers`, async () => {
    const chat = google.chats.create({ model: of("echo") });
    await chat.sendMessage({ message: text });
    const answer = await chat.sendMessage({ message: "and the moon [[pace=0]]" });
    assert.ok(answer.text.includes("and the moon"));
    assert.deepEqual(chat.getHistory().map((content) => content.role), ["user", "model", "user", "model"]);
    const [first] = (await all(await chat.sendMessageStream({ message: "and the sea [[pace=0]]" }))).slice(-1);
    assert.ok(first.usageMetadata.promptTokenCount > answer.usageMetadata.promptTokenCount);
  });
}

for (const [egress, config, field] of [["chat", { topK: 5 }, "topk"], ["messages", { seed: 7 }, "seed"]]) {
  test(`gemini → ${egress}: What cannot be said upstream is signalled; strict refuses it`, async () => {
    const asked = { model: model(egress, "echo"), contents: text };
    const answer = await google.models.generateContent({ ...asked, config });
    assert.ok(answer.sdkHttpResponse.headers["x-tidegate-dropped"].toLowerCase().replaceAll("_", "").includes(field));
    const strict = { ...config, httpOptions: { headers: { "x-tidegate-strict": "true" } } };
    assert.equal((await refused(() => google.models.generateContent({ ...asked, config: strict }))).status, 400);
  });
}

for (const version of ["v1", "v1beta", "v1beta1"]) {
  for (const mount of ["", "/gemini"]) {
    test(`gemini → -: Version ${version}${mount && ", at the mount"}`, async () => {
      const sdk = makeGoogle("app", { baseUrl: URL + mount, apiVersion: version });
      assert.ok((await sdk.models.generateContent({ model: "demo/echo", contents: text })).text.includes("the tide"));
      assert.ok((await all(sdk.models.generateContentStream({ model: "demo/echo", contents: text }))).length > 1);
      assert.equal((await sdk.models.get({ model: "demo/echo" })).name, "models/demo/echo");
    });
  }
}

test("gemini → -: Errors of the gateway: 400, 401, 403, 404, 429", async () => {
  const status = async (sdk, name, more = {}) => (await refused(() => sdk.models.generateContent({ model: name, contents: text, ...more }))).status;
  assert.equal(await status(google, "demo/echo", { contents: [{ role: "nobody", parts: [{ text: "x" }] }] }), 400);
  assert.equal(await status(new GoogleGenAI({ apiKey: STRANGER, httpOptions: { baseUrl: URL } }), "demo/echo"), 401);
  assert.equal(await status(makeGoogle("narrow"), "up/ok"), 403);
  assert.equal(await status(google, "demo/ecco"), 404);
  assert.equal(await status(makeGoogle("poor"), "up/ok", { config: { maxOutputTokens: 1000 } }), 429);
});
