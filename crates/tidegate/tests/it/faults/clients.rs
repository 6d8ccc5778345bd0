//! Clients that are slow, and clients that go away at any byte.

use std::time::{Duration, Instant};

use fakes::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{asked, eight_at_once, told};
use crate::books;
use crate::stand::{Setup, Stand};

/// Longer than any deadline of a connection.
const LONG: Duration = Duration::from_secs(180);

/// A call as it stands on the wire.
fn wire(stand: &Stand, body: &str) -> String {
    let (host, key, length) = (stand.address, &stand.key, body.len());
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Sends the first bytes, then one more each half second, until the gateway says something or closes; how long that took.
async fn trickle(address: std::net::SocketAddr, request: String, at_once: usize) -> (Duration, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (first, rest) = request.as_bytes().split_at(at_once);
    stream.write_all(first).await.unwrap();
    let since = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let rest = rest.to_vec();
    let sending = tokio::spawn(async move {
        for byte in rest {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        // Nothing more comes, and the connection stays open.
        tokio::time::sleep(LONG).await;
    });
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(LONG, read.read_to_end(&mut answer)).await.expect("the connection is closed");
    sending.abort();
    (since.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

/// A client that asks for much and reads nothing: how long until its call is given up.
async fn unread(stand: &Stand) -> Duration {
    let plan = Plan { endless: true, ..Plan::default() };
    let request = wire(stand, &asked(&plan, true));
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let since = Instant::now();
    let gone = stand
        .upstream
        .journal()
        .wait(LONG, |seen| seen.iter().any(|one| one.end.as_ref().is_some_and(|end| end.aborted.is_some())));
    gone.await.expect("the provider is told");
    let took = since.elapsed();
    drop(stream);
    took
}

/// Heads have 10 s, bodies must move every 30 s, answers must be read within 60 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_too_slow_is_closed_at_the_deadline() {
    let stand = Stand::start(Setup { more: books::priced_models(), ..Setup::default() }).await;
    let call = wire(&stand, &asked(&Plan::default(), false));
    let body = call.find("\r\n\r\n").unwrap() + 4;
    // A head byte by byte; a body that stops.
    let head = trickle(stand.address, call.clone(), 1);
    let stops = trickle(stand.address, call[..body + 7].to_owned(), body + 7);
    let reads = async { if books::soak() { Some(unread(&stand).await) } else { None } };
    let ((head, head_said), (stops, body_said), reads) = tokio::join!(head, stops, reads);
    for said in [&head_said, &body_said] {
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("request_timeout"), "{said}");
    }
    let ten = Duration::from_secs(10);
    assert!(head >= ten && stops >= 3 * ten, "closed before its time: head {head:?}, body {stops:?}");
    let reads = reads.map_or_else(
        || "reading in the long run only".to_owned(),
        |took| {
            assert!(took >= 6 * ten, "given up after {took:?}");
            format!("reading after {took:.1?}")
        },
    );
    told(
        "slow-clients",
        format!("closed: head after {head:.1?}, body after {stops:.1?}, {reads}"),
        "10 s, 30 s, 60 s",
    );
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
}

/// Reads so many bytes of the answer and goes away.
async fn leave_after(address: std::net::SocketAddr, request: String, bytes: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = vec![0; bytes];
    // Less may come: a head without date is shorter than another.
    let _ = tokio::time::timeout(LONG, stream.read_exact(&mut read)).await.expect("an answer or its end");
}

async fn abort_everywhere(bills_on: bool) -> (usize, usize, fakes::oracle::Verdict) {
    let models = books::models(bills_on);
    let provider = format!("abort_stops_billing = {}", !bills_on);
    let mut stand = Stand::start(Setup { provider, more: books::priced(&models), ..Setup::default() }).await;
    let body = crate::client::chat(&format!("fake/{}", models[0]), r#","stream":true"#);
    let request = wire(&stand, &body).replace("\r\nhost:", "\r\nconnection: close\r\nhost:");
    let mut whole = TcpStream::connect(stand.address).await.unwrap();
    whole.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    whole.read_to_end(&mut answer).await.unwrap();
    let step = usize::try_from(books::length("TIDEGATE_SOAK_ABORT_STEP", 23, 1)).unwrap();
    let (address, sent) = (stand.address, request.clone());
    let aborts = (0..answer.len()).step_by(step);
    let count = aborts.len();
    eight_at_once(aborts.collect(), move |at| leave_after(address, sent.clone(), at)).await;
    // Requests that are given up before they are whole were never calls.
    let (dispatched, address) = (stand.upstream.journal().count(), stand.address);
    let cuts = (0..request.len()).step_by(step);
    let halves = cuts.len();
    eight_at_once(cuts.collect(), move |at| leave_after(address, request[..at].to_owned(), 0)).await;
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert_eq!(stand.upstream.journal().count(), dispatched, "half a request was sent on");
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = books::sqlite(&stand.data_dir).await;
    let rules = fakes::oracle::Rules { unread: true, ..books::rules_of(&models, &[]) };
    let verdict = fakes::oracle::judge(&journal, &tables, &[], &rules);
    assert!(verdict.holds(), "{verdict}");
    let gone: Vec<_> = tables.entries.iter().filter(|entry| entry.outcome == "client_gone").collect();
    assert!(gone.len() > count / 4, "{} of {count} aborts were seen", gone.len());
    // Where the bill stops, what was seen is an estimate; where it runs on, the whole is known.
    assert!(gone.iter().all(|entry| entry.estimated != bills_on), "{gone:?}");
    (count, halves, verdict)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_at_any_byte_is_charged_once_and_as_the_provider_bills() {
    for (bills_on, name) in [(false, "aborts-bill-stops"), (true, "aborts-bill-runs-on")] {
        let (aborts, halves, verdict) = abort_everywhere(bills_on).await;
        told(
            name,
            format!(
                "{aborts} answers and {halves} requests given up: {} of {} entries missing, doubled or wrong, {} estimated",
                verdict.violations_total, verdict.entries, verdict.estimated
            ),
            "0",
        );
    }
}
