//! Which of our vendors another gateway means by a name, a number or an address.

use policy::catalogue::{Vendor, built_in};

/// By the names that LiteLLM (before the first slash of a model), Bifrost and Portkey use.
pub(super) fn by_name(name: &str) -> Option<&'static Vendor> {
    let ours = match name {
        "text-completion-openai" => "openai",
        "claude" => "anthropic",
        "google" | "google_ai_studio" => "gemini",
        "azure" | "azure_text" | "azure-openai" => "azure",
        "together_ai" | "together-ai" => "together",
        "fireworks_ai" | "fireworks-ai" => "fireworks",
        "mistral-ai" | "mistralai" => "mistral",
        "perplexity-ai" => "perplexity",
        "x-ai" => "xai",
        "ollama_chat" => "ollama",
        "hosted_vllm" => "vllm",
        "lm_studio" | "lmstudio" => "lm-studio",
        "litellm_proxy" => "litellm",
        "cohere_chat" => "cohere",
        "jina_ai" => "jina",
        "dashscope" => "qwen",
        // Their default address is that outside China.
        "moonshot" => "kimi",
        "volcengine" => "doubao",
        "zhipu" => "glm",
        "sgl" => "sglang",
        "demo" => return None,
        name => name,
    };
    built_in().vendor(ours)
}

/// By the number of a channel: the two programs went different ways after 25.
pub(super) fn by_channel(number: u64, new_api: bool) -> Option<&'static Vendor> {
    let name = match (number, new_api) {
        (1, _) => "openai",
        (3, _) => "azure",
        (4, true) | (30, false) => "ollama",
        (14, _) => "anthropic",
        (16, false) | (26, true) => "glm",
        (17, _) => "qwen",
        (20, _) => "openrouter",
        (23, _) => "hunyuan",
        (24, _) => "gemini",
        (25, _) => "moonshot",
        (27, false) | (35, true) => "minimax-cn",
        (28, false) | (42, true) => "mistral",
        (29, false) => "groq",
        (32, false) => "stepfun",
        (35, false) | (34, true) => "cohere",
        (36, false) | (43, true) => "deepseek",
        (39, false) => "together",
        (40, false) | (45, true) => "doubao",
        (27, true) => "perplexity",
        (38, true) => "jina",
        (40, true) | (44, false) => "siliconflow",
        (46, true) | (47, false) => "ernie",
        (48, true) | (45, false) => "xai",
        _ => return None,
    };
    built_in().vendor(name)
}

/// By where it is, for vendors that are in one place.
pub(super) fn by_address(url: &str) -> Option<&'static Vendor> {
    let host = host(url)?;
    let at = |vendor: &&Vendor| {
        vendor.doors.iter().any(|door| door.origin.as_ref().is_some_and(|o| *o.host == *host))
    };
    built_in().vendors().iter().filter(|vendor| vendor.kind == policy::catalogue::Kind::Vendor).find(at)
}

/// The host of a URL, in lower case.
pub(super) fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty())
}

/// A base URL as ours is written: without a slash at the end, with the version where the other program adds it itself.
pub(super) fn base_url(written: &str, vendor: Option<&Vendor>, adds_version: bool) -> String {
    let base = written.trim().trim_end_matches('/');
    let base = base.strip_suffix("/chat/completions").unwrap_or(base);
    let path = base.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let openai = vendor.is_none_or(|vendor| vendor.dialect == policy::Dialect::OpenAi);
    let completed = vendor.is_some_and(|vendor| vendor.root_path.is_some());
    if openai && adds_version && path.is_none() && !completed {
        format!("{base}/v1")
    } else {
        base.to_owned()
    }
}
