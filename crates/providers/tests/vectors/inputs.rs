//! One request for each feature of each dialect, and the answers.

use providers::vectors::Shape::{self, Cohere, Gemini, Jina, OpenAi};

pub(crate) const ASKS: [(Shape, &str, &str); 30] = [
    (OpenAi, "a text", r#"{"model":"m","input":"h\u00e9 \"x\""}"#),
    (
        OpenAi,
        "a batch in base64, as OpenAI's SDK asks",
        r#"{"model":"m","input":["a","b"],"encoding_format":"base64"}"#,
    ),
    (
        OpenAi,
        "length, user and fallbacks",
        r#"{"model":"m","models":["n"],"input":["a","b"],"dimensions":2,"user":"u","encoding_format":"float"}"#,
    ),
    (OpenAi, "tokens", r#"{"model":"m","input":[1,2,3]}"#),
    (OpenAi, "a batch of tokens", r#"{"model":"m","input":[[1,2],[3]]}"#),
    (OpenAi, "an unknown member", r#"{"model":"m","input":["a","b"],"odd":{"x":1},"none":null}"#),
    (OpenAi, "nothing", r#"{"model":"m","input":[]}"#),
    (OpenAi, "another type", r#"{"model":"m","input":{"a":1}}"#),
    (OpenAi, "an unknown encoding", r#"{"model":"m","input":"a","encoding_format":"gzip"}"#),
    (
        Jina,
        "everything",
        r#"{"model":"m","input":["a","b"],"task":"retrieval.passage","dimensions":2,"truncate":true,"embedding_type":"float","late_chunking":true}"#,
    ),
    (
        Jina,
        "a picture",
        r#"{"model":"m","task":"retrieval.query","input":[{"text":"a"},{"image":"data:image/png;base64,QUJD"}]}"#,
    ),
    (
        Jina,
        "grouping, in base64",
        r#"{"model":"m","input":["a","b"],"task":"separation","embedding_type":"base64","truncate":false}"#,
    ),
    (Jina, "a task that only it has", r#"{"model":"m","input":["a","b"],"task":"code.passage"}"#),
    (
        Jina,
        "packed bits",
        r#"{"model":"m","input":["a","b"],"task":"classification","embedding_type":"binary"}"#,
    ),
    (Jina, "an item of no kind", r#"{"model":"m","task":"x","input":[{"text":"a","image":"b"}]}"#),
    (Gemini, "one", r#"{"content":{"parts":[{"text":"a"}]},"taskType":"CLUSTERING"}"#),
    (
        Gemini,
        "a batch",
        r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2},{"model":"models/m","content":{"parts":[{"text":"b"}]},"taskType":"RETRIEVAL_DOCUMENT","outputDimensionality":2}]}"#,
    ),
    (
        Gemini,
        "no purpose",
        r#"{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}"#,
    ),
    (
        Gemini,
        "a purpose that only it has",
        r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"taskType":"FACT_VERIFICATION"},{"content":{"parts":[{"text":"b"}]},"taskType":"FACT_VERIFICATION"}]}"#,
    ),
    (
        Gemini,
        "likeness",
        r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"taskType":"SEMANTIC_SIMILARITY"},{"content":{"parts":[{"text":"b"}]},"taskType":"SEMANTIC_SIMILARITY"}]}"#,
    ),
    (
        Gemini,
        "a text and a picture in one",
        r#"{"content":{"parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"QUJD"}}]}}"#,
    ),
    (
        Gemini,
        "two purposes in one batch",
        r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"taskType":"CLUSTERING"},{"content":{"parts":[{"text":"b"}]}}]}"#,
    ),
    (
        Cohere,
        "texts",
        r#"{"model":"m","texts":["a","b"],"input_type":"search_document","embedding_types":["float"],"truncate":"END","output_dimension":2}"#,
    ),
    (
        Cohere,
        "both writings",
        r#"{"model":"m","texts":["a","b"],"input_type":"search_query","embedding_types":["float","base64"],"truncate":"NONE"}"#,
    ),
    (
        Cohere,
        "packed bits",
        r#"{"model":"m","texts":["a","b"],"input_type":"classification","embedding_types":["ubinary"]}"#,
    ),
    (
        Cohere,
        "bytes",
        r#"{"model":"m","texts":["a","b"],"input_type":"clustering","embedding_types":["int8"],"truncate":"START","priority":3}"#,
    ),
    (
        Cohere,
        "a picture",
        r#"{"model":"m","images":["data:image/png;base64,QUJD"],"input_type":"image","embedding_types":["float"]}"#,
    ),
    (
        Cohere,
        "mixed",
        r#"{"model":"m","inputs":[{"content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]},{"content":[{"type":"text","text":"b"}]}],"input_type":"search_document","embedding_types":["float"]}"#,
    ),
    (Cohere, "two kinds of input", r#"{"model":"m","texts":["a"],"images":["b"],"input_type":"image"}"#),
    (
        Cohere,
        "a type that is none",
        r#"{"model":"m","texts":["a"],"input_type":"image","embedding_types":["f64"]}"#,
    ),
];

/// Answers with two vectors: as numbers, in the other writing, and without counts.
pub(crate) const ANSWERS: [(Shape, &str, &str); 9] = [
    (
        OpenAi,
        "told",
        r#"{"object":"list","data":[{"object":"embedding","index":1,"embedding":[3.5,-4e-2]},{"object":"embedding","index":0,"embedding":[0.1,2]}],"model":"m-2","usage":{"prompt_tokens":5,"total_tokens":5}}"#,
    ),
    (
        OpenAi,
        "base64",
        r#"{"object":"list","data":[{"index":0,"embedding":"AACAPwAAAEA="},{"index":1,"embedding":"AABAQAAAgEA="}],"usage":{"prompt_tokens":0,"total_tokens":0}}"#,
    ),
    (
        Jina,
        "told",
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,-2]},{"object":"embedding","index":1,"embedding":[3,4]}],"model":"j","usage":{"total_tokens":7,"prompt_tokens":7}}"#,
    ),
    (
        Jina,
        "base64",
        r#"{"data":[{"index":0,"embedding":"AACAPwAAAEA="},{"index":1,"embedding":"AABAQAAAgEA="}],"model":"j"}"#,
    ),
    (
        Gemini,
        "told",
        r#"{"embeddings":[{"values":[0.1,0.2]},{"values":[0.3,0.4]}],"usageMetadata":{"promptTokenCount":6}}"#,
    ),
    (Gemini, "uncount", r#"{"embeddings":[{"values":[0.1]},{"values":[0.3]}]}"#),
    (Gemini, "one", r#"{"embeddings":[{"values":[0.1]}]}"#),
    (
        Cohere,
        "told",
        r#"{"id":"c","embeddings":{"float":[[0.1,0.2],[0.3,0.4]],"ubinary":[[1],[255]],"int8":[[-1],[2]]},"texts":["a","b"],"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":4}},"response_type":"embeddings_by_type"}"#,
    ),
    (Cohere, "one", r#"{"id":"c","embeddings":{"float":[[0.1,0.2]]},"meta":{}}"#),
];

pub(crate) const RERANKS: [(&str, &str); 8] = [
    ("texts", r#"{"model":"m","query":"q","documents":["a","b"],"top_n":2}"#),
    (
        "documents are wanted",
        r#"{"model":"m","models":["n"],"query":"q","documents":["a","b"],"return_documents":true}"#,
    ),
    (
        "documents are not wanted",
        r#"{"model":"m","query":"q","documents":["a","b"],"return_documents":false}"#,
    ),
    (
        "objects",
        r#"{"model":"m","query":"q","documents":[{"text":"a"},{"text":"b","n":1}],"return_documents":true}"#,
    ),
    ("a picture", r#"{"model":"m","query":"q","documents":["a",{"image":"https://x/y.png"}]}"#),
    (
        "Cohere's own words",
        r#"{"model":"m","query":"q","documents":["a","b"],"max_tokens_per_doc":99,"priority":1}"#,
    ),
    ("members are ranked", r#"{"model":"m","query":"q","documents":[{"a":"x"}],"rank_fields":["a"]}"#),
    ("nothing", r#"{"model":"m","query":"q","documents":[]}"#),
];

pub(crate) const RANKED: [(Shape, &str); 2] = [
    (
        Cohere,
        r#"{"id":"c","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":1e-3}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#,
    ),
    (
        Jina,
        r#"{"model":"j","object":"list","usage":{"total_tokens":15},"results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.001}]}"#,
    ),
];
