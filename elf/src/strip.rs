//! What is shipped of a file: everything that is loaded, at the same offsets, and nothing else.

use std::ops::Range;

use diagnostic::Result;
use object::LittleEndian as LE;
use object::elf;
use object::pod::{bytes_of, bytes_of_slice};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::image::{FileHeader, Image, Section, SectionHeader, damaged};

/// A copy of an ELF file without debug sections, symbol table and whatever else is not loaded.
///
/// Segments keep their bytes and offsets. What lies between them is zero. The section header table is written anew behind
/// them, with the loaded sections and `.shstrtab`, so that readelf and debuggers still read the file. The result depends
/// on the loaded parts only: the same code with other debug information gives the same bytes, on every machine.
///
/// # Errors
/// [`codes::GATE_FAILED`](diagnostic::codes::GATE_FAILED): not an ELF file that we read, or damaged.
pub fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    let image = Image::parse(bytes)?;
    let mut out = loaded_parts(&image)?;
    let mut header = *image.header;
    let last = image.sections.iter().rposition(Section::is_allocated);
    // A file without section headers stays so.
    let Some(last) = last else {
        header.e_shoff.set(LE, 0);
        header.e_shnum.set(LE, 0);
        header.e_shstrndx.set(LE, elf::SHN_UNDEF);
        out[..size_of::<FileHeader>()].copy_from_slice(bytes_of(&header));
        return Ok(out);
    };

    let mut names = Names::default();
    let mut table: Vec<SectionHeader> = Vec::with_capacity(last + 2);
    for (section, original) in image.sections.iter().zip(image.table.iter()).take(last + 1) {
        // Dynamic symbols name sections by number: a dropped section leaves an unused entry.
        if !section.is_allocated() {
            table.push(unused());
            continue;
        }
        let mut header = *original;
        let dropped = |link: u32| image.sections.get(link as usize).is_none_or(|section| !section.is_allocated());
        header.sh_name.set(LE, names.add(&section.name));
        if dropped(header.sh_link.get(LE)) {
            header.sh_link.set(LE, 0);
        }
        if section.flags & u64::from(elf::SHF_INFO_LINK) != 0 && dropped(header.sh_info.get(LE)) {
            header.sh_info.set(LE, 0);
        }
        table.push(header);
    }
    let mut strings = unused();
    strings.sh_name.set(LE, names.add(".shstrtab"));
    strings.sh_type.set(LE, elf::SHT_STRTAB);
    strings.sh_offset.set(LE, out.len() as u64);
    strings.sh_size.set(LE, names.bytes.len() as u64);
    strings.sh_addralign.set(LE, 1);
    table.push(strings);
    out.extend_from_slice(&names.bytes);
    write_table(&mut out, header, &table, table.len() - 1)?;
    Ok(out)
}

/// Appends the section header table and writes the file header that names it and its strings.
pub(crate) fn write_table(
    out: &mut Vec<u8>,
    mut header: FileHeader,
    table: &[SectionHeader],
    strings: usize,
) -> Result<()> {
    let small = |number: usize| {
        let number = u16::try_from(number).ok().filter(|number| *number < elf::SHN_LORESERVE);
        number.ok_or_else(|| damaged("it has too many sections"))
    };
    out.resize(out.len().next_multiple_of(8), 0);
    header.e_shoff.set(LE, out.len() as u64);
    header.e_shnum.set(LE, small(table.len())?);
    header.e_shstrndx.set(LE, small(strings)?);
    out[..size_of::<FileHeader>()].copy_from_slice(bytes_of(&header));
    out.extend_from_slice(bytes_of_slice(table));
    Ok(())
}

/// The bytes from the start of the file to the end of what is loaded; zero where nothing is loaded.
fn loaded_parts(image: &Image<'_>) -> Result<Vec<u8>> {
    let mut parts = headers(image)?.to_vec();
    for segment in image.segments.iter().filter(|segment| segment.p_filesz(LE) > 0) {
        let (start, size) = segment.file_range(LE);
        parts.push(start as usize..(start + size) as usize);
    }
    parts.extend(image.sections.iter().filter(|section| section.is_allocated()).filter_map(Section::file_range));
    parts.sort_unstable_by_key(|part| (part.start, part.end));
    let mut out: Vec<u8> = Vec::new();
    // Parts overlap: copy each byte once.
    for part in parts {
        let start = part.start.max(out.len());
        if start < part.end {
            out.resize(start, 0);
            out.extend_from_slice(&image.bytes[start..part.end]);
        }
    }
    Ok(out)
}

/// The file header and the program headers.
pub(crate) fn headers(image: &Image<'_>) -> Result<[Range<usize>; 2]> {
    let size = size_of_val(image.segments);
    let start = if size == 0 { 0 } else { image.header.e_phoff(LE) as usize };
    if start.checked_add(size).is_none_or(|end| end > image.bytes.len()) {
        return Err(damaged("its program headers end outside it"));
    }
    Ok([0..size_of::<FileHeader>(), start..start + size])
}

/// A section header that means nothing.
fn unused() -> SectionHeader {
    let (zero32, zero64) = (object::U32::new(LE, 0), object::U64::new(LE, 0));
    SectionHeader {
        sh_name: zero32,
        sh_type: zero32,
        sh_flags: zero64,
        sh_addr: zero64,
        sh_offset: zero64,
        sh_size: zero64,
        sh_link: zero32,
        sh_info: zero32,
        sh_addralign: zero64,
        sh_entsize: zero64,
    }
}

/// Section names as `.shstrtab` holds them.
struct Names {
    bytes: Vec<u8>,
}

impl Default for Names {
    fn default() -> Names {
        Names { bytes: vec![0] }
    }
}

impl Names {
    /// The offset of a name, which is added.
    fn add(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        u32::try_from(at).unwrap_or_default()
    }
}
