//! `GET /api/budgets`: what each budget has spent and holds, and what was lately reached.

use crate::Admin;
use crate::caller::Caller;
use crate::permissions::Permission;
use axum::Json;
use axum::extract::{Query, State};
use ledger::Balance;
use policy::{BudgetRule, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Balances in one answer.
const MOST: usize = 10_000;

/// Query parameters.
pub(crate) const QUERY: &[(&str, &str)] = &[("scope", "only balances whose scope begins with this")];

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    scope: String,
}

/// A budget with the rule that made it, as the data plane knows it.
#[derive(Clone, Debug)]
pub struct KnownBudget {
    /// The beginning of the names of its balances.
    pub scope: Name,
    /// The whole name, and not only the beginning.
    pub whole: bool,
    /// Whose it is, in words.
    pub whose: String,
    /// Where it holds, and so who may see it.
    pub place: BudgetPlace,
    /// What it says.
    pub rule: BudgetRule,
}

/// Where a budget holds, by handles.
#[derive(Clone, Debug)]
pub enum BudgetPlace {
    /// In an environment.
    Environment(Name),
    /// In each workspace of an organization.
    Workspaces(Name),
    /// In each organization.
    Organizations,
}

impl KnownBudget {
    /// Whether the caller may see the balance of this name.
    fn is_seen(&self, caller: &Caller, scope: &str) -> bool {
        let subject = scope.strip_prefix(&*self.scope).unwrap_or_default();
        match &self.place {
            BudgetPlace::Environment(handle) => caller.scope(Permission::ReadUsage).contains(handle),
            BudgetPlace::Workspaces(organization) => caller.sees_workspace(organization, subject),
            BudgetPlace::Organizations => caller.sees_organization(subject),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct BudgetList {
    budgets: Vec<BudgetState>,
    /// The newest last.
    reached: Vec<Reached>,
}

#[derive(Serialize)]
struct BudgetState {
    scope: Name,
    name: Name,
    whose: String,
    amount: String,
    currency: String,
    window: &'static str,
    time_zone: String,
    warn_at: Vec<u8>,
    spent: String,
    reserved: String,
    /// Where several gateways share it: what this one has spent, what it may spend of the window in all, and what the others
    /// may. `reserved` is this one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    spent_here: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leased: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
    window_start: String,
    resets_at: Option<String>,
    #[serde(skip)]
    start: Timestamp,
}

#[derive(Serialize)]
struct Reached {
    at: String,
    scope: Name,
    budget: Name,
    percent: u8,
    spent: String,
    amount: String,
    currency: String,
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Json<BudgetList> {
    let now = admin.clock.now();
    let mut balances: HashMap<(Name, Timestamp), Balance> = HashMap::new();
    for balance in admin.live.balances() {
        balances.insert((balance.scope.clone(), balance.window_start), balance);
    }
    let shares = admin.live.shares_budgets();
    let here: HashMap<_, _> = balances.iter().map(|(window, one)| (window.clone(), one.spent)).collect();
    if shares && let Some(store) = admin.store.find() {
        // What the other gateways have spent is in the database.
        for (scope, window_start, spent) in store.balances().await.unwrap_or_default() {
            let zero = policy::Money::zero(spent.currency);
            let known = balances.entry((scope.clone(), window_start)).or_insert(Balance {
                scope,
                window_start,
                spent: zero,
                reserved: zero,
                leased: None,
            });
            known.spent.nano = known.spent.nano.max(spent.nano);
        }
    }
    let (mut budgets, mut seen) = (Vec::new(), HashSet::new());
    for known in admin.live.budgets() {
        let (start, resets) = known.rule.window.span(now, &known.rule.zone);
        let mine =
            |scope: &Name| if known.whole { *scope == known.scope } else { scope.starts_with(&*known.scope) };
        let current = balances.values().filter(|one| one.window_start == start && mine(&one.scope));
        let mut states: Vec<_> =
            current.map(|one| state(&known, &one.scope, Some(one), start, resets)).collect();
        if states.is_empty() && known.whole {
            states.push(state(&known, &known.scope, None, start, resets));
        }
        states.retain(|state| known.is_seen(&caller, &state.scope));
        seen.extend(states.iter().map(|state| state.scope.clone()));
        budgets.extend(states.into_iter().filter(|state| state.scope.starts_with(&asked.scope)));
    }
    if shares {
        for budget in &mut budgets {
            let spent = here.get(&(budget.scope.clone(), budget.start));
            budget.spent_here = Some(spent.map_or_else(|| "0.00".to_owned(), policy::Money::decimal));
        }
    }
    budgets.sort_by(|one, other| one.scope.cmp(&other.scope));
    budgets.truncate(MOST);
    let crossed =
        admin.live.crossed().into_iter().filter(|(_, one)| caller.is_host() || seen.contains(&one.scope));
    let reached = crossed.map(|(at, one)| Reached {
        at: at.to_string(),
        scope: one.scope,
        budget: one.budget,
        percent: one.percent,
        spent: one.spent.decimal(),
        amount: one.limit.decimal(),
        currency: one.limit.currency.to_string(),
    });
    Json(BudgetList { budgets, reached: reached.collect() })
}

fn state(
    known: &KnownBudget,
    scope: &Name,
    balance: Option<&Balance>,
    start: Timestamp,
    resets: Option<Timestamp>,
) -> BudgetState {
    let rule = &known.rule;
    let zero = policy::Money::zero(rule.amount.currency);
    let subject = scope.strip_prefix(&*known.scope).unwrap_or_default();
    BudgetState {
        scope: scope.clone(),
        name: rule.name.clone(),
        whose: if known.whole { known.whose.clone() } else { format!("{} {subject}", known.whose) },
        amount: rule.amount.decimal(),
        currency: rule.amount.currency.to_string(),
        window: rule.window.as_str(),
        time_zone: rule.zone.as_str().to_owned(),
        warn_at: rule.warn_at.as_deref().unwrap_or_default().to_vec(),
        spent: balance.map_or(zero, |one| one.spent).decimal(),
        reserved: balance.map_or(zero, |one| one.reserved).decimal(),
        leased: balance.and_then(|one| one.leased).map(|(here, _)| here.decimal()),
        elsewhere: balance.and_then(|one| one.leased).map(|(_, elsewhere)| elsewhere.decimal()),
        spent_here: None,
        start,
        window_start: start.to_string(),
        resets_at: resets.map(|at| at.to_string()),
    }
}
