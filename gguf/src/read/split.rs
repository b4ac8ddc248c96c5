//! Models in parts: which part a file says it is, and what its siblings are called.
//!
//! `llama-gguf-split` names them `NAME-00001-of-00003.gguf`; the metadata of the model stands in the first alone, and every
//! part has `split.no`, counted from 0, `split.count` and `split.tensors.count`.

use diagnostic::Result;

use super::source::invalid;
use crate::value::{Metadata, Value};

/// More parts than any model has, and few enough to try them all.
const MAX_PARTS: u64 = 1024;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What a part says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Which one it is, from 0.
    pub(super) index: u64,
    /// How many there are: at least 2.
    pub(super) count: u64,
    /// How many tensors all have together.
    pub(super) tensors: u64,
}

/// What the metadata say; `None` for a model in one file.
///
/// # Errors
/// The numbers make no sense.
pub(super) fn of(metadata: &Metadata) -> Result<Option<Split>> {
    let number = |key: &str| match metadata.get(key) {
        None => Ok(None),
        Some(value) => {
            value.as_u64().map(Some).ok_or_else(|| invalid(format!("metadata `{key}` is not a non-negative integer")))
        }
    };
    let needed = |key: &str| number(key)?.ok_or_else(|| invalid(format!("a part of a split model without `{key}`")));
    let count = match number(COUNT)? {
        None | Some(0 | 1) => return Ok(None),
        Some(count @ 2..=MAX_PARTS) => count,
        Some(count) => return Err(invalid(format!("one of {count} parts, and at most {MAX_PARTS} are possible"))),
    };
    let split = Split { index: needed(NO)?, count, tensors: needed(TENSORS)? };
    if split.index >= count {
        return Err(invalid(format!("part {} of {count}", u128::from(split.index) + 1)));
    }
    Ok(Some(split))
}

/// Takes the keys away that no longer hold once the parts are joined.
pub(super) fn forget(metadata: &mut Metadata) {
    metadata.0.retain(|(key, _)| ![NO, COUNT, TENSORS].contains(&key.as_str()));
}

impl Split {
    /// The names of all parts, from that of this one.
    ///
    /// # Errors
    /// This one is not called as parts are.
    pub(super) fn names(&self, name: &str) -> Result<Vec<String>> {
        let Split { index, count, .. } = *self;
        let ending = |index: u64| format!("-{:05}-of-{count:05}.gguf", index + 1);
        let prefix = name.strip_suffix(&ending(index)).filter(|prefix| !prefix.is_empty()).ok_or_else(|| {
            invalid(format!("part {} of {count} of a split model, but its name does not end so", index + 1))
                .hint(format!("give it back its name, which ends in `{}`", ending(index)))
        })?;
        Ok((0..count).map(|index| format!("{prefix}{}", ending(index))).collect())
    }
}

/// Whether a header is that of one part: [`super::Header::bytes_per_token`] would count too little.
pub(super) fn parts(metadata: &Metadata) -> Option<u64> {
    metadata.get(COUNT).and_then(Value::as_u64).filter(|&parts| parts > 1)
}
