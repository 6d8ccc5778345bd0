//! Of which kinds the content of a request is, as far as a route must know: an image is for models with eyes.

/// Kinds of content, some of those that are named here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content(u8);

impl Content {
    /// Pictures.
    pub const IMAGE: Content = Content(1);
    /// Sound.
    pub const AUDIO: Content = Content(2);
    /// Films.
    pub const VIDEO: Content = Content(4);
    /// Documents.
    pub const FILE: Content = Content(8);
    /// Definitions of tools.
    pub const TOOLS: Content = Content(16);

    /// Every kind, with its name.
    pub const NAMES: [(&'static str, Content); 5] = [
        ("image", Content::IMAGE),
        ("audio", Content::AUDIO),
        ("video", Content::VIDEO),
        ("file", Content::FILE),
        ("tools", Content::TOOLS),
    ];

    /// Whether all of `other` is there.
    pub const fn has(self, other: Content) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the kinds of `other`.
    pub const fn add(&mut self, other: Content) {
        self.0 |= other.0;
    }

    /// The kinds of both.
    #[must_use]
    pub const fn and(self, other: Content) -> Content {
        Content(self.0 | other.0)
    }

    /// The kinds that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Content) -> Content {
        Content(self.0 & !other.0)
    }

    /// Whether there is nothing but text.
    pub const fn is_text(self) -> bool {
        self.0 == 0
    }

    /// The names of the kinds that are there.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Content::NAMES.into_iter().filter(move |(_, kind)| self.has(*kind)).map(|(name, _)| name)
    }

    /// Takes what the word of a part's `type`, or its media type, says of it.
    pub(super) fn note(&mut self, word: &[u8]) {
        self.add(match word {
            b"image" | b"image_url" | b"input_image" => Content::IMAGE,
            b"input_audio" | b"audio" | b"audio_url" => Content::AUDIO,
            b"video_url" | b"input_video" | b"video" => Content::VIDEO,
            b"document" | b"file" | b"input_file" | b"file_url" | b"application/pdf" => Content::FILE,
            _ if word.starts_with(b"image/") => Content::IMAGE,
            _ if word.starts_with(b"audio/") => Content::AUDIO,
            _ if word.starts_with(b"video/") => Content::VIDEO,
            _ => return,
        });
    }
}
