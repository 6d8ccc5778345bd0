//! The mock upstream: one thread, fixed bytes, no library between it and the socket.
//!
//! It must be cheaper than every proxy in front of it, else the comparison measures the mock.

use std::net::SocketAddr;
use std::sync::Arc;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{wire, work};

struct Script {
    answer: Vec<u8>,
    beats: Vec<Vec<u8>>,
    beats_with_usage: Vec<Vec<u8>>,
    messages_answer: Vec<u8>,
    messages_beats: Vec<Vec<u8>>,
}

/// Serves until the process ends; prints the address as its first line.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        println!("{}", listener.local_addr()?);
        let script = Arc::new(Script {
            answer: work::answer(),
            beats: work::beats(false),
            beats_with_usage: work::beats(true),
            messages_answer: work::messages_answer(),
            messages_beats: work::messages_beats(),
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    // A connection that breaks is the client's business: the next one starts afresh.
                    connections.spawn(converse(stream, Arc::clone(&script)));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn converse(mut stream: TcpStream, script: Arc<Script>) -> std::io::Result<()> {
    let mut reader = wire::Reader::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if !reader.push(&buffer[..read]).map_err(std::io::Error::other)? {
            continue;
        }
        if reader.first_line.starts_with("GET ") {
            stream.write_all(MODELS).await?;
        } else if reader.first_line.contains("/messages") {
            if asks(&reader.body, "stream") {
                pace(&mut stream, &script.messages_beats).await?;
            } else {
                stream.write_all(&script.messages_answer).await?;
            }
        } else if asks(&reader.body, "stream") {
            let with_usage = asks(&reader.body, "include_usage");
            pace(&mut stream, if with_usage { &script.beats_with_usage } else { &script.beats }).await?;
        } else {
            stream.write_all(&script.answer).await?;
        }
        reader.next_message();
    }
}

const MODELS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 106\r\n\r\n\
{\"object\":\"list\",\"data\":[{\"id\":\"gpt-bench\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"the bench\"}]}";

async fn pace(stream: &mut TcpStream, beats: &[Vec<u8>]) -> std::io::Result<()> {
    stream.write_all(work::STREAM_HEAD.as_bytes()).await?;
    let mut clock = tokio::time::interval(work::PACE);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for (n, beat) in beats.iter().enumerate() {
        // The end follows the last event at once, as upstreams do it.
        if n < work::EVENTS {
            clock.tick().await;
        }
        stream.write_all(beat).await?;
    }
    Ok(())
}

/// Whether the body says `"name":true`, with or without a space.
fn asks(body: &[u8], name: &str) -> bool {
    memmem::find(body, format!("\"{name}\":true").as_bytes()).is_some()
        || memmem::find(body, format!("\"{name}\": true").as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_models_says_its_true_length() {
        let text = String::from_utf8_lossy(super::MODELS);
        let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
