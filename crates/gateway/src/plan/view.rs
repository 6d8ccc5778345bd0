//! What a route is told of a request and of its deployments.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use policy::{Condition, Deployment, Facts, Moment, Money, Stand, Sticky, View};
use runtime::Dice;
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::vitals::Vital;
use crate::{admit, headers};

/// Of more tokens than this nobody speaks who does not say how many are wanted.
const USUAL_OUTPUT: u64 = 1_024;
/// Of a request's headers at most these are shown to conditions.
const MOST_HEADERS: usize = 100;

/// Which deployment, and what is known of it.
type Known = (*const Deployment, Option<Arc<Vital>>);

/// One request, as routes see it.
pub(crate) struct Seen<'e> {
    exchange: &'e Exchange,
    headers: &'e HeaderMap,
    content: SmallVec<[&'static str; 2]>,
    tokens: OnceCell<u64>,
    vitals: RefCell<SmallVec<[Known; 4]>>,
    now: Moment,
}

impl<'e> Seen<'e> {
    pub(crate) fn new(exchange: &'e Exchange, headers: &'e HeaderMap) -> Self {
        let content = exchange.asked.weight.content();
        Self {
            exchange,
            headers,
            content: if content.is_text() { SmallVec::new() } else { content.names().collect() },
            tokens: OnceCell::new(),
            vitals: RefCell::default(),
            now: exchange.times.received,
        }
    }

    /// What is known of a deployment; looked up once for a request.
    pub(crate) fn vital(&self, deployment: &Deployment) -> Option<Arc<Vital>> {
        let mut known = self.vitals.borrow_mut();
        let place = std::ptr::from_ref(deployment);
        if let Some((_, vital)) = known.iter().find(|(known, _)| *known == place) {
            return vital.clone();
        }
        let environment = &self.exchange.caller.environment.name;
        let vital = self.exchange.gateway.vitals.of(environment, deployment);
        known.push((place, vital.clone()));
        vital
    }

    /// Tokens of the input, whoever will count them.
    pub(crate) fn tokens(&self) -> u64 {
        let asked = &self.exchange.asked;
        *self.tokens.get_or_init(|| asked.estimate_for(&asked.model))
    }

    fn shown_headers(&self) -> HashMap<String, String> {
        let shown = self.headers.iter().filter(|(name, _)| !headers::is_credential(name.as_str()));
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        shown.filter_map(text).take(MOST_HEADERS).collect()
    }

    fn facts_for(&self, condition: &Condition) -> bool {
        let exchange = self.exchange;
        let headers = || self.shown_headers();
        let facts = Facts {
            model: &exchange.asked.model,
            operation: exchange.endpoint(),
            tokens: self.tokens(),
            max_output: exchange.asked.max_output,
            stream: exchange.asked.stream,
            content: &self.content,
            key: &exchange.caller.key.record.name,
            environment: &exchange.caller.environment.name,
            end_user: exchange.end_user.as_deref().unwrap_or_default(),
            session: exchange.session.as_deref().unwrap_or_default(),
            tags: &exchange.tags,
            headers: &headers,
            at: exchange.at,
        };
        condition.evaluate(&facts).unwrap_or_else(|problem| {
            tracing::debug!(condition = condition.text(), %problem, "a condition cannot be evaluated and does not hold");
            false
        })
    }
}

impl View for Seen<'_> {
    fn draw(&self) -> f64 {
        Dice::unit()
    }

    fn stand(&self, deployment: &Deployment) -> Stand {
        self.exchange.gateway.stand_of(deployment, self.now)
    }

    fn failing(&self, deployment: &Deployment) -> Option<f64> {
        self.exchange.gateway.standings.failing_any(deployment, self.now)
    }

    fn holds(&self, condition: &Condition) -> bool {
        self.facts_for(condition)
    }

    fn content(&self) -> &[&'static str] {
        &self.content
    }

    fn unit(&self, sticky: Sticky) -> Option<&str> {
        match sticky {
            Sticky::EndUser => self.exchange.end_user.as_deref(),
            Sticky::Session => self.exchange.session.as_deref(),
        }
    }

    fn cost(&self, deployment: &Deployment) -> Option<Money> {
        let price = deployment.price.as_ref()?;
        let input = self.exchange.asked.bound_for(&deployment.upstream_model);
        Some(price.upper_bound(input, admit::output_bound(self.exchange, deployment, None)))
    }

    fn price(&self, deployment: &Deployment) -> Option<Money> {
        let output = self.exchange.asked.max_output.unwrap_or(USUAL_OUTPUT);
        let input = self.exchange.asked.estimate_for(&deployment.upstream_model);
        Some(
            deployment
                .price
                .as_ref()?
                .upper_bound(input, output.min(deployment.max_output.unwrap_or(output))),
        )
    }

    fn first_token(&self, deployment: &Deployment) -> Option<Duration> {
        self.vital(deployment)?.first_token(self.exchange.asked.stream, self.now)
    }

    fn in_flight(&self, deployment: &Deployment) -> u32 {
        self.vital(deployment).map_or(0, |vital| vital.under_way())
    }

    fn remaining(&self, deployment: &Deployment) -> Option<f64> {
        self.vital(deployment)?.remaining(self.now)
    }
}
