//! The framer against the standard's examples and against itself, cut anywhere.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::steps;

fn frame(chunks: &[&[u8]]) -> (Vec<Event>, Bytes) {
    let mut framer = Framer::new(1 << 20);
    let mut events = Vec::new();
    for chunk in chunks {
        framer.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = framer.next().unwrap() {
            events.push(event);
        }
    }
    let rest = framer.finish();
    assert!(framer.rest_is_empty());
    (events, rest)
}

/// What a client would dispatch.
fn meaning(events: &[Event]) -> Vec<(Option<&[u8]>, &[u8])> {
    let dispatched = events.iter().filter(|event| !event.comment_only);
    dispatched.map(|event| (event.name.as_deref(), &event.data[..])).collect()
}

fn datas(text: &str) -> Vec<String> {
    let (events, _) = frame(&[text.as_bytes()]);
    meaning(&events).iter().map(|(_, data)| String::from_utf8(data.to_vec()).unwrap()).collect()
}

#[test]
fn reads_what_the_standard_shows() {
    assert_eq!(datas("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    assert_eq!(
        datas(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
        ["first event", "second event", " third event"]
    );
    assert_eq!(datas("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(datas("data:test\n\ndata: test\n\n"), ["test", "test"]);
    assert_eq!(datas("dataset: no\ndata : no\n Data: no\n\n"), Vec::<String>::new());
}

#[test]
fn all_three_line_endings_mean_the_same() {
    for ending in ["\n", "\r", "\r\n"] {
        let text = ["event: a", "data: 1", "data: 2", "", ": c", "", "data: 3", "", ""].join(ending);
        let (events, rest) = frame(&[text.as_bytes()]);
        assert_eq!(meaning(&events), [(Some(&b"a"[..]), &b"1\n2"[..]), (None, &b"3"[..])], "{ending:?}");
        assert_eq!(events.len(), 3);
        assert!(rest.is_empty());
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_and_kept() {
    let (events, _) = frame(&[b"\xef\xbb", b"\xbfdata: x\n\n"]);
    assert_eq!(meaning(&events), [(None, &b"x"[..])]);
    assert_eq!(&events[0].raw[..], b"\xef\xbb\xbfdata: x\n\n");
}

#[test]
fn an_event_within_a_chunk_is_a_slice_of_it() {
    let chunk = Bytes::from_static(b"data: one\n\ndata: two\n\n");
    let mut framer = Framer::new(100);
    framer.push(chunk.clone());
    let (one, two) = (framer.next().unwrap().unwrap(), framer.next().unwrap().unwrap());
    assert_eq!(one.raw.as_ptr(), chunk.as_ptr());
    assert_eq!(two.data.as_ptr(), chunk[17..].as_ptr());
    assert_eq!(framer.next().unwrap(), None);
}

#[test]
fn a_last_cr_ends_the_event_at_once_and_its_late_lf_adds_no_event() {
    let (events, rest) = frame(&[b"data: 1\r\n\r", b"\ndata: 2\r\r", b"data: 3\r", b"\n\r", b"\n", b"\n"]);
    let shape: Vec<_> = events.iter().map(|event| (&event.raw[..], event.continues)).collect();
    assert_eq!(
        shape,
        [
            (&b"data: 1\r\n\r"[..], false),
            (b"\n", true),
            (b"data: 2\r\r", false),
            (b"data: 3\r\n\r", false),
            (b"\n", true),
            (b"\n", false),
        ]
    );
    assert!(rest.is_empty());
}

#[test]
fn an_event_that_is_too_long_is_refused_in_any_chunking() {
    let text = format!("data: ok\n\ndata: {}\n\n", "x".repeat(100));
    for size in 1..=text.len() {
        let mut framer = Framer::new(50);
        let mut outcomes = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            framer.push(Bytes::copy_from_slice(chunk));
            loop {
                match framer.next() {
                    Ok(Some(event)) => outcomes.push(Ok(event.data)),
                    Ok(None) => break,
                    Err(error) => {
                        outcomes.push(Err(error));
                        break;
                    }
                }
            }
            assert!(framer.carry.len() <= 50);
        }
        assert_eq!(outcomes[0], Ok(Bytes::from_static(b"ok")));
        assert!(outcomes[1..].iter().all(|outcome| *outcome == Err(SseError::TooLong { limit: 50 })));
        assert!(outcomes.len() > 1);
    }
}

#[test]
fn an_event_at_the_limit_is_judged_the_same_wherever_it_is_cut() {
    let text = b"data: 1\r\n\r\n";
    for limit in 9..=12 {
        let judged = |cut: usize| {
            let mut framer = Framer::new(limit);
            let mut outcomes = Vec::new();
            for chunk in [&text[..cut], &text[cut..]] {
                framer.push(Bytes::copy_from_slice(chunk));
                while let Some(event) = framer.next()? {
                    outcomes.extend((!event.comment_only).then_some(event.data));
                }
            }
            Ok::<_, SseError>(outcomes)
        };
        let whole = judged(0);
        assert_eq!(whole.is_ok(), limit >= 10, "all but the last LF counts: {limit}");
        assert!((0..=text.len()).all(|cut| judged(cut) == whole), "{limit}");
    }
}

#[test]
fn an_unfinished_event_is_no_event() {
    let (events, rest) = frame(&[b"data: 1\n\ndata: 2\n"]);
    assert_eq!(meaning(&events), [(None, &b"1"[..])]);
    assert_eq!(&rest[..], b"data: 2\n");
}

#[test]
fn work_is_linear_even_byte_by_byte() {
    for text in ["x".repeat(40_000), "data: a\n\n".repeat(5_000), "\r".repeat(40_000), "a\r\n".repeat(13_000)]
    {
        for size in [1, 2, 7, 40_000] {
            let work = steps::measured(|| {
                let mut framer = Framer::new(1 << 20);
                for chunk in text.as_bytes().chunks(size) {
                    framer.push(Bytes::copy_from_slice(chunk));
                    while framer.next().unwrap().is_some() {}
                }
            });
            assert!(work <= text.len() as u64 + 1, "{work} steps for {} bytes by {size}", text.len());
        }
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "data: ?[a-z{}\" é你:]{0,12}",
        1 => "event: ?[a-z]{0,4}",
        1 => ":[a-z ]{0,5}",
        1 => "[a-z:]{0,6}",
        3 => Just(String::new()),
    ];
    let ending = prop::sample::select(vec!["\n", "\r", "\r\n"]);
    prop::collection::vec((line, ending), 0..20).prop_map(|lines| {
        lines.iter().map(|(line, ending)| format!("{line}{ending}")).collect::<String>().into_bytes()
    })
}

proptest! {
    #[test]
    fn chunking_changes_nothing(text in stream(), mark in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut text = text;
        if mark {
            text.splice(0..0, *b"\xef\xbb\xbf");
        }
        let (whole, _) = frame(&[&text]);
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places {
            pieces.push(&text[from..place]);
            from = place;
        }
        pieces.push(&text[from..]);
        let bytewise: Vec<_> = text.chunks(1).collect();
        for chunks in [pieces, bytewise] {
            let (events, rest) = frame(&chunks);
            prop_assert_eq!(meaning(&events), meaning(&whole));
            let real = |events: &[Event]| events.iter().filter(|event| !event.continues).count();
            prop_assert_eq!(real(&events), real(&whole));
            let mut bytes: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(&bytes, &text);
        }
    }

    #[test]
    fn every_single_split_of_arbitrary_bytes(text in prop::collection::vec(prop::sample::select(b"\r\n:d\xef\xbb\xbfax".to_vec()), 0..24)) {
        let (whole, _) = frame(&[&text]);
        for place in 0..=text.len() {
            let (events, _) = frame(&[&text[..place], &text[place..]]);
            prop_assert_eq!(meaning(&events), meaning(&whole));
        }
    }
}

#[test]
fn an_event_can_be_had_without_what_is_around_it() {
    let bare = |text: &str, named: bool| {
        let (events, _) = frame(&[text.as_bytes()]);
        let bare = events[0].bare(named);
        bare.map(|bare| {
            assert_eq!(
                bare.data,
                events[0].data.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect::<Vec<_>>()
            );
            String::from_utf8(bare.raw.to_vec()).unwrap()
        })
    };
    for plain in ["data: {}\n\n", "data: {\r\ndata: }\r\n\r\n", "data:{}\n\n"] {
        assert_eq!(bare(plain, false), None, "{plain:?}");
    }
    assert_eq!(bare("event: a\ndata: {}\n\n", true), None);
    assert_eq!(bare("event: a\ndata: {}\n\n", false).as_deref(), Some("data: {}\n\n"));
    let full = ": x\nid: 3\nevent: a\ndata: {\ndata: }\nretry: 9\n\n";
    assert_eq!(bare(full, true).as_deref(), Some("event: a\ndata: { }\n\n"));
    assert_eq!(bare("database: x\ndata: {}\n\n", false).as_deref(), Some("data: {}\n\n"));
}
