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
            ("image_tokens", usage.image_input),
        ],
        json,
    );
    details(
        "completion_tokens_details",
        &[
            ("reasoning_tokens", usage.reasoning),
            ("audio_tokens", usage.audio_output),
            ("image_tokens", usage.image_output),
            ("accepted_prediction_tokens", usage.accepted_prediction),
            ("rejected_prediction_tokens", usage.rejected_prediction),
        ],
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::usage::Counts;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(parts in prop::collection::vec(prop::option::of(0..1_000_u64), 9)) {
            let usage = Usage {
                input: Some(5_000),
                output: Some(5_000),
                cached_input: parts[0],
                cache_write: parts[1],
                audio_input: parts[2],
                image_input: parts[3],
                reasoning: parts[4],
                audio_output: parts[5],
                image_output: parts[6],
                accepted_prediction: parts[7],
                rejected_prediction: parts[8],
                ..Usage::default()
            };
            let mut json = Json(Vec::new());
            json.open(b'{');
            write(&usage, &mut json);
            json.close(b'}');
            let text = json.0;
            let whole = crate::json::top_level(&text).unwrap();
            let mut counts = Counts::default();
            counts.merge(whole.value(&text, "usage").unwrap());
            prop_assert_eq!(counts.usage(), Some(usage));
        }
    }
}
