//! Usage as Chat tells it: only what is known, but for the three numbers that every client's type demands.

use super::json::Json;
use crate::Usage;

/// `"usage":{…}`.
pub(super) fn write(usage: &Usage, json: &mut Json) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    json.object("usage");
    json.number("prompt_tokens", input);
    json.number("completion_tokens", output);
    json.number("total_tokens", input.saturating_add(output));
    details(
        "prompt_tokens_details",
        &[
            ("cached_tokens", usage.cached_input),
            ("cache_write_tokens", usage.cache_write),
            ("audio_tokens", usage.audio_input),
        ],
        json,
    );
    details(
        "completion_tokens_details",
        &[("reasoning_tokens", usage.reasoning), ("audio_tokens", usage.audio_output)],
        json,
    );
    json.close(b'}');
}

fn details(name: &str, counts: &[(&str, Option<u64>)], json: &mut Json) {
    if counts.iter().all(|(_, count)| count.is_none()) {
        return;
    }
    json.object(name);
    for (name, count) in counts {
        json.number_if(name, *count);
    }
    json.close(b'}');
}
