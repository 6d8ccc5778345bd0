//! From the checked tree to a [`Document`], with the checks that need more than one field.
//!
//! It runs only on a tree without errors, so a value that is there has its form; where it asks, it takes
//! absence for "not said".

mod guardrails;
mod overload;
mod providers;

use super::check::weight;
use super::cluster;
use super::document::*;
use super::finding::Findings;
use super::people;
use super::shape::{Field, ROOT, Shape, fields};
use super::source::{Spot, Tree, Value, integer, json};
use super::value;
use crate::ids::Name;
use crate::keyring::{BudgetRule, SharedBudget};
use crate::limits::{LimitRule, Limits, Per};
use crate::money::{Currency, Money, NANO};
use crate::price::{Price, Rate, Tier};
use crate::route::{Causes, Sticky, Strategy};
use crate::snapshot::Layer;
use crate::snapshot::TAKES;
use crate::window::{Window, Zone};
use std::collections::BTreeMap;
use std::time::Duration;

/// A table of the document, with the fields that it may have.
pub(super) struct Node<'n, 't> {
    tree: &'n Tree<'t>,
    groups: &'static [&'static [Field]],
    at: Place,
    findings: &'n Findings,
}

impl<'n, 't> Node<'n, 't> {
    /// The value of a field, and its shape. Asking for a field that the table of shapes lacks is a mistake of
    /// ours, which any test shows.
    fn find(&self, name: &str) -> Option<(&'n Spot<'t>, &'static Shape)> {
        let field = fields(self.groups).find(|field| field.name == name);
        debug_assert!(field.is_some(), "the table of shapes has no field `{name}` here");
        Some((self.tree.get(name)?, &field?.shape))
    }

    pub(super) fn place(&self, name: &str) -> Place {
        self.tree.get(name).map_or(self.at, |spot| self.findings.place(spot.span().start))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'n str> {
        self.find(name)?.0.get_ref().as_str()
    }

    /// A text, read by the same function that checked it.
    pub(super) fn read<T, E>(&self, name: &str, read: fn(&str) -> Result<T, E>) -> Option<T> {
        read(self.text(name)?).ok()
    }

    pub(super) fn placed<T, E>(&self, name: &str, read: fn(&str) -> Result<T, E>) -> Option<Placed<T>> {
        Some(Placed { value: self.read(name, read)?, at: self.place(name) })
    }

    fn name(&self, name: &str) -> Option<Name> {
        self.text(name).map(Name::from)
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        self.find(name)?.0.get_ref().as_bool()
    }

    fn placed_bool(&self, name: &str) -> Option<Placed<bool>> {
        Some(Placed { value: self.boolean(name)?, at: self.place(name) })
    }

    pub(super) fn count(&self, name: &str) -> Option<u64> {
        integer(self.find(name)?.0.get_ref()).and_then(|count| u64::try_from(count).ok())
    }

    /// The field `weight`; 1 where nothing is said.
    fn weight(&self) -> Option<f64> {
        match self.find("weight").map(|(spot, _)| spot.get_ref()) {
            None => Some(1.0),
            Some(Value::Float(float)) => weight(float.as_str()),
            Some(whole) => integer(whole).map(|whole| whole as f64),
        }
    }

    fn decimal(&self, name: &str) -> Option<i64> {
        match self.find(name)?.0.get_ref() {
            Value::String(text) => value::amount(text).ok(),
            whole => integer(whole)?.checked_mul(NANO),
        }
    }

    fn rate(&self, name: &str) -> Option<Rate> {
        self.decimal(name).map(Rate)
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        self.read(name, value::duration)
    }

    fn table(&self, name: &str) -> Option<Node<'n, 't>> {
        let (spot, shape) = self.find(name)?;
        self.within(spot, shape)
    }

    /// The node of a value that is a table.
    fn within(&self, spot: &'n Spot<'t>, shape: &'static Shape) -> Option<Node<'n, 't>> {
        let (Shape::Table(groups), Value::Table(tree)) = (shape, spot.get_ref()) else { return None };
        Some(Node { tree, groups, at: self.findings.place(spot.span().start), findings: self.findings })
    }

    fn list(&self, name: &str) -> Vec<(&'n Spot<'t>, &'static Shape)> {
        match self.find(name).map(|(spot, shape)| (spot.get_ref(), shape)) {
            Some((Value::Array(list), Shape::List(of, _))) => list.iter().map(|item| (item, *of)).collect(),
            Some((Value::Array(list), Shape::Either(_, Shape::List(of, _)))) => {
                list.iter().map(|item| (item, *of)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn names(&self, name: &str) -> Vec<Placed<Name>> {
        let texts = self.list(name).into_iter().filter_map(|(item, _)| {
            let at = self.findings.place(item.span().start);
            Some(Placed { value: Name::from(item.get_ref().as_str()?), at })
        });
        texts.collect()
    }

    /// The tables of a table whose names are the user's own, each placed at its name.
    fn named<T>(&self, name: &str, read: impl Fn(&Node<'_, '_>) -> T) -> BTreeMap<Name, T> {
        let Some((spot, Shape::Named(_, shape))) = self.find(name) else { return BTreeMap::new() };
        let tables = spot.get_ref().as_table().into_iter().flatten().filter_map(|(key, value)| {
            let at = self.findings.place(key.span().start);
            let node = Node { at, ..self.within(value, shape)? };
            Some((Name::from(&**key.get_ref()), read(&node)))
        });
        tables.collect()
    }
}

/// Reads a checked tree; adds what is wrong between fields to the findings.
pub(super) fn document(tree: &Tree<'_>, file: &str, findings: &mut Findings) -> Document {
    let Shape::Table(groups) = &ROOT else { return Document::empty(file) };
    let root = Node { tree, groups, at: Place { line: 1, column: 1 }, findings };
    let mut document = Document::empty(file);
    let mut notes = Notes::default();
    if let Some(node) = root.table("server") {
        document.server = server(&node, &mut notes);
    }
    if let Some(node) = root.table("store") {
        document.store = StoreSettings {
            url: node.read("url", value::store_url).unwrap_or(StoreUrl::Sqlite),
            retention: node.duration("retention").unwrap_or(StoreSettings::default().retention),
        };
    }
    document.cluster = root.table("cluster").map(|node| cluster::read(&node, &mut notes));
    document.smtp = root.table("smtp").map(|node| people::read(&node, &mut notes));
    document.environments = environments(&root, &mut notes);
    for environment in &document.environments {
        keys(environment, &mut notes);
    }
    for (at, message, help) in notes.errors {
        findings.error(at, message, help);
    }
    document
}

/// The same of a document that describes one environment and nothing else.
pub(super) fn hosted(
    tree: &Tree<'_>,
    base: EnvironmentDocument,
    findings: &mut Findings,
) -> EnvironmentDocument {
    let Shape::Table(groups) = &ROOT else { return base };
    let root = Node { tree, groups, at: Place { line: 1, column: 1 }, findings };
    let mut notes = Notes::default();
    let read = environment(&root, base, &mut notes);
    for (at, message, help) in notes.errors {
        findings.error(at, message, help);
    }
    read
}

/// Errors made while the tree still borrows the real list.
#[derive(Default)]
pub(super) struct Notes {
    errors: Vec<(Place, String, Option<String>)>,
}

impl Notes {
    pub(super) fn error(&mut self, at: Place, message: impl Into<String>, help: &str) {
        self.errors.push((at, message.into(), Some(help.to_owned())));
    }
}

fn server(node: &Node<'_, '_>, notes: &mut Notes) -> Server {
    let base = Server::default();
    let path_text = |node: &Node<'_, '_>, name| {
        node.read(name, value::path).map(|path| path.display().to_string()).unwrap_or_default()
    };
    let drain = node.table("drain");
    let drained = |name| drain.as_ref().and_then(|drain| drain.duration(name));
    let server = Server {
        listen: node.read("listen", value::address).unwrap_or(base.listen),
        data_dir: node.read("data_dir", value::path).unwrap_or(base.data_dir),
        admin_listen: node.read("admin_listen", value::address),
        trusted_proxies: node
            .names("trusted_proxies")
            .iter()
            .filter_map(|text| value::network(&text.value).ok())
            .collect(),
        admin_on_public_port: node.boolean("admin_on_public_port").unwrap_or(false),
        tls: node
            .table("tls")
            .map(|tls| Tls { certificate: path_text(&tls, "certificate"), key: path_text(&tls, "key") }),
        master_key: node.placed("master_key", value::secret),
        max_body: node.read("max_body", value::size).unwrap_or(base.max_body),
        max_memory: node.read("max_memory", value::size),
        overload: overload::read(node),
        drain: DrainTimes {
            accept: drained("accept").unwrap_or(base.drain.accept),
            deadline: drained("deadline").unwrap_or(base.drain.deadline),
        },
        segment_bytes: node.read("segment_bytes", value::size).unwrap_or(base.segment_bytes),
        log: if node.text("log") == Some("json") { LogFormat::Json } else { LogFormat::Text },
        allow_private_upstreams: node
            .boolean("allow_private_upstreams")
            .unwrap_or(base.allow_private_upstreams),
        sign_up: match node.text("sign_up") {
            Some("open") => Some(SignUp::Open),
            Some("invite") => Some(SignUp::Invite),
            Some("closed") => Some(SignUp::Closed),
            _ => None,
        },
    };
    if !server.listen.ip().is_loopback() && server.admin_listen.is_none() && !server.admin_on_public_port {
        notes.error(
            node.place("listen"),
            format!(
                "`server.listen` {} is not loopback, so /api, / and /metrics would be public",
                server.listen
            ),
            "set `admin_listen = \"127.0.0.1:8081\"`, or `admin_on_public_port = true` if that is meant",
        );
    }
    if server.admin_listen.is_some_and(|admin| admin == server.listen && admin.port() != 0) {
        notes.error(
            node.place("admin_listen"),
            format!("`server.admin_listen` is the same address as `server.listen`: {}", server.listen),
            "use another port, or leave `admin_listen` out",
        );
    }
    // A body is held twice: as it came, and as it goes to a provider.
    let largest = ByteSize(server.max_body.0.saturating_mul(2));
    if server.max_memory.is_some_and(|memory| memory < largest) {
        notes.error(
            node.place("max_memory"),
            "`server.max_memory` is smaller than twice `server.max_body`, so the largest body could never be read",
            "raise max_memory or lower max_body",
        );
    }
    if !(ByteSize(64 << 10)..=ByteSize(4 << 30)).contains(&server.segment_bytes) {
        notes.error(
            node.place("segment_bytes"),
            format!("`server.segment_bytes` is {}, which is not from 64KiB to 4GiB", server.segment_bytes),
            "leave it out to have 64MiB",
        );
    }
    server
}

/// The environment of the top-level tables first, then those with a name.
/// The tables of an environment that are part of its releases.
const OF_RELEASES: [&str; 8] =
    ["providers", "models", "routes", "logs", "cache", "guardrails", "limits", "budgets"];

fn environments(root: &Node<'_, '_>, notes: &mut Notes) -> Vec<EnvironmentDocument> {
    let mut top = environment(root, EnvironmentDocument::dev(), notes);
    top.said = OF_RELEASES.iter().any(|name| root.tree.contains_key(*name));
    let told = ["providers", "models", "routes", "keys", "logs", "cache", "guardrails"]
        .into_iter()
        .find(|name| root.tree.contains_key(*name));
    let mut named = Vec::new();
    let Some((spot, Shape::Named(_, shape))) = root.find("environments") else { return vec![top] };
    for (key, value) in spot.get_ref().as_table().into_iter().flatten() {
        let at = root.findings.place(key.span().start);
        let Some(node) = root.within(value, shape) else { continue };
        let wanted = node.text("layer");
        let layer = Layer::NAMES.iter().find(|(name, _)| Some(*name) == wanted);
        let dev = EnvironmentDocument::dev();
        let base = EnvironmentDocument {
            at,
            workspace: node.name("workspace").unwrap_or(dev.workspace),
            name: Name::from(&**key.get_ref()),
            layer: layer.map_or(Layer::Production, |(_, layer)| *layer),
            region: node.name("region").unwrap_or(dev.region),
            providers: BTreeMap::new(),
            said: true,
            ..dev
        };
        let read = environment(&Node { at, ..node }, base, notes);
        if read.name != top.name {
            named.push(read);
        } else if let Some(table) = told {
            notes.error(
                at,
                format!("`environments.{}` is also what the top-level `{table}` describes", read.name),
                "move the top-level tables under it, or give it another name",
            );
        } else {
            top = read;
        }
    }
    let mut all = vec![top];
    all.append(&mut named);
    all
}

fn environment(node: &Node<'_, '_>, base: EnvironmentDocument, notes: &mut Notes) -> EnvironmentDocument {
    let mut providers = node.named("providers", providers::provider);
    if base.layer == Layer::Development {
        // Always there while one builds: a name to try before any account exists.
        providers.entry("demo".into()).or_default();
    }
    let limits = node.list("limits").into_iter().filter_map(|(item, shape)| node.within(item, shape));
    let limits: Vec<_> = limits.filter_map(|node| limit_rule(&node)).collect();
    check_limits(&limits, notes);
    let budgets = node.list("budgets").into_iter().filter_map(|(item, shape)| node.within(item, shape));
    let budgets: Vec<_> = budgets.filter_map(|node| shared_budget(&node)).collect();
    let rules: Vec<_> = budgets.iter().map(|budget| (budget.at, &budget.value.rule)).collect();
    check_budgets("of the environment", &rules, notes);
    let logs = node.table("logs").and_then(|logs| logs.boolean("bodies"));
    let read = EnvironmentDocument {
        log_bodies: logs.unwrap_or(false),
        cache: cache(node),
        guardrails: node.named("guardrails", guardrails::guardrail),
        providers,
        models: node.named("models", model),
        routes: node.named("routes", route),
        keys: node.named("keys", key),
        limits,
        budgets,
        ..base
    };
    for (name, route) in &read.routes {
        if route.targets.iter().map(|target| target.weight).sum::<f64>() <= 0.0 {
            notes.error(
                route.at,
                format!("route `{name}` has no target that could be chosen"),
                "give at least one target with a weight above 0",
            );
        }
    }
    read
}

fn model(node: &Node<'_, '_>) -> ModelDocument {
    let price = node.table("price").map(|node| Placed { value: price(&node), at: node.at });
    let api = node.text("api").map(|api| if api == "chat" { Api::Chat } else { Api::Responses });
    let (context, max_output) = (node.count("context"), node.count("max_output"));
    let takes = node.names("takes");
    let known = |name: &Placed<Name>| TAKES.iter().find(|kind| ***kind == *name.value).copied();
    let takes = (!takes.is_empty()).then(|| takes.iter().filter_map(known).collect());
    ModelDocument { at: node.at, price, context, max_output, takes, api }
}

fn price(node: &Node<'_, '_>) -> Price {
    let currency = node.read("currency", value::currency).unwrap_or(Currency::USD);
    let tiers = node.list("tiers").into_iter().filter_map(|(item, shape)| node.within(item, shape));
    let tier = |node: Node<'_, '_>| Tier {
        above_input_tokens: node.count("above_input_tokens").unwrap_or(0),
        input: node.rate("input"),
        output: node.rate("output"),
        cached_input: node.rate("cached_input"),
        cache_write: node.rate("cache_write"),
    };
    Price {
        // Which line it stands on is not part of what the document means: compiling adds it.
        version: "file".into(),
        currency,
        input: node.rate("input"),
        output: node.rate("output"),
        cached_input: node.rate("cached_input"),
        cache_write: node.rate("cache_write"),
        cache_write_hour: node.rate("cache_write_hour"),
        reasoning: node.rate("reasoning"),
        audio_input: node.rate("audio_input"),
        audio_output: node.rate("audio_output"),
        per_image: node.rate("per_image"),
        per_second: node.rate("per_second"),
        per_request: node.rate("per_request"),
        tiers: tiers.map(tier).collect(),
    }
}

fn route(node: &Node<'_, '_>) -> RouteDocument {
    let choices = |field, fallback| {
        let list = node.list(field).into_iter();
        list.filter_map(|(item, shape)| choice(node, item, shape, fallback)).collect()
    };
    let currency = node.read("max_cost_currency", value::currency).unwrap_or(Currency::USD);
    RouteDocument {
        at: node.at,
        targets: choices("targets", false),
        fallbacks: choices("fallbacks", true),
        strategy: named(&Strategy::NAMES, node.text("strategy")).unwrap_or_default(),
        sticky: named(&Sticky::NAMES, node.text("sticky")),
        max_cost: node.decimal("max_cost").map(|nano| Money { currency, nano }),
        max_first_token: node.duration("max_first_token"),
        timeouts: providers::timeouts(node),
        cache: cache(node),
        guardrails: node.names("guardrails"),
    }
}

fn cache(node: &Node<'_, '_>) -> CacheDocument {
    let Some(node) = node.table("cache") else { return CacheDocument::default() };
    // A table with nothing in it is there to switch it on.
    let enabled = node.boolean("enabled").or_else(|| node.tree.is_empty().then_some(true));
    CacheDocument { enabled, ttl: node.duration("ttl") }
}

fn named<T: Copy>(names: &[(&'static str, T)], text: Option<&str>) -> Option<T> {
    names.iter().find(|(name, _)| Some(*name) == text).map(|(_, value)| *value)
}

/// A target or a fallback: a name, or a table.
fn choice(
    node: &Node<'_, '_>,
    item: &Spot<'_>,
    shape: &'static Shape,
    fallback: bool,
) -> Option<TargetDocument> {
    let at = node.findings.place(item.span().start);
    if let Some(model) = item.get_ref().as_str() {
        let model = Placed { value: model.into(), at };
        return Some(TargetDocument { model, weight: 1.0, on: None, when: None, set: Vec::new() });
    }
    let Shape::Either(_, table) = shape else { return None };
    let own = node.within(item, table)?;
    let model = Placed { value: own.name("model")?, at: own.place("model") };
    let weight = if fallback { 1.0 } else { own.weight()? };
    let causes = if fallback { own.names("on") } else { Vec::new() };
    let on = (!causes.is_empty()).then(|| Causes::named(causes.iter().map(|cause| &*cause.value)));
    let set = own.find("set").and_then(|(spot, _)| spot.get_ref().as_table());
    let member = |(key, value): (&toml::Spanned<_>, &Spot<'_>)| -> (Name, Name) {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        (Name::from(&**name), json(value.get_ref()).to_string().into())
    };
    let set = set.into_iter().flatten().map(member).collect();
    Some(TargetDocument { model, weight, on, when: own.name("when"), set })
}

fn key(node: &Node<'_, '_>) -> KeyDocument {
    let limits = node.table("limits").map(|node| limits(&node)).unwrap_or_default();
    let budgets = node.list("budgets").into_iter().filter_map(|(item, shape)| node.within(item, shape));
    let budgets =
        budgets.filter_map(|node| Some(BudgetDocument { at: node.at, rule: budget(&node)? })).collect();
    KeyDocument {
        at: node.at,
        secret: node.placed("secret", value::secret),
        models: node.names("models"),
        limits,
        budgets,
        durable: node.boolean("durable").unwrap_or(false),
    }
}

fn budget(node: &Node<'_, '_>) -> Option<BudgetRule> {
    let currency = node.read("currency", value::currency).unwrap_or(Currency::USD);
    let parts = node.list("warn_at").into_iter().filter_map(|(item, _)| integer(item.get_ref()));
    let mut parts: Vec<u8> = parts.filter_map(|part| u8::try_from(part).ok()).collect();
    parts.sort_unstable();
    parts.dedup();
    Some(BudgetRule {
        name: node.name("name")?,
        amount: Money { currency, nano: node.decimal("amount")? },
        window: Window::named(node.text("window")?)?,
        zone: node.text("time_zone").and_then(Zone::named).unwrap_or_default(),
        warn_at: (!parts.is_empty()).then(|| parts.into()),
    })
}

fn shared_budget(node: &Node<'_, '_>) -> Option<Placed<SharedBudget>> {
    let names = |field| node.names(field).into_iter().map(|name| name.value).collect();
    let per = named(&Per::NAMES, node.text("per"))?;
    let value = SharedBudget { rule: budget(node)?, per, only: names("only"), models: names("models") };
    Some(Placed { value, at: node.at })
}

fn limits(node: &Node<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    for name in Limits::names() {
        if let Some(limit) = node.count(&name) {
            limits.set(&name, limit);
        }
    }
    limits
}

fn limit_rule(node: &Node<'_, '_>) -> Option<Placed<LimitRule>> {
    let per = node.text("per")?;
    let (_, per) = Per::NAMES.iter().find(|(name, _)| *name == per)?;
    let names = |field| node.names(field).into_iter().map(|name| name.value).collect();
    let rule = LimitRule {
        name: node.name("name")?,
        per: *per,
        only: names("only"),
        models: names("models"),
        limits: limits(node),
        shadow: node.boolean("shadow").unwrap_or(false),
    };
    Some(Placed { value: rule, at: node.at })
}

/// What must hold of `[[limits]]`.
fn check_limits(rules: &[Placed<LimitRule>], notes: &mut Notes) {
    for (index, Placed { value: rule, at }) in rules.iter().enumerate() {
        if rule.limits.is_empty() {
            let message = format!("limit `{}` limits nothing", rule.name);
            notes.error(*at, message, "say how much, such as `requests_per_minute = 60`");
        }
        if rules[..index].iter().any(|earlier| earlier.value.name == rule.name) {
            let message = format!("there are two limits named `{}`", rule.name);
            notes.error(*at, message, "give each its own name");
        }
    }
}

/// What must hold between the budgets of one key.
fn keys(environment: &EnvironmentDocument, notes: &mut Notes) {
    for (name, key) in &environment.keys {
        let rules: Vec<_> = key.budgets.iter().map(|budget| (budget.at, &budget.rule)).collect();
        check_budgets(&format!("of key `{name}`"), &rules, notes);
    }
}

fn check_budgets(whose: &str, rules: &[(Place, &BudgetRule)], notes: &mut Notes) {
    for (index, (at, rule)) in rules.iter().enumerate() {
        if rule.amount.nano == 0 {
            let message = format!("budget `{}` {whose} allows nothing", rule.name);
            notes.error(*at, message, "give an amount above 0, or leave the budget out");
        }
        if rules[..index].iter().any(|(_, earlier)| earlier.name == rule.name) {
            let message = format!("there are two budgets `{}` {whose}", rule.name);
            notes.error(*at, message, "give each its own name");
        }
    }
}
