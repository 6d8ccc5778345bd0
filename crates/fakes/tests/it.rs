//! The tools against one another over real sockets: what the upstream does is what the journal says and a client sees.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use fakes::journal::{Dispatch, Tokens};
use fakes::load::{self, Load, Report};
use fakes::plan::{Fault, Plan};
use fakes::proxy::Proxy;
use fakes::upstream::{Accept, Certificate, Script, Upstream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

async fn start() -> Upstream {
    Upstream::start(Script::default()).await.unwrap()
}

fn request(addr: SocketAddr, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\nx-request-id: 0198-a.2\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// The raw answer, and whether the connection was reset.
async fn raw(addr: SocketAddr, body: &serde_json::Value) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request(addr, &body.to_string()).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await;
    (answer, ended.is_err())
}

async fn text(addr: SocketAddr, body: &serde_json::Value) -> String {
    String::from_utf8(raw(addr, body).await.0).unwrap()
}

/// The one dispatch that has ended.
async fn only(upstream: &Upstream) -> Dispatch {
    let all = upstream.journal().quiet(PATIENCE).await.unwrap();
    assert_eq!(all.len(), 1);
    all.into_iter().next().unwrap()
}

fn stream(model: &str) -> serde_json::Value {
    json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}]})
}

async fn run(upstream_or_proxy: SocketAddr, load: Load) -> Report {
    load::run(Load { url: format!("http://{upstream_or_proxy}/v1"), ..load }).await.unwrap()
}

#[tokio::test]
async fn the_journal_tells_request_and_answer() {
    let upstream = start().await;
    let body = json!({"model": "ok-t3-i9", "messages": [], "odd": 1.0});
    let answer = text(upstream.addr(), &body).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"completion_tokens\":3"),
        "{answer}"
    );
    let dispatch = only(&upstream).await;
    assert_eq!((dispatch.request_id.as_deref(), dispatch.attempt), (Some("0198-a"), 2));
    assert_eq!(dispatch.raw, body.to_string());
    assert_eq!(dispatch.problems, Vec::<String>::new());
    let end = dispatch.end.unwrap();
    assert_eq!(end.truth, Tokens { input: 9, output: 3, ..Tokens::default() });
    assert_eq!((end.told, end.complete, end.status), (Some(end.truth), true, 200));
    assert_eq!(end.bytes_out, answer.len() as u64);
}

#[tokio::test]
async fn faults_strike_at_their_event() {
    for (model, reset, events) in [
        ("ok-t9-rst3", true, 3),
        ("ok-t9-close3", false, 3),
        ("ok-t9-rst0", true, 0),
        ("ok-t9-close9", false, 9),
    ] {
        let upstream = start().await;
        let (answer, was_reset) = raw(upstream.addr(), &stream(model)).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!((was_reset, answer.matches("data: ").count()), (reset, events), "{model}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"));
        let end = only(&upstream).await.end.unwrap();
        assert_eq!(
            (end.events, end.truth.output, end.complete),
            (events as u64, events as u64, false),
            "{model}"
        );
        assert_eq!(end.aborted, None);
    }
    let upstream = start().await;
    let (answer, reset) = raw(upstream.addr(), &stream("ok-rst")).await;
    assert!(answer.is_empty() && reset);
    let (answer, _) = raw(upstream.addr(), &stream("ok-closeb10")).await;
    assert!(answer.ends_with(b"\r\n\r\na\r\ndata: {\"id\r\n"), "{}", String::from_utf8_lossy(&answer));
    let answer = text(upstream.addr(), &stream("ok-t9-err2")).await;
    assert_eq!(answer.matches("data: ").count(), 3);
    assert!(answer.contains("data: {\"error\":") && answer.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn statuses_and_other_bodies() {
    let upstream = start().await;
    for status in [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529] {
        let answer = text(upstream.addr(), &stream(&format!("ok-s{status}-ra2"))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("retry-after: 2\r\n") && answer.contains("{\"error\":{"));
    }
    assert!(
        upstream
            .journal()
            .all()
            .iter()
            .all(|dispatch| dispatch.end.as_ref().unwrap().truth == Tokens::default())
    );
    assert!(text(upstream.addr(), &stream("ok-html")).await.contains("content-type: text/html"));
    assert!(
        text(upstream.addr(), &stream("ok-badtype")).await.contains("content-type: application/octet-stream")
    );
    assert!(text(upstream.addr(), &stream("ok-empty")).await.ends_with("content-length: 0\r\n\r\n"));
    let verbatim = json!({"fake": {"body": "{\"n\": 1.0, \"big\": 1e400}"}, "model": "x"});
    assert!(text(upstream.addr(), &verbatim).await.ends_with("\r\n\r\n{\"n\": 1.0, \"big\": 1e400}"));
    let unknown = text(upstream.addr(), &stream("ok-nonsense")).await;
    assert!(unknown.starts_with("HTTP/1.1 400 ") && unknown.contains("nonsense"), "{unknown}");
}

#[tokio::test]
async fn streams_in_every_shape_read_the_same() {
    let upstream = start().await;
    let shapes =
        ["split1", "crlf", "cr", "crlf-split1", "ping2", "utf8-split1", "utf8-crlf-split3", "uevery-ping1"];
    for shape in shapes {
        let models = vec![format!("ok-echo-{shape}")];
        let load =
            Load { streams: 1.0, count: Some(3), expect_echo: true, models, workers: 1, ..Load::default() };
        let report = run(upstream.addr(), load).await;
        assert_eq!(report.class("stream_ok"), 3, "{shape}: {:?}", report.classes);
    }
    let pieces = raw(upstream.addr(), &stream("ok-t1-split1")).await.0;
    assert!(String::from_utf8_lossy(&pieces).contains("1\r\nd\r\n1\r\na\r\n1\r\nt\r\n"));
}

#[tokio::test]
async fn an_abort_is_seen_when_it_happens() {
    for (model, billed) in [("ok-t1000-d20", 1..200), ("ok-t1000-d20-late", 1000..1001), ("ok-hang", 0..1)] {
        let upstream = start().await;
        let mut client = TcpStream::connect(upstream.addr()).await.unwrap();
        let body = stream(model).to_string();
        client.write_all(request(upstream.addr(), &body).as_bytes()).await.unwrap();
        if model != "ok-hang" {
            let mut some = [0; 400];
            client.read_exact(&mut some).await.unwrap();
        }
        upstream.journal().wait(PATIENCE, |all| all.len() == 1).await.unwrap();
        let closed = fakes::random::micros();
        drop(client);
        let end = only(&upstream).await.end.unwrap();
        let abort = end.aborted.unwrap();
        assert!(abort.at >= closed && !end.complete);
        assert!(billed.contains(&end.truth.output), "{model}: {end:?}");
    }
}

#[tokio::test]
async fn the_queue_comes_before_the_plan() {
    let upstream = start().await;
    upstream.enqueue([
        Plan { status: 503, ..Plan::default() },
        Plan { fault: Some(Fault::Close(0)), ..Plan::default() },
    ]);
    upstream.set_plan(Plan { status: 429, ..Plan::default() });
    let ask = json!({"model": "tiny"});
    assert!(text(upstream.addr(), &ask).await.starts_with("HTTP/1.1 503"));
    assert!(text(upstream.addr(), &ask).await.ends_with("\r\n\r\n"));
    assert!(text(upstream.addr(), &ask).await.starts_with("HTTP/1.1 429"));
    upstream.set_accept(Accept::Reset);
    let refused = TcpStream::connect(upstream.addr()).await;
    let read = match refused {
        Ok(mut stream) => stream.read(&mut [0; 1]).await,
        Err(error) => Err(error),
    };
    assert!(read.is_err());
}

#[tokio::test]
async fn a_certificate_is_shown() {
    for kind in [Certificate::Good, Certificate::Expired, Certificate::OtherName] {
        let upstream = Upstream::start(Script { tls: Some(kind), ..Script::default() }).await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let pem = upstream.authority().unwrap().as_bytes();
        use rustls::pki_types::pem::PemObject;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = TcpStream::connect(upstream.addr()).await.unwrap();
        let connected = connector.connect("localhost".try_into().unwrap(), stream).await;
        assert_eq!(connected.is_ok(), kind == Certificate::Good, "{kind:?}");
        if let Ok(mut stream) = connected {
            stream.write_all(request(upstream.addr(), "{\"model\":\"ok\"}").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The upstream closes without a closing alert.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

#[tokio::test]
async fn load_counts_what_happens() {
    let upstream = start().await;
    let load = Load {
        rate: Some(200.0),
        count: Some(200),
        streams: 0.6,
        embeddings: 0.1,
        aborts: 0.2,
        seed: 7,
        models: vec!["ok-t20-d2".to_owned()],
        embedding_models: vec!["ok".to_owned()],
        ..Load::default()
    };
    let report = run(upstream.addr(), load).await;
    assert_eq!((report.sent, report.skipped, report.failed()), (200, 0, 0), "{:?}", report.classes);
    assert!(report.class("stream_ok") > 80 && report.class("ok") > 40 && report.class("aborted") > 15);
    let all = upstream.journal().quiet(PATIENCE).await.unwrap();
    assert_eq!(all.len(), 200);
    let aborted =
        all.iter().filter(|dispatch| dispatch.end.as_ref().unwrap().aborted.is_some()).count() as u64;
    assert!(aborted > 15 && aborted <= report.class("aborted"), "{aborted}");
    let told =
        report.seen.iter().filter_map(|seen| seen.usage).all(|usage| usage.output == 20 || usage.output == 0);
    assert!(told);
    let load =
        Load { models: vec!["ok-t9-close3".to_owned()], streams: 1.0, count: Some(5), ..Load::default() };
    assert_eq!(run(upstream.addr(), load).await.class("truncated"), 5);
    let load = Load { models: vec!["ok-s429".to_owned()], count: Some(5), ..Load::default() };
    assert_eq!(run(upstream.addr(), load).await.class("status_429"), 5);
}

#[tokio::test]
async fn the_proxy_goes_wrong_as_told() {
    let upstream = start().await;
    let proxy = Proxy::start(upstream.addr(), 1).await.unwrap();
    let one = |model: &str, timeout: f64| Load {
        models: vec![model.to_owned()],
        streams: 1.0,
        count: Some(1),
        new_connections: 1.0,
        timeout,
        ..Load::default()
    };
    let class =
        async |model: &str| run(proxy.addr(), one(model, 20.0)).await.classes.into_keys().next().unwrap();
    assert_eq!(class("ok").await, "stream_ok");
    proxy.set(|setting| (setting.up.slice, setting.down.slice, setting.down.latency) = (1, 1, 5));
    assert_eq!(class("ok-utf8").await, "stream_ok");
    proxy.heal();
    proxy.set(|setting| setting.down.rst_after = Some(400));
    assert_eq!(class("ok").await, "truncated");
    proxy.heal();
    proxy.set(|setting| setting.down.half_close = Some(400));
    assert_eq!(class("ok").await, "truncated");
    proxy.heal();
    proxy.set(|setting| setting.down.blackhole = true);
    assert_eq!(run(proxy.addr(), one("ok", 0.3)).await.class("timeout"), 1);
    proxy.heal();
    proxy.set(|setting| setting.refuse = true);
    // The reset comes before or after the request is written.
    assert!(["broken", "connect"].contains(&class("ok").await.as_str()));
    proxy.heal();
    proxy.set(|setting| setting.up.cut_after = Some("\"stream\":true".to_owned()));
    let before = upstream.journal().count();
    assert_eq!(class("ok-f50").await, "broken");
    assert_eq!(upstream.journal().count(), before + 1, "what was cut after had arrived");
    proxy.heal();
    proxy.set(|setting| setting.down.bandwidth = 4_000);
    let start = std::time::Instant::now();
    assert_eq!(class("ok-t10").await, "stream_ok");
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_pause_holds_and_a_cut_ends() {
    let upstream = start().await;
    let proxy = Proxy::start(upstream.addr(), 1).await.unwrap();
    proxy.set(|setting| setting.down.pause = true);
    let addr = proxy.addr();
    let waiting = tokio::spawn(async move { text(addr, &json!({"model": "ok"})).await });
    upstream.journal().quiet(PATIENCE).await.unwrap();
    upstream.journal().wait(PATIENCE, |all| all.len() == 1).await.unwrap();
    assert!(!waiting.is_finished());
    proxy.heal();
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
    let hanging = tokio::spawn(async move { raw(addr, &json!({"model": "ok-hang"})).await });
    upstream.journal().wait(PATIENCE, |all| all.len() == 2).await.unwrap();
    proxy.cut_all();
    assert!(hanging.await.unwrap().1, "reset");
}

#[test]
fn a_postgres_stops_freezes_and_comes_back() {
    let server = fakes::postgres::Server::start().unwrap();
    let answers = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            use sqlx::Connection;
            let connecting = sqlx::PgConnection::connect(&server.url());
            matches!(tokio::time::timeout(Duration::from_secs(2), connecting).await, Ok(Ok(_)))
        })
    };
    assert!(answers() && server.pid().is_some());
    server.freeze().unwrap();
    assert!(!answers(), "it is frozen");
    server.thaw().unwrap();
    assert!(answers());
    server.stop_hard().unwrap();
    assert!(!answers() && server.pid().is_none());
    server.start_again().unwrap();
    assert!(answers());
}
