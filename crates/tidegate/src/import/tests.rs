//! Files as people have them, and what becomes of each: the result is a golden, passes the check, and holds no secret.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::litellm::per_million;
use super::*;
use crate::commands::check;
use crate::secrets::SecretsElsewhere;
use policy::{Discovered, Pepper, Secret, SecretRef, Secrets, Severity, Snapshot, Target, Timestamp};
use proptest::prelude::*;
use std::path::Path;

const SAMPLES: [(&str, &str, Kind); 7] = [
    ("litellm", include_str!("samples/litellm.yaml"), Kind::Litellm),
    ("litellm-team", include_str!("samples/litellm-team.yaml"), Kind::Litellm),
    ("bifrost", include_str!("samples/bifrost.json"), Kind::Bifrost),
    ("portkey", include_str!("samples/portkey.json"), Kind::Portkey),
    ("portkey-key", include_str!("samples/portkey-key.json"), Kind::Portkey),
    ("one-api", include_str!("samples/one-api.json"), Kind::OneApi),
    ("new-api", include_str!("samples/new-api.json"), Kind::OneApi),
];

struct Any;

impl Secrets for Any {
    fn read(&self, _: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::new("KEY".to_owned()))
    }
}

fn sample(name: &str) -> Imported {
    let (_, text, kind) = SAMPLES.iter().find(|(known, ..)| *known == name).unwrap();
    let imported = import(text, None).unwrap();
    assert_eq!(imported.kind, *kind, "{name} is seen for what it is");
    imported
}

fn snapshot(settings: &str) -> Snapshot {
    let (document, _) = policy::settings::parse(settings, "imported.toml").unwrap();
    let pepper = Pepper::derive(&[0; 32]);
    policy::compile(&document, 1, &Any, &pepper, &Discovered::default(), Timestamp::from_micros(0))
        .unwrap()
        .snapshot
}

/// What a name leads to: targets, then fallbacks.
fn way(snapshot: &Snapshot, name: &str) -> (Vec<String>, Vec<String>) {
    match snapshot.environments["dev"].resolve(name).unwrap() {
        Target::Deployment(one) => (vec![one.name.to_string()], vec![]),
        Target::Route(route) => (
            route.targets.iter().map(|one| format!("{} {:.2}", one.deployment.name, one.weight)).collect(),
            route.fallbacks.iter().map(|(one, _)| one.deployment.name.to_string()).collect(),
        ),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test is told from outside to write its goldens")]
fn each_sample_becomes_its_golden() {
    for (name, ..) in SAMPLES {
        let file = format!("{}/src/import/samples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let settings = sample(name).settings;
        if std::env::var("TIDEGATE_UPDATE_GOLDENS").is_ok() {
            std::fs::write(&file, &settings).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(there, settings, "TIDEGATE_UPDATE_GOLDENS=1 cargo test -p tidegate import");
    }
}

#[test]
fn each_result_passes_the_check() {
    for (name, ..) in SAMPLES {
        let settings = sample(name).settings;
        let findings = check::examine(&settings, Path::new("tidegate.toml"), &SecretsElsewhere);
        assert!(findings.iter().all(|one| one.severity == Severity::Warning), "{name}: {findings:#?}");
    }
}

#[test]
fn no_secret_leaves_its_file() {
    for (name, text, _) in SAMPLES {
        assert!(text.contains("SECRET-"), "{name} holds one");
        let imported = sample(name);
        assert!(!imported.settings.contains("SECRET-"), "{name}: {}", imported.settings);
        for finding in &imported.findings {
            assert!(
                !finding.to_string().contains("SECRET-") && imported.settings.contains(&finding.path),
                "{finding}"
            );
        }
    }
}

#[test]
fn litellm_groups_become_routes() {
    let snapshot = snapshot(&sample("litellm").settings);
    let (targets, fallbacks) = way(&snapshot, "gpt-4o");
    assert_eq!(targets, ["openai/gpt-4o 0.75", "azure/gpt-4o-eu 0.25"]);
    assert_eq!(fallbacks, ["openai/gpt-4o-mini"], "a later order is a fallback");
    for name in ["claude-sonnet", "best"] {
        assert_eq!(way(&snapshot, name).0, ["anthropic/claude-sonnet-4-5 1.00"]);
    }
    assert_eq!(way(&snapshot, "claude-sonnet").1, ["openai/gpt-4o", "azure/gpt-4o-eu", "openai/gpt-4o-mini"]);
    assert_eq!(way(&snapshot, "deepseek/anything").0, ["deepseek/anything"]);
    assert_eq!(way(&snapshot, "small").0, ["ollama/llama3.2 1.00"]);
    assert_eq!(way(&snapshot, "team-a-best").0, ["groq/llama-3.3-70b-versatile 1.00"]);
    let dev = &snapshot.environments["dev"];
    let ollama = dev.provider("ollama").unwrap();
    assert_eq!((ollama.origin.port, &*ollama.base_path), (11_434, "/v1"));
    let Target::Deployment(claude) = dev.resolve("anthropic/claude-sonnet-4-5").unwrap() else {
        unreachable!()
    };
    assert_eq!((claude.context, claude.max_output), (Some(200_000), Some(64_000)));
    assert!(dev.resolve("openai/o3").is_err(), "what was not listed is not opened");
    let findings: Vec<_> = sample("litellm").findings.iter().map(ToString::to_string).collect();
    for part in [
        "`model_list[0].litellm_params.rpm`",
        "`model_list[3].litellm_params.temperature` is not carried",
        "`model_list[3].litellm_params.api_key` holds a secret: set the environment variable ANTHROPIC_API_KEY",
        "`model_list[5].litellm_params.extra_headers.authorization`",
        "`model_list[8].litellm_params.model` is of `bedrock`",
        "is called `team-a-best` here",
        "`fallbacks of claude-sonnet` name `missing`",
        "`router_settings.routing_strategy`",
        "`litellm_settings.success_callback` is not carried",
        "`general_settings.master_key`",
        "`general_settings.alerting` is not carried",
        "`environment_variables.LANGFUSE_SECRET`",
    ] {
        assert!(findings.iter().any(|finding| finding.contains(part)), "{part}: {findings:#?}");
    }
}

#[test]
fn bifrost_keys_become_providers() {
    let imported = sample("bifrost");
    let snapshot = snapshot(&imported.settings);
    let dev = &snapshot.environments["dev"];
    assert_eq!(way(&snapshot, "gpt-4o").0.len(), 3);
    assert!(dev.provider("openai-second-account").is_some_and(|provider| &*provider.vendor == "openai"));
    let openai = dev.provider("openai").unwrap();
    assert_eq!((openai.max_connections, openai.timeouts.total.as_secs()), (50, 30));
    assert_eq!(openai.headers, [("x-env".into(), "prod".into())]);
    assert_eq!(dev.provider("house").unwrap().dialect, policy::Dialect::Anthropic);
    assert_eq!(&*dev.provider("azure").unwrap().base_path, "/openai/v1");
    assert!(dev.provider("bedrock").is_none() && dev.resolve("anthropic/any").is_ok());
    let (document, _) = policy::settings::parse(&imported.settings, "t").unwrap();
    let key = &document.environments[0].keys["platform-team"];
    let rates = [policy::LimitRate::REQUESTS_PER_MINUTE, policy::LimitRate::TOKENS_PER_MINUTE];
    assert_eq!(rates.map(|rate| key.limits.rate(rate)), [Some(600), Some(100)]);
    assert_eq!(key.budgets.len(), 1);
    assert_eq!(
        key.models.iter().map(|model| &*model.value).collect::<Vec<_>>(),
        ["openai/gpt-4o", "anthropic/*"]
    );
    assert!(!document.environments[0].keys.contains_key("old"));
}

#[test]
fn portkey_strategies_become_one_route() {
    let snapshot = snapshot(&sample("portkey").settings);
    let (targets, fallbacks) = way(&snapshot, "support-bot");
    assert_eq!(targets, ["openai/gpt-4o 0.95", "azure-test-4110dd/gpt-4o-eu 0.05"]);
    assert_eq!(fallbacks, ["anthropic-258f4d/claude-sonnet-4-5", "gpu.internal/llama"]);
    let credential =
        |name: &str| snapshot.environments["dev"].provider(name).is_some_and(|one| one.credential.is_some());
    assert!(credential("gpu.internal") && credential("azure-test-4110dd"));
}

#[test]
fn channels_become_providers_by_the_right_numbers() {
    let one = snapshot(&sample("one-api").settings);
    let (targets, fallbacks) = way(&one, "gpt-4o");
    assert!(targets[0].ends_with("/gpt-4o-2024-11-20 1.00") && targets.len() == 1, "{targets:?}");
    assert_eq!(fallbacks, ["official/gpt-4o"], "a lower priority is a fallback");
    assert_eq!(&*one.environments["dev"].provider("fast").unwrap().vendor, "groq");
    assert_eq!(&*one.environments["dev"].provider("deepseek").unwrap().vendor, "deepseek");
    assert!(
        one.environments["dev"].provider("claude").is_none()
            && one.environments["dev"].provider("spark").is_none()
    );
    let new = snapshot(&sample("new-api").settings);
    assert_eq!(&*new.environments["dev"].provider("ark").unwrap().vendor, "doubao");
    assert_eq!(&*new.environments["dev"].provider("custom").unwrap().base_path, "/v1");
    assert_eq!(
        way(&new, "deepseek-chat"),
        (vec!["DeepSeek/deepseek-chat 1.00".into()], vec!["google/gemini-2.5-flash".into()])
    );
}

#[test]
fn secrets_in_addresses_and_headers_are_left_out() {
    let text = r#"{ "model_list": [{ "model_name": "a", "litellm_params": { "model": "openai/m",
        "api_base": "https://me:SECRET-1@gpu.example:8443/v1?key=SECRET-2",
        "extra_headers": { "x-plain": "yes", "x-odd": "sk-SECRET-3", "x-id": "SECRET-4abcdefghijklmnop" } } }] }"#;
    let imported = import(text, None).unwrap();
    assert!(!imported.settings.contains("SECRET-"), "{}", imported.settings);
    assert!(
        imported.settings.contains("base_url = \"https://gpu.example:8443/v1\""),
        "{}",
        imported.settings
    );
    assert!(imported.settings.contains("headers = { x-plain = \"yes\" }"), "{}", imported.settings);
    assert_eq!(imported.findings.len(), 3, "{:?}", imported.findings);
}

/// Two secrets never meet in one variable, nor in one that the file already uses for something else.
#[test]
fn each_secret_has_a_variable_of_its_own() {
    let text = r#"{ "model_list": [
        { "model_name": "a", "litellm_params": { "model": "openai/m", "api_key": "SECRET-1" } },
        { "model_name": "b", "litellm_params": { "model": "openai/m", "api_key": "SECRET-2" } },
        { "model_name": "c", "litellm_params": { "model": "openai/m", "api_key": "os.environ/OPENAI_API_KEY" } },
        { "model_name": "d", "litellm_params": { "model": "openai/n", "api_key": "SECRET-1" } }
    ] }"#;
    let (document, _) = policy::settings::parse(&import(text, None).unwrap().settings, "t").unwrap();
    let providers = &document.environments[0].providers;
    let held = |name: &str| providers[name].credential.as_ref().unwrap().value.to_string();
    assert_eq!(held("openai"), "env:OPENAI_API_KEY_2");
    assert_eq!(held("openai-2"), "env:OPENAI_API_KEY_3");
    assert_eq!(held("openai-3"), "env:OPENAI_API_KEY");
    assert_eq!(providers.len(), 4, "and demo: {providers:?}");
}

#[test]
fn costs_of_a_token_are_prices_of_a_million() {
    for (cost, price) in [
        ("3e-06", Some("3")),
        ("0.000015", Some("15")),
        ("1.5e-07", Some("0.15")),
        ("0.0000025", Some("2.5")),
        ("1E-15", Some("0.000000001")),
        ("1e-16", None),
        ("0", Some("0")),
        ("0.0", Some("0")),
        ("2", Some("2000000")),
        ("1e9", None),
        ("-1", None),
        ("", None),
        ("1e999999999999", None),
    ] {
        assert_eq!(per_million(cost).as_deref(), price, "{cost}");
    }
}

#[test]
fn what_is_no_settings_is_refused_without_showing_it() {
    let said = |text: &str, from| import(text, from).unwrap_err().to_string();
    assert!(said("- a\n- b\n", None).contains("--from"));
    assert!(said("{\"a\": SECRET-x}", None).contains("neither JSON nor YAML"));
    let yaml = said("a: [SECRET-x\nb: }", None);
    assert!(yaml.contains("neither") && !yaml.contains("SECRET"), "{yaml}");
    assert_eq!(said("{}", Some(Kind::Bifrost)), "the file holds no `providers`, so it is not Bifrost's");
    assert!(said("a: 1", Some(Kind::Litellm)).contains("`model_list`"));
    assert!(said("a: 1", Some(Kind::OneApi)).contains("channels"));
    assert!(said("a: 1", Some(Kind::Portkey)).contains("targets"));
    assert!(said(&" ".repeat(LONGEST + 1), None).contains("bytes"));
    let laughs: String =
        (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    assert!(said(&format!("a0: &a0 [x, x]\n{laughs}"), None).contains("neither"), "aliases upon aliases");
}

#[test]
fn a_file_as_json_is_read_as_its_yaml() {
    let (_, yaml, _) = SAMPLES[0];
    let tree: Value = serde_saphyr::from_str(yaml).unwrap();
    let json = import(&tree.to_string(), None).unwrap();
    assert_eq!(json.settings, sample("litellm").settings);
}

/// Puts a field that nobody knows into each table of a tree in turn; gives how many tables there are.
fn strange(tree: &mut Value, which: usize, seen: &mut usize) {
    match tree {
        Value::Object(map) => {
            if *seen == which {
                map.insert("strange_field".to_owned(), Value::from("strange-value"));
            }
            *seen += 1;
            map.iter_mut()
                .filter(|(name, _)| *name != "strange_field")
                .for_each(|(_, value)| strange(value, which, seen));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| strange(value, which, seen)),
        _ => {}
    }
}

/// Each leaf is carried or found: a field that no reader can know, in whichever table it stands, is named in a finding (or
/// the table that holds it is), or its value stands in the settings.
#[test]
fn nothing_is_lost_in_silence() {
    for (name, text, kind) in SAMPLES {
        let tree: Value = serde_saphyr::from_str(text).unwrap();
        let mut tables = 0;
        strange(&mut tree.clone(), usize::MAX, &mut tables);
        assert!(tables > 2, "{name}");
        for which in 0..tables {
            let mut changed = tree.clone();
            strange(&mut changed, which, &mut 0);
            let imported = import(&changed.to_string(), Some(kind)).unwrap();
            let plain = import(&tree.to_string(), Some(kind)).unwrap();
            let said = |imported: &Imported| {
                imported.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            };
            let carried = imported.settings.contains("strange");
            // What is left out whole is named by its table, with or without the new field.
            let whole = left_out(&changed, &imported);
            assert!(
                carried || said(&imported) != said(&plain) || whole,
                "{name}: the {which}th table lost a field\n{}",
                said(&imported)
            );
        }
    }
}

/// Whether a finding names the table, or one above it, that holds the strange field.
fn left_out(tree: &Value, imported: &Imported) -> bool {
    fn way(tree: &Value, here: &str, ways: &mut Vec<String>) -> bool {
        let found = match tree {
            Value::Object(map) if map.contains_key("strange_field") => true,
            Value::Object(map) => map.iter().any(|(name, value)| {
                let below = if here.is_empty() { name.clone() } else { format!("{here}.{name}") };
                way(value, &below, ways)
            }),
            Value::Array(list) => {
                list.iter().enumerate().any(|(index, value)| way(value, &format!("{here}[{index}]"), ways))
            }
            _ => false,
        };
        if found && !here.is_empty() {
            ways.push(here.to_owned());
        }
        found
    }
    let mut ways = Vec::new();
    way(tree, "", &mut ways);
    // Channels are named as such, whatever their list is called.
    let ends = |path: &str, way: &str| {
        let way = way.replacen("data[", "channels[", 1);
        path == way || way.ends_with(&format!(".{path}")) || path.starts_with(&way)
    };
    imported.findings.iter().any(|finding| ways.iter().any(|way| ends(&finding.path, way)))
}

/// One leaf of a tree, by number, in place of which something else stands.
fn changed(tree: &mut Value, number: &mut usize, with: &Value) {
    match tree {
        Value::Object(map) => map.values_mut().for_each(|value| changed(value, number, with)),
        Value::Array(list) => list.iter_mut().for_each(|value| changed(value, number, with)),
        leaf => {
            if *number == 0 {
                *leaf = with.clone();
            }
            *number = number.wrapping_sub(1);
        }
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z/:.*@ -]{0,30}".prop_map(Value::from),
        Just(serde_json::json!([])),
        Just(serde_json::json!({ "a": [1] })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_field_may_be_anything(which in 0..SAMPLES.len(), number in 0..140usize, with in anything()) {
        let (_, text, kind) = SAMPLES[which];
        let mut tree: Value = serde_saphyr::from_str(text).unwrap();
        changed(&mut tree, &mut number.clone(), &with);
        if let Ok(imported) = import(&tree.to_string(), Some(kind)) {
            // Whatever stood there, the text is one that our own reader can speak of.
            let read: Result<toml::Table, _> = imported.settings.parse();
            prop_assert!(read.is_ok(), "{}", imported.settings);
            prop_assert!(!imported.settings.contains("SECRET-"), "{}", imported.settings);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = import(&text, None);
    }
}
