//! The one table of all fields: name, form, and a line that says what it is for.
//!
//! The check walks a document along it, the reader may only ask for fields that stand in it, and the JSON
//! Schema is printed from it.

mod guardrails;
mod overload;

use super::value::{self, Fault};
use super::{cluster, people};
use guardrails::GUARDRAIL;

/// The form of a text.
pub(super) struct Form {
    /// Continues "expected …": `a duration such as "5s"`.
    pub(super) what: &'static str,
    /// Says what is wrong with a text.
    pub(super) check: fn(&str) -> Result<(), Fault>,
    /// For editors; empty for none.
    pub(super) pattern: &'static str,
}

/// What may stand somewhere.
pub(super) enum Shape {
    Bool,
    Integer {
        least: i64,
        most: i64,
    },
    /// A number that is not negative.
    Weight,
    Text(&'static Form),
    /// A plain decimal: a text, or an integer. A float would have lost digits already.
    Decimal,
    Choice(&'static [&'static str]),
    /// A list of at most this many.
    List(&'static Shape, usize),
    /// Groups of fields: so that environments share theirs with the top level.
    Table(&'static [&'static [Field]]),
    /// A table whose names are the user's own.
    Named(&'static Form, &'static Shape),
    /// One of two, told apart by their types.
    Either(&'static Shape, &'static Shape),
    /// Any value, as JSON would have it.
    Json,
    /// Known, but not available yet.
    Reserved,
}

/// A field of a table.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) doc: &'static str,
}

pub(super) const fn field(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, required: false, doc }
}

pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, required: true, doc }
}

const fn reserved(name: &'static str) -> Field {
    field(name, Shape::Reserved, "Not available in this version.")
}

macro_rules! forms {
    ($($name:ident: $what:literal, $pattern:literal, $check:expr;)*) => {
        $(pub(super) static $name: Form = Form { what: $what, pattern: $pattern, check: $check };)*
    };
}

forms! {
    DURATION: "a duration such as \"5s\"", "^[0-9]+(ms|s|m|h|d)$", |t| value::duration(t).map(drop);
    TIMEOUT: "a duration such as \"5s\"", "^[0-9]+(ms|s|m|h|d)$", |t| value::timeout(t).map(drop);
    TTL: "a duration such as \"5m\"", "^[0-9]+(ms|s|m|h|d)$", |t| value::ttl(t).map(drop);
    SIZE: "a size such as \"32MiB\"", "^[0-9]+(B|KiB|MiB|GiB)$", |t| value::size(t).map(drop);
    SECRET: "\"env:NAME\" or \"file:PATH\"", "^(env|file):.+$", |t| value::secret(t).map(drop);
    FILE: "\"file:PATH\"", "^file:.+$", |t| value::file(t).map(drop);
    PATH: "a path", "", |t| value::path(t).map(drop);
    ADDRESS: "an address such as \"127.0.0.1:8080\"", "^.+:[0-9]+$", |t| value::address(t).map(drop);
    ZONE: "a time zone such as \"Europe/Berlin\"", "^[A-Za-z0-9_+/-]+$", value::zone;
    NETWORK: "an address or a network such as \"10.0.0.0/8\"", "^[0-9a-fA-F.:]+(/[0-9]+)?$", |t| value::network(t).map(drop);
    CURRENCY: "a currency such as \"USD\"", "^[A-Z]{3}$", |t| value::currency(t).map(drop);
    NAME: "a name", "^[A-Za-z0-9._-]{1,64}$", value::name;
    FULL_MODEL: "\"provider/model\"", "^[A-Za-z0-9._-]+/.+$", value::full_model;
    MODEL: "a model's name such as \"openai/gpt-5-mini\"", "^[!-~]{1,200}$", value::model;
    PATTERN: "a name, or its beginning and \"*\"", "^[^*]{0,200}[*]?$", value::pattern;
    ALLOWED: "a model's name, \"provider/*\" or \"*\"", "^[!-~]{1,200}$", value::allowed;
    STORE_URL: "\"sqlite\" or \"postgres://…\"", "^(sqlite|postgres(ql)?://.+)$", |t| value::store_url(t).map(drop);
    API_VERSION: "an api-version such as \"2024-10-21\"", "^[A-Za-z0-9.-]{1,40}$", value::api_version;
    BASE_URL: "a URL such as \"https://api.openai.com/v1\"", "^https?://.+$", value::base_url_form;
    CONDITION: "a condition such as \"tokens > 20000\"", "", value::condition;
    MEMBER: "the name of a member", "^[A-Za-z0-9_.-]{1,64}$", value::member;
    HEADER_NAME: "the name of a header", "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", value::header_name;
    LANGUAGE: "a language such as \"en\"", "^[a-z]{2,3}$", value::language;
    EXPRESSION: "an expression", "", value::expression;
    WORD: "a word or a phrase", "", value::word;
    HEADER_VALUE: "the value of a header", "", value::header_value;
}

const COUNT: Shape = Shape::Integer { least: 1, most: 1_000_000_000_000 };
const CALLS: Shape = Shape::Integer { least: 1, most: 1_000_000 };

/// The whole document.
pub(super) static ROOT: Shape = Shape::Table(&[
    &[
        field("server", Shape::Table(&[SERVER]), "The process: where it listens, what it keeps where."),
        field("store", Shape::Table(&[STORE]), "Where control data and request logs are kept."),
        field("cluster", Shape::Table(&[cluster::FIELDS]), "What several nodes share. Default: nothing."),
        field("smtp", Shape::Table(&[people::FIELDS]), "How letters to people leave. Default: none do."),
        field(
            "environments",
            Shape::Named(&NAME, &Shape::Table(&[ENVIRONMENT_OWN, ENVIRONMENT])),
            "Environments besides the one of the top-level tables, by name.",
        ),
    ],
    ENVIRONMENT,
]);

static SERVER: &[Field] = &[
    field("listen", Shape::Text(&ADDRESS), "Where clients connect. Default: 127.0.0.1:8080."),
    field("data_dir", Shape::Text(&PATH), "SQLite files, spool, last snapshot. Default: tidegate-data."),
    field("admin_listen", Shape::Text(&ADDRESS), "A port of their own for /api, / and /metrics."),
    field(
        "admin_on_public_port",
        Shape::Bool,
        "Allows /api, / and /metrics on a `listen` that is not loopback. Default: false.",
    ),
    field("tls", Shape::Table(&[TLS]), "TLS on `listen`."),
    field(
        "master_key",
        Shape::Text(&SECRET),
        "The key-encryption key. Default: a file in data_dir, made with mode 0600 when absent.",
    ),
    field("max_body", Shape::Text(&SIZE), "The largest request body. Default: 32MiB."),
    field(
        "max_memory",
        Shape::Text(&SIZE),
        "The cap of all bodies in memory together, each as it came and as it goes to a provider.",
    ),
    field(
        "overload",
        Shape::Table(&[overload::OVERLOAD]),
        "How many calls may be under way, and what may wait.",
    ),
    field("drain", Shape::Table(&[DRAIN]), "How a stop goes."),
    field(
        "segment_bytes",
        Shape::Text(&SIZE),
        "The size at which the spool begins a new file. Default: 64MiB.",
    ),
    field("log", Shape::Choice(&["text", "json"]), "How the process writes its own log. Default: text."),
    field(
        "trusted_proxies",
        Shape::List(&Shape::Text(&NETWORK), 1_000),
        "Proxies whose x-forwarded-for is believed: addresses or networks. Default: none.",
    ),
    field(
        "allow_private_upstreams",
        Shape::Bool,
        "Providers may be at loopback and private addresses. Addresses of clouds' metadata are never called. Default: true.",
    ),
    field(
        "sign_up",
        Shape::Choice(&["open", "invite", "closed"]),
        "Who may sign up to the console: everybody, whoever is invited, nobody. Default: open where `listen` and the address that is asked are loopback, else invite.",
    ),
];

static TLS: &[Field] = &[
    required("certificate", Shape::Text(&PATH), "A PEM file with the chain, leaf first."),
    required("key", Shape::Text(&PATH), "A PEM file with the private key."),
];

static DRAIN: &[Field] = &[
    field("accept", Shape::Text(&DURATION), "Connections are still accepted for this long. Default: 5s."),
    field("deadline", Shape::Text(&DURATION), "What is under way is ended after this long. Default: 30s."),
];

static STORE: &[Field] = &[
    field("url", Shape::Text(&STORE_URL), "\"sqlite\" (the default), or \"postgres://…\"."),
    field("retention", Shape::Text(&TIMEOUT), "How long the request log is kept. Default: 30d."),
];

static ENVIRONMENT_OWN: &[Field] = &[
    field("workspace", Shape::Text(&NAME), "The workspace it belongs to. Default: default."),
    required(
        "layer",
        Shape::Choice(&["development", "production", "innovation", "domestic"]),
        "The class of the environment, with its defaults and its isolation.",
    ),
    field("region", Shape::Text(&NAME), "Where its data stays. Default: local."),
];

static ENVIRONMENT: &[Field] = &[
    field(
        "providers",
        Shape::Named(&NAME, &Shape::Table(&[PROVIDER])),
        "Vendors and servers that answer model calls. For a known vendor a credential is enough.",
    ),
    field(
        "models",
        Shape::Named(&FULL_MODEL, &Shape::Table(&[MODEL_FIELDS])),
        "What is to be known of single models, by \"provider/model\".",
    ),
    field("routes", Shape::Named(&NAME, &Shape::Table(&[ROUTE])), "Names that lead to a choice of models."),
    field(
        "keys",
        Shape::Named(&NAME, &Shape::Table(&[KEY])),
        "Virtual keys. They are live state: rolling back a release does not bring them back.",
    ),
    field("logs", Shape::Table(&[LOGS]), "What the request log holds."),
    field(
        "limits",
        Shape::List(&Shape::Table(&[LIMIT_RULE, LIMITS]), 100),
        "Caps on rate for others than single keys: each end user, each address, a model, a provider, …",
    ),
    field(
        "budgets",
        Shape::List(&Shape::Table(&[BUDGET, SHARED_BUDGET]), 100),
        "Caps on money for others than single keys. They are live state: rolling back a release does not bring them back.",
    ),
    reserved("prompts"),
    reserved("flags"),
    reserved("experiments"),
    field(
        "guardrails",
        Shape::Named(&NAME, &Shape::Table(&[GUARDRAIL])),
        "What requests and answers must not hold, by name. See docs/guardrails.md.",
    ),
    reserved("alerts"),
    field(
        "cache",
        Shape::Table(&[CACHE]),
        "Whether answers are kept and given again to the same request. Default: off.",
    ),
];

static LOGS: &[Field] = &[field(
    "bodies",
    Shape::Bool,
    "Whether prompts and answers are written to the request log. Default: false.",
)];

static CACHE: &[Field] = &[
    field(
        "enabled",
        Shape::Bool,
        "Whether it is on. Default, where there is a `cache` at all: as the environment says, else true.",
    ),
    field("ttl", Shape::Text(&TTL), "How long an answer is given again, from 1s to 30d. Default: 5m."),
];

static PROVIDER: &[Field] = &[
    field("credential", Shape::Text(&SECRET), "Where its credential is found."),
    field(
        "vendor",
        Shape::Text(&NAME),
        "Which known vendor it is, where its name does not say so: for two accounts of one vendor.",
    ),
    field(
        "dialect",
        Shape::Choice(&["openai", "anthropic", "gemini"]),
        "How it speaks. Default: the vendor's own, else openai.",
    ),
    field(
        "base_url",
        Shape::Text(&BASE_URL),
        "What the vendor's own SDK takes: with the version for openai; the root for anthropic and gemini (a version \
         there is accepted too).",
    ),
    field("api_version", Shape::Text(&API_VERSION), "For Azure's paths by deployment: their ?api-version=."),
    field(
        "models",
        Shape::Either(&Shape::Choice(&["discover"]), &Shape::List(&Shape::Text(&MODEL), 10_000)),
        "These models and no others, or \"discover\" to list what the provider lists. Default: any.",
    ),
    field("abort_stops_billing", Shape::Bool, "It stops billing when a call is cancelled."),
    field("stream_usage", Shape::Bool, "It understands stream_options.include_usage."),
    field("ca", Shape::Text(&FILE), "Certificates to trust, in PEM, in place of the system's."),
    field(
        "headers",
        Shape::Named(&HEADER_NAME, &Shape::Text(&HEADER_VALUE)),
        "Sent with every call; no secrets.",
    ),
    field("timeouts", Shape::Table(&[TIMEOUTS]), "Where they differ from the default."),
    field(
        "max_connections",
        Shape::Integer { least: 1, most: 65_535 },
        "Connections open at once. Default: 1024.",
    ),
    field("max_concurrency", CALLS, "Calls under way at once; more wait for their turn. Default: no cap."),
    field(
        "responses",
        Shape::Bool,
        "It also speaks /responses (or, false, does not); else such calls are translated.",
    ),
    field(
        "credentials",
        Shape::Named(&NAME, &Shape::Table(&[CREDENTIAL])),
        "Several credentials in place of one, by names of your own: calls are spread over them.",
    ),
    field(
        "adaptive",
        Shape::Choice(&["off", "aimd", "gradient"]),
        "How it is found out how many calls at once a model bears. Default: aimd for vendors, else off.",
    ),
    reserved("http2"),
];

static CREDENTIAL: &[Field] = &[
    required("credential", Shape::Text(&SECRET), "Where it is found."),
    field(
        "weight",
        Shape::Weight,
        "Its share of the calls, against the sum of all; with 0 it is asked only where no other is well. Default: 1.",
    ),
];

static TIMEOUTS: &[Field] = &[
    field("connect", Shape::Text(&TIMEOUT), "To be connected, with TLS. Default: 5s."),
    field("first_byte", Shape::Text(&TIMEOUT), "To the first byte of the answer. Default: 120s."),
    field("idle", Shape::Text(&TIMEOUT), "Between two pieces of the answer. Default: 120s."),
    field("total", Shape::Text(&TIMEOUT), "For all attempts together. Default: 60m."),
];

static MODEL_FIELDS: &[Field] = &[
    field("price", Shape::Table(&[&[CURRENCY_FIELD], RATES, PRICE]), "In place of the built-in price."),
    field("context", COUNT, "Tokens of input and output together."),
    field("max_output", COUNT, "Tokens of output."),
    field(
        "takes",
        Shape::List(&Shape::Choice(&["text", "image", "audio", "video", "file", "tools"]), 6),
        "What it takes: a request with something else is put to another, or refused. Default: everything.",
    ),
    field(
        "api",
        Shape::Choice(&["chat", "responses"]),
        "Which of OpenAI's APIs serves it: with \"responses\", calls in Chat and in other dialects are put to Responses. \
         Default: what is known of the model, else what the vendor's refusal says.",
    ),
];

const CURRENCY_FIELD: Field = field("currency", Shape::Text(&CURRENCY), "Of every rate. Default: USD.");

static RATES: &[Field] = &[
    field("input", Shape::Decimal, "Per million input tokens."),
    field("output", Shape::Decimal, "Per million output tokens."),
    field("cached_input", Shape::Decimal, "Per million input tokens from the cache. Default: as input."),
    field("cache_write", Shape::Decimal, "Per million input tokens written to the cache. Default: as input."),
    field(
        "cache_write_hour",
        Shape::Decimal,
        "Per million input tokens written to the cache for an hour. Default: as cache_write.",
    ),
];

static PRICE: &[Field] = &[
    field("reasoning", Shape::Decimal, "Per million reasoning tokens. Default: as output."),
    field("audio_input", Shape::Decimal, "Per million audio tokens of the input. Default: as input."),
    field("audio_output", Shape::Decimal, "Per million audio tokens of the output. Default: as output."),
    field("per_image", Shape::Decimal, "For one image made."),
    field("per_second", Shape::Decimal, "For one second of audio or video."),
    field("per_request", Shape::Decimal, "For one request."),
    field("tiers", Shape::List(&Shape::Table(&[TIER, RATES]), 20), "Rates for calls with a longer input."),
    reserved("hours"),
];

static TIER: &[Field] =
    &[required("above_input_tokens", COUNT, "Holds for calls with more input tokens than this.")];

static ROUTE: &[Field] = &[
    required(
        "targets",
        Shape::List(&Shape::Either(&Shape::Text(&MODEL), &Shape::Table(&[TARGET, CHOICE])), 100),
        "One of these is chosen for each call; where it fails, another.",
    ),
    field(
        "fallbacks",
        Shape::List(&Shape::Either(&Shape::Text(&MODEL), &Shape::Table(&[FALLBACK, CHOICE])), 20),
        "Tried after the targets, in this order.",
    ),
    field(
        "strategy",
        Shape::Choice(&["weighted", "ordered", "fastest", "cheapest", "least_busy", "most_remaining"]),
        "By what the targets are ordered. Default: weighted.",
    ),
    field(
        "sticky",
        Shape::Choice(&["end_user", "session"]),
        "Who gets the same target again, as long as it is there.",
    ),
    field(
        "max_cost",
        Shape::Decimal,
        "What could cost more is not asked, for one request. In US dollars, or in `max_cost_currency`.",
    ),
    field("max_cost_currency", Shape::Text(&CURRENCY), "Of `max_cost`. Default: USD."),
    field(
        "max_first_token",
        Shape::Text(&TIMEOUT),
        "What has lately taken longer to its first token is not asked.",
    ),
    field("timeouts", Shape::Table(&[TIMEOUTS]), "Where they differ from the provider's."),
    field("cache", Shape::Table(&[CACHE]), "Where it differs from the environment's."),
    field(
        "guardrails",
        Shape::List(&Shape::Text(&NAME), 50),
        "Names of guardrails that look at requests which ask for this route, and at their answers.",
    ),
    reserved("strict"),
];

static TARGET: &[Field] = &[field("weight", Shape::Weight, "Its share, against the sum of all. Default: 1.")];

static FALLBACK: &[Field] = &[field(
    "on",
    Shape::List(
        &Shape::Choice(&["error", "timeout", "rate_limit", "context", "content_policy", "budget"]),
        6,
    ),
    "After which causes it is asked. Default: error, timeout, rate_limit and context.",
)];

static CHOICE: &[Field] = &[
    required("model", Shape::Text(&MODEL), "The model, as \"provider/model\"."),
    field(
        "when",
        Shape::Text(&CONDITION),
        "It is asked only where this holds: CEL over model, operation, tokens, max_output, stream, content, key, environment, \
         end_user, session, tags, headers, hour, minute, weekday.",
    ),
    field(
        "set",
        Shape::Named(&MEMBER, &Shape::Json),
        "Members of the request's body that are set for it, in the words of the provider's own API.",
    ),
];

static KEY: &[Field] = &[
    field(
        "secret",
        Shape::Text(&SECRET),
        "Where its secret is found, in the format that `tidegate keys create --offline` prints.",
    ),
    field("models", Shape::List(&Shape::Text(&ALLOWED), 1_000), "Names it may ask for. Default: all."),
    field("limits", Shape::Table(&[LIMITS]), "Caps on rate."),
    field("budgets", Shape::List(&Shape::Table(&[BUDGET]), 8), "Caps on money."),
    field("durable", Shape::Bool, "Waits for accounting that survives a loss of power. Default: false."),
    reserved("strict"),
];

static LIMITS: &[Field] = &[
    field("requests_per_second", COUNT, "Requests a second: that many at once, then evenly."),
    field("requests_per_minute", COUNT, "Requests a minute: that many at once, then evenly."),
    field("requests_per_hour", COUNT, "Requests a hour: that many at once, then evenly."),
    field("requests_per_day", COUNT, "Requests a day, of 24 hours: that many at once, then evenly."),
    field(
        "tokens_per_second",
        COUNT,
        "Tokens of input and output together a second: that many at once, then evenly.",
    ),
    field(
        "tokens_per_minute",
        COUNT,
        "Tokens of input and output together a minute: that many at once, then evenly.",
    ),
    field(
        "tokens_per_hour",
        COUNT,
        "Tokens of input and output together a hour: that many at once, then evenly.",
    ),
    field(
        "tokens_per_day",
        COUNT,
        "Tokens of input and output together a day, of 24 hours: that many at once, then evenly.",
    ),
    field("input_tokens_per_second", COUNT, "Tokens of input a second: that many at once, then evenly."),
    field("input_tokens_per_minute", COUNT, "Tokens of input a minute: that many at once, then evenly."),
    field("input_tokens_per_hour", COUNT, "Tokens of input a hour: that many at once, then evenly."),
    field(
        "input_tokens_per_day",
        COUNT,
        "Tokens of input a day, of 24 hours: that many at once, then evenly.",
    ),
    field("output_tokens_per_second", COUNT, "Tokens of output a second: that many at once, then evenly."),
    field("output_tokens_per_minute", COUNT, "Tokens of output a minute: that many at once, then evenly."),
    field("output_tokens_per_hour", COUNT, "Tokens of output a hour: that many at once, then evenly."),
    field(
        "output_tokens_per_day",
        COUNT,
        "Tokens of output a day, of 24 hours: that many at once, then evenly.",
    ),
    field("concurrency", Shape::Integer { least: 1, most: 1_000_000 }, "Requests under way at once."),
];

static LIMIT_RULE: &[Field] = &[
    required("name", Shape::Text(&NAME), "Unique in the environment; told where it refuses."),
    required(
        "per",
        Shape::Choice(&[
            "key",
            "end_user",
            "address",
            "environment",
            "workspace",
            "organization",
            "model",
            "provider",
            "deployment",
        ]),
        "Each of these has the limit for itself.",
    ),
    field(
        "only",
        Shape::List(&Shape::Text(&PATTERN), 1_000),
        "Holds only for these: a name, or a beginning and `*`. Default: for each.",
    ),
    field(
        "models",
        Shape::List(&Shape::Text(&PATTERN), 1_000),
        "Holds only for calls that ask for these models or routes. Default: for all calls.",
    ),
    field(
        "shadow",
        Shape::Bool,
        "Counts and tells in the log and in /metrics, and refuses nothing. Default: false.",
    ),
];

static BUDGET: &[Field] = &[
    required("name", Shape::Text(&NAME), "Unique within the key, or among the others of the environment."),
    required("amount", Shape::Decimal, "What may be spent in one window."),
    field("currency", Shape::Text(&CURRENCY), "Of the amount. Default: USD."),
    required(
        "window",
        Shape::Choice(&["hour", "day", "week", "month", "total", "request"]),
        "When it begins anew; with \"request\" it is a ceiling for each request.",
    ),
    field(
        "time_zone",
        Shape::Text(&ZONE),
        "Where its window begins at midnight, such as \"Europe/Berlin\". Default: UTC.",
    ),
    field(
        "warn_at",
        Shape::List(&Shape::Integer { least: 1, most: 100 }, 10),
        "Parts of the amount, in percent, at which the log and /metrics tell of it.",
    ),
];

static SHARED_BUDGET: &[Field] = &[
    required(
        "per",
        Shape::Choice(&["key", "end_user", "environment", "workspace", "organization", "model"]),
        "Each of these has the amount for itself.",
    ),
    field(
        "only",
        Shape::List(&Shape::Text(&PATTERN), 1_000),
        "Holds only for these: a name, or a beginning and `*`. Default: for each.",
    ),
    field(
        "models",
        Shape::List(&Shape::Text(&PATTERN), 1_000),
        "Pays only for calls that ask for these models or routes. Default: for all calls.",
    ),
];

/// The fields of a table, whatever group they stand in.
pub(super) fn fields(groups: &'static [&'static [Field]]) -> impl Iterator<Item = &'static Field> {
    groups.iter().flat_map(|group| group.iter())
}
