//! One text before those that look for places in it: as it stands, and where it holds JSON also what its strings say.
//!
//! Arguments of tools and what tools give back are JSON in a text, so their strings are escaped once more: a word that begins a line stands
//! behind an `n` there. Each string in it is looked at by itself first, and what is masked is spelled anew within it, so that JSON
//! stays JSON; a number that is masked becomes a string. Then the text is looked at as a whole, for what stands across strings.
//!
//! What is not masked keeps its spelling, since nobody knows whether it is JSON at all.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use policy::{Action, Found, Guardrail, Sieve};
use providers::said::inside::{self, Inside, Token};
use providers::said::quoted;
use smallvec::SmallVec;

use super::stream::{Halt, halt};

/// JSON in a string of JSON in a text, and so on.
const MOST_DEPTH: u8 = 3;

/// A text that comes in pieces.
pub(super) struct Look {
    depth: u8,
    /// For each guardrail that looks for places.
    sieves: SmallVec<[Option<Sieve>; 2]>,
    inner: Inner,
}

enum Inner {
    /// Nothing has come but white space.
    Unknown,
    None,
    Json(Box<Json>),
}

/// What a text of JSON holds.
struct Json {
    inside: Inside,
    string: Option<Quoted>,
    /// What was found in its strings, and across them.
    within: SmallVec<[Found; 4]>,
    across: SmallVec<[Found; 4]>,
    /// What of it was told.
    told: SmallVec<[Found; 4]>,
}

impl Look {
    pub(super) fn new(guardrails: &[Arc<Guardrail>]) -> Self {
        Self::at(guardrails, 0)
    }

    fn at(guardrails: &[Arc<Guardrail>], depth: u8) -> Self {
        let inner = if depth < MOST_DEPTH { Inner::Unknown } else { Inner::None };
        Self { depth, sieves: guardrails.iter().map(|guardrail| guardrail.sieve()).collect(), inner }
    }

    /// Whether something is held back.
    pub(super) fn holds(&self) -> bool {
        let within = match &self.inner {
            Inner::Json(json) => json.inside.holds() || json.string.as_ref().is_some_and(Quoted::holds),
            Inner::Unknown | Inner::None => false,
        };
        within || self.sieves.iter().flatten().any(|sieve| sieve.held() > 0)
    }

    /// More of the text, or with `last` its end: gives what may go on.
    pub(super) fn push(
        &mut self,
        guardrails: &[Arc<Guardrail>],
        more: &str,
        last: bool,
        found: &mut [Found],
    ) -> Result<String, Halt> {
        if matches!(self.inner, Inner::Unknown)
            && let Some(json) = inside::begins(more)
        {
            // Whoever finds no places has no sieve, and need not know what is in the text.
            let json = json && self.sieves.iter().any(Option::is_some);
            self.inner = if json { Inner::Json(Box::new(Json::new(guardrails))) } else { Inner::None };
        }
        let Inner::Json(json) = &mut self.inner else {
            return sift(guardrails, &mut self.sieves, more, last, found);
        };
        let passed = json.push(guardrails, self.depth, more, last);
        let passed = passed.and_then(|now| sift(guardrails, &mut self.sieves, &now, last, &mut json.across));
        json.tell(guardrails, found);
        passed
    }
}

impl Json {
    fn new(guardrails: &[Arc<Guardrail>]) -> Self {
        let none = || guardrails.iter().map(|_| Found::default()).collect();
        Self { inside: Inside::default(), string: None, within: none(), across: none(), told: none() }
    }

    fn push(
        &mut self,
        guardrails: &[Arc<Guardrail>],
        depth: u8,
        more: &str,
        last: bool,
    ) -> Result<String, Halt> {
        let mut out = String::with_capacity(more.len());
        let Self { inside, string, within, .. } = self;
        inside.push::<Halt>(more, last, &mut |token| {
            match token {
                Token::Plain(text) => out.push_str(text),
                Token::Text { raw, plain } => {
                    let string = string.get_or_insert_with(|| Quoted::new(guardrails, depth + 1));
                    string.push(guardrails, raw, plain, within, &mut out)?;
                }
                Token::End => {
                    if let Some(string) = string.take() {
                        string.finish(guardrails, within, &mut out)?;
                    }
                }
                Token::Number(number) => {
                    let masked = Look::at(guardrails, MOST_DEPTH).push(guardrails, number, true, within)?;
                    match masked == number {
                        true => out.push_str(number),
                        false => out.push_str(&String::from_utf8_lossy(&quoted(&masked))),
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Tells what was found and not told yet. What was not masked is found across strings again.
    fn tell(&mut self, guardrails: &[Arc<Guardrail>], found: &mut [Found]) {
        for (at, guardrail) in guardrails.iter().enumerate() {
            let (within, across) = (&self.within[at], &self.across[at]);
            if within.is_empty() && across.is_empty() {
                continue;
            }
            let all = both(guardrail, within, across);
            found[at].join(&all.beyond(&self.told[at]));
            self.told[at] = all;
        }
    }
}

/// What was found within strings and across them, together.
fn both(guardrail: &Guardrail, within: &Found, across: &Found) -> Found {
    let mut all = within.clone();
    match guardrail.action {
        Action::Mask => all.join(across),
        _ => all.at_least(across),
    }
    all
}

/// A string of JSON.
struct Quoted {
    look: Look,
    /// What came and has not gone on, as it reads and as it stands.
    plain: String,
    raw: String,
    /// The lengths of both, piece by piece: of an escape, or of what stands as it reads.
    lengths: VecDeque<(usize, usize)>,
    /// Something was masked: what goes on is spelled anew.
    anew: bool,
}

impl Quoted {
    fn new(guardrails: &[Arc<Guardrail>], depth: u8) -> Self {
        let look = Look::at(guardrails, depth);
        Self { look, plain: String::new(), raw: String::new(), lengths: VecDeque::new(), anew: false }
    }

    fn holds(&self) -> bool {
        !self.raw.is_empty() || self.look.holds()
    }

    fn push(
        &mut self,
        guardrails: &[Arc<Guardrail>],
        raw: &str,
        plain: &str,
        found: &mut [Found],
        out: &mut String,
    ) -> Result<(), Halt> {
        if !self.anew {
            self.plain.push_str(plain);
            self.raw.push_str(raw);
            self.lengths.push_back((plain.len(), raw.len()));
        }
        let passed = self.look.push(guardrails, plain, false, found)?;
        self.pass(&passed, out);
        Ok(())
    }

    fn finish(
        mut self,
        guardrails: &[Arc<Guardrail>],
        found: &mut [Found],
        out: &mut String,
    ) -> Result<(), Halt> {
        let passed = self.look.push(guardrails, "", true, found)?;
        self.pass(&passed, out);
        Ok(())
    }

    fn pass(&mut self, passed: &str, out: &mut String) {
        if !self.anew && self.plain.starts_with(passed) {
            let (mut left, mut spelled) = (passed.len(), 0);
            while let Some((plain, raw)) = self.lengths.front_mut().filter(|_| left > 0) {
                if *plain <= left {
                    (left, spelled) = (left - *plain, spelled + *raw);
                    self.lengths.pop_front();
                } else {
                    // It stands as it reads.
                    (*plain, *raw) = (*plain - left, *raw - left);
                    (left, spelled) = (0, spelled + left);
                }
            }
            out.extend(self.raw.drain(..spelled));
            self.plain.drain(..passed.len());
        } else {
            self.anew = true;
            (self.plain, self.raw, self.lengths) = Default::default();
            spell(passed, out);
        }
    }
}

/// A text as it stands within a string.
fn spell(text: &str, out: &mut String) {
    let quoted = quoted(text);
    out.push_str(&String::from_utf8_lossy(quoted.get(1..quoted.len() - 1).unwrap_or_default()));
}

/// A text that is there as a whole: with what one guardrail finds in it masked, which is told.
pub(super) fn masked<'t>(guardrail: &Guardrail, text: &'t str, found: &mut Found) -> Cow<'t, str> {
    masked_at(guardrail, text, 0, found)
}

fn masked_at<'t>(guardrail: &Guardrail, text: &'t str, depth: u8, found: &mut Found) -> Cow<'t, str> {
    let masks = guardrail.action == Action::Mask;
    // What has no escapes says the same within strings and without; only masks have to keep to them.
    let within = depth < MOST_DEPTH
        && inside::begins(text) == Some(true)
        && (masks || memchr::memchr(b'\\', text.as_bytes()).is_some());
    if !within {
        return guardrail.detector.mask(text, found);
    }
    let (mut inner, mut across) = (Found::default(), Found::default());
    let now = strings(guardrail, text, depth, &mut inner).filter(|_| masks);
    let done = match now {
        None => guardrail.detector.mask(text, &mut across),
        Some(now) => match guardrail.detector.mask(&now, &mut across) {
            Cow::Owned(masked) => Cow::Owned(masked),
            Cow::Borrowed(_) => Cow::Owned(now),
        },
    };
    found.join(&both(guardrail, &inner, &across));
    done
}

/// The JSON with what is found in its strings masked; `None` where that is nothing.
fn strings(guardrail: &Guardrail, text: &str, depth: u8, found: &mut Found) -> Option<String> {
    let (mut out, mut raw_string, mut string) =
        (String::with_capacity(text.len()), String::new(), String::new());
    let mut changed = false;
    let done = Inside::default().push(text, true, &mut |token| {
        match token {
            Token::Plain(text) => out.push_str(text),
            Token::Text { raw, plain } => {
                raw_string.push_str(raw);
                string.push_str(plain);
            }
            Token::End => {
                match masked_at(guardrail, &string, depth + 1, found) {
                    Cow::Owned(masked) => {
                        changed = true;
                        spell(&masked, &mut out);
                    }
                    Cow::Borrowed(_) => out.push_str(&raw_string),
                }
                raw_string.clear();
                string.clear();
            }
            Token::Number(number) => match guardrail.detector.mask(number, found) {
                Cow::Owned(masked) => {
                    changed = true;
                    out.push_str(&String::from_utf8_lossy(&quoted(&masked)));
                }
                Cow::Borrowed(_) => out.push_str(number),
            },
        }
        Ok::<(), std::convert::Infallible>(())
    });
    (done.is_ok() && changed).then_some(out)
}

/// Puts more of a text, or its end, through those that look for places, one after the other.
fn sift(
    guardrails: &[Arc<Guardrail>],
    sieves: &mut [Option<Sieve>],
    more: &str,
    last: bool,
    found: &mut [Found],
) -> Result<String, Halt> {
    let mut now = more.to_owned();
    for ((guardrail, sieve), found) in guardrails.iter().zip(sieves).zip(found) {
        let Some(sieve) = sieve else { continue };
        let mut passed = String::with_capacity(now.len());
        guardrail.sift(sieve, &now, last, &mut passed, found);
        if !found.is_empty() {
            halt(guardrail)?;
        }
        // Whoever only looks holds nothing.
        if matches!(guardrail.action, Action::Mask | Action::Block) {
            now = passed;
        }
    }
    Ok(now)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use policy::Detector;

    fn rail(mut detector: Detector, action: Action) -> Arc<Guardrail> {
        detector.begin().unwrap();
        Arc::new(Guardrail {
            name: "g".into(),
            action,
            request: true,
            response: true,
            fail_open: false,
            window: None,
            fingerprint: "f".into(),
            detector,
        })
    }

    fn word(action: Action) -> Arc<Guardrail> {
        rail(Detector::words(["foobar", "苍鹭"]).unwrap(), action)
    }

    fn personal(action: Action) -> Arc<Guardrail> {
        rail(Detector::entities(true, &["card", "email"]).unwrap(), action)
    }

    /// What goes on of a text that comes in pieces of `length` characters, and what was found.
    fn streamed(rail: &Arc<Guardrail>, text: &str, length: usize) -> Result<(String, String), String> {
        let rails = [Arc::clone(rail)];
        let (mut look, mut found, mut out) = (Look::new(&rails), [Found::default()], String::new());
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(length) {
            let piece: String = piece.iter().collect();
            out += &look.push(&rails, &piece, false, &mut found).map_err(|_| found[0].told())?;
        }
        out += &look.push(&rails, "", true, &mut found).map_err(|_| found[0].told())?;
        assert!(!look.holds());
        Ok((out, found[0].told()))
    }

    const CASES: [(&str, &str, &str); 9] = [
        (r#"{"body":"hi\nfoobar\tx"}"#, r#"{"body":"hi\n[WORD]\tx"}"#, "word=1"),
        (r#"{"body":"\u82cd\u9e6d is"}"#, r#"{"body":"[WORD] is"}"#, "word=1"),
        (r#"{"body":"foo\u0062ar \/"}"#, r#"{"body":"[WORD] /"}"#, "word=1"),
        (r#"{"body":"\u0041\/ C:\Users \ud83c"}"#, r#"{"body":"\u0041\/ C:\Users \ud83c"}"#, ""),
        (r#"{"body":"{\"in\":\"hi\\nfoobar\"}"}"#, r#"{"body":"{\"in\":\"hi\\n[WORD]\"}"}"#, "word=1"),
        (r#"["foobar", foobar"#, r#"["[WORD]", [WORD]"#, "word=2"),
        (r#"{"to":"hi\nalice@example.com"}"#, r#"{"to":"hi\n[EMAIL]"}"#, "email=1"),
        (r#"{"card": 4111111111111111, "x":1}"#, r#"{"card": "[CARD]", "x":1}"#, "card=1"),
        (r#"[4111111111111111]"#, r#"["[CARD]"]"#, "card=1"),
    ];

    #[test]
    fn what_strings_say_is_found_and_json_stays_json() {
        for (text, wanted, told) in CASES {
            let rail_of = if told.starts_with("email") || told.starts_with("card") { personal } else { word };
            for length in [1, 2, 3, 7, 100] {
                let seen = streamed(&rail_of(Action::Mask), text, length);
                assert_eq!(seen, Ok((wanted.to_owned(), told.to_owned())), "{length}");
                let seen = streamed(&rail_of(Action::Annotate), text, length);
                assert_eq!(seen, Ok((text.to_owned(), told.to_owned())), "{length}");
                let blocked = streamed(&rail_of(Action::Block), text, length);
                assert_eq!(blocked.is_err(), !told.is_empty(), "{text}");
            }
            for action in [Action::Mask, Action::Annotate] {
                let mut found = Found::default();
                let now = masked(&rail_of(action), text, &mut found);
                assert_eq!(found.told(), told, "{text}");
                assert!(action != Action::Mask || now == wanted, "{now}");
            }
        }
    }

    #[test]
    fn what_stands_across_strings_is_found_too() {
        let secret = rail(Detector::entities(false, &["aws_secret"]).unwrap(), Action::Mask);
        let key = "abcdefghijklmnopqrstuvwxyz0123456789ABCD";
        let text = format!(r#"{{"aws_secret_access_key": "{key}"}}"#);
        let mut found = Found::default();
        assert!(!masked(&secret, &text, &mut found).contains(key));
        for length in [1, 5, 200] {
            let (out, told) = streamed(&secret, &text, length).unwrap();
            assert!(!out.contains(key) && told == "aws_secret=1", "{out} {told}");
        }
    }
}
