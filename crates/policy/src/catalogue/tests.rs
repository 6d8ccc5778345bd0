//! What must hold of the data files.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::price::Rate;
use std::collections::BTreeSet;

#[path = "goldens.rs"]
mod goldens;

#[test]
fn the_data_files_read() {
    let catalogue = Catalogue::read(VENDORS, PRICES, APIS).unwrap();
    for vendor in &catalogue.vendors {
        assert!(*vendor.auth() == Auth::None || !vendor.key_variables.is_empty(), "{}", vendor.name);
        let placed = vendor.base_url().is_some() || vendor.base_variable.is_some();
        assert!(placed || vendor.simulated || !vendor.found, "{} cannot be found", vendor.name);
        assert!(crate::settings::parse(&format!("[providers.{}]", vendor.name), "t").is_ok());
        for fact in &vendor.facts {
            let day: Result<crate::time::Timestamp, _> = fact.date.parse();
            assert!(day.is_ok() && !fact.page.is_empty(), "{}: {}", vendor.name, fact.of);
        }
    }
    for (vendor, models) in &catalogue.models {
        assert!(catalogue.vendor(vendor).is_some(), "{vendor} has prices and is no vendor");
        for (name, model) in models {
            let Some(price) = &model.price else { continue };
            let sane = |rate: Option<Rate>| rate.is_none_or(|rate| rate.0 <= 1_000 * 1_000_000_000);
            assert!(sane(price.input) && sane(price.output), "{name} is dearer than anything");
            let (input, cached) = (price.input.unwrap(), price.cached_input);
            assert!(cached.is_none_or(|cached| cached <= input), "{name}: a cached token is not dearer");
            assert!(price.output.is_none_or(|output| output >= input), "{name}: output is not cheaper");
            assert!(price.tiers.iter().all(|tier| tier.input >= price.input), "{name}: tiers rise");
        }
    }
}

#[test]
fn the_simulated_models_are_there() {
    let names: Vec<_> = built_in().models("demo").map(|(name, _)| name.to_string()).collect();
    for name in [
        "echo", "story", "fast", "slow", "long", "terse", "tools", "vision", "json", "refuse", "fail",
        "flaky", "embed", "realtime",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert_eq!(names.len(), 14);
    let demo = built_in().vendor("demo").unwrap();
    assert!(demo.simulated && demo.closed && *demo.auth() == Auth::None);
}

#[test]
fn the_promised_vendors_are_there() {
    for (name, variable) in [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("qwen", "DASHSCOPE_API_KEY"),
    ] {
        assert_eq!(&*built_in().vendor(name).unwrap().key_variables[0], variable);
    }
    for (name, variable) in [("ollama", "OLLAMA_HOST"), ("vllm", "VLLM_BASE_URL")] {
        assert_eq!(built_in().vendor(name).unwrap().base_variable.as_deref(), Some(variable));
    }
}

#[test]
fn a_variable_leads_to_one_vendor() {
    let mut seen = BTreeSet::new();
    for vendor in built_in().vendors().iter().filter(|vendor| vendor.found) {
        for variable in vendor.key_variables.iter().chain(&vendor.base_variable) {
            assert!(seen.insert(variable), "{variable} is that of two vendors");
        }
    }
    let names: BTreeSet<_> = built_in().vendors().iter().map(|vendor| &vendor.name).collect();
    assert_eq!(names.len(), built_in().vendors().len());
}

#[test]
fn presets_of_gateways_have_no_address() {
    for name in ["treerouter", "4sapi", "koalaapi", "xinglianapi"] {
        let vendor = built_in().vendor(name).unwrap();
        assert_eq!((vendor.kind, vendor.base_url(), vendor.dialect), (Kind::Gateway, None, Dialect::OpenAi));
    }
}

#[test]
fn flags_read_as_they_are_written_and_each_is_used() {
    let used: BTreeSet<_> = built_in().vendors().iter().flat_map(|vendor| vendor.quirks.clone()).collect();
    for quirk in Quirk::ALL {
        let read: Quirk = serde_json::from_value(serde_json::json!(quirk.as_str())).unwrap();
        assert_eq!(read, quirk);
        assert!(!quirk.meaning().is_empty() && used.contains(&quirk), "{quirk}");
    }
}

#[test]
fn a_row_that_contradicts_itself_is_refused() {
    let good = "[sources.s]\npage = \"p\"\ndate = \"2026-01-01\"\nconfidence = \"ours\"\n[[vendor]]\nname = \"v\"\n\
                title = \"V\"\nkind = \"vendor\"\nregion = \"anywhere\"\ndialect = \"openai\"\nauth = \"bearer\"\n\
                abort_stops_billing = false\nstream_usage = true\nsource = \"s\"\nopenai = \"https://h/v1\"\n";
    let read = |more: &str| {
        let file: VendorFile = toml::from_str(&format!("{good}{more}")).map_err(|error| error.to_string())?;
        file.vendors()
    };
    assert_eq!(read("").unwrap().len(), 1);
    for (more, why) in [
        ("anthropic = \"https://other\"", "several origins"),
        ("rerank = \"jina\"", "belong together"),
        ("rerank = \"jina\"\nrerank_url = \"https://other/rerank\"", "not where the other doors are"),
        ("sources = { quirks = \"s\" }", "does not state"),
        ("sources = { auth = \"t\" }", "no source `t`"),
        ("gemini = \"h\"", "http"),
        ("quirks = [\"no_such\"]", "no_such"),
        ("qirks = []", "qirks"),
    ] {
        let told = read(more).unwrap_err();
        assert!(told.contains(why), "{more}: {told}");
    }
}
