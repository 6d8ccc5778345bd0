-- The ledger: every terminal entry, and the sums that balances and usage are read from. Money is in nano units (1e-9) of
-- the currency beside it; times are microseconds since 1970 UTC; an absent count was never told, which is not 0.
--
-- Only `entries` is written as records come in. Sums are views: what was folded, plus the entries after it. So a sum
-- can never disagree with its entries, a record that comes twice counts once, and a hundred thousand keys cost a
-- record what ten cost. Folding (now and then, in one transaction) only makes the views quick.

CREATE TABLE entries (
    id                  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id          BYTEA NOT NULL,
    attempt_no          BIGINT NOT NULL,
    kind                TEXT NOT NULL,
    seq                 BIGINT NOT NULL,
    at                  BIGINT NOT NULL,
    settled_at          BIGINT NOT NULL,
    organization        TEXT NOT NULL,
    workspace           TEXT NOT NULL,
    environment         TEXT NOT NULL,
    layer               TEXT NOT NULL,
    region              TEXT NOT NULL,
    release             BIGINT NOT NULL,
    variant             TEXT,
    prompt_version      TEXT,
    key_id              TEXT NOT NULL,
    key_name            TEXT NOT NULL,
    provider            TEXT NOT NULL,
    model               TEXT NOT NULL,
    endpoint            TEXT NOT NULL,
    end_user            TEXT,
    session             TEXT,
    tags                TEXT,
    outcome             TEXT NOT NULL,
    input_tokens        BIGINT,
    cached_input_tokens BIGINT,
    cache_write_tokens  BIGINT,
    output_tokens       BIGINT,
    reasoning_tokens    BIGINT,
    audio_input_tokens  BIGINT,
    audio_output_tokens BIGINT,
    images              BIGINT,
    basis               TEXT NOT NULL,
    estimated           SMALLINT NOT NULL,
    cost                BIGINT,
    cost_currency       TEXT,
    charge              BIGINT,
    charge_currency     TEXT,
    price_version       TEXT,
    budgets             TEXT NOT NULL,
    overrun             SMALLINT NOT NULL,
    UNIQUE (request_id, attempt_no, kind, seq)
);

-- How far the entries have been folded: one row. The views below give the range a second end, which nothing reaches:
-- PostgreSQL takes a range with one unknown end for a third of the table, and would read all of it.
CREATE TABLE folded (
    up_to               BIGINT NOT NULL
);
INSERT INTO folded (up_to) VALUES (0);

CREATE TABLE balance_sums (
    scope               TEXT NOT NULL,
    window_start        BIGINT NOT NULL,
    currency            TEXT NOT NULL,
    spent               BIGINT NOT NULL,
    PRIMARY KEY (scope, window_start, currency)
);

-- What each entry took from each budget window. `budgets` is [["scope", window start], ...].
CREATE VIEW entry_charges AS
    SELECT entries.id AS id, budget.value ->> 0 AS scope, CAST(budget.value ->> 1 AS BIGINT) AS window_start, entries.charge_currency AS currency,
        entries.charge AS spent
    FROM entries, json_array_elements(CAST(entries.budgets AS json)) AS budget
    WHERE entries.charge IS NOT NULL AND entries.budgets <> '[]';

CREATE VIEW balances AS
    SELECT scope, window_start, currency, CAST(SUM(spent) AS BIGINT) AS spent
    FROM (
        SELECT scope, window_start, currency, spent FROM balance_sums
        UNION ALL
        SELECT scope, window_start, currency, spent FROM entry_charges WHERE id > (SELECT up_to FROM folded) AND id < 9223372036854775807
    ) AS parts
    GROUP BY scope, window_start, currency;

-- Absent texts are '' here: they are part of the key. `currency` is '' where the cost is unknown.
CREATE TABLE usage_sums (
    hour                BIGINT NOT NULL,
    key_id              TEXT NOT NULL,
    model               TEXT NOT NULL,
    endpoint            TEXT NOT NULL,
    release             BIGINT NOT NULL,
    variant             TEXT NOT NULL,
    prompt_version      TEXT NOT NULL,
    end_user            TEXT NOT NULL,
    currency            TEXT NOT NULL,
    organization        TEXT NOT NULL,
    workspace           TEXT NOT NULL,
    environment         TEXT NOT NULL,
    layer               TEXT NOT NULL,
    region              TEXT NOT NULL,
    key_name            TEXT NOT NULL,
    provider            TEXT NOT NULL,
    requests            BIGINT NOT NULL,
    attempts            BIGINT NOT NULL,
    input_tokens        BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens  BIGINT NOT NULL,
    output_tokens       BIGINT NOT NULL,
    reasoning_tokens    BIGINT NOT NULL,
    cost                BIGINT NOT NULL,
    unknown_cost_requests BIGINT NOT NULL,
    estimated_requests  BIGINT NOT NULL,
    PRIMARY KEY (hour, key_id, model, endpoint, release, variant, prompt_version, end_user, currency)
);

-- What each entry adds to usage. A request is an attempt that gave an answer or part of one, so each counts once, at the
-- model that answered it. A count beyond 2^40 is a lie of the provider, and would spoil the sums.
CREATE VIEW entry_usage AS
    SELECT id, at - at % 3600000000 AS hour, key_id, model, endpoint, release, COALESCE(variant, '') AS variant,
        COALESCE(prompt_version, '') AS prompt_version, COALESCE(end_user, '') AS end_user,
        COALESCE(cost_currency, '') AS currency, organization, workspace, environment, layer, region, key_name,
        provider, request AS requests, 1 AS attempts,
        CASE WHEN input_tokens > 1099511627776 THEN 1099511627776 ELSE COALESCE(input_tokens, 0) END AS input_tokens,
        CASE WHEN cached_input_tokens > 1099511627776 THEN 1099511627776 ELSE COALESCE(cached_input_tokens, 0) END AS cached_input_tokens,
        CASE WHEN cache_write_tokens > 1099511627776 THEN 1099511627776 ELSE COALESCE(cache_write_tokens, 0) END AS cache_write_tokens,
        CASE WHEN output_tokens > 1099511627776 THEN 1099511627776 ELSE COALESCE(output_tokens, 0) END AS output_tokens,
        CASE WHEN reasoning_tokens > 1099511627776 THEN 1099511627776 ELSE COALESCE(reasoning_tokens, 0) END AS reasoning_tokens,
        COALESCE(cost, 0) AS cost,
        CASE WHEN cost IS NULL THEN request ELSE 0 END AS unknown_cost_requests,
        request * estimated AS estimated_requests
    FROM (
        SELECT entries.*, CASE
            WHEN seq <> 0 THEN 0
            WHEN outcome IN ('completed', 'client_gone') THEN 1
            WHEN outcome = 'upstream_failed' AND (COALESCE(output_tokens, 0) > 0 OR COALESCE(charge, 0) > 0) THEN 1
            ELSE 0
        END AS request
        FROM entries
    ) AS counted
    WHERE kind = 'settle' AND outcome <> 'never_dispatched';

-- Rows of the same key may occur twice, folded and not: add them up.
CREATE VIEW usage_hourly AS
    SELECT hour, key_id, model, endpoint, release, variant, prompt_version, end_user, currency, organization, workspace,
        environment, layer, region, key_name, provider, requests, attempts, input_tokens, cached_input_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, cost, unknown_cost_requests, estimated_requests
    FROM usage_sums
    UNION ALL
    SELECT hour, key_id, model, endpoint, release, variant, prompt_version, end_user, currency, organization, workspace,
        environment, layer, region, key_name, provider, requests, attempts, input_tokens, cached_input_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, cost, unknown_cost_requests, estimated_requests
    FROM entry_usage WHERE id > (SELECT up_to FROM folded) AND id < 9223372036854775807;
