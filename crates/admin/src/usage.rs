//! `GET /api/usage`: what was asked, used and paid, summed. Reads hourly sums, never the request log.

use crate::caller::Caller;
use crate::permissions::Permission;
use crate::read::Asked;
use crate::{Admin, ApiError, spans};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{UsageBy, UsageFilter, UsageRow};

/// The query of `GET /api/usage`.
pub(crate) const QUERY: &[(&str, &str)] = &[
    ("since", "A time (RFC 3339) or a span back from now (`7d`, the default)"),
    ("until", "A time or a span back from now; absent means now"),
    (
        "by",
        "Comma-separated: key, model, provider, environment, day, hour, end_user, release, endpoint; absent means `key,model`",
    ),
    ("environment", "Only this environment"),
    ("key", "Only this key, by name or id"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    since: Option<String>,
    until: Option<String>,
    by: Option<String>,
    environment: Option<String>,
    key: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct UsageList {
    since: String,
    until: Option<String>,
    by: Vec<String>,
    usage: Vec<Map<String, Value>>,
}

pub(crate) async fn read(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<UsageQuery>,
) -> Result<Json<UsageList>, ApiError> {
    let now = admin.clock.now();
    let since = spans::past_point("since", query.since.as_deref().unwrap_or("7d"), now)?;
    let until = query.until.as_deref().map(|text| spans::past_point("until", text, now)).transpose()?;
    let words: Vec<String> = split(query.by.as_deref().unwrap_or("key,model"));
    let by = words.iter().map(|word| parse_by(word)).collect::<Result<Vec<_>, _>>()?;
    let environment = query.environment.map(|asked| caller.handle_of(&asked).to_string());
    let within = caller.scope(Permission::ReadUsage).within();
    let filter = UsageFilter { since: Some(since), until, environment, key: query.key, within, by };
    let rows = admin.store.load()?.usage(&filter).await?;
    let usage = rows.iter().map(|row| view(row, &words)).collect();
    Ok(Json(UsageList { since: since.to_string(), until: until.map(|at| at.to_string()), by: words, usage }))
}

fn split(list: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

fn parse_by(word: &str) -> Result<UsageBy, ApiError> {
    Ok(match word {
        "key" => UsageBy::Key,
        "model" => UsageBy::Model,
        "provider" => UsageBy::Provider,
        "environment" => UsageBy::Environment,
        "day" => UsageBy::Day,
        "hour" => UsageBy::Hour,
        "end_user" => UsageBy::EndUser,
        "release" => UsageBy::Release,
        "endpoint" => UsageBy::Endpoint,
        other => {
            let known = "key, model, provider, environment, day, hour, end_user, release, endpoint";
            return Err(ApiError::Invalid(format!("by: `{other}` is not one of {known}")));
        }
    })
}

/// One row: the fields that were asked for, then the sums.
fn view(row: &UsageRow, words: &[String]) -> Map<String, Value> {
    let mut view = Map::new();
    let text = |name: &Option<policy::Name>| name.as_deref().map_or(Value::Null, Value::from);
    for word in words {
        let value = match word.as_str() {
            "key" => text(&row.key_name),
            "model" => text(&row.model),
            "provider" => text(&row.provider),
            "environment" => text(&row.environment),
            "end_user" => text(&row.end_user),
            "endpoint" => text(&row.endpoint),
            "release" => row.release.map_or(Value::Null, Value::from),
            "day" => row
                .period
                .map_or(Value::Null, |at| at.to_string().chars().take(10).collect::<String>().into()),
            _ => row.period.map_or(Value::Null, |at| at.to_string().into()),
        };
        view.insert(word.clone(), value);
    }
    if words.iter().any(|word| word == "key") {
        view.insert("key_id".into(), text(&row.key_id));
    }
    let counts = [
        ("requests", row.requests),
        ("attempts", row.attempts),
        ("input_tokens", row.input_tokens),
        ("cached_input_tokens", row.cached_input_tokens),
        ("cache_write_tokens", row.cache_write_tokens),
        ("output_tokens", row.output_tokens),
        ("reasoning_tokens", row.reasoning_tokens),
        ("unknown_cost_requests", row.unknown_cost_requests),
        ("estimated_requests", row.estimated_requests),
    ];
    view.extend(counts.map(|(name, count)| (name.to_owned(), Value::from(count))));
    // Where no cost is known at all, the sum is not zero: it is not known.
    let unknown =
        row.cost.nano == 0 && row.unknown_cost_requests > 0 && row.unknown_cost_requests >= row.requests;
    let known = |text: String| if unknown { Value::Null } else { Value::from(text) };
    view.insert("cost".into(), known(row.cost.decimal()));
    view.insert("currency".into(), known(row.cost.currency.to_string()));
    view
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_sum_of_unknown_costs_alone_is_unknown_and_not_zero() {
        let mut row = UsageRow { requests: 2, unknown_cost_requests: 2, ..empty() };
        assert_eq!((&view(&row, &[])["cost"], &view(&row, &[])["currency"]), (&Value::Null, &Value::Null));
        row.requests = 3;
        assert_eq!(view(&row, &[])["cost"], "0.00");
        assert_eq!(view(&empty(), &[])["cost"], "0.00");
    }

    fn empty() -> UsageRow {
        UsageRow {
            period: None,
            environment: None,
            key_id: None,
            key_name: None,
            provider: None,
            model: None,
            end_user: None,
            release: None,
            endpoint: None,
            requests: 0,
            attempts: 0,
            input_tokens: 0,
            cached_input_tokens: 0,
            cache_write_tokens: 0,
            output_tokens: 0,
            reasoning_tokens: 0,
            cost: policy::Money::zero(policy::Currency::USD),
            unknown_cost_requests: 0,
            estimated_requests: 0,
        }
    }

    #[test]
    fn groups_are_known_words_once_each() {
        assert_eq!(split("key, model,key,"), ["key", "model"]);
        assert_eq!(parse_by("end_user").unwrap(), UsageBy::EndUser);
        assert!(parse_by("user").unwrap_err().to_string().contains("end_user"));
    }
}
