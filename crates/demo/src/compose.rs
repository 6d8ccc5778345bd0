//! What is answered: from an [`Ask`] to the tokens of each choice. Pure, the same every time.

use serde_json::json;

use crate::ask::{Ask, Format, Tool, ToolChoice};
use crate::models::Kind;
use crate::schema;
use crate::tokens::{self, Numbers};

/// One choice of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The tokens of the text; joined they are the text.
    pub(crate) text: Vec<String>,
    /// The text is a refusal, not content.
    pub(crate) refusal: bool,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: &'static str,
}

/// One tool call; the arguments in tokens, joined they are JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

impl Choice {
    /// Output tokens: those of the text, and of each call its arguments and 4 around them.
    pub(crate) fn tokens(&self) -> u64 {
        let calls: usize = self.calls.iter().map(|call| 4 + call.arguments.len()).sum();
        (self.text.len() + calls) as u64
    }
}

/// Every choice of the answer.
pub(crate) fn choices(ask: &Ask) -> Vec<Choice> {
    (0..ask.choices).map(|index| choice(ask, index)).collect()
}

fn choice(ask: &Ask, index: u64) -> Choice {
    let called = called(ask);
    if !called.is_empty() {
        let calls = called.iter().enumerate().map(|(place, tool)| call(ask, tool, index, place)).collect();
        return Choice { calls, finish: "tool_calls", ..Choice::default() };
    }
    let mut numbers = Numbers(ask.seed.wrapping_add(index));
    let mut text = text(ask, &mut numbers);
    let mut finish = "stop";
    if let Some(at) =
        ask.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min()
    {
        text.truncate(at);
    }
    let mut pieces: Vec<String> = tokens::pieces(&text).map(str::to_owned).collect();
    if let Some(wanted) = ask.directives.tokens {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        pieces.truncate(wanted);
        while pieces.len() < wanted {
            pieces.push(numbers.pick(FILLER).to_owned());
        }
    }
    if let Some(limit) = ask.limit.and_then(|limit| usize::try_from(limit).ok())
        && pieces.len() > limit
    {
        pieces.truncate(limit);
        finish = "length";
    }
    Choice { text: pieces, refusal: ask.model.kind == Kind::Refuse, calls: Vec::new(), finish }
}

/// The tools that this answer calls: the named one; the first if one is required; and the model `tools` calls by
/// itself, two where there are two, unless it has just been given results.
fn called(ask: &Ask) -> Vec<&Tool> {
    match &ask.choice {
        ToolChoice::None => Vec::new(),
        ToolChoice::Named(name) => ask.tools.iter().filter(|tool| tool.name == *name).take(1).collect(),
        ToolChoice::Auto if ask.model.kind != Kind::Tools || !ask.results.is_empty() => Vec::new(),
        ToolChoice::Auto | ToolChoice::Required => {
            let both = ask.parallel && ask.model.kind == Kind::Tools;
            ask.tools.iter().take(if both { 2 } else { 1 }).collect()
        }
    }
}

fn call(ask: &Ask, tool: &Tool, index: u64, place: usize) -> Call {
    let arguments = match schema::instance(&tool.parameters) {
        object @ serde_json::Value::Object(_) => object.to_string(),
        _ => "{}".to_owned(),
    };
    let id = tokens::hash(&[
        &ask.seed.to_le_bytes(),
        tool.name.as_bytes(),
        &index.to_le_bytes(),
        &place.to_le_bytes(),
    ]);
    let arguments = tokens::pieces(&arguments).map(str::to_owned).collect();
    Call { id: format!("call_{id:016x}"), name: tool.name.clone(), arguments }
}

fn text(ask: &Ask, numbers: &mut Numbers) -> String {
    match &ask.format {
        Format::Schema(schema) => return schema::instance(schema).to_string(),
        Format::Object => return object(ask),
        Format::Text => {}
    }
    let said = if ask.said.is_empty() { "(nothing)" } else { ask.said.as_str() };
    match ask.model.kind {
        Kind::Echo => format!("Simulated echo: {said}"),
        Kind::Story => format!("A simulated story. {}", story(numbers, 14)),
        Kind::Fast => format!("Simulated and fast. {}", story(numbers, 4)),
        Kind::Slow => format!("Simulated and slow. {}", story(numbers, 3)),
        Kind::Long => long(numbers),
        Kind::Terse => {
            format!("Simulated: {}.", numbers.pick(&["yes", "no", "perhaps", "it depends", "done", "agreed"]))
        }
        Kind::Tools => tools_text(ask),
        Kind::Vision => vision(ask),
        Kind::Json => object(ask),
        Kind::Refuse => "I am a simulated model and I refuse everything that I am asked.".to_owned(),
        Kind::Fail | Kind::Flaky | Kind::Embed | Kind::Realtime => {
            "This is a simulated answer; this time it worked.".to_owned()
        }
    }
}

fn object(ask: &Ask) -> String {
    json!({"simulated": true, "said": ask.said, "length": ask.said.chars().count()}).to_string()
}

fn tools_text(ask: &Ask) -> String {
    match (ask.results.as_slice(), ask.tools.is_empty()) {
        ([], true) => {
            "Simulated: I call tools, and was given none. Send `tools` and I will call the first two.".into()
        }
        ([], false) => "Simulated: I was given tools and told not to call one.".into(),
        ([one], _) => format!("Simulated: the tool answered {one}"),
        (several, _) => format!("Simulated: the tools answered {}", several.join("; and ")),
    }
}

fn vision(ask: &Ask) -> String {
    let seen: Vec<String> = ask.images.iter().map(crate::images::Image::describe).collect();
    match seen.len() {
        0 => "Simulated sight: I see no image.".to_owned(),
        1 => format!("Simulated sight: I see 1 image: {}.", seen.join("")),
        several => format!("Simulated sight: I see {several} images: {}.", seen.join("; ")),
    }
}

fn long(numbers: &mut Numbers) -> String {
    let mut text = "A long simulated answer.".to_owned();
    let mut so_far = tokens::count(&text);
    while so_far < 2_000 {
        let paragraph = format!("\n\n{}", story(numbers, 8));
        so_far += tokens::count(&paragraph);
        text.push_str(&paragraph);
    }
    text
}

fn story(numbers: &mut Numbers, sentences: usize) -> String {
    let (hero, place) = (numbers.pick(HEROES), numbers.pick(PLACES));
    let mut told = vec![format!("Once there was {hero} near {place}.")];
    while told.len() < sentences {
        let (when, deed, thing) = (numbers.pick(TIMES), numbers.pick(DEEDS), numbers.pick(THINGS));
        told.push(format!("{when} it {deed} {thing}."));
    }
    told.push("So the tide turned, and the simulation ended.".to_owned());
    told.join(" ")
}

const HEROES: &[&str] =
    &["a heron", "an old ferry", "a lock keeper", "a small crab", "a lantern", "a grey seal"];
const PLACES: &[&str] =
    &["a tide gate", "the salt marsh", "a quiet harbour", "the long pier", "the sand bank"];
const TIMES: &[&str] =
    &["At dawn", "By noon", "Every evening", "When fog came", "After the storm", "In spring", "At low water"];
const DEEDS: &[&str] =
    &["counted", "lost", "found", "carried", "painted", "guarded", "sold", "followed", "dreamed of"];
const THINGS: &[&str] = &[
    "seven shells",
    "the moon",
    "a coil of rope",
    "a letter",
    "the last boat",
    "a map of the shoals",
    "two bells",
];
const FILLER: &[&str] =
    &[" tide", " gate", " salt", " water", " moon", " rope", " sand", " bell", " fog", " pier"];
