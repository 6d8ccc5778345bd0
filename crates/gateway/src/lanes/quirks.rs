//! Where the vendor of an attempt deviates from Chat Completions: its flags, and what is done about them in either lane.

use bytes::Bytes;
use policy::{Deployment, Quirk as Flag};
use providers::blocks::Keepsake;
use providers::dialects::{self, Dialect};
use providers::flow::Flow;
use providers::quirks::request::{Ask, edit};
use providers::quirks::stream::Cleaned;
use providers::quirks::{Quirk, Quirks, answer};
use providers::request::Operation;

use super::{Lane, issuer, refused, remember};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::relay::MAX_EVENT;

/// What deviates in a call that takes this lane; nothing where it is no call in Chat Completions.
fn of(deployment: &Deployment, lane: Lane, operation: Operation) -> Quirks {
    let provider = &deployment.provider;
    if provider.quirks.is_empty() || lane.spoken(operation) != Some(Dialect::Chat) {
        return Quirks::default();
    }
    provider.quirks_of(&deployment.upstream_model).filter_map(in_chat).collect()
}

/// The flags that concern bodies; the two others concern paths and headers.
fn in_chat(flag: Flag) -> Option<Quirk> {
    Some(match flag {
        Flag::DeploymentPaths | Flag::RatelimitsMayBeNegative => return None,
        Flag::MaxTokensOnly => Quirk::MaxTokensOnly,
        Flag::ToolStreamFlag => Quirk::ToolStreamFlag,
        Flag::ToolChoiceAutoOnly => Quirk::ToolChoiceAutoOnly,
        Flag::JsonObjectOnly => Quirk::JsonObjectOnly,
        Flag::NoPenalties => Quirk::NoPenalties,
        Flag::ThinkingObject => Quirk::ThinkingObject,
        Flag::EffortLowHighMax => Quirk::EffortLowHighMax,
        Flag::EnableThinkingFlag => Quirk::EnableThinkingFlag,
        Flag::NeedsReasoningReplay => Quirk::NeedsReasoningReplay,
        Flag::ReasoningInThinkTags => Quirk::ReasoningInThinkTags,
        Flag::FixedSampling => Quirk::FixedSampling,
        Flag::TemperatureUpToOne => Quirk::TemperatureUpToOne,
        Flag::PrefillPrefix => Quirk::PrefillPrefix,
        Flag::PrefillPartial => Quirk::PrefillPartial,
        Flag::NoContentLists => Quirk::NoContentLists,
        Flag::EmptyRoleDeltas => Quirk::EmptyRoleDeltas,
        Flag::ZeroUsageChunks => Quirk::ZeroUsageChunks,
    })
}

/// The body as the vendor takes it. What it cannot be told is noted in the exchange.
pub(super) fn edited(
    exchange: &mut Exchange,
    lane: Lane,
    deployment: &Deployment,
    body: Bytes,
) -> Result<Bytes, Box<Refusal>> {
    let quirks = of(deployment, lane, exchange.operation);
    if quirks.is_empty() {
        return Ok(body);
    }
    let parsed = exchange.parsed.clone().filter(|_| lane != Lane::Same);
    let (kept, key) = (&exchange.gateway.keepsakes, &exchange.caller.key.record.id);
    let thoughts = |call: &str| kept.find(key, call).and_then(|keepsake| keepsake.plain_thoughts());
    let ask = Ask {
        stream: exchange.asked.stream,
        thinking: parsed.as_deref().and_then(|request| request.thinking.as_ref()),
        thoughts: &thoughts,
    };
    let edited = edit(&body, quirks, &ask).map_err(|problem| refused(deployment, problem))?;
    exchange.dropped.retain(|name| !edited.kept.contains(&name.as_str()));
    for name in edited.dropped {
        if !exchange.dropped.contains(&name) {
            exchange.dropped.push(name);
        }
    }
    Ok(edited.body)
}

/// The flow with what must be put right before it.
pub(super) fn before(exchange: &Exchange, lane: Lane, deployment: &Deployment, flow: Flow) -> Flow {
    let quirks = of(deployment, lane, exchange.operation);
    if !quirks.touch_answers() && !quirks.has(Quirk::NeedsReasoningReplay) {
        return flow;
    }
    Flow::Cleaned(Box::new(Cleaned::new(quirks, issuer(deployment, Dialect::Chat), flow, MAX_EVENT)))
}

/// A whole answer with what must be put right; thoughts that the vendor wants back are remembered.
pub(super) fn whole(exchange: &Exchange, lane: Lane, deployment: &Deployment, body: Bytes) -> Bytes {
    let quirks = of(deployment, lane, exchange.operation);
    if quirks.has(Quirk::NeedsReasoningReplay)
        && let Ok(answer) = dialects::read_answer(Dialect::Chat, &body, &issuer(deployment, Dialect::Chat))
    {
        remember(exchange, Keepsake::with_plain_thoughts(&answer));
    }
    answer::clean(body, quirks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_somebodys_business() {
        let elsewhere: Vec<_> = Flag::ALL.into_iter().filter(|flag| in_chat(*flag).is_none()).collect();
        assert_eq!(elsewhere, [Flag::DeploymentPaths, Flag::RatelimitsMayBeNegative]);
        let all: Quirks = Flag::ALL.into_iter().filter_map(in_chat).collect();
        assert!(Flag::ALL.into_iter().filter_map(in_chat).all(|quirk| all.has(quirk)));
    }
}
