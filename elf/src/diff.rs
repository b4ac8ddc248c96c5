//! Where two files that should be the same part.

use std::collections::BTreeMap;
use std::fmt;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;

use crate::image::{Image, text};

/// How many bytes of each file are shown.
const SHOWN: usize = 8;
/// More differing sections are not named.
const NAMED: usize = 16;

/// The first place where two files differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Offset of the first differing byte; the shorter size if one file only goes on.
    pub offset: u64,
    /// The ELF section or part of the file at that offset, in the first file; `None` for other files.
    pub place: Option<String>,
    /// The symbol at or before it in the same section, mangled.
    pub symbol: Option<String>,
    /// The line, from 1, if both files are text.
    pub line: Option<u64>,
    /// Up to 8 bytes from there, of the first and of the second file.
    pub bytes: (Vec<u8>, Vec<u8>),
    /// The sizes of the files.
    pub sizes: (u64, u64),
    /// ELF sections whose content differs or that only one file has: at most 16 of them, in the first file's order, then
    /// the second's. When a section has grown, the first differing byte is one of a header and tells little.
    pub sections: Vec<String>,
}

/// Compares two files. `None`: they are equal.
pub fn first_difference(left: &[u8], right: &[u8]) -> Option<Difference> {
    let common = left.iter().zip(right).position(|(left, right)| left != right);
    let offset = match common {
        Some(offset) => offset,
        None if left.len() == right.len() => return None,
        None => left.len().min(right.len()),
    };
    let images = (Image::parse(left).ok(), Image::parse(right).ok());
    let longer = if offset < left.len() { &images.0 } else { &images.1 };
    let shown = |bytes: &[u8]| bytes[offset..].iter().take(SHOWN).copied().collect();
    let is_text = |bytes: &[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    let line = (is_text(left) && is_text(right))
        .then(|| 1 + left[..offset].iter().filter(|byte| **byte == b'\n').count() as u64);
    Some(Difference {
        offset: offset as u64,
        place: longer.as_ref().map(|image| image.place(offset as u64)),
        symbol: longer.as_ref().and_then(|image| nearest_symbol(image, offset as u64)),
        line,
        bytes: (shown(left), shown(right)),
        sizes: (left.len() as u64, right.len() as u64),
        sections: match &images {
            (Some(left), Some(right)) => differing_sections(left, right),
            _ => Vec::new(),
        },
    })
}

fn nearest_symbol(image: &Image<'_>, offset: u64) -> Option<String> {
    let section = image.sections.iter().find(|section| {
        section.is_allocated() && section.file_range().is_some_and(|range| range.contains(&(offset as usize)))
    })?;
    let address = section.address.checked_add(offset - section.offset)?;
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let Ok((symbols, names)) = image.symbols(kind) else { continue };
        let before = symbols.iter().filter(|symbol| {
            let value = symbol.st_value.get(LE);
            value <= address && section.holds_address(value) && !symbol.is_undefined(LE) && symbol.st_name.get(LE) != 0
        });
        // Of those at one address the first in the table.
        let nearest = before.rev().max_by_key(|symbol| symbol.st_value.get(LE));
        if let Some(name) = nearest.and_then(|symbol| names.get(symbol.st_name.get(LE)).ok()) {
            return Some(text(name));
        }
    }
    None
}

/// Sections by name; those of one name by their order.
fn differing_sections(left: &Image<'_>, right: &Image<'_>) -> Vec<String> {
    fn numbered<'a>(image: &'a Image<'_>) -> impl Iterator<Item = ((&'a str, usize), (u64, &'a [u8]))> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        image.sections.iter().skip(1).map(move |section| {
            let count = counts.entry(&section.name).or_default();
            *count += 1;
            ((section.name.as_str(), *count), (section.size, image.data(section)))
        })
    }
    let others: BTreeMap<_, _> = numbered(right).collect();
    let own: BTreeMap<_, _> = numbered(left).collect();
    let changed = numbered(left).filter(|(key, content)| others.get(key) != Some(content)).map(|(key, _)| key);
    let new = numbered(right).map(|(key, _)| key).filter(|key| !own.contains_key(key));
    changed.chain(new).map(|(name, _)| name.to_owned()).take(NAMED).collect()
}

impl fmt::Display for Difference {
    /// `differs at 0x1234 in .rodata behind ggml_version: 41 42 against 41 43; sections that differ: .rodata`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "differs at {:#x}", self.offset)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " in {place}")?;
        }
        if let Some(symbol) = &self.symbol {
            write!(f, " at or behind `{symbol}`")?;
        }
        write!(f, ": {} against {}", hex(&self.bytes.0), hex(&self.bytes.1))?;
        if self.sizes.0 != self.sizes.1 {
            write!(f, "; {} against {} bytes", self.sizes.0, self.sizes.1)?;
        }
        if !self.sections.is_empty() {
            write!(f, "; sections that differ: {}", self.sections.join(", "))?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the end".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
