//! The settings parser: texts, findings with their places, and whatever anybody could write.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::limits::Limits;
use crate::money::{Currency, Money};
use crate::snapshot::{Dialect, Layer};
use crate::window::Window;
use proptest::prelude::*;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../../tidegate.example.toml");

fn good(text: &str) -> Document {
    match parse(text, "t.toml") {
        Ok((document, warnings)) => {
            assert_eq!(warnings, [], "{text}");
            document
        }
        Err(findings) => panic_with(&findings),
    }
}

fn panic_with(findings: &[Finding]) -> ! {
    let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
    unreachable!("{}", all.join("\n"))
}

/// All findings as one text.
fn bad(text: &str) -> String {
    let findings = parse(text, "t.toml").unwrap_err();
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_file_is_the_default() {
    let document = good("");
    assert_eq!(document.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(document.server.max_body.to_string(), "32MiB");
    let [dev] = &document.environments[..] else { unreachable!() };
    assert_eq!((&*dev.name, &*dev.workspace, &*dev.organization), ("dev", "default", "local"));
    assert_eq!(dev.layer, Layer::Development);
    assert!(dev.providers.contains_key("demo"));
}

#[test]
fn the_example_is_valid() {
    let document = good(EXAMPLE);
    assert_eq!(document.environments.len(), 2);
    let dev = &document.environments[0];
    let key = &dev.keys["app"];
    let limits = Limits::default()
        .with("requests_per_minute", 600)
        .with("tokens_per_minute", 200_000)
        .with("concurrency", 50);
    assert_eq!(key.limits, limits);
    assert_eq!(key.budgets[0].rule.amount, Money::parse("25.00", Currency::USD).unwrap());
    assert_eq!(key.budgets[0].rule.window, Window::Month);
    let route = &dev.routes["chat"];
    assert_eq!(route.targets[0].weight, 95.0);
    assert_eq!(route.timeouts.total, Some(Duration::from_secs(3_600)));
    assert_eq!(dev.models["local/tiny-embed"].price.as_ref().unwrap().value.tiers.len(), 1);
    let staging = &document.environments[1];
    assert_eq!(staging.layer, Layer::Production);
    assert!(!staging.providers.contains_key("demo"));
    assert_eq!(staging.providers["local"].models, ModelList::Discover);
}

/// What the example shows commented out is valid as well.
#[test]
fn the_comments_of_the_example_are_valid() {
    let uncommented: Vec<String> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") || rest.starts_with('[') => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let text = uncommented.join("\n");
    assert!(text.matches("\ncredential = ").count() == 2 && text.contains("\nmaster_key"));
    let document = good(&text);
    assert!(document.server.tls.is_some() && document.server.max_memory.is_some());
    assert_eq!(document.environments[0].providers["local"].headers["x-team"], "search".into());
}

#[test]
fn unknown_fields_are_all_reported_with_place_and_nearest_name() {
    let text = "[server]\nlsiten = \"x\"\n\n[providers.local]\nbase_url = \"http://h/v1\"\nmodel = []\n\
                [keys.app]\nlimts = { concurrency = 1 }\nlimits = { request_per_minute = 1 }\n[nothing]\nx = 1\n";
    assert_eq!(
        bad(text),
        "t.toml:2:1: error: unknown field `lsiten` in `server`\n  help: did you mean `listen`?\n\
         t.toml:6:1: error: unknown field `model` in `providers.local`\n  help: did you mean `models`?\n\
         t.toml:8:1: error: unknown field `limts` in `keys.app`\n  help: did you mean `limits`?\n\
         t.toml:9:12: error: unknown field `request_per_minute` in `keys.app.limits`\n  \
         help: did you mean `requests_per_minute`?\n\
         t.toml:10:2: error: unknown field `nothing`\n  help: known here: server, store, cluster, smtp, environments, \
         providers, models, routes, keys, logs, limits, budgets, guardrails, cache"
    );
}

#[test]
fn types_and_forms_say_what_was_expected() {
    let text = r#"
[server]
listen = 8080
max_body = "32MB"
drain = { accept = "5 s" }
log = "jsn"
[routes.chat]
targets = [{ model = "demo/echo", weight = -1 }, 5, { weight = 1 }]
timeouts = { total = "0s" }
[models."tiny"]
context = "8192"
[models."local/tiny"]
price = { input = 0.10, output = "1,5", currency = "usd" }
[keys.app]
models = "chat"
budgets = [{ name = "m", amount = "-5", window = "fortnight" }]
limits = { concurrency = 0, requests_per_minute = 1.5 }
"#;
    assert_eq!(
        bad(text),
        r#"t.toml:3:10: error: `server.listen`: expected an address such as "127.0.0.1:8080", found an integer
t.toml:4:12: error: `server.max_body`: `32MB` is not a size
  help: write a whole number above 0 and one of B, KiB, MiB, GiB, such as "32MiB"
t.toml:5:20: error: `server.drain.accept`: `5 s` is not a duration
  help: write a whole number and one of ms, s, m, h, d, such as "5s" or "60m"
t.toml:6:7: error: `server.log`: unknown value "jsn"
  help: did you mean "json"?
t.toml:8:44: error: `routes.chat.targets[0].weight`: must be a number from 0 up, such as 95
t.toml:8:50: error: `routes.chat.targets[1]`: expected a model's name such as "openai/gpt-5-mini" or a table, found an integer
t.toml:8:53: error: `routes.chat.targets[2]` has no `model`
  help: The model, as "provider/model".
t.toml:9:22: error: `routes.chat.timeouts.total`: must be longer than nothing
  help: leave the field out to have the default
t.toml:10:9: error: `models.tiny`: `tiny` is not a model of a provider
  help: write "provider/model", such as [models."local/tiny"]
t.toml:11:11: error: `models.tiny.context`: expected an integer, found a text
t.toml:13:19: error: `models."local/tiny".price.input`: expected a decimal in quotes, found a float
  help: put it in quotes, so that it stays exact: "0.10"
t.toml:13:34: error: `models."local/tiny".price.output`: `1,5`: an amount is written in plain digits, such as 25.00
  help: write plain digits, such as "25.00"
t.toml:13:52: error: `models."local/tiny".price.currency`: `usd`: a currency is three upper-case letters (ISO 4217), such as USD
  help: for example "USD" or "CNY"
t.toml:15:10: error: `keys.app.models`: expected a list, each a model's name, "provider/*" or "*", found a text
t.toml:16:35: error: `keys.app.budgets[0].amount`: must not be negative
  help: write plain digits, such as "25.00"
t.toml:16:50: error: `keys.app.budgets[0].window`: unknown value "fortnight"
  help: one of "hour", "day", "week", "month", "total", "request"
t.toml:17:26: error: `keys.app.limits.concurrency`: must be from 1 to 1000000
t.toml:17:51: error: `keys.app.limits.requests_per_minute`: expected an integer, found a float"#
    );
}

#[test]
fn what_comes_later_is_named() {
    let text = "prompts = {}\n[flags]\nx = 1\n[providers.a]\ndialect = \"anthropic\"\nbase_url = \"http://h\"\n\
                http2 = true\n[models.\"a/b\"]\nprice = { hours = [] }\n\
                [routes.r]\ntargets = [\"a/b\"]\nstrict = true\n";
    assert_eq!(
        bad(text),
        "t.toml:1:1: error: `prompts` is not available in this version\n\
         t.toml:2:2: error: `flags` is not available in this version\n\
         t.toml:7:1: error: `providers.a.http2` is not available in this version\n\
         t.toml:9:11: error: `models.\"a/b\".price.hours` is not available in this version\n\
         t.toml:12:1: error: `routes.r.strict` is not available in this version"
    );
}

#[test]
fn a_provider_says_which_vendor_it_is_and_how_it_speaks() {
    let text = "[providers.a]\nvendor = \"openai\"\ndialect = \"gemini\"\nbase_url = \"http://h\"\n\
                api_version = \"2024-10-21\"\n";
    let document = good(text);
    let provider = &document.environments[0].providers["a"];
    assert_eq!(provider.vendor.as_ref().unwrap().value, "openai".into());
    assert_eq!(provider.dialect.as_ref().unwrap().value, Dialect::Gemini);
    assert_eq!(provider.api_version.as_ref().unwrap().value, "2024-10-21".into());
    assert_eq!(
        bad("[providers.a]\ndialect = \"anthropc\"\napi_version = \"a&b\"\n"),
        "t.toml:2:11: error: `providers.a.dialect`: unknown value \"anthropc\"\n  help: did you mean \"anthropic\"?\n\
         t.toml:3:15: error: `providers.a.api_version`: `a&b` is not an api-version\n  help: write what the vendor's \
         page names, such as \"2024-10-21\""
    );
}

#[test]
fn a_provider_has_several_credentials() {
    let text = "[providers.a.credentials.main]\ncredential = \"env:A\"\n[providers.a.credentials]\n\
                spare = { credential = \"file:b\", weight = 0 }\nhalf = { credential = \"env:C\", weight = 0.5 }\n";
    let document = good(text);
    let said = &document.environments[0].providers["a"].credentials;
    let read: Vec<_> =
        said.iter().map(|(name, one)| (&**name, one.credential.value.to_string(), one.weight)).collect();
    let expected = [("half", "env:C", 0.5), ("main", "env:A", 1.0), ("spare", "file:b", 0.0)];
    assert_eq!(read, expected.map(|(name, reference, weight)| (name, reference.to_owned(), weight)));
    assert_eq!(
        bad(
            "[providers.a.credentials]\none = { credential = \"sk-1\" }\ntwo = { key = \"sk-2\" }\nthree = \"env:A\"\n"
        ),
        "t.toml:2:22: error: `providers.a.credentials.one.credential`: a secret must not stand in the settings\n  help: put \
         the secret into an environment variable and write \"env:NAME\", or into a file and write \"file:PATH\"\n\
         t.toml:3:7: error: `providers.a.credentials.two` has no `credential`\n  help: Where it is found.\n\
         t.toml:3:9: error: unknown field `key` in `providers.a.credentials.two`\n  help: known here: credential, weight\n\
         t.toml:4:9: error: `providers.a.credentials.three`: expected a table, found a text"
    );
}

#[test]
fn no_finding_shows_a_secret() {
    let text = "[providers.openai]\ncredential = \"sk-live-12345\"\nbase_url = \"https://me:pass12345@host/v1\"\n\
                headers = { authorization = \"Bearer 12345\" }\n[keys.app]\nsecret = \"tg-12345\"\n\
                [store]\nurl = \"mysql://u:12345@h/d\"\n[server]\nmaster_key = \"12345\"\n";
    let shown = bad(text);
    assert_eq!(shown.matches(": error: ").count(), 6, "{shown}");
    assert!(!shown.contains("12345"), "{shown}");
    let document = good("[store]\nurl = \"postgres://u:12345@h/d\"");
    assert!(!format!("{document:?}").contains("12345"));
}

#[test]
fn a_public_address_needs_a_word_about_admin() {
    let public = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert!(bad(public).starts_with("t.toml:2:10: error: `server.listen` 0.0.0.0:8080 is not loopback"));
    good(&format!("{public}admin_on_public_port = true"));
    good(&format!("{public}admin_listen = \"127.0.0.1:8081\""));
    good("[server]\nlisten = \"[::1]:8080\"");
    good("[server]\nlisten = \"localhost:0\"");
}

#[test]
fn fields_that_contradict_one_another() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"\nmax_memory = \"1MiB\"\n\
                segment_bytes = \"1KiB\"\n[routes.r]\ntargets = []\n[keys.k]\nbudgets = [{ name = \"a\", \
                amount = \"0\", window = \"day\" }, { name = \"a\", amount = 1, window = \"day\" }]\n\
                [environments.dev]\nlayer = \"development\"\n";
    let shown = bad(text);
    for expected in [
        "t.toml:3:16: error: `server.admin_listen` is the same address as `server.listen`: 127.0.0.1:1",
        "t.toml:4:14: error: `server.max_memory` is smaller than twice `server.max_body`",
        "t.toml:5:17: error: `server.segment_bytes` is 1KiB, which is not from 64KiB to 4GiB",
        "t.toml:6:9: error: route `r` has no target that could be chosen",
        "t.toml:9:12: error: budget `a` of key `k` allows nothing",
        "t.toml:9:58: error: there are two budgets `a` of key `k`",
        "t.toml:10:15: error: `environments.dev` is also what the top-level `routes` describes",
    ] {
        assert!(shown.contains(expected), "{expected}\n\n{shown}");
    }
}

#[test]
fn environments() {
    let document = good(
        "[environments.dev]\nlayer = \"development\"\nworkspace = \"w\"\n[environments.cn]\nlayer = \"domestic\"\n\
         region = \"cn-beijing\"\n[environments.cn.logs]\nbodies = true\n",
    );
    let names: Vec<_> =
        document.environments.iter().map(|one| (&*one.name, &*one.workspace, &*one.region)).collect();
    assert_eq!(names, [("dev", "w", "local"), ("cn", "default", "cn-beijing")]);
    assert!(document.environments[1].log_bodies && !document.environments[0].log_bodies);
    assert!(document.environments[0].providers.contains_key("demo"));
    assert!(
        bad("\n[environments.prod]\n").starts_with("t.toml:2:1: error: `environments.prod` has no `layer`")
    );
    assert!(bad("[environments.\"a b\"]\nlayer = \"domestic\"\n").contains("`a b` is not a name"));
}

#[test]
fn errors_of_form_are_placed_too() {
    let shown = bad("[server]\nlisten = \n[store\nurl = 5\n[server]\n");
    assert!(shown.lines().all(|line| line.starts_with("t.toml:")), "{shown}");
    assert!(shown.starts_with("t.toml:2:"), "{shown}");
    assert!(shown.lines().count() >= 2, "{shown}");
    assert!(bad("a = 1\na = 2\n").starts_with("t.toml:2:1: error: duplicate key"));
}

#[test]
fn columns_count_characters_and_lines_end_either_way() {
    assert!(bad("[logs]\r\nbodies = true\r\n\"ключ\" = 1, x = 2").starts_with("t.toml:3:"));
    let shown = bad("[routes.r]\r\ntargets = [\"демо\", 7]\r\n");
    assert!(shown.contains("t.toml:2:12: error") && shown.contains("t.toml:2:20: error"), "{shown}");
}

#[test]
fn findings_are_bounded() {
    let many: String = (0..5_000).map(|number| format!("x{number} = 1\n")).collect();
    let findings = parse(&many, "t.toml").unwrap_err();
    assert_eq!(findings.len(), 101);
    assert_eq!(findings[100].to_string(), "t.toml: error: only the first 100 findings are shown");
}

#[test]
fn headers_that_are_not_the_users_are_refused() {
    for name in
        ["Authorization", "X-Api-Key", "cookie", "host", "Content-Length", "x-tidegate-cache", "my-token"]
    {
        let text = format!("[providers.a]\nbase_url = \"http://h\"\nheaders = {{ {name} = \"v\" }}");
        assert!(bad(&text).contains(&format!("the header `{name}`")), "{name}");
    }
    assert!(
        bad("[providers.a]\nbase_url = \"http://h\"\nheaders = { a = \"x\\ny\" }").contains("not the value")
    );
    let document = good("[providers.a]\nbase_url = \"http://h\"\nheaders = { X-Team = \"a b\" }");
    assert_eq!(document.environments[0].providers["a"].headers["x-team"], "a b".into());
}

#[test]
fn base_urls() {
    let taken = |text| base_url(text).map(|(origin, path)| (origin.to_string(), origin.port, path)).unwrap();
    assert_eq!(taken("https://api.openai.com/v1"), ("https://api.openai.com".into(), 443, "/v1".into()));
    assert_eq!(taken("http://H:8000/v1/"), ("http://h:8000".into(), 8_000, "/v1".into()));
    assert_eq!(taken("http://[::1]:80"), ("http://[::1]".into(), 80, String::new()));
    assert_eq!(taken("https://h"), ("https://h".into(), 443, String::new()));
    for text in [
        "",
        "h",
        "ftp://h",
        "http://",
        "http:///v1",
        "http://h:0",
        "http://h:99999",
        "http://h:x",
        "http://a@h",
        "http://h/v1?x",
        "http://h/#x",
        "http://[::1",
        "http://[::g]",
        "http://h/a b",
        "http://h/../x",
        "http://h:1:2",
    ] {
        assert!(base_url(text).is_err(), "{text}");
    }
}

#[test]
fn http2_towards_a_provider_is_refused_as_not_available() {
    let findings = parse("[providers.p]\nbase_url = \"http://h\"\nhttp2 = true\n", "t.toml").unwrap_err();
    assert_eq!(
        findings[0].to_string(),
        "t.toml:3:1: error: `providers.p.http2` is not available in this version"
    );
}

#[test]
fn the_schema_knows_every_field_of_the_example() {
    let schema = json_schema();
    let server = &schema["properties"]["server"];
    assert_eq!(server["additionalProperties"], false);
    assert!(server["properties"]["listen"]["description"].as_str().unwrap().contains("127.0.0.1:8080"));
    let own = &schema["properties"]["environments"]["additionalProperties"];
    assert_eq!(own["required"], serde_json::json!(["layer"]));
    assert!(own["properties"]["keys"]["additionalProperties"]["properties"]["budgets"]["items"].is_object());
    assert!(schema["properties"].get("prompts").is_none(), "what is refused is not offered");
}

/// Every field of the schema, filled with something else than the default, changes what the document means:
/// none is checked and then forgotten.
#[test]
fn every_field_that_is_checked_is_read() {
    let base = "[providers.p]\nbase_url = \"http://h/v1\"\n[models.\"p/m\"]\n[routes.r]\ntargets = [\"p/m\"]\n\
                [keys.k]\n[server]\n[store]\n";
    let meaning = |text: &str| serde_json::to_string(&good(text)).unwrap();
    let empty = meaning(base);
    let budget = "budgets = [{ name = \"n\", amount = \"1\", window = \"hour\" }]";
    for (table, line) in [
        ("[server]", "listen = \"127.0.0.1:1\""),
        ("[server]", "data_dir = \"d\""),
        ("[server]", "admin_listen = \"127.0.0.1:2\""),
        ("[server]", "admin_on_public_port = true"),
        ("[server]", "tls = { certificate = \"c\", key = \"k\" }"),
        ("[server]", "master_key = \"env:K\""),
        ("[server]", "max_body = \"1MiB\""),
        ("[server]", "max_memory = \"1GiB\""),
        ("[server]", "overload = { max_in_flight = 9 }"),
        ("[server]", "overload = { queue = 9 }"),
        ("[server]", "overload = { queue_bytes = \"1MiB\" }"),
        ("[server]", "overload = { queue_wait = \"9s\" }"),
        ("[server]", "drain = { accept = \"0s\" }"),
        ("[server]", "drain = { deadline = \"9s\" }"),
        ("[server]", "segment_bytes = \"1MiB\""),
        ("[server]", "log = \"json\""),
        ("[server]", "allow_private_upstreams = false"),
        ("[store]", "url = \"postgres://h/d\""),
        ("[store]", "retention = \"1d\""),
        ("[providers.p]", "credential = \"file:c\""),
        ("[providers.p]", "credentials.one = { credential = \"env:A\" }"),
        ("[providers.p]", "credentials.one = { credential = \"env:A\", weight = 7 }"),
        ("[providers.p]", "models = [\"m\"]"),
        ("[providers.p]", "models = \"discover\""),
        ("[providers.p]", "abort_stops_billing = false"),
        ("[providers.p]", "stream_usage = false"),
        ("[providers.p]", "ca = \"file:c\""),
        ("[providers.p]", "headers = { a = \"b\" }"),
        ("[providers.p]", "timeouts = { connect = \"1s\" }"),
        ("[providers.p]", "timeouts = { first_byte = \"1s\" }"),
        ("[providers.p]", "timeouts = { idle = \"1s\" }"),
        ("[providers.p]", "timeouts = { total = \"1s\" }"),
        ("[providers.p]", "max_connections = 7"),
        ("[providers.p]", "max_concurrency = 7"),
        ("[providers.p]", "responses = true"),
        ("[providers.p]", "adaptive = \"gradient\""),
        ("[models.\"p/m\"]", "context = 7"),
        ("[models.\"p/m\"]", "max_output = 7"),
        ("[models.\"p/m\"]", "api = \"chat\""),
        ("[models.\"p/m\"]", "api = \"responses\""),
        ("[models.\"p/m\"]", "price = { currency = \"CNY\" }"),
        ("[routes.r]", "fallbacks = [\"p/n\"]"),
        ("[routes.r]", "timeouts = { idle = \"1s\" }"),
        ("[keys.k]", "secret = \"env:K\""),
        ("[keys.k]", "models = [\"*\"]"),
        ("[keys.k]", "limits = { requests_per_minute = 1 }"),
        ("[keys.k]", "limits = { tokens_per_minute = 1 }"),
        ("[keys.k]", "limits = { concurrency = 1 }"),
        ("[keys.k]", budget),
        ("[keys.k]", "durable = true"),
        ("[server]", "\n[logs]\nbodies = true"),
    ] {
        let text = base.replacen(table, &format!("{table}\n{line}"), 1);
        assert_ne!(meaning(&text), empty, "{table} {line}");
    }
    let rates = "input output cached_input cache_write cache_write_hour reasoning audio_input audio_output per_image per_second per_request";
    for rate in rates.split(' ') {
        let text = base.replacen("[models.\"p/m\"]", &format!("[models.\"p/m\"]\nprice.{rate} = \"1\""), 1);
        assert_ne!(meaning(&text), empty, "{rate}");
    }
}

#[test]
fn places_and_order_are_not_part_of_the_meaning() {
    let one = "[keys.a]\n[keys.b]\ndurable = true\n[providers.p]\nbase_url = \"http://h\"\n";
    let other =
        "# a comment\n\n[providers.p]\nbase_url = \"http://h\"\n\n[keys.b]\ndurable = true\n[keys.a]\n";
    assert_eq!(serde_json::to_string(&good(one)).unwrap(), serde_json::to_string(&good(other)).unwrap());
}

/// Every error has a place within the text.
fn placed(text: &str) {
    match parse(text, "t.toml") {
        Ok((_, warnings)) => assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning)),
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            let lines = text.split('\n').count();
            for finding in findings.iter().take(100) {
                assert!((1..=lines).contains(&finding.line), "{finding}");
                assert!(finding.column >= 1);
                assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{finding}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        placed(&text);
    }

    #[test]
    fn anything_like_toml_is_read_or_refused(text in "[a-z\\[\\]{}=\"'.,#\\n 0-9_-]{0,200}") {
        placed(&text);
    }

    /// The example with a piece taken out, put in twice, or overwritten.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        from in 0..EXAMPLE.len(), length in 0usize..40, to in 0..EXAMPLE.len(), junk in "[\\[\\]{}=\"'.,#\\n 0-9a-z]{0,6}"
    ) {
        let cut = |at: usize| (0..=at).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let (from, end, to) = (cut(from), cut((from + length).min(EXAMPLE.len())), cut(to));
        let piece = &EXAMPLE[from.min(end)..end];
        placed(&format!("{}{junk}{}", &EXAMPLE[..from.min(end)], &EXAMPLE[end..]));
        placed(&format!("{}{piece}{}", &EXAMPLE[..to], &EXAMPLE[to..]));
    }

    /// Known fields with values of every type and form.
    #[test]
    fn known_fields_with_any_value_are_read_or_refused(
        fields in proptest::collection::vec((0usize..FIELDS.len(), 0usize..VALUES.len()), 1..6)
    ) {
        let lines = fields.into_iter().map(|(field, value)| format!("{} = {}\n", FIELDS[field], VALUES[value]));
        placed(&lines.collect::<String>());
    }
}

const FIELDS: [&str; 30] = [
    "server",
    "server.listen",
    "server.drain",
    "server.tls",
    "server.max_body",
    "store.url",
    "store.retention",
    "environments",
    "environments.a.layer",
    "environments.a.keys.k.limits",
    "logs.bodies",
    "providers",
    "providers.p",
    "providers.p.base_url",
    "providers.p.models",
    "providers.p.headers",
    "providers.p.timeouts.idle",
    "models.\"p/m\"",
    "models.\"p/m\".price",
    "models.\"p/m\".price.tiers",
    "models.\"p/m\".price.input",
    "models.\"p/m\".context",
    "routes.r",
    "routes.r.targets",
    "routes.r.fallbacks",
    "keys",
    "keys.k.models",
    "keys.k.limits.concurrency",
    "keys.k.budgets",
    "limits",
];

const VALUES: [&str; 24] = [
    "1",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "1.5",
    "nan",
    "-inf",
    "1e400",
    "true",
    "\"\"",
    "\"discover\"",
    "\"5s\"",
    "\"99999999999999999999d\"",
    "\"http://h:1/v1\"",
    "\"env:X\"",
    "[]",
    "[1, \"a/b\", {}]",
    "{}",
    "[{ model = \"p/m\", weight = 1e308 }, { model = \"p/m\", weight = 1e308 }]",
    "{ x = 1, connect = 2 }",
    "2026-11-22T00:00:00Z",
    "[{ name = \"n\", amount = 9000000000, window = \"day\" }]",
];
