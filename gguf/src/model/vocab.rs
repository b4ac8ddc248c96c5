//! The vocabulary: one token per byte, a space, and padding up to the size that the shape asks for.
//!
//! The tokenizer is llama's own, SentencePiece (`tokenizer.ggml.model` = `llama`): it falls back to byte tokens for every
//! character that has no token of its own, so no merges and no pre-tokenizer are needed. It turns spaces into `▁`
//! before that, so `▁` needs a token; without one a space would come back as the three bytes of `▁`.
//!
//! A generated model must not end a measured run or print garbage, and its weights cannot have learned that. So only
//! printable ASCII is ever generated. Two things see to it:
//!
//! 1. `tokenizer.ggml.suppress_tokens` lists all other tokens, end of text among them. llama.cpp's samplers
//!    (`common/sampling.cpp`: completion, server, cli) give them a logit of minus infinity.
//! 2. For everything that does not know that key, the rows of `output.weight` of these tokens are zero, hence also
//!    their logits, while the logits of the 96 others are random with a standard deviation of 6 ([`super::plan`]): the
//!    best of 96 is about 15, and end of text has a chance of about one in a million even when sampled without top-k.
//!    Greedy sampling never picks it.
//!
//! There is no way to have no end-of-text token: the llama tokenizer defaults to token 2, and warns when it is missing.

use std::ops::RangeInclusive;

pub(super) const UNKNOWN: u32 = 0;
pub(super) const BEGIN_OF_TEXT: u32 = 1;
pub(super) const END_OF_TEXT: u32 = 2;
const FIRST_BYTE: u32 = 3;
const SPACE: u32 = FIRST_BYTE + 256;

/// Bytes with a shape on paper, but for the space, which has a token of its own.
const VISIBLE: RangeInclusive<u8> = b'!'..=b'~';

/// GGUF's token types, `enum llama_token_type` in llama.cpp's include/llama.h.
#[derive(Clone, Copy)]
#[repr(i32)]
enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    /// Prints as nothing and, other than a user-defined token, is never searched for in a prompt.
    Unused = 5,
    Byte = 6,
}

/// The text of a token and its type.
fn token(id: u32) -> (String, TokenType) {
    match id {
        UNKNOWN => ("<unk>".to_owned(), TokenType::Unknown),
        BEGIN_OF_TEXT => ("<s>".to_owned(), TokenType::Control),
        END_OF_TEXT => ("</s>".to_owned(), TokenType::Control),
        FIRST_BYTE..SPACE => (format!("<0x{:02X}>", id - FIRST_BYTE), TokenType::Byte),
        SPACE => ("▁".to_owned(), TokenType::Normal),
        _ => (format!("<pad_{id}>"), TokenType::Unused),
    }
}

/// The texts of all tokens.
pub(super) fn texts(n_vocab: u32) -> Vec<String> {
    (0..n_vocab).map(|id| token(id).0).collect()
}

/// The types of all tokens.
pub(super) fn types(n_vocab: u32) -> Vec<i32> {
    (0..n_vocab).map(|id| token(id).1 as i32).collect()
}

/// Whether the model may generate a token: visible ASCII, space and newline.
pub(super) fn is_generated(id: u64) -> bool {
    let byte = id.checked_sub(FIRST_BYTE.into()).and_then(|byte| u8::try_from(byte).ok());
    id == u64::from(SPACE) || byte.is_some_and(|byte| byte == b'\n' || VISIBLE.contains(&byte))
}

/// All other tokens.
pub(super) fn suppressed(n_vocab: u32) -> Vec<i32> {
    (0..n_vocab).filter(|&id| !is_generated(id.into())).map(|id| id as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_printable_and_the_rest_is_suppressed() {
        let generated: String = (0..288).filter(|&id| is_generated(id)).map(|id| token(id as u32).0 + " ").collect();
        assert!(generated.starts_with("<0x0A> <0x21> <0x22> "), "{generated}");
        assert!(generated.ends_with(" <0x7D> <0x7E> ▁ "), "{generated}");
        assert_eq!(generated.split_whitespace().count(), 96);
        assert_eq!(suppressed(288).len(), 288 - 96);
        assert!(suppressed(288).contains(&(END_OF_TEXT as i32)));
    }
}
