//! The written forms of single values: durations, sizes, secrets, addresses, names, URLs. Each is one
//! function from text to value, used by the check (for its error) and by the reader (for its value).

use super::document::{ByteSize, Network, SecretRef, StoreUrl};
use crate::money::{Currency, parse_nano};
use crate::route::Condition;
use crate::snapshot::Origin;
use crate::window::Zone;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What is wrong with a text, and the way out. `message` continues "`server.listen`: …".
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

pub(super) fn fault(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { message: message.into(), help: Some(help.into()) }
}

/// Shows a wrong value, cut to what fits a line. Never used for secrets.
fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        cut.push('…');
    }
    cut
}

/// `500ms`, `5s`, `60m`, `1h`, `30d`: ten years at most.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let millis = units.iter().find(|(name, _)| *name == unit).and_then(|(_, millis)| {
        let count: u64 = count.parse().ok()?;
        count.checked_mul(*millis)
    });
    match millis {
        Some(millis) if millis <= 3_650 * 86_400_000 => Ok(Duration::from_millis(millis)),
        Some(_) => Err(fault(format!("`{}` is longer than ten years", shown(text)), "use a shorter time")),
        None => Err(fault(
            format!("`{}` is not a duration", shown(text)),
            "write a whole number and one of ms, s, m, h, d, such as \"5s\" or \"60m\"",
        )),
    }
}

/// A duration that is not zero.
pub(super) fn timeout(text: &str) -> Result<Duration, Fault> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err(fault("must be longer than nothing", "leave the field out to have the default"));
    }
    Ok(duration)
}

/// CEL over the facts of a request.
pub(super) fn condition(text: &str) -> Result<(), Fault> {
    Condition::new(text).map(drop).map_err(|error| fault(error.message, error.help))
}

/// What a route may set in a body: not what the gateway itself decides, nor what the client asks.
pub(super) fn member(text: &str) -> Result<(), Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err(fault(
            format!("`{}` is no name of a member", shown(text)),
            "write it as the provider's API has it",
        ));
    }
    // What decides how many answers are paid for, or who keeps them, is reserved and routed by what the client says.
    let ours = [
        "model",
        "models",
        "stream",
        "stream_options",
        "messages",
        "contents",
        "input",
        "prompt",
        "n",
        "best_of",
        "store",
        "previous_response_id",
        "conversation",
        "background",
        "generationConfig",
    ];
    if ours.contains(&text) {
        let help = "set parameters, such as temperature or max_tokens";
        return Err(fault(format!("`{text}` cannot be set by a route"), help));
    }
    Ok(())
}

/// `trial-*`, or a whole name.
pub(super) fn pattern(text: &str) -> Result<(), Fault> {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    if text.is_empty() || beginning.contains('*') || text.len() > 256 || text.chars().any(char::is_control) {
        let help = "write a whole name, or the beginning of names and a `*` at its end";
        return Err(fault(format!("`{}` is no pattern that is known", shown(text)), help));
    }
    Ok(())
}

/// A name of the IANA's, `Europe/Berlin`.
pub(super) fn zone(text: &str) -> Result<(), Fault> {
    let help = "write a name such as \"Europe/Berlin\" or \"Asia/Shanghai\", or leave it out for UTC";
    let known = Zone::named(text).map(drop);
    known.ok_or_else(|| fault(format!("`{}` is no time zone that is known", shown(text)), help))
}

/// `10.0.0.0/8`, `::1`.
pub(super) fn network(text: &str) -> Result<Network, Fault> {
    let help = "write an address, or a network such as \"10.0.0.0/8\"";
    let wrong = || fault(format!("`{}` is not a network", shown(text)), help);
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let bits = bits.map(str::parse).transpose().map_err(|_| wrong())?;
    Network::new(address, bits).ok_or_else(wrong)
}

/// How long an answer may be given again.
pub(super) fn ttl(text: &str) -> Result<Duration, Fault> {
    let ttl = duration(text)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)).contains(&ttl) {
        return Err(fault("must be from 1s to 30d", "leave the field out to have 5m"));
    }
    Ok(ttl)
}

/// `512B`, `64KiB`, `32MiB`, `1GiB`.
pub(super) fn size(text: &str) -> Result<ByteSize, Fault> {
    let units = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let bytes = units.iter().find(|(name, _)| *name == unit).and_then(|(_, shift)| {
        let count: u64 = count.parse().ok()?;
        count.checked_mul(1 << shift)
    });
    match bytes {
        Some(bytes) if (1..=1 << 50).contains(&bytes) => Ok(ByteSize(bytes)),
        _ => Err(fault(
            format!("`{}` is not a size", shown(text)),
            "write a whole number above 0 and one of B, KiB, MiB, GiB, such as \"32MiB\"",
        )),
    }
}

/// `env:NAME` or `file:PATH`. What is written otherwise may be the secret itself, so it is never shown.
pub(super) fn secret(text: &str) -> Result<SecretRef, Fault> {
    let out = "put the secret into an environment variable and write \"env:NAME\", or into a file and \
               write \"file:PATH\"";
    if let Some(name) = text.strip_prefix("vault:") {
        let sound = |c: u8| c.is_ascii_alphanumeric() || b"_-./".contains(&c);
        if name.is_empty() || name.len() > 100 || !name.bytes().all(sound) {
            return Err(fault("the name after `vault:` is not that of a kept credential", out));
        }
        return Ok(SecretRef::Vault(name.to_owned()));
    }
    if let Some(name) = text.strip_prefix("env:") {
        let sound = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if name.is_empty() || !name.bytes().all(sound) || name.as_bytes()[0].is_ascii_digit() {
            return Err(fault("the name after `env:` is not that of an environment variable", out));
        }
        return Ok(SecretRef::Env(name.to_owned()));
    }
    match text.strip_prefix("file:") {
        Some("") => Err(fault("there is no path after `file:`", out)),
        Some(path) => Ok(SecretRef::File(PathBuf::from(path))),
        None => Err(fault("a secret must not stand in the settings", out)),
    }
}

/// `file:PATH`.
pub(super) fn file(text: &str) -> Result<PathBuf, Fault> {
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(fault(format!("`{}` does not name a file", shown(text)), "write \"file:PATH\"")),
    }
}

/// A path, with or without `file:` before it.
pub(super) fn path(text: &str) -> Result<PathBuf, Fault> {
    match text.strip_prefix("file:").unwrap_or(text) {
        "" => Err(fault("the path is empty", "name a file or a folder")),
        path => Ok(PathBuf::from(path)),
    }
}

/// `127.0.0.1:8080`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Fault> {
    text.replacen("localhost:", "127.0.0.1:", 1).parse().map_err(|_| {
        fault(
            format!("`{}` is not an address", shown(text)),
            "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
        )
    })
}

/// A plain decimal that is not negative.
pub(super) fn amount(text: &str) -> Result<i64, Fault> {
    match parse_nano(text) {
        Ok(nano) if nano >= 0 => Ok(nano),
        Ok(_) => Err(fault("must not be negative", "write plain digits, such as \"25.00\"")),
        Err(error) => {
            Err(fault(format!("`{}`: {error}", shown(text)), "write plain digits, such as \"25.00\""))
        }
    }
}

/// Three upper-case letters.
pub(super) fn currency(text: &str) -> Result<Currency, Fault> {
    text.parse()
        .map_err(|error| fault(format!("`{}`: {error}", shown(text)), "for example \"USD\" or \"CNY\""))
}

/// The name of a thing of the environment: it stands in URLs, logs, metrics and scopes.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    let sound = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(sound) {
        return Ok(());
    }
    Err(fault(
        format!("`{}` is not a name", shown(text)),
        "use up to 64 letters, digits, dots, hyphens and underscores",
    ))
}

/// A regular expression, as far as its length goes; compiling it says the rest.
pub(super) fn expression(text: &str) -> Result<(), Fault> {
    if !text.is_empty() && text.len() <= 4_096 {
        return Ok(());
    }
    Err(fault("an expression has from 1 to 4096 bytes", "split it into several guardrails"))
}

/// A language by its code of two or three letters.
pub(super) fn language(text: &str) -> Result<(), Fault> {
    if crate::guardrails::is_language(text) {
        return Ok(());
    }
    Err(fault(
        format!("`{}` is no language that can be told from others", shown(text)),
        "write a code of ISO 639, such as \"en\", \"de\" or \"zh\"",
    ))
}

/// An entry of a list of words.
pub(super) fn word(text: &str) -> Result<(), Fault> {
    if !text.trim().is_empty() && text.len() <= 200 {
        return Ok(());
    }
    Err(fault("a word or a phrase has from 1 to 200 bytes", "leave it out, or use `kind = \"regex\"`"))
}

/// `provider/model`.
pub(super) fn full_model(text: &str) -> Result<(), Fault> {
    let sound =
        text.split_once('/').is_some_and(|(provider, model)| name(provider).is_ok() && !model.is_empty());
    if sound && model(text).is_ok() {
        return Ok(());
    }
    Err(fault(
        format!("`{}` is not a model of a provider", shown(text)),
        "write \"provider/model\", such as [models.\"local/tiny\"]",
    ))
}

/// Any model's name: printable, no spaces.
pub(super) fn model(text: &str) -> Result<(), Fault> {
    if !text.is_empty() && text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(fault(
        format!("`{}` is not the name of a model", shown(text)),
        "use up to 200 printable characters without spaces, such as \"openai/gpt-5-mini\"",
    ))
}

/// What a key may be allowed: a name, `provider/*`, or `*`.
pub(super) fn allowed(text: &str) -> Result<(), Fault> {
    let stars = text.matches('*').count();
    let whole =
        stars == 0 || text == "*" || (stars == 1 && text.strip_suffix("/*").is_some_and(|p| name(p).is_ok()));
    if whole {
        return model(text);
    }
    Err(fault(
        format!("`{}` is no pattern that is known", shown(text)),
        "write a model's or a route's name, \"provider/*\" for all of a provider, or \"*\" for all",
    ))
}

/// `sqlite` or a `postgres://` URL, which may hold a password and so is never shown.
pub(super) fn store_url(text: &str) -> Result<StoreUrl, Fault> {
    if text == "sqlite" {
        return Ok(StoreUrl::Sqlite);
    }
    let postgres = ["postgres://", "postgresql://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
    });
    if postgres {
        return Ok(StoreUrl::Postgres(text.to_owned()));
    }
    Err(fault("no such database", "write \"sqlite\", or \"postgres://user@host/database\""))
}

/// What stands after `?api-version=`.
pub(super) fn api_version(text: &str) -> Result<(), Fault> {
    let sound = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
    if (1..=40).contains(&text.len()) && text.bytes().all(sound) {
        return Ok(());
    }
    Err(fault(
        format!("`{}` is not an api-version", shown(text)),
        "write what the vendor's page names, such as \"2024-10-21\"",
    ))
}

/// Headers that carry credentials, or belong to the connection or to Tidegate.
const NOT_LITERAL: [&str; 22] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "set-cookie",
    "x-amz-security-token",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "x-request-id",
];

/// The name of a header that is sent with every call.
pub(super) fn header_name(text: &str) -> Result<(), Fault> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        return Err(fault(
            format!("`{}` is not the name of a header", shown(text)),
            "use letters, digits and hyphens",
        ));
    }
    let lower = text.to_ascii_lowercase();
    let credential = NOT_LITERAL[..8].contains(&lower.as_str());
    if credential || lower.contains("secret") || lower.contains("token") {
        return Err(fault(
            format!("the header `{}` carries a credential", shown(text)),
            "settings hold no secrets: use `credential = \"env:NAME\"`",
        ));
    }
    if NOT_LITERAL.contains(&lower.as_str()) || lower.starts_with("x-tidegate-") {
        return Err(fault(format!("the header `{}` is set by Tidegate", shown(text)), "leave it out"));
    }
    Ok(())
}

/// The value of such a header.
pub(super) fn header_value(text: &str) -> Result<(), Fault> {
    let inner = |c: u8| c.is_ascii_graphic() || c == b' ';
    if text.len() <= 1_024 && text.trim() == text && text.bytes().all(inner) {
        return Ok(());
    }
    Err(fault(
        "is not the value of a header",
        "use up to 1024 printable ASCII characters, without spaces at the ends",
    ))
}

/// A base URL, taken apart: where the server is, and the path without a slash at its end.
pub(crate) fn base_url(text: &str) -> Result<(Origin, String), String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        _ => return Err("it does not begin with http:// or https://".to_owned()),
    };
    if rest.contains('@') {
        return Err("it holds a user name; credentials have a field of their own".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it holds a query or a fragment".to_owned());
    }
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = host_and_port(authority)?;
    let port = match port {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or("its port is not a number up to 65535")?
        }
    };
    let path = path.trim_end_matches('/');
    let plain = |c: u8| c.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&c);
    if path.len() > 500 || !path.bytes().all(plain) || path.split('/').any(|part| part == "." || part == "..")
    {
        return Err("its path is not plain".to_owned());
    }
    Ok((Origin { tls, host: host.to_ascii_lowercase().into(), port }, path.to_owned()))
}

fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("its address has no closing bracket")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("there is no IPv6 address in its brackets".to_owned());
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("something stands after its brackets".to_owned()),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let sound = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(sound) {
        return Err("it names no host".to_owned());
    }
    Ok((host, port))
}

/// [`base_url`] as a check.
pub(super) fn base_url_form(text: &str) -> Result<(), Fault> {
    base_url(text).map(|_| ()).map_err(|why| {
        fault(
            format!("`{}` is not a base URL: {why}", shown(text.split_once('@').map_or(text, |_| "…"))),
            "write what the vendor's own SDK takes, such as \"https://api.openai.com/v1\"",
        )
    })
}
