//! `/v1/realtime`: a session over a WebSocket in OpenAI's events, with text and with simulated sound.
//!
//! It knows what a client needs to hold a conversation: `session.update`, `conversation.item.create`,
//! `input_audio_buffer.{append,commit,clear}`, `response.create` (also with `response.cancel`). The sound that it
//! speaks is silence of the right length. A text may hold `[[die=N]]` (the connection breaks after N pieces) and
//! `[[close=CODE]]` (it is closed with that code), so that a client can be tested against both.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::models::Model;
use crate::tokens;

/// A piece of sound: 50 ms of silence at 24,000 samples a second of two bytes, in base64.
const PIECE_BYTES: usize = 2400 / 3 * 4;
/// A session is closed after this long.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Items that a session remembers.
const MAX_ITEMS: usize = 1_000;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

struct Talk {
    socket: Socket,
    model: &'static Model,
    events: u64,
    answers: u64,
    /// The texts said so far: the input of the next answer.
    said: Vec<String>,
    sound: usize,
    speaks: bool,
}

/// Why a session is over.
struct Over;

/// Holds one session to its end.
pub(crate) async fn talk(upgrade: OnUpgrade, model: &'static Model) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let talk = Talk { socket, model, events: 0, answers: 0, said: Vec::new(), sound: 0, speaks: true };
    // However it ends there is nobody to tell.
    let _ = tokio::time::timeout(LONGEST, talk.run()).await;
}

impl Talk {
    async fn run(mut self) {
        let session = self.session();
        if self.say("session.created", json!({ "session": session })).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = self.socket.next().await {
            let Message::Text(text) = message else {
                if message.is_close() {
                    break;
                }
                continue;
            };
            let event = serde_json::from_str(&text).unwrap_or(Value::Null);
            if self.react(&event).await.is_err() {
                return;
            }
        }
        let _ = self.socket.close(None).await;
    }

    fn session(&self) -> Value {
        let modalities = if self.speaks { json!(["audio"]) } else { json!(["text"]) };
        json!({ "id": "sess_simulated", "object": "realtime.session", "type": "realtime", "model": self.model.name,
            "output_modalities": modalities, "instructions": "This session is simulated." })
    }

    async fn say(&mut self, kind: &str, more: Value) -> Result<(), Over> {
        self.events += 1;
        let mut event = json!({ "type": kind, "event_id": format!("event_{}", self.events) });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.socket.send(Message::text(event.to_string())).await.map_err(|_| Over)
    }

    async fn react(&mut self, event: &Value) -> Result<(), Over> {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => {
                if let Some(asked) = event["session"]["output_modalities"].as_array() {
                    self.speaks = asked.iter().any(|one| one == "audio");
                }
                let session = self.session();
                self.say("session.updated", json!({ "session": session })).await
            }
            "conversation.item.create" => {
                let parts = event["item"]["content"].as_array().cloned().unwrap_or_default();
                let text: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
                self.remember(text);
                let mut item = event["item"].clone();
                item["id"] = json!(format!("item_{}", self.said.len()));
                self.say("conversation.item.added", json!({ "previous_item_id": null, "item": item }))
                    .await?;
                self.say("conversation.item.done", json!({ "previous_item_id": null, "item": item })).await
            }
            "input_audio_buffer.append" => {
                self.sound += event["audio"].as_str().map_or(0, str::len);
                Ok(())
            }
            "input_audio_buffer.clear" => {
                self.sound = 0;
                self.say("input_audio_buffer.cleared", json!({})).await
            }
            "input_audio_buffer.commit" => {
                let pieces = self.sound.div_ceil(PIECE_BYTES);
                self.remember(format!("{} ms of sound", pieces * 50));
                let id = format!("item_{}", self.said.len());
                self.say("input_audio_buffer.committed", json!({ "previous_item_id": null, "item_id": id }))
                    .await
            }
            "response.create" => {
                let asked = event["response"]["output_modalities"].as_array();
                let speaks = asked.map_or(self.speaks, |asked| asked.iter().any(|one| one == "audio"));
                self.answer(speaks).await
            }
            "response.cancel" => Ok(()),
            other => {
                let message = format!("the simulated session knows no event `{other}`");
                let error = json!({ "type": "invalid_request_error", "code": "unknown_event", "message": message,
                    "param": "type", "event_id": event["event_id"] });
                self.say("error", json!({ "error": error })).await
            }
        }
    }

    fn remember(&mut self, text: String) {
        if self.said.len() < MAX_ITEMS {
            self.said.push(text);
        }
    }

    async fn answer(&mut self, speaks: bool) -> Result<(), Over> {
        self.answers += 1;
        let asked = self.said.last().cloned().unwrap_or_default();
        let directive = |name: &str| {
            let (_, rest) = asked.split_once(&format!("[[{name}="))?;
            rest.split_once("]]")?.0.parse::<u16>().ok()
        };
        let (die, close) = (directive("die"), directive("close"));
        let text = format!("Simulated realtime answer number {}. You said: {asked}", self.answers);
        let pieces: Vec<String> = tokens::pieces(&text).map(str::to_owned).collect();
        let (response, item) = (format!("resp_{}", self.answers), format!("item_answer_{}", self.answers));
        let begun = json!({ "id": response, "object": "realtime.response", "status": "in_progress",
            "output": [], "usage": null });
        self.say("response.created", json!({ "response": begun })).await?;
        let place =
            json!({ "response_id": response, "item_id": item, "output_index": 0, "content_index": 0 });
        let part = if speaks {
            json!({ "type": "audio", "transcript": "" })
        } else {
            json!({ "type": "text", "text": "" })
        };
        let shell = json!({ "id": item, "object": "realtime.item", "type": "message", "status": "in_progress",
            "role": "assistant", "content": [] });
        self.say("response.output_item.added", with(&place, json!({ "item": shell }))).await?;
        self.say("response.content_part.added", with(&place, json!({ "part": part }))).await?;
        let (text_kind, done_kind) = if speaks {
            ("response.output_audio_transcript.delta", "response.output_audio_transcript.done")
        } else {
            ("response.output_text.delta", "response.output_text.done")
        };
        for (at, piece) in pieces.iter().enumerate() {
            if die == u16::try_from(at).ok() {
                // Nothing more: the connection breaks off.
                return Err(Over);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.say(text_kind, with(&place, json!({ "delta": piece }))).await?;
            if speaks {
                let silence = "A".repeat(PIECE_BYTES);
                self.say("response.output_audio.delta", with(&place, json!({ "delta": silence }))).await?;
            }
        }
        let whole = if speaks { json!({ "transcript": text }) } else { json!({ "text": text }) };
        self.say(done_kind, with(&place, whole)).await?;
        if speaks {
            self.say("response.output_audio.done", place.clone()).await?;
        }
        self.finish(&response, &item, &text, pieces.len() as u64, speaks).await?;
        if let Some(code) = close {
            let frame = CloseFrame { code: CloseCode::from(code), reason: "as asked".into() };
            let _ = self.socket.close(Some(frame)).await;
            return Err(Over);
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        response: &str,
        item: &str,
        text: &str,
        output: u64,
        speaks: bool,
    ) -> Result<(), Over> {
        let heard = if self.sound > 0 { self.sound.div_ceil(PIECE_BYTES * 2) as u64 } else { 0 };
        let read: u64 = self.said.iter().map(|text| tokens::count(text)).sum();
        let part = if speaks {
            json!({ "type": "output_audio", "transcript": text })
        } else {
            json!({ "type": "output_text", "text": text })
        };
        let done = json!({ "id": item, "object": "realtime.item", "type": "message", "status": "completed",
            "role": "assistant", "content": [part] });
        let place = json!({ "response_id": response, "output_index": 0 });
        self.say("response.output_item.done", with(&place, json!({ "item": done }))).await?;
        let spoken = if speaks { output } else { 0 };
        let usage = json!({
            "total_tokens": read + heard + output, "input_tokens": read + heard, "output_tokens": output,
            "input_token_details": { "text_tokens": read, "audio_tokens": heard, "cached_tokens": 0, "image_tokens": 0 },
            "output_token_details": { "text_tokens": output - spoken, "audio_tokens": spoken },
        });
        self.remember(text.to_owned());
        let response = json!({ "id": response, "object": "realtime.response", "status": "completed",
            "output": [done], "usage": usage });
        self.say("response.done", json!({ "response": response })).await
    }
}

/// Both objects in one.
fn with(one: &Value, other: Value) -> Value {
    let mut both = one.clone();
    if let (Some(both), Value::Object(other)) = (both.as_object_mut(), other) {
        both.extend(other);
    }
    both
}
