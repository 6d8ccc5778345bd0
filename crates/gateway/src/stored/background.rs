//! A response that the gateway makes without its client: answered at once as `queued`, made by a task of its own, kept
//! when it is done.
//!
//! Bounded by number, for the process and for each key; limits, budgets and records are those of any call, since it
//! takes the same way. Its row says until when its maker vouches for it: a maker that died leaves a response that fails
//! by itself, and a response that was cancelled or deleted on another node is given up here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use parking_lot::Mutex;
use policy::{KeyId, Name};
use providers::dialects::Dialect;
use providers::dialects::responses::history::{self, Standing};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{away, keep};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::metrics::InFlight;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal};
use crate::shelf::{Kept, ShelfError};
use crate::{Gateway, dispatch, endpoints, headers, lanes};

/// Responses made in the background at once, in this process.
const MOST: usize = 256;
/// The same for one key.
const MOST_OF_A_KEY: usize = 64;
/// How long a maker vouches for a response without a word.
const LEASE: Duration = Duration::from_secs(60);
/// How often it says so again, and asks whether anybody wants it still.
const BEAT: Duration = Duration::from_secs(10);
/// Pauses between tries to put down an end that a database would not take.
const PAUSES: [u64; 5] = [0, 1, 2, 5, 10];

/// What is made in the background now.
pub(crate) struct Running {
    places: Arc<Semaphore>,
    of_key: Mutex<HashMap<KeyId, usize>>,
    by_id: Mutex<HashMap<(Name, Name), CancellationToken>>,
}

impl Default for Running {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), of_key: Mutex::default(), by_id: Mutex::default() }
    }
}

/// A place among them, given back when dropped.
pub(crate) struct Place {
    running: Arc<Running>,
    key: KeyId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_key = self.running.of_key.lock();
        if let Some(count) = of_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                of_key.remove(&self.key);
            }
        }
    }
}

impl Running {
    /// A place for one more.
    pub(super) fn place(self: &Arc<Self>, key: &KeyId) -> Result<Place, Box<Refusal>> {
        let full = |what: String| {
            let message =
                format!("{what} responses are made in the background, as many as may be; try again later");
            Err(Refusal::new(Code::Overloaded, message).after(Duration::from_secs(5)))
        };
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else { return full(MOST.to_string()) };
        let mut of_key = self.of_key.lock();
        let count = of_key.entry(key.clone()).or_default();
        if *count >= MOST_OF_A_KEY {
            return full(format!("{MOST_OF_A_KEY} of this key's"));
        }
        *count += 1;
        Ok(Place { running: Arc::clone(self), key: key.clone(), _permit: permit })
    }

    /// Ends the making of a response, if it is made here.
    pub(super) fn cancel(&self, environment: &Name, id: &Name) {
        if let Some(token) = self.by_id.lock().get(&(environment.clone(), id.clone())) {
            token.cancel();
        }
    }

    fn begin(&self, environment: &Name, id: &Name) -> CancellationToken {
        let token = CancellationToken::new();
        self.by_id.lock().insert((environment.clone(), id.clone()), token.clone());
        token
    }

    fn end(&self, environment: &Name, id: &Name) {
        self.by_id.lock().remove(&(environment.clone(), id.clone()));
    }
}

/// What outlives the exchange.
struct Made {
    gateway: Arc<Gateway>,
    environment: Name,
    id: Name,
    /// The items that were asked.
    items: String,
    /// The Response object while there is no answer.
    going: Vec<u8>,
    token: CancellationToken,
    _place: Option<Place>,
    /// A stop waits for it, until its end is put down.
    _busy: InFlight,
}

/// Answers at once, and lets the response be made.
pub(crate) async fn begin(
    mut exchange: Box<Exchange>,
    client: &HeaderMap,
    body: Bytes,
    plan: Plan,
    reservation: ledger::Reservation,
) -> Response<Body> {
    match prepare(&mut exchange, &body).await {
        Ok((made, queued)) => {
            let mut answer = Response::new(Body::whole(queued));
            let down = answer.headers_mut();
            down.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let now = exchange.gateway.clock.moment();
            headers::add_ours(&exchange, down, exchange.own_time(now, None));
            // Whoever polls for it must find a place; the number is bounded otherwise.
            exchange.leave_limits();
            exchange.http1 = false;
            let (gateway, client) = (Arc::clone(&made.gateway), client.clone());
            gateway.tasks.spawn("background-response", run(made, exchange, client, body, plan, reservation));
            answer
        }
        Err(refusal) => endpoints::refuse(&mut exchange, &refusal),
    }
}

/// Reads the request, so that what is wrong with it is told now, and puts down that it is being made.
async fn prepare(exchange: &mut Exchange, body: &Bytes) -> Result<(Made, Vec<u8>), Box<Refusal>> {
    lanes::parsed(exchange, Dialect::Responses, body)?;
    let queued = lanes::reply(exchange, |reply| history::without_answer(reply, Standing::Queued));
    let going = lanes::reply(exchange, |reply| history::without_answer(reply, Standing::Going));
    let id = history::Glance::of(&going).map(|glance| glance.id).unwrap_or_default();
    let Some(mut stored) = exchange.stored.take() else {
        return Err(Refusal::new(Code::InternalError, "nothing was asked to be kept"));
    };
    let place = stored.place.take();
    let content = keep::content(exchange, &stored, &going);
    let model = exchange.model_asked.clone();
    let kept = content.map(|content| Kept {
        background: true,
        running: Some(exchange.gateway.clock.now().plus(LEASE)),
        ..keep::kept(exchange, &stored, &id, model, content)
    });
    exchange.stored = Some(stored);
    let kept = kept.map_err(|error| too_large(&error))?;
    let (environment, id) = (kept.environment.clone(), kept.id.clone());
    let items = history::Stored::read(&kept.content).map(|stored| stored.input.get().to_owned());
    let gateway = Arc::clone(&exchange.gateway);
    keep::in_time(gateway.shelf.keep(kept)).await.map_err(|error| away(&error))?;
    let token = gateway.running.begin(&environment, &id);
    let items = items.unwrap_or_else(|| "[]".to_owned());
    let busy = gateway.metrics.begin();
    Ok((Made { gateway, environment, id, items, going, token, _place: place, _busy: busy }, queued))
}

fn too_large(error: &ShelfError) -> Box<Refusal> {
    let message = format!("a response in the background must be kept, and this one cannot be: {error}");
    Refusal::new(Code::InvalidRequest, message).about("background")
}

async fn run(
    made: Made,
    exchange: Box<Exchange>,
    client: HeaderMap,
    body: Bytes,
    plan: Plan,
    reservation: ledger::Reservation,
) {
    let answer = {
        // Dropped when nobody wants it: the call is then booked as one whose client has gone.
        let making = Box::pin(dispatch::dispatch(exchange, &client, body, plan, reservation));
        tokio::select! {
            answer = making => Some(answer),
            () = made.token.cancelled() => None,
            () = unwanted(&made) => None,
        }
    };
    made.gateway.running.end(&made.environment, &made.id);
    // Whoever cancelled or deleted it has put that down already.
    let Some(answer) = answer else { return };
    let content = made.content(answer);
    put_down(&made, content).await;
}

/// Vouches for the response, until nobody wants it any more.
async fn unwanted(made: &Made) {
    loop {
        tokio::time::sleep(BEAT).await;
        let until = made.gateway.clock.now().plus(LEASE);
        match made.gateway.shelf.renew(&made.environment, &made.id, until).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "a response in the background could not be vouched for"),
        }
    }
}

impl Made {
    /// Request and answer, or request and why there is none.
    fn content(&self, answer: Response<Body>) -> Bytes {
        let good = answer.status().is_success();
        let body = answer.into_body().into_whole().unwrap_or_default();
        let object = if good && self.items.len() + body.len() <= keep::LARGEST {
            body.to_vec()
        } else {
            let (code, message) = if good {
                ("server_error".to_owned(), "the answer is too large to be kept".to_owned())
            } else {
                told(&body)
            };
            history::ended(&self.going, "failed", Some((&code, &message)))
                .unwrap_or_else(|| self.going.clone())
        };
        history::Stored::write(&self.items, &object).into()
    }
}

/// Code and message of an error as OpenAI's clients get it.
fn told(body: &[u8]) -> (String, String) {
    #[derive(Default, Deserialize)]
    struct Answer {
        #[serde(default)]
        error: Told,
    }
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    let told = serde_json::from_slice::<Answer>(body).unwrap_or_default().error;
    let message = told.message.unwrap_or_else(|| "the provider failed without saying why".to_owned());
    (told.code.unwrap_or_else(|| "server_error".to_owned()), message)
}

async fn put_down(made: &Made, content: Bytes) {
    let shelf = &made.gateway.shelf;
    for pause in PAUSES {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            () = made.gateway.tasks.stopping() => {}
        }
        match shelf.finish(&made.environment, &made.id, content.clone()).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "the end of a response in the background waits"),
        }
    }
    tracing::error!("the end of a response in the background is lost; it will be told as failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_its_own_places_and_gives_them_back() {
        let running = Arc::new(Running::default());
        let (mine, other) = (KeyId("mine".into()), KeyId("other".into()));
        let places: Vec<_> = (0..MOST_OF_A_KEY).map(|_| running.place(&mine)).collect();
        assert!(places.iter().all(Result::is_ok));
        assert!(running.place(&mine).is_err_and(|refusal| refusal.code == Code::Overloaded));
        assert!(running.place(&other).is_ok());
        drop(places);
        assert!(running.place(&mine).is_ok());
        assert!(running.of_key.lock().is_empty());
    }

    #[test]
    fn an_error_is_told_with_its_code() {
        let body = br#"{"error":{"message":"no","type":"t","code":"upstream_error","param":null}}"#;
        assert_eq!(told(body), ("upstream_error".to_owned(), "no".to_owned()));
        assert_eq!(told(b"<html>").0, "server_error");
    }
}
