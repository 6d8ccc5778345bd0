//! The model's name in a `multipart/form-data` body (RFC 7578): found by its place, so that one name can be replaced and
//! every other byte goes on as it came.
//!
//! The name may stand behind a file of any size (`FormData` keeps the caller's order), so the whole body is searched for
//! its boundary, once. What two readers could take differently is refused: a second model, another spelling of the field,
//! a part whose head is not plain.

use std::ops::Range;

use memchr::memmem;

/// Parts of one form.
const MAX_PARTS: usize = 256;
/// The head of one part, bytes.
const MAX_HEAD: usize = 8 * 1024;
const LONGEST_MODEL: usize = 512;
/// RFC 2046 §5.1.1 allows 70; some clients are longer.
const LONGEST_BOUNDARY: usize = 200;

/// What a form says that the gateway must know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Form {
    /// The bytes of the model's name, where it has one.
    pub(crate) model: Option<Range<usize>>,
    pub(crate) stream: bool,
}

/// Why a form cannot be used, in words for its sender.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadForm {
    #[error("the form has no field `model`: name a model")]
    NoModel,
    #[error("the form's field `{0}` is given more than once")]
    Twice(&'static str),
    #[error("the form's field `{0}` is not a field; write `{1}`")]
    Respelled(String, &'static str),
    #[error("the form's field `model` must be a name of 1 to {LONGEST_MODEL} visible characters")]
    Name,
    #[error("the body is not a valid form: {0}")]
    Malformed(&'static str),
}

/// The boundary that a `content-type` names, if the type is a form's.
pub(crate) fn boundary(content_type: &[u8]) -> Option<Result<Vec<u8>, BadForm>> {
    let kind = content_type.split(|byte| *byte == b';').next()?.trim_ascii();
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let mut boundary = None;
    let Some(parameters) = parameters(&content_type[kind_end(content_type)..]) else {
        return Some(Err(BadForm::Malformed("its content-type cannot be read")));
    };
    for (name, value) in parameters {
        // `boundary*0`: some readers put such pieces together, others do not.
        if name.contains(&b'*') {
            return Some(Err(BadForm::Malformed("its content-type has an encoded parameter")));
        }
        if name.eq_ignore_ascii_case(b"boundary") && boundary.replace(value).is_some() {
            return Some(Err(BadForm::Malformed("two boundaries in its content-type")));
        }
    }
    let boundary = boundary.filter(|text| (1..=LONGEST_BOUNDARY).contains(&text.len()));
    Some(boundary.ok_or(BadForm::Malformed("no boundary in its content-type")))
}

fn kind_end(content_type: &[u8]) -> usize {
    content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len())
}

/// `; name=value; name="value"`; `None` when it is not that.
fn parameters(mut text: &[u8]) -> Option<Vec<(&[u8], Vec<u8>)>> {
    let mut found = Vec::new();
    loop {
        text = text.trim_ascii();
        let Some(rest) = text.strip_prefix(b";") else {
            return text.is_empty().then_some(found);
        };
        text = rest.trim_ascii();
        if text.is_empty() {
            return Some(found);
        }
        let equals = text.iter().position(|byte| *byte == b'=')?;
        let name = text[..equals].trim_ascii();
        text = text[equals + 1..].trim_ascii_start();
        let (value, used) = if text.first() == Some(&b'"') {
            quoted(text)?
        } else {
            let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
            (text[..end].trim_ascii().to_vec(), end)
        };
        found.push((name, value));
        text = &text[used..];
    }
}

/// A quoted string and how long it is with its quotes.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some((value, at + 1)),
            // Only these are escaped; a path of Windows in a file's name keeps its backslashes.
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => {
                value.push(text[at + 1]);
                at += 2;
            }
            byte => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// Finds the model in a form.
pub(crate) fn read(body: &[u8], boundary: &[u8]) -> Result<Form, BadForm> {
    let delimiter = [b"\r\n--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    // What stands before the first boundary means nothing, and a part that is hidden there something to some readers.
    if !body.starts_with(&delimiter[2..]) {
        return Err(BadForm::Malformed("it does not begin with its boundary"));
    }
    let mut at = delimiter.len() - 2;
    let (mut model, mut stream) = (None, None);
    for parts in 1..=MAX_PARTS {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            // Anywhere else (after a bare line break, say) others might take it for the beginning of a part.
            if memmem::find_iter(body, &delimiter[2..]).count() != parts {
                return Err(BadForm::Malformed("its boundary occurs within a part"));
            }
            return Ok(Form { model, stream: stream.unwrap_or(false) });
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if !rest[padding..].starts_with(b"\r\n") {
            return Err(BadForm::Malformed("a boundary is not alone on its line"));
        }
        let head = at + padding + 2;
        let within = &body[head..body.len().min(head + MAX_HEAD)];
        let length = memmem::find(within, b"\r\n\r\n").ok_or(BadForm::Malformed("a part has no head"))?;
        let content = head + length + 4;
        let end = content + finder.find(&body[content..]).ok_or(BadForm::Malformed("its end is missing"))?;
        match field(&within[..length])? {
            Field::Model if model.is_some() => return Err(BadForm::Twice("model")),
            Field::Model => {
                let text = std::str::from_utf8(&body[content..end]).map_err(|_| BadForm::Name)?;
                if text.is_empty() || text.len() > LONGEST_MODEL || text.chars().any(char::is_control) {
                    return Err(BadForm::Name);
                }
                model = Some(content..end);
            }
            Field::Stream if stream.is_some() => return Err(BadForm::Twice("stream")),
            Field::Stream => stream = Some(body[content..end].eq_ignore_ascii_case(b"true")),
            Field::Other => {}
        }
        at = end + delimiter.len();
    }
    Err(BadForm::Malformed("it has too many parts"))
}

enum Field {
    Model,
    Stream,
    Other,
}

/// A part that names a model, to be put where the first part begins.
pub(crate) fn naming(boundary: &[u8], model: &str) -> Vec<u8> {
    let head = b"\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n";
    [b"--", boundary, head, model.as_bytes(), b"\r\n"].concat()
}

/// Which field the head of a part begins.
fn field(head: &[u8]) -> Result<Field, BadForm> {
    let (mut name, mut encoded) = (None, false);
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Some readers join a line that begins with a space to the one before.
        if line.contains(&b'\r') || line.first().is_some_and(|first| matches!(first, b' ' | b'\t')) {
            return Err(BadForm::Malformed("a part's head has a folded line"));
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(BadForm::Malformed("a line of a part's head is no header"));
        };
        let (header, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if header.eq_ignore_ascii_case(b"content-transfer-encoding") {
            encoded =
                ![&b"binary"[..], b"8bit", b"7bit"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
        }
        if header.eq_ignore_ascii_case(b"content-disposition") && name.replace(disposition(value)?).is_some()
        {
            return Err(BadForm::Malformed("a part has two dispositions"));
        }
    }
    let name = name.ok_or(BadForm::Malformed("a part has no disposition"))?;
    let known = [("model", Field::Model), ("stream", Field::Stream)];
    for (wanted, field) in known {
        if name == wanted.as_bytes() {
            return if encoded { Err(BadForm::Malformed("a field is encoded")) } else { Ok(field) };
        }
        // Some servers match names without regard to case; no client means them.
        if name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()) {
            return Err(BadForm::Respelled(String::from_utf8_lossy(&name).into_owned(), wanted));
        }
    }
    Ok(Field::Other)
}

/// The `name` of a `content-disposition`.
fn disposition(value: &[u8]) -> Result<Vec<u8>, BadForm> {
    let unreadable = BadForm::Malformed("a part's disposition cannot be read");
    let kind = value[..kind_end(value)].trim_ascii();
    let parameters = parameters(&value[kind_end(value)..]);
    let Some(parameters) = parameters.filter(|_| kind.eq_ignore_ascii_case(b"form-data")) else {
        return Err(unreadable);
    };
    let mut name = None;
    for (parameter, value) in parameters {
        // `name*`, `name*0`: some readers decode them and put pieces together, others do not. A file may have any name.
        if parameter.contains(&b'*') && !parameter.to_ascii_lowercase().starts_with(b"filename*") {
            return Err(BadForm::Malformed("a field's name is encoded"));
        }
        if parameter.eq_ignore_ascii_case(b"name") && name.replace(value).is_some() {
            return Err(BadForm::Malformed("a part has two names"));
        }
    }
    name.ok_or(BadForm::Malformed("a part has no name"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn part(disposition: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    fn form(parts: &[(&str, &str)]) -> String {
        parts.iter().map(|(head, content)| part(head, content)).collect::<String>() + "--b--\r\n"
    }

    #[test]
    fn the_model_is_found_before_and_behind_a_file() {
        let file = "name=\"file\"; filename=\"a;name=\\\"model\\\".mp3\"\r\nContent-Type: audio/mpeg";
        for parts in [
            [("name=\"model\"", "w-1"), (file, "\r\n\r\n--c model \0")],
            [(file, "\r\n--a\r\n"), ("name=model", "w-1")],
        ] {
            let body = form(&parts);
            let found = read(body.as_bytes(), b"b").unwrap();
            assert_eq!((&body[found.model.unwrap()], found.stream), ("w-1", false));
        }
        let body = form(&[("name=\"stream\"", "true"), ("name=\"model\"", "m")]);
        assert!(read(body.as_bytes(), b"b").unwrap().stream);
    }

    #[test]
    fn a_form_without_a_model_can_be_given_one() {
        for parts in [vec![], vec![("name=\"file\"", "\r\nx\0")]] {
            let body = form(&parts);
            assert_eq!(read(body.as_bytes(), b"b").unwrap().model, None);
            let named = [naming(b"b", "w-1"), body.clone().into_bytes()].concat();
            let place = read(&named, b"b").unwrap().model.unwrap();
            assert_eq!(&named[place], b"w-1");
            assert!(String::from_utf8(named).unwrap().ends_with(&body));
        }
    }

    /// Each hides a model from this reader and shows it to another one.
    #[test]
    fn what_hides_a_part_is_refused() {
        let model = part("name=\"model\"", "dear");
        let own = form(&[("name=\"model\"", "m")]);
        let within =
            |before: &str| form(&[("name=\"file\"", &format!("x{before}{model}")), ("name=\"model\"", "m")]);
        for body in [
            format!("\n{model}{own}"),
            format!("\r\n{model}{own}"),
            format!("preamble\r\n{own}"),
            within("\n"),
            within("\r"),
            within(""),
            format!("{own}{model}"),
        ] {
            assert!(matches!(read(body.as_bytes(), b"b"), Err(BadForm::Malformed(_))), "{body}");
        }
        for head in [
            "name=\"x\"; name*0=\"model\"",
            "name=\"\"; name*0*=\"model\"",
            "name=\"x\"\r\n ; a=\":\"; name=\"model\"",
            "name=\"x\"\r\n\t; name=\"model\"",
            "name=\"x\"\rContent-Disposition: form-data; name=\"model\"",
        ] {
            assert!(read(form(&[(head, "dear")]).as_bytes(), b"b").is_err(), "{head}");
        }
        assert!(
            read(form(&[("name=\"f\"; filename*=utf-8''a", "x"), ("name=\"model\"", "m")]).as_bytes(), b"b")
                .is_ok()
        );
        for kind in [
            "multipart/form-data; boundary=b; boundary*0=c",
            "multipart/form-data; boundary*=b",
            "multipart/form-data; boundary=\"b",
        ] {
            assert!(boundary(kind.as_bytes()).unwrap().is_err(), "{kind}");
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        let model = ("name=\"model\"", "m");
        for (parts, expected) in [
            (vec![model, model], BadForm::Twice("model")),
            (vec![model, ("name=\"Model\"", "n")], BadForm::Respelled("Model".to_owned(), "model")),
            (vec![("name=\"model\"", "")], BadForm::Name),
            (vec![("name=\"model\"", "a\nb")], BadForm::Name),
            (vec![model, ("name=\"x\"; name=\"model\"", "n")], BadForm::Malformed("a part has two names")),
            (vec![("name*=utf-8''model", "m")], BadForm::Malformed("a field's name is encoded")),
            (
                vec![("name=\"model\"\r\nContent-Transfer-Encoding: base64", "bQ==")],
                BadForm::Malformed("a field is encoded"),
            ),
        ] {
            assert_eq!(read(form(&parts).as_bytes(), b"b"), Err(expected), "{parts:?}");
        }
        for broken in ["", "--b", "--b\r\n", "--bx\r\n\r\n\r\n--b--", "--b\r\nA: b\r\n\r\nx", "--c--"] {
            assert!(matches!(read(broken.as_bytes(), b"b"), Err(BadForm::Malformed(_))), "{broken:?}");
        }
        let many = form(&vec![("name=\"x\"", "y"); MAX_PARTS + 1]);
        assert_eq!(read(many.as_bytes(), b"b"), Err(BadForm::Malformed("it has too many parts")));
    }

    #[test]
    fn boundaries_are_read_from_the_type() {
        let of = |text: &str| boundary(text.as_bytes());
        assert_eq!(of("application/json"), None);
        assert_eq!(of("multipart/form-data; boundary=abc"), Some(Ok(b"abc".to_vec())));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; Boundary=\"a;b\""), Some(Ok(b"a;b".to_vec())));
        assert!(matches!(of("multipart/form-data"), Some(Err(_))));
        assert!(matches!(of("multipart/form-data; boundary=a; boundary=b"), Some(Err(_))));
    }
}
