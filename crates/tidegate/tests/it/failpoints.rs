//! A panic or a crash at each named place of the way, streamed and not, on both stores: one terminal entry each.

use fakes::load::{Load, Report};
use fakes::oracle::{self, Tables};

use crate::books;
use crate::client::chat;
use crate::operate::Database;
use crate::stand::{Setup, Stand};

/// On the way of a request: whoever crosses one while it strikes is refused or cut.
const ON_THE_WAY: [&str; 11] = [
    "gateway.reserved",
    "ledger.reserve",
    "ledger.intent.before_write",
    "ledger.intent.after_write",
    "gateway.dispatch",
    "gateway.first_byte",
    "gateway.settle",
    "ledger.settle.before_write",
    "ledger.settle.after_write",
    "gateway.settled",
    "gateway.ack",
];
/// Beside it: no request notices.
const BESIDE: [&str; 2] = ["ledger.drain", "store.between"];

/// A gateway with one point set to do something, and where its books are.
struct Crossing {
    point: &'static str,
    stand: Stand,
    database: Option<Database>,
}

impl Crossing {
    async fn start(point: &'static str, postgres: bool, what: &str) -> Self {
        let database = if postgres { Some(Database::create().await) } else { None };
        let setup = Setup {
            key: books::budget("50.00"),
            more: books::priced_models(),
            store: database.as_ref().map(|d| format!("url = \"{}\"", d.url(None))).unwrap_or_default(),
            environment: vec![("FAILPOINTS".to_owned(), format!("{point}={what}"))],
            ..Setup::default()
        };
        let mut stand = Stand::prepare(setup).await;
        stand.spawn();
        // A place beside the requests may be passed before the first of them.
        stand.wait_ready_or_ended().await;
        Self { point, stand, database }
    }

    async fn load(&self, streams: f64, seconds: f64) -> Report {
        let load = Load {
            streams,
            aborts: 0.0,
            rate: Some(120.0),
            timeout: 10.0,
            ..books::load(&self.stand, seconds, 7)
        };
        fakes::load::run(load).await.unwrap()
    }

    /// Everything at rest: the books agree with what happened.
    async fn balance(mut self, report: &Report) {
        self.stand.wait_drained().await;
        let journal = books::journal(&self.stand).await;
        assert_eq!(self.stand.stop().await, Some(0), "{}: {}", self.point, self.stand.log());
        let tables = match &self.database {
            Some(database) => Tables::read_postgres(&database.url(None)).await.unwrap(),
            None => books::sqlite(&self.stand.data_dir).await,
        };
        let rules = oracle::Rules { unread: true, ..books::rules(&[]) };
        let verdict = oracle::judge(&journal, &tables, &report.seen, &rules);
        assert!(verdict.holds(), "{}: {verdict}", self.point);
        if let Some(database) = self.database {
            database.drop().await;
        }
    }
}

async fn panics(postgres: bool) {
    for point in ON_THE_WAY.into_iter().chain(BESIDE) {
        for streams in [0.0, 1.0] {
            let crossing = Crossing::start(point, postgres, "panic@0.3#6").await;
            let report = crossing.load(streams, 0.5).await;
            let (broken, classes) = (report.failed(), &report.classes);
            let said = crossing.stand.log().contains(&format!("failpoint {point}"));
            // A stream has been told its end before this point.
            let not_there = point == "gateway.ack" && streams > 0.5;
            if BESIDE.contains(&point) {
                assert_eq!(broken, 0, "{point}, streams {streams}: {classes:?}");
            } else {
                assert!(said || not_there, "{point} was never passed, streams {streams}: {classes:?}");
                assert!(broken <= 6, "{point}, streams {streams}: {classes:?}");
            }
            // Once more after the panics: nothing stays locked.
            let mut well = 0;
            for _ in 0..20 {
                let client = crossing.stand.client();
                let sent = client.send("POST", "/v1/chat/completions", chat("fake/ok-t3", "")).await;
                well += u32::from(sent.is_ok_and(|reply| reply.status == 200));
            }
            assert!(well >= 14, "{point}, streams {streams}: {well} of 20");
            crossing.balance(&report).await;
        }
    }
}

/// The process ends at the very place, and begins again.
async fn crashes(postgres: bool) {
    for point in ON_THE_WAY.into_iter().chain(BESIDE) {
        // Some calls go well before, so that there is something to lose; some places are passed less often.
        let what = match point {
            _ if BESIDE.contains(&point) => "abort@0.4",
            "gateway.ack" => "abort+5",
            _ => "abort+20",
        };
        let mut crossing = Crossing::start(point, postgres, what).await;
        let report = crossing.load(0.6, 1.0).await;
        // A place beside the requests may be passed at any moment, or never.
        assert!(
            report.failed() > 0 || BESIDE.contains(&point),
            "{point} was never passed: {:?}",
            report.classes
        );
        crossing.stand.kill();
        crossing.stand.set_environment(Vec::new());
        crossing.stand.run().await;
        crossing.balance(&report).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_anywhere_leaves_one_terminal_entry() {
    panics(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_anywhere_leaves_one_terminal_entry_on_postgres() {
    panics(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_each_place_leaves_one_terminal_entry() {
    crashes(false).await;
    if books::soak() {
        crashes(true).await;
    }
}
