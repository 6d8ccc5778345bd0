//! The simulated provider: a small server on loopback that speaks the OpenAI dialect.
//!
//! It lets a new user make a first call without any account, and lets tests ask for tokens, tools, errors and
//! delays at will. It is reached through the ordinary way of a request like any other provider, so what works
//! with it works because the gateway works. It is **not** a mock with a journal (that is the crate `fakes`), it
//! never makes an outgoing connection, and it never pretends: every answer carries `system_fingerprint:
//! "simulated"` and the header `x-simulated: true`, and every text says so in words.
//!
//! The same request gets the same answer (only `created`, and the counter of `flaky`, differ).
//!
//! # Asking for behaviour
//! A user message (the last one) may hold directives, and so may the request's `metadata` object under the same
//! names; they work with every model. They are taken out of the text before it is answered.
//!
//! | directive | effect |
//! |---|---|
//! | `[[delay=500ms]]` | waits before the first byte, on top of the model's own delay (`ms`, `s`; at most 10 minutes) |
//! | `[[pace=40]]` | tokens a second; `0` means at once |
//! | `[[tokens=200]]` | answers in exactly so many tokens (at most 20,000 for all choices together) |
//! | `[[status=429]]` | answers that error status (400 to 599) |
//! | `[[retry_after=2]]` | the `retry-after` header of that error, in seconds |
//! | `[[die=10]]` | cuts the connection after 10 tokens of a stream, or in the middle of a whole answer |
//! | `[[stall=10]]` | goes silent after 10 tokens of a stream; breaks after 10 minutes of that |
//!
//! # Reading order
//! [`models()`] (who there is), `serve` (the URLs), `ask` (what a request wants), `compose` (what is answered),
//! `chat` / `completions` / `embeddings` / `realtime` (how it is written), `pace` (when it is sent).

mod ask;
mod chat;
mod completions;
mod compose;
mod directives;
mod embeddings;
mod images;
mod models;
mod pace;
mod realtime;
mod refusal;
mod schema;
mod serve;
mod tokens;

use std::net::{Ipv4Addr, SocketAddr};

pub use models::{Model, models};

/// The running simulated provider. It ends when the [`runtime::Tasks`] it was started on are stopped.
#[derive(Debug, Clone, Copy)]
pub struct Demo {
    /// Where it listens: always loopback, a port chosen by the system. The base URL is `http://{addr}/v1`.
    pub addr: SocketAddr,
}

/// Starts the simulated provider on a free loopback port.
///
/// `clock` dates the answers; pace is kept with tokio's timers. When `tasks` stop it takes no new connection and
/// ends after the answers in flight, so give it tasks that stop after the gateway's own.
///
/// # Errors
/// When no loopback port can be bound.
pub async fn start(clock: runtime::Clock, tasks: &runtime::Tasks) -> std::io::Result<Demo> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let accepting = serve::accept(listener, clock, tasks.clone());
    tasks.spawn("demo", accepting);
    Ok(Demo { addr })
}
