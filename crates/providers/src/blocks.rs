//! The one ordered form between dialects: what a call says, in the order in which it says it.
//!
//! A call whose client and provider speak the same dialect never comes through here: its bytes are forwarded. Between
//! different dialects each is read into this form and written from it, so that n dialects are n codecs. The form is
//! shaped like Responses items and Anthropic blocks, not like Chat messages, because order matters (reasoning before
//! the tool call that it led to) and Chat cannot say it.
//!
//! Rules that every codec keeps:
//! - Arguments of a tool call, schemas and whatever else is JSON of somebody else are text, never a tree: big numbers,
//!   key order and escapes stay as they were.
//! - Nothing is dropped silently. A reader puts what the form has no place for into [`Request::extra`]; a writer reports
//!   each parameter that its dialect cannot say in [`Written::dropped`], or refuses it where dropping would change what
//!   the caller relies on (see [`Param::must_be_kept`]).
//! - A signature or an encrypted thought belongs to whoever issued it ([`Opaque`]); it is replayed to that issuer alone.
//! - A count that was not told is absent, and is never zero.
//!
//! Reading order: [`request`], [`answer`], [`stream`], [`fold`].

pub mod answer;
pub mod fold;
pub mod keepsake;
pub mod opaque;
pub mod part;
pub mod raw;
pub mod request;
pub mod stream;

pub use answer::{Answer, Choice, Stop, StopKind};
pub use fold::Fold;
pub use keepsake::Keepsake;
pub use opaque::{Issuer, Opaque, OpaqueKind};
pub use part::{CacheMark, Media, MediaKind, MediaSource, Part, Reasoning, ToolCall, ToolKind, ToolResult};
pub use raw::Raw;
pub use request::{Format, Ours, Param, Refused, Request, Role, Thinking, Tool, ToolChoice, Turn, Written};
pub use stream::{Delta, Event, PartHead};
