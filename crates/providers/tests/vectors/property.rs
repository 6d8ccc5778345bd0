//! There and back: whatever a call says is said by the other dialect, or reported, or refused.

use proptest::prelude::*;

use providers::vectors::Shape;
use providers::vectors::embed::{
    Ask, Content, Encoding, Input, Piece, Task, Truncate, read_request, write_request,
};

use crate::SHAPES;

fn content() -> impl Strategy<Value = Content> {
    let picture = "[A-Za-z0-9]{4}".prop_map(|data| Piece::Data { mime: "image/png".to_owned(), data });
    prop_oneof![
        4 => ".{1,12}".prop_map(Content::Text),
        1 => picture.clone().prop_map(|one| Content::Pieces(vec![one])),
        1 => (".{1,9}", picture).prop_map(|(text, one)| Content::Pieces(vec![Piece::Text(text), one])),
    ]
}

/// Texts and pictures, or tokens: no dialect takes both in one call.
fn contents() -> impl Strategy<Value = Vec<Content>> {
    let tokens = proptest::collection::vec(0u64..100_000, 1..4).prop_map(Content::Tokens);
    prop_oneof![4 => proptest::collection::vec(content(), 1..4), 1 => proptest::collection::vec(tokens, 1..4)]
}

fn ask() -> impl Strategy<Value = Ask> {
    let task = prop_oneof![
        Just(Task::Query),
        Just(Task::Document),
        Just(Task::Classification),
        Just(Task::Clustering),
        Just(Task::Similarity),
        Just(Task::CodeQuery),
        Just(Task::Other("FACT_VERIFICATION".to_owned())),
        Just(Task::Other("code.passage".to_owned())),
    ];
    let truncate = prop_oneof![Just(Truncate::Never), Just(Truncate::Start), Just(Truncate::End)];
    let encoding = prop_oneof![Just(Encoding::Float), Just(Encoding::Base64), Just(Encoding::Binary)];
    (
        contents(),
        proptest::option::of(1u64..4000),
        proptest::collection::vec(encoding, 0..2),
        proptest::option::of(task),
        proptest::option::of(truncate),
        proptest::option::of("[a-z]{1,5}"),
    )
        .prop_map(|(contents, dimensions, encodings, task, truncate, end_user)| Ask {
            inputs: contents.into_iter().map(|content| Input { content, title: None }).collect(),
            dimensions,
            encodings,
            task,
            truncate,
            end_user,
            ..Ask::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A target that is told a call and read back says the same of every member, but for those that it reported.
    #[test]
    fn what_is_not_reported_comes_back(ask in ask(), to in 0usize..4, of in 0usize..4) {
        let (target, client) = (SHAPES[to], SHAPES[of]);
        let Ok(written) = write_request(target, client, &ask, "m") else { return Ok(()) };
        let back = read_request(target, &written.body, false).unwrap();
        let dropped = |names: &[&str]| written.dropped.iter().any(|param| names.contains(&param.0.as_str()));
        prop_assert_eq!(&back.inputs, &ask.inputs);
        prop_assert_eq!(back.dimensions, ask.dimensions);
        if dropped(&["task", "taskType", "input_type"]) {
            prop_assert!(ask.task.is_some());
        } else {
            let told = if ask.task.is_none() && target == Shape::Cohere { &None } else { &back.task };
            prop_assert_eq!(told, &ask.task);
        }
        if dropped(&["truncate", "autoTruncate"]) {
            prop_assert!(ask.truncate.is_some() && back.truncate.is_none());
        } else if target != Shape::OpenAi {
            prop_assert_eq!(back.truncate, ask.truncate);
        }
        prop_assert_eq!(dropped(&["user"]), ask.end_user.is_some() && target != Shape::OpenAi);
        prop_assert_eq!(back.end_user.is_some(), ask.end_user.is_some() && target == Shape::OpenAi);
        // Floats are made from either writing; another encoding is asked for or refused.
        if ask.encodings.contains(&Encoding::Binary) {
            prop_assert_eq!(&back.encodings, &ask.encodings);
        }
        prop_assert!(back.extra.is_empty(), "{:?}", back.extra);
    }
}
