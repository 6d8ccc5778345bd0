//! What a route says in place of the client.

use bytes::Bytes;

use super::splice::Members;

/// The body with these members set to these JSON texts, everything else byte for byte; as it was where it is no object.
pub fn say<'s>(body: &Bytes, said: impl Iterator<Item = (&'s str, &'s str)>) -> Bytes {
    let Some(mut members) = Members::of(body) else { return body.clone() };
    for (name, value) in said {
        if members.has(name) {
            members.replace(name, value.as_bytes());
        } else {
            members.add(name, value.as_bytes());
        }
    }
    members.splices().apply(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_set_or_added_and_nothing_else_is_touched() {
        let said = |body: &'static str| {
            let said = [("temperature", "0.5"), ("tags", "[1,2]")];
            say(&Bytes::from_static(body.as_bytes()), said.into_iter())
        };
        assert_eq!(said("{ \"temperature\" : 1.0 }"), "{ \"temperature\" : 0.5,\"tags\":[1,2] }");
        assert_eq!(said("{}"), "{\"temperature\":0.5,\"tags\":[1,2]}");
        assert_eq!(said("{\"x\":1e400,\"tags\":null}"), "{\"x\":1e400,\"tags\":[1,2],\"temperature\":0.5}");
        assert_eq!(said("[1]"), "[1]");
    }
}
