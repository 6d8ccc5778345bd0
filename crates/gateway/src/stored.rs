//! Stored responses of OpenAI's Responses API, also where the provider has none.
//!
//! A provider that speaks Responses to a client that does keeps what it answers, and its bytes pass untouched; here only
//! a note says which provider it was, so that `previous_response_id`, a retrieval or a deletion goes there. For every
//! other provider the gateway keeps the items and the answer itself, and a request that goes on from them is turned into
//! the one of a client that keeps its history itself, before anything else reads it: so limits, estimates, lanes and
//! accounting see one request like any other.
//!
//! Reading order: [`open`] (before the request is read), [`narrow`] (its plan), `keep` (the answer); `retrieve` serves
//! what is asked of a stored response, `background` makes one without its client, `watch` waits for one that a provider
//! makes so.

pub(crate) mod background;
mod keep;
mod query;
mod retrieve;
pub(crate) mod watch;

use bytes::Bytes;
use policy::{Name, Provider};
use providers::blocks::{self, Ours};
use providers::dialects::responses::history;
use providers::request::stored::{self, Keeping};
use providers::request::{BadRequest, Operation, Raw};

use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::receive;
use crate::refusal::{Code, Refusal};
use crate::shelf::{Kept, ShelfError};

pub(crate) use keep::{keep_event, keep_whole, note_stream};
pub(crate) use retrieve::serve;

/// The longest id that is looked for.
const LONGEST_ID: usize = 128;

/// What a request to Responses asks beside the conversation.
pub(crate) struct Stored {
    /// The body as the client sent it.
    pub(crate) asked: Bytes,
    said: Keeping,
    from: Origin,
    /// The gateway makes it without its client.
    detached: bool,
    /// A place among the responses that are made in the background.
    place: Option<background::Place>,
}

/// Where the conversation is kept that a request goes on from.
#[derive(Debug, Eq, PartialEq)]
enum Origin {
    /// It begins one.
    Nowhere,
    /// Here.
    Here,
    /// At this provider.
    Provider(Name),
}

impl Stored {
    /// Whether the gateway is the one who keeps: then the provider's own store is not used, even where it has one.
    pub(crate) fn is_ours(&self) -> bool {
        self.detached || self.from == Origin::Here
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.detached
    }

    /// Whether the provider goes on without its client.
    pub(crate) fn goes_on_alone(&self) -> bool {
        self.said.background && !self.detached
    }

    /// Whether anything is to be kept, or was, for this request.
    pub(crate) fn is_kept(&self) -> bool {
        self.keeps() || self.from != Origin::Nowhere || self.said.conversation || self.said.background
    }

    /// Whether the answer shall be kept, which is what happens when the client says nothing.
    fn keeps(&self) -> bool {
        self.said.store != Some(false)
    }
}

/// Whether an operation has to do with stored responses; all others pass by.
pub(crate) fn concerns(operation: Operation) -> bool {
    matches!(operation, Operation::Responses | Operation::Raw(Raw::InputTokens | Raw::Compact))
}

/// Reads what a request says of being kept, and puts before it what it goes on from.
pub(crate) async fn open(exchange: &mut Exchange, body: Bytes) -> Result<Bytes, Box<Refusal>> {
    let said = stored::read(&body).map_err(bad)?;
    let both = |param: &'static str, message: &str| {
        Err(Refusal::new(Code::InvalidRequest, message.to_owned()).about(param))
    };
    if said.previous.is_some() && said.conversation {
        return both("conversation", "`conversation` and `previous_response_id` cannot both be given");
    }
    if said.background && said.store == Some(false) {
        return both(
            "background",
            "`background` needs `store`: a response that is not kept cannot be asked for",
        );
    }
    let mut stored =
        Stored { asked: body.clone(), said, from: Origin::Nowhere, detached: false, place: None };
    let mut whole = body;
    if let Some(previous) = stored.said.previous.as_deref() {
        let chain = load(exchange, previous).await?;
        (stored.from, whole) = continue_from(previous, &chain, whole)?;
        hold(exchange, &whole)?;
    }
    exchange.stored = Some(Box::new(stored));
    Ok(whole)
}

/// The conversation counts like a body that was sent.
fn hold(exchange: &mut Exchange, whole: &Bytes) -> Result<(), Box<Refusal>> {
    let (length, most) = (whole.len() as u64, exchange.gateway.max_body);
    if length > most {
        let message = format!(
            "with the conversation that it goes on from the body is larger than {most} bytes (`server.max_body`)"
        );
        return Err(Refusal::new(Code::RequestTooLarge, message));
    }
    match exchange.held.as_mut().is_none_or(|held| held.grow(length)) {
        true => Ok(()),
        false => Err(receive::overloaded()),
    }
}

fn bad(bad: BadRequest) -> Box<Refusal> {
    let mut refusal = Refusal::new(Code::InvalidRequest, bad.message);
    refusal.param = bad.param.map(Into::into);
    refusal.detail = bad.code;
    refusal
}

async fn load(exchange: &Exchange, previous: &str) -> Result<Vec<Kept>, Box<Refusal>> {
    if !is_id(previous) {
        return Err(no_previous(previous));
    }
    let environment = &exchange.caller.environment.name;
    exchange.gateway.shelf.chain(environment, previous).await.map_err(|error| away(&error))
}

/// Ids that somebody made up need no look.
fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(fits)
}

fn no_previous(id: &str) -> Box<Refusal> {
    let id: String = id.chars().take(LONGEST_ID).collect();
    Refusal::new(Code::PreviousResponseNotFound, format!("Previous response with id '{id}' not found."))
        .about("previous_response_id")
}

fn away(error: &ShelfError) -> Box<Refusal> {
    tracing::warn!(%error, "a stored response was needed and could not be had");
    Refusal::new(Code::ResponseStoreUnavailable, error.to_string()).after(std::time::Duration::from_secs(1))
}

/// Where the conversation is, and the request with all of it that is here.
fn continue_from(previous: &str, chain: &[Kept], body: Bytes) -> Result<(Origin, Bytes), Box<Refusal>> {
    let Some(latest) = chain.first() else { return Err(no_previous(previous)) };
    if let Some(provider) = &latest.provider {
        return Ok((Origin::Provider(provider.clone()), body));
    }
    if latest.running.is_some() {
        let message = format!("response `{previous}` is still being made; go on from it when it has ended");
        return Err(Refusal::new(Code::InvalidRequest, message).about("previous_response_id"));
    }
    let items = history_of(chain).ok_or_else(|| {
        let message = format!(
            "the conversation that `{previous}` goes on from is not whole any more: a response in it was deleted, has \
             expired or is kept elsewhere, or all of it is too large; send the conversation itself"
        );
        Refusal::new(Code::PreviousResponseNotFound, message).about("previous_response_id")
    })?;
    let before: Vec<_> =
        items.iter().flat_map(|record| record.asked().into_iter().chain(record.output())).collect();
    Ok((Origin::Here, history::continued(&body, &before).map_err(bad)?))
}

/// What was said, oldest first; `None` when some of it is not here.
fn history_of(chain: &[Kept]) -> Option<Vec<history::Stored<'_>>> {
    let oldest = chain.last()?;
    if oldest.previous.is_some() || chain.iter().any(|kept| kept.provider.is_some()) {
        return None;
    }
    chain.iter().rev().map(|kept| history::Stored::read(&kept.content)).collect()
}

fn speaks(provider: &Provider) -> bool {
    provider.responses.is_some()
}

/// Leaves the attempts of a plan that can serve what is asked, and says who makes a response in the background.
pub(crate) fn narrow(exchange: &mut Exchange, plan: &mut Plan) -> Result<(), Box<Refusal>> {
    let Some(mut stored) = exchange.stored.take() else { return Ok(()) };
    let narrowed = narrow_to(exchange, &mut stored, plan);
    exchange.stored = Some(stored);
    narrowed
}

fn narrow_to(exchange: &Exchange, stored: &mut Stored, plan: &mut Plan) -> Result<(), Box<Refusal>> {
    let model = &exchange.asked.model;
    let previous = stored.said.previous.as_deref().unwrap_or_default();
    let refuse =
        |param: &'static str, message: String| Err(Refusal::new(Code::InvalidRequest, message).about(param));
    match (&stored.from, exchange.operation) {
        (Origin::Provider(name), _) => {
            plan.attempts
                .retain(|step| step.deployment.provider.name == *name && speaks(&step.deployment.provider));
            if plan.attempts.is_empty() {
                let message = format!(
                    "response `{previous}` is kept by provider `{name}`, which does not serve model `{model}`; ask a \
                     model of `{name}`, or send the conversation itself"
                );
                return refuse("previous_response_id", message);
            }
        }
        (Origin::Here, Operation::Raw(Raw::Compact)) => {
            let message =
                format!("response `{previous}` is kept by the gateway, which compacts nothing itself");
            return refuse("previous_response_id", message);
        }
        (Origin::Here, Operation::Raw(_)) => plan.attempts.clear(),
        _ => {}
    }
    if stored.said.conversation {
        plan.attempts.retain(|step| speaks(&step.deployment.provider));
        if plan.attempts.is_empty() && exchange.operation == Operation::Responses {
            let message = format!(
                "`conversation` is kept by providers that speak the Responses API, and no provider of model `{model}` \
                 does; go on with `previous_response_id`, or send the conversation itself"
            );
            return refuse("conversation", message);
        }
    }
    if stored.said.background && exchange.operation == Operation::Responses {
        let natively = stored.from != Origin::Here
            && plan.attempts.first().is_some_and(|first| speaks(&first.deployment.provider));
        if natively {
            plan.attempts.retain(|step| speaks(&step.deployment.provider));
        } else if exchange.asked.stream {
            let message = format!(
                "a response of model `{model}` cannot be made in the background and streamed too; leave one of them out"
            );
            return refuse("stream", message);
        }
        stored.detached = !natively;
        stored.place = Some(exchange.gateway.running.place(&exchange.caller.key.record.id)?);
    }
    Ok(())
}

/// Takes from a request what the gateway does itself, before it is written for a provider of another dialect.
pub(crate) fn adapt(exchange: &Exchange, request: &mut blocks::Request) {
    let Some(stored) = exchange.stored.as_deref() else { return };
    request.extra.retain(|(name, _)| name != "background");
    request.ours = Ours { previous: stored.said.previous.clone(), background: stored.said.background };
    if request.store == Some(true) {
        // It is kept here; no provider is asked to.
        request.store = None;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use policy::KeyId;

    fn kept(id: &str, previous: Option<&str>, provider: Option<&str>) -> Kept {
        let content = history::Stored::write(
            &format!(r#"[{{"role":"user","content":"to {id}"}}]"#),
            format!(
                r#"{{"id":"{id}","output":[{{"type":"message","role":"assistant","content":"from {id}"}}]}}"#
            )
            .as_bytes(),
        );
        Kept {
            environment: "dev".into(),
            id: id.into(),
            previous: previous.map(Into::into),
            key: KeyId("k".into()),
            provider: provider.map(Into::into),
            model: "m".into(),
            background: false,
            running: None,
            content: content.into(),
        }
    }

    #[test]
    fn a_conversation_is_put_before_a_request_oldest_first() {
        let chain = [kept("b", Some("a"), None), kept("a", None, None)];
        let body = Bytes::from_static(br#"{"model":"m","previous_response_id":"b","input":"now"}"#);
        let (from, body) = continue_from("b", &chain, body).unwrap();
        assert_eq!(from, Origin::Here);
        let text = String::from_utf8(body.to_vec()).unwrap();
        let places: Vec<_> =
            ["to a", "from a", "to b", "from b", "now"].iter().map(|said| text.find(said).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(!text.contains("previous_response_id"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let body = || Bytes::from_static(br#"{"model":"m","input":"x"}"#);
        let code = |chain: &[Kept]| continue_from("b", chain, body()).unwrap_err().code;
        assert_eq!(code(&[]), Code::PreviousResponseNotFound);
        assert_eq!(code(&[kept("b", Some("a"), None)]), Code::PreviousResponseNotFound);
        assert_eq!(
            code(&[kept("b", Some("a"), None), kept("a", None, Some("openai"))]),
            Code::PreviousResponseNotFound
        );
        let bound = continue_from("b", &[kept("b", None, Some("openai"))], body()).unwrap();
        assert_eq!(bound, (Origin::Provider("openai".into()), body()));
        let mut running = kept("b", None, None);
        running.running = Some(policy::Timestamp::from_micros(1));
        assert_eq!(code(&[running]), Code::InvalidRequest);
    }

    #[test]
    fn ids_are_plain_words() {
        assert!(is_id("resp_0f09a27-5409"));
        for bad in ["", "a/b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}
