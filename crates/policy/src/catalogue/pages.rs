//! The pages of `docs/providers`, made from the rows: so that what is documented is what is served.

use super::{Confidence, Kind, Quirk, Region, ThroughChat, Vendor, built_in};
use crate::snapshot::{Auth, Dialect, VectorShape};
use std::fmt::Write;

/// Every page, as (name of the file, text): `README.md` with the table of all, then one for each vendor.
pub fn pages() -> Vec<(String, String)> {
    let vendors = built_in().vendors();
    let mut pages = vec![("README.md".to_owned(), index(vendors))];
    pages.extend(vendors.iter().map(|vendor| (format!("{}.md", vendor.name), page(vendor))));
    pages
}

const MADE: &str = "<!-- Made from crates/policy/data by `cargo run -p policy --example providers`. -->\n";

fn index(vendors: &[Vendor]) -> String {
    let mut text = format!(
        "# Providers\n\n{MADE}\nWhat Tidegate knows of vendors and servers without being told. `[providers.NAME]` with \
         one of these names needs a credential and nothing else; `vendor = \"NAME\"` gives a provider of another name the \
         same facts, so that two accounts of one vendor can stand side by side. Any other server needs a `base_url`: see \
         [Adding a provider](../adding-a-provider.md).\n"
    );
    for (kind, title) in [
        (Kind::Vendor, "Vendors"),
        (Kind::Server, "Servers of one's own"),
        (Kind::Gateway, "Gateways (presets without an address)"),
        (Kind::Simulated, "Simulated"),
    ] {
        text.push_str(&format!(
            "\n## {title}\n\n| Name | What | Region | Dialects | Responses | Variable |\n|---|---|---|---|---|---|\n"
        ));
        for vendor in vendors.iter().filter(|vendor| vendor.kind == kind) {
            let dialects: Vec<_> = vendor.doors.iter().map(|door| door.dialect.as_str()).collect();
            let variable = vendor.key_variables.first().or(vendor.base_variable.as_ref());
            let _ = writeln!(
                text,
                "| [`{0}`]({0}.md) | {1} | {2} | {3} | {4} | {5} |",
                vendor.name,
                vendor.title,
                region(vendor.region),
                dialects.join(", "),
                yes_no(vendor.responses),
                variable.map_or_else(String::new, |name| format!("`{name}`")),
            );
        }
    }
    text
}

fn page(vendor: &Vendor) -> String {
    let mut text = format!("# {}\n\n{MADE}\n", vendor.title);
    if let Some(note) = &vendor.note {
        let _ = writeln!(text, "{note}\n");
    }
    let _ = writeln!(text, "```toml\n{}```\n", settings(vendor));
    doors(vendor, &mut text);
    let _ = writeln!(text, "| Fact | Value |\n|---|---|");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    fact("Region", region(vendor.region).to_owned());
    fact("Native dialect", vendor.dialect.to_string());
    fact("Environment", environment(vendor));
    fact("Stops billing when a call is cancelled", yes_no(vendor.abort_stops_billing).to_owned());
    fact("Understands `stream_options.include_usage`", yes_no(vendor.stream_usage).to_owned());
    if let Some(version) = &vendor.api_version {
        fact("`api_version`", format!("`{version}`"));
    }
    quirks(vendor, &mut text);
    apis(vendor, &mut text);
    let _ = writeln!(text, "\n## Sources\n\n| Fact | Source | Date | Confidence |\n|---|---|---|---|");
    for fact in &vendor.facts {
        let sure = confidence(fact.confidence);
        let _ = writeln!(text, "| `{}` | {} | {} | {sure} |", fact.of, fact.page, fact.date);
    }
    text
}

/// The least that has to be written for this vendor.
pub(super) fn settings(vendor: &Vendor) -> String {
    let mut text = format!("[providers.{}]\n", vendor.name);
    if *vendor.auth() != Auth::None {
        let variable = vendor.key_variables.first().map_or("NAME", |variable| variable);
        let _ = writeln!(text, "credential = \"env:{variable}\"");
    }
    match (vendor.kind, vendor.base_url()) {
        (Kind::Simulated, _) | (Kind::Vendor | Kind::Gateway, Some(_)) => {}
        (Kind::Server, Some(url)) => {
            let _ = writeln!(text, "base_url = \"{url}\"");
        }
        (_, None) => {
            let path = vendor.root_path.as_ref().map_or("/v1", |_| "");
            let _ = writeln!(text, "base_url = \"https://{}.example.com{path}\"", vendor.name);
        }
    }
    text
}

fn doors(vendor: &Vendor, text: &mut String) {
    let _ = writeln!(text, "| Speaks | Base URL | Key |\n|---|---|---|");
    let mut row = |speaks: &str, url: Option<&str>, auth: &Auth| {
        let key = match auth {
            Auth::Bearer => "`authorization: Bearer`".to_owned(),
            Auth::Header(name) => format!("`{name}`"),
            Auth::None if vendor.key_variables.is_empty() => "none".to_owned(),
            Auth::None => "none, or a credential if it wants one".to_owned(),
        };
        let place = url.map_or_else(|| "yours".to_owned(), |url| format!("`{url}`"));
        let _ = writeln!(text, "| {speaks} | {place} | {key} |");
    };
    for door in &vendor.doors {
        let speaks = match door.dialect {
            Dialect::OpenAi => "openai: Chat Completions, Embeddings",
            Dialect::Anthropic => "anthropic: Messages",
            Dialect::Gemini => "gemini: generateContent",
        };
        row(speaks, door.base_url.as_deref(), &door.auth);
    }
    let openai = vendor.door(Dialect::OpenAi);
    let auth = openai.map_or(&Auth::Bearer, |door| &door.auth);
    if vendor.responses {
        let usual = openai.and_then(|door| door.base_url.as_deref());
        row("openai: Responses", vendor.responses_url.as_deref().or(usual), auth);
    }
    for (what, door) in [("embeddings", &vendor.embed), ("rerank", &vendor.rerank)] {
        let Some(door) = door else { continue };
        let whose = match door.shape {
            VectorShape::Cohere => "Cohere",
            VectorShape::Jina => "Jina",
        };
        row(&format!("{what}, in {whose}'s shape (whole address)"), Some(&door.url), auth);
    }
    text.push('\n');
}

fn quirks(vendor: &Vendor, text: &mut String) {
    if vendor.quirks.is_empty() {
        return;
    }
    let _ =
        writeln!(text, "\n## Where it deviates\n\n| Flag | Meaning | What is done about it |\n|---|---|---|");
    for quirk in &vendor.quirks {
        let _ = writeln!(text, "| `{quirk}` | {} | {} |", quirk.meaning(), quirk.remedy());
    }
    for exception in &vendor.exceptions {
        let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let flags = |quirks: &[Quirk]| list(quirks.iter().map(|quirk| format!("`{quirk}`")).collect());
        let models = list(exception.models.iter().map(|name| format!("`{name}`")).collect());
        let (without, with) = (flags(&exception.without), flags(&exception.with));
        let _ = writeln!(text, "\nThe models {models} differ: without {without}; with {with}.");
    }
}

/// Models that Chat Completions does not serve, or not wholly.
fn apis(vendor: &Vendor, text: &mut String) {
    let mut rules =
        built_in().api_rules().iter().filter(|rule| rule.vendors.contains(&vendor.name)).peekable();
    if rules.peek().is_none() {
        return;
    }
    let _ = writeln!(
        text,
        "\n## Put to Responses\n\nWhat Chat Completions does not serve of these models is put to Responses, whatever dialect \
         the client speaks. A model that is not here is learned from the vendor's refusal; `api` of \
         `[models.\"{}/MODEL\"]` overrules both.\n\n| Models | Chat Completions serves | Source | Date |\n|---|---|---|---|",
        vendor.name
    );
    for rule in rules {
        let names: Vec<_> = rule.models.iter().map(|name| format!("`{name}`")).collect();
        let served = match rule.chat {
            ThroughChat::Everything => "everything",
            ThroughChat::ToolsWithoutThinking => "calls without tools, or with `reasoning_effort` `none`",
            ThroughChat::NoTools => "calls without tools",
            ThroughChat::Nothing => "nothing",
        };
        let _ =
            writeln!(text, "| {} | {served} | {} | {} |", names.join(", "), rule.fact.page, rule.fact.date);
    }
}

fn environment(vendor: &Vendor) -> String {
    let names: Vec<_> =
        vendor.key_variables.iter().chain(&vendor.base_variable).map(|name| format!("`{name}`")).collect();
    match (names.is_empty(), vendor.found) {
        (true, _) => "none".to_owned(),
        (false, true) => names.join(", "),
        (false, false) => format!("{}; not looked for without a settings file", names.join(", ")),
    }
}

fn region(region: Region) -> &'static str {
    match region {
        Region::Anywhere => "anywhere",
        Region::Mainland => "mainland China",
        Region::International => "international",
        Region::Own => "wherever you say",
    }
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Official => "official",
        Confidence::Secondary => "secondary",
        Confidence::Notes => "dated notes",
        Confidence::Code => "public code",
        Confidence::Unverified => "not verified",
        Confidence::Ours | Confidence::Simulated => "ours",
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_up_to_date() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/providers");
        let mut expected: Vec<String> = Vec::new();
        for (name, text) in pages() {
            let there = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
            assert!(there == text, "{name} is not up to date: cargo run -p policy --example providers");
            expected.push(name);
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            assert!(expected.contains(&name), "{name} is of no row: cargo run -p policy --example providers");
        }
    }
}
