//! What people type of themselves: e-mails and names, in one form and without what could mean something elsewhere.

use crate::ApiError;

const LONGEST_EMAIL: usize = 254;
const LONGEST_NAME: usize = 80;

/// An e-mail in the form in which it is kept and compared: without blanks around it, in small letters.
pub(crate) fn email(text: &str) -> Result<String, ApiError> {
    let plain = text.trim().to_ascii_lowercase();
    let parts = plain.split_once('@');
    let fits = parts.is_some_and(|(name, domain)| {
        !name.is_empty()
            && !domain.contains('@')
            && !domain.starts_with(['.', '-'])
            && !domain.ends_with(['.', '-'])
            && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
            && !domain.is_empty()
    });
    let printable = plain.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&byte));
    if fits && printable && plain.len() <= LONGEST_EMAIL {
        return Ok(plain);
    }
    Err(ApiError::Invalid("email: write an address such as `ann@example.com`".into()))
}

/// The part behind the `@`.
pub(crate) fn domain(email: &str) -> &str {
    email.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// A name for people to read.
pub(crate) fn name(field: &str, text: &str) -> Result<String, ApiError> {
    let plain = text.trim();
    // Marks that turn the direction of writing make one name look like another.
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if plain.is_empty() || plain.chars().count() > LONGEST_NAME || plain.chars().any(odd) {
        return Err(ApiError::Invalid(format!(
            "{field}: use 1 to {LONGEST_NAME} characters that can be seen"
        )));
    }
    Ok(plain.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_email_has_one_form() {
        assert_eq!(email(" Ann@Example.COM ").unwrap(), "ann@example.com");
        assert_eq!(email("a+b@localhost").unwrap(), "a+b@localhost");
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "ann",
            "@x",
            "ann@",
            "a@b@c",
            "a b@c.de",
            "a@b\r\nBcc: x@y.z",
            "a\0@b.c",
            "<a@b.c>",
            "a@.b",
            "a@b-",
            "a@[1]",
            "ä@b.c",
            "a,b@c.d",
            &long,
        ] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_shows_what_it_is() {
        assert_eq!(name("name", " Ann 明 ").unwrap(), "Ann 明");
        for bad in ["", " ", "a\nb", "a\u{202e}b", "a\u{200b}", &"x".repeat(81)] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
    }
}
