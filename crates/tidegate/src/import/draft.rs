//! Our settings while they are being made: providers with names of their own, routes over them, keys, prices.

use super::Finding;
use policy::catalogue::Vendor;
use policy::{Auth, Dialect};
use std::collections::{BTreeMap, BTreeSet};

/// Findings beyond this many are counted and not kept.
const MOST: usize = 1_000;

/// A whole document.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) providers: Vec<Provider>,
    pub(super) routes: Vec<Route>,
    pub(super) models: BTreeMap<String, Model>,
    pub(super) keys: Vec<Key>,
    pub(super) findings: Vec<Finding>,
    pub(super) unkept: usize,
    /// Secrets that stood in the file, by the variable that will hold each.
    secrets: BTreeMap<String, String>,
    /// Variables that the file itself names: none of them may come to hold another secret.
    pub(super) named: BTreeSet<String>,
}

/// Where a provider is and how one signs in there; two deployments that agree in it share a provider.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Access {
    pub(super) vendor: Option<&'static str>,
    pub(super) dialect: Option<Dialect>,
    pub(super) base_url: Option<String>,
    /// The name of an environment variable.
    pub(super) credential: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) max_connections: Option<u64>,
    /// Seconds.
    pub(super) total: Option<f64>,
}

pub(super) struct Provider {
    pub(super) name: String,
    pub(super) access: Access,
    pub(super) models: BTreeSet<String>,
    /// Any model may be asked for.
    pub(super) open: bool,
}

#[derive(Default)]
pub(super) struct Route {
    pub(super) name: String,
    /// (`provider/model`, weight)
    pub(super) targets: Vec<(String, f64)>,
    pub(super) fallbacks: Vec<String>,
    /// Seconds.
    pub(super) total: Option<f64>,
}

/// What is said of one model.
#[derive(Default)]
pub(super) struct Model {
    /// Fields of `price`, decimals in USD per million tokens.
    pub(super) price: BTreeMap<&'static str, String>,
    pub(super) context: Option<u64>,
    pub(super) max_output: Option<u64>,
}

#[derive(Default)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) models: Vec<String>,
    pub(super) requests_per_minute: Option<u64>,
    pub(super) tokens_per_minute: Option<u64>,
    /// (amount, window)
    pub(super) budgets: Vec<(String, &'static str)>,
}

impl Draft {
    /// Notes what could not be carried.
    pub(super) fn find(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { path: path.into(), message: message.into() });
        } else {
            self.unkept += 1;
        }
    }

    /// The provider with this access; a new one is named `wanted`, or like it.
    pub(super) fn provider(&mut self, wanted: &str, mut access: Access) -> String {
        if let Some(bare) = access.base_url.as_deref().and_then(without_secrets) {
            self.find(
                format!("address of {wanted}"),
                "held a user name or a query, which is left out: it may be a secret",
            );
            access.base_url = Some(bare);
        }
        if let Some(known) = self.providers.iter().find(|provider| provider.access == access) {
            return known.name.clone();
        }
        let taken = |name: &str| self.providers.iter().any(|provider| provider.name == name);
        let mut base = named(wanted, "provider");
        // A name of a known vendor would bring its facts along, and `demo` is there already.
        let other = policy::catalogue::built_in()
            .vendor(&base)
            .is_some_and(|vendor| Some(&*vendor.name) != access.vendor);
        if other {
            base.push_str("-imported");
        }
        let name = free(&base, taken);
        self.providers.push(Provider { name: name.clone(), access, models: BTreeSet::new(), open: false });
        name
    }

    /// A model of a provider, by its full name; `*` opens the provider for all.
    pub(super) fn deployment(&mut self, provider: &str, model: &str) -> String {
        if let Some(provider) = self.providers.iter_mut().find(|known| known.name == provider) {
            if model == "*" {
                provider.open = true;
            } else {
                provider.models.insert(model.to_owned());
            }
        }
        format!("{provider}/{model}")
    }

    /// The environment variable of a credential. A secret in the file itself gets one, and a finding that names it.
    pub(super) fn credential(
        &mut self,
        path: &str,
        written: Option<Written>,
        vendor: Option<&'static Vendor>,
        wanted: &str,
    ) -> Option<String> {
        let usual = vendor.and_then(|vendor| vendor.key_variables.first()).map(|name| name.to_string());
        match written {
            Some(Written::Variable(name)) => Some(name),
            Some(Written::Secret(secret)) => {
                let (name, new) = self.variable(secret, usual, wanted);
                if new {
                    self.find(path, format!("holds a secret: set the environment variable {name} to it"));
                }
                Some(name)
            }
            Some(Written::Elsewhere(slug)) => {
                let (name, new) = self.variable(slug, usual, wanted);
                if new {
                    self.find(
                        path,
                        format!("is kept elsewhere: set the environment variable {name} to the key itself"),
                    );
                }
                Some(name)
            }
            None => {
                let usual = usual.filter(|_| vendor.is_some_and(|vendor| *vendor.auth() != Auth::None))?;
                if self.secrets.contains_key(&usual) {
                    self.find(
                        path,
                        format!("is not told: {usual} is used, which also holds a key of the file"),
                    );
                }
                Some(usual)
            }
        }
    }

    /// The variable for a secret, and whether it is new: the vendor's usual one if that is free, else one of its own.
    fn variable(&mut self, secret: String, usual: Option<String>, wanted: &str) -> (String, bool) {
        if let Some((known, _)) = self.secrets.iter().find(|(_, other)| **other == secret) {
            return (known.clone(), false);
        }
        let taken = |name: &str| self.secrets.contains_key(name) || self.named.contains(name);
        let own = format!("{}_API_KEY", variable(wanted));
        let name = free(&usual.filter(|usual| !taken(usual)).unwrap_or(own), taken);
        self.secrets.insert(name.clone(), secret);
        (name, true)
    }

    /// Adds a route under a name that ours may have.
    pub(super) fn route(&mut self, path: &str, mut route: Route) {
        let wanted = std::mem::take(&mut route.name);
        let name = named(&wanted, "route");
        let taken = |name: &str| self.routes.iter().any(|route| route.name == name);
        route.name = free(&name, taken);
        if route.name != wanted {
            self.find(path, format!("is called `{}` here: clients have to ask for that", route.name));
        }
        self.routes.push(route);
    }
}

/// How a credential stands in a file.
pub(super) enum Written {
    /// The name of an environment variable.
    Variable(String),
    /// Itself.
    Secret(String),
    /// The name of a key that another program keeps.
    Elsewhere(String),
}

impl Written {
    /// A text that names an environment variable after `prefix`, else a secret.
    pub(super) fn of(text: String, prefix: &str) -> Written {
        match text.strip_prefix(prefix) {
            Some(name) if !name.is_empty() && variable(name).eq_ignore_ascii_case(name) => {
                Written::Variable(name.to_owned())
            }
            _ => Written::Secret(text),
        }
    }
}

/// A URL without user name, query and fragment, if it has any of them.
fn without_secrets(url: &str) -> Option<String> {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("https", plain));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    (plain.len() < url.len() || host.len() < authority.len()).then(|| format!("{scheme}://{host}{path}"))
}

/// A name of ours made of any text: letters, digits, dots, hyphens, underscores.
pub(super) fn named(text: &str, otherwise: &str) -> String {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text.chars().map(|c| if sound(c) { c } else { '-' }).take(56).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// The name of an environment variable made of any text.
fn variable(text: &str) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = text.chars().map(sound).take(60).collect();
    match name.trim_matches('_') {
        "" => "PROVIDER".to_owned(),
        name if name.starts_with(|c: char| c.is_ascii_digit()) => format!("_{name}"),
        _ => name,
    }
}

/// The name itself, or with the first number that makes it free.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let separator = if name.contains('_') && !name.contains('-') { '_' } else { '-' };
    let numbered =
        (2..=1_000_000).map(|number| format!("{name}{separator}{number}")).find(|name| !taken(name));
    numbered.unwrap_or_else(|| name.to_owned())
}
