//! Names of tools that another vendor's alphabet refuses, renamed for one call and back in its answer.
//!
//! MCP servers make names with dots, slashes and more than 64 characters; what one vendor takes another refuses. A name
//! that fits stays. One that does not becomes a readable beginning and a digest of the whole, so that it is the same
//! in every call that has the name: a provider's prompt cache sees the same bytes, and nothing is remembered between
//! request and answer. Two names never become one, and none becomes the name of another tool of the call.

use crate::blocks::{Answer, Event, Part, PartHead, Request, Tool, ToolChoice};
use crate::dialects::Dialect;

/// Stands between the two names of a tool in a namespace (`dialects::responses`), and fits no alphabet.
pub(crate) const WITHIN: char = '\u{1f}';

/// Hexadecimal digits of the digest.
const DIGITS: usize = 8;

/// Which names a dialect's vendors take.
#[derive(Clone, Copy)]
struct Alphabet {
    longest: usize,
    /// Beside ASCII letters, digits and the underscore.
    more: &'static [u8],
    /// The first character is a letter or an underscore.
    begins_plainly: bool,
}

impl Alphabet {
    /// OpenAI's and Anthropic's references (2026-11); Google's says 64 characters, dots and dashes, and the beginning.
    const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Chat | Dialect::Responses => Self { longest: 64, more: b"-", begins_plainly: false },
            Dialect::Messages => Self { longest: 128, more: b"-", begins_plainly: false },
            Dialect::Gemini => Self { longest: 64, more: b"-.", begins_plainly: true },
        }
    }

    fn takes(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || byte == b'_' || self.more.contains(&byte)
    }

    fn fits(self, name: &str) -> bool {
        let begins = |byte: &u8| !self.begins_plainly || byte.is_ascii_alphabetic() || *byte == b'_';
        name.len() <= self.longest
            && name.bytes().all(|byte| self.takes(byte))
            && name.as_bytes().first().is_none_or(begins)
    }

    /// `files__read` for `read` of the namespace `files`, where that fits.
    fn joined(self, name: &str) -> Option<String> {
        let (namespace, name) = name.split_once(WITHIN)?;
        Some(format!("{namespace}__{name}")).filter(|joined| self.fits(joined))
    }

    fn fitting(self, name: &str, salt: u32) -> String {
        let mut short = String::with_capacity(self.longest);
        if self.begins_plainly && !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            short.push('_');
        }
        for letter in name.chars() {
            if short.len() + DIGITS + 1 >= self.longest {
                break;
            }
            let fits = u8::try_from(letter).is_ok_and(|byte| self.takes(byte));
            short.push(if fits { letter } else { '_' });
        }
        let digest = digest(name, salt);
        short.push_str(&format!("_{digest:0DIGITS$x}"));
        short
    }
}

/// FNV-1a, folded: it has to be the same in every process, and not secret.
fn digest(name: &str, salt: u32) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain(salt.to_le_bytes().into_iter().filter(|_| salt > 0)) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded into one")]
    let folded = (hash >> 32) as u32 ^ hash as u32;
    folded
}

/// The names of one call that had to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames {
    /// As the client has it, and as it is sent.
    changed: Vec<(String, String)>,
}

impl ToolNames {
    /// What must be renamed of a request to a provider of this dialect; `None` when every name fits.
    pub fn of(request: &Request, dialect: Dialect) -> Option<Self> {
        let alphabet = Alphabet::of(dialect);
        let mut odd: Vec<&str> = Vec::new();
        visit(request, &mut |name| {
            if !alphabet.fits(name) && !odd.contains(&name) {
                odd.push(name);
            }
        });
        if odd.is_empty() {
            return None;
        }
        let mut taken: Vec<String> = Vec::new();
        visit(request, &mut |name| {
            if alphabet.fits(name) {
                taken.push(name.to_owned());
            }
        });
        // In an order that does not depend on the conversation, where two of them should want the same.
        odd.sort_unstable();
        let mut changed = Vec::with_capacity(odd.len());
        for name in odd {
            let fitting = (0..).map(|salt| alphabet.fitting(name, salt));
            let sent = alphabet.joined(name).into_iter().chain(fitting).find(|sent| !taken.contains(sent));
            let Some(sent) = sent else { continue };
            taken.push(sent.clone());
            changed.push((name.to_owned(), sent));
        }
        Some(Self { changed })
    }

    /// The request with the names that are sent.
    pub fn sent(&self, request: &Request) -> Request {
        let mut request = request.clone();
        visit_mut(&mut request, &mut |name| {
            if let Some((_, sent)) = self.changed.iter().find(|(own, _)| own == name) {
                name.clone_from(sent);
            }
        });
        request
    }

    fn back(&self, name: &mut String) {
        if let Some((own, _)) = self.changed.iter().find(|(_, sent)| sent == name) {
            name.clone_from(own);
        }
    }

    /// Gives an answer's calls the names that the client knows.
    pub fn back_in_answer(&self, answer: &mut Answer) {
        for part in answer.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
            if let Part::ToolCall(call) = part {
                self.back(&mut call.name);
            }
        }
    }

    /// The same for an event of a stream.
    pub fn back_in_event(&self, event: &mut Event) {
        if let Event::PartStart { head: PartHead::ToolCall { name, .. }, .. } = event {
            self.back(name);
        }
    }
}

/// Every name of a tool that a request says.
fn visit<'r>(request: &'r Request, see: &mut impl FnMut(&'r str)) {
    for tool in &request.tools {
        match tool {
            Tool::Function { name, .. } | Tool::Custom { name, .. } => see(name),
            Tool::Hosted { .. } => {}
        }
    }
    match &request.tool_choice {
        Some(ToolChoice::One { name, .. }) => see(name),
        Some(ToolChoice::Allowed { names, .. }) => names.iter().for_each(|name| see(name)),
        _ => {}
    }
    for part in request.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::ToolCall(call) => see(&call.name),
            Part::ToolResult(result) => result.name.iter().for_each(|name| see(name)),
            _ => {}
        }
    }
}

/// The same, to be changed.
fn visit_mut(request: &mut Request, see: &mut impl FnMut(&mut String)) {
    for tool in &mut request.tools {
        match tool {
            Tool::Function { name, .. } | Tool::Custom { name, .. } => see(name),
            Tool::Hosted { .. } => {}
        }
    }
    match &mut request.tool_choice {
        Some(ToolChoice::One { name, .. }) => see(name),
        Some(ToolChoice::Allowed { names, .. }) => names.iter_mut().for_each(&mut *see),
        _ => {}
    }
    for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        match part {
            Part::ToolCall(call) => see(&mut call.name),
            Part::ToolResult(result) => result.name.iter_mut().for_each(&mut *see),
            _ => {}
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::blocks::{Choice, Role, ToolCall, ToolKind, ToolResult, Turn};

    fn function(name: &str) -> Tool {
        Tool::Function { name: name.into(), description: None, parameters: None, strict: None, cache: None }
    }

    fn call(name: &str) -> Part {
        Part::ToolCall(ToolCall { id: "c".into(), name: name.into(), ..ToolCall::default() })
    }

    fn asked(names: &[&str]) -> Request {
        let result = ToolResult { call_id: "c".into(), name: Some(names[0].into()), ..ToolResult::default() };
        let turn = |role, parts| Turn { role, parts, name: None };
        Request {
            tools: names.iter().map(|name| function(name)).collect(),
            tool_choice: Some(ToolChoice::One { name: names[0].into(), kind: ToolKind::Function }),
            turns: vec![
                turn(Role::Assistant, vec![call(names[0])]),
                turn(Role::Tool, vec![Part::ToolResult(result)]),
            ],
            ..Request::default()
        }
    }

    fn names(request: &Request) -> Vec<String> {
        let mut names = Vec::new();
        visit(request, &mut |name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn names_fit_and_come_back() {
        let long = "x".repeat(200);
        for name in ["mcp.files/read", "größe", "a b", &long, "1.st", "日本"] {
            for dialect in Dialect::ALL {
                let request = asked(&[name, "plain"]);
                let Some(changed) = ToolNames::of(&request, dialect) else { continue };
                let sent = changed.sent(&request);
                let told = names(&sent);
                assert!(told.iter().all(|name| Alphabet::of(dialect).fits(name)), "{told:?}");
                assert_eq!(
                    (&told[1], told[0] == told[2], told[0] == told[3], told[0] == told[4]),
                    (&"plain".to_owned(), true, true, true)
                );
                let choices =
                    vec![Choice { parts: vec![call(&told[0]), call("plain")], ..Choice::default() }];
                let mut answer = Answer { choices, ..Answer::default() };
                changed.back_in_answer(&mut answer);
                assert_eq!(answer.choices[0].parts, [call(name), call("plain")]);
                let kind = ToolKind::Function;
                let head = PartHead::ToolCall { id: "c".into(), item_id: None, name: told[0].clone(), kind };
                let mut event = Event::PartStart { choice: 0, part: 0, head };
                changed.back_in_event(&mut event);
                assert!(
                    matches!(event, Event::PartStart { head: PartHead::ToolCall { name: back, .. }, .. } if back == name)
                );
            }
        }
    }

    #[test]
    fn what_fits_stays() {
        let request = asked(&["get_weather-1"]);
        assert!(Dialect::ALL.iter().all(|dialect| ToolNames::of(&request, *dialect).is_none()));
        let dotted = asked(&["files.read"]);
        assert!(ToolNames::of(&dotted, Dialect::Gemini).is_none());
        assert!(ToolNames::of(&dotted, Dialect::Chat).is_some());
        let longer = asked(&["y".repeat(100).as_str()]);
        assert!(ToolNames::of(&longer, Dialect::Messages).is_none());
        assert!(ToolNames::of(&longer, Dialect::Responses).is_some());
    }

    #[test]
    fn a_namespace_stands_before_the_name() {
        let sent = |names: &[&str]| {
            let request = asked(names);
            let changed = ToolNames::of(&request, Dialect::Chat).unwrap();
            changed.changed.into_iter().map(|(_, sent)| sent).collect::<Vec<_>>()
        };
        assert_eq!(sent(&["files\u{1f}read"]), ["files__read"]);
        // Somebody has the name already; or it is too long.
        assert_ne!(sent(&["files\u{1f}read", "files__read"]), ["files__read"]);
        assert!(sent(&[&format!("files\u{1f}{}", "x".repeat(70))])[0].len() <= 64);
    }

    /// The same name is the same in every call, whatever else is said there, so that prompt caches hit.
    #[test]
    fn a_name_does_not_depend_on_its_neighbours() {
        let alone = ToolNames::of(&asked(&["a.b"]), Dialect::Chat).unwrap();
        let among = ToolNames::of(&asked(&["c/d", "a.b", "e"]), Dialect::Chat).unwrap();
        let sent = |names: &ToolNames| names.changed.iter().find(|(own, _)| own == "a.b").unwrap().1.clone();
        assert_eq!(sent(&alone), sent(&among));
        assert_eq!(sent(&alone), "a_b_e27bcb35");
    }

    #[test]
    fn no_two_become_one() {
        let taken = Alphabet::of(Dialect::Chat).fitting("a.b", 0);
        let request = asked(&["a.b", "a/b", &taken]);
        let changed = ToolNames::of(&request, Dialect::Chat).unwrap();
        let mut told: Vec<_> = names(&changed.sent(&request)).into_iter().take(3).collect();
        assert_eq!(told[2], taken);
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 3, "{told:?}");
    }
}
