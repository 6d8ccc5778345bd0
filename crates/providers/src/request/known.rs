//! The top-level keys that may occur only once, and every spelling that some server takes for them.

use crate::json::text::Unescaped;
use crate::json::{Span, StringToken};

/// A top-level member that the gateway reads or edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    Model,
    Models,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
    BestOf,
    User,
    SafetyIdentifier,
}

/// In the order of the enum, whose discriminants index it.
const ALL: [(Known, &str); Known::COUNT] = [
    (Known::Model, "model"),
    (Known::Models, "models"),
    (Known::Stream, "stream"),
    (Known::StreamOptions, "stream_options"),
    (Known::MaxTokens, "max_tokens"),
    (Known::MaxCompletionTokens, "max_completion_tokens"),
    (Known::MaxOutputTokens, "max_output_tokens"),
    (Known::N, "n"),
    (Known::BestOf, "best_of"),
    (Known::User, "user"),
    (Known::SafetyIdentifier, "safety_identifier"),
];

/// `max_completion_tokens`, each letter spelled `\u0000`.
const LONGEST_SPELLING: usize = 21 * 6;

impl Known {
    pub(super) const COUNT: usize = 11;

    pub(super) const fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// Whether the gateway only notes the member, and decides and edits nothing by it.
    ///
    /// This is what makes another spelling of it harmless. OpenAI refuses a parameter that it does not know, vLLM and
    /// most servers in Python ignore it, and servers in Go (Ollama, LocalAI) match keys without regard to case and obey
    /// it. At those, a `Model`, a `Models` or an `N` that the gateway had passed over would be another model, another
    /// list of fallbacks, another bill than the one that was allowed and reserved; a `Stream` another form of answer
    /// than the one that is counted; and beside a `Stream_Options` stands the `stream_options` that the gateway writes
    /// itself. So these are refused also alone: no client means them. A `User` takes nothing past any policy: leaving
    /// the member out does the same. It is refused only beside the proper one, where two readers would see two users.
    pub(super) const fn is_label(self) -> bool {
        matches!(self, Self::User | Self::SafetyIdentifier)
    }

    /// The known member that is spelled exactly so.
    fn exact(key: &[u8]) -> Option<Self> {
        // A `match` compiles to a switch over length and bytes; the table would be searched.
        Some(match key {
            b"model" => Self::Model,
            b"models" => Self::Models,
            b"stream" => Self::Stream,
            b"stream_options" => Self::StreamOptions,
            b"max_tokens" => Self::MaxTokens,
            b"max_completion_tokens" => Self::MaxCompletionTokens,
            b"max_output_tokens" => Self::MaxOutputTokens,
            b"n" => Self::N,
            b"best_of" => Self::BestOf,
            b"user" => Self::User,
            b"safety_identifier" => Self::SafetyIdentifier,
            _ => return None,
        })
    }
}

/// What a top-level key is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// One that it reads.
    Is(Known),
    /// Another spelling of it, which servers without regard to case take for the same.
    Resembles(Known),
    /// Not its business.
    Other,
}

/// Recognizes a key of the top level, unescaped without building it.
pub(super) fn recognize(text: &[u8], key: StringToken) -> Key {
    let raw = key.inner.of(text);
    if !key.escaped
        && let Some(known) = Known::exact(raw)
    {
        return Key::Is(known);
    }
    if key.escaped || !raw.is_ascii() {
        return if raw.len() <= LONGEST_SPELLING { compare_characters(raw) } else { Key::Other };
    }
    let resembles = |&&(_, name): &&(Known, &str)| raw.eq_ignore_ascii_case(name.as_bytes());
    ALL.iter().find(resembles).map_or(Key::Other, |&(known, _)| Key::Resembles(known))
}

/// The slow comparison, for keys with escapes or letters beyond ASCII.
#[cold]
fn compare_characters(raw: &[u8]) -> Key {
    for (known, name) in ALL {
        if Unescaped::new(raw).map(fold).eq(name.chars()) {
            let same = Unescaped::new(raw).eq(name.chars());
            return if same { Key::Is(known) } else { Key::Resembles(known) };
        }
    }
    Key::Other
}

/// Simple case folding as far as it reaches ASCII: the Kelvin sign is a `k`, the long s an `s`.
pub(super) const fn fold(character: char) -> char {
    match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ => character.to_ascii_lowercase(),
    }
}

/// Where a known member stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The opening quote of its key.
    pub(super) key_start: usize,
    /// Its value.
    pub(super) value: Span,
}
