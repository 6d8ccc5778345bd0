//! Where a request would go, and why, without making it.

use std::sync::Arc;

use bytes::Bytes;
use policy::{Causes, KeyOrigin, KeyRecord, KeyState, Limits, Name, Route, Stand, Target};
use providers::request::{self, Operation};
use runtime::Dice;
use serde::Serialize;

use super::{MAX_ATTEMPTS, credentials, fits, resolve, view::Seen};
use crate::exchange::{Caller, Exchange};
use crate::refusal::Refusal;
use crate::standing::At;
use crate::{Gateway, endpoints};

/// A request that is not made.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The environment's name.
    pub environment: String,
    /// The name of a key of it; without, one that may use everything.
    pub key: Option<String>,
    /// As in the request log: `chat`, `responses`, `messages`, `completions`, `embeddings`. Empty: `chat`.
    pub endpoint: String,
    /// The body.
    pub body: Bytes,
    /// Its headers.
    pub headers: http::HeaderMap,
}

/// Why there is no explanation: the request would be refused, or something in the question is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExplainError {
    /// The code that a client would get, or `invalid_request`.
    pub code: &'static str,
    /// As a client would read it.
    pub message: String,
}

/// A deployment in an explanation.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// `provider/model`.
    pub model: Name,
    /// With which credential, where the provider has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Name>,
    /// Why it stands where it does.
    pub because: String,
    /// Whether it is passed over at present.
    pub away: bool,
}

/// Where a request would go.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The full name of what is asked for.
    pub asked: Name,
    /// The route's strategy; `None` where no route is asked.
    pub strategy: Option<&'static str>,
    /// Tokens of input, estimated.
    pub tokens: u64,
    /// What it has besides text.
    pub content: Vec<&'static str>,
    /// The release that decides.
    pub release: u64,
    /// Who is asked, the first first.
    pub attempts: Vec<Place>,
    /// How many of them at most.
    pub most_attempts: usize,
    /// Who is not asked, and why.
    pub left_out: Vec<Place>,
}

const OPERATIONS: [(&str, Operation); 5] = [
    ("chat", Operation::Chat),
    ("responses", Operation::Responses),
    ("messages", Operation::Messages),
    ("completions", Operation::Completions),
    ("embeddings", Operation::Embeddings),
];

impl Gateway {
    /// Says where a request would go and why; chance is drawn as for a real one.
    pub fn explain(self: &Arc<Self>, question: &Question) -> Result<Explained, ExplainError> {
        let exchange = self.imagined(question)?;
        let seen = Seen::new(&exchange, &question.headers);
        let mut explained = Explained {
            asked: Name::default(),
            strategy: None,
            tokens: seen.tokens(),
            content: policy::View::content(&seen).to_vec(),
            release: exchange.caller.environment.release,
            attempts: Vec::new(),
            most_attempts: MAX_ATTEMPTS,
            left_out: Vec::new(),
        };
        let mut order = Vec::new();
        let names = std::iter::once(&exchange.asked.model).chain(&exchange.asked.fallbacks);
        for (at, name) in names.enumerate() {
            let target = resolve(&exchange, name).map_err(|refusal| refused(&refusal))?;
            if at == 0 {
                explained.asked = Arc::clone(target.name());
            }
            explained.add(&exchange, &seen, target, at > 0, &mut order);
        }
        // As a plan is ordered: what is passed over comes last, and after it what the input does not fit.
        order.sort_by_key(|(_, on, stand, _)| Route::lateness(*on, *stand));
        order.sort_by_key(|(_, _, _, fits)| !fits);
        explained.attempts = order.into_iter().map(|(place, _, _, _)| place).collect();
        Ok(explained)
    }

    fn imagined(self: &Arc<Self>, question: &Question) -> Result<Exchange, ExplainError> {
        let unknown = |message: String| ExplainError { code: "invalid_request", message };
        let endpoint = if question.endpoint.is_empty() { "chat" } else { &question.endpoint };
        let (_, operation) = *OPERATIONS.iter().find(|(name, _)| *name == endpoint).ok_or_else(|| {
            let known: Vec<_> = OPERATIONS.iter().map(|(name, _)| *name).collect();
            unknown(format!("no requests to `{endpoint}` are explained; known are {}", known.join(", ")))
        })?;
        let published = self.published.load();
        let environment = published
            .as_ref()
            .and_then(|snapshot| snapshot.environments.get(question.environment.as_str()))
            .ok_or_else(|| unknown(format!("there is no environment `{}`", question.environment)))?;
        let key = match &question.key {
            None => Arc::new(anybody(&environment.name, self.clock.now())),
            Some(name) => self
                .keyring
                .all()
                .into_iter()
                .find(|key| *key.record.name == **name && key.record.environment == environment.name)
                .ok_or_else(|| unknown(format!("environment `{}` has no key `{name}`", environment.name)))?,
        };
        let caller = Caller { key, environment: Arc::clone(environment) };
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = question.headers.clone();
        let id = Dice::request_id(&self.clock);
        let mut exchange = endpoints::open(self, operation, id, self.clock.moment(), caller, &parts);
        exchange.asked = request::read(operation, &question.body)
            .map_err(|bad| unknown(format!("the request cannot be read: {}", bad.message)))?;
        if exchange.end_user.is_none() {
            exchange.end_user = exchange.asked.end_user.as_deref().map(Into::into);
        }
        exchange.undecided = true;
        crate::rollout::decide(&mut exchange);
        Ok(exchange)
    }
}

impl Explained {
    fn add(
        &mut self,
        exchange: &Exchange,
        seen: &Seen<'_>,
        target: Target,
        by_client: bool,
        order: &mut Vec<(Place, Option<Causes>, Stand, bool)>,
    ) {
        let mut put = |deployment: &policy::Deployment, mut because: String, on, kept: bool| {
            if order.iter().any(|(place, ..)| place.model == deployment.name) {
                return;
            }
            let fits = fits(exchange, deployment);
            if !fits {
                let context = deployment.context.unwrap_or(0);
                because.push_str(&format!("; the input hardly fits its context of {context} tokens"));
            }
            for (by, stand) in credentials::of(exchange, seen, deployment) {
                let (model, credential) = (Arc::clone(&deployment.name), by.credential_name.clone());
                let at = At { deployment, by };
                let (standings, now) = (&exchange.gateway.standings, exchange.times.received);
                let kept = kept && standings.failing(at, now).is_some();
                let stand = if kept { Stand::Ready } else { stand };
                let mut because = because.clone();
                match stand {
                    Stand::Away if credential.is_some() => {
                        because.push_str("; this credential is passed over while there is another");
                    }
                    Stand::Full if credential.is_some() => {
                        because.push_str("; this credential has as many under way as it bears");
                    }
                    _ => {}
                }
                let away = stand == Stand::Away;
                order.push((Place { model, credential, because, away }, on, stand, fits));
            }
        };
        match target {
            Target::Deployment(deployment) => {
                let lacking = deployment.lacks(policy::View::content(seen));
                let model = Arc::clone(&deployment.name);
                if !lacking.is_empty() {
                    let because = format!("it does not take {}", lacking.join(", "));
                    return self.left_out.push(Place { model, credential: None, because, away: false });
                }
                let because = if by_client { "a fallback of the request" } else { "asked for by name" };
                put(&deployment, because.to_owned(), None, false);
            }
            Target::Route(route) => {
                if self.strategy.is_none() {
                    self.strategy = Some(route.strategy.as_str());
                }
                let found = route.order(seen);
                for one in &found.ranked {
                    if one.on.is_some_and(|on| on == Causes::BUDGET) {
                        let because =
                            "a fallback for when a budget is spent, and for nothing else".to_owned();
                        let model = Arc::clone(&one.choice.deployment.name);
                        self.left_out.push(Place { model, credential: None, because, away: false });
                        continue;
                    }
                    put(&one.choice.deployment, route.because(one, seen), one.on, one.kept);
                }
                let out = found.left_out.iter().map(|(choice, why)| Place {
                    model: Arc::clone(&choice.deployment.name),
                    credential: None,
                    because: why.to_string(),
                    away: false,
                });
                self.left_out.extend(out);
            }
        }
    }
}

fn refused(refusal: &Refusal) -> ExplainError {
    ExplainError { code: refusal.code_name(), message: refusal.message.clone() }
}

/// A key that is nobody's and may use everything.
fn anybody(environment: &Name, now: policy::Timestamp) -> KeyState {
    let record = KeyRecord {
        id: policy::KeyId::of_file_key(environment, "explain"),
        name: "anybody".into(),
        environment: Arc::clone(environment),
        hash: None,
        previous: None,
        hint: String::new(),
        models: Vec::new(),
        limits: Limits::default(),
        budgets: Vec::new(),
        durable: false,
        created_at: now,
        expires_at: None,
        revoked_at: None,
        origin: KeyOrigin::File,
    };
    KeyState::new(record, None)
}
