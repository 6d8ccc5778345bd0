//! Which language a text is written in, where that can be told.

use std::collections::BTreeSet;
use whatlang::Lang;

/// Shorter texts say too little: bytes.
const SHORT: usize = 24;
/// Of a long text so much is looked at: bytes.
const ENOUGH: usize = 4_096;

/// Codes of two letters (ISO 639-1) beside those of three that the detector has.
#[rustfmt::skip]
const SHORTER: &[(&str, &str)] = &[
    ("af", "afr"), ("ak", "aka"), ("am", "amh"), ("ar", "ara"), ("az", "aze"), ("be", "bel"), ("bg", "bul"), ("bn", "ben"),
    ("ca", "cat"), ("cs", "ces"), ("cy", "cym"), ("da", "dan"), ("de", "deu"), ("el", "ell"), ("en", "eng"), ("eo", "epo"),
    ("es", "spa"), ("et", "est"), ("fa", "pes"), ("fi", "fin"), ("fr", "fra"), ("gu", "guj"), ("he", "heb"), ("hi", "hin"),
    ("hr", "hrv"), ("hu", "hun"), ("hy", "hye"), ("id", "ind"), ("it", "ita"), ("ja", "jpn"), ("jv", "jav"), ("ka", "kat"),
    ("km", "khm"), ("kn", "kan"), ("ko", "kor"), ("la", "lat"), ("lt", "lit"), ("lv", "lav"), ("mk", "mkd"), ("ml", "mal"),
    ("mr", "mar"), ("my", "mya"), ("nb", "nob"), ("ne", "nep"), ("nl", "nld"), ("no", "nob"), ("or", "ori"), ("pa", "pan"),
    ("pl", "pol"), ("pt", "por"), ("ro", "ron"), ("ru", "rus"), ("si", "sin"), ("sk", "slk"), ("sl", "slv"), ("sn", "sna"),
    ("sr", "srp"), ("sv", "swe"), ("ta", "tam"), ("te", "tel"), ("th", "tha"), ("tk", "tuk"), ("tl", "tgl"), ("tr", "tur"),
    ("uk", "ukr"), ("ur", "urd"), ("uz", "uzb"), ("vi", "vie"), ("yi", "yid"), ("zh", "cmn"), ("zu", "zul"),
];

fn code(language: &str) -> Option<Lang> {
    let longer = SHORTER.iter().find(|(short, _)| *short == language).map(|(_, longer)| *longer);
    Lang::from_code(longer.unwrap_or(language))
}

/// Whether a code is of a language that can be told from others.
pub fn is_language(language: &str) -> bool {
    code(language).is_some()
}

/// Those that texts may be written in.
#[derive(Debug)]
pub struct Languages(BTreeSet<&'static str>);

impl Languages {
    /// Of codes that are known; others are left out.
    pub fn of<'l>(codes: impl IntoIterator<Item = &'l str>) -> Self {
        Self(codes.into_iter().filter_map(code).map(|language| language.code()).collect())
    }

    /// The language of a text if it is none of these, by its code of three letters. What is short, or cannot be told for certain,
    /// is `None` too.
    pub fn other(&self, text: &str) -> Option<&'static str> {
        if text.len() < SHORT {
            return None;
        }
        let told = whatlang::detect(&text[..super::places::floor(text, ENOUGH)])?;
        (told.is_reliable() && !self.0.contains(told.lang().code())).then(|| told.lang().code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_where_it_is_certain() {
        let german =
            "Die Lieferung wurde gestern von unserem Lager in Hamburg verschickt und sollte morgen ankommen.";
        let english = "The delivery left our warehouse yesterday and should arrive tomorrow before noon.";
        let chinese = "货物昨天已经从我们的仓库发出，预计明天中午之前送达，请注意查收。";
        let allowed = Languages::of(["en", "zh"]);
        assert_eq!(allowed.other(german), Some("deu"));
        for passes in
            [english, chinese, "ok", "12345678901234567890 1234567890", "{\"a\": [1, 2, 3, 4, 5, 6]}"]
        {
            assert_eq!(allowed.other(passes), None, "{passes}");
        }
        assert!(is_language("de") && is_language("deu") && !is_language("xx"));
        for (short, _) in SHORTER {
            assert!(is_language(short), "{short}");
        }
    }
}
