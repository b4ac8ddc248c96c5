//! Text out of tokens that end in the middle of a character.

/// Puts characters together that are spread over several tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Utf8Stream {
    /// The beginning of a character: at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// The characters that are whole now. Bytes that cannot become one give U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    match error.error_len() {
                        // More bytes may complete it.
                        None => {
                            self.pending = rest.to_vec();
                            return text;
                        }
                        Some(bad) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            self.pending = rest[bad..].to_vec();
                        }
                    }
                }
            }
        }
    }

    /// What is left at the end: U+FFFD for the beginning of a character that never ended.
    pub fn finish(self) -> String {
        if self.pending.is_empty() { String::new() } else { char::REPLACEMENT_CHARACTER.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_put_together_and_nonsense_is_replaced() {
        for text in ["grüße", "日本語", "👍🏽 ok", ""] {
            for size in 1..=4 {
                let mut stream = Utf8Stream::default();
                let mut seen: String = text.as_bytes().chunks(size).map(|chunk| stream.push(chunk)).collect();
                seen.push_str(&stream.finish());
                assert_eq!(seen, text);
            }
        }
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(b"a\xff\xc3"), "a\u{fffd}");
        assert_eq!(stream.push(b"b"), "\u{fffd}b");
        assert_eq!(stream.push(b"\xf0\x9f"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }
}
