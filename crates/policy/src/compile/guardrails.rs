//! Guardrails: from what the settings say to what can look at a text.

use super::Work;
use crate::guardrails::{Action, Detector, Guardrail};
use crate::ids::Name;
use crate::nearest;
use crate::settings::{EnvironmentDocument, GuardrailDocument, Placed};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By name, in the order of their names.
pub(super) type Made = BTreeMap<Name, Arc<Guardrail>>;

pub(super) fn compile(work: &mut Work<'_>, described: &EnvironmentDocument) -> Made {
    let mut made = Made::new();
    for (name, said) in &described.guardrails {
        if let Some(detector) = detector(work, name, said) {
            if said.action == Action::Mask && !detector.has_places() {
                let message = format!("guardrail `{name}`: a length cannot be masked");
                work.findings.error(said.at, message, Some("use `action = \"block\"`".to_owned()));
            }
            let (action, fail_open) = (said.action, said.fail_open);
            made.insert(
                name.clone(),
                Arc::new(Guardrail { name: name.clone(), action, fail_open, detector }),
            );
        }
    }
    made
}

fn detector(work: &mut Work<'_>, name: &Name, said: &GuardrailDocument) -> Option<Detector> {
    let kind = &*said.kind;
    let wanted = match kind {
        "regex" => "pattern",
        "words" => "words",
        "max_length" => "max",
        _ => "entities",
    };
    for (field, at) in &said.told {
        if *field != wanted {
            let message = format!("guardrail `{name}`: `{field}` is not a field of kind \"{kind}\"");
            work.findings.error(*at, message, Some(format!("that kind takes `{wanted}`")));
        }
    }
    let missing = wanted != "entities" && !said.told.iter().any(|(field, _)| *field == wanted);
    if missing {
        let message = format!("guardrail `{name}`: kind \"{kind}\" needs `{wanted}`");
        work.findings.error(said.at, message, None);
        return None;
    }
    let at = said.told.iter().find(|(field, _)| *field == wanted).map_or(said.at, |(_, at)| *at);
    let names: Vec<&str> = said.entities.iter().map(|entity| &*entity.value).collect();
    let made = match kind {
        "regex" => Detector::regex(&said.pattern).map_err(|problem| (at, problem, None)),
        "words" => {
            let words = said.words.iter().map(|word| &*word.value);
            Detector::words(words).map_err(|problem| (at, problem, None))
        }
        "max_length" => Ok(Detector::Length(said.max)),
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
