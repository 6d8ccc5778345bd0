//! The walk over one answer or event.

use std::borrow::Cow;

use super::{Part, Piece, Said};
use crate::json::text::Unescaped;
use crate::json::{Span, StringToken, Visitor};
use crate::request::Operation;

/// Numbers shorter than this identify nobody.
const SHORT_NUMBER: usize = 7;
/// From this length on a string in the alphabet of base 64 at a place for it is a file and no text.
const FILE: usize = 256;

/// Names that tell where a model speaks, and which texts are one.
const KNOWN: [&str; 34] = [
    "args",
    "arguments",
    "audio",
    "candidates",
    "choices",
    "content",
    "content_block",
    "content_index",
    "delta",
    "finishReason",
    "finish_reason",
    "index",
    "inlineData",
    "inline_data",
    "input",
    "logprobs",
    "logprobsResult",
    "logprobs_result",
    "message",
    "name",
    "output",
    "output_index",
    "output_text",
    "partial_json",
    "parts",
    "response",
    "sequence_number",
    "summary",
    "summary_index",
    "text",
    "thinking",
    "thought",
    "top_logprobs",
    "type",
];

/// A name, or a value that is one, as it stands.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    span: Span,
    /// It is spelled with escapes.
    escaped: bool,
    /// Then, which of those that are known it is.
    known: Option<&'static str>,
}

impl Name {
    fn new(text: &[u8], token: StringToken) -> Self {
        let plain: Option<String> = token.escaped.then(|| Unescaped::new(token.inner.of(text)).collect());
        let known = plain.and_then(|plain| KNOWN.into_iter().find(|known| *known == plain));
        Self { span: token.inner, escaped: token.escaped, known }
    }

    /// To be compared with what is known.
    fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        self.known.map_or_else(|| self.span.of(text), str::as_bytes)
    }

    /// As it reads.
    fn plain<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let raw = self.span.of(text);
        match self.escaped {
            true => Cow::Owned(Unescaped::new(raw).collect::<String>().into_bytes()),
            false => Cow::Borrowed(raw),
        }
    }
}

/// Whether a model speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Away,
    /// A copy of the answer, of which only a member is.
    Copy,
    Here,
}

/// A container, and what its members tell of it.
#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    /// The name that it stands under; of an element that of its list.
    key: Name,
    /// Its place in a list.
    position: Option<u64>,
    is_object: bool,
    scope: Scope,
    /// Names mean nothing: it is what a tool is given.
    free: bool,
    /// Elements so far.
    elements: u64,
    index: Option<u64>,
    /// `output_index`, `content_index`, `summary_index`.
    places: [Option<u64>; 3],
    thought: bool,
    /// Its `type`.
    kind: Name,
}

/// A string that was found, until all is known of what is around it.
struct Raw {
    span: Span,
    text: String,
    node: usize,
    key: Name,
    free: bool,
}

pub(super) struct Walk {
    operation: Operation,
    /// One event of a stream, and not a whole answer.
    event: bool,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    /// The key that came last, of each depth.
    keys: Vec<Name>,
    strings: Vec<Raw>,
    /// Where log probabilities began, and how deep.
    log: Option<(usize, usize)>,
    said: Said,
    /// Choices that told why they ended.
    finished: Vec<usize>,
}

impl Walk {
    pub(super) fn new(operation: Operation, event: bool) -> Self {
        Self {
            operation,
            event,
            nodes: Vec::new(),
            stack: Vec::new(),
            keys: vec![Name::default()],
            strings: Vec::new(),
            log: None,
            said: Said::default(),
            finished: Vec::new(),
        }
    }

    /// What was found, once the whole JSON was walked.
    pub(super) fn finish(mut self, text: &[u8]) -> Said {
        let strings = std::mem::take(&mut self.strings);
        self.said.pieces = strings.into_iter().map(|raw| self.piece(text, raw)).collect();
        for node in std::mem::take(&mut self.finished) {
            let group = self.group(text, node);
            self.said.closes.push(group);
        }
        self.close(text);
        self.said
    }

    /// The way to the piece with this number: names and places, outermost first.
    pub(super) fn way(mut self, text: &[u8], number: u64) -> Option<Vec<Step>> {
        let strings = std::mem::take(&mut self.strings);
        let raw = strings.into_iter().find(|raw| self.number(text, raw) == Some(number))?;
        let mut way = vec![Step::Key(String::from_utf8_lossy(&raw.key.plain(text)).into_owned())];
        let mut at = Some(raw.node);
        while let Some(node) = at.map(|at| &self.nodes[at]) {
            match node.position {
                Some(position) => way.push(Step::Item(usize::try_from(position).ok()?)),
                None if node.parent.is_some() => {
                    way.push(Step::Key(String::from_utf8_lossy(&node.key.plain(text)).into_owned()));
                }
                None => {}
            }
            at = node.parent;
        }
        way.reverse();
        Some(way)
    }

    fn scope(&self, text: &[u8], parent: Option<&Node>, depth: usize, key: Name) -> Scope {
        let key = key.of(text);
        match parent.map(|parent| parent.scope) {
            None => Scope::Away,
            Some(Scope::Here) => Scope::Here,
            Some(Scope::Copy) if matches!(key, b"output" | b"content") => Scope::Here,
            Some(Scope::Copy) => Scope::Away,
            Some(Scope::Away) if depth != 1 => Scope::Away,
            Some(Scope::Away) => match (self.operation, key) {
                (Operation::Chat | Operation::Completions, b"choices")
                | (Operation::Gemini, b"candidates")
                | (Operation::Messages, b"content" | b"content_block" | b"delta")
                | (Operation::Responses, b"output" | b"output_text") => Scope::Here,
                (Operation::Messages, b"message") => Scope::Copy,
                (Operation::Responses, b"response") if self.event => Scope::Copy,
                (Operation::Responses, _) if self.event => Scope::Here,
                _ => Scope::Away,
            },
        }
    }

    fn top(&self) -> Option<&Node> {
        self.stack.last().map(|at| &self.nodes[*at])
    }

    /// The name that a value of this depth stands under.
    fn key_at(&self, depth: usize) -> Name {
        match self.top() {
            Some(node) if !node.is_object => node.key,
            _ => self.keys.get(depth).copied().unwrap_or_default(),
        }
    }

    fn is_skipped(&self, text: &[u8], key: Name, raw: &[u8]) -> bool {
        // Nothing is passed over for a name that is spelled with escapes.
        if key.escaped || self.top().is_some_and(|node| node.free) {
            return false;
        }
        let around = self.top().map_or(Name::default(), |node| node.key);
        match key.of(text) {
            b"data" => matches!(around.of(text), b"audio" | b"inlineData" | b"inline_data") || is_file(raw),
            b"file_data" | b"url" | b"image_url" | b"b64_json" | b"result" | b"partial_image_b64" => {
                is_file(raw)
            }
            key => is_name_of_protocol(key),
        }
    }

    /// What the string says of the container that it stands in.
    fn note(&mut self, text: &[u8], key: &[u8], string: StringToken) {
        let Some(at) = self.stack.last().copied() else { return };
        match key {
            b"type" => self.nodes[at].kind = Name::new(text, string),
            b"finish_reason" | b"finishReason" if !string.inner.is_empty() => {
                let of = self.nodes[at].key.of(text);
                if matches!(of, b"choices" | b"candidates") && self.nodes[at].position.is_some() {
                    self.finished.push(at);
                }
            }
            _ => {}
        }
    }

    fn piece(&self, text: &[u8], raw: Raw) -> Piece {
        let (part, group, of) = (self.part(text, &raw), self.group(text, raw.node), self.number(text, &raw));
        Piece { span: raw.span, text: raw.text, part, group, of }
    }

    /// The container and all around it, innermost first.
    fn around(&self, node: usize) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.nodes.get(node), |node| node.parent.map(|at| &self.nodes[at]))
    }

    /// Only parts of Google's say so.
    fn is_thought(&self, node: &Node) -> bool {
        node.thought && node.position.is_some() && self.operation == Operation::Gemini
    }

    fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    fn part(&self, text: &[u8], raw: &Raw) -> Part {
        let key = raw.key.of(text);
        let node = &self.nodes[raw.node];
        let kind = self.root().map_or(&[][..], |root| root.kind.of(text));
        let of_text = match self.operation {
            Operation::Completions => key == b"text",
            Operation::Chat => key == b"content" || (key == b"text" && node.key.of(text) == b"content"),
            Operation::Messages => key == b"text",
            Operation::Gemini => key == b"text" && !self.is_thought(node),
            Operation::Responses if self.event && matches!(key, b"delta" | b"text") && raw.node == 0 => {
                kind.starts_with(b"response.output_text.")
            }
            Operation::Responses => key == b"text" && node.kind.of(text) == b"output_text",
            Operation::Embeddings | Operation::Raw(_) => false,
        };
        let thinks = |name: &[u8]| name.starts_with(b"reasoning") || matches!(name, b"thinking" | b"summary");
        if raw.free {
            Part::Other
        } else if self.around(raw.node).any(|node| thinks(node.key.of(text)))
            || thinks(key)
            || self.is_thought(node)
            || kind.starts_with(b"response.reasoning")
        {
            Part::Thought
        } else if of_text {
            Part::Content
        } else {
            Part::Other
        }
    }

    fn group(&self, text: &[u8], node: usize) -> u64 {
        let root = self.root();
        match self.operation {
            Operation::Messages if self.event => root.and_then(|root| root.index).unwrap_or(0),
            Operation::Responses => {
                let item =
                    self.around(node).find(|node| node.position.is_some() && node.key.of(text) == b"output");
                let told = root.and_then(|root| root.places[0]);
                item.and_then(|item| item.position).or(told).unwrap_or(0)
            }
            _ => {
                let is_choice = |node: &&Node| {
                    node.position.is_some() && matches!(node.key.of(text), b"choices" | b"candidates")
                };
                self.around(node).find(is_choice).and_then(|node| node.index.or(node.position)).unwrap_or(0)
            }
        }
    }

    /// Of a piece that goes on in other events.
    fn number(&self, text: &[u8], raw: &Raw) -> Option<u64> {
        if !self.event || raw.free {
            return None;
        }
        let key = raw.key.of(text);
        let node = &self.nodes[raw.node];
        let goes_on = match self.operation {
            Operation::Chat => {
                key != b"name" && self.around(raw.node).any(|node| node.key.of(text) == b"delta")
            }
            Operation::Completions => key == b"text" && node.key.of(text) == b"choices",
            Operation::Messages => {
                node.key.of(text) == b"delta" && matches!(key, b"text" | b"thinking" | b"partial_json")
            }
            Operation::Gemini => key == b"text" && node.key.of(text) == b"parts",
            Operation::Responses => key == b"delta" && raw.node == 0,
            Operation::Embeddings | Operation::Raw(_) => false,
        };
        goes_on.then(|| {
            let mut number = Number::default();
            number.add(&raw.key.plain(text));
            let of_event = matches!(self.operation, Operation::Messages | Operation::Responses);
            for node in self.around(raw.node) {
                number.add(&node.key.plain(text));
                let parts = node.key.of(text) == b"parts";
                // Elsewhere an index is a member like others, and does not begin another text.
                let is_place = match node.parent {
                    None => of_event,
                    Some(_) => node.position.is_some() && !parts,
                };
                let place = node.index.or(node.position).filter(|_| is_place).unwrap_or(0);
                number.add(&place.to_le_bytes());
                for place in node.places.iter().map(|place| place.filter(|_| is_place).unwrap_or(0)) {
                    number.add(&place.to_le_bytes());
                }
                number.add(&[u8::from(self.is_thought(node))]);
            }
            if self.operation == Operation::Responses {
                number.add(&self.root().map_or(Cow::Borrowed(&[][..]), |root| root.kind.plain(text)));
            }
            number.0
        })
    }

    /// What the event says of the texts before it.
    fn close(&mut self, text: &[u8]) {
        if !self.event {
            return;
        }
        let Some(root) = self.nodes.first() else { return };
        let kind = root.kind.of(text);
        self.said.kind = Some(root.kind.span).filter(|_| !kind.is_empty());
        match self.operation {
            Operation::Messages if kind == b"content_block_stop" => {
                self.said.closes.push(root.index.unwrap_or(0));
            }
            Operation::Messages => self.said.closes_all = matches!(kind, b"message_delta" | b"message_stop"),
            Operation::Responses => {
                let over = matches!(
                    kind,
                    b"response.completed"
                        | b"response.incomplete"
                        | b"response.failed"
                        | b"response.cancelled"
                );
                self.said.closes_all = over;
                self.said.repeats = over || kind.ends_with(b".done");
                if kind.ends_with(b".done") {
                    self.said.closes.extend(root.places[0]);
                }
            }
            _ => {}
        }
    }
}

/// A step of the way to a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

/// FNV-1a: no secret is in it, and it need only tell the texts of one stream apart.
struct Number(u64);

impl Default for Number {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Number {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain([&0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn is_name_of_protocol(key: &[u8]) -> bool {
    matches!(
        key,
        b"role"
            | b"type"
            | b"id"
            | b"call_id"
            | b"tool_call_id"
            | b"tool_use_id"
            | b"item_id"
            | b"event_id"
            | b"object"
            | b"status"
            | b"phase"
            | b"model"
            | b"finish_reason"
            | b"finishReason"
            | b"native_finish_reason"
            | b"stop_reason"
            | b"format"
            | b"category"
            | b"probability"
            | b"mimeType"
            | b"mime_type"
            | b"media_type"
            | b"signature"
            | b"encrypted_content"
            | b"thoughtSignature"
            | b"thought_signature"
            | b"obfuscation"
    )
}

/// In the alphabet of base 64 and long; a slash may be escaped.
fn is_file(raw: &[u8]) -> bool {
    let start = match memchr::memmem::find(raw.get(..128).unwrap_or(raw), b";base64,") {
        Some(at) if raw.starts_with(b"data:") => at + 8,
        _ => 0,
    };
    let of =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\');
    raw.len() >= FILE && raw[start..].iter().all(of)
}

impl Visitor for Walk {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        if self.keys.len() <= depth {
            self.keys.resize(depth + 1, Name::default());
        }
        self.keys[depth] = Name::new(text, key);
    }

    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        let key = self.key_at(depth);
        let name = key.of(text);
        let in_object = self.top().is_some_and(|node| node.is_object);
        if in_object {
            self.note(text, name, string);
        }
        let raw = string.inner.of(text);
        let here = self.log.is_none() && self.scope(text, self.top(), depth, key) == Scope::Here;
        if !here || raw.is_empty() || self.is_skipped(text, key, raw) {
            return;
        }
        let words = match std::str::from_utf8(raw) {
            Ok(plain) if !string.escaped => plain.to_owned(),
            _ => Unescaped::new(raw).collect(),
        };
        let free = self.top().is_some_and(|node| node.free);
        let node = self.stack.last().copied().unwrap_or(0);
        self.strings.push(Raw { span: string.outer(), text: words, node, key, free });
    }

    fn scalar(&mut self, depth: usize, text: &[u8], span: Span) {
        let (key, raw) = (self.key_at(depth), span.of(text));
        let Some(at) = self.stack.last().copied() else { return };
        let number = || std::str::from_utf8(raw).ok().and_then(|number| number.parse().ok());
        let free = self.nodes[at].free;
        match key.of(text) {
            _ if free => {
                let is_number = raw.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
                if is_number && raw.len() >= SHORT_NUMBER && self.log.is_none() {
                    let text = String::from_utf8_lossy(raw).into_owned();
                    self.strings.push(Raw { span, text, node: at, key, free });
                }
            }
            b"index" => self.nodes[at].index = number(),
            b"output_index" => self.nodes[at].places[0] = number(),
            b"content_index" => self.nodes[at].places[1] = number(),
            b"summary_index" => self.nodes[at].places[2] = number(),
            b"thought" => self.nodes[at].thought = raw == b"true",
            b"sequence_number" if at == 0 => self.said.sequence = Some(span),
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, text: &[u8], at: usize, is_object: bool) {
        let key = self.key_at(depth);
        let name = key.of(text);
        let parent = self.stack.last().copied();
        let scope = self.scope(text, self.top(), depth, key);
        let in_free = self.top().is_some_and(|node| node.free);
        let free = in_free
            || (is_object
                && scope == Scope::Here
                && depth > 1
                && matches!(name, b"args" | b"arguments" | b"input"));
        let logs = matches!(name, b"logprobs" | b"logprobsResult" | b"logprobs_result" | b"top_logprobs");
        if logs && !in_free && self.log.is_none() && scope == Scope::Here {
            self.log = Some((at, depth));
        }
        let position = parent.filter(|parent| !self.nodes[*parent].is_object).map(|parent| {
            let position = self.nodes[parent].elements;
            self.nodes[parent].elements += 1;
            position
        });
        self.stack.push(self.nodes.len());
        self.nodes.push(Node {
            parent,
            key,
            position,
            is_object,
            scope,
            free,
            elements: 0,
            index: None,
            places: [None; 3],
            thought: false,
            kind: Name::default(),
        });
    }

    fn close(&mut self, depth: usize, _: &[u8], end: usize) {
        self.stack.pop();
        if let Some((start, _)) = self.log.filter(|(_, deep)| *deep == depth) {
            self.said.logs.push(Span::new(start, end));
            self.log = None;
        }
    }
}
