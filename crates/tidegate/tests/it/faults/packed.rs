//! Answers without an end, and bodies that unpack to far more than they are.

use std::time::Duration;

use fakes::plan::{Coding, Plan};

use super::{asked, judged, kib, told};
use crate::books;
use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};

const CALL: &str = "/v1/chat/completions";
/// What all of it together may add to the process: far below what is sent and what is packed.
const ROOM_KIB: u64 = 96 << 10;

fn setup() -> Setup {
    let provider = "timeouts = { first_byte = \"60s\", idle = \"60s\", total = \"3s\" }".to_owned();
    Setup { provider, more: books::priced_models(), ..Setup::default() }
}

/// Calls until the peak of memory is that of use and not of the first call.
async fn warm(stand: &Stand) -> u64 {
    for _ in 0..50 {
        assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    }
    kib(stand, "VmHWM")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_or_a_line_without_an_end_is_cut() {
    let stand = Stand::start(setup()).await;
    let before = warm(&stand).await;
    let huge = books::length("TIDEGATE_SOAK_LINE_MIB", 64, 1_024);
    let line = Plan { huge: huge << 10, ..Plan::default() };
    let mut ends = 0;
    for _ in 0..4 {
        let reply = stand.client().post(CALL, asked(&line, true)).await;
        assert!(reply.status >= 500 && reply.json()["error"]["message"].is_string(), "{}", reply.text());
        ends += 1;
    }
    // Read as fast as it comes, and hardly at all: neither is held in memory.
    let endless = Plan { endless: true, ..Plan::default() };
    let (client, slow) = (stand.client(), stand.client());
    let body = asked(&endless, true);
    let (fast, read_slowly) = (body.clone(), body);
    let fast = tokio::spawn(async move {
        let mut coming = client.open("POST", CALL, fast).await.unwrap();
        let (mut tail, mut bytes) = (Vec::new(), 0_u64);
        while let Some(piece) = coming.next().await {
            let piece = piece.expect("an orderly end");
            bytes += piece.len() as u64;
            tail.extend_from_slice(&piece);
            tail.drain(..tail.len().saturating_sub(4_096));
        }
        (bytes, String::from_utf8_lossy(&tail).into_owned())
    });
    let mut coming = slow.open("POST", CALL, read_slowly).await.unwrap();
    coming.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (bytes, tail) = tokio::time::timeout(PATIENCE, fast).await.expect("an end").unwrap();
    assert!(tail.contains(r#"{"error":"#) && !tail.contains("[DONE]"), "{tail}");
    drop(coming);
    let grown = kib(&stand, "VmHWM").saturating_sub(before);
    told(
        "upstream-endless",
        format!(
            "{ends} lines of {huge} MiB and 2 endless streams ({} MiB read of one) cut with an error, memory +{} MiB",
            bytes >> 20,
            grown >> 10
        ),
        format!("all, {} MiB", ROOM_KIB >> 10),
    );
    assert!(grown < ROOM_KIB, "memory grew by {grown} KiB");
    judged(stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_packed_is_never_unpacked() {
    let stand = Stand::start(setup()).await;
    let before = warm(&stand).await;
    let bomb = books::length("TIDEGATE_SOAK_BOMB_MIB", 1_024, 10_240);
    let mut refused = 0;
    for bomb_coding in [Coding::Gzip, Coding::GzipTwice, Coding::Br, Coding::Zstd] {
        // Gzip packs the least: more would be an answer that is too large in itself.
        let bomb = if matches!(bomb_coding, Coding::Br | Coding::Zstd) { bomb } else { bomb.min(4_096) };
        for (status, stream) in [(200, false), (200, true), (500, false), (500, true)] {
            let plan = Plan {
                bomb,
                bomb_coding,
                status,
                bills: false,
                body: Some(String::new()),
                ..Plan::default()
            };
            let reply = stand.client().post(CALL, asked(&plan, stream)).await;
            assert!(reply.status >= 500, "{bomb_coding:?} {status}: {}", reply.status);
            assert!(
                reply.json()["error"]["message"].is_string() && reply.body.len() < 4_096,
                "{bomb_coding:?}"
            );
            refused += 1;
        }
        let packed = stand.client().header("content-encoding", bomb_coding.as_str());
        let reply = packed.post(CALL, chat("fake/ok-t3", "")).await;
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_content_encoding"));
        refused += 1;
    }
    let grown = kib(&stand, "VmHWM").saturating_sub(before);
    told(
        "bombs",
        format!("{refused} of {refused} packed bodies of {bomb} MiB refused, memory +{} MiB", grown >> 10),
        format!("all, {} MiB", ROOM_KIB >> 10),
    );
    assert!(grown < ROOM_KIB, "memory grew by {grown} KiB");
    judged(stand).await;
}
