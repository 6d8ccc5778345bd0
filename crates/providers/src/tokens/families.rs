//! Families of models that share a tokenizer, and what each makes of the kinds of text.

use std::cell::RefCell;

use super::counts::{Counts, KINDS};
use super::media::Rule;

/// Models whose tokenizers agree, near enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI since GPT-4o: `o200k`.
    O200k,
    /// OpenAI's GPT-4, GPT-3.5 and embeddings: `cl100k`.
    Cl100k,
    /// Claude up to 4.6.
    Claude,
    /// Claude since 4.7.
    Claude47,
    /// Gemini and Gemma.
    Gemini,
    /// Llama since 3.
    Llama3,
    /// Qwen.
    Qwen,
    /// DeepSeek since V3.
    DeepSeek,
    /// Mistral's `tekken`.
    Mistral,
    /// Everything else: weights at the dear end of the families.
    Other,
}

/// Names whose family a thread remembers, so that it need not be read out of the name for every call.
const KNOWN_AT_MOST: usize = 16;

/// A family and its weights, in thousandths of a token for one of each kind.
struct Row {
    family: Family,
    name: &'static str,
    image: Rule,
    /// For a message, and for a request: what the template draws around them, in tokens.
    message: u32,
    request: u32,
    /// For each tool, and once where there are tools: what is written around their definitions.
    tool: u32,
    tools: u32,
    weights: [u32; KINDS],
}

impl Family {
    /// All families, as in the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.family)
    }

    /// The name in the measurements.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The family of an upstream model's name; [`Family::Other`] where the name says nothing.
    pub fn of(model: &str) -> Self {
        thread_local!(static KNOWN: RefCell<Vec<(Box<str>, Family)>> = const { RefCell::new(Vec::new()) });
        KNOWN.with_borrow_mut(|known| {
            if let Some((_, family)) = known.iter().find(|(name, _)| **name == *model) {
                return *family;
            }
            let family = Self::named(model);
            if known.len() == KNOWN_AT_MOST {
                known.clear();
            }
            known.push((model.into(), family));
            family
        })
    }

    fn named(model: &str) -> Self {
        let model = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let has = |part: &str| model.contains(part);
        if has("claude") {
            return claude(&model);
        }
        let old = ["gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-", "davinci", "babbage"];
        if model == "gpt-4" || old.iter().any(|name| has(name)) {
            return Self::Cl100k;
        }
        let openai = ["gpt-", "chatgpt", "codex", "omni-moderation", "computer-use"];
        let reasoner = model.starts_with('o') && model.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if reasoner || openai.iter().any(|name| has(name)) {
            return Self::O200k;
        }
        let names = [
            ("gemini", Self::Gemini),
            ("gemma", Self::Gemini),
            ("deepseek", Self::DeepSeek),
            ("qwen", Self::Qwen),
            ("qwq", Self::Qwen),
            ("qvq", Self::Qwen),
            ("llama", Self::Llama3),
            ("mistral", Self::Mistral),
            ("ministral", Self::Mistral),
            ("magistral", Self::Mistral),
            ("devstral", Self::Mistral),
            ("codestral", Self::Mistral),
            ("pixtral", Self::Mistral),
        ];
        names.iter().find(|(name, _)| has(name)).map_or(Self::Other, |(_, family)| *family)
    }

    /// Tokens of a text of these counts, rounded up; at least one where there is anything.
    pub fn weigh(self, counts: &Counts) -> u64 {
        let sum: u64 = counts
            .0
            .iter()
            .zip(&self.row().weights)
            .map(|(n, weight)| u64::from(*n) * u64::from(*weight))
            .sum();
        sum.div_ceil(1000)
    }

    /// Tokens of the template: around `messages` messages and `tools` tools.
    pub fn frame(self, messages: u64, tools: u64) -> u64 {
        let row = self.row();
        let once = if tools > 0 { u64::from(row.tools) } else { 0 };
        let request = if messages > 0 { u64::from(row.request) } else { 0 };
        request + messages * u64::from(row.message) + once + tools * u64::from(row.tool)
    }

    /// How the family counts pictures.
    pub fn image(self) -> Rule {
        self.row().image
    }

    fn row(self) -> &'static Row {
        // The table has a row for each; the last is the fallback of the search and of nothing else.
        ROWS.iter().find(|row| row.family == self).unwrap_or(&ROWS[ROWS.len() - 1])
    }
}

/// Claude's tokenizer changed with 4.7; a name tells its version after the size or before it.
fn claude(model: &str) -> Family {
    let mut numbers = model.split(['-', '.', '@', ':']).filter_map(|part| part.parse::<u32>().ok());
    let major = numbers.find(|number| *number < 100).unwrap_or(3);
    let minor = numbers.next().filter(|number| *number < 100).unwrap_or(0);
    match (major, minor) {
        (..=3, _) | (4, ..=6) => Family::Claude,
        _ => Family::Claude47,
    }
}

static ROWS: [Row; 10] = [
    Row {
        family: Family::O200k,
        name: "OpenAI o200k",
        image: Rule::Tiles,
        message: 4,
        request: 3,
        tool: 8,
        tools: 16,
        weights: [
            991, 213, 399, 421, 1227, 0, 515, 690, 469, 473, 159, 1214, 87, 1138, 85, 756, 693, 754, 1133,
            352, 1064, 1895, 495, 0,
        ],
    },
    Row {
        family: Family::Cl100k,
        name: "OpenAI cl100k",
        image: Rule::Tiles,
        message: 4,
        request: 3,
        tool: 8,
        tools: 16,
        weights: [
            990, 324, 579, 1424, 1234, 0, 655, 681, 484, 475, 107, 1139, 296, 1058, 594, 1044, 949, 1118,
            1446, 1917, 1867, 2259, 1415, 0,
        ],
    },
    Row {
        family: Family::Claude,
        name: "Claude to 4.6",
        image: Rule::Area,
        message: 4,
        request: 3,
        tool: 8,
        tools: 346,
        weights: [
            1019, 418, 1238, 1348, 1192, 0, 1141, 897, 394, 747, 127, 876, 291, 1117, 550, 1212, 922, 1459,
            309, 969, 2278, 3310, 1044, 76,
        ],
    },
    Row {
        family: Family::Claude47,
        name: "Claude from 4.7",
        image: Rule::LargeArea,
        message: 4,
        request: 3,
        tool: 8,
        tools: 346,
        weights: [
            1388, 732, 1075, 981, 1052, 32, 989, 784, 351, 780, 299, 873, 288, 1187, 531, 1097, 852, 1438,
            1188, 971, 2132, 3614, 1045, 565,
        ],
    },
    Row {
        family: Family::Gemini,
        name: "Gemini",
        image: Rule::Crops,
        message: 1,
        request: 1,
        tool: 8,
        tools: 16,
        weights: [
            977, 163, 347, 345, 324, 897, 1098, 885, 265, 860, 74, 1058, 88, 1224, 110, 633, 449, 866, 1167,
            590, 1107, 1137, 567, 49,
        ],
    },
    Row {
        family: Family::Llama3,
        name: "Llama 3",
        image: Rule::Grid,
        message: 5,
        request: 5,
        tool: 8,
        tools: 64,
        weights: [
            978, 385, 597, 643, 1233, 0, 659, 670, 503, 491, 89, 896, 187, 1018, 202, 820, 614, 771, 1061,
            1974, 1890, 2167, 661, 0,
        ],
    },
    Row {
        family: Family::Qwen,
        name: "Qwen",
        image: Rule::Grid,
        message: 5,
        request: 3,
        tool: 8,
        tools: 128,
        weights: [
            984, 384, 486, 730, 473, 890, 667, 697, 498, 490, 79, 1016, 197, 527, 294, 622, 570, 890, 1122,
            1372, 1764, 1601, 1218, 0,
        ],
    },
    Row {
        family: Family::DeepSeek,
        name: "DeepSeek",
        image: Rule::Grid,
        message: 2,
        request: 2,
        tool: 8,
        tools: 64,
        weights: [
            980, 344, 527, 1155, 1207, 0, 598, 687, 358, 665, 97, 1142, 158, 378, 351, 569, 670, 897, 1159,
            698, 1174, 2052, 713, 46,
        ],
    },
    Row {
        family: Family::Mistral,
        name: "Mistral tekken",
        image: Rule::Grid,
        message: 2,
        request: 2,
        tool: 8,
        tools: 8,
        weights: [
            1009, 250, 861, 477, 344, 949, 579, 634, 343, 557, 145, 942, 147, 934, 97, 955, 591, 693, 1327,
            534, 1586, 3506, 562, 0,
        ],
    },
    Row {
        family: Family::Other,
        name: "any other",
        image: Rule::Grid,
        message: 5,
        request: 5,
        tool: 8,
        tools: 128,
        weights: [
            987, 301, 456, 759, 1090, 285, 699, 709, 421, 568, 106, 1038, 171, 896, 248, 782, 655, 860, 1120,
            1068, 1522, 2053, 802, 0,
        ],
    },
];
