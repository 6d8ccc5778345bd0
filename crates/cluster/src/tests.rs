//! Limits in a real Redis: the arithmetic against that of one node, answer by answer, and three nodes at once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use policy::{Bucket, Full, Limits, Meters, Moment, Part, Taken};
use proptest::prelude::*;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::*;
use crate::script::{pipeline, verdicts};

const SECOND: u64 = 1_000_000_000;
/// No test fails because a machine is slow, only because something never happens.
const PATIENCE: Duration = Duration::from_secs(60);

fn url() -> String {
    std::env::var("TIDEGATE_TEST_REDIS")
        .expect("these tests need Redis: eval \"$(scripts/services start)\" sets TIDEGATE_TEST_REDIS")
}

/// A limit of nobody else, also not of another run.
fn fresh() -> [u8; 16] {
    runtime::random_bytes()
}

fn limits(rows: &[(&str, u64)]) -> Limits {
    rows.iter().fold(Limits::default(), |limits, (name, limit)| limits.with(name, *limit))
}

fn wanted(id: [u8; 16], limits: &Limits, part: Part) -> Wanted {
    Wanted { id, meters: Meters::new(limits, None), part, shadow: false }
}

fn tokens(input: u64) -> Part {
    Part::Tokens { input, output: 0 }
}

/// One node, on a scheduler of the test.
struct Node {
    cluster: Arc<Cluster>,
    tasks: Tasks,
}

impl Node {
    async fn start(url: &str, leased: bool) -> Self {
        let tasks = Tasks::new();
        let options =
            Options { url: url.to_owned(), leased, deadline: Duration::from_secs(1), nodes: Some(3) };
        let cluster = Cluster::open(&options, &Clock::system(), &tasks).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !cluster.is_well() {
            assert!(Instant::now() < deadline, "Redis was never well");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { cluster, tasks }
    }

    /// Until it is said; a machine may be slow.
    async fn take(&self, wanted: &[Wanted]) -> Vec<Verdict> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(told) = self.cluster.take(wanted.to_vec()).await {
                return told;
            }
            assert!(Instant::now() < deadline, "nothing was ever said");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn admits(&self, wanted: &[Wanted]) -> bool {
        self.take(wanted).await.iter().all(Result::is_ok)
    }

    async fn stop(self) {
        self.tasks.stop();
        assert!(self.tasks.drained(PATIENCE).await.is_empty());
    }
}

/// Redis without a node: time is said.
struct Bare {
    door: Door,
    connection: MultiplexedConnection,
}

impl Bare {
    async fn open(url: &str) -> Self {
        let mut connection = client(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut door = Door::new();
        door.load(&mut connection).await.unwrap();
        Self { door, connection }
    }

    async fn say(&mut self, command: redis::Cmd) -> Value {
        let mut one = pipeline();
        one.add_command(command);
        let mut answers: Vec<RedisResult<Value>> = one.query_async(&mut self.connection).await.unwrap();
        answers.pop().unwrap().unwrap()
    }

    async fn take(&mut self, at: u64, asked: &[Asked]) -> Vec<Verdict> {
        let command = self.door.at(at).take("bare", asked);
        verdicts(asked, &self.say(command).await).unwrap()
    }
}

/// What is done at a time: an amount is taken, and perhaps put right later.
type Step = (u64, u64, bool, Option<u64>);

async fn agrees(bare: &mut Bare, limit: u64, span: &str, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let table = Table::new(false);
    let limits = limits(&[(&format!("tokens_per_{span}"), limit)]);
    let (id, mut now) = (fresh(), 5 * SECOND + 1);
    let own = wanted(id, &limits, tokens(1)).meters.buckets[0].1.clone();
    let local = Bucket::new(limit, Duration::from_nanos(own.span()));
    for (gap, amount, small, right) in steps {
        now += gap;
        let amount = if small { amount % limit.saturating_add(1).max(1) } else { amount };
        let asked = table.asked(vec![wanted(id, &limits, tokens(amount))], 1);
        let told = bare.take(now, &asked).await.pop().unwrap();
        match (local.debit(Moment::from_nanos(now), amount), told) {
            (Ok(standing), Ok(granted)) => {
                prop_assert_eq!(granted.standing, Some(standing));
                let Some(right) = right else { continue };
                local.correct(amount, right);
                let (before, after) = (own.cost(amount), own.cost(right));
                let by = i64::try_from(after).unwrap() - i64::try_from(before).unwrap();
                let command = bare.door.at(now).correct("bare", asked[0].rates[0].key(), by);
                bare.say(command).await;
            }
            (Err(refused), Err(Full::Rate(_, told))) => prop_assert_eq!(told, refused),
            (here, there) => prop_assert!(false, "here {here:?}, there {there:?}"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each is some dozens of round trips.
        cases: ProptestConfig::default().cases / 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Redis and one node's own bucket say the same, to the nanosecond, whatever is taken and put right, and whenever.
    #[test]
    fn redis_counts_as_a_bucket_does(
        limit in prop_oneof![0u64..20, 1u64..5_000_000, Just(1_000_000_000_000)],
        span in prop_oneof![Just("second"), Just("minute"), Just("hour"), Just("day")],
        steps in proptest::collection::vec(
            (0u64..200 * SECOND, 0u64..9_000_000, any::<bool>(), proptest::option::of(0u64..9_000_000)),
            1..40,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bare = Bare::open(&url()).await;
            agrees(&mut bare, limit, span, steps).await
        })?;
    }
}

#[tokio::test]
async fn a_server_without_functions_counts_the_same_by_a_script() {
    let server = fakes::redis::Server::start(&["--rename-command", "FUNCTION", ""]).unwrap();
    let mut bare = Bare::open(&server.url()).await;
    let steps =
        (0..60).map(|n| (n * SECOND / 7, n * 31 % 900, n % 2 == 0, (n % 3 == 0).then_some(n * 7 % 400)));
    agrees(&mut bare, 700, "minute", steps.collect()).await.unwrap();
    assert!(bare.say(redis::cmd("EXISTS").arg("nothing").clone()).await == Value::Int(0));
}

#[tokio::test]
async fn of_several_limits_all_is_taken_or_nothing() {
    let node = Node::start(&url(), false).await;
    let (wide, narrow) =
        (limits(&[("requests_per_day", 5)]), limits(&[("requests_per_day", 2), ("concurrency", 9)]));
    let (one, two) = (fresh(), fresh());
    let both = [wanted(one, &wide, Part::Turn), wanted(two, &narrow, Part::Turn)];
    for _ in 0..2 {
        assert!(node.admits(&both).await);
    }
    for _ in 0..10 {
        let told = node.take(&both).await;
        assert!(matches!(told[..], [Ok(_), Err(Full::Rate(..))]), "{told:?}");
    }
    // What was refused took nothing of the wide one, in either order.
    for _ in 0..10 {
        let told = node.take(&[both[1].clone(), both[0].clone()]).await;
        assert!(matches!(told[..], [Err(Full::Rate(..))]), "{told:?}");
    }
    let mut left = 0;
    while node.admits(&both[..1]).await {
        left += 1;
    }
    assert_eq!(left, 3);
    node.stop().await;
}

#[tokio::test]
async fn a_shadow_refuses_nothing_and_is_told() {
    let node = Node::start(&url(), false).await;
    let small = limits(&[("requests_per_day", 1)]);
    let wide = limits(&[("requests_per_day", 5)]);
    let trial = Wanted { shadow: true, ..wanted(fresh(), &small, Part::Turn) };
    let both = [trial, wanted(fresh(), &wide, Part::Turn)];
    assert!(node.admits(&both).await);
    let told = node.take(&both).await;
    assert!(matches!(told[..], [Err(_), Ok(_)]), "{told:?}");
    let standing = told[1].as_ref().unwrap().standing.unwrap();
    assert_eq!((standing.limit, standing.remaining), (5, 3));
    node.stop().await;
}

/// Three nodes on threads of their own ask for the same limit, so often each; how many were admitted, and by what.
fn three_nodes(leased: bool, limits: &Limits, tries: u32) -> (u64, u64, Figures) {
    let (id, admitted, unsaid) = (fresh(), AtomicU64::new(0), AtomicU64::new(0));
    let figures = std::thread::scope(|scope| {
        let one = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = Node::start(&url(), leased).await;
                for _ in 0..tries {
                    // As many at once as come in, not one after the other.
                    match node.cluster.take(vec![wanted(id, limits, Part::Turn)]).await {
                        Some(told) => admitted.fetch_add(u64::from(told.iter().all(Result::is_ok)), Relaxed),
                        None => unsaid.fetch_add(1, Relaxed),
                    };
                }
                let figures = node.cluster.figures();
                node.stop().await;
                figures
            })
        };
        let nodes: Vec<_> = (0..3).map(|_| scope.spawn(one)).collect();
        let all: Vec<_> = nodes.into_iter().map(|node| node.join().unwrap()).collect();
        all.into_iter().reduce(|one, other| Figures {
            asked: one.asked + other.asked,
            drawn: one.drawn + other.drawn,
            ..one
        })
    });
    (admitted.into_inner(), unsaid.into_inner(), figures.unwrap())
}

#[test]
fn ten_thousand_tries_over_three_nodes_admit_the_burst_and_the_rate() {
    for (name, limit, span) in [("requests_per_day", 600_u64, 86_400_u64), ("requests_per_minute", 600, 60)] {
        let began = Instant::now();
        let (admitted, unsaid, _) = three_nodes(false, &limits(&[(name, limit)]), 3_334);
        let took = began.elapsed();
        let most = limit + limit * u64::try_from(took.as_nanos()).unwrap() / (span * SECOND) + 1;
        eprintln!(
            "exact: 10,002 tries over three nodes in {took:?}: {admitted} admitted, at most {most} may be"
        );
        assert!(admitted <= most, "{admitted} of {most}");
        assert!(unsaid > 0 || admitted >= limit, "{admitted} of {limit}");
    }
}

#[test]
fn leased_admits_within_its_declared_error() {
    let (limit, batch) = (600, 600 / (3 * counters::PARTS));
    let began = Instant::now();
    let (admitted, unsaid, figures) = three_nodes(true, &limits(&[("requests_per_day", limit)]), 3_334);
    let came_back = limit * began.elapsed().as_secs() / 86_400 + 1;
    let (drawn, asked) = (figures.drawn, figures.asked);
    eprintln!(
        "leased: {admitted} of {limit} admitted, {drawn} without asking, {asked} with; error at most {}",
        3 * batch
    );
    assert!(admitted <= limit + 3 * batch + came_back, "{admitted}");
    assert!(unsaid > 0 || admitted + 3 * batch >= limit, "{admitted}");
    assert!(drawn > 0);
}

#[tokio::test]
async fn what_is_taken_in_advance_and_not_used_comes_back() {
    let (one, two) = (Node::start(&url(), true).await, Node::start(&url(), true).await);
    let (id, limits) = (fresh(), limits(&[("requests_per_day", 300)]));
    let ask = [wanted(id, &limits, Part::Turn)];
    assert!(one.admits(&ask).await);
    let mut taken = 1;
    let deadline = Instant::now() + PATIENCE;
    // The other node gets everything but for the one.
    while taken < 300 {
        taken += u32::from(two.admits(&ask).await);
        assert!(Instant::now() < deadline, "only {taken} of 300");
    }
    assert!(!two.admits(&ask).await);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn corrections_are_heard_by_all() {
    let (one, two) = (Node::start(&url(), false).await, Node::start(&url(), false).await);
    let (id, limits) = (fresh(), limits(&[("tokens_per_day", 1_000)]));
    let meters = Meters::new(&limits, None);
    let ask = |amount| Wanted { id, meters: meters.clone(), part: tokens(amount), shadow: false };
    let granted = one.take(&[ask(1_000)]).await.pop().unwrap().unwrap();
    assert!(!two.admits(&[ask(100)]).await);
    let mut taken = Taken::default();
    taken.note(&meters, tokens(1_000), Moment::from_nanos(SECOND), granted);
    taken.correct(900, 0);
    let deadline = Instant::now() + PATIENCE;
    while !two.admits(&[ask(100)]).await {
        assert!(Instant::now() < deadline, "the correction was never heard");
    }
    assert!(!two.admits(&[ask(1)]).await);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn places_are_counted_over_nodes_and_come_back() {
    let (one, two) = (Node::start(&url(), false).await, Node::start(&url(), false).await);
    let (id, limits) = (fresh(), limits(&[("concurrency", 3)]));
    let ask = [wanted(id, &limits, Part::Turn)];
    let (mut held, other) = (one.take(&ask).await, two.take(&ask).await);
    held.extend(one.take(&ask).await);
    assert!(held.iter().chain(&other).all(Result::is_ok));
    for node in [&one, &two] {
        assert!(matches!(node.take(&ask).await[..], [Err(Full::Concurrency(3))]));
    }
    drop(other);
    let deadline = Instant::now() + PATIENCE;
    let again = loop {
        let told = two.take(&ask).await;
        if told[0].is_ok() {
            break told;
        }
        assert!(Instant::now() < deadline, "the place never came back");
    };
    assert!(!one.admits(&ask).await);
    // A node that stops takes its places with it.
    one.stop().await;
    let more: Vec<_> = [two.take(&ask).await, two.take(&ask).await].concat_verdicts();
    assert!(more.iter().all(Result::is_ok), "{more:?}");
    assert!(!two.admits(&ask).await);
    drop((held, again, more));
    two.stop().await;
}

/// Verdicts of several questions.
trait Verdicts {
    fn concat_verdicts(self) -> Vec<Verdict>;
}

impl<const N: usize> Verdicts for [Vec<Verdict>; N] {
    fn concat_verdicts(self) -> Vec<Verdict> {
        self.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_everything_learns_it_again() {
    let mut server = fakes::redis::Server::start(&[]).unwrap();
    let node = Node::start(&server.url(), false).await;
    let limits = limits(&[("concurrency", 2), ("requests_per_day", 100)]);
    let ask = [wanted(fresh(), &limits, Part::Turn)];
    let held = [node.take(&ask).await, node.take(&ask).await];
    assert!(!node.admits(&ask).await);
    for _ in 0..2 {
        server.say(&["FLUSHALL"]).unwrap();
        server.say(&["FUNCTION", "FLUSH"]).unwrap();
        // Its places are told again with a beat: from then on there is none to spare.
        let deadline = Instant::now() + PATIENCE;
        while node.admits(&ask).await {
            assert!(Instant::now() < deadline, "the places were never told again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    server.kill().unwrap();
    server.start_again().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while node.take(&ask).await[0].is_ok() {
        assert!(Instant::now() < deadline, "the places were never told again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !node.admits(&ask).await {
        assert!(Instant::now() < deadline, "the places never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}
