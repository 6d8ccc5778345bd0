//! The surgical edits: one copy of the body with a few spans replaced, everything else byte for byte.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Asked, UsagePlace};
use crate::json::Span;
use crate::json::text::encode;

const INCLUDE_USAGE: &[u8] = br#""include_usage":true"#;
const OPTIONS: &[u8] = br#"{"include_usage":true}"#;

/// What shall differ from the body as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The upstream's name for the model.
    pub model: Option<&'a str>,
    /// Make `stream_options.include_usage` true.
    pub include_usage: bool,
    /// Take `models` out: it is an instruction to the gateway.
    pub remove_models: bool,
}

/// One span and what takes its place.
struct Splice<'a> {
    span: Span,
    with: SmallVec<[&'a [u8]; 3]>,
}

/// Applies `edits` to `body`, which must be the body that `asked` was read from.
///
/// Bytes outside the edited spans are identical and in order. Copies once; when nothing changes, the
/// same [`Bytes`] come back.
pub fn rewrite(body: &Bytes, asked: &Asked, edits: &Edits<'_>) -> Bytes {
    let mut name = Vec::new();
    if let Some(model) =
        edits.model.filter(|model| *model != asked.spelled() && !asked.spans.model.is_empty())
    {
        name.reserve_exact(model.len() + 2);
        encode(model, &mut name);
    }
    let mut splices: SmallVec<[Splice<'_>; 3]> = SmallVec::new();
    if !name.is_empty() {
        splices.push(Splice { span: asked.spans.model, with: SmallVec::from_slice(&[name.as_slice()]) });
    }
    if edits.remove_models
        && let Some(span) = asked.spans.models
    {
        splices.push(Splice { span, with: SmallVec::new() });
    }
    if edits.include_usage {
        splices.extend(usage_splice(asked.spans.usage));
    }
    if splices.is_empty() {
        return body.clone();
    }
    // By where they end: an insertion after the last member comes after the removal of that member.
    splices.sort_by_key(|splice| (splice.span.end, splice.span.start));
    apply(body, &splices)
}

fn usage_splice<'a>(place: UsagePlace) -> Option<Splice<'a>> {
    let (span, with): (Span, &[&'static [u8]]) = match place {
        UsagePlace::Done => return None,
        UsagePlace::InsertOptions(at) => (Span::new(at, at), &[b",\"stream_options\":", OPTIONS]),
        UsagePlace::ReplaceOptions(span) => (span, &[OPTIONS]),
        UsagePlace::InsertMember { at, alone: true } => (Span::new(at, at), &[INCLUDE_USAGE]),
        UsagePlace::InsertMember { at, alone: false } => (Span::new(at, at), &[INCLUDE_USAGE, b","]),
        UsagePlace::ReplaceValue(span) => (span, &[b"true"]),
    };
    Some(Splice { span, with: SmallVec::from_slice(with) })
}

fn apply(body: &Bytes, splices: &[Splice<'_>]) -> Bytes {
    let removed: usize = splices.iter().map(|splice| splice.span.len()).sum();
    let added: usize = splices.iter().flat_map(|splice| &splice.with).map(|piece| piece.len()).sum();
    let mut out = Vec::with_capacity(body.len() - removed + added);
    let mut copied = 0;
    for splice in splices {
        out.extend_from_slice(&body[copied..splice.span.start]);
        for piece in &splice.with {
            out.extend_from_slice(piece);
        }
        copied = splice.span.end;
    }
    out.extend_from_slice(&body[copied..]);
    out.into()
}
