//! What the data plane counts, for Prometheus. Labels are bounded: at most [`MAX_MODELS`] models have series of their
//! own, further ones share `other`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use parking_lot::RwLock;
use policy::{Currency, Deployment, Money, Name, NameMap};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::queue::tally::Tally;
use crate::recall::Kept;
use crate::settle::Ending;

const MAX_MODELS: usize = 300;
const MAX_UNKNOWN: usize = 100;
const NANO: f64 = 1e9;
/// Seconds; from a cache hit to an hour-long reasoning run.
const SECONDS: [f64; 14] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    model: String,
    status: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct TokenLabels {
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct CostLabels {
    model: String,
    currency: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
    shadow: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct GuardrailLabels {
    guardrail: String,
    action: &'static str,
    stage: &'static str,
}

/// Figures that are read at the moment, one for each of some labels.
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    /// What only grows is a counter.
    pub(crate) grows: bool,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [&'static str],
    /// The labels' values, in their order, and the figure.
    pub(crate) series: Vec<(Vec<Name>, u64)>,
}

type Spent = Counter<f64, AtomicU64>;

/// The series of one model, found once and kept.
struct Series {
    model: String,
    requests: RwLock<HashMap<(&'static str, u16), Counter>>,
    duration: Histogram,
    first_byte: Histogram,
    input: Counter,
    cached: Counter,
    output: Counter,
    /// By currency, of which a model mostly has one.
    cost: RwLock<SmallVec<[(Currency, Spent); 1]>>,
}

/// All series of the data plane.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<ModelLabels, Histogram>,
    first_byte: Family<ModelLabels, Histogram>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<CostLabels, Spent>,
    unknown_cost: Family<ModelLabels, Counter>,
    unauthenticated: Family<StatusLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
    guardrails: Family<GuardrailLabels, Counter>,
    cache_hits: Counter,
    cache_misses: Counter,
    replays: Counter,
    saved: Family<CostLabels, Spent>,
    in_flight: Gauge<i64, AtomicI64>,
    pub(crate) queue: Tally,
    by_model: RwLock<NameMap<Arc<Series>>>,
}

#[expect(clippy::cast_precision_loss, reason = "a graph needs no more digits; the ledger has them all")]
fn units(cost: Money) -> f64 {
    cost.nano.max(0) as f64 / NANO
}

/// One request in flight, counted until dropped.
pub(crate) struct InFlight(Gauge<i64, AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(histogram),
            first_byte: Family::new_with_constructor(histogram),
            tokens: Family::default(),
            cost: Family::default(),
            unknown_cost: Family::default(),
            unauthenticated: Family::default(),
            limited: Family::default(),
            guardrails: Family::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            replays: Counter::default(),
            saved: Family::default(),
            in_flight: Gauge::default(),
            queue: Tally::new(&mut registry),
            by_model: RwLock::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "requests answered", metrics.requests.clone());
        let seconds = Unit::Seconds;
        registry.register_with_unit(
            "duration",
            "from first byte of the request to last of the answer",
            seconds.clone(),
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "first_byte",
            "until the provider's first event",
            seconds,
            metrics.first_byte.clone(),
        );
        registry.register("tokens", "tokens, as providers told or estimated", metrics.tokens.clone());
        registry.register("cost", "what providers bill, in units of the currency", metrics.cost.clone());
        registry.register(
            "unknown_cost_requests",
            "requests whose cost is not known",
            metrics.unknown_cost.clone(),
        );
        registry.register(
            "unauthenticated_requests",
            "requests without a good key",
            metrics.unauthenticated.clone(),
        );
        registry.register(
            "limited_requests",
            "requests that a limit refused, or with shadow would have refused",
            metrics.limited.clone(),
        );
        registry.register(
            "guardrail_decisions",
            "times a guardrail found something or could not look",
            metrics.guardrails.clone(),
        );
        registry.register(
            "cache_hits",
            "requests answered from the cache, or by another's call",
            metrics.cache_hits.clone(),
        );
        registry.register(
            "cache_misses",
            "requests that the cache had no answer for",
            metrics.cache_misses.clone(),
        );
        registry.register(
            "idempotent_replays",
            "requests that had the answer of an earlier one with the same idempotency key",
            metrics.replays.clone(),
        );
        registry.register(
            "cache_saved",
            "what hits of the cache would have cost, in units of the currency",
            metrics.saved.clone(),
        );
        registry.register("in_flight", "requests being answered", metrics.in_flight.clone());
        Self { registry, ..metrics }
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    pub(crate) fn count_unauthenticated(&self, status: u16) {
        self.unauthenticated.get_or_create(&StatusLabels { status }).inc();
    }

    /// A limit said no. Its names are those of the settings.
    pub(crate) fn count_limited(&self, limit: &str, shadow: bool) {
        let labels = LimitLabels { limit: limit.to_owned(), shadow: if shadow { "true" } else { "false" } };
        self.limited.get_or_create(&labels).inc();
    }

    /// A guardrail decided. Its names are those of the settings.
    pub(crate) fn count_guardrail(&self, guardrail: &str, action: &'static str, stage: &'static str) {
        let labels = GuardrailLabels { guardrail: guardrail.to_owned(), action, stage };
        self.guardrails.get_or_create(&labels).inc();
    }

    /// A request that was refused before or after its attempts.
    pub(crate) fn count_refused(&self, exchange: &Exchange, status: u16) {
        let Some(deployment) = &exchange.deployment else {
            return self.count_request(&self.series("none", true), exchange.endpoint(), status);
        };
        let series = self.series(&deployment.name, deployment.price.is_some());
        self.count_request(&series, exchange.endpoint(), status);
        let now = exchange.gateway.clock.moment();
        series.duration.observe(now.since(exchange.times.started).as_secs_f64());
    }

    /// A request that the cache had no answer for.
    pub(crate) fn count_miss(&self) {
        self.cache_misses.inc();
    }

    /// A request that had an earlier answer.
    pub(crate) fn count_recalled(&self, kept: &Kept, saved: Option<Money>, hit: bool) {
        if hit {
            self.cache_hits.inc()
        } else {
            self.replays.inc()
        };
        let (Some(saved), Some(model)) = (saved, &kept.model) else { return };
        let model = self.series(model, true).model.clone();
        let labels = CostLabels { model, currency: saved.currency.to_string() };
        self.saved.get_or_create(&labels).inc_by(units(saved));
    }

    /// A request that brought an answer, whole or in part.
    pub(crate) fn count(
        &self,
        exchange: &Exchange,
        deployment: &Deployment,
        ending: &Ending,
        cost: Option<Money>,
    ) {
        let series = self.series(&deployment.name, deployment.price.is_some());
        self.count_request(&series, exchange.endpoint(), ending.status);
        let now = exchange.gateway.clock.moment();
        series.duration.observe(now.since(exchange.times.started).as_secs_f64());
        if let Some(first) = exchange.times.first_byte {
            series.first_byte.observe(first.since(exchange.times.started).as_secs_f64());
        }
        series.input.inc_by(ending.usage.input.unwrap_or(0));
        series.cached.inc_by(ending.usage.cached_input.unwrap_or(0));
        series.output.inc_by(ending.usage.output.unwrap_or(0));
        match cost {
            Some(cost) => self.count_cost(&series, cost),
            None => {
                self.unknown_cost.get_or_create(&ModelLabels { model: series.model.clone() }).inc();
            }
        }
    }

    fn count_cost(&self, series: &Series, cost: Money) {
        let amount = units(cost);
        if let Some((_, spent)) = series.cost.read().iter().find(|(currency, _)| *currency == cost.currency) {
            spent.inc_by(amount);
            return;
        }
        let labels = CostLabels { model: series.model.clone(), currency: cost.currency.to_string() };
        let spent = self.cost.get_or_create(&labels).clone();
        spent.inc_by(amount);
        series.cost.write().push((cost.currency, spent));
    }

    fn count_request(&self, series: &Series, endpoint: &'static str, status: u16) {
        if let Some(counter) = series.requests.read().get(&(endpoint, status)) {
            counter.inc();
            return;
        }
        let labels = RequestLabels { endpoint, model: series.model.clone(), status };
        let counter = self.requests.get_or_create(&labels).clone();
        counter.inc();
        series.requests.write().insert((endpoint, status), counter);
    }

    /// The series of a model. Names that no price knows may be anything a client writes, so they have a smaller share.
    fn series(&self, model: &str, known: bool) -> Arc<Series> {
        let name = {
            let by_model = self.by_model.read();
            let room = by_model.len() < if known { MAX_MODELS } else { MAX_UNKNOWN };
            let name = if room { model } else { "other" };
            if let Some(series) = by_model.get(model).or_else(|| by_model.get(name)) {
                return Arc::clone(series);
            }
            name
        };
        let label = name.to_owned();
        let tokens = |kind| self.tokens.get_or_create(&TokenLabels { model: label.clone(), kind }).clone();
        let series = Arc::new(Series {
            requests: RwLock::default(),
            duration: self.duration.get_or_create(&ModelLabels { model: label.clone() }).clone(),
            first_byte: self.first_byte.get_or_create(&ModelLabels { model: label.clone() }).clone(),
            input: tokens("input"),
            cached: tokens("cached_input"),
            output: tokens("output"),
            cost: RwLock::default(),
            model: label.clone(),
        });
        Arc::clone(self.by_model.write().entry(label.into()).or_insert(series))
    }

    /// The exposition text, with figures that are read at this moment appended.
    pub(crate) fn text(&self, now: &[(&'static str, &'static str, u64)], more: &[Figures]) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written");
        }
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        for (name, help, value) in now {
            text.push_str(&format!(
                "# HELP tidegate_{name} {help}.\n# TYPE tidegate_{name} gauge\ntidegate_{name} {value}\n"
            ));
        }
        for figures in more.iter().filter(|figures| !figures.series.is_empty()) {
            let Figures { name, grows, help, labels, series } = figures;
            let (kind, end) = if *grows { ("counter", "_total") } else { ("gauge", "") };
            text.push_str(&format!("# HELP tidegate_{name} {help}.\n# TYPE tidegate_{name} {kind}\n"));
            for (values, value) in series {
                // Names of settings, in which nothing has to be escaped.
                let pairs: Vec<_> =
                    labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
                text.push_str(&format!("tidegate_{name}{end}{{{}}} {value}\n", pairs.join(",")));
            }
        }
        text.push_str("# EOF\n");
        text
    }
}
