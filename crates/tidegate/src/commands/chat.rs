//! `tidegate chat`: talk to a model from the terminal.
//!
//! The answer goes to standard output as it comes, the figures about it to standard error, so that
//! `tidegate chat … > answer.txt` holds the answer alone.

mod answer;
mod cost;

use crate::cli::Shape;
use crate::client::Door;
use crate::environment;
use crate::located::Place;
use crate::outcome::{Outcome, WrongUsage};
use crate::terminal::{Terminal, Tone, complain};
use answer::{Answer, Question};
use anyhow::Context;
use runtime::{Clock, Tasks};
use serde_json::{Value, json};
use std::io::Read;

const USUAL_MODEL: &str = "demo/story";
const USUAL_URL: &str = "http://127.0.0.1:8080";
/// The longest message taken from a pipe.
const MOST_INPUT: u64 = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate chat                                 talk to demo/story, line by line
  tidegate chat openai/gpt-5-mini \"Why is the sea salty?\"
  git diff | tidegate chat chat - > review.md

Reads TIDEGATE_API_KEY (a virtual key) and TIDEGATE_URL (else the address in the settings, else
http://127.0.0.1:8080). Ctrl-C stops the answer.")]
pub(crate) struct Args {
    /// The model
    #[arg(default_value = USUAL_MODEL)]
    model: String,
    /// What to say; `-` or nothing reads standard input when it is a pipe
    message: Vec<String>,
    /// Instructions that stand before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

/// A conversation with one gateway.
struct Talk {
    door: Door,
    path: String,
    key: String,
    model: String,
    messages: Vec<Value>,
    json: bool,
    tasks: Tasks,
    clock: Clock,
    terminal: Terminal,
    place: Place,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let mut talk = Talk::begin(place, &args)?;
    match first_message(&args)? {
        Some(message) => talk.say(message).await,
        None => talk.converse().await,
    }
}

/// The message of a single question; `None` asks for a conversation.
fn first_message(args: &Args) -> anyhow::Result<Option<String>> {
    let spoken = args.message.join(" ");
    if !spoken.is_empty() && spoken != "-" {
        return Ok(Some(spoken));
    }
    if spoken.is_empty() && environment::is_interactive() {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MOST_INPUT)
        .read_to_string(&mut text)
        .context("cannot read the message from standard input")?;
    if text.trim().is_empty() {
        return Err(WrongUsage("there is no message: give one, or pipe one in".into()).into());
    }
    Ok(Some(text))
}

/// The base URL with its `/v1`, whichever way it was given.
fn with_version(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/v1") { url.to_owned() } else { format!("{url}/v1") }
}

impl Talk {
    fn begin(place: &Place, args: &Args) -> anyhow::Result<Self> {
        let url = environment::find(environment::URL)
            .or_else(|| place.find_listen().map(|listen| format!("http://{listen}")))
            .unwrap_or_else(|| USUAL_URL.to_owned());
        let (door, path) = Door::of_url(&with_version(&url))
            .map_err(|error| WrongUsage(format!("{}: {error:#}", environment::URL)))?;
        let key = environment::find(environment::API_KEY).ok_or_else(|| {
            WrongUsage(format!(
                "{} is not set: put a virtual key there; `tidegate keys create NAME` makes one",
                environment::API_KEY
            ))
        })?;
        let messages = args.system.iter().map(|text| json!({ "role": "system", "content": text })).collect();
        Ok(Self {
            door,
            path,
            key,
            model: args.model.clone(),
            messages,
            json: args.shape.json,
            tasks: Tasks::new(),
            clock: Clock::system(),
            terminal: Terminal::stdout(),
            place: place.clone(),
        })
    }

    /// One question and its answer; both join the conversation when it went well.
    async fn say(&mut self, message: String) -> anyhow::Result<Outcome> {
        self.messages.push(json!({ "role": "user", "content": message }));
        let question = Question {
            door: &self.door,
            path: &self.path,
            key: &self.key,
            model: &self.model,
            messages: &self.messages,
            quiet: self.json,
        };
        let mut answer = match answer::ask(&question, &self.tasks, &self.clock, &mut self.terminal).await {
            Ok(answer) => answer,
            Err(error) => {
                self.messages.pop();
                return Err(error);
            }
        };
        self.messages.push(json!({ "role": "assistant", "content": answer.text.as_str() }));
        let cost = self.cost_of(&answer).await;
        answer.input_tokens = answer.input_tokens.or_else(|| cost.as_ref()?.input_tokens);
        answer.output_tokens = answer.output_tokens.or_else(|| cost.as_ref()?.output_tokens);
        if self.json {
            self.terminal.json(&answer.as_json(&self.model, cost.as_ref()))?;
        } else {
            complain(&self.footer(&answer, cost.as_ref()));
        }
        Ok(if answer.failure.is_some() { Outcome::Failed } else { Outcome::Done })
    }

    async fn cost_of(&self, answer: &Answer) -> Option<cost::Cost> {
        let id = answer.request_id.as_deref()?;
        cost::find(&self.place, &self.door, id).await
    }

    fn footer(&self, answer: &Answer, cost: Option<&cost::Cost>) -> String {
        let mut parts = vec![answer.model.clone().unwrap_or_else(|| self.model.clone())];
        let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), crate::table::grouped);
        parts.push(format!("{} in, {} out", tokens(answer.input_tokens), tokens(answer.output_tokens)));
        parts.push(cost.map_or_else(|| "cost: unknown here".to_owned(), cost::Cost::spoken));
        if let Some(first) = answer.first_token_ms {
            parts.push(format!("first token {}", super::logs::span(first)));
        }
        parts.push(format!("total {}", super::logs::span(answer.total_ms)));
        if answer.stopped {
            parts.push("stopped".to_owned());
        }
        let line = crate::terminal::harmless(&parts.join(" · "), false);
        let quiet = self.terminal.paint(Tone::Quiet, &line);
        match &answer.failure {
            Some(failure) => format!("error: {}\n{quiet}", crate::terminal::harmless(failure, false)),
            None => quiet,
        }
    }

    /// Line by line until the end of input, `/exit`, or Ctrl-C at the prompt.
    async fn converse(&mut self) -> anyhow::Result<Outcome> {
        let hint = "/model NAME changes the model, /clear forgets, /exit ends; Ctrl-C stops an answer";
        complain(&self.terminal.paint(Tone::Quiet, &format!("{} — {hint}", self.model)));
        loop {
            self.terminal.part(&self.terminal.paint(Tone::Accent, "› "))?;
            let Some(line) = next_line().await? else {
                self.terminal.line("")?;
                return Ok(Outcome::Done);
            };
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => return Ok(Outcome::Done),
                "/clear" => self.messages.retain(|message| message["role"] == "system"),
                command if command.starts_with("/model ") => {
                    command["/model ".len()..].trim().clone_into(&mut self.model);
                }
                message => {
                    if let Err(error) = self.say(message.to_owned()).await {
                        complain(&format!("error: {error:#}"));
                    }
                }
            }
        }
    }
}

/// The next line from the keyboard; `None` at its end or at Ctrl-C.
async fn next_line() -> anyhow::Result<Option<String>> {
    let reading = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line))
    });
    tokio::select! {
        line = reading => Ok(line??),
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_url_is_taken_with_or_without_its_version() {
        for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(with_version(url), "http://h:1/v1");
        }
    }
}
