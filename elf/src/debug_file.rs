//! What debuggers read beside a stripped file.

use diagnostic::Result;
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use object::pod::bytes_of_slice;

use crate::image::{FileHeader, Image, ProgramHeader, SectionHeader, damaged};
use crate::strip::{headers, write_table};

/// Debug sections ask for 16 at most.
const ALIGN_LIMIT: usize = 64;

/// The counterpart of [`strip`](crate::strip()): symbols and debug sections of an unstripped file, without code and data.
///
/// As with `objcopy --only-keep-debug`, every section keeps its number and address, and loaded ones become `NOBITS`;
/// only notes, with the build id, stay. gdb finds the file in a debug directory by
/// [`BuildId::debug_path`](crate::BuildId::debug_path).
///
/// # Errors
/// [`codes::GATE_FAILED`](diagnostic::codes::GATE_FAILED): not an ELF file that we read, or damaged.
pub fn debug_file(bytes: &[u8]) -> Result<Vec<u8>> {
    let image = Image::parse(bytes)?;
    let [_, segments] = headers(&image)?;
    let mut header: FileHeader = *image.header;
    header.e_phoff.set(LE, if segments.is_empty() { 0 } else { size_of::<FileHeader>() as u64 });
    // The file header is written over these bytes at the end.
    let mut out = bytes[..size_of::<FileHeader>()].to_vec();
    out.extend_from_slice(&bytes[segments.clone()]);
    let head = out.len() as u64;

    let mut table: Vec<SectionHeader> = image.table.iter().copied().collect();
    for (section, header) in image.sections.iter().zip(&mut table) {
        if section.is_allocated() && section.kind != elf::SHT_NOTE {
            header.sh_offset.set(LE, head);
            if section.kind != elf::SHT_NULL {
                header.sh_type.set(LE, elf::SHT_NOBITS);
            }
        } else if let Some(range) = section.file_range() {
            let align = usize::try_from(header.sh_addralign.get(LE)).unwrap_or(1).clamp(1, ALIGN_LIMIT);
            out.resize(out.len().next_multiple_of(align), 0);
            header.sh_offset.set(LE, out.len() as u64);
            out.extend_from_slice(&bytes[range]);
            // Honest sections do not overlap.
            if out.len() > bytes.len().saturating_add(image.sections.len() * ALIGN_LIMIT) {
                return Err(damaged("its sections overlap"));
            }
        }
    }
    let segments: Vec<ProgramHeader> = image.segments.iter().map(|segment| emptied(segment, &table, head)).collect();
    out[size_of::<FileHeader>()..head as usize].copy_from_slice(bytes_of_slice(&segments));
    if table.is_empty() {
        header.e_shoff.set(LE, 0);
        out[..size_of::<FileHeader>()].copy_from_slice(object::pod::bytes_of(&header));
        return Ok(out);
    }
    let strings = image.header.shstrndx(LE, bytes).map_err(damaged)?;
    write_table(&mut out, header, &table, strings as usize)?;
    Ok(out)
}

/// A segment as it stands in a debug file: its addresses, but only those bytes that the file still has.
fn emptied(segment: &ProgramHeader, table: &[SectionHeader], head: u64) -> ProgramHeader {
    let mut empty = *segment;
    let note = table
        .iter()
        .find(|section| section.sh_type.get(LE) == elf::SHT_NOTE && section.sh_addr.get(LE) == segment.p_vaddr(LE));
    let (offset, size) = match (segment.p_type(LE), note) {
        (elf::PT_PHDR, _) => (size_of::<FileHeader>() as u64, head - size_of::<FileHeader>() as u64),
        (elf::PT_NOTE | elf::PT_GNU_PROPERTY, Some(note)) => (note.sh_offset.get(LE), segment.p_filesz(LE)),
        (elf::PT_LOAD, _) if segment.p_offset(LE) == 0 => (0, head.min(segment.p_filesz(LE))),
        // Offset and address stay equal modulo the page size, as readers demand it.
        (_, _) => (segment.p_vaddr(LE).checked_rem(segment.p_align(LE)).unwrap_or_default(), 0),
    };
    empty.p_offset.set(LE, offset);
    empty.p_filesz.set(LE, size);
    empty
}
