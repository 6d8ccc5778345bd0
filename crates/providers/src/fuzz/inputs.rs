//! Inputs for property runs: seeds that are nearly right, mutated; and ways to cut them.

/// SplitMix64: small, and the same everywhere.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the length of a slice")]
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What the readers are for, a little of each kind.
const SEEDS: [&str; 15] = [
    r#"{"model":"m","max_completion_tokens":9,"max_tokens":4,"temperature":0,"tools":[{}],"tool_choice":"none","reasoning_effort":"low","messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","tool_calls":[{"id":"c"}]},{"role":"assistant","content":"x"}]}"#,
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"\",\"content\":\"<think>a</th\"}}],\"usage\":{\"total_tokens\":0}}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ink> b\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    r#"{"model":"a/b","messages":[{"role":"user","content":"hi \u4f60 \ud83d\ude00"}],"stream":true,"n":2}"#,
    r#"{ "models" : ["x"] , "mod\u0065l":"m","stream_options":{"include_usage":false,"x":1e400},"user":null }"#,
    r#"{"model":"m","prompt":[[1,2],[3]],"best_of":3.0,"max_tokens":-1,"x":1,"x":[{"image_url":"data:"}]}"#,
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hé\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2.0,\"total_tokens\":9}}\n\n: c\n\n",
    "\u{feff}event: error\rdata: {\"error\":{\"message\":\"x\",\"code\":1}}\r\r",
    "data: a\ndata: b\nid\n\ndata: {\"x_groq\":{\"usage\":{\"prompt_tokens\":3}}}\n\nerror: {}\n\n",
    r#"{"id":"c","choices":[{"message":{"content":"x","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens_details":{"reasoning_tokens":0}}}"#,
    r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":3}}"#,
    r#"[{"error":{"message":"m","type":"t","code":"insufficient_quota"}}]"#,
    r#"{"detail":[{"msg":"field required"}]} Sun, 06 Nov 1994 08:49:37 GMT"#,
];

/// What a mutation likes to insert: the bytes and words on which readers turn.
const WORDS: [&[u8]; 26] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"data: ",
    b"null",
    b"\"usage\":null,",
    b"\"model\":",
    b"\"choices\":[]",
    b"\\u0065",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[DONE]",
    b"\"error\":{}",
    b"1e5",
    b"\"stream_options\":{}",
    b"                                ",
];

/// Calls `entry` with `rounds` mutated inputs; the same `seed` gives the same inputs.
pub fn run(entry: super::Entry, rounds: u64, seed: u64) {
    let mut generator = Generator(seed);
    for _ in 0..rounds {
        let mut input = Vec::new();
        for _ in 0..=generator.below(3) {
            input.extend_from_slice(SEEDS[generator.below(SEEDS.len())].as_bytes());
            if generator.below(2) == 0 {
                break;
            }
        }
        for _ in 0..generator.below(6) {
            mutate(&mut input, &mut generator);
        }
        entry(&input);
    }
}

fn mutate(input: &mut Vec<u8>, generator: &mut Generator) {
    let at = generator.below(input.len() + 1);
    let end = at + generator.below(12).min(input.len() - at);
    match generator.below(5) {
        0 => drop(input.drain(at..end)),
        1 => {
            let word = WORDS[generator.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        2 => {
            let word = WORDS[generator.below(WORDS.len())];
            input.splice(at..end, word.iter().copied());
        }
        3 => {
            let copied = input[at..end].to_vec();
            let to = generator.below(input.len() + 1);
            input.splice(to..to, copied);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << generator.below(8);
            }
        }
    }
}

/// Three ways to cut bytes into chunks: one by one, and two that the bytes themselves decide.
pub(super) fn cuts(data: &[u8]) -> Vec<Vec<&[u8]>> {
    let sum = data.iter().fold(data.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    let mut generator = Generator(sum);
    let mut ways = vec![data.chunks(1).collect::<Vec<_>>()];
    for longest in [8, 120] {
        let (mut pieces, mut rest) = (Vec::new(), data);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + generator.below(longest)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        ways.push(pieces);
    }
    ways
}
