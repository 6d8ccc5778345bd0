//! Answers that come in pieces of any size, with letters and line ends cut in two.

use fakes::plan::{Newline, Plan};

use super::{judged, told};
use crate::books;
use crate::stand::{Setup, Stand};

const CALL: &str = "/v1/chat/completions";

/// What a client of each dialect reads, without what differs from answer to answer.
async fn read(stand: &Stand, dialect: usize, plan: &Plan) -> String {
    let fake = serde_json::to_string(plan).unwrap();
    let text = r#"[{"role":"user","content":"hello there"}]"#;
    let (path, body) = match dialect {
        0 => (CALL, format!(r#"{{"model":"fake/ok-t3","messages":{text},"stream":true,"fake":{fake}}}"#)),
        1 => {
            // A request of another dialect is written anew: the plan cannot travel in it.
            stand.upstream.set_plan(plan.clone());
            (
                "/v1/messages",
                format!(r#"{{"model":"fake/plain","max_tokens":99,"messages":{text},"stream":true}}"#),
            )
        }
        _ => {
            stand.upstream.set_plan(plan.clone());
            let text = r#"{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}"#;
            ("/v1beta/models/fake/plain:streamGenerateContent?alt=sse", text.to_owned())
        }
    };
    let coming = stand.client().open("POST", path, body).await.unwrap();
    let status = coming.status;
    let text = coming.rest().await.expect("a whole answer").replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(status, 200, "{text}");
    let ids = changing(&text);
    text.lines()
        .filter(|line| {
            !line.is_empty() && !line.starts_with(':') && !line.contains("\"ping\"") && *line != "event: ping"
        })
        .map(|line| format!("{}\n", replace_all(line, &ids)))
        .collect()
}

/// The values of ids and times in an answer.
fn changing(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["\"id\":\"", "\"responseId\":\"", "\"created\":"] {
        for (at, _) in text.match_indices(name) {
            let rest = &text[at + name.len()..];
            found.push(rest[..rest.find(['"', ',', '}']).unwrap_or(rest.len())].to_owned());
        }
    }
    found.sort_by_key(|value| std::cmp::Reverse(value.len()));
    found.dedup();
    found
}

fn replace_all(line: &str, values: &[String]) -> String {
    values
        .iter()
        .filter(|value| value.len() > 3)
        .fold(line.to_owned(), |line, value| line.replace(value, "#"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_pieces_of_any_size_is_the_same_answer() {
    let stand = Stand::start(Setup { more: books::priced_models(), ..Setup::default() }).await;
    let mut count = 0;
    let mut differing = 0;
    for dialect in 0..3 {
        for newline in [Newline::Lf, Newline::CrLf, Newline::Cr] {
            let plan = |split, ping| Plan { tokens: 12, utf8: true, newline, split, ping, ..Plan::default() };
            let whole = read(&stand, dialect, &plan(0, 0)).await;
            for split in [1, 2, 3, 5, 17] {
                for ping in [0, 3] {
                    let pieces = read(&stand, dialect, &plan(split, ping)).await;
                    count += 1;
                    differing += u32::from(pieces != whole);
                    assert_eq!(pieces, whole, "dialect {dialect}, {newline:?}, split {split}, ping {ping}");
                }
            }
        }
    }
    told(
        "upstream-pieces",
        format!("{differing} of {count} answers differ from the one that came whole"),
        "0",
    );
    judged(stand).await;
}
