//! What a request wants, read from its JSON once; the rest of the crate never sees the document.
//!
//! Strict where a real provider is strict (roles, types, ranges), so that a client's mistake shows here as it
//! would there.

use serde_json::Value;

use crate::directives::{Directives, MAX_TOKENS};
use crate::images::Image;
use crate::models::{self, Kind, Model};
use crate::refusal::Refusal;
use crate::tokens;

const MAX_CHOICES: u64 = 16;

/// A request for text, from either endpoint.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) model: &'static Model,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// The most tokens of one choice.
    pub(crate) limit: Option<u64>,
    pub(crate) stops: Vec<String>,
    pub(crate) choices: u64,
    /// The last user message (or the prompt) without its directives.
    pub(crate) said: String,
    /// The results of tools, if the conversation ends with some.
    pub(crate) results: Vec<String>,
    pub(crate) images: Vec<Image>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: ToolChoice,
    pub(crate) parallel: bool,
    pub(crate) format: Format,
    pub(crate) directives: Directives,
    pub(crate) input_tokens: u64,
    /// Behind everything that looks random.
    pub(crate) seed: u64,
}

/// A function that the model may call.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

/// `tool_choice`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Auto,
    None,
    Required,
    Named(String),
}

/// `response_format`.
#[derive(Debug, PartialEq)]
pub(crate) enum Format {
    Text,
    Object,
    Schema(Value),
}

/// Finds the model of any request and whether it suits the endpoint.
pub(crate) fn model(body: &Value, embeds: bool) -> Result<&'static Model, Refusal> {
    let name = body["model"].as_str().ok_or_else(|| Refusal::bad("model", "`model` must be a string"))?;
    let Some(model) = models::find(name) else {
        let message = format!("the simulated provider has no model `{name}`");
        return Err(Refusal {
            param: Some("model"),
            ..Refusal::status(404, Some("model_not_found"), message)
        });
    };
    match (model.kind == Kind::Embed, embeds) {
        _ if model.kind == Kind::Realtime => Err(Refusal::bad(
            "model",
            "the simulated model `realtime` only talks in sessions (`/v1/realtime`)",
        )),
        (true, false) => Err(Refusal::bad("model", "the simulated model `embed` only makes embeddings")),
        (false, true) if !matches!(model.kind, Kind::Fail | Kind::Flaky) => Err(Refusal::bad(
            "model",
            format!("the simulated model `{name}` does not make embeddings; `embed` does"),
        )),
        _ => Ok(model),
    }
}

impl Ask {
    /// Reads a body of `/v1/chat/completions`.
    pub(crate) fn chat(body: &Value) -> Result<Self, Refusal> {
        let model = model(body, false)?;
        let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
        let messages =
            messages.ok_or_else(|| Refusal::bad("messages", "`messages` must be a non-empty array"))?;
        let mut said = String::new();
        let (mut images, mut results) = (Vec::new(), Vec::new());
        let mut input_tokens = 3;
        for (place, message) in messages.iter().enumerate() {
            let role = message["role"].as_str().unwrap_or("");
            if !matches!(role, "system" | "developer" | "user" | "assistant" | "tool" | "function") {
                return Err(Refusal::bad(
                    "messages",
                    format!("messages[{place}].role `{role}` is not a role"),
                ));
            }
            let mut seen = Vec::new();
            let text = content(&message["content"], place, &mut seen)?;
            input_tokens += 4 + tokens::count(&text) + seen.iter().map(Image::tokens).sum::<u64>();
            input_tokens += calls_tokens(&message["tool_calls"]);
            match role {
                "user" => {
                    said = text;
                    images = seen;
                    results.clear();
                }
                "tool" | "function" => results.push(text),
                _ => results.clear(),
            }
        }
        let mut tools = tools(&body["tools"])?;
        input_tokens += tools.iter().map(|tool| 8 + tokens::count(&tool.parameters.to_string())).sum::<u64>();
        let choice = tool_choice(&body["tool_choice"], &mut tools)?;
        let parallel = body["parallel_tool_calls"].as_bool().unwrap_or(true);
        let format = format(&body["response_format"])?;
        let ask = Self::common(body, model, said, input_tokens)?;
        Ok(Self { images, results, tools, choice, parallel, format, ..ask })
    }

    /// Reads a body of `/v1/completions`: one request for each prompt.
    pub(crate) fn completions(body: &Value) -> Result<Vec<Self>, Refusal> {
        let model = model(body, false)?;
        let prompts = texts(&body["prompt"], "prompt")?;
        prompts
            .into_iter()
            .map(|prompt| {
                let input_tokens = prompt.tokens;
                let ask = Self::common(body, model, prompt.text, input_tokens)?;
                // The older interface stops after 16 tokens unless told otherwise.
                Ok(Self { limit: ask.limit.or(ask.directives.tokens).or(Some(16)), ..ask })
            })
            .collect()
    }

    fn common(
        body: &Value,
        model: &'static Model,
        mut said: String,
        input_tokens: u64,
    ) -> Result<Self, Refusal> {
        let directives = Directives::take(&body["metadata"], &mut said)?;
        let asked = |name: &'static str, least: u64| positive(body, name, least);
        let limit = match (asked("max_completion_tokens", 1)?, asked("max_tokens", 1)?) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let choices = asked("n", 1)?.unwrap_or(1);
        if choices > MAX_CHOICES {
            return Err(Refusal::bad(
                "n",
                format!("`n` is {choices}; the simulation makes at most {MAX_CHOICES}"),
            ));
        }
        if directives.tokens.unwrap_or(0).saturating_mul(choices) > MAX_TOKENS {
            return Err(Refusal::bad("n", format!("`n` times the tokens asked for is over {MAX_TOKENS}")));
        }
        let seed =
            tokens::hash(&[model.name.as_bytes(), said.as_bytes(), body["seed"].to_string().as_bytes()]);
        Ok(Self {
            model,
            stream: flag(body, "stream")?,
            include_usage: flag(&body["stream_options"], "include_usage")?,
            limit,
            stops: stops(&body["stop"])?,
            choices,
            said,
            results: Vec::new(),
            images: Vec::new(),
            tools: Vec::new(),
            choice: ToolChoice::None,
            parallel: true,
            format: Format::Text,
            directives,
            input_tokens,
            seed,
        })
    }
}

/// One input text and its tokens; a text given as token numbers is shown as such.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) tokens: u64,
}

/// A string, strings, token numbers, or arrays of token numbers.
pub(crate) fn texts(value: &Value, name: &'static str) -> Result<Vec<Text>, Refusal> {
    let wrong =
        || Refusal::bad(name, format!("`{name}` must be a string, an array of strings, or token arrays"));
    let one = |value: &Value| match value {
        Value::String(text) => Ok(Text { text: text.clone(), tokens: tokens::count(text) }),
        Value::Array(ids) if !ids.is_empty() && ids.iter().all(Value::is_u64) => {
            Ok(Text { text: format!("tokens {value}"), tokens: ids.len() as u64 })
        }
        _ => Err(wrong()),
    };
    let several = match value {
        Value::Array(inputs) if !inputs.iter().all(Value::is_u64) => {
            inputs.iter().map(one).collect::<Result<_, _>>()?
        }
        _ => vec![one(value)?],
    };
    if several.len() > 2_048 {
        return Err(Refusal::bad(name, format!("`{name}` holds {} inputs; at most 2048", several.len())));
    }
    Ok(several)
}

fn flag(body: &Value, name: &'static str) -> Result<bool, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(_) => Err(Refusal::bad(name, format!("`{name}` must be true or false"))),
    }
}

fn positive(body: &Value, name: &'static str, least: u64) -> Result<Option<u64>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| *number >= least) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::bad(name, format!("`{name}` must be an integer of at least {least}"))),
        },
    }
}

fn stops(value: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::bad("stop", "`stop` must be a string or at most 4 strings");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(several) if several.len() <= 4 => {
            several.iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

/// The text of a message; images go to `images`.
fn content(value: &Value, place: usize, images: &mut Vec<Image>) -> Result<String, Refusal> {
    let parts = match value {
        Value::Null => return Ok(String::new()),
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => {
            return Err(Refusal::bad(
                "messages",
                format!("messages[{place}].content must be a string or parts"),
            ));
        }
    };
    let mut text = String::new();
    for part in parts {
        match part["type"].as_str() {
            Some("text") => text.push_str(part["text"].as_str().unwrap_or("")),
            Some("refusal") => text.push_str(part["refusal"].as_str().unwrap_or("")),
            Some("image_url") => {
                let url = part["image_url"]["url"].as_str();
                let missing =
                    || Refusal::bad("messages", format!("messages[{place}]: an image_url without a url"));
                images.push(Image::look(url.ok_or_else(missing)?));
            }
            Some("input_audio" | "file") => text.push_str(" (an attachment)"),
            _ => return Err(Refusal::bad("messages", format!("messages[{place}]: a part of unknown type"))),
        }
    }
    Ok(text)
}

fn calls_tokens(calls: &Value) -> u64 {
    let calls = calls.as_array().map_or(&[][..], Vec::as_slice);
    calls.iter().map(|call| 4 + tokens::count(call["function"]["arguments"].as_str().unwrap_or(""))).sum()
}

fn tools(value: &Value) -> Result<Vec<Tool>, Refusal> {
    let Some(listed) = value.as_array() else { return Ok(Vec::new()) };
    let mut tools = Vec::new();
    for tool in listed.iter().filter(|tool| tool["type"] == "function") {
        let function = &tool["function"];
        let name = function["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refusal::bad("tools", "a function tool needs a name"))?.to_owned();
        tools.push(Tool { name, parameters: function["parameters"].clone() });
    }
    Ok(tools)
}

/// What is chosen; where only some tools are allowed, the others are as if they were not there.
fn tool_choice(value: &Value, tools: &mut Vec<Tool>) -> Result<ToolChoice, Refusal> {
    if value["type"] == "allowed_tools" {
        let allowed = &value["allowed_tools"];
        let listed = allowed["tools"].as_array().map_or(&[][..], Vec::as_slice);
        tools.retain(|tool| listed.iter().any(|one| one["function"]["name"] == *tool.name));
        return tool_choice(&allowed["mode"], tools);
    }
    let name = value["function"]["name"].as_str();
    let choice = match (value.as_str(), name) {
        (Some("none"), _) => ToolChoice::None,
        (Some("required"), _) => ToolChoice::Required,
        (Some("auto"), _) => ToolChoice::Auto,
        (None, Some(name)) => ToolChoice::Named(name.to_owned()),
        _ if value.is_null() => ToolChoice::Auto,
        _ => {
            return Err(Refusal::bad(
                "tool_choice",
                "`tool_choice` must be none, auto, required or one function",
            ));
        }
    };
    match &choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(Refusal::bad("tool_choice", "`tool_choice` needs `tools` to choose from"))
        }
        ToolChoice::Named(name) if tools.iter().all(|tool| tool.name != *name) => Err(Refusal::bad(
            "tool_choice",
            format!("`tool_choice` names `{name}`, which is not among `tools`"),
        )),
        _ => Ok(choice),
    }
}

fn format(value: &Value) -> Result<Format, Refusal> {
    match value["type"].as_str() {
        None if value.is_null() => Ok(Format::Text),
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Object),
        Some("json_schema") if value["json_schema"]["schema"].is_object() => {
            Ok(Format::Schema(value["json_schema"]["schema"].clone()))
        }
        Some("json_schema") => {
            Err(Refusal::bad("response_format", "`response_format.json_schema.schema` must be an object"))
        }
        _ => Err(Refusal::bad(
            "response_format",
            "`response_format.type` must be text, json_object or json_schema",
        )),
    }
}
