//! The gateway that runs on this data folder, if one does: what it says about itself.

use super::super::keys::text;
use super::Check;
use crate::client::Control;
use crate::located::{Place, socket_in};
use serde_json::Value;
use std::path::Path;

/// Records that wait this long in numbers are a sign that the database does not take them.
const MANY: u64 = 10_000;

/// What was found.
pub(super) struct Running {
    pub(super) checks: Vec<Check>,
    pub(super) answers: bool,
}

pub(super) async fn look(place: &Place, data_dir: &Path) -> Running {
    let socket = socket_in(data_dir);
    let nobody = |message: String| {
        let help = "start one with `tidegate serve`";
        Running { checks: vec![Check::remark("gateway", message, help)], answers: false }
    };
    if !socket.exists() {
        return nobody("none runs with this data folder".to_owned());
    }
    let place = Place { data_dir: Some(data_dir.to_owned()), ..place.clone() };
    let asked = match Control::of(&place) {
        Ok(control) => control.get("/api/status", &[]).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(status) => Running { checks: judge(&status), answers: true },
        Err(_) => nobody(format!("{} is there, but nobody answers", socket.display())),
    }
}

/// What a status means.
fn judge(status: &Value) -> Vec<Check> {
    vec![
        judge_service(status),
        judge_accepted(status),
        judge_store(&status["store"]),
        judge_spool(&status["spool"]),
    ]
}

fn judge_service(status: &Value) -> Check {
    let (version, listen) = (text(&status["version"]), text(&status["listen"]));
    if status["ready"] == true {
        return Check::fine("gateway", format!("{version} serves on {listen}"));
    }
    let why = if status["draining"] == true { "it is stopping" } else { "it has no release to serve yet" };
    Check::wrong("gateway", format!("{version} on {listen} does not serve: {why}"), "look at its log")
}

fn judge_accepted(status: &Value) -> Check {
    let settings = &status["settings"];
    let findings = settings["findings"].as_array().into_iter().flatten().map(|finding| {
        // Findings have lines of their own; they keep them.
        finding.as_str().unwrap_or_default().to_owned()
    });
    if settings["accepted"] == false {
        let told: Vec<String> =
            std::iter::once("the newest settings were refused; the old ones serve:".to_owned())
                .chain(findings)
                .collect();
        return Check::wrong(
            "running settings",
            told.join("\n"),
            "mend the file; it is read again by itself",
        );
    }
    let waiting: Vec<String> =
        settings["restart_needed"].as_array().into_iter().flatten().map(text).collect();
    if !waiting.is_empty() {
        let told = format!("changed, but not in force: {}", waiting.join(", "));
        return Check::remark("running settings", told, "restart the gateway when it suits");
    }
    let environments = status["environments"].as_array().into_iter().flatten();
    let told: Vec<String> =
        environments.map(|e| format!("{} runs release {}", text(&e["name"]), e["release"])).collect();
    Check::fine("running settings", told.join(", "))
}

fn judge_store(store: &Value) -> Check {
    let kind = text(&store["kind"]);
    match store["error"].as_str() {
        None if store["connected"] == true => Check::fine("database", format!("{kind} answers the gateway")),
        reason => {
            let told =
                format!("{kind} does not answer the gateway: {}", reason.unwrap_or("no reason is known"));
            let help = "model calls go on and records wait in the spool; bring the database back";
            Check::wrong("database", told, help)
        }
    }
}

fn judge_spool(spool: &Value) -> Check {
    let (records, backlog) = (spool["records"].as_u64().unwrap_or(0), spool["backlog"].as_u64().unwrap_or(0));
    let why = spool["last_error"].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
    if spool["writable"] == false {
        let told = format!("cannot be written{why}; {backlog} records wait in memory");
        return Check::wrong("spool", told, "look at the disk: room, rights, health");
    }
    if records > MANY {
        let told = format!("{records} records wait for the database{why}");
        return Check::remark("spool", told, "nothing is lost; look at the database");
    }
    Check::fine("spool", format!("{records} records wait for the database"))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refused_file_is_wrong_and_says_why() {
        let status = json!({ "settings": { "accepted": false, "findings": ["x.toml:3:1: error: unknown field `limts`"] } });
        let check = judge_accepted(&status);
        assert_eq!(check.verdict, Verdict::Wrong);
        assert!(check.message.contains("limts"));
    }

    #[test]
    fn a_spool_that_cannot_be_written_is_wrong() {
        let spool = json!({ "writable": false, "records": 0, "backlog": 4, "last_error": "no space left" });
        let check = judge_spool(&spool);
        assert_eq!(check.verdict, Verdict::Wrong);
        assert!(check.message.contains("no space left"));
        assert_eq!(judge_spool(&json!({ "writable": true, "records": 3 })).verdict, Verdict::Fine);
    }
}
