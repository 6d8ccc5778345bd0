//! The OpenAI dialect of the scripted upstream: from a request and a plan to the bytes of an answer.
//!
//! Pure. Another dialect is another file like this one, chosen by path in `upstream::route`.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::journal::Tokens;
use crate::plan::{Plan, UsageQuirk};

/// What the upstream reads of a request body; whatever else it holds is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked<'a> {
    #[serde(borrow)]
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) stream: Option<bool>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    n: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding_format: Option<Cow<'a, str>>,
    dimensions: Option<u64>,
    pub(super) fake: Option<Plan>,
}

/// The endpoints of this dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    /// Any other: what the plan says, else a small answer with usage.
    Generic,
    /// The same with so many KiB of bytes that are no text as the plan has tokens.
    Binary,
}

/// A made answer.
pub(super) enum Made {
    /// All at once, and what it says about usage.
    Whole(Bytes, Option<Tokens>),
    /// Event by event.
    Events(Box<Events>),
}

impl Asked<'_> {
    /// Input tokens by the plan, else one for each 8 bytes of what was asked (always below a bound by bytes).
    pub(super) fn input(&self, plan: &Plan) -> u64 {
        let raw = [self.messages, self.prompt, self.input].into_iter().flatten();
        plan.input.unwrap_or_else(|| 1 + raw.map(|raw| raw.get().len() as u64 / 8).sum::<u64>())
    }

    fn includes_usage(&self) -> bool {
        self.stream_options.is_some_and(|options| {
            serde_json::from_str::<Value>(options.get()).is_ok_and(|options| options["include_usage"] == true)
        })
    }

    fn cap(&self) -> Option<u64> {
        [self.max_tokens, self.max_completion_tokens].into_iter().flatten().min()
    }
}

/// Makes the answer to a good plan. `number` goes into the answer's id.
pub(super) fn make(endpoint: Endpoint, asked: &Asked<'_>, plan: &Plan, number: u64) -> (Made, Tokens) {
    match endpoint {
        Endpoint::Embeddings => return embeddings(asked, plan),
        Endpoint::Binary => return (Made::Whole(binary(plan.tokens), None), Tokens::default()),
        Endpoint::Generic if plan.events.is_none() => return generic(asked, plan),
        _ => {}
    }
    let deltas = Deltas::of(asked, plan);
    let choices = asked.n.unwrap_or(1).clamp(1, 128);
    let truth = Tokens {
        input: asked.input(plan),
        cached_input: plan.cached,
        output: deltas.count().saturating_mul(choices).saturating_add(plan.reasoning),
        reasoning: plan.reasoning,
    };
    let model = asked.model.as_deref().unwrap_or("none");
    let id = format!("{}-fake{number}", if endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" });
    if asked.stream == Some(true) || plan.events.is_some() {
        let events = Events::new(endpoint, asked, plan, deltas, truth, choices, &id, model);
        return (Made::Events(Box::new(events)), truth);
    }
    let told = match plan.usage {
        UsageQuirk::Missing | UsageQuirk::Null => None,
        _ => Some(truth),
    };
    let written: Vec<Value> = (0..choices).map(|index| deltas.whole(endpoint, index)).collect();
    let kind = if endpoint == Endpoint::Chat { "chat.completion" } else { "text_completion" };
    let mut answer =
        json!({"id": id, "object": kind, "created": CREATED, "model": model, "choices": written});
    match (plan.usage, told) {
        (UsageQuirk::Null, _) => answer["usage"] = Value::Null,
        (_, Some(told)) => {
            answer["usage"] = serde_json::from_str(&usage(&told)).unwrap_or_default();
        }
        _ => {}
    }
    (Made::Whole(answer.to_string().into(), told), truth)
}

const CREATED: u64 = 1_767_225_600;

/// The `usage` object.
fn usage(tokens: &Tokens) -> String {
    let Tokens { input, cached_input, output, reasoning } = tokens;
    format!(
        "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached_input}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}",
        input.saturating_add(*output)
    )
}

fn generic(asked: &Asked<'_>, plan: &Plan) -> (Made, Tokens) {
    let truth = Tokens { input: asked.input(plan), output: plan.tokens, ..Tokens::default() };
    let told = (!matches!(plan.usage, UsageQuirk::Missing | UsageQuirk::Null)).then_some(truth);
    let mut answer = json!({"object": "generic", "model": asked.model});
    if let Some(told) = told {
        answer["usage"] = json!({"input_tokens": told.input, "output_tokens": told.output});
    }
    (Made::Whole(answer.to_string().into(), told), truth)
}

/// Bytes of every value, the same each time.
pub fn binary(kib: u64) -> Bytes {
    (0..kib * 1024).map(|at| u8::try_from(at * 31 % 256).unwrap_or(0)).collect::<Vec<u8>>().into()
}

fn embeddings(asked: &Asked<'_>, plan: &Plan) -> (Made, Tokens) {
    let input: Value = asked.input.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let count = match &input {
        Value::Array(inputs) if !inputs.iter().all(Value::is_u64) => inputs.len(),
        _ => 1,
    };
    let size = asked.dimensions.unwrap_or(8).clamp(1, 4_096);
    let base64 = asked.encoding_format.as_deref() == Some("base64");
    // 0.5 in single precision; eight of them fill whole groups of three bytes only by chance, so pad.
    let vector = if base64 {
        Value::String(halves(size))
    } else {
        json!(vec![0.5; usize::try_from(size).unwrap_or(1)])
    };
    let data: Vec<Value> =
        (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let truth = Tokens { input: asked.input(plan), cached_input: plan.cached, ..Tokens::default() };
    let mut answer = json!({"object": "list", "data": data, "model": asked.model});
    let told = (!matches!(plan.usage, UsageQuirk::Missing | UsageQuirk::Null)).then_some(truth);
    if told.is_some() {
        answer["usage"] = json!({"prompt_tokens": truth.input, "total_tokens": truth.input});
    }
    (Made::Whole(answer.to_string().into(), told), truth)
}

/// `size` floats of 0.5 (00 00 00 3f, little-endian) in base64.
fn halves(size: u64) -> String {
    base64(&[0, 0, 0, 0x3f].repeat(usize::try_from(size).unwrap_or(1)))
}

/// Bytes in base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let sign = char::from(ALPHABET[bits >> (18 - 6 * place) & 63]);
            out.push(if place > group.len() { '=' } else { sign });
        }
    }
    out
}

/// What the choices say, delta by delta; each delta is a token.
#[derive(Debug)]
struct Deltas {
    kind: DeltaKind,
    finish: &'static str,
}

#[derive(Debug)]
enum DeltaKind {
    Words { count: u64, utf8: bool, thought: u64 },
    Echo(Vec<String>),
    Tools(u64),
}

const WORDS: [&str; 8] = [" tide", " gate", " salt", " water", " moon", " rope", " sand", " bell"];
const WIDE: [&str; 8] = ["潮", "汐", " é", "🌊", "ß", "水", "👩‍🚀", "ø"];
/// The pieces of every tool call's arguments.
const ARGUMENTS: [&str; 4] = ["{\"city\"", ":", "\"Tønder\"", "}"];

impl Deltas {
    fn of(asked: &Asked<'_>, plan: &Plan) -> Self {
        let wanted = if plan.endless { u64::MAX } else { plan.tokens };
        let count = asked.cap().filter(|_| !plan.uncapped).map_or(wanted, |cap| cap.min(wanted));
        let finish = match plan {
            Plan { filter: true, .. } => "content_filter",
            Plan { length: true, .. } => "length",
            _ if count < wanted => "length",
            _ => "stop",
        };
        if plan.tools > 0 {
            return Self { kind: DeltaKind::Tools(plan.tools), finish: "tool_calls" };
        }
        if plan.echo {
            return Self { kind: DeltaKind::Echo(said(asked)), finish };
        }
        let thought = if plan.think { count / 2 } else { 0 };
        Self { kind: DeltaKind::Words { count, utf8: plan.utf8, thought }, finish }
    }

    fn count(&self) -> u64 {
        match &self.kind {
            DeltaKind::Words { count, .. } => *count,
            DeltaKind::Echo(words) => words.len() as u64,
            DeltaKind::Tools(calls) => calls * (1 + ARGUMENTS.len() as u64),
        }
    }

    fn word(&self, place: u64) -> &str {
        let index = usize::try_from(place % 8).unwrap_or(0);
        match &self.kind {
            DeltaKind::Words { utf8: true, .. } => WIDE[index],
            DeltaKind::Words { .. } => WORDS[index],
            DeltaKind::Echo(words) => {
                usize::try_from(place).ok().and_then(|place| words.get(place)).map_or("", String::as_str)
            }
            DeltaKind::Tools(_) => "",
        }
    }

    /// The delta's members, without braces.
    fn write(&self, out: &mut String, place: u64) {
        let text = Value::from(self.word(place));
        match &self.kind {
            DeltaKind::Tools(_) => tool_delta(out, place),
            DeltaKind::Words { thought, .. } if place < *thought => {
                let _ = write!(out, "\"reasoning_content\":{text}");
            }
            _ => {
                let _ = write!(out, "\"content\":{text}");
            }
        }
    }

    /// A whole choice.
    fn whole(&self, endpoint: Endpoint, index: u64) -> Value {
        let count = self.count().min(1_000_000);
        let text = |places: std::ops::Range<u64>| places.map(|place| self.word(place)).collect::<String>();
        if endpoint == Endpoint::Completions {
            return json!({"index": index, "text": text(0..count), "logprobs": null, "finish_reason": self.finish});
        }
        let message = match &self.kind {
            DeltaKind::Tools(calls) => json!({"role": "assistant", "content": null,
                "tool_calls": (0..*calls).map(|call| json!({"id": format!("call_{call}"), "type": "function",
                    "function": {"name": format!("tool_{call}"), "arguments": ARGUMENTS.concat()}})).collect::<Vec<_>>()}),
            DeltaKind::Words { thought, .. } if *thought > 0 => {
                json!({"role": "assistant", "content": text(*thought..count), "reasoning_content": text(0..*thought)})
            }
            _ => json!({"role": "assistant", "content": text(0..count)}),
        };
        json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish})
    }
}

fn tool_delta(out: &mut String, place: u64) {
    let each = 1 + ARGUMENTS.len() as u64;
    let (call, part) = (place / each, place % each);
    let _ = match part {
        0 => write!(
            out,
            "\"tool_calls\":[{{\"index\":{call},\"id\":\"call_{call}\",\"type\":\"function\",\
             \"function\":{{\"name\":\"tool_{call}\",\"arguments\":\"\"}}}}]"
        ),
        part => {
            let piece = Value::from(ARGUMENTS[usize::try_from(part - 1).unwrap_or(0)]);
            write!(out, "\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":{piece}}}}}]")
        }
    };
}

/// The last message's text (or the prompt) in pieces of 8 characters.
fn said(asked: &Asked<'_>) -> Vec<String> {
    let messages: Value =
        asked.messages.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let prompt: Value = asked.prompt.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let last =
        messages.as_array().and_then(|messages| messages.last()).map_or(&prompt, |last| &last["content"]);
    let text: Vec<char> = last.as_str().unwrap_or("").chars().collect();
    text.chunks(8).map(|piece| piece.iter().collect()).collect()
}

/// One item of a stream.
pub(super) struct Item {
    pub(super) bytes: String,
    /// Counts as an event (comments and the end mark do not).
    pub(super) event: bool,
    /// Output tokens that it carries.
    pub(super) tokens: u64,
    /// What it says about usage.
    pub(super) told: Option<Tokens>,
}

/// A stream, made as it is sent, so that it may be endless.
pub(super) struct Events {
    endpoint: Endpoint,
    /// What every chunk begins with.
    head: String,
    deltas: Deltas,
    choices: u64,
    truth: Tokens,
    quirk: UsageQuirk,
    asked_usage: bool,
    done: bool,
    newline: &'static str,
    ping: u64,
    place: u64,
    pinged: bool,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Tokens,
    Finish(u64),
    Usage(u8),
    Done,
    End,
}

impl Events {
    #[expect(clippy::too_many_arguments, reason = "a private constructor, called once")]
    fn new(
        endpoint: Endpoint,
        asked: &Asked<'_>,
        plan: &Plan,
        deltas: Deltas,
        truth: Tokens,
        choices: u64,
        id: &str,
        model: &str,
    ) -> Self {
        let kind = if endpoint == Endpoint::Chat { "chat.completion.chunk" } else { "text_completion" };
        let model = Value::from(model);
        let head =
            format!("data: {{\"id\":\"{id}\",\"object\":\"{kind}\",\"created\":{CREATED},\"model\":{model},");
        Self {
            endpoint,
            head,
            deltas,
            choices,
            truth,
            quirk: plan.usage,
            asked_usage: asked.includes_usage(),
            done: plan.done,
            newline: plan.newline.as_str(),
            ping: plan.ping,
            place: 0,
            pinged: false,
            step: Step::Tokens,
        }
    }

    /// The next item, `None` at the end.
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.step == Step::Tokens && self.place / self.choices >= self.deltas.count() {
            self.step = Step::Finish(0);
        }
        match self.step {
            Step::Tokens => Some(self.token()),
            Step::Finish(index) => {
                let last = index + 1 == self.choices;
                self.step = if last { Step::Usage(0) } else { Step::Finish(index + 1) };
                let empty = if self.endpoint == Endpoint::Chat { "\"delta\":{}" } else { "\"text\":\"\"" };
                let finish = self.deltas.finish;
                let choice = format!("{{\"index\":{index},{empty},\"finish_reason\":\"{finish}\"}}");
                let told = (last && self.quirk == UsageQuirk::OnChoices).then_some(self.truth);
                Some(self.chunk(&choice, told.or(self.running()), 0))
            }
            Step::Usage(said) => self.usage(said),
            Step::Done => {
                self.step = Step::End;
                let newline = self.newline;
                let bytes = format!("data: [DONE]{newline}{newline}");
                Some(Item { bytes, event: false, tokens: 0, told: None })
            }
            Step::End => None,
        }
    }

    fn token(&mut self) -> Item {
        if self.ping > 0 && self.place.is_multiple_of(self.ping) && !self.pinged {
            self.pinged = true;
            let newline = self.newline;
            return Item {
                bytes: format!(": keep-alive{newline}{newline}"),
                event: false,
                tokens: 0,
                told: None,
            };
        }
        self.pinged = false;
        let (index, place) = (self.place % self.choices, self.place / self.choices);
        self.place += 1;
        let mut choice = format!("{{\"index\":{index},");
        match self.endpoint {
            Endpoint::Completions => {
                let _ = write!(choice, "\"text\":{}", Value::from(self.deltas.word(place)));
            }
            _ => {
                choice.push_str(if place == 0 {
                    "\"delta\":{\"role\":\"assistant\","
                } else {
                    "\"delta\":{"
                });
                self.deltas.write(&mut choice, place);
                choice.push('}');
            }
        }
        choice.push_str(",\"finish_reason\":null}");
        let told = self.running();
        self.chunk(&choice, told, 1)
    }

    /// The usage so far, where every chunk tells it.
    fn running(&self) -> Option<Tokens> {
        let output = self.place.saturating_add(self.truth.reasoning).min(self.truth.output);
        (self.quirk == UsageQuirk::EveryChunk).then_some(Tokens { output, ..self.truth })
    }

    fn usage(&mut self, said: u8) -> Option<Item> {
        let wanted = match self.quirk {
            UsageQuirk::Normal => u8::from(self.asked_usage),
            UsageQuirk::Always => 1,
            UsageQuirk::Twice | UsageQuirk::Contradictory => 2,
            UsageQuirk::OnChoices | UsageQuirk::EveryChunk | UsageQuirk::Missing | UsageQuirk::Null => 0,
        };
        if said >= wanted {
            self.step = if self.done { Step::Done } else { Step::End };
            return self.next();
        }
        self.step = Step::Usage(said + 1);
        let lie = Tokens { input: self.truth.input + 1_000, output: 1, ..self.truth };
        let told = if self.quirk == UsageQuirk::Contradictory && said == 0 { lie } else { self.truth };
        Some(self.chunk("", Some(told), 0))
    }

    fn chunk(&self, choice: &str, told: Option<Tokens>, tokens: u64) -> Item {
        let (head, newline) = (&self.head, self.newline);
        let null = self.quirk == UsageQuirk::Null || (self.asked_usage && self.quirk == UsageQuirk::Normal);
        let usage = match (told, null) {
            (Some(told), _) => format!(",\"usage\":{}", usage(&told)),
            (None, true) => ",\"usage\":null".to_owned(),
            (None, false) => String::new(),
        };
        let bytes = format!("{head}\"choices\":[{choice}]{usage}}}{newline}{newline}");
        Item { bytes, event: true, tokens, told }
    }
}

/// The body of an error with this status.
pub(super) fn error(status: u16) -> String {
    let (kind, code, message) = match status {
        400 => ("invalid_request_error", None, "a parameter is wrong"),
        401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided"),
        403 => ("permission_error", None, "this key may not use this model"),
        404 => ("invalid_request_error", Some("model_not_found"), "the model does not exist"),
        408 => ("timeout", None, "the request took too long"),
        409 => ("conflict", None, "the resource is in use"),
        413 => ("invalid_request_error", None, "the request is too large"),
        422 => ("invalid_request_error", None, "the request cannot be processed"),
        429 => ("rate_limit_error", Some("rate_limit_exceeded"), "Rate limit reached"),
        503 | 529 => ("overloaded_error", None, "the engine is overloaded"),
        status if status < 500 => ("invalid_request_error", None, "the request is refused"),
        _ => ("server_error", None, "the server had an error"),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn stream(body: &str, plan: &Plan) -> (Vec<Item>, Tokens) {
        let asked: Asked<'_> = serde_json::from_str(body).unwrap();
        let (Made::Events(mut events), truth) = make(Endpoint::Chat, &asked, plan, 1) else {
            panic!("no stream")
        };
        (std::iter::from_fn(|| events.next()).collect(), truth)
    }

    const ASK: &str = r#"{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello there, you"}]}"#;

    #[test]
    fn every_event_is_json_and_every_token_is_counted() {
        for name in ["ok", "ok-utf8-think", "ok-tools2", "ok-echo", "ok-uevery", "ok-unull", "ok-uchoices-t3"]
        {
            let plan: Plan = name.parse().unwrap();
            let (items, truth) = stream(ASK, &plan);
            assert_eq!(items.iter().map(|item| item.tokens).sum::<u64>(), truth.output, "{name}");
            assert_eq!(items.last().unwrap().bytes, "data: [DONE]\n\n");
            for item in items.iter().filter(|item| item.event) {
                let json = item.bytes.strip_prefix("data: ").unwrap();
                serde_json::from_str::<Value>(json).unwrap();
            }
        }
    }

    #[test]
    fn usage_quirks() {
        let told = |name: &str| -> Vec<u64> {
            let (items, _) = stream(ASK, &name.parse().unwrap());
            items.iter().filter_map(|item| item.told).map(|told| told.output).collect()
        };
        assert_eq!(told("ok-t2"), [2]);
        assert_eq!(told("ok-t2-unone"), Vec::<u64>::new());
        assert_eq!(told("ok-t2-utwice"), [2, 2]);
        assert_eq!(told("ok-t2-ulie"), [1, 2]);
        assert_eq!(told("ok-t2-uchoices-r5"), [7]);
        assert_eq!(told("ok-t2-uevery"), [1, 2, 2]);
    }

    #[test]
    fn caps_are_kept_unless_the_plan_says_otherwise() {
        let body = r#"{"stream":true,"max_tokens":4,"messages":[]}"#;
        assert_eq!(stream(body, &"ok-t9".parse().unwrap()).1.output, 4);
        assert_eq!(stream(body, &"ok-t9-uncapped".parse().unwrap()).1.output, 9);
        let (items, _) = stream(body, &"ok-t9".parse().unwrap());
        assert!(items.iter().any(|item| item.bytes.contains("\"finish_reason\":\"length\"")));
    }

    #[test]
    fn whole_answers_fold_like_streams() {
        let plan: Plan = "ok-t5-utf8".parse().unwrap();
        let asked: Asked<'_> = serde_json::from_str(r#"{"messages":[],"n":2}"#).unwrap();
        let (Made::Whole(bytes, told), truth) = make(Endpoint::Chat, &asked, &plan, 1) else {
            panic!("a stream")
        };
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["choices"][1]["message"]["content"], WIDE[..5].concat());
        assert_eq!((told, truth.output), (Some(truth), 10));
        assert_eq!(json["usage"]["completion_tokens"], 10);
    }
}
