//! May this call be made: limits and concurrency before the body is read, model, tokens and money after.

use std::sync::Arc;

use ledger::{Intent, Reservation, Spent};
use policy::{Deployment, KeyState, Money};
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal};

/// What is reserved for the output of a model whose maximum nobody knows, tokens. A stream that passes it asks for more.
pub(crate) const UNKNOWN_OUTPUT: u64 = 4096;

/// Reserves what the dearest of the possible attempts could cost, in every budget of the key, or in none.
pub(crate) fn reserve(exchange: &Exchange, plan: &Plan) -> Result<Reservation, Box<Refusal>> {
    let gateway = &exchange.gateway;
    let key = &exchange.caller.key;
    if key.record.budgets.is_empty() {
        return gateway
            .ledger
            .reserve(&[], Money::zero(policy::Currency::USD), exchange.at)
            .map_err(|s| spent(key, &s));
    }
    let mut worst: Option<Money> = None;
    for (deployment, set) in plan.attempts.iter().map(|step| (&step.deployment, step.max_output)) {
        let Some(price) = &deployment.price else { return Err(price_unknown(key, deployment)) };
        let input = exchange.asked.bound_for(&deployment.upstream_model);
        let bound = price.upper_bound(input, output_bound(exchange, deployment, set));
        if let Some(rule) = key.record.budgets.iter().find(|rule| rule.amount.currency != bound.currency) {
            let message = format!(
                "budget `{}` of key `{}` is in {} and model `{}` is priced in {}: it could not be held",
                rule.name, key.record.name, rule.amount.currency, deployment.name, bound.currency
            );
            return Err(Refusal::new(Code::PriceUnknown, message).about("model"));
        }
        if worst.is_none_or(|worst| bound.nano > worst.nano) {
            worst = Some(bound);
        }
    }
    let amount = worst.unwrap_or(Money::zero(policy::Currency::USD));
    let budgets: SmallVec<[_; 2]> =
        key.record.budgets.iter().map(|rule| (key.budget_scope(rule), rule.clone())).collect();
    gateway.ledger.reserve(&budgets, amount, exchange.at).map_err(|s| spent(key, &s))
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

fn price_unknown(key: &KeyState, deployment: &Deployment) -> Box<Refusal> {
    let budget = key.record.budgets.first().map(|rule| Arc::clone(&rule.name)).unwrap_or_default();
    let message = format!(
        "model `{}` has no known price, so budget `{budget}` of key `{}` could not be held; set `[models.\"{}\"] price` (zero if it is free)",
        deployment.name, key.record.name, deployment.name
    );
    Refusal::new(Code::PriceUnknown, message).about("model")
}

/// The refusal of a budget that is spent, or that cannot hold this request.
pub(crate) fn spent(key: &KeyState, spent: &Spent) -> Box<Refusal> {
    let (name, budget, currency) = (&key.record.name, &spent.budget, spent.limit.currency);
    let state = if spent.spent.nano >= spent.limit.nano {
        "is spent".to_owned()
    } else {
        let wanted = spent.wanted.decimal();
        format!(
            "cannot hold this request, which may cost up to {wanted} {currency} (a lower `max_tokens` needs less)"
        )
    };
    let message = format!("budget `{budget}` of key `{name}` {state}: {}", standing(spent));
    Refusal::new(Code::InsufficientQuota, message)
}

/// A budget that an answer has used up while it was streamed.
pub(crate) fn used_up(key: &KeyState, spent: &Spent) -> Box<Refusal> {
    let (name, budget) = (&key.record.name, &spent.budget);
    let message = format!(
        "budget `{budget}` of key `{name}` has no room for the rest of this answer: {}",
        standing(spent)
    );
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
    let resets = spent.resets.map_or_else(|| "it does not reset".to_owned(), |at| format!("resets {at}"));
    format!("{} of {} {currency}{reserved}; {resets}", spent.spent.decimal(), spent.limit.decimal())
}
