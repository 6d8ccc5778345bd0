//! The fields of `[guardrails.NAME]`.

use super::{
    BASE_URL, COUNT, EXPRESSION, Field, LANGUAGE, NAME, SECRET, Shape, TIMEOUT, WORD, field, required,
};

pub(super) static GUARDRAIL: &[Field] = &[
    required(
        "kind",
        Shape::Choice(&["regex", "words", "pii", "secrets", "max_length", "language", "json_schema", "hook"]),
        "What it is.",
    ),
    field("pattern", Shape::Text(&EXPRESSION), "For regex: an expression in the syntax of Rust's `regex`."),
    field(
        "words",
        Shape::List(&Shape::Text(&WORD), 5_000),
        "For words: whole words or phrases, in any case.",
    ),
    field(
        "entities",
        Shape::List(&Shape::Text(&NAME), 50),
        "For pii and secrets: which of the known ones. Default: all.",
    ),
    field(
        "max",
        COUNT,
        "For max_length: characters of all texts of a request together, or of all texts of its answer.",
    ),
    field(
        "languages",
        Shape::List(&Shape::Text(&LANGUAGE), 80),
        "For language: those that texts may be written in.",
    ),
    field(
        "schema",
        Shape::Json,
        "For json_schema: the schema that the text of an answer keeps, as a table or as a text of JSON.",
    ),
    field("url", Shape::Text(&BASE_URL), "For hook: where it is asked."),
    field(
        "credential",
        Shape::Text(&SECRET),
        "For hook: what it is sent as a bearer token. Default: nothing.",
    ),
    field("timeout", Shape::Text(&TIMEOUT), "For hook: how long it may take. Default: 2s."),
    field(
        "action",
        Shape::Choice(&["block", "mask", "annotate", "observe"]),
        "What is done: refuse, replace what was found, tell the client by a header, or only log. Default: block.",
    ),
    field(
        "stage",
        Shape::Either(
            &Shape::Choice(&["request", "response"]),
            &Shape::List(&Shape::Choice(&["request", "response"]), 2),
        ),
        "When it looks: before the call, at the answer, or both. Default: request; for json_schema: response.",
    ),
    field(
        "window",
        Shape::Integer { least: 64, most: 65_536 },
        "Bytes of a streamed text that are held at most, where what is looked for has no longest form. Default: 256.",
    ),
    field("everywhere", Shape::Bool, "It looks at every request of the environment. Default: false."),
    field(
        "on_failure",
        Shape::Choice(&["open", "closed"]),
        "What is done where it cannot look: let it pass, or refuse it. Default: closed.",
    ),
];
