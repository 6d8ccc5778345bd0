//! What each feature of a route costs: the same work through gateways that differ in their settings alone.
//!
//! Every request differs from every other (in a number in its text), so that the cache is asked and never has the answer.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::targets::Running;
use crate::work;

/// A way to serve the route.
pub(crate) struct Variant {
    /// On the page: `with limits`.
    pub(crate) name: &'static str,
    settings: String,
    idempotent: bool,
}

const LIMITS: &str = "\n[[limits]]\nname = \"users\"\nper = \"end_user\"\nrequests_per_minute = 1000000000\ntokens_per_minute = 1000000000000\n\
    \n[[limits]]\nname = \"addresses\"\nper = \"address\"\nrequests_per_second = 1000000000\nconcurrency = 100000\n\
    \n[[limits]]\nname = \"models\"\nper = \"model\"\noutput_tokens_per_day = 1000000000000\n\
    \n[[limits]]\nname = \"places\"\nper = \"deployment\"\nrequests_per_minute = 1000000000\n";

const BUDGETS: &str = "\n[[budgets]]\nname = \"users\"\nper = \"end_user\"\namount = \"1000000.00\"\nwindow = \"day\"\n\
    \n[[budgets]]\nname = \"all\"\nper = \"environment\"\namount = \"1000000.00\"\nwindow = \"month\"\ntime_zone = \"Europe/Berlin\"\n\
    warn_at = [50, 80]\n\n[[budgets]]\nname = \"each\"\nper = \"organization\"\namount = \"10.00\"\nwindow = \"request\"\n";

const GUARDRAILS: &str = "\n[guardrails.personal]\nkind = \"pii\"\naction = \"mask\"\neverywhere = true\n\
    \n[guardrails.credentials]\nkind = \"secrets\"\neverywhere = true\n\
    \n[guardrails.words]\nkind = \"words\"\nwords = [\"first forbidden words\", \"second forbidden words\"]\neverywhere = true\n\
    \n[guardrails.pattern]\nkind = \"regex\"\npattern = \"(?i)project\\\\s+halcyon\"\neverywhere = true\n\
    \n[guardrails.long]\nkind = \"max_length\"\nmax = 1000000\neverywhere = true\n";

const CACHE: &str = "\n[cache]\nenabled = true\nttl = \"5s\"\n";

/// The routes: one target, or everything that a route can weigh.
fn route(rich: bool) -> String {
    let model = work::MODEL;
    if !rich {
        return format!("\n[routes.bench]\ntargets = [\"mock/{model}\"]\n");
    }
    format!(
        "\n[routes.bench]\nstrategy = \"fastest\"\nsticky = \"end_user\"\nmax_cost = \"1.00\"\nmax_first_token = \"30s\"\n\
         targets = [\n\
         {{ model = \"mock/{model}\", when = \"tokens < 20000 && !('image' in content)\", set = {{ temperature = 0.5 }} }},\n\
         {{ model = \"anthropic/{model}\", when = \"end_user.startsWith('nobody-')\" }},\n]\n\
         fallbacks = [{{ model = \"anthropic/{model}\", on = [\"timeout\", \"rate_limit\"] }}]\n"
    )
}

/// Every variant: the plain route, one feature at a time, and all of them.
pub(crate) fn variants() -> Vec<Variant> {
    let variant = |name, rich, more: &[&str], idempotent| Variant {
        name,
        settings: format!("{}{}", route(rich), more.concat()),
        idempotent,
    };
    vec![
        variant("plain route", false, &[], false),
        variant("limits for others than keys", false, &[LIMITS], false),
        variant("budgets for others than keys", false, &[BUDGETS], false),
        variant("a route that weighs everything", true, &[], false),
        variant("cache, never a hit", false, &[CACHE], false),
        variant("guardrails", false, &[GUARDRAILS], false),
        variant("idempotency keys", false, &[], true),
        variant("every feature", true, &[LIMITS, BUDGETS, CACHE, GUARDRAILS], true),
    ]
}

impl Variant {
    /// Tables beside those that every gateway of the comparison has.
    pub(crate) fn settings(&self) -> &str {
        &self.settings
    }

    /// So many requests, of which no two are the same, nor the same as any before.
    pub(crate) fn requests(&self, target: &Running, count: usize) -> Vec<Vec<u8>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let first = NUMBER.fetch_add(count as u64, Ordering::Relaxed);
        (first..)
            .zip(target.keys.iter().cycle())
            .take(count)
            .map(|(number, key)| {
                let header = if self.idempotent {
                    format!("idempotency-key: bench-{number}\r\n")
                } else {
                    String::new()
                };
                work::numbered(target.address, key, "bench", number, &header)
            })
            .collect()
    }
}
