//! A stream says what the whole answer says, however it is cut.

use bytes::Bytes;
use providers::blocks::{Answer, Choice, Part, Reasoning};
use providers::dialects::{Dialect, Failing};
use providers::flow::{Flow, Pieces, Watched};

use crate::{MAX_EVENT, asked, events, fold, inputs, issuer, pairs, read_answer, reply, translate, wire};

#[test]
fn however_a_stream_is_cut_the_client_gets_the_same_bytes() {
    for (client, provider) in pairs() {
        for (feature, told) in inputs::of(provider).answers {
            let stream = wire(provider, &told.events());
            let whole = translate(provider, client, &stream, usize::MAX);
            for size in [1, 7, 64] {
                let cut = translate(provider, client, &stream, size);
                assert!(cut == whole, "{provider:?} to {client:?}, {feature}, pieces of {size}");
            }
        }
    }
}

#[test]
fn in_each_dialect_a_stream_adds_up_to_the_whole_answer() {
    for dialect in Dialect::ALL {
        for (feature, told) in inputs::of(dialect).answers {
            let fold = fold(&events(dialect, &wire(dialect, &told.events())));
            if feature == "error" {
                let whole =
                    providers::dialects::read_answer(dialect, told.body().as_bytes(), &issuer(dialect));
                assert!(fold.error.is_some() && !fold.ended && whole.is_err(), "{dialect:?}");
                continue;
            }
            assert!(fold.ended, "{dialect:?} {feature}");
            assert_eq!(fold.answer(), read_answer(dialect, told.body().as_bytes()), "{dialect:?} {feature}");
        }
    }
}

/// What a stream tells otherwise than a whole answer, each for a reason of the client's protocol:
/// - Ids of items are made of their places, and a carrier behind one shifts them.
/// - Chat streams a thought as `reasoning_content` before it is known that it is a summary; and it has no order between
///   the text and the calls of a message.
/// - Messages tells the tier when it begins, before other providers have told it.
fn comparable(client: Dialect, mut answer: Answer) -> Answer {
    if client == Dialect::Messages {
        answer.service_tier = None;
    }
    for Choice { parts, .. } in &mut answer.choices {
        if client == Dialect::Chat {
            parts.sort_by_key(|part| matches!(part, Part::ToolCall(_)));
        }
        for part in parts.iter_mut() {
            match part {
                Part::Reasoning(Reasoning { id, text, summary, .. }) => {
                    *id = None;
                    if client == Dialect::Chat && text.is_empty() {
                        *text = std::mem::take(summary).join("\n\n");
                    }
                }
                Part::ToolCall(call) => call.item_id = None,
                _ => {}
            }
        }
    }
    answer
}

#[test]
fn for_each_pair_a_translated_stream_adds_up_to_the_translated_answer() {
    let asked = asked();
    let mut wrong = Vec::new();
    for (client, provider) in pairs() {
        for (feature, told) in inputs::of(provider).answers {
            // A call that cannot be used is a failed answer for clients of Responses, whole and streamed.
            if feature == "error" || (feature == "bad_call" && client == Dialect::Responses) {
                continue;
            }
            let whole = read_answer(provider, told.body().as_bytes());
            let whole = providers::dialects::write_answer(client, &whole, &reply(&asked));
            let whole = comparable(client, read_answer(client, &whole));
            let stream = translate(provider, client, &wire(provider, &told.events()), 64);
            let fold = fold(&events(client, &stream));
            assert!(fold.ended, "{provider:?} to {client:?}, {feature}");
            let streamed = comparable(client, fold.answer());
            if streamed != whole {
                wrong.push(format!(
                    "{provider:?} to {client:?}, {feature}\n stream {streamed:?}\n whole  {whole:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_in_mid_stream_reaches_every_client_as_one() {
    for (client, provider) in pairs() {
        let told = inputs::of(provider).answers.remove("error").unwrap();
        let stream = translate(provider, client, &wire(provider, &told.events()), 7);
        let fold = fold(&events(client, &stream));
        let (message, _) = fold.error.clone().unwrap_or_else(|| panic!("{provider:?} to {client:?}"));
        assert!(message.to_lowercase().contains("overloaded"), "{provider:?} to {client:?}: {message}");
        assert!(!fold.ended);
    }
}

#[test]
fn answers_name_the_model_that_the_provider_names() {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(alias = "modelVersion")]
        model: String,
    }
    let asked = asked();
    for (client, provider) in pairs() {
        let told = inputs::of(provider).answers.remove("text").unwrap();
        let mut answer = read_answer(provider, told.body().as_bytes());
        let name = answer.model.clone().unwrap();
        let body = providers::dialects::write_answer(client, &answer, &reply(&asked));
        assert_eq!(serde_json::from_slice::<Named>(&body).unwrap().model, name, "{provider:?} to {client:?}");
        let stream = translate(provider, client, &wire(provider, &told.events()), 64);
        assert_eq!(fold(&events(client, &stream)).answer().model, Some(name), "{provider:?} to {client:?}");
        answer.model = None;
        let body = providers::dialects::write_answer(client, &answer, &reply(&asked));
        assert_eq!(serde_json::from_slice::<Named>(&body).unwrap().model, "house/model");
    }
}

/// A provider of the client's own dialect dies: what it began is what fails, under its own name and number.
#[test]
fn an_error_of_ours_goes_on_with_the_response_that_began() {
    let begun = inputs::of(Dialect::Responses).answers.remove("text").unwrap();
    let stream = wire(Dialect::Responses, &begun.events());
    let text = String::from_utf8(stream).unwrap();
    let events: Vec<&str> = text.split_inclusive("\n\n").collect();
    let asked = asked();
    let watched = Watched::new(issuer(Dialect::Responses), &reply(&asked), MAX_EVENT);
    let mut flow = Flow::Watched(Box::new(watched));
    let mut pieces = Pieces::new();
    // All but the last: the terminal one never comes.
    for event in &events[..events.len() - 1] {
        assert!(flow.push(Bytes::copy_from_slice(event.as_bytes()), &mut pieces).is_ok());
    }
    let failing = Failing {
        status: 502,
        code: "upstream_closed",
        kind: "server_error",
        message: "it broke off",
        param: None,
        retry_after: None,
        request_id: "req_1",
    };
    let told = String::from_utf8(flow.error(&failing).unwrap().to_vec()).unwrap();
    let data = |event: &str| -> serde_json::Value {
        serde_json::from_str(event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap()
    };
    let (first, last, end) = (data(events[0]), data(events[events.len() - 2]), data(&told));
    assert_eq!(told.matches("data: ").count(), 1, "{told}");
    assert_eq!(end["type"], "response.failed");
    assert_eq!(end["response"]["id"], first["response"]["id"]);
    assert_eq!(end["sequence_number"].as_u64().unwrap(), last["sequence_number"].as_u64().unwrap() + 1);
    assert_eq!(end["response"]["error"]["code"], "upstream_closed");
    assert!(!end["response"]["output"].as_array().unwrap().is_empty(), "what there is of it: {end}");
}
