//! Guardrails: from what the settings say to what can look at a text.

use super::Work;
use crate::guardrails::{Action, Detector, Guardrail, Hook, Languages, Schema};
use crate::ids::Name;
use crate::nearest;
use crate::settings::{EnvironmentDocument, GuardrailDocument, Placed, base_url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a hook may take where nobody says.
const HOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// By name, in the order of their names.
pub(super) type Made = BTreeMap<Name, Arc<Guardrail>>;

pub(super) fn compile(work: &mut Work<'_>, described: &EnvironmentDocument) -> Made {
    let mut made = Made::new();
    for (name, said) in &described.guardrails {
        let Some(mut detector) = detector(work, name, said) else { continue };
        let action = said.action.unwrap_or_default();
        for (message, help) in impossible(name, said, &detector, action) {
            work.findings.error(said.at, message, Some(help.to_owned()));
        }
        if said.response
            && let Err(problem) = detector.begin()
        {
            work.findings.error(said.at, format!("guardrail `{name}`: {problem}"), None);
        }
        // The place in the file and the credential change nothing of what it decides.
        let fingerprint = super::digest(&(name, said), b"guardrail");
        let guardrail = Guardrail {
            name: name.clone(),
            action,
            request: said.request,
            response: said.response,
            fail_open: said.fail_open,
            window: said.window.and_then(|window| usize::try_from(window).ok()),
            fingerprint: fingerprint.into(),
            detector,
        };
        made.insert(name.clone(), Arc::new(guardrail));
    }
    made
}

/// What is said of a guardrail that cannot be together.
fn impossible(
    name: &Name,
    said: &GuardrailDocument,
    detector: &Detector,
    action: Action,
) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    if action == Action::Mask && !detector.has_places() {
        let what = match detector {
            Detector::Length(_) => "a length",
            Detector::Language(_) => "a language",
            _ => "what a schema says",
        };
        all.push((format!("guardrail `{name}`: {what} cannot be masked"), "use `action = \"block\"`"));
    }
    if matches!(detector, Detector::Schema(_)) && said.request {
        let message = format!("guardrail `{name}`: a schema is for answers alone");
        all.push((message, "leave `stage` out, or use `stage = \"response\"`"));
    }
    if !said.request && !said.response {
        all.push((format!("guardrail `{name}` never looks"), "use `stage = \"request\"`, or leave it out"));
    }
    all
}

/// What a kind takes of its own, and what it needs; the first is what a help names.
fn fields(kind: &str) -> (&'static [&'static str], Option<&'static str>) {
    match kind {
        "regex" => (&["pattern"], Some("pattern")),
        "words" => (&["words"], Some("words")),
        "max_length" => (&["max"], Some("max")),
        "language" => (&["languages"], Some("languages")),
        "json_schema" => (&["schema"], Some("schema")),
        "hook" => (&["url", "credential", "timeout"], Some("url")),
        _ => (&["entities"], None),
    }
}

fn detector(work: &mut Work<'_>, name: &Name, said: &GuardrailDocument) -> Option<Detector> {
    let kind = &*said.kind;
    let (takes, needs) = fields(kind);
    for (field, at) in &said.told {
        if !takes.contains(field) {
            let message = format!("guardrail `{name}`: `{field}` is not a field of kind \"{kind}\"");
            work.findings.error(*at, message, Some(format!("that kind takes `{}`", takes.join("`, `"))));
        }
    }
    if let Some(needs) = needs.filter(|needs| !said.told.iter().any(|(field, _)| field == needs)) {
        let message = format!("guardrail `{name}`: kind \"{kind}\" needs `{needs}`");
        work.findings.error(said.at, message, None);
        return None;
    }
    let at = said.told.iter().find(|(field, _)| takes.first() == Some(field)).map_or(said.at, |(_, at)| *at);
    let names: Vec<&str> = said.entities.iter().map(|entity| &*entity.value).collect();
    let plain = |problem| (at, problem, None);
    let made = match kind {
        "regex" => Detector::regex(&said.pattern).map_err(plain),
        "words" => Detector::words(said.words.iter().map(|word| &*word.value)).map_err(plain),
        "max_length" => Ok(Detector::Length(said.max)),
        "language" if said.languages.is_empty() => Err(plain("no language is allowed".to_owned())),
        "language" => {
            Ok(Detector::Language(Languages::of(said.languages.iter().map(|language| &*language.value))))
        }
        "json_schema" => {
            Schema::of(said.schema.as_deref().unwrap_or_default()).map(Detector::Schema).map_err(plain)
        }
        "hook" => hook(work, name, said).map_err(plain),
        _ => Detector::entities(kind == "pii", &names).map_err(|(which, help)| {
            let at = said.entities.get(which).map_or(at, |entity| entity.at);
            let given = names.get(which).copied().unwrap_or_default();
            (at, format!("there is no entity `{given}` of kind \"{kind}\""), Some(help))
        }),
    };
    match made {
        Ok(detector) => Some(detector),
        Err((at, problem, help)) => {
            work.findings.error(at, format!("guardrail `{name}`: {problem}"), help);
            None
        }
    }
}

fn hook(work: &mut Work<'_>, name: &Name, said: &GuardrailDocument) -> Result<Detector, String> {
    let (origin, path) = base_url(said.url.as_deref().unwrap_or_default())?;
    let mut credential = None;
    if let Some(reference) = &said.credential {
        match work.secret(&reference.value) {
            Ok(secret) if secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
                credential = Some(secret);
            }
            Ok(_) => return Err("its credential cannot be sent in a header".to_owned()),
            Err(why) => {
                let message = format!("the credential of guardrail `{name}`: {why}");
                work.no_secret(reference.at, message, None);
            }
        }
    }
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let timeout = said.timeout.unwrap_or(HOOK_TIMEOUT);
    let may_be_private = work.may_be_private;
    Ok(Detector::Hook(Box::new(Hook { origin, path, credential, timeout, may_be_private })))
}

/// The guardrails that a route names.
pub(super) fn named(
    work: &mut Work<'_>,
    described: &EnvironmentDocument,
    made: &Made,
    route: &Name,
    names: &[Placed<Name>],
) -> Box<[Arc<Guardrail>]> {
    let mut all = Vec::with_capacity(names.len());
    for Placed { value, at } in names {
        if let Some(guardrail) = made.get(value) {
            all.push(Arc::clone(guardrail));
        } else if !described.guardrails.contains_key(value) {
            let near = nearest::one(value, described.guardrails.keys().map(|name| &**name));
            let help = near.map_or_else(
                || format!("there is no `guardrails.{value}`"),
                |near| format!("did you mean `{near}`?"),
            );
            work.findings.error(*at, format!("route `{route}`: there is no guardrail `{value}`"), Some(help));
        }
    }
    all.into()
}
