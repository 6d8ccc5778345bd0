//! The work itself: one request of about 1 KB and one answer of about 1.2 KB, whole or as 64 events 5 ms apart.
//!
//! Fixed bytes, made once: the generator and the mock must cost as little as possible, since they share the machine.

use std::net::SocketAddr;
use std::time::Duration;

/// The model that the mock upstream serves.
pub(crate) const MODEL: &str = "gpt-bench";
/// Content events of a streamed answer; the usage event, where asked for, and `[DONE]` come on top.
pub(crate) const EVENTS: usize = 64;
/// The pace of a streamed answer.
pub(crate) const PACE: Duration = Duration::from_millis(5);

const SYSTEM: &str = "You are the assistant of a small hotel by the sea. You answer guests politely and briefly, in the \
language in which they write. You know the times of the ferries, the opening hours of the restaurant and of the \
pool, and the way to the station. Where you do not know something you say so and give the number of the reception.";
const USER: &str = "Good evening! We arrive on Friday with the last train, a little before midnight, two adults and two \
children of four and seven. Is there somebody at the reception at that hour, is there still something warm to eat, \
and could the children swim before breakfast on Saturday? We also have a large dog, who is friendly but not small.";

const TEXT: &str = "Good evening, and welcome! The reception is open all night, so somebody will be there when you arrive \
with the last train. The kitchen closes at ten, but we gladly keep a warm soup and some bread for you; please tell us \
until eight in the evening how many bowls you would like. The pool opens at seven in the morning, so the children can \
swim before breakfast, as long as one of you is with them. Large and friendly dogs are welcome in the rooms on the \
ground floor; there is a small charge for the cleaning at the end of your stay. We look forward to seeing all of you \
on Friday. If the train should be late, the number of the reception is on your booking, and we wait for you.";

/// The whole request, head and body, as written to the socket.
pub(crate) fn request(address: SocketAddr, key: &str, model: &str, stream: bool) -> Vec<u8> {
    written(address, key, model, stream, USER, "")
}

/// The same with a number in its text, and lines more in its head.
pub(crate) fn numbered(address: SocketAddr, key: &str, model: &str, number: u64, lines: &str) -> Vec<u8> {
    written(address, key, model, false, &format!("{USER} (Booking {number}.)"), lines)
}

fn written(address: SocketAddr, key: &str, model: &str, stream: bool, user: &str, lines: &str) -> Vec<u8> {
    let stream = if stream { "true" } else { "false" };
    let body = format!(
        "{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"system\",\"content\":\"{SYSTEM}\"}},\
         {{\"role\":\"user\",\"content\":\"{user}\"}}],\"temperature\":0.7,\"top_p\":0.95,\"max_tokens\":256,\
         \"presence_penalty\":0.0,\"user\":\"guest-4711\",\"stream\":{stream}}}"
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\naccept: application/json\r\nuser-agent: bench\r\n\
         {lines}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The whole answer of the mock upstream, head and body.
pub(crate) fn answer() -> Vec<u8> {
    let body = format!(
        "{{\"id\":\"chatcmpl-bench0001\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"{MODEL}\",\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{TEXT}\",\"refusal\":null}},\
         \"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":187,\"completion_tokens\":148,\
         \"total_tokens\":335,\"prompt_tokens_details\":{{\"cached_tokens\":0}}}},\"system_fingerprint\":\"fp_bench\"}}"
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The same answer as Anthropic writes it.
pub(crate) fn messages_answer() -> Vec<u8> {
    let body = format!(
        "{{\"id\":\"msg_bench0001\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"{MODEL}\",\"content\":[{{\"type\":\
         \"text\",\"text\":\"{TEXT}\"}}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{{\"input_tokens\":187,\
         \"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":148}}}}"
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The same stream as Anthropic writes it: the opening events come with the first beat.
pub(crate) fn messages_beats() -> Vec<Vec<u8>> {
    let event = |name: &str, data: &str| chunk(&format!("event: {name}\ndata: {data}\n\n"));
    let start = format!(
        "{{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_bench0001\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\
         \"{MODEL}\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":187,\"output_tokens\":1}}}}}}"
    );
    let mut beats = Vec::new();
    for n in 0..EVENTS {
        let mut beat = Vec::new();
        if n == 0 {
            beat.extend(event("message_start", &start));
            let open = "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}";
            beat.extend(event("content_block_start", open));
        }
        let delta = format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\" word{n:02}\"}}}}"
        );
        beat.extend(event("content_block_delta", &delta));
        beats.push(beat);
    }
    let mut last = event("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}");
    let end = format!(
        "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{EVENTS}}}}}"
    );
    last.extend(event("message_delta", &end));
    last.extend(event("message_stop", "{\"type\":\"message_stop\"}"));
    last.extend_from_slice(b"0\r\n\r\n");
    beats.push(last);
    beats
}

/// The head of a streamed answer.
pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n";

/// What is written at each beat of a streamed answer: one HTTP chunk with one event; the last ends the answer.
pub(crate) fn beats(include_usage: bool) -> Vec<Vec<u8>> {
    let mut beats: Vec<Vec<u8>> = (0..EVENTS)
        .map(|n| {
            let finish = if n + 1 == EVENTS { "\"stop\"" } else { "null" };
            chunk(&format!(
                "data: {{\"id\":\"chatcmpl-bench0001\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\
                 \"model\":\"{MODEL}\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{{\"index\":0,\"delta\":\
                 {{\"content\":\" word{n:02}\"}},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
            ))
        })
        .collect();
    let mut last = Vec::new();
    if include_usage {
        last.extend(chunk(&format!(
            "data: {{\"id\":\"chatcmpl-bench0001\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\
             \"model\":\"{MODEL}\",\"choices\":[],\"usage\":{{\"prompt_tokens\":187,\"completion_tokens\":{EVENTS},\
             \"total_tokens\":{}}}}}\n\n",
            187 + EVENTS
        )));
    }
    last.extend(chunk("data: [DONE]\n\n"));
    last.extend_from_slice(b"0\r\n\r\n");
    beats.push(last);
    beats
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}
