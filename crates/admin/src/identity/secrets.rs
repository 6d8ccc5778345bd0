//! Secrets that are shown once: sessions, API tokens, invitations, resets. Kept is a keyed hash, so a stolen database neither
//! shows one nor lets one be tried.
//!
//! Tokens are made like virtual keys, of 190 random bits and a checksum, so that a typing error or a scanner's guess is
//! refused before any look-up. A session is 256 random bits; nobody types it.

use http::HeaderValue;
use policy::{Name, Pepper, Secret};

/// What a secret is for. No secret of one kind is good for another.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The cookie of a session.
    Session,
    /// An API token.
    Token,
    /// An invitation.
    Invitation,
    /// What a forgotten password is replaced with.
    Reset,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Session => "",
            Kind::Token => "tgt_",
            Kind::Invitation => "tgi_",
            Kind::Reset => "tgr_",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Kind::Session => "session",
            Kind::Token => "api token",
            Kind::Invitation => "invitation",
            Kind::Reset => "password reset",
        }
    }
}

/// Characters of a session's secret.
const SESSION: usize = 64;

/// A new secret.
pub(crate) fn mint(kind: Kind) -> Secret {
    if kind == Kind::Session {
        return Secret::new(hex(&runtime::random_bytes::<32>()));
    }
    let made = policy::key::mint(runtime::random_bytes());
    let body = made.expose().get(3..).unwrap_or_default();
    Secret::new(format!("{}{body}", kind.prefix()))
}

/// Whether it can be one, checksum and all. No look-up is made for what cannot.
pub(crate) fn is_well_formed(kind: Kind, text: &str) -> bool {
    if kind == Kind::Session {
        return is_session(text);
    }
    let body = text.strip_prefix(kind.prefix());
    body.is_some_and(|body| policy::key::parse(format!("tg-{body}").as_bytes()).is_ok())
}

/// Whether it has the form of a session's secret.
pub(crate) fn is_session(text: &str) -> bool {
    text.len() == SESSION && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is kept of it.
pub(crate) fn hash(pepper: &Pepper, kind: Kind, text: &str) -> Name {
    hex(&pepper.sign(kind.purpose(), text.as_bytes())).into()
}

/// What lists show of a token: enough to tell it from others.
pub(crate) fn hint(secret: &Secret) -> String {
    let text = secret.expose();
    format!(
        "{}…{}",
        text.get(..8).unwrap_or_default(),
        text.get(text.len().saturating_sub(4)..).unwrap_or_default()
    )
}

const FOR_CSRF: &str = "csrf token";

/// The token that writes by a session's cookie bring besides. Whoever has it alone cannot make the session from it.
pub(crate) fn csrf(pepper: &Pepper, session: &str) -> String {
    hex(&pepper.sign(FOR_CSRF, session.as_bytes()))
}

/// Whether this header holds the session's token. Takes the same time for every wrong one.
pub(crate) fn is_csrf(pepper: &Pepper, session: &str, brought: Option<&HeaderValue>) -> bool {
    let brought = brought.and_then(|value| value.to_str().ok()).and_then(bytes_of);
    brought.is_some_and(|brought| pepper.is_signed(FOR_CSRF, session.as_bytes(), &brought))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A new id: `usr_` and 20 characters.
pub(crate) fn id(prefix: &str) -> Name {
    let random = policy::KeyId::new(runtime::random_bytes());
    let body = random.as_str().get(4..).unwrap_or_default();
    format!("{prefix}_{body}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_good_for_its_kind_alone() {
        let pepper = Pepper::derive(&[3; 32]);
        let kinds = [Kind::Session, Kind::Token, Kind::Invitation, Kind::Reset];
        for kind in kinds {
            let secret = mint(kind);
            let text = secret.expose();
            assert!(is_well_formed(kind, text), "{kind:?}");
            for other in kinds.into_iter().filter(|other| *other != kind) {
                assert!(!is_well_formed(other, text), "{kind:?} as {other:?}");
                assert_ne!(hash(&pepper, kind, text), hash(&pepper, other, text));
            }
            let mut wrong = text.to_owned();
            let last = wrong.pop();
            wrong.push(if last == Some('a') { 'b' } else { 'a' });
            assert!(kind == Kind::Session || !is_well_formed(kind, &wrong), "a typing error is seen");
        }
        assert!(hint(&mint(Kind::Token)).starts_with("tgt_"));
    }

    #[test]
    fn a_csrf_token_is_bound_to_its_session() {
        let pepper = Pepper::derive(&[3; 32]);
        let header = |text: &str| HeaderValue::from_str(text).ok();
        let token = csrf(&pepper, "one");
        assert!(is_csrf(&pepper, "one", header(&token).as_ref()));
        assert!(!is_csrf(&pepper, "two", header(&token).as_ref()));
        for wrong in ["", "x", &token[..62], &token.replace(&token[..2], "zz"), "é"] {
            assert!(!is_csrf(&pepper, "one", header(wrong).as_ref()), "{wrong}");
        }
        assert!(!is_csrf(&pepper, "one", None));
    }
}
