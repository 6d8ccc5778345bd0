// Embeddings by the SDKs for JavaScript of OpenAI and Google, against vendors that take only their own words.
// A test's name is `client → upstream: feature`: docs/compatibility.md is made of those that passed.
// A vector of the vendors (but OpenAI's) says which input it is of: its place, the length of the text, and 0.1.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

const require = createRequire(`${process.env.STAND_NODE_PACKAGES}/package.json`);
const OpenAI = require("openai").OpenAI ?? require("openai").default;
const { GoogleGenAI } = require("@google/genai");

const openai = new OpenAI({ baseURL: `${process.env.TIDEGATE_URL}/v1`, apiKey: process.env.TIDEGATE_API_KEY, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: process.env.TIDEGATE_API_KEY, httpOptions: { baseUrl: process.env.TIDEGATE_URL } });
const texts = ["a", "bcd"];
const expected = (egress) => egress === "openai" ? [[0.5, -0.5], [0.5, -0.5]] : [[0, 1, 0.1], [1, 3, 0.1]];

function near(vectors, wanted) {
  assert.deepEqual(vectors.map((vector) => vector.map((number) => Math.round(number * 1e5) / 1e5)), wanted);
}

for (const egress of ["openai", "gemini", "jina"]) {
  const model = `${egress}/e`;

  test(`vectors-openai → ${egress}: embeddings, as the SDK asks by default (base64), and as floats`, async () => {
    const packed = await openai.embeddings.create({ model, input: texts, dimensions: 3 });
    near(packed.data.map((one) => one.embedding), expected(egress));
    assert.deepEqual(packed.data.map((one) => one.index), [0, 1]);
    assert.equal(packed.usage.prompt_tokens, { openai: 2, gemini: 8, jina: 10 }[egress]);
    const floats = await openai.embeddings.create({ model, input: texts, encoding_format: "float" });
    near(floats.data.map((one) => one.embedding), expected(egress));
  });

  test(`vectors-openai → ${egress}: embeddings of tokens, or their refusal by name`, async () => {
    const asked = openai.embeddings.create({ model, input: [[1, 2], [3]] });
    if (egress === "openai") near((await asked).data.map((one) => one.embedding), expected(egress));
    else await assert.rejects(asked, (error) => error instanceof OpenAI.BadRequestError && error.param === "input" && error.message.includes("tokens"));
  });

  if (egress !== "gemini") {
    test(`vectors-openai → ${egress}: embeddings: a batch of 2048`, async () => {
      const answer = await openai.embeddings.create({ model, input: Array.from({ length: 2048 }, (_, n) => `tide ${n}`) });
      assert.deepEqual(answer.data.map((one) => one.index), Array.from({ length: 2048 }, (_, n) => n));
    });
  }

  test(`vectors-gemini → ${egress}: embeddings (a batch)`, async () => {
    const config = { taskType: "RETRIEVAL_QUERY", outputDimensionality: 3 };
    const answer = await google.models.embedContent({ model, contents: texts, config });
    near(answer.embeddings.map((one) => one.values), expected(egress));
  });
}

test("vectors-gemini → cohere: embeddings (a batch)", async () => {
  const answer = await google.models.embedContent({ model: "cohere/e", contents: texts, config: { taskType: "RETRIEVAL_QUERY" } });
  near(answer.embeddings.map((one) => one.values), expected("cohere"));
});
