//! From text to snapshot: resolution, routes, keys, and what errors say.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::catalogue::ThroughChat;
use crate::key;
use crate::route::Route;
use crate::settings::parse;
use crate::snapshot::{Auth, Deployment, Dialect, ResolveError, Target};
use std::time::Duration;

#[path = "tests/credentials.rs"]
mod of_credentials;
#[path = "tests/routes.rs"]
mod of_routes;

/// Secrets by name; whatever is not there cannot be had.
struct Fixed(HashMap<String, String>);

impl Secrets for Fixed {
    fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        let name = match reference {
            SecretRef::Env(name) => name.clone(),
            SecretRef::File(path) => path.display().to_string(),
            SecretRef::Vault(name) => name.clone(),
        };
        match self.0.get(&name) {
            Some(text) => Ok(Secret::new(text.clone())),
            None => Err(format!("environment variable `{name}` is not set")),
        }
    }
}

fn secrets() -> Fixed {
    let minted = key::mint([5; 24]).expose().to_owned();
    Fixed(HashMap::from([
        ("OPENAI_API_KEY".to_owned(), "sk-test\n".to_owned()),
        ("APP_KEY".to_owned(), minted),
        ("BAD_KEY".to_owned(), "hunter2".to_owned()),
        ("EMPTY_NOT".to_owned(), "second".to_owned()),
        ("SPACED".to_owned(), "a b".to_owned()),
        ("EMPTY".to_owned(), " \n".to_owned()),
    ]))
}

fn compiled_with(text: &str, discovered: &Discovered) -> Result<Compiled, Vec<Finding>> {
    let (mut document, _) = parse(text, "t.toml").map_err(|found| show(&found)).unwrap();
    document.set_demo_base("http://127.0.0.1:4321/v1");
    compile(
        &document,
        7,
        &secrets(),
        &Pepper::derive(&[0; 32]),
        discovered,
        Timestamp::from_micros(5_000_000),
    )
}

fn compiled(text: &str) -> Compiled {
    compiled_with(text, &Discovered::default()).map_err(|found| show(&found)).unwrap()
}

fn dev(text: &str) -> Arc<Environment> {
    Arc::clone(&compiled(text).snapshot.environments["dev"])
}

fn show(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn errors(text: &str) -> String {
    show(&compiled_with(text, &Discovered::default()).unwrap_err())
}

fn place(environment: &Environment, model: &str) -> Arc<Deployment> {
    match environment.resolve(model) {
        Ok(Target::Deployment(deployment)) => deployment,
        other => unreachable!("{model}: {other:?}"),
    }
}

fn route(environment: &Environment, name: &str) -> Arc<Route> {
    match environment.resolve(name) {
        Ok(Target::Route(route)) => route,
        other => unreachable!("{name}: {other:?}"),
    }
}

const LOCAL: &str =
    "[providers.local]\nbase_url = \"http://127.0.0.1:8000/v1/\"\nmodels = [\"tiny\", \"big/one\"]\n";
const OPENAI: &str = "[providers.openai]\ncredential = \"env:OPENAI_API_KEY\"\n";

#[test]
fn an_empty_file_has_the_demo() {
    let environment = dev("");
    assert_eq!((environment.release, environment.log_bodies), (7, false));
    let echo = place(&environment, "demo/echo");
    assert_eq!((echo.provider.origin.port, &*echo.provider.base_path), (4321, "/v1"));
    assert_eq!(echo.provider.auth, Auth::None);
    assert!(echo.provider.simulated && echo.price.is_some());
    assert_eq!(&*place(&environment, "echo").name, "demo/echo", "a bare name of one provider");
    assert_eq!(environment.models().count(), 14);
}

#[test]
fn a_known_vendor_needs_only_a_credential() {
    let environment = dev(OPENAI);
    let any = place(&environment, "openai/some-new-model");
    assert_eq!(any.provider.origin.to_string(), "https://api.openai.com");
    assert_eq!((&*any.provider.base_path, &*any.upstream_model), ("/v1", "some-new-model"));
    assert_eq!(any.provider.auth, Auth::Bearer);
    assert_eq!(any.provider.credential.as_ref().unwrap().expose(), "sk-test", "without its line break");
    assert!(any.price.is_none() && any.provider.abort_stops_billing && any.provider.stream_usage);
    assert!(!format!("{environment:?}").contains("sk-test"));
}

fn provider(environment: &Environment, name: &str) -> Arc<crate::snapshot::Provider> {
    Arc::clone(environment.provider(name).unwrap())
}

/// Base path and header of a dialect.
fn endpoint(provider: &crate::snapshot::Provider, dialect: Dialect) -> Option<(String, Auth)> {
    provider.endpoint(dialect).map(|(path, auth)| (path.to_string(), auth.clone()))
}

#[test]
fn a_server_of_ones_own_speaks_any_dialect() {
    let base = |dialect: &str, base: &str, credential: &str| {
        provider(
            &dev(&format!("[providers.p]\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\n{credential}")),
            "p",
        )
    };
    for (dialect, written, path) in [
        ("anthropic", "http://h", "/v1"),
        ("anthropic", "http://h/v1/", "/v1"),
        ("anthropic", "http://h/anthropic", "/anthropic/v1"),
        ("gemini", "http://h/", "/v1beta"),
        ("gemini", "http://h/v1", "/v1"),
        ("gemini", "http://h/x/v1beta1", "/x/v1beta1"),
        ("openai", "http://h/v1", "/v1"),
        ("openai", "http://h", ""),
    ] {
        let provider = base(dialect, written, "");
        assert_eq!((provider.dialect.as_str(), &*provider.base_path), (dialect, path), "{written}");
        assert_eq!((&provider.auth, provider.also.len(), &provider.responses), (&Auth::None, 0, &None));
    }
    let key = "credential = \"env:OPENAI_API_KEY\"\n";
    assert_eq!(base("anthropic", "http://h", key).auth, Auth::Header("x-api-key".into()));
    assert_eq!(base("gemini", "http://h", key).auth, Auth::Header("x-goog-api-key".into()));
    assert_eq!(base("openai", "http://h", key).auth, Auth::Bearer);
    let responses = base("openai", "http://h/v1", "responses = true\n");
    assert_eq!(responses.responses.as_deref(), Some("/v1"));
}

#[test]
fn a_vendor_may_be_asked_in_another_of_its_dialects() {
    let key = "credential = \"env:OPENAI_API_KEY\"\n";
    let environment = dev(&format!(
        "[providers.anthropic]\n{key}dialect = \"openai\"\n[providers.deepseek]\n{key}dialect = \"anthropic\"\n"
    ));
    let claude = provider(&environment, "anthropic");
    assert_eq!((claude.dialect, &claude.auth, &*claude.base_path), (Dialect::OpenAi, &Auth::Bearer, "/v1"));
    assert_eq!(endpoint(&claude, Dialect::Anthropic).unwrap().1, Auth::Header("x-api-key".into()));
    let deepseek = provider(&environment, "deepseek");
    assert_eq!((&*deepseek.base_path, deepseek.also.len()), ("/anthropic/v1", 1));
    assert_eq!(endpoint(&deepseek, Dialect::OpenAi), Some((String::new(), Auth::Bearer)));
    assert_eq!(deepseek.responses.as_deref(), Some(""));
    assert!(deepseek.has(crate::Quirk::NeedsReasoningReplay) && !deepseek.has(crate::Quirk::FixedSampling));
}

#[test]
fn two_accounts_of_one_vendor() {
    let environment =
        dev(&format!("{OPENAI}[providers.research]\nvendor = \"openai\"\ncredential = \"env:EMPTY_NOT\"\n"));
    let (one, other) = (provider(&environment, "openai"), provider(&environment, "research"));
    assert_eq!((&*other.name, &*other.vendor, &other.origin), ("research", "openai", &one.origin));
    assert_eq!(other.credential.as_ref().unwrap().expose(), "second");
    let known = built_in().models("openai").next().unwrap().0;
    assert!(place(&environment, &format!("research/{known}")).price.is_some(), "it has the vendor's prices");
}

#[test]
fn a_server_that_moved_has_its_other_doors_beside_it_and_a_vendor_has_none() {
    let environment = dev("[providers.one]\nvendor = \"llama-cpp\"\nbase_url = \"http://gpu:9/llm/v1\"\n\
         [providers.two]\nvendor = \"llama-cpp\"\nbase_url = \"http://gpu:9/other\"\n\
         [providers.glm]\nbase_url = \"http://proxy/v4\"\n");
    let one = provider(&environment, "one");
    assert_eq!(endpoint(&one, Dialect::Anthropic).unwrap().0, "/llm/v1");
    assert_eq!(one.responses.as_deref(), Some("/llm/v1"));
    assert_eq!(&*one.rerank.as_ref().unwrap().path, "/llm/v1/rerank");
    let two = provider(&environment, "two");
    assert_eq!((two.also.len(), two.responses.as_deref(), &two.rerank), (0, Some("/other"), &None));
    let glm = provider(&environment, "glm");
    assert_eq!((glm.also.len(), &glm.responses, &*glm.base_path), (0, &None, "/v4"));
}

#[test]
fn a_relay_that_keeps_a_vendors_path_has_its_vectors_too() {
    let environment = dev(
        "[providers.one]\nvendor = \"jina\"\ncredential = \"env:EMPTY_NOT\"\nbase_url = \"http://relay/x/v1\"\n\
         [providers.two]\nvendor = \"jina\"\ncredential = \"env:EMPTY_NOT\"\nbase_url = \"http://relay/other\"\n",
    );
    let one = provider(&environment, "one");
    let paths = [&one.embed, &one.rerank].map(|door| door.as_ref().map(|door| door.path.to_string()));
    assert_eq!(paths, [Some("/x/v1/embeddings".to_owned()), Some("/x/v1/rerank".to_owned())]);
    let two = provider(&environment, "two");
    assert_eq!((&two.embed, &two.rerank), (&None, &None));
}

#[test]
fn what_a_vendor_lacks_is_said() {
    let text = "\
[providers.a]
vendor = \"opneai\"
[providers.groq]
dialect = \"anthropic\"
credential = \"env:OPENAI_API_KEY\"
[providers.koalaapi]
[providers.gemini]
credential = \"env:OPENAI_API_KEY\"
base_url = \"https://h/v1beta/openai\"
";
    assert_eq!(
        errors(text),
        "\
t.toml:2:10: error: provider `a`: there is no known vendor `opneai`
  help: did you mean \"openai\"?
t.toml:3:12: error: provider `groq`: Groq is not known to speak the anthropic dialect
  help: use \"openai\", or give `base_url`
t.toml:6:12: error: provider `koalaapi` has no credential
  help: add `credential = \"env:KOALAAPI_API_KEY\"`
t.toml:6:12: error: provider `koalaapi` has no `base_url`, and KoalaAPI (koalaapi.com) has none for everybody
  help: `base_url` is what the gateway's own page names for OpenAI's SDK, usually ending in `/v1`.
t.toml:9:12: error: the base URL of provider `gemini` is Gemini's door for the openai dialect
  help: add `dialect = \"openai\"`, or name the root, without `/v1beta/openai`"
    );
    let compiled = compiled("[providers.p]\nbase_url = \"http://h\"\napi_version = \"1\"\n");
    assert_eq!(
        show(&compiled.warnings),
        "t.toml:3:15: warning: `providers.p.api_version` has no effect: its paths carry none"
    );
}

#[test]
fn resolution() {
    let environment =
        dev(&format!("{LOCAL}{OPENAI}[providers.other]\nbase_url = \"http://h\"\nmodels = [\"tiny\"]"));
    assert_eq!(&*place(&environment, "local/tiny").provider.base_path, "/v1");
    assert_eq!(&*place(&environment, "local/big/one").upstream_model, "big/one");
    assert_eq!(&*place(&environment, "big/one").name, "local/big/one");
    assert_eq!(&*place(&environment, "other/tiny").provider.base_path, "");
    let two = ResolveError::Ambiguous { candidates: vec!["local/tiny".into(), "other/tiny".into()] };
    assert_eq!(environment.resolve("tiny").unwrap_err(), two);
    let unknown = |model: &str| match environment.resolve(model) {
        Err(ResolveError::Unknown { nearest }) => {
            nearest.iter().map(|name| name.to_string()).collect::<Vec<_>>()
        }
        other => unreachable!("{model}: {other:?}"),
    };
    assert_eq!(
        unknown("local/tinny")[..1],
        ["local/tiny"],
        "a closed list does not pass on what it does not name"
    );
    assert_eq!(unknown("demo/ehco")[..1], ["demo/echo"]);
    assert_eq!(unknown("nowhere/zzzzzz"), [""; 0]);
    assert_eq!(unknown(""), [""; 0]);
    for hostile in
        ["openai/", "openai/a b", "openai/é", "openai/a\nb", &format!("openai/{}", "x".repeat(300))]
    {
        assert!(environment.resolve(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn a_provider_is_never_shadowed_by_a_name_that_another_sells() {
    let text = format!(
        "{OPENAI}[providers.mall]\nbase_url = \"http://h/v1\"\nmodels = [\"openai/zeta\", \"mistral/x\"]"
    );
    let environment = dev(&text);
    assert_eq!(&*place(&environment, "openai/zeta").provider.name, "openai");
    assert_eq!(&*place(&environment, "mall/openai/zeta").upstream_model, "openai/zeta");
    assert_eq!(&*place(&environment, "mistral/x").name, "mall/mistral/x");
}

#[test]
fn prices_of_the_file_take_the_place_of_built_in_ones() {
    let text = format!(
        "{LOCAL}[models.\"local/tiny\"]\nprice = {{ input = \"1\", output = \"2\", currency = \"CNY\" }}\ncontext = 5\n\
         [models.\"demo/echo\"]\nmax_output = 9\n"
    );
    let environment = dev(&text);
    let tiny = place(&environment, "local/tiny");
    let price = tiny.price.as_ref().unwrap();
    assert_eq!((&*price.version, price.currency.as_str(), tiny.context), ("file:5", "CNY", Some(5)));
    let echo = place(&environment, "demo/echo");
    assert_eq!((echo.max_output, echo.context), (Some(9), Some(128_000)));
    assert_eq!(&*echo.price.as_ref().unwrap().version, "2026-11-22");
}

#[test]
fn the_settings_say_through_which_api_a_model_is_called() {
    let text = format!(
        "{OPENAI}[models.\"openai/gpt-6-astra\"]\napi = \"chat\"\n[models.\"openai/ours\"]\napi = \"responses\"\n"
    );
    let environment = dev(&text);
    for (name, chat) in [
        ("openai/gpt-6-astra", Some(ThroughChat::Everything)),
        ("openai/gpt-6-astra-2026-11-01", Some(ThroughChat::NoTools)),
        ("openai/ours", Some(ThroughChat::Nothing)),
        ("openai/theirs", None),
    ] {
        assert_eq!(place(&environment, name).chat, chat, "{name}");
    }
}

#[test]
fn discovered_models_are_listed_and_others_passed_on() {
    let text = "[providers.lab]\nbase_url = \"http://h\"\nmodels = \"discover\"";
    let found = |key: &str| Discovered {
        models: HashMap::from([(key.into(), vec!["m1".into(), "bad name".into()])]),
    };
    for key in ["lab", "dev/lab"] {
        let compiled = compiled_with(text, &found(key)).unwrap();
        let environment = &compiled.snapshot.environments["dev"];
        assert_eq!(&*place(environment, "m1").name, "lab/m1");
        assert_eq!(&*place(environment, "lab/unlisted").upstream_model, "unlisted");
        assert!(environment.provider("lab").unwrap().discover);
        assert_eq!(environment.models().filter(|entry| &*entry.owned_by == "lab").count(), 1);
    }
}

#[test]
fn keys_get_hashes_hints_and_stable_ids() {
    let compiled = compiled("[keys.app]\nsecret = \"env:APP_KEY\"\nmodels = [\"demo/*\"]\n[keys.later]\n");
    let [app, later] = &compiled.keys[..] else { unreachable!() };
    let presented = key::mint([5; 24]);
    let hash = Pepper::derive(&[0; 32]).hash(&key::parse(presented.expose().as_bytes()).unwrap());
    assert_eq!((app.hash, &app.id), (Some(hash), &KeyId::of_file_key("dev", "app")));
    assert!(app.hint.starts_with("tg-") && later.hash.is_none() && later.hint.is_empty());
    let record = app.record(Timestamp::from_micros(9));
    assert_eq!((record.origin, record.created_at), (Origin::File, Timestamp::from_micros(9)));
}

#[test]
fn errors_name_the_thing_the_place_and_the_way_out() {
    let text = "\
[providers.opneai]
models = [\"m\"]
[providers.deepseek]
[providers.openai]
credential = \"env:MISSING\"
[providers.mistral]
credential = \"env:SPACED\"
[providers.groq]
credential = \"env:EMPTY\"
[providers.local]
base_url = \"http://h/v1\"
models = [\"tiny\"]
[models.\"local/tinny\"]
[models.\"lcal/tiny\"]
[routes.chat]
targets = [\"local/tinny\", \"demo/ehco\", \"fast\"]
fallbacks = [\"other\", \"nowhere/x\"]
[routes.other]
targets = [{ model = \"demo/echo\", weight = 1 }]
[keys.app]
secret = \"env:BAD_KEY\"
models = [\"chta\", \"lcal/*\", \"demo/*\", \"*\"]
[keys.one]
secret = \"env:APP_KEY\"
[keys.two]
secret = \"env:APP_KEY\"
[keys.zero]
secret = \"env:MISSING\"
";
    assert_eq!(
        errors(text),
        "\
t.toml:1:12: error: `opneai` is not a known vendor, so it needs a `base_url`
  help: did you mean `providers.openai`?
t.toml:3:12: error: provider `deepseek` has no credential
  help: add `credential = \"env:DEEPSEEK_API_KEY\"`
t.toml:5:14: error: the credential of provider `openai`: environment variable `MISSING` is not set
t.toml:7:14: error: the credential of provider `mistral` cannot be sent in a header
  help: it holds spaces or characters that are not ASCII: is it the right file or variable?
t.toml:9:14: error: the credential of provider `groq`: `env:EMPTY` is empty
t.toml:13:9: error: model `local/tinny` is not in the list of provider `local`
  help: add \"tinny\" to `providers.local.models`
t.toml:14:9: error: model `lcal/tiny` is of no provider: there is no `providers.lcal`
  help: did you mean `local/tiny`?
t.toml:16:27: error: route `chat`: there is no model `demo/ehco`
  help: did you mean `demo/echo`?
t.toml:17:14: error: route `chat`: `other` in `fallbacks` is a route
  help: a route leads to models, not to another route: name the models
t.toml:17:23: error: route `chat`: there is no model `nowhere/x`
  help: there is no `providers.nowhere`
t.toml:21:10: error: the secret of key `app` is not a virtual key: a virtual key has 41 characters
  help: `tidegate keys create --offline` prints one in the right format
t.toml:22:11: warning: key `app`: `chta` matches no model and no route now
  help: did you mean `chat`?
t.toml:22:19: warning: key `app`: `lcal/*` matches no model now: there is no provider `lcal`
  help: did you mean `local/*`?
t.toml:26:10: error: key `two` has the same secret as key `dev/one`
  help: give each key its own: a presented secret has to name one key
t.toml:28:10: error: the secret of key `zero`: environment variable `MISSING` is not set
  help: `tidegate keys create --offline` prints one in the right format"
    );
    assert!(!errors(text).contains("hunter2"));
}

/// One thing is wrong, so one thing is said.
#[test]
fn what_is_wrong_with_a_provider_is_not_said_again_of_what_refers_to_it() {
    let routes = "[routes.chat]\ntargets = [\"PROVIDER/gpt-5-mini\"]\nfallbacks = [\"gpt-5-mini\"]\n[keys.app]\nmodels = \
                  [\"PROVIDER/*\", \"PROVIDER/gpt-5-mini\"]\n";
    let text =
        format!("[providers.openai]\ncredential = \"env:MISSING\"\n{routes}").replace("PROVIDER", "openai");
    assert_eq!(
        errors(&text),
        "t.toml:2:14: error: the credential of provider `openai`: environment variable `MISSING` is not set"
    );
    let text = format!("[providers.lab]\nbase_url = \"http://h/v1?x\"\nmodels = [\"gpt-5-mini\"]\n{routes}");
    let said = match parse(&text.replace("PROVIDER", "lab"), "t.toml") {
        Ok(_) => errors(&text.replace("PROVIDER", "lab")),
        Err(found) => show(&found),
    };
    assert_eq!(said.matches("error:").count() + said.matches("warning:").count(), 1, "{said}");
}

/// The same, where secrets may be absent: warnings, each with its place, and the rest is checked as ever.
#[test]
fn absent_secrets_are_warnings_where_that_is_asked_for() {
    struct Elsewhere(Fixed);
    impl Secrets for Elsewhere {
        fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
            self.0.read(reference)
        }
        fn may_be_absent(&self) -> bool {
            true
        }
    }
    let text = "[providers.openai]\ncredential = \"env:MISSING\"\n[keys.app]\nsecret = \"env:MISSING\"\n\
                models = [\"openai/*\"]\n";
    let (document, _) = parse(text, "t.toml").unwrap();
    let (pepper, now) = (Pepper::derive(&[0; 32]), Timestamp::from_micros(0));
    let compiled =
        compile(&document, 1, &Elsewhere(secrets()), &pepper, &Discovered::default(), now).unwrap();
    assert_eq!(
        show(&compiled.warnings),
        "t.toml:2:14: warning: the credential of provider `openai`: environment variable `MISSING` is not set\n\
         t.toml:4:10: warning: the secret of key `app`: environment variable `MISSING` is not set\n  help: `tidegate \
         keys create --offline` prints one in the right format"
    );
}

#[test]
fn what_a_key_may_not_reach_is_a_warning_with_the_nearest_name() {
    let environment = dev(&format!("{LOCAL}[routes.chat]\ntargets = [\"local/tiny\"]\n"));
    let said = |allowed: &str| {
        environment
            .doubt_allowed(allowed)
            .map(|doubt| format!("{} {}", doubt.message, doubt.help.unwrap_or_default()))
    };
    for sound in ["*", "chat", "local/*", "demo/*", "demo/echo", "local/big/one"] {
        assert_eq!(said(sound), None);
    }
    for (odd, message) in [
        ("nope/x", "`nope/x` matches no model and no route now there is no provider `nope`"),
        ("chta", "`chta` matches no model and no route now did you mean `chat`?"),
        ("lcal/*", "`lcal/*` matches no model now: there is no provider `lcal` did you mean `local/*`?"),
        ("tiny", "`tiny` lets nothing through: keys are checked against full model names write `local/tiny`"),
    ] {
        assert_eq!(said(odd).as_deref(), Some(message));
    }
}

#[test]
fn an_ambiguous_target_lists_the_candidates() {
    let text = format!(
        "{LOCAL}[providers.b]\nbase_url = \"http://h\"\nmodels = [\"tiny\"]\n[routes.r]\ntargets = [\"tiny\"]"
    );
    assert_eq!(
        errors(&text),
        "t.toml:8:12: error: route `r`: several providers serve `tiny`\n  help: write one of b/tiny, local/tiny"
    );
}

#[test]
fn a_budget_in_a_foreign_currency_is_a_warning() {
    let text = format!(
        "{LOCAL}[models.\"local/tiny\"]\nprice = {{ input = \"1\", output = \"2\", currency = \"CNY\" }}\n[routes.r]\n\
         targets = [\"demo/echo\"]\nfallbacks = [\"local/tiny\"]\n"
    );
    let warned = |key: &str| show(&compiled(&format!("{text}[keys.app]\n{key}")).warnings);
    let budget = "budgets = [{ name = \"m\", amount = \"5\", window = \"month\" }]";
    let expected = "error: budget `m` of key `app` is in USD, but `local/tiny` is billed in CNY: its cost cannot be \
                    counted\n  help: add a budget in CNY, or leave such models out of the key's `models`";
    for models in
        ["", "models = [\"*\"]\n", "models = [\"local/*\"]\n", "models = [\"tiny\"]\n", "models = [\"r\"]\n"]
    {
        let warnings = warned(&format!("{models}{budget}"));
        assert!(warnings.ends_with(&expected.replacen("error: ", "warning: ", 1)), "{models}: {warnings}");
    }
    assert_eq!(warned(&format!("models = [\"demo/*\"]\n{budget}")), "");
    let both = "budgets = [{ name = \"m\", amount = \"5\", window = \"month\" }, { name = \"c\", amount = \"5\", \
                window = \"month\", currency = \"CNY\" }]";
    assert_eq!(warned(both), "");
    assert_eq!(warned("models = []"), "");
}

#[test]
fn a_server_speaks_responses_where_the_settings_say_so() {
    let spoken = |line: &str| {
        let compiled = compiled(&format!("[providers.p]\nbase_url = \"http://h/v1\"\n{line}\n"));
        assert_eq!(show(&compiled.warnings), "");
        provider(&dev(&format!("[providers.p]\nbase_url = \"http://h/v1\"\n{line}\n")), "p")
            .responses
            .as_deref()
            .map(str::to_owned)
    };
    assert_eq!(spoken("responses = true").as_deref(), Some("/v1"));
    assert_eq!(spoken("responses = false"), None);
    assert_eq!(spoken(""), None);
}

#[test]
fn checksums_follow_the_meaning() {
    let base = compiled(&format!("{LOCAL}[keys.app]\nsecret = \"env:APP_KEY\"\n"));
    let same = compiled(&format!("# later\n[keys.app]\nsecret = \"env:APP_KEY\"\n\n{LOCAL}"));
    assert_eq!((&base.checksum, &base.release_checksum), (&same.checksum, &same.release_checksum));
    let key = compiled(&format!("{LOCAL}[keys.app]\nsecret = \"env:APP_KEY\"\ndurable = true\n"));
    assert_ne!(base.checksum, key.checksum);
    assert_eq!(base.release_checksum, key.release_checksum, "keys are no part of a release");
    let route = compiled(&format!("{LOCAL}[routes.r]\ntargets = [\"demo/echo\"]\n"));
    assert_ne!(base.release_checksum, route.release_checksum);

    let (document, _) = parse(&format!("{LOCAL}[keys.app]\nsecret = \"env:APP_KEY\"\n"), "t.toml").unwrap();
    let mut changed = secrets();
    changed.0.insert("APP_KEY".to_owned(), key::mint([6; 24]).expose().to_owned());
    let pepper = Pepper::derive(&[0; 32]);
    let rotated =
        compile(&document, 1, &changed, &pepper, &Discovered::default(), Timestamp::from_micros(0)).unwrap();
    assert_ne!(base.checksum, rotated.checksum, "a secret that changed behind its name is a change");
    assert_eq!(base.checksum.len(), 64);
}

#[test]
fn a_hundred_thousand_keys_are_one_pass() {
    // Not a measurement: a step that were quadratic in the keys would not end within any patience.
    let mut text = format!("{LOCAL}{OPENAI}");
    for number in 0..100_000 {
        text.push_str(&format!(
            "[keys.k{number}]\nmodels = [\"local/tiny\", \"openai/*\"]\nlimits = {{ requests_per_minute = 60 }}\n\
             budgets = [{{ name = \"m\", amount = \"5\", window = \"month\" }}]\n"
        ));
    }
    assert_eq!(compiled(&text).keys.len(), 100_000);
}

#[test]
fn the_example_compiles() {
    let compiled = compiled(include_str!("../../../../tidegate.example.toml"));
    assert_eq!(show(&compiled.warnings), "");
    assert_eq!(compiled.snapshot.environments.len(), 2);
}
