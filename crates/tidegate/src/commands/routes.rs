//! `tidegate routes explain`: where a request would go, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::terminal::{Terminal, Tone};

/// More words than this are not made up for `--tokens`.
const MOST_TOKENS: u64 = 10_000_000;
/// The smallest picture there is, for `--image`.
const PICTURE: &str = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say where a request would go and why, without making it
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate routes explain chat
  tidegate routes explain chat --tokens 50000 --image --user u1 --tag tier=gold
  tidegate routes explain chat --request request.json --json")]
struct Explain {
    /// The route or model that is asked for
    model: String,
    /// The environment; by default the one of new keys
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The key that asks, by name; by default one that may use everything
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// The endpoint: chat, responses, messages, completions or embeddings
    #[arg(long, value_name = "NAME", default_value = "chat")]
    endpoint: String,
    /// A body to take as it is, from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tokens", "image", "stream", "max_tokens"])]
    request: Option<PathBuf>,
    /// About so many tokens of input
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_TOKENS))]
    tokens: Option<u64>,
    /// At most so many of output
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// With a picture
    #[arg(long)]
    image: bool,
    /// As a stream
    #[arg(long)]
    stream: bool,
    /// The end user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The session
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// A tag, as in tier=gold; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<String>,
    /// A header, as in 'x-team: search'; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    shape: Shape,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE, as in 'x-team: search'")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let Command::Explain(ask) = args.command;
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    let answer = control.post("/api/routes/explain", &ask.body()?).await?;
    if ask.shape.json {
        terminal.json(&answer)?;
        return Ok(Outcome::Done);
    }
    show(&mut terminal, &answer)?;
    Ok(Outcome::Done)
}

impl Explain {
    fn body(&self) -> anyhow::Result<Value> {
        let request = match &self.request {
            Some(path) => {
                let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?
            }
            None => self.made_up(),
        };
        let mut headers: BTreeMap<String, String> = self.headers.iter().cloned().collect();
        let said = [
            ("x-tidegate-user", self.user.clone()),
            ("x-tidegate-session", self.session.clone()),
            ("x-tidegate-tags", (!self.tags.is_empty()).then(|| self.tags.join(","))),
        ];
        headers.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(json!({
            "environment": self.environment,
            "key": self.key,
            "endpoint": self.endpoint,
            "model": self.model,
            "request": request,
            "headers": headers,
        }))
    }

    /// A body of the size that was asked for.
    fn made_up(&self) -> Value {
        let words = "word ".repeat(usize::try_from(self.tokens.unwrap_or(1)).unwrap_or(1));
        let mut body = match self.endpoint.as_str() {
            "embeddings" | "responses" => json!({ "input": words }),
            "completions" => json!({ "prompt": words }),
            _ => json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": words }] }] }),
        };
        if self.image
            && let Some(parts) = body.pointer_mut("/messages/0/content").and_then(Value::as_array_mut)
        {
            parts.push(json!({ "type": "image_url", "image_url": { "url": PICTURE } }));
        }
        if self.stream {
            body["stream"] = true.into();
        }
        if let Some(most) = self.max_tokens {
            body["max_tokens"] = most.into();
        }
        body
    }
}

fn show(terminal: &mut Terminal, answer: &Value) -> anyhow::Result<()> {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let content: Vec<_> = list("content").iter().map(text).collect();
    let kinds = if content.is_empty() { String::new() } else { format!(", with {}", content.join(", ")) };
    let strategy = match answer["strategy"].as_str() {
        Some(strategy) => format!("route, {strategy}"),
        None => "a model, and no route".to_owned(),
    };
    let asked = terminal.paint(Tone::Strong, &text(&answer["asked"]));
    let (tokens, release) = (&answer["tokens"], &answer["release"]);
    terminal.line(&format!("{asked} ({strategy}; about {tokens} tokens{kinds}; release {release})"))?;
    let attempts = list("attempts");
    if attempts.is_empty() {
        terminal.line("  nobody is asked: the request would be refused")?;
    }
    for (at, place) in attempts.iter().enumerate() {
        let tone = if place["away"] == true { Tone::Quiet } else { Tone::Strong };
        let model = terminal.paint(tone, &text(&place["model"]));
        let credential =
            place["credential"].as_str().map_or_else(String::new, |name| format!(" (credential {name})"));
        terminal.line(&format!("  {}. {model}{credential}  {}", at + 1, text(&place["because"])))?;
    }
    for place in list("left_out") {
        let model = terminal.paint(Tone::Quiet, &text(&place["model"]));
        terminal.line(&format!("  -  {model}  not asked: {}", text(&place["because"])))?;
    }
    if attempts.len() > 1 {
        let most = &answer["most_attempts"];
        terminal.line(&format!("After a failure the next is asked, at most {most} in all."))?;
    }
    Ok(())
}
