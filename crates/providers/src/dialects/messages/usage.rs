//! Counts. This dialect tells input without what the cache gave or took; the form's `input` is the sum of the three.

use super::json::{Object, Out};
use crate::Usage;

/// Counts as the provider tells them, the last of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
    hour: Option<u64>,
    searches: Option<u64>,
}

impl Counts {
    /// Takes a `usage` object; what it does not tell keeps its value. Gives the `service_tier`.
    pub(super) fn merge(&mut self, json: &str) -> Option<String> {
        let mut usage = Object::read(json)?;
        let mut set = |slot: &mut Option<u64>, name: &str| {
            let told = usage.take(name).and_then(|value| count(value.get()));
            *slot = told.or(*slot);
        };
        set(&mut self.input, "input_tokens");
        set(&mut self.cache_read, "cache_read_input_tokens");
        set(&mut self.cache_write, "cache_creation_input_tokens");
        set(&mut self.output, "output_tokens");
        let mut within = |slot: &mut Option<u64>, object: &str, name: &str| {
            let told = usage.take(object).and_then(|object| Object::read(object.get()));
            let told = told.and_then(|mut object| object.take(name)).and_then(|value| count(value.get()));
            *slot = told.or(*slot);
        };
        within(&mut self.thinking, "output_tokens_details", "thinking_tokens");
        within(&mut self.hour, "cache_creation", "ephemeral_1h_input_tokens");
        within(&mut self.searches, "server_tool_use", "web_search_requests");
        usage.loose_text("service_tier")
    }

    /// In the gateway's terms; `None` while nothing is known.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let beside = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        Some(Usage {
            input: self.input.map(|input| input.saturating_add(beside)),
            cached_input: self.cache_read,
            cache_write: self.cache_write,
            output: self.output,
            reasoning: self.thinking,
            cache_write_hour: self.hour,
            searches: self.searches,
            ..Usage::default()
        })
    }
}

/// A count, also where a server writes `12.0`.
fn count(json: &str) -> Option<u64> {
    json.strip_suffix(".0").unwrap_or(json).parse().ok()
}

/// Writes `usage`. Where the client's type wants a number, an unknown count is 0 and anything else unknown is left out.
/// `whole`: with what only the first and the whole message tell.
pub(super) fn write(usage: Option<&Usage>, tier: Option<&str>, whole: bool, out: &mut Out<'_>) {
    let usage = usage.copied().unwrap_or_default();
    let beside = usage.cached_input.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    let input = usage.input.map(|input| input.saturating_sub(beside));
    let mut counts = Out::object(out.key("usage"));
    if whole || input.is_some() {
        counts.number("input_tokens", input.unwrap_or(0));
    }
    for (name, count) in
        [("cache_creation_input_tokens", usage.cache_write), ("cache_read_input_tokens", usage.cached_input)]
    {
        if let Some(count) = count {
            counts.number(name, count);
        }
    }
    if let Some((written, hour)) = usage.cache_write.zip(usage.cache_write_hour) {
        let mut kept = Out::object(counts.key("cache_creation"));
        kept.number("ephemeral_5m_input_tokens", written.saturating_sub(hour));
        kept.number("ephemeral_1h_input_tokens", hour);
        kept.end();
    }
    counts.number("output_tokens", usage.output.unwrap_or(0));
    if let Some(searches) = usage.searches {
        let mut tools = Out::object(counts.key("server_tool_use"));
        tools.number("web_search_requests", searches);
        // The client's type wants it.
        tools.number("web_fetch_requests", 0);
        tools.end();
    }
    if let Some(thinking) = usage.reasoning {
        let mut details = Out::object(counts.key("output_tokens_details"));
        details.number("thinking_tokens", thinking);
        details.end();
    }
    let tier = tier.and_then(|tier| match tier {
        "standard" | "default" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    });
    if let Some(tier) = tier.filter(|_| whole) {
        counts.text("service_tier", tier);
    }
    counts.end();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(parts in prop::collection::vec(prop::option::of(0..1_000_u64), 4), hour in any::<bool>()) {
            let usage = Usage {
                input: Some(5_000),
                output: Some(5_000),
                cached_input: parts[0],
                cache_write: parts[1],
                cache_write_hour: parts[1].filter(|_| hour).map(|written| written / 2),
                reasoning: parts[2],
                searches: parts[3],
                ..Usage::default()
            };
            let mut out = Vec::new();
            let mut whole = Out::object(&mut out);
            write(Some(&usage), None, true, &mut whole);
            whole.end();
            let mut whole = Object::read(std::str::from_utf8(&out).unwrap()).unwrap();
            let mut counts = Counts::default();
            counts.merge(whole.take("usage").unwrap().get());
            prop_assert_eq!(counts.usage(), Some(usage));
        }
    }
}
