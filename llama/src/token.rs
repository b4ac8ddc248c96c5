//! Numbers that must not be mixed up.

/// A token of a model's vocabulary. Which vocabulary it does not know: everything that takes one checks that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(crate) i32);

impl Token {
    /// The token with this number.
    pub fn from_id(id: i32) -> Token {
        Token(id)
    }

    /// Its number.
    pub fn id(self) -> i32 {
        self.0
    }
}

/// A position in a sequence, from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos(pub(crate) i32);

impl Pos {
    /// The `n`th position; those that no context reaches are the last.
    pub fn new(n: u32) -> Pos {
        Pos(i32::try_from(n).unwrap_or(i32::MAX))
    }

    /// Its number.
    pub fn index(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }
}

/// One of the sequences that a context keeps apart; they share its memory. The first is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId(pub(crate) i32);

impl SeqId {
    /// The `n`th sequence. A context has as many as it was made for, and refuses others.
    pub fn new(n: u32) -> SeqId {
        SeqId(i32::try_from(n).unwrap_or(i32::MAX))
    }

    /// Its number.
    pub fn index(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }
}
