//! Providers that hang, fall silent, break off, answer with something else, or count badly.

use std::time::{Duration, Instant};

use fakes::plan::{Fault, Plan, UsageQuirk};
use fakes::upstream::Accept;

use super::{asked, eight_at_once, judged, told, with_fallback, worst};
use crate::books;
use crate::client::{Client, chat};
use crate::stand::{Setup, Stand};

const CALL: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_accepts_and_hangs_is_left_at_the_deadline() {
    let limit = Duration::from_millis(books::length("TIDEGATE_SOAK_FIRST_BYTE_MS", 700, 5_000));
    let timeouts = format!("connect = \"5s\", first_byte = \"{}ms\"", limit.as_millis());
    let deaf = fakes::upstream::Upstream::start(fakes::upstream::Script {
        accept: Accept::Hang,
        ..fakes::upstream::Script::default()
    });
    let deaf = deaf.await.unwrap();
    let more = format!(
        "{}[providers.deaf]\ndialect = \"openai\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
         [routes.deaf]\ntargets = [\"deaf/m\"]\nfallbacks = [\"fake/ok-t3\"]\ntimeouts = {{ {timeouts} }}\n\
         [routes.mute]\ntargets = [\"fake/ok-hang\"]\nfallbacks = [\"fake/ok-t3\"]\ntimeouts = {{ {timeouts} }}\n",
        books::priced_models(),
        deaf.base_url()
    );
    let stand = Stand::start(Setup { more, ..Setup::default() }).await;
    let calls = ["deaf", "mute"].into_iter().flat_map(|route| [(route, ""), (route, r#","stream":true"#)]);
    let client = stand.client();
    let late = eight_at_once(calls.collect(), move |(route, flag)| {
        let client = client.clone();
        async move {
            let since = Instant::now();
            let reply = client.post(CALL, chat(route, flag)).await;
            let took = since.elapsed();
            assert_eq!(
                (reply.status, reply.header("x-tidegate-attempts")),
                (200, Some("2")),
                "{}",
                reply.text()
            );
            assert!(took >= limit, "{route} was given up after {took:?}");
            took - limit
        }
    })
    .await;
    told(
        "upstream-hangs",
        format!(
            "{0} of {0} answered by the fallback, at most {1:.2?} after the deadline of {limit:?}",
            late.len(),
            worst(&late)
        ),
        "all, 1 s",
    );
    judged(stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_in_the_middle_ends_with_an_error_event_and_before_it_with_another_provider() {
    let limit = Duration::from_millis(books::length("TIDEGATE_SOAK_IDLE_MS", 700, 5_000));
    let (ms, routes) = (limit.as_millis(), ["ok-silent0", "ok-t8-silent1", "ok-t8-silent5"]);
    let timeouts = format!("first_byte = \"{ms}ms\", idle = \"{ms}ms\"");
    let stand = with_fallback(&routes, &timeouts).await;
    let mut late = Vec::new();
    for route in routes {
        let since = Instant::now();
        let coming = stand.client().stream(route).await;
        let (status, attempts) = (coming.status, coming.headers["x-tidegate-attempts"].clone());
        let text = coming.rest().await.expect("an orderly end");
        late.push(since.elapsed().saturating_sub(limit));
        assert_eq!(status, 200, "{text}");
        if route == "ok-silent0" {
            assert!(attempts == "2" && text.ends_with("data: [DONE]\n\n"), "{attempts:?} {text}");
        } else {
            assert!(attempts == "1" && ends_in_error(&text) && text.contains("upstream_timeout"), "{text}");
        }
    }
    told(
        "upstream-silent",
        format!(
            "{} streams, each with its one right end, at most {:.2?} after the deadline of {limit:?}",
            late.len(),
            worst(&late)
        ),
        "all, 1 s",
    );
    judged(stand).await;
}

/// One error event at the very end, and no clean end.
fn ends_in_error(text: &str) -> bool {
    let errors = text.split("\n\n").filter(|event| event.contains(r#"{"error":"#)).count();
    let last = text.trim_end().rsplit("\n\n").next().and_then(|event| event.strip_prefix("data: "));
    let last = last.and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let error = last.is_some_and(|last| last["error"]["message"].is_string());
    error && errors == 1 && text.ends_with("\n\n") && !text.contains("[DONE]")
}

/// What a client gets where its answer is cut: refused, an error event, or the whole.
async fn cut(client: Client, plan: Plan) -> [u64; 3] {
    let coming = client.open("POST", CALL, asked(&plan, true)).await.unwrap();
    let status = coming.status;
    let text =
        coming.rest().await.unwrap_or_else(|(text, error)| panic!("{:?}: {error}: {text}", plan.fault));
    match status {
        200 if text.ends_with("data: [DONE]\n\n") && !text.contains(r#"{"error":"#) => [0, 0, 1],
        200 if ends_in_error(&text) => [0, 1, 0],
        502 if serde_json::from_str::<serde_json::Value>(&text).is_ok() => [1, 0, 0],
        _ => panic!("{:?}: {status} {text}", plan.fault),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_at_any_place_has_one_error_event_and_no_clean_end() {
    let stand = Stand::start(Setup { more: books::priced_models(), ..Setup::default() }).await;
    let plan = |fault| Plan { tokens: 6, fault, ..Plan::default() };
    assert_eq!(cut(stand.client(), plan(None)).await, [0, 0, 1]);
    let seen = stand.upstream.journal().last().unwrap().end.unwrap();
    let step = usize::try_from(books::length("TIDEGATE_SOAK_OFFSET_STEP", 17, 1)).unwrap();
    let mut plans: Vec<_> = (0..=seen.events).flat_map(|at| [Fault::Reset(at), Fault::Close(at)]).collect();
    plans.extend(
        (0..seen.bytes_out).step_by(step).flat_map(|at| [Fault::ResetAtByte(at), Fault::CloseAtByte(at)]),
    );
    let (count, client) = (plans.len() as u64, stand.client());
    let all = eight_at_once(plans, move |fault| cut(client.clone(), plan(Some(fault)))).await;
    let [refused, errors, whole] =
        all.into_iter().fold([0; 3], |sum, one| [0, 1, 2].map(|at| sum[at] + one[at]));
    assert!(refused > 0 && errors > count / 2, "{refused} {errors} {whole}");
    let verdict = judged(stand).await;
    told(
        "upstream-cut",
        format!(
            "{count} cuts: {refused} refused before the first event, {errors} one error event, {whole} whole, 0 clean ends made up; \
             {} of {} entries wrong",
            verdict.violations_total, verdict.entries
        ),
        "0, 0",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_answered_by_another_and_never_billed() {
    let routes = ["ok-html", "ok-garbage", "ok-errjson", "ok-empty"];
    let mut stand = with_fallback(&routes, "").await;
    for route in routes {
        for flag in ["", r#","stream":true"#] {
            let reply = stand.client().post(CALL, chat(route, flag)).await;
            assert_eq!(
                (reply.status, reply.header("x-tidegate-model")),
                (200, Some("fake/ok-t3")),
                "{route}: {}",
                reply.text()
            );
        }
    }
    // Within a stream of the right type, before anything that is an answer.
    let odd =
        ["<!doctype html><p>no\n\n", "data: {not json\n\n", "data: {\"error\":{\"message\":\"no\"}}\n\n"];
    for event in odd {
        let plan = Plan { events: Some(vec![event.to_owned()]), bills: false, ..Plan::default() };
        let reply = stand.client().post(CALL, asked(&plan, true)).await;
        assert!(
            reply.status >= 500 && reply.json()["error"]["message"].is_string(),
            "{event}: {}",
            reply.text()
        );
    }
    stand.wait_drained().await;
    let tables = books::sqlite(&stand.data_dir).await;
    let bad = |entry: &&fakes::oracle::Entry| entry.outcome != "completed";
    let billed = tables
        .entries
        .iter()
        .filter(bad)
        .filter(|entry| entry.charge.as_ref().is_some_and(|(nano, _)| *nano != 0));
    let (billed, bad) = (billed.count(), tables.entries.iter().filter(bad).count());
    assert_eq!((billed, bad), (0, 2 * routes.len() + odd.len()));
    judged(stand).await;
    told(
        "upstream-garbage",
        format!(
            "{0} of {0} answered by the fallback, {billed} of {bad} attempts without an answer billed",
            2 * routes.len()
        ),
        "all, 0",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_that_is_missing_or_contradicts_itself_is_flagged() {
    use UsageQuirk::{Always, Contradictory, EveryChunk, Missing, Normal, Null, OnChoices, Twice};
    let mut stand = Stand::start(Setup { more: books::priced_models(), ..Setup::default() }).await;
    let cases = [Normal, Always, OnChoices, EveryChunk, Twice, Missing, Null, Contradictory];
    for usage in cases {
        for stream in [false, true] {
            let reply = stand.client().post(CALL, asked(&Plan { usage, ..Plan::default() }, stream)).await;
            assert_eq!(reply.status, 200, "{usage:?}: {}", reply.text());
        }
    }
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["logs", "--json", "--limit", "100"]);
    let mut lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    lines.sort_by_key(|line| line["request_id"].as_str().unwrap().to_owned());
    let flagged: Vec<_> = lines.iter().map(|line| line["estimated"].as_bool().unwrap()).collect();
    let contradicts = |usage, stream| usage == Contradictory && stream;
    let wanted: Vec<_> = cases
        .into_iter()
        .flat_map(|usage| {
            [false, true].map(|stream| matches!(usage, Missing | Null) || contradicts(usage, stream))
        })
        .collect();
    assert_eq!(flagged, wanted, "{out}");
    let flags = flagged.iter().filter(|flag| **flag).count();
    let verdict = judged(stand).await;
    told(
        "usage-odd",
        format!(
            "{flags} of {flags} odd answers flagged as estimated, {} of {} charges wrong",
            verdict.violations_total, verdict.entries
        ),
        "all, 0",
    );
}
