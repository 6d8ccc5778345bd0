//! What each class of a provider's refusal becomes for the clients of each other dialect.
//!
//! Whose fault it is comes first: what is between the gateway and its provider (credential, account, rate) is told in the
//! gateway's own words, and only named here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use providers::dialects::{Dialect, retell};
use providers::failure::{Blame, classify};

use crate::golden::{check, lines};
use crate::pairs;

type Classes = BTreeMap<String, (u16, serde_json::Value)>;

#[test]
fn errors() {
    let inputs: BTreeMap<String, Classes> = serde_json::from_str(include_str!("inputs/errors.json")).unwrap();
    for (client, provider) in pairs() {
        let mut text = String::new();
        for (class, (status, body)) in &inputs[provider.name()] {
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let failure = classify(*status, &|_| None, body.as_bytes());
            let again = if failure.retryable { "elsewhere" } else { "not tried again" };
            writeln!(
                text,
                "## {class}\n{status}, {:?}, {again}, wait {:?}",
                failure.blame, failure.retry_after
            )
            .unwrap();
            match failure.blame {
                Blame::Credential | Blame::RateLimited => writeln!(text, "in our own words\n").unwrap(),
                _ => {
                    let (code, message) = (failure.code.as_deref(), failure.message.as_deref());
                    let (status, body) = retell(
                        client,
                        *status,
                        code.unwrap_or("upstream_error"),
                        message.unwrap_or("it failed"),
                        "0abc",
                    );
                    writeln!(text, "{status} {}\n", lines(&String::from_utf8(body).unwrap())).unwrap();
                }
            }
        }
        check(client, provider, "errors", &text);
    }
}

/// A class that a client's SDK tells by status keeps it.
#[test]
fn the_status_of_a_clients_own_fault_is_kept() {
    for client in Dialect::ALL {
        for status in [400, 404, 413, 422] {
            assert_eq!(retell(client, status, "c", "m", "").0, status, "{client:?}");
        }
    }
}
