//! Connections that do nothing cost little and slow nobody.

use fakes::load::Load;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::books;
use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};

/// A connection that has had an answer and rests.
async fn resting(stand: &Stand) -> TcpStream {
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    let body = chat("fake/nothing", "");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        stand.key,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer[..length]));
    stream
}

async fn p99(stand: &Stand, seconds: f64) -> u64 {
    let load = Load {
        url: format!("http://{}/v1", stand.address),
        key: stand.key.clone(),
        rate: Some(if books::soak() { 300.0 } else { 50.0 }),
        streams: 0.6,
        aborts: 0.1,
        seconds,
        models: vec!["fake/ok-d5".to_owned()],
        ..Load::default()
    };
    let report = fakes::load::run(load).await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    report.latency.p99
}

/// KiB in memory.
fn resident(stand: &Stand) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stand.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_rest_cost_little() {
    let provider = "models = [\"ok-d5\"]".to_owned();
    let mut stand = Stand::start(Setup { provider, ..Setup::default() }).await;
    let seconds = if books::soak() { 30.0 } else { 2.0 };
    // All that is made once is made now, also for as many requests as follow.
    for _ in 0..50 {
        drop(resting(&stand).await);
    }
    let before = p99(&stand, seconds).await;
    stand.wait_drained().await;
    let empty = resident(&stand);
    let count = books::length("TIDEGATE_SOAK_IDLE", 500, 15_000);
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(resting(&stand).await);
    }
    let full = resident(&stand);
    let each = full.saturating_sub(empty) as f64 / count as f64;
    let after = p99(&stand, seconds).await;
    eprintln!(
        "{count} connections that rest: {each:.1} KiB each (wanted 10); p99 of others {before} \u{b5}s without them, {after} \u{b5}s \
         with them ({:+.1} %, wanted +5)",
        (after as f64 / before as f64 - 1.0) * 100.0
    );
    // The pages of an allocator are not those of one connection alone.
    assert!(each <= 12.0, "{each} KiB");
    // They are served like any other.
    for stream in connections.iter_mut().step_by(50) {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 64];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(
            answer[..length].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..length])
        );
    }
}
