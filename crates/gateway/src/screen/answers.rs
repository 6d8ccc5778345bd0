//! Whole answers, as their clients would get them: every text that a model says, each by itself.
//!
//! They were asked for and made, so the provider bills them; a refusal here settles like an answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use policy::{Action, Detector, Found, Guardrail, Stage};
use providers::request::Operation;
use providers::said::{self, Part, Piece, Said};

use super::{InForce, asked, blocked, decided, look, unreadable};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// Looks at a whole answer. Gives it as it goes on.
pub(crate) async fn whole(exchange: &mut Exchange, answer: Bytes) -> Result<Bytes, Box<Refusal>> {
    let guardrails: InForce = std::mem::take(&mut exchange.answer_guards);
    let done = match said::in_answer(exchange.operation, &answer) {
        Ok(said) => screened(exchange, &guardrails, &answer, said).await,
        Err(_) => unreadable(exchange, &guardrails, "the answer is not JSON", Stage::Response).map(|()| None),
    };
    exchange.answer_guards = guardrails;
    done.map(|changed| changed.unwrap_or(answer))
}

async fn screened(
    exchange: &mut Exchange,
    guardrails: &InForce,
    answer: &Bytes,
    mut said: Said,
) -> Result<Option<Bytes>, Box<Refusal>> {
    let mut changed = vec![false; said.pieces.len()];
    for guardrail in guardrails {
        if matches!(guardrail.detector, Detector::Hook(_)) {
            let now: Vec<&str> = said.pieces.iter().map(|piece| &*piece.text).collect();
            if let Some(masked) = asked(exchange, guardrail, Stage::Response, &now).await? {
                for ((piece, changed), masked) in said.pieces.iter_mut().zip(&mut changed).zip(masked) {
                    *changed |= piece.text != masked;
                    piece.text = masked;
                }
            }
            continue;
        }
        let found = look(exchange.operation, guardrail, &mut said.pieces, &mut changed);
        if !found.is_empty() {
            decided(exchange, guardrail, guardrail.action.as_str(), &found.told(), Stage::Response);
            if guardrail.action == Action::Block {
                return Err(blocked(guardrail, Stage::Response));
            }
        }
    }
    if !changed.contains(&true) {
        return Ok(None);
    }
    let texts = said.pieces.iter().zip(changed).filter(|(_, changed)| *changed);
    let mut changes: Vec<_> = texts.map(|(piece, _)| (piece.span, said::quoted(&piece.text))).collect();
    // They tell the text once more, token by token.
    changes.extend(said.logs.iter().map(|span| (*span, said::no_logs(answer, *span))));
    Ok(Some(said::with(answer, &mut changes)))
}

/// What one guardrail finds in an answer; what it masks is masked in the pieces.
fn look(operation: Operation, guardrail: &Guardrail, pieces: &mut [Piece], changed: &mut [bool]) -> Found {
    let mut found = Found::default();
    match &guardrail.detector {
        Detector::Length(most) => {
            let length: usize = pieces.iter().map(|piece| piece.text.chars().count()).sum();
            if length as u64 > *most {
                found.add("length");
            }
        }
        Detector::Language(languages) => {
            let prose = pieces.iter().filter(|piece| piece.part != Part::Other);
            prose.filter_map(|piece| languages.other(&piece.text)).for_each(|other| found.add(other));
        }
        Detector::Schema(schema) => {
            let mut contents = Contents::default();
            for piece in pieces.iter().filter(|piece| piece.part == Part::Content) {
                contents.add(piece.group, &piece.text);
            }
            contents.answers(operation).iter().filter_map(|text| schema.broken_by(text)).for_each(|what| {
                found.add(what);
            });
        }
        Detector::Places(_) => {
            for (piece, changed) in pieces.iter_mut().zip(changed) {
                if let Cow::Owned(masked) = look::masked(guardrail, &piece.text, &mut found)
                    && guardrail.action == Action::Mask
                {
                    (piece.text, *changed) = (masked, true);
                }
            }
        }
        // Asked by whoever can wait.
        Detector::Hook(_) => {}
    }
    found
}

/// What the answers proper say, put together.
#[derive(Debug, Default)]
pub(super) struct Contents(BTreeMap<u64, String>);

impl Contents {
    pub(super) fn add(&mut self, group: u64, text: &str) {
        self.0.entry(group).or_default().push_str(text);
    }

    /// Bytes of all.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(String::len).sum()
    }

    /// Each answer's text: of several choices each, of the items of one answer the last that says anything, of the blocks of
    /// one answer all.
    pub(super) fn answers(&self, operation: Operation) -> Vec<Cow<'_, str>> {
        let mut said = self.0.values().filter(|text| !text.is_empty());
        match operation {
            Operation::Responses => said.next_back().map(|text| Cow::Borrowed(&**text)).into_iter().collect(),
            Operation::Messages => {
                let whole: String = said.map(String::as_str).collect();
                if whole.is_empty() { Vec::new() } else { vec![Cow::Owned(whole)] }
            }
            _ => said.map(|text| Cow::Borrowed(&**text)).collect(),
        }
    }
}
