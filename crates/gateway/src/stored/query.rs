//! What a retrieval says behind the question mark.

use providers::dialects::responses::history::Page;

use crate::refusal::{Code, Refusal};
use crate::urls::unescape;

/// Most items of a page.
const LARGEST_PAGE: usize = 100;

/// The members of a query that matter here; what is not known is passed over, as OpenAI does.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Query {
    pub(super) page: Page,
    pub(super) stream: bool,
    pub(super) starting_after: bool,
}

/// Reads a query.
pub(super) fn read(query: Option<&str>) -> Result<Query, Box<Refusal>> {
    let mut read = Query::default();
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(&value.replace('+', " "));
        match unescape(name).as_str() {
            "order" => read.page.descending = order(&value)?,
            "after" if !value.is_empty() => read.page.after = Some(value),
            "limit" => read.page.limit = limit(&value)?,
            "stream" => read.stream = value == "true",
            "starting_after" => read.starting_after = true,
            _ => {}
        }
    }
    Ok(read)
}

fn order(value: &str) -> Result<bool, Box<Refusal>> {
    match value {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Refusal::new(Code::InvalidRequest, "`order` must be `asc` or `desc`").about("order")),
    }
}

fn limit(value: &str) -> Result<usize, Box<Refusal>> {
    value.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit)).ok_or_else(|| {
        let message = format!("`limit` must be a whole number from 1 to {LARGEST_PAGE}");
        Refusal::new(Code::InvalidRequest, message).about("limit")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_as_sdks_do() {
        let query = read(Some("after=msg%5F1&limit=2&order=asc&include%5B%5D=x")).unwrap();
        let page = Page { descending: false, after: Some("msg_1".into()), limit: 2 };
        assert_eq!(query, Query { page, ..Query::default() });
        assert_eq!(read(None).unwrap().page, Page::default());
        assert!(read(Some("stream=true&starting_after=7")).unwrap().stream);
        for bad in ["limit=0", "limit=101", "limit=x", "order=up"] {
            assert!(read(Some(bad)).is_err(), "{bad}");
        }
    }
}
