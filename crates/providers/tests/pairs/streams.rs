//! A stream says what the whole answer says, however it is cut.

use providers::blocks::{Answer, Choice, Part, Reasoning};
use providers::dialects::Dialect;

use crate::{asked, events, fold, inputs, pairs, read_answer, reply, translate, wire};

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
                let whole = providers::dialects::read_answer(
                    dialect,
                    told.body().as_bytes(),
                    &crate::issuer(dialect),
                );
                assert!(fold.error.is_some() && !fold.ended && whole.is_err(), "{dialect:?}");
                continue;
            }
            assert!(fold.ended, "{dialect:?} {feature}");
            assert_eq!(fold.answer(), read_answer(dialect, told.body().as_bytes()), "{dialect:?} {feature}");
        }
    }
}

/// What a stream cannot tell as a whole answer does, each for a reason of the client's protocol:
/// - Gemini: a signature comes in a part of its own behind what it stands on, since the part went out already; and the
///   reader closes a part at a signature. Both are one part again in what is compared.
/// - The words of an answer are compared part by part, thoughts as text or as summary whichever tells them.
fn comparable(mut answer: Answer) -> Answer {
    for Choice { parts, .. } in &mut answer.choices {
        for part in parts.iter_mut() {
            if let Part::Reasoning(Reasoning { id, .. }) = part {
                // Made of its place, which a carrier behind it shifts.
                *id = None;
            }
            if let Part::ToolCall(call) = part {
                call.item_id = None;
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
            if feature == "error" {
                continue;
            }
            let whole = read_answer(provider, told.body().as_bytes());
            let whole = providers::dialects::write_answer(client, &whole, &reply(&asked));
            let whole = comparable(read_answer(client, &whole));
            let stream = translate(provider, client, &wire(provider, &told.events()), 64);
            let fold = fold(&events(client, &stream));
            assert!(fold.ended, "{provider:?} to {client:?}, {feature}");
            let streamed = comparable(fold.answer());
            if streamed != whole {
                wrong.push(format!("{provider:?} to {client:?}, {feature}\n stream {streamed:?}\n whole  {whole:?}"));
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
