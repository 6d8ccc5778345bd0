//! May this call be made: limits and concurrency before the body is read, model, tokens and money after.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Intent, Reservation, Spent, Waiting};
use policy::{BudgetRule, Deployment, Environment, Money, Name, Per, SharedBudget, name_fits};
use smallvec::SmallVec;

use crate::Gateway;
use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal};

/// What is reserved for the output of a model whose maximum nobody knows, tokens. A stream that passes it asks for more.
pub(crate) const UNKNOWN_OUTPUT: u64 = 4096;

/// The budgets that a request is paid from: those of its key, and those of `[[budgets]]` that cover it.
fn budgets(exchange: &Exchange, asked: &Name) -> SmallVec<[(Name, BudgetRule); 2]> {
    let caller = &exchange.caller;
    let own = caller.key.record.budgets.iter().map(|rule| (caller.key.budget_scope(rule), rule.clone()));
    let mut all: SmallVec<[(Name, BudgetRule); 2]> = own.collect();
    for shared in &caller.environment.budgets {
        if let Some(subject) = subject(exchange, asked, shared) {
            all.push((scope(&caller.environment, shared, &subject), shared.rule.clone()));
        }
    }
    all
}

/// Of whom a shared budget counts here; `None` where it does not cover the request.
fn subject(exchange: &Exchange, asked: &Name, shared: &SharedBudget) -> Option<Name> {
    let (key, environment) = (&exchange.caller.key.record, &exchange.caller.environment);
    let subject = match shared.per {
        Per::Key => Arc::clone(&key.name),
        Per::EndUser => exchange.end_user.clone()?,
        Per::Environment => Arc::clone(&environment.name),
        Per::Workspace => Arc::clone(&environment.workspace),
        Per::Organization => Arc::clone(&environment.organization),
        Per::Model => Some(asked).filter(|asked| !asked.is_empty()).cloned()?,
        Per::Address | Per::Provider | Per::Deployment => return None,
    };
    let of_model = shared.models.is_empty() || (!asked.is_empty() && name_fits(&shared.models, asked));
    (of_model && name_fits(&shared.only, &subject)).then_some(subject)
}

/// Under which name the ledger counts it: `environment dev/users/end_user/u1`; what several environments have in common is
/// counted together.
fn scope(environment: &Environment, shared: &SharedBudget, subject: &str) -> Name {
    let (level, name) = match shared.per {
        Per::Organization => ("", ""),
        Per::Workspace => ("organization ", &*environment.organization),
        _ => ("environment ", &*environment.name),
    };
    let slash = if level.is_empty() { "" } else { "/" };
    // For each request and budget: put together at once, and not piece by piece.
    [level, name, slash, &*shared.rule.name, "/", shared.per.as_str(), "/", subject].concat().into()
}

impl Gateway {
    /// The budgets of others than single keys that are in force, each with the beginning of the names that the ledger has for
    /// its balances.
    pub fn shared_budgets(&self) -> Vec<(Name, Arc<SharedBudget>)> {
        let Some(snapshot) = self.snapshot() else { return Vec::new() };
        let mut all: Vec<_> = snapshot
            .environments
            .values()
            .flat_map(|environment| {
                environment.budgets.iter().map(|shared| (scope(environment, shared, ""), Arc::clone(shared)))
            })
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(one, _), (other, _)| one == other);
        all
    }
}

/// How long a request waits for a lease on a budget that several nodes share.
const LEASE_WAIT: Duration = Duration::from_secs(2);
/// It looks again at least so often: another node may have given something back.
const LEASE_LOOK: Duration = Duration::from_millis(250);
/// When a budget may be divided again.
const DIVIDED_IN: Duration = Duration::from_secs(1);

/// Reserves what the dearest of the possible attempts could cost, in every budget that the request is paid from, or in none.
/// Where several nodes share the budgets, this node may have to be given a share first.
pub(crate) async fn reserve(exchange: &mut Exchange, plan: &Plan) -> Result<Reservation, Box<Refusal>> {
    let budgets = budgets(exchange, &plan.asked);
    exchange.budgeted = !budgets.is_empty();
    if budgets.is_empty() {
        return Ok(Reservation::none(policy::Currency::USD));
    }
    hold(exchange, plan, &budgets).await
}

/// Before an attempt that another name led to than the one before: what is held is held in the budgets of that name, or in none.
/// `None` was held where the last such change was refused.
pub(crate) async fn rebook(
    exchange: &mut Exchange,
    plan: &Plan,
    asked: &Name,
    held: Option<Reservation>,
) -> Result<Reservation, Box<Refusal>> {
    let names_models = |shared: &Arc<SharedBudget>| shared.per == Per::Model || !shared.models.is_empty();
    if let Some(held) = held {
        if !exchange.caller.environment.budgets.iter().any(names_models) {
            return Ok(held);
        }
        drop(held);
    }
    let budgets = budgets(exchange, asked);
    exchange.budgeted = !budgets.is_empty();
    if budgets.is_empty() {
        return Ok(Reservation::none(policy::Currency::USD));
    }
    hold(exchange, plan, &budgets).await
}

/// Holds it in all of these, and waits for a share where this node's does not reach.
async fn hold(
    exchange: &mut Exchange,
    plan: &Plan,
    budgets: &[(Name, BudgetRule)],
) -> Result<Reservation, Box<Refusal>> {
    let amount = worst(exchange, plan, budgets)?;
    let mut waiting = Waiting::default();
    match exchange.gateway.ledger.reserve_again(budgets, amount, exchange.at, &mut waiting) {
        Err(refused) if refused.waits => {
            Box::pin(wait_for_lease(exchange, budgets, amount, &mut waiting)).await
        }
        reserved => reserved.map_err(|refused| spent(exchange, &refused)),
    }
}

/// The same once this node's share of a budget was asked for.
async fn wait_for_lease(
    exchange: &Exchange,
    budgets: &[(Name, BudgetRule)],
    amount: Money,
    waiting: &mut Waiting,
) -> Result<Reservation, Box<Refusal>> {
    let gateway = &exchange.gateway;
    let mut turns = gateway.ledger.lease_turns();
    let until = gateway.clock.moment().plus(LEASE_WAIT);
    loop {
        let refused = match gateway.ledger.reserve_again(budgets, amount, exchange.at, waiting) {
            Ok(reservation) => return Ok(reservation),
            Err(refused) => refused,
        };
        let away = gateway.ledger.sharing().is_none_or(|sharing| sharing.away);
        match &mut turns {
            Some(turns) if refused.waits && !away && gateway.clock.moment() < until => {
                let _ = tokio::time::timeout(LEASE_LOOK, turns.changed()).await;
            }
            _ if refused.waits => return Err(undivided(exchange, &refused)),
            _ => return Err(spent(exchange, &refused)),
        }
    }
}

/// What the dearest of the attempts could cost.
fn worst(
    exchange: &mut Exchange,
    plan: &Plan,
    budgets: &[(Name, BudgetRule)],
) -> Result<Money, Box<Refusal>> {
    let mut worst: Option<Money> = None;
    for (deployment, set) in plan.attempts.iter().map(|step| (&step.deployment, step.max_output)) {
        let Some(price) = &deployment.price else {
            return Err(price_unknown(exchange, budgets, deployment));
        };
        let input = exchange.asked.bound_for(&deployment.upstream_model);
        let bound = price.upper_bound(input, output_bound(exchange, deployment, set));
        if let Some((scope, rule)) = budgets.iter().find(|(_, rule)| rule.amount.currency != bound.currency) {
            let message = format!(
                "{} is in {} and model `{}` is priced in {}: it could not be held",
                named(exchange, scope, &rule.name),
                rule.amount.currency,
                deployment.name,
                bound.currency
            );
            return Err(Refusal::new(Code::PriceUnknown, message).about("model"));
        }
        if worst.is_none_or(|worst| bound.nano > worst.nano) {
            worst = Some(bound);
        }
    }
    Ok(worst.unwrap_or(Money::zero(policy::Currency::USD)))
}

/// The refusal of a budget whose share of this node does not reach, and nobody could be asked in time.
fn undivided(exchange: &Exchange, spent: &Spent) -> Box<Refusal> {
    let message = format!(
        "{} is shared by several gateways, and this one's share does not hold this request; the database that divides it did not \
         give more in time: {}",
        named(exchange, &spent.scope, &spent.budget),
        standing(spent)
    );
    Refusal::new(Code::BudgetUnavailable, message).after(DIVIDED_IN)
}

/// For messages: which budget, and whose.
fn named(exchange: &Exchange, scope: &str, budget: &str) -> String {
    let key = &exchange.caller.key.record;
    let own = key.budgets.iter().any(|rule| *exchange.caller.key.budget_scope(rule) == *scope);
    if own {
        return format!("budget `{budget}` of key `{}`", key.name);
    }
    let shared = exchange.caller.environment.budgets.iter().find(|shared| *shared.rule.name == *budget);
    let per = shared.map_or("environment", |shared| shared.per.words());
    let subject = scope.split_once(&format!("/{}/", shared.map_or("", |shared| shared.per.as_str())));
    format!("budget `{budget}` of {per} `{}`", subject.map_or(scope, |(_, subject)| subject))
}

/// The most output tokens that one call of this deployment can bring, as far as anybody knows; `set` is what a route says in
/// place of the client.
pub(crate) fn output_bound(exchange: &Exchange, deployment: &Deployment, set: Option<u64>) -> u64 {
    if exchange.operation == providers::request::Operation::Embeddings {
        return 0;
    }
    if matches!(exchange.operation, providers::request::Operation::Raw(raw) if raw.has_no_output()) {
        return 0;
    }
    let model = deployment.max_output.or(deployment.context).unwrap_or(UNKNOWN_OUTPUT);
    let one = set.or(exchange.asked.max_output).map_or(model, |asked| {
        // Nothing is known of the model: the client's own cap is what holds.
        if deployment.max_output.or(deployment.context).is_none() { asked } else { asked.min(model) }
    });
    one.saturating_mul(exchange.asked.choices)
}

/// What is written before the call leaves; the input is estimated for the model that is called.
pub(crate) fn intent(exchange: &mut Exchange, deployment: &Arc<Deployment>) -> Intent {
    exchange.asked.weigh_for(&deployment.upstream_model);
    let output_cap = output_bound(exchange, deployment, exchange.set_output);
    Intent {
        request_id: exchange.id,
        attempt_no: exchange.attempts,
        at: exchange.at,
        labels: Arc::clone(&exchange.labels),
        provider: Arc::clone(&deployment.provider.name),
        model: Arc::clone(&deployment.name),
        price: deployment.price.clone(),
        input_bound: exchange.asked.bound_for(&deployment.upstream_model),
        input_estimate: exchange.asked.input_estimate,
        output_cap: Some(output_cap),
        endpoint: exchange.gateway.endpoint_name(exchange.operation),
        model_asked: Arc::clone(&exchange.model_asked),
        stream: exchange.asked.stream,
        end_user: exchange.end_user.clone(),
        session: exchange.session.clone(),
        tags: exchange.tags.clone(),
    }
}

fn price_unknown(
    exchange: &Exchange,
    budgets: &[(Name, BudgetRule)],
    deployment: &Deployment,
) -> Box<Refusal> {
    let whose = budgets.first().map(|(scope, rule)| named(exchange, scope, &rule.name)).unwrap_or_default();
    let message = format!(
        "model `{}` has no known price, so {whose} could not be held; set `[models.\"{}\"] price` (zero if it is free)",
        deployment.name, deployment.name
    );
    Refusal::new(Code::PriceUnknown, message).about("model")
}

/// The refusal of a budget that is spent, or that cannot hold this request.
fn spent(exchange: &Exchange, spent: &Spent) -> Box<Refusal> {
    let (whose, currency) = (named(exchange, &spent.scope, &spent.budget), spent.limit.currency);
    let wanted = spent.wanted.decimal();
    let message = if spent.is_ceiling {
        let most = spent.limit.decimal();
        format!(
            "{whose} lets one request cost {most} {currency}; this one may cost up to {wanted} {currency} (a lower `max_tokens` needs less)"
        )
    } else if spent.spent.nano >= spent.limit.nano {
        format!("{whose} is spent: {}", standing(spent))
    } else {
        format!(
            "{whose} cannot hold this request, which may cost up to {wanted} {currency} (a lower `max_tokens` needs less): {}",
            standing(spent)
        )
    };
    Refusal::new(Code::InsufficientQuota, message)
}

/// A budget that an answer has used up while it was streamed.
pub(crate) fn used_up(exchange: &Exchange, spent: &Spent) -> Box<Refusal> {
    let whose = named(exchange, &spent.scope, &spent.budget);
    let message = if spent.is_ceiling {
        let (most, currency) = (spent.limit.decimal(), spent.limit.currency);
        format!("{whose} lets one request cost {most} {currency}, and the rest of this answer may cost more")
    } else {
        format!("{whose} has no room for the rest of this answer: {}", standing(spent))
    };
    Refusal::new(Code::InsufficientQuota, message)
}

/// `25.00 of 25.00 USD, 0.10 USD reserved by requests in flight; resets 2026-12-01T00:00:00Z`
fn standing(spent: &Spent) -> String {
    let currency = spent.limit.currency;
    let reserved = if spent.reserved.nano > 0 {
        format!(", {} {currency} reserved by requests in flight", spent.reserved.decimal())
    } else {
        String::new()
    };
    let elsewhere = if spent.elsewhere.nano > 0 {
        let away = if spent.away.nano > 0 {
            format!(" ({} of it with some that are away)", spent.away.decimal())
        } else {
            String::new()
        };
        format!(", {} {currency} with other gateways{away}", spent.elsewhere.decimal())
    } else {
        String::new()
    };
    let resets = spent.resets.map_or_else(|| "it does not reset".to_owned(), |at| format!("resets {at}"));
    format!(
        "{} of {} {currency}{reserved}{elsewhere}; {resets}",
        spent.spent.decimal(),
        spent.limit.decimal()
    )
}
