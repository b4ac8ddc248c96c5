//! The parts of an ELF file as its headers tell them, checked against its size.

use std::cell::Cell;
use std::ops::Range;

use diagnostic::{Error, Result, codes};
use object::LittleEndian as LE;
use object::elf;
use object::read::SectionIndex;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

pub(crate) type FileHeader = elf::FileHeader64<LE>;
pub(crate) type ProgramHeader = elf::ProgramHeader64<LE>;
pub(crate) type SectionHeader = elf::SectionHeader64<LE>;
pub(crate) type Symbol = elf::Sym64<LE>;
pub(crate) type Sections<'a> = object::read::elf::SectionTable<'a, FileHeader>;

/// Linkers write a dozen; addresses are looked up in all of them.
const SEGMENT_LIMIT: usize = 256;
/// Linkers write fewer than a hundred for what is run or loaded.
const SECTION_LIMIT: usize = 4096;

/// A string table. Many names may share its bytes, so that what is read of it all together is bounded.
#[derive(Debug)]
pub(crate) struct Strings<'a> {
    bytes: &'a [u8],
    budget: Cell<usize>,
}

impl<'a> Strings<'a> {
    fn new(bytes: &'a [u8]) -> Strings<'a> {
        // Linkers let names share tails; that saves them a few percent.
        Strings { bytes, budget: Cell::new((16 << 20) + bytes.len().saturating_mul(8)) }
    }

    /// The name at an offset, without its end.
    pub(crate) fn get(&self, offset: impl TryInto<usize>) -> Result<&'a [u8]> {
        let outside = || damaged("a name lies outside its string table");
        let rest = offset.try_into().ok().and_then(|offset| self.bytes.get(offset..)).ok_or_else(outside)?;
        let name = &rest[..memchr::memchr(0, rest).ok_or_else(outside)?];
        let left = self.budget.get().checked_sub(name.len()).ok_or_else(|| damaged("its names are too long"))?;
        self.budget.set(left);
        Ok(name)
    }
}

/// A file that is not what its headers say.
pub(crate) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(codes::GATE_FAILED, format!("damaged ELF file: {what}"))
}

/// One section: its header, with the name looked up.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Section {
    /// Part of what is loaded.
    pub(crate) fn is_allocated(&self) -> bool {
        self.flags & u64::from(elf::SHF_ALLOC) != 0
    }

    pub(crate) fn is_code(&self) -> bool {
        self.is_allocated() && self.flags & u64::from(elf::SHF_EXECINSTR) != 0 && self.kind != elf::SHT_NOBITS
    }

    /// Where its bytes lie; `None` if it has none. Checked against the file's size when read.
    pub(crate) fn file_range(&self) -> Option<Range<usize>> {
        if matches!(self.kind, elf::SHT_NOBITS | elf::SHT_NULL) || self.size == 0 {
            return None;
        }
        Some(usize::try_from(self.offset).ok()?..usize::try_from(self.offset + self.size).ok()?)
    }

    pub(crate) fn holds_address(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|distance| distance < self.size)
    }
}

/// A view of a file whose headers lie inside it.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) header: &'a FileHeader,
    pub(crate) segments: &'a [ProgramHeader],
    pub(crate) table: Sections<'a>,
    pub(crate) sections: Vec<Section>,
}

impl<'a> Image<'a> {
    /// # Errors
    /// [`codes::GATE_FAILED`]: not a 64-bit little-endian ELF file, or its headers do not fit the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Image<'a>> {
        if !crate::is_elf(bytes) {
            return Err(Error::new(codes::GATE_FAILED, "not an ELF file"));
        }
        if bytes.get(4..6).is_some_and(|kind| kind != [elf::ELFCLASS64, elf::ELFDATA2LSB]) {
            return Err(Error::new(codes::GATE_FAILED, "not a 64-bit little-endian ELF file"));
        }
        let header = FileHeader::parse(bytes).map_err(damaged)?;
        let segments = header.program_headers(LE, bytes).map_err(damaged)?;
        if segments.len() > SEGMENT_LIMIT {
            return Err(damaged("it has more segments than any linker writes"));
        }
        for segment in segments {
            check_range(bytes, segment.p_offset(LE), segment.p_filesz(LE), "a segment")?;
        }
        let table = header.sections(LE, bytes).map_err(damaged)?;
        if table.len() > SECTION_LIMIT {
            return Err(damaged("it has more sections than any linker writes"));
        }
        let names = match table.is_empty() {
            true => Strings::new(&[]),
            false => strings(&table, header.shstrndx(LE, bytes).map_err(damaged)? as usize, bytes)?,
        };
        let sections = table
            .iter()
            .map(|section| {
                let name = names.get(section.sh_name.get(LE))?;
                if !matches!(section.sh_type(LE), elf::SHT_NOBITS | elf::SHT_NULL) {
                    check_range(bytes, section.sh_offset(LE), section.sh_size(LE), "a section")?;
                }
                Ok(Section {
                    name: String::from_utf8_lossy(name).into_owned(),
                    kind: section.sh_type(LE),
                    flags: section.sh_flags(LE),
                    address: section.sh_addr(LE),
                    offset: section.sh_offset(LE),
                    size: section.sh_size(LE),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Image { bytes, header, segments, table, sections })
    }

    /// The bytes of a section; none for those that occupy no space.
    pub(crate) fn data(&self, section: &Section) -> &'a [u8] {
        section.file_range().and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    /// The file offset of a loaded address.
    pub(crate) fn offset_of(&self, address: u64) -> Option<usize> {
        let mut loaded = self.segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
        let offset = loaded.find_map(|segment| {
            let distance = address.checked_sub(segment.p_vaddr(LE))?;
            (distance < segment.p_filesz(LE)).then(|| segment.p_offset(LE) + distance)
        });
        offset.and_then(|offset| usize::try_from(offset).ok())
    }

    /// Loaded bytes from an address to the end of the file; empty if it is not loaded.
    pub(crate) fn loaded(&self, address: u64) -> &'a [u8] {
        self.offset_of(address).and_then(|offset| self.bytes.get(offset..)).unwrap_or_default()
    }

    /// The loaded word at an address, as it is before relocation.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.loaded(address).first_chunk().copied().map(u64::from_le_bytes)
    }

    /// All symbols of one table, `SHT_SYMTAB` or `SHT_DYNSYM`, and their names. Empty if there is none.
    pub(crate) fn symbols(&self, kind: u32) -> Result<(&'a [Symbol], Strings<'a>)> {
        let symbols = self.table.symbols(LE, self.bytes, kind).map_err(damaged)?;
        let names = match symbols.is_empty() {
            true => Strings::new(&[]),
            false => self.linked_strings(symbols.string_section())?,
        };
        Ok((symbols.symbols(), names))
    }

    /// The entries of the dynamic segment up to its end, without meaning.
    pub(crate) fn dynamic(&self) -> Result<Vec<(i64, u64)>> {
        let mut entries = Vec::new();
        for segment in self.segments {
            for entry in segment.dynamic(LE, self.bytes).map_err(damaged)?.unwrap_or_default() {
                let (tag, value) = (entry.d_tag.get(LE), entry.d_val.get(LE));
                if tag == elf::DT_NULL {
                    break;
                }
                entries.push((tag, value));
            }
        }
        Ok(entries)
    }

    /// The strings that the dynamic segment's entries point into.
    pub(crate) fn dynamic_strings(&self, entries: &[(i64, u64)]) -> Result<Strings<'a>> {
        let value = |wanted: i64| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
            return Ok(Strings::new(&[]));
        };
        let bytes = usize::try_from(size).ok().and_then(|size| self.loaded(address).get(..size));
        bytes.map(Strings::new).ok_or_else(|| damaged("its dynamic strings are not loaded"))
    }

    /// The strings that a section links to.
    pub(crate) fn linked_strings(&self, link: SectionIndex) -> Result<Strings<'a>> {
        strings(&self.table, link.0, self.bytes)
    }

    /// What lies at a file offset: the name of a section, or of a part of the file.
    pub(crate) fn place(&self, offset: u64) -> String {
        let inside = |start: u64, size: u64| offset.checked_sub(start).is_some_and(|distance| distance < size);
        let section = self
            .sections
            .iter()
            .filter(|section| section.file_range().is_some() && inside(section.offset, section.size))
            .min_by_key(|section| section.size);
        if let Some(section) = section {
            return section.name.clone();
        }
        let header = self.header;
        let table = |count: u16, size: u16| u64::from(count) * u64::from(size);
        if inside(0, u64::from(header.e_ehsize.get(LE))) {
            "ELF header".to_owned()
        } else if inside(header.e_phoff.get(LE), table(header.e_phnum.get(LE), header.e_phentsize.get(LE))) {
            "program headers".to_owned()
        } else if inside(header.e_shoff.get(LE), table(header.e_shnum.get(LE), header.e_shentsize.get(LE))) {
            "section headers".to_owned()
        } else {
            "between sections".to_owned()
        }
    }
}

fn strings<'a>(table: &Sections<'a>, index: usize, bytes: &'a [u8]) -> Result<Strings<'a>> {
    let section = table.section(SectionIndex(index)).map_err(damaged)?;
    section.data(LE, bytes).map(Strings::new).map_err(damaged)
}

fn check_range(bytes: &[u8], offset: u64, size: u64, what: &str) -> Result<()> {
    match offset.checked_add(size) {
        Some(end) if end <= bytes.len() as u64 || size == 0 => Ok(()),
        _ => Err(damaged(format!("{what} ends outside it"))),
    }
}

/// Names in ELF files have no encoding; ours are ASCII.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
