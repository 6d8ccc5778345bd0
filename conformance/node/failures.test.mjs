// Failures: the right class, fields that help, no silent success, and nothing left running behind.

import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { OpenAI, URL, ask, dispatches, makeClient, marker, requestsOf } from "./stand.mjs";

const client = makeClient();

async function refused(kind, call) {
  let error;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, "it should have been refused");
  assert.equal(error.constructor, kind, `${error.constructor.name}: ${error.message}`);
  if (error.status) {
    assert.match(error.requestID ?? "", /^[0-9a-f-]{36}$/);
    assert.ok(error.type && error.message);
  }
  return error;
}

const create = (who, model = "up/ok", more = {}) => () =>
  who.chat.completions.create({ model, messages: ask(), ...more });

test("400 names the field", async () => {
  const error = await refused(OpenAI.BadRequestError, create(client, "up/ok", { n: 0 }));
  assert.equal(error.param, "n");
});

test("401, 403, 404 and 422", async () => {
  const stranger = new OpenAI({ baseURL: URL, apiKey: `tg-${"A".repeat(38)}`, maxRetries: 0 });
  assert.equal((await refused(OpenAI.AuthenticationError, create(stranger))).code, "invalid_api_key");
  await refused(OpenAI.PermissionDeniedError, create(makeClient("narrow")));
  assert.equal((await refused(OpenAI.NotFoundError, create(client, "demo/storry"))).code, "model_not_found");
  await refused(OpenAI.UnprocessableEntityError, create(client, "up/ok-s422"));
});

test("429 of a spent budget is final", async () => {
  const word = marker();
  const more = { messages: ask(word), max_tokens: 1000 };
  const error = await refused(OpenAI.RateLimitError, create(makeClient("poor", { maxRetries: 3 }), "up/ok", more));
  assert.equal(error.code, "insufficient_quota");
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(requestsOf(word).size, 0);
});

test("5xx of the upstream is passed on, and the SDK may try again where we did not", async () => {
  const word = marker();
  const patient = makeClient("app", { maxRetries: 2 });
  const error = await refused(OpenAI.InternalServerError, create(patient, "up/ok-s503", { messages: ask(word) }));
  assert.equal(error.status, 503);
  assert.equal(requestsOf(word).size, 3);
});

test("the SDK does not multiply our own attempts", async () => {
  const word = marker();
  const patient = makeClient("app", { maxRetries: 3 });
  const error = await refused(OpenAI.InternalServerError, create(patient, "doomed", { messages: ask(word) }));
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(requestsOf(word).size, 1);
});

test("the SDK waits as long as we say", async () => {
  const told = [];
  const waits = [];
  const timeout = 29_000;
  const wait = globalThis.setTimeout;
  const hasty = makeClient("hasty", { maxRetries: 2, timeout, fetch: async (...asked) => {
    const answer = await fetch(...asked);
    if (answer.status === 429) told.push(Number(answer.headers.get("retry-after-ms")));
    return answer;
  } });
  globalThis.setTimeout = (run, delay, ...more) => {
    // Its own limit of time aside, what it waits for is the next try.
    if (told.length > waits.length && delay !== timeout) {
      waits.push(delay);
      return wait(run, 0, ...more);
    }
    return wait(run, delay, ...more);
  };
  try {
    // One of them may be the first of its minute.
    await refused(OpenAI.RateLimitError, async () => {
      await create(hasty)();
      await create(hasty)();
    });
  } finally {
    globalThis.setTimeout = wait;
  }
  assert.equal(told.length, 3, "one call and two retries");
  assert.ok(told.every((one) => one > 0 && one <= 60_000), told.join());
  assert.deepEqual(waits, told.slice(0, 2));
});

test("429 of the upstream", async () => {
  await refused(OpenAI.RateLimitError, create(client, "up/ok-s429-ra2"));
});

for (const model of ["up/ok-t20-d2-rst5", "up/ok-t20-d2-close5", "up/ok-t20-d2-err5"]) {
  test(`${model} in mid-stream is an error and not success`, async () => {
    let parts = 0;
    const error = await refused(OpenAI.APIError, async () => {
      for await (const part of await create(client, model, { stream: true })()) {
        assert.ok(!part.choices[0]?.finish_reason);
        parts += 1;
      }
    });
    assert.ok(error.message && parts >= 1 && parts <= 6);
  });
}

test("an abort ends the upstream's call", async () => {
  const { response, data } = await create(client, "up/ok-t4000-d5", { stream: true })().withResponse();
  let parts = 0;
  for await (const _ of data) {
    parts += 1;
    if (parts === 5) break;
  }
  data.controller.abort();
  const [dispatch] = await dispatches(response.headers.get("x-request-id"), 5_000);
  assert.ok(dispatch.end.aborted && dispatch.end.events < 4_000);
});

test("an aborted whole call ends the upstream's call", async () => {
  const word = marker();
  const controller = new AbortController();
  const call = client.chat.completions.create({ model: "up/ok-f20000", messages: ask(word) }, { signal: controller.signal });
  const settled = assert.rejects(call, OpenAI.APIUserAbortError);
  const deadline = Date.now() + 10_000;
  while (requestsOf(word).size === 0) {
    assert.ok(Date.now() < deadline, "the request never reached the upstream");
    await sleep(20);
  }
  controller.abort();
  await settled;
  const [requestId] = requestsOf(word);
  const [dispatch] = await dispatches(requestId, 5_000);
  assert.ok(dispatch.end.aborted);
});
