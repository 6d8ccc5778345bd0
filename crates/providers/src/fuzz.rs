//! Entry points for long property runs: each takes any bytes and asserts what must always hold.
//!
//! Plain functions, so that a test, an example or a fuzzer can drive them. [`run`] drives one from
//! mutated seeds with a generator of its own: the same seed gives the same run on any machine.

mod inputs;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::blocks::Issuer;
use crate::dialects::Dialect;
use crate::flow::Flow;
use crate::json::{Field, top_level, validate};
use crate::quirks::Quirks;
use crate::quirks::answer::clean;
use crate::quirks::request::{Ask, edit};
use crate::quirks::stream::Cleaned;
use crate::request::{Edits, Operation, read, rewrite};
use crate::sse::Framer;
use crate::tap::{StreamFault, Tap, TapOptions};
use crate::{Usage, answer, failure};

pub use inputs::run;

/// Asserts a property of any bytes.
pub type Entry = fn(&[u8]);

/// All entry points by name.
pub const ALL: [(&str, Entry); 7] = [
    ("json", fuzz_json),
    ("request", fuzz_request),
    ("framer", fuzz_framer),
    ("tap", fuzz_tap),
    ("answer", fuzz_answer),
    ("failure", fuzz_failure),
    ("quirks", fuzz_quirks),
];

/// Small, so that the limit is met often.
const MAX_EVENT: usize = 512;

/// The scanner agrees with `serde_json` on what is JSON, and its spans hold JSON.
pub fn fuzz_json(data: &[u8]) {
    let ours = validate(data);
    // `serde_json` has no depth limit where it does not build.
    if !matches!(ours, Err(error) if error.kind == crate::json::JsonErrorKind::TooDeep) {
        let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok();
        assert_eq!(ours.is_ok(), theirs, "{ours:?} for {:?}", String::from_utf8_lossy(data));
    }
    if let Ok(object) = top_level(data) {
        assert!(ours.is_ok());
        let mut end = 0;
        for field in &object.fields {
            assert!(end < field.key.start && field.key.end < field.value.start, "members are in order");
            assert_eq!(validate(field.value.of(data)), Ok(()));
            assert_eq!(validate(field.key.of(data)), Ok(()));
            end = field.value.end;
        }
    }
}

/// What is read can be rewritten; the result reads as asked for, and all other members are untouched.
pub fn fuzz_request(data: &[u8]) {
    let operation = [Operation::Chat, Operation::Completions, Operation::Embeddings][data.len() % 3];
    let Ok(asked) = read(operation, data) else { return };
    assert!(!asked.model.is_empty() && asked.choices >= 1);
    let body = Bytes::copy_from_slice(data);
    let name = "up/\"stream\u{e9}";
    let edits = Edits { model: Some(name), include_usage: true, remove_models: true };
    let out = rewrite(&body, &asked, &edits);
    let again = read(operation, &out);
    assert!(again.as_ref().is_ok_and(|again| again.model == name && again.include_usage), "{again:?}");
    if let Ok(again) = again {
        assert!(again.fallbacks.is_empty());
        assert_eq!(
            (again.stream, again.max_output, again.choices),
            (asked.stream, asked.max_output, asked.choices)
        );
        assert_eq!(rewrite(&out, &again, &edits), out);
    }
    assert_eq!(untouched(&body), untouched(&out));
}

/// The members that no edit touches, as they stand.
fn untouched(body: &[u8]) -> Vec<(&[u8], &[u8])> {
    let object = top_level(body).unwrap_or_default();
    let edited =
        |field: &Field| ["model", "models", "stream_options"].iter().any(|key| field.key_is(body, key));
    let others = object.fields.iter().filter(|field| !edited(field));
    others.map(|field| (field.key.of(body), field.value.of(body))).collect()
}

/// However the bytes are cut, the same events come out, and every byte comes out once.
pub fn fuzz_framer(data: &[u8]) {
    let whole = framed(&[data]);
    for cut in inputs::cuts(data) {
        let pieces = framed(&cut);
        assert_eq!((&pieces.events, pieces.too_long), (&whole.events, whole.too_long));
        assert!(whole.too_long || pieces.bytes == data);
    }
}

#[derive(Default)]
struct Framed {
    /// Name and data of each event that a client would dispatch.
    events: Vec<(Option<Bytes>, Bytes)>,
    /// All that came out.
    bytes: Vec<u8>,
    too_long: bool,
}

fn framed(chunks: &[&[u8]]) -> Framed {
    let mut framer = Framer::new(MAX_EVENT);
    let mut framed = Framed::default();
    for chunk in chunks {
        framer.push(Bytes::copy_from_slice(chunk));
        loop {
            match framer.next() {
                Err(_) => return Framed { too_long: true, ..framed },
                Ok(None) => break,
                Ok(Some(event)) => {
                    let last_lf = usize::from(event.raw.ends_with(b"\r\n"));
                    assert!(event.raw.len() - last_lf <= MAX_EVENT);
                    framed.bytes.extend_from_slice(&event.raw);
                    if !event.comment_only {
                        framed.events.push((event.name, event.data));
                    }
                }
            }
        }
    }
    framed.bytes.extend_from_slice(&framer.finish());
    framed
}

/// However a stream is cut, the same leaves, and the same is learnt.
pub fn fuzz_tap(data: &[u8]) {
    for swallow_usage in [false, true] {
        let whole = tapped(&[data], swallow_usage);
        for cut in inputs::cuts(data) {
            assert_eq!(tapped(&cut, swallow_usage), whole);
        }
        if !swallow_usage && whole.fault.is_none() {
            assert!(data.starts_with(&whole.left) || whole.left.starts_with(data), "nothing is changed");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Tapped {
    left: Vec<u8>,
    fault: Option<std::mem::Discriminant<StreamFault>>,
    terminal: Option<Bytes>,
    usage: Option<Usage>,
    output: u64,
    state: (bool, bool, usize),
}

fn tapped(chunks: &[&[u8]], swallow_usage: bool) -> Tapped {
    let mut tap = Tap::new(TapOptions { swallow_usage, max_event: MAX_EVENT });
    let mut out = SmallVec::new();
    let mut outcome = Ok(());
    for chunk in chunks {
        outcome = outcome.and_then(|()| tap.push(Bytes::copy_from_slice(chunk), &mut out));
    }
    outcome = outcome.and_then(|()| tap.end(&mut out));
    Tapped {
        left: out.iter().flat_map(|piece| piece.to_vec()).collect(),
        fault: outcome.err().map(|fault| std::mem::discriminant(&fault)),
        terminal: tap.terminal(),
        usage: tap.usage(),
        output: tap.output_estimate(),
        state: (tap.started(), tap.finished(), tap.choices()),
    }
}

/// An answer is read if and only if it is a JSON object.
pub fn fuzz_answer(data: &[u8]) {
    for operation in [Operation::Chat, Operation::Completions, Operation::Embeddings] {
        assert_eq!(answer::read(operation, data).is_ok(), top_level(data).is_ok());
    }
}

/// Any refusal is understood somehow, within bounds.
pub fn fuzz_failure(data: &[u8]) {
    let status = data.first().map_or(400, |byte| 400 + u16::from(*byte));
    let text = std::str::from_utf8(data).unwrap_or_default();
    let understood = failure::classify(status, &|_| Some(text), data);
    assert!(understood.message.is_none_or(|message| !message.is_empty() && message.len() <= 2_000));
    assert!(understood.retry_after.is_none_or(|wait| wait <= failure::LONGEST_WAIT));
}

/// Whatever deviations a vendor has, an object stays one, what is edited once needs no more, and a stream is the same
/// however it is cut.
pub fn fuzz_quirks(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for quirks in [Quirks::EVEN, Quirks::ODD] {
        let ask = Ask { stream: true, thinking: None, thoughts: &|_| Some("t".to_owned()) };
        if let Ok(edited) = edit(&body, quirks, &ask) {
            assert_eq!(top_level(&edited.body).is_ok(), top_level(data).is_ok());
            let again = edit(&edited.body, quirks, &ask).map(|again| again.body);
            assert_eq!(again.as_ref(), Ok(&edited.body));
        }
        assert_eq!(top_level(&clean(body.clone(), quirks)).is_ok(), top_level(data).is_ok());
        let whole = cleaned(&[data], quirks);
        for cut in inputs::cuts(data) {
            let pieces = cleaned(&cut, quirks);
            // Of a stream that fails, blank lines before the fault may have left already.
            assert!(pieces == whole || (pieces.1 && whole.1), "{pieces:?} {whole:?}");
        }
    }
}

fn cleaned(chunks: &[&[u8]], quirks: Quirks) -> (Vec<u8>, bool) {
    let issuer = Issuer { dialect: Dialect::Chat, provider: String::new() };
    let tap = Flow::Tapped(Tap::new(TapOptions { swallow_usage: false, max_event: 8 * MAX_EVENT }));
    let mut flow = Cleaned::new(quirks, issuer, tap, MAX_EVENT);
    let mut out = SmallVec::new();
    let mut outcome = Ok(());
    for chunk in chunks {
        outcome = outcome.and_then(|()| flow.push(Bytes::copy_from_slice(chunk), &mut out));
    }
    outcome = outcome.and_then(|()| flow.end(&mut out));
    (out.iter().flat_map(|piece| piece.to_vec()).collect(), outcome.is_err())
}

#[cfg(test)]
mod tests {
    use super::{ALL, run};

    #[test]
    fn a_short_run_of_each() {
        for (name, entry) in ALL {
            run(entry, 3_000, name.len() as u64);
        }
    }
}
