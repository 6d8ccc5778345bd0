//! Letters: what is written to people, and where it goes. The admin API hands them over and never waits; with `[smtp]` the
//! binary sends them, and on a loopback install without it they lie in a mailbox that whoever sees to the process can read.

use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use policy::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Letters that the mailbox keeps; the oldest makes room.
const MOST_KEPT: usize = 100;

/// One letter. `Debug` does not show what it says: it may hold what works once.
#[derive(Clone)]
pub struct Letter {
    /// Whose it is: one e-mail, in the form in which they are kept.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Takes letters.
pub trait Mail: Send + Sync {
    /// Takes one, and sends it when it can. Never waits.
    fn post(&self, letter: Letter, now: Timestamp);

    /// The letters that lie here, the newest first, as JSON; `None` where they are sent.
    fn kept(&self) -> Option<Vec<Value>> {
        None
    }
}

/// Keeps letters in memory, for the one who tries things out.
#[derive(Default)]
pub struct Mailbox(Mutex<VecDeque<(Timestamp, Letter)>>);

impl Mail for Mailbox {
    fn post(&self, letter: Letter, now: Timestamp) {
        let mut letters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push_front((now, letter));
        letters.truncate(MOST_KEPT);
    }

    fn kept(&self) -> Option<Vec<Value>> {
        let letters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |(at, letter): &(Timestamp, Letter)| json!({ "at": at.to_string(), "to": letter.to, "subject": letter.subject, "text": letter.text });
        Some(letters.iter().map(view).collect())
    }
}

/// `GET /api/mailbox`.
pub(crate) async fn read(State(admin): State<Admin>) -> Result<Json<Value>, ApiError> {
    let kept = admin.identity.mail.as_ref().and_then(|mail| mail.kept());
    let letters = kept.ok_or_else(|| {
        ApiError::NotFound("there is no mailbox here: letters are sent by `[smtp]`, or not at all".into())
    })?;
    Ok(Json(json!({ "letters": letters })))
}

/// An invitation, to whom it is for.
pub(crate) fn invitation(to: &str, organization: &str, role: &str, link: &str, ends: Timestamp) -> Letter {
    Letter {
        to: to.to_owned(),
        subject: format!("You are invited to {organization}"),
        text: format!(
            "You are invited to {organization} as {role}.\n\nOpen this link to accept. It works once, until {ends}:\n\n{link}\n"
        ),
    }
}

/// A reset, to whose password it is.
pub(crate) fn reset(to: &str, link: &str, ends: Timestamp) -> Letter {
    Letter {
        to: to.to_owned(),
        subject: "Set a new password".to_owned(),
        text: format!(
            "Somebody, probably you, asked to set a new password here.\n\nOpen this link to do so. It works once, until {ends}:\n\n{link}\n\n\
             If it was not you, do nothing: your password stays as it is.\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_mailbox_is_bounded_and_a_letter_does_not_show_itself() {
        let mailbox = Mailbox::default();
        for n in 0..150 {
            let letter = reset(
                &format!("user{n}@example.com"),
                "https://gate.example/#/reset?token=tgr_x",
                Timestamp::from_micros(0),
            );
            assert!(!format!("{letter:?}").contains("tgr_x"));
            mailbox.post(letter, Timestamp::from_micros(n));
        }
        let kept = mailbox.kept().unwrap();
        assert_eq!((kept.len(), &kept[0]["to"]), (100, &json!("user149@example.com")));
    }
}
