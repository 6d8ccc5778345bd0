//! `[cluster]`: what several nodes share. Its types, its forms and its reading stand together, since nothing else needs them.

use super::document::{Placed, SecretRef};
use super::read::{Node, Notes};
use super::shape::{Field, Form, Shape, field};
use super::value::{self, Fault};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

static REDIS_URL: Form = Form {
    what: "\"redis://…\", \"rediss://…\", \"env:NAME\" or \"file:PATH\"",
    pattern: "^(rediss?://.+|(env|file):.+)$",
    check: |text| redis_url(text).map(drop),
};

static DEADLINE: Form = Form {
    what: "a duration from \"1ms\" to \"1s\"",
    pattern: "^[0-9]+(ms|s)$",
    check: |text| redis_deadline(text).map(drop),
};

/// What may stand in it.
pub(super) static FIELDS: &[Field] = &[
    field(
        "redis",
        Shape::Text(&REDIS_URL),
        "Where Redis is (version 5 or newer): redis://, rediss:// for TLS, or where such a URL is found. See docs/cluster.md.",
    ),
    field(
        "limits",
        Shape::Choice(&["exact", "leased", "local"]),
        "How limits are counted over nodes: Redis is asked for each request; or each node takes small batches in advance; or each \
         counts for itself. Default: exact, where there is a Redis.",
    ),
    field(
        "deadline",
        Shape::Text(&DEADLINE),
        "A request waits for Redis at most this long; then its node admits its share. Default: 20ms.",
    ),
    field(
        "nodes",
        Shape::Integer { least: 1, most: 10_000 },
        "How many nodes there are, for the share of each when Redis is lost. Default: as many as were seen last.",
    ),
];

/// `[cluster]`: what several nodes share.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct ClusterSettings {
    /// Where Redis is.
    pub redis: Option<Placed<RedisUrl>>,
    /// How limits are counted.
    pub limits: CountedBy,
    /// A request waits for Redis at most this long.
    pub deadline: Duration,
    /// How many nodes there are, for the share of each when Redis is lost. `None`: as many as were seen last.
    pub nodes: Option<u32>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            redis: None,
            limits: CountedBy::Exact,
            deadline: Duration::from_millis(20),
            nodes: None,
        }
    }
}

/// How the limits of several nodes are counted.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// Redis is asked for each request.
    Exact,
    /// Each node takes a small batch in advance.
    Leased,
    /// Each node counts all of each limit for itself.
    Local,
}

/// Where Redis is.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub enum RedisUrl {
    /// A `redis://` or `rediss://` URL, with its password.
    Url(String),
    /// Such a URL is found there.
    Secret(SecretRef),
}

impl fmt::Debug for RedisUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisUrl::Url(_) => f.write_str("redis://…"),
            RedisUrl::Secret(at) => write!(f, "{at}"),
        }
    }
}

/// Where Redis is.
pub(super) fn redis_url(text: &str) -> Result<RedisUrl, Fault> {
    if ["env:", "file:"].iter().any(|scheme| text.starts_with(scheme)) {
        return value::secret(text).map(RedisUrl::Secret);
    }
    let sound = ["redis://", "rediss://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
    });
    if sound {
        return Ok(RedisUrl::Url(text.to_owned()));
    }
    Err(value::fault("not the URL of a Redis", "write \"redis://host:6379\", or \"env:NAME\" of such a URL"))
}

/// How long a request waits for Redis.
pub(super) fn redis_deadline(text: &str) -> Result<Duration, Fault> {
    let deadline = value::timeout(text)?;
    if deadline > Duration::from_secs(1) {
        return Err(value::fault(
            "no request should wait for Redis for more than a second",
            "\"20ms\" is usual",
        ));
    }
    Ok(deadline)
}

/// Reads the table.
pub(super) fn read(node: &Node<'_, '_>, notes: &mut Notes) -> ClusterSettings {
    let base = ClusterSettings::default();
    let redis = node.placed("redis", redis_url);
    let limits = match node.text("limits") {
        Some("exact") => CountedBy::Exact,
        Some("leased") => CountedBy::Leased,
        Some(_) => CountedBy::Local,
        None if redis.is_some() => base.limits,
        None => CountedBy::Local,
    };
    if redis.is_none() && limits != CountedBy::Local {
        notes.error(
            node.place("limits"),
            "`cluster.limits` needs a Redis that the nodes share",
            "set `cluster.redis`, or `limits = \"local\"`",
        );
    }
    ClusterSettings {
        redis,
        limits,
        deadline: node.read("deadline", redis_deadline).unwrap_or(base.deadline),
        nodes: node.count("nodes").and_then(|nodes| u32::try_from(nodes).ok()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::settings::parse;

    fn wrong(text: &str) -> String {
        let findings = parse(&format!("[cluster]\n{text}\n"), "x.toml").err().unwrap();
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn what_is_said_is_read_and_the_rest_is_usual() {
        let (document, _) = parse("[cluster]\nredis = \"redis://:word@h:6379/2\"\n", "x.toml").unwrap();
        let cluster = document.cluster.unwrap();
        assert_eq!(
            (cluster.limits, cluster.deadline.as_millis(), cluster.nodes),
            (CountedBy::Exact, 20, None)
        );
        assert!(!format!("{cluster:?}").contains("word"), "{cluster:?}");
        let text = "[cluster]\nredis = \"env:R\"\nlimits = \"leased\"\ndeadline = \"1s\"\nnodes = 3\n";
        let cluster = parse(text, "x.toml").unwrap().0.cluster.unwrap();
        assert_eq!(cluster.redis.unwrap().value, RedisUrl::Secret(SecretRef::Env("R".into())));
        assert_eq!((cluster.limits, cluster.nodes), (CountedBy::Leased, Some(3)));
        assert!(parse("", "x.toml").unwrap().0.cluster.is_none());
        let alone = parse("[cluster]\nnodes = 3\n", "x.toml").unwrap().0.cluster.unwrap();
        assert_eq!(alone.limits, CountedBy::Local);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, word) in [
            ("redis = \"http://h\"", "not the URL of a Redis"),
            ("redis = \"redis://\"", "not the URL of a Redis"),
            ("redis = \"redis://h\"\ndeadline = \"2s\"", "more than a second"),
            ("redis = \"redis://h\"\ndeadline = \"0s\"", "longer than nothing"),
            ("limits = \"exact\"", "needs a Redis"),
            ("redis = \"redis://h\"\nlimits = \"exakt\"", "exact"),
            ("redis = \"redis://h\"\nnodes = 0", "nodes"),
            ("redes = \"redis://h\"", "redis"),
        ] {
            let told = wrong(text);
            assert!(told.contains(word) && told.contains("x.toml:"), "{text}: {told}");
        }
    }
}
