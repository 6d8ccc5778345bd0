//! Families of models that share a tokenizer, and what each makes of the kinds of text.

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
            1022, 197, 296, 569, 1300, 0, 615, 901, 548, 291, 205, 1338, 70, 1531, 0, 87, 295, 767, 6692,
            329, 1231, 1723, 496, 0,
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
            1006, 332, 510, 1614, 1300, 0, 700, 859, 585, 355, 122, 1554, 226, 876, 636, 251, 469, 1153,
            8068, 1958, 1660, 2375, 1433, 0,
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
            976, 479, 1368, 1457, 1146, 0, 1385, 616, 461, 844, 64, 1290, 216, 492, 690, 750, 661, 1458,
            4088, 1007, 2007, 3506, 1083, 0,
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
            1311, 849, 1201, 991, 1092, 0, 1315, 223, 322, 1032, 171, 1212, 223, 611, 658, 722, 631, 1440,
            4290, 1055, 1334, 4323, 1084, 478,
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
            977, 153, 260, 513, 552, 800, 1000, 1077, 455, 819, 63, 1175, 72, 1715, 0, 260, 217, 876, 4299,
            661, 533, 1534, 554, 10,
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
            988, 390, 544, 901, 1293, 0, 704, 826, 603, 391, 98, 1152, 147, 1385, 121, 266, 279, 781, 5673,
            2025, 1609, 2341, 645, 0,
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
            992, 378, 145, 1092, 1277, 545, 766, 856, 603, 374, 87, 1448, 121, 716, 254, 316, 387, 910, 3647,
            1389, 1701, 1570, 1233, 0,
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
            962, 363, 545, 1278, 1230, 0, 891, 428, 298, 742, 47, 1496, 92, 774, 261, 193, 456, 906, 4246,
            749, 763, 2390, 701, 0,
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
            1025, 227, 687, 669, 730, 797, 980, 542, 267, 463, 154, 1210, 97, 1157, 47, 693, 424, 697, 3502,
            449, 2233, 2980, 589, 0,
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
            1311, 849, 1368, 1614, 1300, 800, 1385, 1077, 603, 1032, 205, 1554, 226, 1715, 690, 750, 661,
            1458, 8068, 2025, 2233, 4323, 1433, 478,
        ],
    },
];
