//! The members of a JSON object, taken one by one, so that what is left over can be named and an error names its member.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::request::BadRequest;

/// Members that nobody has taken yet, in the order of the text.
pub(super) struct Fields<'t> {
    left: Vec<(String, &'t RawValue)>,
}

struct Ordered<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Ordered<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Ordered<'de>;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }
        reader.deserialize_map(Visitor)
    }
}

impl<'t> Fields<'t> {
    /// Of a whole body.
    pub(super) fn of(body: &'t [u8]) -> Result<Self, BadRequest> {
        let read = serde_json::from_slice::<Ordered<'t>>(body);
        read.map(|members| Self { left: members.0 }).map_err(|error| BadRequest {
            message: format!("the request body is not a JSON object: {error}"),
            param: None,
            code: Some("invalid_json"),
        })
    }

    /// Takes a member; `null` is absent. The last of several counts, as most readers have it.
    pub(super) fn take<T: Deserialize<'t>>(
        &mut self,
        name: &'static str,
        wanted: &str,
    ) -> Result<Option<T>, BadRequest> {
        let mut found = None;
        self.left.retain(|(own, value)| {
            let is = own == name;
            if is {
                found = Some(*value);
            }
            !is
        });
        let Some(value) = found.filter(|value| value.get() != "null") else { return Ok(None) };
        serde_json::from_str(value.get())
            .map(Some)
            .map_err(|_| wrong(name, format!("`{name}` must be {wanted}")))
    }

    /// Takes a member that must be there.
    pub(super) fn need<T: Deserialize<'t>>(
        &mut self,
        name: &'static str,
        wanted: &str,
    ) -> Result<T, BadRequest> {
        self.take(name, wanted)?.ok_or_else(|| BadRequest {
            message: format!("`{name}` is missing; it must be {wanted}"),
            param: Some(name),
            code: Some("missing_required_parameter"),
        })
    }

    /// Names of the members that nobody took and that say something.
    pub(super) fn rest(self) -> Vec<String> {
        let said = self.left.into_iter().filter(|(_, value)| value.get() != "null");
        said.map(|(name, _)| name).collect()
    }
}

/// A member of another type or value than it must have.
pub(super) fn wrong(param: &'static str, message: String) -> BadRequest {
    BadRequest { message, param: Some(param), code: Some("invalid_value") }
}
