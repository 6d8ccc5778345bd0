//! `tidegate keys`: make, list, rotate and revoke virtual keys.

use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::{Outcome, WrongUsage};
use crate::table::{Lean, Table, grouped};
use crate::terminal::{Terminal, Tone, complain, harmless};
use anyhow::bail;
use clap::Subcommand;
use serde_json::{Map, Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key; its secret is shown this once
    #[command(after_help = "Examples:
  tidegate keys create my-app
  tidegate keys create my-app --model 'openai/*' --requests-per-minute 600 --budget 25.00/month
  tidegate keys create --offline       print a secret in our format, for the settings file")]
    Create(Create),
    /// List keys with their limits and budgets
    #[command(after_help = "Example:\n  tidegate keys list --json")]
    List(List),
    /// Give a key a new secret
    #[command(after_help = "Examples:
  tidegate keys rotate my-app                 the old secret stops at once
  tidegate keys rotate my-app --grace 48h     the old secret works for two more days")]
    Rotate(Rotate),
    /// End a key at once
    #[command(after_help = "Example:\n  tidegate keys revoke my-app")]
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What the key is called; unique among the keys of its environment
    #[arg(required_unless_present = "offline")]
    name: Option<String>,
    /// The environment it belongs to [default: dev]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// A model it may use: a name, `provider/*` or `*`; may be repeated [default: all]
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Requests a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_minute: Option<u64>,
    /// Tokens a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_minute: Option<u64>,
    /// Requests at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Any other limit, as in requests_per_day=1000 or output_tokens_per_hour=50000; may be repeated
    #[arg(long = "limit", value_name = "NAME=N", value_parser = named_limit)]
    limits: Vec<(String, u64)>,
    /// Money and its window, as in 25.00/month or 180CNY/day; may be repeated
    #[arg(long = "budget", value_name = "BUDGET")]
    budgets: Vec<String>,
    /// Wait for power-safe accounting on every call
    #[arg(long)]
    durable: bool,
    /// When it ends: a span (30d) or a time (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Only print a secret in our format; no server is asked
    #[arg(long, conflicts_with_all = ["environment", "models", "requests_per_minute", "tokens_per_minute", "concurrency", "limits", "budgets", "durable", "expires"])]
    offline: bool,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Revoked keys too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// The key's name or id
    key: String,
    /// The environment, where several have a key of that name
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How long the old secret goes on working [default: not at all]
    #[arg(long, value_name = "SPAN")]
    grace: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The key's name or id
    key: String,
    /// The environment, where several have a key of that name
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let mut terminal = Terminal::stdout();
    match args.what {
        What::Create(ask) if ask.offline => offline(&ask, &mut terminal),
        What::Create(ask) => create(&Control::of(place)?, ask, &mut terminal).await,
        What::List(ask) => list(&Control::of(place)?, &ask, &mut terminal).await,
        What::Rotate(ask) => rotate(&Control::of(place)?, &ask, &mut terminal).await,
        What::Revoke(ask) => revoke(&Control::of(place)?, &ask, &mut terminal).await,
    }
}

fn offline(ask: &Create, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let secret = policy::key::mint(runtime::random_bytes());
    if ask.shape.json {
        terminal.json(&json!({ "name": ask.name, "secret": secret.expose() }))?;
    } else {
        terminal.line(secret.expose())?;
    }
    Ok(Outcome::Done)
}

async fn create(control: &Control, ask: Create, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let shape = ask.shape;
    let made = control.post("/api/keys", &body_of(&ask)?).await?;
    for warning in made["warnings"].as_array().into_iter().flatten() {
        complain(&format!("warning: {}", text(warning)));
    }
    if shape.json {
        terminal.json(&with_secret(made))?;
        return Ok(Outcome::Done);
    }
    let name = text(&made["key"]["name"]);
    let environment = text(&made["key"]["environment"]);
    terminal.line(&format!("Key {} of environment {environment}:", terminal.paint(Tone::Strong, &name)))?;
    print_secret(terminal, &made)?;
    Ok(Outcome::Done)
}

fn body_of(ask: &Create) -> anyhow::Result<Value> {
    let budgets = ask.budgets.iter().map(|text| parse_budget(text)).collect::<Result<Vec<_>, _>>()?;
    let usual = [
        ("requests_per_minute", ask.requests_per_minute),
        ("tokens_per_minute", ask.tokens_per_minute),
        (policy::Limits::CONCURRENCY, ask.concurrency.map(u64::from)),
    ];
    let usual = usual.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?)));
    let limits: std::collections::BTreeMap<_, _> = usual.chain(ask.limits.iter().cloned()).collect();
    Ok(json!({
        "name": ask.name,
        "environment": ask.environment,
        "models": ask.models,
        "limits": limits,
        "budgets": budgets,
        "durable": ask.durable,
        "expires_at": ask.expires,
    }))
}

/// `25.00/month`, `180CNY/day`: the server checks the parts, this only takes them apart.
fn parse_budget(text: &str) -> Result<Value, WrongUsage> {
    let refused =
        || WrongUsage(format!("--budget: `{text}` is not AMOUNT[CURRENCY]/WINDOW, as in 25.00/month"));
    let (money, window) = text.split_once('/').ok_or_else(refused)?;
    let money = money.trim();
    let end = money.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(money.len());
    let (amount, currency) = (&money[..end], money[end..].trim());
    if amount.is_empty() || !currency.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(refused());
    }
    let mut budget = json!({ "amount": amount, "window": window.trim() });
    if !currency.is_empty() {
        budget["currency"] = Value::String(currency.to_ascii_uppercase());
    }
    Ok(budget)
}

async fn list(control: &Control, ask: &List, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let query = [("environment", ask.environment.clone()), ("revoked", ask.all.then(|| "true".to_owned()))];
    let answer = control.get("/api/keys", &query).await?;
    let keys = answer["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ask.shape.json {
        for key in keys {
            terminal.json(key)?;
        }
        return Ok(Outcome::Done);
    }
    if keys.is_empty() {
        terminal.line("No keys yet. Make one: tidegate keys create NAME")?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("NAME", Lean::Left),
        ("ENVIRONMENT", Lean::Left),
        ("KEY", Lean::Left),
        ("STATUS", Lean::Left),
        ("MODELS", Lean::Left),
        ("LIMITS", Lean::Left),
        ("BUDGETS", Lean::Left),
        ("OWNER", Lean::Left),
        ("CREATED", Lean::Left),
    ]);
    for key in keys {
        table.row(row_of(key));
    }
    table.print(terminal)?;
    if answer["more"].as_bool() == Some(true) {
        terminal.line("There are more; narrow the list with --environment.")?;
    }
    Ok(Outcome::Done)
}

fn row_of(key: &Value) -> Vec<(String, Tone)> {
    let status = text(&key["status"]);
    let tone = match status.as_str() {
        "active" => Tone::Good,
        "no_secret" => Tone::Warn,
        _ => Tone::Bad,
    };
    vec![
        (text(&key["name"]), Tone::Strong),
        (text(&key["environment"]), Tone::Plain),
        (text(&key["hint"]), Tone::Quiet),
        (status.replace('_', " "), tone),
        (models_of(key), Tone::Plain),
        (limits_of(&key["limits"]), Tone::Plain),
        (budgets_of(key), Tone::Plain),
        (text(&key["owner"]), Tone::Quiet),
        (day_of(&key["created_at"]), Tone::Quiet),
    ]
}

fn models_of(key: &Value) -> String {
    let names: Vec<&str> = key["models"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match names.as_slice() {
        [] => "all".to_owned(),
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} +{}", rest.len()),
        some => some.join(", "),
    }
}

/// `requests_per_day=1000`
fn named_limit(text: &str) -> Result<(String, u64), String> {
    let (name, limit) = text.split_once('=').ok_or("write NAME=N, as in requests_per_day=1000")?;
    if !policy::Limits::names().any(|known| known == name) {
        let known: Vec<_> = policy::Limits::names().collect();
        return Err(format!("there is no limit `{name}`; known are {}", known.join(", ")));
    }
    match limit.parse() {
        Ok(limit) if limit > 0 => Ok((name.to_owned(), limit)),
        _ => Err(format!("`{limit}` is not a whole number above 0")),
    }
}

/// `1,200 req/min, 5 at once`
fn limits_of(limits: &Value) -> String {
    let said = |name: String| {
        let limit = grouped(limits[&name].as_u64()?);
        let Some(rate) = policy::LimitRate::named(&name) else { return Some(format!("{limit} at once")) };
        let counted = match rate.counted {
            policy::Counted::Requests => "req",
            policy::Counted::Tokens => "tok",
            policy::Counted::InputTokens => "tok in",
            policy::Counted::OutputTokens => "tok out",
        };
        let span = match rate.span {
            policy::Span::Second => "s",
            policy::Span::Minute => "min",
            policy::Span::Hour => "h",
            policy::Span::Day => "day",
        };
        Some(format!("{limit} {counted}/{span}"))
    };
    policy::Limits::names().filter_map(said).collect::<Vec<_>>().join(", ")
}

fn budgets_of(key: &Value) -> String {
    let budgets = key["budgets"].as_array().into_iter().flatten();
    let parts = budgets.map(|budget| {
        let [spent, amount, currency, window] =
            ["spent", "amount", "currency", "window"].map(|f| text(&budget[f]));
        format!("{spent} of {amount} {currency}/{window}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

async fn rotate(control: &Control, ask: &Rotate, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let key = find_key(control, &ask.key, ask.environment.as_deref()).await?;
    let mut body = Map::new();
    if let Some(grace) = &ask.grace {
        body.insert("grace".into(), Value::String(grace.clone()));
    }
    let path = format!("/api/keys/{}/rotate", text(&key["id"]));
    let made = control.post(&path, &Value::Object(body)).await?;
    if ask.shape.json {
        terminal.json(&with_secret(made))?;
        return Ok(Outcome::Done);
    }
    let name = terminal.paint(Tone::Strong, &text(&made["key"]["name"]));
    match made["key"]["previous_until"].as_str() {
        Some(until) => terminal.line(&format!("New secret of {name}; the old one works until {until}:"))?,
        None => terminal.line(&format!("New secret of {name}; the old one stopped working:"))?,
    }
    print_secret(terminal, &made)?;
    Ok(Outcome::Done)
}

async fn revoke(control: &Control, ask: &Revoke, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let key = find_key(control, &ask.key, ask.environment.as_deref()).await?;
    let answer = control.post(&format!("/api/keys/{}/revoke", text(&key["id"])), &json!({})).await?;
    if ask.shape.json {
        terminal.json(&answer["key"])?;
    } else {
        let name = terminal.paint(Tone::Strong, &text(&answer["key"]["name"]));
        terminal.line(&format!("Key {name} is revoked; it is refused from now on."))?;
    }
    Ok(Outcome::Done)
}

/// The key by id, or the one live key by that name.
async fn find_key(control: &Control, asked: &str, environment: Option<&str>) -> anyhow::Result<Value> {
    if asked.starts_with("key_") {
        return Ok(json!({ "id": asked }));
    }
    let query = [("name", Some(asked.to_owned())), ("environment", environment.map(str::to_owned))];
    let mut answer = control.get("/api/keys", &query).await?;
    let found = answer["keys"].as_array_mut().map(std::mem::take).unwrap_or_default();
    match <[Value; 1]>::try_from(found) {
        Ok([key]) => Ok(key),
        Err(none) if none.is_empty() => bail!("no key is called `{asked}`; see `tidegate keys list`"),
        Err(several) => {
            let places: Vec<String> = several.iter().map(|key| text(&key["environment"])).collect();
            bail!("`{asked}` is in several environments: {}; say --environment", places.join(", "))
        }
    }
}

/// The key's own fields and its secret side by side, so that scripts read one flat object.
fn with_secret(mut made: Value) -> Value {
    let secret = made["secret"].take();
    let mut key = made["key"].take();
    key["secret"] = secret;
    key
}

fn print_secret(terminal: &mut Terminal, made: &Value) -> anyhow::Result<()> {
    let secret = terminal.paint(Tone::Accent, &text(&made["secret"]));
    terminal.line(&format!("\n  {secret}\n"))?;
    terminal.line("It is shown this once; nobody can read it again.")?;
    Ok(())
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(
        || if value.is_null() { String::new() } else { value.to_string() },
        |text| harmless(text, false),
    )
}

fn day_of(value: &Value) -> String {
    text(value).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_budget_is_an_amount_and_a_window() {
        assert_eq!(parse_budget("25.00/month").unwrap(), json!({ "amount": "25.00", "window": "month" }));
        let yuan = json!({ "amount": "180", "window": "day", "currency": "CNY" });
        assert_eq!(parse_budget("180cny/day").unwrap(), yuan);
        assert_eq!(parse_budget("180 CNY / day").unwrap(), yuan);
        for bad in ["25", "/month", "USD/month", "2 5x1/day"] {
            assert!(parse_budget(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_row_reads_like_a_sentence() {
        let key = json!({
            "name": "app", "environment": "dev", "hint": "tg-Ab…Z", "status": "active", "models": ["chat", "openai/*", "x", "y"],
            "limits": { "requests_per_minute": 1200, "tokens_per_minute": null, "concurrency": 5 },
            "budgets": [{ "spent": "0.50", "amount": "25.00", "currency": "USD", "window": "month" }],
            "owner": "live", "created_at": "2026-11-22T19:30:00.123Z",
        });
        let cells: Vec<String> = row_of(&key).into_iter().map(|(text, _)| text).collect();
        assert_eq!(cells[4], "chat, openai/* +2");
        assert_eq!(cells[5], "1,200 req/min, 5 at once");
        assert_eq!(cells[6], "0.50 of 25.00 USD/month");
        assert_eq!(cells[8], "2026-11-22");
    }
}
