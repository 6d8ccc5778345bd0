//! `[smtp]`: how letters to people leave. Types, forms and reading stand together,
//! since nothing else needs them.

use super::document::{Placed, SecretRef};
use super::read::{Node, Notes};
use super::shape::{Field, Form, SECRET, Shape, field, required};
use super::value::{self, Fault};
use serde::Serialize;

static HOST: Form = Form {
    what: "the name of a host",
    pattern: "^[A-Za-z0-9.-]{1,253}$",
    check: |text| host(text).map(drop),
};
static ADDRESS: Form = Form {
    what: "an address such as \"tidegate@example.com\"",
    pattern: "^[^@ ]+@[^@ ]+$",
    check: |text| address(text).map(drop),
};
static USER: Form =
    Form { what: "the name of a user", pattern: "^[!-~]{1,254}$", check: |text| user(text).map(drop) };
static ORIGIN: Form = Form {
    what: "an address such as \"https://gate.example\"",
    pattern: "^https?://.+$",
    check: value::base_url_form,
};

/// What may stand in it.
pub(super) static FIELDS: &[Field] = &[
    required("host", Shape::Text(&HOST), "The mail server."),
    field(
        "port",
        Shape::Integer { least: 1, most: 65_535 },
        "Its port. Default: 587, with `tls = \"tls\"` 465, with `tls = \"none\"` 25.",
    ),
    field(
        "tls",
        Shape::Choice(&["starttls", "tls", "none"]),
        "How the connection is kept from others; starttls is required of the server, and without it nothing is sent. Default: starttls.",
    ),
    field("user", Shape::Text(&USER), "Who signs in there. Default: nobody does."),
    field("password", Shape::Text(&SECRET), "With what."),
    required("from", Shape::Text(&ADDRESS), "Whom letters are from."),
    field(
        "console",
        Shape::Text(&ORIGIN),
        "Where links in letters lead: the console as users reach it. Default: as this process knows itself.",
    ),
];

/// `[smtp]`: how letters leave.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct SmtpSettings {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub tls: SmtpTls,
    /// Who signs in, and with what.
    pub credential: Option<(String, Placed<SecretRef>)>,
    /// Whom letters are from.
    pub from: String,
    /// Where links in letters lead, without a slash at the end.
    pub console: Option<String>,
}

/// How a connection to a mail server is kept from others.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// It begins in plain and must go over to TLS.
    Starttls,
    /// TLS from the beginning.
    Tls,
    /// Not at all.
    None,
}

fn host(text: &str) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(value::fault("not the name of a host", "write \"smtp.example.com\""))
}

fn address(text: &str) -> Result<String, Fault> {
    let sound = text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && host(domain).is_ok());
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;:\"()[]\\".contains(&byte));
    if sound && plain && text.len() <= 254 {
        return Ok(text.to_owned());
    }
    Err(value::fault("not an address", "write \"tidegate@example.com\""))
}

fn user(text: &str) -> Result<String, Fault> {
    if !text.is_empty() && text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(value::fault("not the name of a user", "write it without blanks"))
}

/// Reads it.
pub(super) fn read(node: &Node<'_, '_>, notes: &mut Notes) -> SmtpSettings {
    let (tls, usual) = match node.text("tls") {
        Some("tls") => (SmtpTls::Tls, 465),
        Some("none") => (SmtpTls::None, 25),
        _ => (SmtpTls::Starttls, 587),
    };
    let port = node.count("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
    let (user, password) = (node.read("user", user), node.placed("password", value::secret));
    if user.is_some() != password.is_some() {
        let at = node.place(if user.is_some() { "user" } else { "password" });
        notes.error(
            at,
            "`smtp.user` and `smtp.password` belong together".to_owned(),
            "give both, or neither",
        );
    }
    let host = node.read("host", host).unwrap_or_default();
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if tls == SmtpTls::None && user.is_some() && !here {
        notes.error(
            node.place("tls"),
            "`smtp.password` would go over the network for all to read".to_owned(),
            "use `tls = \"starttls\"` or `tls = \"tls\"`",
        );
    }
    SmtpSettings {
        host,
        port,
        tls,
        credential: user.zip(password),
        from: node.read("from", address).unwrap_or_default(),
        console: node.text("console").map(|text| text.trim_end_matches('/').to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::settings::parse;

    fn wrong(text: &str) -> String {
        let findings = parse(&format!("[smtp]\n{text}\n"), "x.toml").err().unwrap();
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn what_is_said_is_read_and_the_rest_is_usual() {
        let text = "[smtp]\nhost = \"smtp.example.com\"\nfrom = \"a@example.com\"\n";
        let (document, _) = parse(text, "x.toml").unwrap();
        let smtp = document.smtp.unwrap();
        assert_eq!(
            (smtp.port, smtp.tls, smtp.credential, smtp.console),
            (587, SmtpTls::Starttls, None, None)
        );
        let more = "user = \"u\"\npassword = \"env:P\"\ntls = \"tls\"\nconsole = \"https://gate.example/\"\n";
        let (document, _) = parse(&format!("{text}{more}"), "x.toml").unwrap();
        let smtp = document.smtp.unwrap();
        assert_eq!((smtp.port, smtp.console.as_deref()), (465, Some("https://gate.example")));
        assert_eq!(smtp.credential.unwrap().0, "u");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let base = "host = \"h.example\"\nfrom = \"a@example.com\"";
        for (text, word) in [
            ("host = \"h.example\"".to_owned(), "from"),
            ("from = \"a@example.com\"".to_owned(), "host"),
            ("host = \"a b\"\nfrom = \"a@example.com\"".to_owned(), "host"),
            ("host = \"h\"\nfrom = \"a\\r\\nBcc: b@c.d\"".to_owned(), "address"),
            (format!("{base}\nuser = \"u\""), "password"),
            (format!("{base}\nuser = \"u\"\npassword = \"plain\""), "env:"),
            (format!("{base}\nuser = \"u\"\npassword = \"env:P\"\ntls = \"none\""), "network"),
            (format!("{base}\nport = 0"), "port"),
        ] {
            assert!(wrong(&text).contains(word), "{text}: {}", wrong(&text));
        }
    }
}
