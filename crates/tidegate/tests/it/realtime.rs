//! Sessions over a WebSocket: messages both ways, closes, faults, limits and what the books say.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::stand::{PATIENCE, Setup, Stand};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a scripted provider of sessions was asked and saw.
#[derive(Default)]
struct Seen {
    target: String,
    headers: Vec<(String, String)>,
    messages: Vec<Message>,
    close: Option<Option<CloseFrame>>,
    gone: bool,
}

/// A provider of sessions: echoes texts and binaries, and does what a text asks (`do`).
struct Voice {
    base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Voice {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all)));
            }
        });
        Self { base, seen }
    }

    fn with<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(self.seen.lock().last().unwrap())
    }

    async fn until(&self, what: &str, look: impl Fn(&Seen) -> bool) {
        let waiting = async {
            while !self.seen.lock().last().is_some_and(&look) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
async fn serve(stream: TcpStream, all: Arc<Mutex<Vec<Seen>>>) {
    let place = {
        let mut all = all.lock();
        all.push(Seen::default());
        all.len() - 1
    };
    let look = |request: &Request, response: Response| -> Result<Response, http::Response<Option<String>>> {
        let mut all = all.lock();
        all[place].target = request.uri().to_string();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        all[place].headers = request.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect();
        if request.uri().query().is_some_and(|query| query.contains("full")) {
            let error = json!({"error":{"message":"too many for account acme","type":"rate_limit","code":"rate_limit_exceeded"}});
            let mut refused = http::Response::new(Some(error.to_string()));
            *refused.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            return Err(refused);
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else { return };
    loop {
        let message = match socket.next().await {
            Some(Ok(Message::Close(frame))) => {
                all.lock()[place].close = Some(frame);
                let _ = socket.next().await;
                return;
            }
            Some(Ok(message)) => message,
            _ => {
                all.lock()[place].gone = true;
                return;
            }
        };
        if matches!(message, Message::Ping(_) | Message::Pong(_)) {
            continue;
        }
        all.lock()[place].messages.push(message.clone());
        let asked: Value =
            message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        match asked["do"].as_str() {
            Some("die") => return,
            Some("close") => {
                let frame = CloseFrame { code: 4003.into(), reason: "as you like".into() };
                let _ = socket.close(Some(frame)).await;
                let _ = socket.next().await;
                return;
            }
            Some("say") => {
                for event in asked["events"].as_array().unwrap() {
                    socket.send(Message::text(event.to_string())).await.unwrap();
                }
            }
            _ => socket.send(message).await.unwrap(),
        }
    }
}

async fn stand(key: &str) -> (Stand, Voice) {
    stand_with(key, "").await
}

async fn stand_with(key: &str, server: &str) -> (Stand, Voice) {
    let voice = Voice::start().await;
    let more = format!(
        "[providers.voice]\nbase_url = \"{}\"\ncredential = \"env:VOICE_KEY\"\n\
         [models.\"voice/live\"]\nprice = {{ input = \"1.00\", output = \"2.00\", audio_input = \"10.00\", audio_output = \"20.00\", currency = \"USD\" }}\n\
         [models.\"voice/full\"]\nprice = {{ input = \"1.00\", output = \"2.00\", currency = \"USD\" }}\n\
         [routes.talk]\ntargets = [{{ model = \"voice/full\" }}]\nfallbacks = [\"voice/live\"]\n",
        voice.base
    );
    let environment = vec![("VOICE_KEY".to_owned(), "secret-of-the-provider".to_owned())];
    let setup =
        Setup { more, key: key.to_owned(), server: server.to_owned(), environment, ..Setup::default() };
    (Stand::start(setup).await, voice)
}

async fn open(stand: &Stand, path: &str) -> Result<(Socket, http::HeaderMap), Error> {
    let mut request = format!("ws://{}{path}", stand.address).into_client_request().unwrap();
    let key = format!("Bearer {}", stand.key).parse().unwrap();
    request.headers_mut().insert("authorization", key);
    request.headers_mut().insert("openai-beta", "realtime=v1".parse().unwrap());
    let (socket, answer) = connect_async(request).await?;
    Ok((socket, answer.headers().clone()))
}

async fn hear(socket: &mut Socket) -> Message {
    loop {
        let message =
            tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message").unwrap().unwrap();
        if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
            return message;
        }
    }
}

async fn say(socket: &mut Socket, event: &Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

/// An answer of the provider in three events.
fn answer(id: &str) -> Value {
    json!([
        {"type":"response.created","response":{"id":id}},
        {"type":"response.output_text.delta","response_id":id,"delta":"hello"},
        {"type":"response.done","response":{"id":id,"usage":{"total_tokens":300,"input_tokens":200,"output_tokens":100,
            "input_token_details":{"cached_tokens":0,"audio_tokens":50,"text_tokens":150},
            "output_token_details":{"audio_tokens":60,"text_tokens":40}}}},
    ])
}

async fn logged(stand: &mut Stand, count: usize) -> Vec<Value> {
    stand.wait_drained().await;
    let (code, text, _) = stand.command(&["logs", "--json", "--limit", "20"]);
    assert_eq!(code, 0);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), count, "{text}");
    lines
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_came() {
    let (mut stand, voice) = stand("").await;
    let (mut socket, headers) = open(&stand, "/v1/realtime?model=voice%2Flive&x=1").await.unwrap();
    assert_eq!(headers["x-tidegate-model"], "voice/live");
    assert!(headers.contains_key("x-request-id"));
    voice.with(|seen| {
        assert_eq!(seen.target, "/v1/realtime?model=live&x=1");
        let find = |name: &str| {
            seen.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(find("authorization"), ["Bearer secret-of-the-provider"]);
        assert_eq!(find("openai-beta"), ["realtime=v1"]);
        assert!(seen.headers.iter().all(|(_, value)| !value.contains("tg-")), "the virtual key went up");
    });
    // Odd but valid: what passes is not written anew.
    let odd = "{ \"type\":\"x\",\"n\":1.0,\"big\":9007199254740993,\"esc\":\"\\u00e9\\/\" }";
    socket.send(Message::text(odd)).await.unwrap();
    assert_eq!(hear(&mut socket).await, Message::text(odd));
    let sound: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    socket.send(Message::binary(sound.clone())).await.unwrap();
    assert_eq!(hear(&mut socket).await, Message::binary(sound));
    let long = json!({"type":"input_audio_buffer.append","audio":"A".repeat(3 << 20)}).to_string();
    socket.send(Message::text(long.clone())).await.unwrap();
    assert_eq!(hear(&mut socket).await, Message::text(long));
    say(&mut socket, &json!({"type":"q","do":"say","events":answer("r1")})).await;
    for event in answer("r1").as_array().unwrap() {
        assert_eq!(hear(&mut socket).await, Message::text(event.to_string()));
    }
    let frame = CloseFrame { code: 4001.into(), reason: "enough".into() };
    socket.close(Some(frame.clone())).await.unwrap();
    voice.until("the provider hears of the close", |seen| seen.close.is_some()).await;
    voice.with(|seen| assert_eq!(seen.close, Some(Some(frame))));
    let line = logged(&mut stand, 1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["endpoint"], &line["model"]),
        (&json!(101), &json!("realtime"), &json!("voice/live"))
    );
    assert_eq!(
        (&line["input_tokens"], &line["output_tokens"], &line["estimated"]),
        (&json!(200), &json!(100), &json!(false))
    );
    // 150 and 50 of sound, 40 and 60 of sound.
    assert_eq!(line["cost"], "0.00193");
}

#[tokio::test]
async fn a_provider_that_closes_is_heard_and_one_that_dies_is_no_clean_end() {
    let (mut stand, _voice) = stand("").await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    say(&mut socket, &json!({"type":"q","do":"close"})).await;
    let Message::Close(Some(frame)) = hear(&mut socket).await else { panic!("no close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4003, "as you like"));
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    say(&mut socket, &json!({"type":"q","do":"say","events":[answer("r")[0], answer("r")[1]]})).await;
    hear(&mut socket).await;
    hear(&mut socket).await;
    say(&mut socket, &json!({"type":"q","do":"die"})).await;
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["error"]["code"]), (&json!("error"), &json!("upstream_closed")));
    let Message::Close(Some(frame)) = hear(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1011);
    let lines = logged(&mut stand, 2).await;
    assert_eq!(lines[0]["estimated"], false);
    assert_eq!((&lines[1]["estimated"], &lines[1]["output_tokens"]), (&json!(true), &json!(2)));
    assert_eq!(lines[1]["error_code"], "upstream_closed");
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_session_and_gives_its_place_back() {
    let (mut stand, voice) = stand("limits = { concurrency = 1 }").await;
    let (socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    let Err(Error::Http(refused)) = open(&stand, "/v1/realtime?model=voice/live").await else {
        panic!("no refusal")
    };
    assert_eq!(refused.status(), 429);
    drop(socket);
    voice.until("the provider sees the end", |seen| seen.close.is_some() || seen.gone).await;
    stand.wait_drained().await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    socket.close(None).await.unwrap();
    let lines = logged(&mut stand, 3).await;
    assert_eq!((&lines[0]["status"], &lines[0]["error_code"]), (&json!(499), &json!("client_gone")));
}

#[tokio::test]
async fn what_is_refused_is_refused_before_the_upgrade() {
    let (mut stand, voice) = stand("models = [\"voice/live\", \"demo/*\"]").await;
    for (path, status, code) in [
        ("/v1/realtime", 400, "missing_required_parameter"),
        ("/v1/realtime?model=voice/none-such-provider/x/y", 403, "model_not_allowed"),
        ("/v1/realtime?model=voice/full", 403, "model_not_allowed"),
        ("/v1/realtime?model=demo/realtimes", 404, "model_not_found"),
    ] {
        let Err(Error::Http(refused)) = open(&stand, path).await else { panic!("{path}") };
        let error: Value = serde_json::from_slice(refused.body().as_deref().unwrap_or_default()).unwrap();
        assert_eq!(
            (refused.status().as_u16(), error["error"]["code"].as_str().unwrap()),
            (status, code),
            "{path}"
        );
    }
    let plain = stand.client().get("/v1/realtime?model=voice/live").await.unwrap();
    assert_eq!(plain.status, 400, "{}", plain.text());
    assert!(plain.text().contains("upgrade: websocket"));
    assert!(voice.seen.lock().is_empty(), "nothing was asked of the provider");
    let mut nobody =
        format!("ws://{}/v1/realtime?model=voice/live", stand.address).into_client_request().unwrap();
    nobody
        .headers_mut()
        .insert("sec-websocket-protocol", "realtime, openai-insecure-api-key.tg-wrong".parse().unwrap());
    let Err(Error::Http(refused)) = connect_async(nobody.clone()).await else { panic!("no refusal") };
    assert_eq!(refused.status(), 401);
    let protocol = format!("realtime, openai-insecure-api-key.{}", stand.key);
    nobody.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (mut socket, answer) = connect_async(nobody).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "realtime");
    socket.close(None).await.unwrap();
    stand.wait_drained().await;
}

#[tokio::test]
async fn another_provider_is_asked_before_the_client_is_told() {
    let (mut stand, voice) = stand("").await;
    let (mut socket, headers) = open(&stand, "/openai/realtime?api-version=1&deployment=talk").await.unwrap();
    assert_eq!(
        (&headers["x-tidegate-model"], &headers["x-tidegate-attempts"]),
        (&"voice/live".parse().unwrap(), &"2".parse().unwrap())
    );
    voice.with(|seen| assert_eq!(seen.target, "/v1/realtime?model=live"));
    socket.close(None).await.unwrap();
    let Err(Error::Http(refused)) = open(&stand, "/v1/realtime?model=voice/full").await else {
        panic!("no refusal")
    };
    let text = String::from_utf8_lossy(refused.body().as_deref().unwrap_or_default()).into_owned();
    assert!(text.contains("upstream_rate_limited") && !text.contains("acme"), "{text}");
    stand.wait_drained().await;
}

#[tokio::test]
async fn no_event_asks_for_another_model_and_tokens_have_their_limit() {
    let (mut stand, voice) = stand("limits = { tokens_per_minute = 10000 }").await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    say(&mut socket, &json!({"type":"session.update","session":{"model":"dear"}})).await;
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "model_not_allowed", "{event}");
    socket.send(Message::text("no json")).await.unwrap();
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "invalid_json", "{event}");
    let mut big = answer("r");
    big[2]["response"]["usage"]["input_tokens"] = json!(60_000);
    say(&mut socket, &json!({"type":"q","do":"say","events":big})).await;
    for _ in 0..3 {
        hear(&mut socket).await;
    }
    say(&mut socket, &json!({"type":"response.create"})).await;
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "rate_limit_exceeded", "{event}");
    say(&mut socket, &json!({"type":"still here"})).await;
    assert_eq!(hear(&mut socket).await, Message::text(json!({"type":"still here"}).to_string()));
    voice.with(|seen| assert_eq!(seen.messages.len(), 2, "what was refused never reached the provider"));
    socket.close(None).await.unwrap();
    stand.wait_drained().await;
}

#[tokio::test]
async fn a_budget_that_is_used_up_closes_the_session() {
    let (mut stand, _voice) =
        stand(r#"budgets = [{ name = "total", amount = "0.20", currency = "USD", window = "total" }]"#).await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    let mut dear = answer("r");
    dear[2]["response"]["usage"]["input_tokens"] = json!(60_000);
    dear[2]["response"]["usage"]["input_token_details"]["audio_tokens"] = json!(0);
    say(&mut socket, &json!({"type":"q","do":"say","events":dear})).await;
    for _ in 0..3 {
        hear(&mut socket).await;
    }
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "insufficient_quota", "{event}");
    let Message::Close(Some(frame)) = hear(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1008);
    let line = logged(&mut stand, 1).await.remove(0);
    assert_eq!((&line["error_code"], &line["input_tokens"]), (&json!("insufficient_quota"), &json!(60_000)));
}

#[tokio::test]
async fn a_stop_closes_sessions_and_settles_them() {
    let (mut stand, voice) = stand_with("", "drain = { accept = \"50ms\", deadline = \"300ms\" }").await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=voice/live").await.unwrap();
    say(&mut socket, &json!({"type":"x"})).await;
    hear(&mut socket).await;
    stand.signal(libc::SIGTERM);
    let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "shutting_down", "{event}");
    let Message::Close(Some(frame)) = hear(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(stand.ended().await, Some(0));
    voice.until("the provider sees the end", |seen| seen.close.is_some() || seen.gone).await;
}

#[tokio::test]
async fn the_simulated_model_talks() {
    let (mut stand, _voice) = stand("").await;
    let (mut socket, _) = open(&stand, "/v1/realtime?model=demo/realtime").await.unwrap();
    let mut kinds = Vec::new();
    say(
        &mut socket,
        &json!({"type":"conversation.item.create","item":{"type":"message","role":"user",
        "content":[{"type":"input_text","text":"the tide"}]}}),
    )
    .await;
    say(&mut socket, &json!({"type":"response.create"})).await;
    loop {
        let event: Value = serde_json::from_str(hear(&mut socket).await.to_text().unwrap()).unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        kinds.push(kind.clone());
        if kind == "response.done" {
            let text = event["response"]["output"][0]["content"][0]["transcript"].as_str().unwrap();
            assert!(text.contains("the tide"), "{text}");
            break;
        }
    }
    assert_eq!(kinds[0], "session.created");
    assert!(kinds.contains(&"response.output_audio.delta".to_owned()), "{kinds:?}");
    socket.close(None).await.unwrap();
    let line = logged(&mut stand, 1).await.remove(0);
    assert!(line["output_tokens"].as_u64().unwrap() > 5 && line["estimated"] == false, "{line}");
}
