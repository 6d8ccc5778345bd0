//! The URL table: what is served where, grouped by the SDK that asks.
//!
//! Every dialect has its own paths, and a mount of its own (`/openai`, `/anthropic`, `/gemini`) for clients whose paths
//! would collide: `GET /v1/models` is asked by three SDKs that want three different answers. A path says only what is
//! asked; keys, limits and accounting see the operation and never the path.

use http::{HeaderMap, Method};
use providers::request::{Operation, Raw};

/// What a path asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint<'a> {
    Call(Call<'a>),
    /// A session over a WebSocket.
    Session(Call<'a>),
    Models(Option<Mount>),
    Model(Option<Mount>, &'a str),
    Health,
    Ready,
    Metrics,
    /// The console and the admin API.
    Aside,
    WrongMethod,
    Unknown,
}

/// A call of a model, as far as the path tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    /// Google's and Azure's paths name the model (or deployment), `/passthrough/` the provider, perhaps escaped.
    pub(crate) model: Option<&'a str>,
    /// Google's paths say whether to stream.
    pub(crate) stream: Option<bool>,
    /// Behind the version (or the provider), for what is relayed to the same path of a provider.
    pub(crate) rest: &'a str,
}

impl<'a> Call<'a> {
    pub(crate) const fn of(operation: Operation) -> Self {
        Self { operation, model: None, stream: None, rest: "" }
    }

    const fn raw(raw: Raw, rest: &'a str) -> Self {
        Self { rest, ..Self::of(Operation::Raw(raw)) }
    }
}

/// A mount that says whose SDK asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mount {
    OpenAi,
    Anthropic,
    Gemini,
}

/// What is served where. Whatever is not of the data plane goes to the console and the admin API.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Endpoint<'a> {
    let get = |endpoint| {
        if method == Method::GET || method == Method::HEAD { endpoint } else { Endpoint::WrongMethod }
    };
    match path {
        "/healthz" => return get(Endpoint::Health),
        "/readyz" => return get(Endpoint::Ready),
        "/metrics" => return get(Endpoint::Metrics),
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/passthrough/") {
        return passthrough(method, rest);
    }
    let (mount, rest) = unmount(path);
    match rest {
        "/rerank" if mount.is_none() => return post(method, Call::raw(Raw::Rerank, "rerank")),
        "/v2/rerank" if mount.is_none() => return post(method, Call::raw(Raw::RerankV2, "rerank")),
        "/v2/embed" if mount.is_none() => return post(method, Call::raw(Raw::Embed, "")),
        _ => {}
    }
    let google = mount.is_none_or(|mount| mount == Mount::Gemini);
    if google && let Some(rest) = rest.strip_prefix("/upload").and_then(version) {
        return google_upload(method, rest.1).unwrap_or(Endpoint::Unknown);
    }
    let relays = mount.is_none_or(|mount| mount == Mount::OpenAi);
    let endpoint = match version(rest) {
        Some(("v1", "realtime")) if relays => Some(session(method)),
        Some(("v1", "responses")) if relays && method == Method::GET => {
            Some(Endpoint::Session(Call::of(Operation::Responses)))
        }
        Some(("v1", rest)) if mount == Some(Mount::Gemini) && is_below(rest, "files") => {
            Some(whole_family(method, Raw::GoogleFiles, rest))
        }
        Some(("v1", rest)) => openai(method, rest)
            .or_else(|| if relays { openai_raw(method, rest) } else { None })
            .or_else(|| anthropic(method, rest))
            .or_else(|| gemini(method, rest))
            .or_else(|| models(method, mount, rest)),
        Some((_, rest)) if google && is_below(rest, "files") => {
            Some(whole_family(method, Raw::GoogleFiles, rest))
        }
        Some((_, rest)) => gemini(method, rest).or_else(|| models(method, Some(Mount::Gemini), rest)),
        None if mount == Some(Mount::OpenAi) && rest == "/realtime" => Some(session(method)),
        None if mount == Some(Mount::OpenAi) => azure(method, rest),
        None if mount.is_none() => return Endpoint::Aside,
        None => None,
    };
    endpoint.unwrap_or(Endpoint::Unknown)
}

fn unmount(path: &str) -> (Option<Mount>, &str) {
    for (name, mount) in
        [("/openai", Mount::OpenAi), ("/anthropic", Mount::Anthropic), ("/gemini", Mount::Gemini)]
    {
        if let Some(rest) = path.strip_prefix(name)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return (Some(mount), rest);
        }
    }
    (None, path)
}

/// `/v1/x` is `v1` and `x`.
fn version(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    let (version, rest) = path.split_once('/').unwrap_or((path, ""));
    ["v1", "v1beta", "v1beta1"].contains(&version).then_some((version, rest))
}

fn post<'a>(method: &Method, call: Call<'a>) -> Endpoint<'a> {
    if method == Method::POST { Endpoint::Call(call) } else { Endpoint::WrongMethod }
}

fn session<'a>(method: &Method) -> Endpoint<'a> {
    if method == Method::GET {
        Endpoint::Session(Call::of(Operation::Raw(Raw::Realtime)))
    } else {
        Endpoint::WrongMethod
    }
}

fn openai<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    Some(post(method, Call::of(openai_operation(rest)?)))
}

fn openai_operation(rest: &str) -> Option<Operation> {
    match rest {
        "chat/completions" => Some(Operation::Chat),
        "completions" => Some(Operation::Completions),
        "embeddings" => Some(Operation::Embeddings),
        "responses" => Some(Operation::Responses),
        _ => None,
    }
}

fn openai_raw<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    if let Some(raw) = openai_raw_operation(rest) {
        return Some(post(method, Call::raw(raw, rest)));
    }
    if let Some(kept) = rest.strip_prefix("responses/") {
        return stored_response(method, kept).map(|takes| match takes {
            true => Endpoint::Call(Call::raw(Raw::StoredResponses, rest)),
            false => Endpoint::WrongMethod,
        });
    }
    openai_family(method, rest)
}

/// What an account keeps.
fn openai_family<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    let raw = match rest.split('/').next()? {
        // A file that is sent in parts.
        "files" | "uploads" => Raw::Files,
        "batches" => Raw::Batches,
        "videos" => Raw::Videos,
        _ => return None,
    };
    Some(whole_family(method, raw, rest))
}

/// Whether what is served of a stored response takes this method; `None` where nothing is served.
fn stored_response(method: &Method, rest: &str) -> Option<bool> {
    let read = [Method::GET, Method::HEAD].contains(method);
    match rest.split_once('/') {
        None if !rest.is_empty() => Some(read || method == Method::DELETE),
        Some((id, "cancel")) if !id.is_empty() => Some(method == Method::POST),
        Some((id, "input_items")) if !id.is_empty() => Some(read),
        _ => None,
    }
}

/// The paths that name a model and are no conversation.
fn openai_raw_operation(rest: &str) -> Option<Raw> {
    match rest {
        "responses/input_tokens" => Some(Raw::InputTokens),
        "responses/compact" => Some(Raw::Compact),
        "moderations" => Some(Raw::Moderations),
        "rerank" => Some(Raw::Rerank),
        "images/generations" => Some(Raw::Images),
        "images/edits" => Some(Raw::ImageEdits),
        "images/variations" => Some(Raw::ImageVariations),
        "audio/speech" => Some(Raw::Speech),
        "audio/transcriptions" => Some(Raw::Transcriptions),
        "audio/translations" => Some(Raw::Translations),
        _ => None,
    }
}

/// `/passthrough/{provider}/…`, whatever the method.
fn passthrough<'a>(method: &Method, rest: &'a str) -> Endpoint<'a> {
    let (provider, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if provider.is_empty() {
        return Endpoint::Unknown;
    }
    if [Method::CONNECT, Method::TRACE].contains(method) {
        return Endpoint::WrongMethod;
    }
    Endpoint::Call(Call { model: Some(provider), ..Call::raw(Raw::Passthrough, rest) })
}

/// `/openai/deployments/{deployment}/chat/completions?api-version=…`, as the classic Azure client asks.
fn azure<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    let Some(rest) = rest.strip_prefix("/deployments/") else {
        // What is no model's: `/openai/files?api-version=…`.
        return openai_family(method, rest.strip_prefix('/')?);
    };
    // Older clients leave the slashes of a name such as `openai/gpt` as they are, so the end says where the name ends.
    let mut ends = rest.match_indices('/').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    let (deployment, call) = ends.find_map(|(deployment, end)| match openai_operation(end) {
        Some(operation) => Some((deployment, Call::of(operation))),
        None => Some((deployment, Call::raw(openai_raw_operation(end)?, end))),
    })?;
    (!deployment.is_empty()).then(|| post(method, Call { model: Some(deployment), ..call }))
}

fn anthropic<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    match rest {
        "messages" => Some(post(method, Call::of(Operation::Messages))),
        "messages/count_tokens" => Some(post(method, Call::raw(Raw::CountTokens, ""))),
        _ if is_below(rest, "messages/batches") => Some(whole_family(method, Raw::MessageBatches, rest)),
        // Without the mount it is a header that tells Anthropic's files from OpenAI's: see `as_asked`.
        _ if is_below(rest, "files") => Some(whole_family(method, Raw::AnthropicFiles, rest)),
        _ => None,
    }
}

/// A file is announced at `upload/v1beta/files`, and its pieces are sent to the address that is told then.
fn google_upload<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    if !is_below(rest, "files") {
        return None;
    }
    let takes = [Method::POST, Method::PUT, Method::GET].contains(method);
    Some(if takes { Endpoint::Call(Call::raw(Raw::GoogleUpload, rest)) } else { Endpoint::WrongMethod })
}

fn is_below(rest: &str, family: &str) -> bool {
    rest.strip_prefix(family).is_some_and(|more| more.is_empty() || more.starts_with('/'))
}

/// Everything that there is of a kind: read, made, deleted.
fn whole_family<'a>(method: &Method, raw: Raw, rest: &'a str) -> Endpoint<'a> {
    let takes = [Method::GET, Method::HEAD, Method::POST, Method::DELETE].contains(method);
    if takes { Endpoint::Call(Call::raw(raw, rest)) } else { Endpoint::WrongMethod }
}

/// What is asked where a path has one meaning for OpenAI's clients and another for Anthropic's.
pub(crate) fn as_asked(operation: Operation, headers: &HeaderMap) -> Operation {
    match operation {
        Operation::Raw(Raw::Files) if headers.contains_key("anthropic-version") => {
            Operation::Raw(Raw::AnthropicFiles)
        }
        Operation::Raw(Raw::Files) if headers.contains_key("x-goog-api-client") => {
            Operation::Raw(Raw::GoogleFiles)
        }
        other => other,
    }
}

/// `models/{model}:generateContent` and the other verbs. A client that takes a name with a slash for a whole resource
/// leaves `models/` out (`@ai-sdk/google` does).
fn gemini<'a>(method: &Method, rest: &'a str) -> Option<Endpoint<'a>> {
    let rest = of_a_project(rest);
    let named = rest.strip_prefix("models/").or_else(|| rest.contains('/').then_some(rest));
    let (model, verb) = named?.rsplit_once(':')?;
    let generate = |stream| Call { stream: Some(stream), ..Call::of(Operation::Gemini) };
    let call = match verb {
        "generateContent" => generate(false),
        "streamGenerateContent" => generate(true),
        "countTokens" => Call::raw(Raw::GeminiCountTokens, ""),
        "embedContent" => Call::raw(Raw::EmbedContent, ""),
        "batchEmbedContents" => Call::raw(Raw::BatchEmbedContents, ""),
        _ => return None,
    };
    let call = Call { model: Some(model), ..call };
    (!model.is_empty()).then(|| post(method, call))
}

/// Google's cloud writes `projects/{project}/locations/{place}/publishers/google/models/{model}`, or without the first two
/// where a key stands for them; what another vendor publishes there is `{vendor}/{model}` here, which is how its SDK came
/// to that path.
fn of_a_project(rest: &str) -> &str {
    let mut parts = rest.splitn(5, '/');
    let within = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("projects"), Some(_), Some("locations"), Some(_), Some(within)) => within,
        _ => rest,
    };
    within.strip_prefix("publishers/google/").unwrap_or(within)
}

fn models<'a>(method: &Method, mount: Option<Mount>, rest: &'a str) -> Option<Endpoint<'a>> {
    let endpoint = match rest {
        "models" => Endpoint::Models(mount),
        _ => match rest.strip_prefix("models/") {
            Some(model) if !model.is_empty() => Endpoint::Model(mount, model),
            _ => return None,
        },
    };
    Some(if method == Method::GET || method == Method::HEAD { endpoint } else { Endpoint::WrongMethod })
}

/// Whose SDK asks where the path does not say: each has headers that only it sends.
pub(crate) fn asker(mount: Option<Mount>, headers: &HeaderMap, query: Option<&str>) -> Mount {
    mount.unwrap_or_else(|| {
        let has = |name: &str| headers.contains_key(name);
        if has("anthropic-version") {
            Mount::Anthropic
        } else if has("x-goog-api-key")
            || has("x-goog-api-client")
            || query.is_some_and(|query| query.split('&').any(|part| part.starts_with("key=")))
        {
            Mount::Gemini
        } else {
            Mount::OpenAi
        }
    })
}

/// Whose SDK asks at any path, also at one where nothing is served.
pub(crate) fn asker_at(path: &str, headers: &HeaderMap, query: Option<&str>) -> Mount {
    let (mount, rest) = unmount(path);
    let google = version(rest).is_some_and(|(version, _)| version != "v1");
    asker(mount.or(google.then_some(Mount::Gemini)), headers, query)
}

/// The name of the model that a path says.
pub(crate) fn model_name(said: &str) -> String {
    let name = unescape(said);
    let published = name.strip_prefix("publishers/").and_then(|name| name.split_once("/models/"));
    published.map(|(vendor, model)| format!("{vendor}/{model}")).unwrap_or(name)
}

/// Undoes `%2F` and its like; what is not an escape stays.
pub(crate) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(path: &'a str) -> Option<Call<'a>> {
        match find(&Method::POST, path) {
            Endpoint::Call(call) => Some(call),
            _ => None,
        }
    }

    #[test]
    fn every_dialect_is_found_at_its_paths_and_at_its_mount() {
        for (path, operation) in [
            ("/v1/chat/completions", Operation::Chat),
            ("/openai/v1/chat/completions", Operation::Chat),
            ("/v1/responses", Operation::Responses),
            ("/openai/v1/embeddings", Operation::Embeddings),
            ("/v1/messages", Operation::Messages),
            ("/anthropic/v1/messages", Operation::Messages),
            ("/v1beta/models/g:generateContent", Operation::Gemini),
            ("/v1/models/g:streamGenerateContent", Operation::Gemini),
            ("/gemini/v1beta1/models/openai/gpt:generateContent", Operation::Gemini),
            ("/openai/deployments/gpt/chat/completions", Operation::Chat),
            ("/v1/moderations", Operation::Raw(Raw::Moderations)),
            ("/rerank", Operation::Raw(Raw::Rerank)),
            ("/v1/rerank", Operation::Raw(Raw::Rerank)),
            ("/v2/rerank", Operation::Raw(Raw::RerankV2)),
            ("/v2/embed", Operation::Raw(Raw::Embed)),
            ("/openai/v1/images/edits", Operation::Raw(Raw::ImageEdits)),
            ("/openai/deployments/w/audio/transcriptions", Operation::Raw(Raw::Transcriptions)),
            ("/v1/messages/batches", Operation::Raw(Raw::MessageBatches)),
            ("/anthropic/v1/messages/batches/b/cancel", Operation::Raw(Raw::MessageBatches)),
            ("/anthropic/v1/files", Operation::Raw(Raw::AnthropicFiles)),
            ("/v1/responses/resp_1/cancel", Operation::Raw(Raw::StoredResponses)),
            ("/openai/v1/responses/input_tokens", Operation::Raw(Raw::InputTokens)),
            ("/v1/responses/compact", Operation::Raw(Raw::Compact)),
            ("/v1/files", Operation::Raw(Raw::Files)),
            ("/v1beta/files", Operation::Raw(Raw::GoogleFiles)),
            ("/gemini/v1/files/f", Operation::Raw(Raw::GoogleFiles)),
            ("/upload/v1beta/files", Operation::Raw(Raw::GoogleUpload)),
            ("/gemini/upload/v1/files", Operation::Raw(Raw::GoogleUpload)),
            ("/v1/uploads/u/parts", Operation::Raw(Raw::Files)),
            ("/openai/files", Operation::Raw(Raw::Files)),
            ("/openai/batches/b/cancel", Operation::Raw(Raw::Batches)),
            ("/v1/batches/b/cancel", Operation::Raw(Raw::Batches)),
            ("/v1/videos/v/remix", Operation::Raw(Raw::Videos)),
            ("/passthrough/openai/assistants", Operation::Raw(Raw::Passthrough)),
            ("/anthropic/v1/messages/count_tokens", Operation::Raw(Raw::CountTokens)),
            ("/v1beta/openai/gpt:generateContent", Operation::Gemini),
            ("/v1beta/models/g:countTokens", Operation::Raw(Raw::GeminiCountTokens)),
            ("/v1beta/models/g:batchEmbedContents", Operation::Raw(Raw::BatchEmbedContents)),
        ] {
            assert_eq!(call(path).map(|call| call.operation), Some(operation), "{path}");
        }
        assert_eq!(call("/v1/models/a/b:streamGenerateContent").and_then(|call| call.model), Some("a/b"));
        assert_eq!(call("/v1beta/a/b:streamGenerateContent").and_then(|call| call.model), Some("a/b"));
        assert_eq!(call("/v1beta/models/g:streamGenerateContent").and_then(|call| call.stream), Some(true));
        let deployment = |path| call(path).and_then(|call| call.model);
        assert_eq!(deployment("/openai/deployments/d/completions"), Some("d"));
        assert_eq!(deployment("/openai/deployments/openai/gpt/chat/completions"), Some("openai/gpt"));
    }

    #[test]
    fn paths_of_the_data_plane_never_reach_the_console() {
        let get = |path| find(&Method::GET, path);
        assert_eq!(get("/v1/chat/completions"), Endpoint::WrongMethod);
        assert_eq!(get("/v1/models/openai/gpt-5-mini"), Endpoint::Model(None, "openai/gpt-5-mini"));
        assert_eq!(get("/anthropic/v1/models"), Endpoint::Models(Some(Mount::Anthropic)));
        assert_eq!(get("/v1beta/models"), Endpoint::Models(Some(Mount::Gemini)));
        for unknown in [
            "/v1/anything",
            "/v1",
            "/openai",
            "/anthropic/x",
            "/v1beta/models/g:unknownVerb",
            "/openai/deployments/",
            "/anthropic/v1/filesystem",
            "/v1/messages/batchess",
            "/passthrough/",
            "/v1/filesystem",
            "/v1beta/filesystem",
            "/upload/v1beta/models",
            "/openai/upload/v1beta/files",
            "/v1/responses/",
            "/v1/responses/resp_1",
            "/v1/responses/resp_1/steps",
            "/anthropic/v1/responses/resp_1/cancel",
        ] {
            assert!(
                matches!(find(&Method::POST, unknown), Endpoint::Unknown | Endpoint::WrongMethod),
                "{unknown}"
            );
        }
        for aside in ["/api/keys", "/", "/openaix/v1", "/assets/a.js"] {
            assert_eq!(get(aside), Endpoint::Aside, "{aside}");
        }
    }

    #[test]
    fn a_stored_response_is_read_and_deleted_at_its_own_path() {
        let stored = |method, path| matches!(find(&method, path), Endpoint::Call(call) if call.operation == Operation::Raw(Raw::StoredResponses));
        assert!(stored(Method::GET, "/v1/responses/resp_1"));
        assert!(stored(Method::DELETE, "/openai/v1/responses/resp_1"));
        assert!(stored(Method::GET, "/v1/responses/resp_1/input_items"));
        assert_eq!(find(&Method::GET, "/v1/responses/resp_1/cancel"), Endpoint::WrongMethod);
        assert!(matches!(find(&Method::GET, "/v1/responses"), Endpoint::Session(_)));
        assert_eq!(find(&Method::DELETE, "/v1/responses"), Endpoint::WrongMethod);
    }

    #[test]
    fn a_wrong_path_is_answered_in_the_words_of_who_asks() {
        let asker = |path| asker_at(path, &HeaderMap::new(), None);
        assert_eq!(asker("/anthropic/v1/x"), Mount::Anthropic);
        assert_eq!(asker("/v1beta/models/g:unknownVerb"), Mount::Gemini);
        assert_eq!(asker("/gemini/v1/x"), Mount::Gemini);
        assert_eq!(asker("/v1/x"), Mount::OpenAi);
    }

    #[test]
    fn googles_cloud_names_the_same_models() {
        for (path, name) in [
            ("/v1beta1/projects/p/locations/us-central1/publishers/google/models/g:generateContent", "g"),
            ("/v1beta1/publishers/google/models/g:streamGenerateContent", "g"),
            ("/v1/projects/p/locations/global/publishers/openai/models/gpt-5:countTokens", "openai/gpt-5"),
            ("/v1beta1/publishers/anthropic/models/a%2Fb:generateContent", "anthropic/a/b"),
            ("/v1beta/models/openai/gpt-5:generateContent", "openai/gpt-5"),
        ] {
            assert_eq!(
                call(path).and_then(|call| call.model).map(model_name).as_deref(),
                Some(name),
                "{path}"
            );
        }
        assert_eq!(
            call("/v1beta1/projects/p/locations/l:generateContent").and_then(|call| call.model),
            Some("projects/p/locations/l")
        );
    }

    #[test]
    fn escapes_in_names_are_undone() {
        assert_eq!(unescape("openai%2Fgpt-5"), "openai/gpt-5");
        assert_eq!(unescape("a%zz%"), "a%zz%");
    }
}
