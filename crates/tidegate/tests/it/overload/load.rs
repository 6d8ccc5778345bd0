//! The promises under load: what is fair, and that a flood harms itself alone.
//!
//! How much can be served follows from an upstream that holds so many calls for so long each, and not from the machine.

use fakes::histogram::Histogram;
use fakes::load::{Load, Report, Seen};
use fakes::upstream::{Script, Upstream};

use crate::books;
use crate::client::Client;
use crate::stand::{Setup, Stand, offline_key};

/// Environments that share an upstream, each with a workspace and a key of its own.
struct Shore {
    stand: Stand,
    _upstream: Upstream,
    keys: Vec<String>,
    model: String,
}

impl Shore {
    /// An upstream that holds `holds` calls, `delay` milliseconds each.
    async fn start(environments: &[(&str, &str)], holds: usize, delay: u64, overload: &str) -> Self {
        let script = Script { holds: Some(holds), bodies: false, ..Script::default() };
        let upstream = Upstream::start(script).await.unwrap();
        let (base, model) = (upstream.base_url(), format!("ok-f{delay}"));
        let (mut more, mut environment, mut keys) = (String::new(), Vec::new(), Vec::new());
        for (name, layer) in environments {
            more += &format!(
                "[environments.{name}]\nlayer = \"{layer}\"\nworkspace = \"{name}\"\n\
                 [environments.{name}.providers.up]\ndialect = \"openai\"\nbase_url = \"{base}\"\n\
                 models = [\"{model}\"]\nmax_concurrency = {holds}\n\
                 [environments.{name}.keys.{name}]\nsecret = \"env:KEY_{name}\"\n"
            );
            keys.push(offline_key());
            environment.push((format!("KEY_{name}"), keys[keys.len() - 1].clone()));
        }
        let server = format!("overload = {{ {overload} }}");
        let stand = Stand::start(Setup { server, more, environment, ..Setup::default() }).await;
        Self { stand, _upstream: upstream, keys, model: format!("up/{model}") }
    }

    fn load(&self, tenant: usize, rate: Option<f64>, seconds: f64) -> Load {
        Load {
            url: format!("http://{}/v1", self.stand.address),
            key: self.keys[tenant].clone(),
            rate,
            seconds,
            models: vec![self.model.clone()],
            max_tokens: Some(16),
            seed: tenant as u64 + 1,
            ..Load::default()
        }
    }

    /// What is served a second when more clients than places ask one after another.
    async fn peak(&self, holds: usize, seconds: f64) -> f64 {
        let load = Load { workers: 2 * holds, ..self.load(0, None, seconds) };
        let report = fakes::load::run(load).await.unwrap();
        assert_eq!(report.failed(), 0, "{:?}", report.classes);
        good(&report) / report.seconds
    }

    async fn shed(&self, reason: &str) -> f64 {
        let layers = ["production", "development", "innovation"];
        let client: Client = self.stand.client();
        let mut sum = 0.0;
        for layer in layers {
            let name = format!("tidegate_shed_requests_total{{layer=\"{layer}\",reason=\"{reason}\"}}");
            sum += client.metric(&name).await.unwrap_or(0.0);
        }
        sum
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn good(report: &Report) -> f64 {
    report.class("ok") as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(good: u64, all: u64) -> f64 {
    good as f64 / all.max(1) as f64
}

fn p99<'a>(seen: impl Iterator<Item = &'a Seen>) -> u64 {
    let mut latency = Histogram::default();
    seen.filter(|seen| seen.class == "ok").for_each(|seen| latency.record(seen.latency));
    latency.quantile(0.99) / 1000
}

/// Everybody was served or told to come again; what was told says when.
fn assert_served_or_told(report: &Report) {
    assert_eq!(report.skipped, 0, "the generator was too slow");
    for seen in &report.seen {
        let told =
            seen.status == 503 && seen.error.as_deref() == Some("overloaded") && seen.retry_after.is_some();
        assert!(seen.class == "ok" || told, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_floods_harms_itself_alone() {
    const HOLDS: usize = 8;
    let seconds = books::length("TIDEGATE_SOAK_OVERLOAD_SECONDS", 5, 120) as f64;
    let environments = [("a", "production"), ("b", "production")];
    let shore = Shore::start(&environments, HOLDS, 200, "queue = 200, queue_wait = \"2s\"").await;
    let peak = shore.peak(HOLDS, (seconds / 2.0).min(10.0)).await;
    let (fair, capacity) = (20.0, 40.0);
    let (a, b) = tokio::join!(
        fakes::load::run(shore.load(0, Some(5.0 * capacity), seconds)),
        fakes::load::run(shore.load(1, Some(0.5 * fair), seconds)),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_served_or_told(&a);
    assert_served_or_told(&b);
    let goodput = (good(&a) + good(&b)) / a.seconds.max(b.seconds);
    let (of_peak, of_b) = (goodput / peak, share(b.class("ok"), b.sent));
    eprintln!(
        "tenants: A at 5 times of what can be served for {seconds} s: goodput {goodput:.1}/s of {peak:.1}/s at peak \
         ({:.1} %, wanted 90); B at half of its fair share got {:.1} % of what it asked for (wanted 90), p99 {} ms; A {:.1} %",
        of_peak * 100.0,
        of_b * 100.0,
        p99(b.seen.iter()),
        share(a.class("ok"), a.sent) * 100.0,
    );
    assert!(of_b >= 0.9, "{:?}", b.classes);
    assert!(of_peak >= 0.9, "{goodput} of {peak}");
}

/// Seconds before a spike, of it, and after it.
struct Spans {
    before: f64,
    spike: f64,
    after: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spike_is_shed_and_production_does_not_notice() {
    let soak = books::soak();
    // In full: 200 a second. Production asks for two fifths of what can be served, and the spike is ten times that.
    let (holds, spans) = if soak {
        (20, Spans { before: 20.0, spike: 20.0, after: 20.0 })
    } else {
        (8, Spans { before: 2.0, spike: 3.0, after: 4.0 })
    };
    let environments = [("prod", "production"), ("dev2", "development"), ("lab", "innovation")];
    let shore = Shore::start(&environments, holds, 100, "queue_wait = \"2s\"").await;
    let capacity = holds as f64 * 10.0;
    let rate = capacity * 0.4;
    let peak = shore.peak(holds, spans.before).await;
    let begins = spans.before;
    let spike = async |tenant| {
        tokio::time::sleep(std::time::Duration::from_secs_f64(begins)).await;
        fakes::load::run(shore.load(tenant, Some(rate * 5.0), spans.spike)).await.unwrap()
    };
    let whole = spans.before + spans.spike + spans.after;
    let (production, development, innovation) =
        tokio::join!(fakes::load::run(shore.load(0, Some(rate), whole)), spike(1), spike(2));
    let production = production.unwrap();
    for report in [&production, &development, &innovation] {
        assert_served_or_told(report);
    }
    let due = |seen: &Seen| seen.index as f64 / rate;
    let first = production.seen.first().map_or(0, |seen| seen.at) as f64;
    // Answers that ended while the spike stood, but for its first half second.
    let within = |seen: &&Seen| {
        let ended = (seen.at as f64 + seen.latency as f64 - first) / 1e6;
        seen.class == "ok" && ended > begins + 0.5 && ended <= begins + spans.spike
    };
    let ended: usize = [&production, &development, &innovation]
        .iter()
        .map(|report| report.seen.iter().filter(within).count())
        .sum();
    let goodput = ended as f64 / (spans.spike - 0.5);
    let calm = p99(production.seen.iter().filter(|seen| due(seen) < begins));
    let stormy =
        p99(production.seen.iter().filter(|seen| (begins..begins + spans.spike).contains(&due(seen))));
    let late = begins + spans.spike + (spans.after - 2.0).min(5.0);
    let again = p99(production.seen.iter().filter(|seen| due(seen) >= late));
    let (mut at_once, slow) = (0.0, shore.shed("late").await);
    for reason in ["full", "hopeless", "displaced"] {
        at_once += shore.shed(reason).await;
    }
    let succeeded = share(production.class("ok"), production.sent);
    eprintln!(
        "spike of 10 times: production {:.2} % of {} (wanted 99.9), p99 {calm} ms before, {stormy} ms within, {again} ms {:.0} s after; \
         goodput {goodput:.1}/s of {peak:.1}/s at peak ({:.1} %, wanted 90); shed {at_once} at once, {slow} after a wait; \
         development {:.1} %, innovation {:.1} % served",
        succeeded * 100.0,
        production.sent,
        late - begins - spans.spike,
        goodput / peak * 100.0,
        share(development.class("ok"), development.sent) * 100.0,
        share(innovation.class("ok"), innovation.sent) * 100.0,
    );
    assert!(succeeded >= 0.999, "{:?}", production.classes);
    assert!(goodput >= 0.9 * peak, "{goodput} of {peak}");
    assert!(slow <= 0.2 * at_once, "{slow} were not told at once");
    assert!(!soak || again <= calm * 3 / 2 + 20, "p99 {again} ms after, {calm} ms before");
    assert_eq!(shore.stand.client().metric("tidegate_queue_bytes").await, Some(0.0));
}
