//! What the dynamic linker, the kernel and a debugger will find in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diagnostic::{Error, Result, codes};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};

use crate::image::{Image, damaged, text};
use crate::{BuildId, Version};

/// More version references than glibc has symbols: a damaged file.
const VERSION_LIMIT: usize = 1 << 16;

/// For which processor a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// What a file is to the kernel and the dynamic linker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An executable with a fixed address.
    FixedExecutable,
    /// A position-independent executable.
    PieExecutable,
    /// A shared library.
    SharedLibrary,
    /// An object file, a core dump or another file that is neither run nor loaded.
    Other,
}

/// One entry of `DT_RPATH` or `DT_RUNPATH`, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// `RPATH` or `RUNPATH`.
    pub tag: &'static str,
    /// One directory; `$ORIGIN` stands for the file's own.
    pub directory: String,
}

/// The newest version that a file needs of one family of symbol versions of one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// The library, such as `libc.so.6`.
    pub library: String,
    /// The family: `GLIBC` of `GLIBC_2.27`.
    pub family: String,
    /// The newest version.
    pub version: Version,
    /// The symbols that need it, sorted; empty if the version itself is all that is asked for.
    pub symbols: Vec<String>,
}

/// What a file asks for and offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// For which processor.
    pub machine: Machine,
    /// Executable or library.
    pub kind: Kind,
    /// `DT_NEEDED`: libraries that are loaded with it, in order.
    pub needed: Vec<String>,
    /// `DT_SONAME`: what it is called by those that need it.
    pub soname: Option<String>,
    /// Where libraries are searched, in order.
    pub search: Vec<SearchPath>,
    /// `PT_INTERP`: the dynamic linker.
    pub interpreter: Option<String>,
    /// The newest version per library and family, sorted. References that may stay unresolved (weak) do not count.
    pub required: Vec<Required>,
    /// Versions that are no numbers, as `GLIBC_PRIVATE` or `GLIBC_ABI_DT_RELR`, with their libraries.
    pub unnumbered: BTreeSet<(String, String)>,
    /// Versions that it defines, such as `GLIBC_2.27`: others may ask it for these.
    pub defines: BTreeSet<String>,
    /// Dynamic symbols that others may bind to.
    pub exports: BTreeSet<String>,
    /// The stack is executable because of this file; glibc takes a missing `PT_GNU_STACK` for that.
    pub executable_stack: bool,
    /// A segment is writable and executable.
    pub writable_code: bool,
    /// The dynamic linker must write to code (`DT_TEXTREL`).
    pub text_relocations: bool,
    /// `NT_GNU_BUILD_ID`.
    pub build_id: Option<BuildId>,
    /// The file has a `.symtab`.
    pub symbol_table: bool,
    /// The file has `.debug_*` or `.zdebug_*` sections.
    pub debug_sections: bool,
}

impl Facts {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or [`Facts::of`] refuses it.
    pub fn read(path: &Path) -> Result<Facts> {
        Facts::of(&crate::read(path)?).map_err(|error| error.context(format!("`{}`", path.display())))
    }

    /// What the bytes of a file say.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: not an ELF file for x86-64 or arm64, or damaged.
    pub fn of(bytes: &[u8]) -> Result<Facts> {
        let image = Image::parse(bytes)?;
        let machine = machine(&image)?;
        let entries = image.dynamic()?;
        let strings = image.dynamic_strings(&entries)?;
        let all = |wanted: i64| entries.iter().filter(move |(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let string = |offset: u64| strings.get(offset).map(text);
        let has_flag = |tag, flag: u32| all(tag).any(|value| value & u64::from(flag) != 0);

        let mut search = Vec::new();
        for (tag, wanted) in [("RPATH", elf::DT_RPATH), ("RUNPATH", elf::DT_RUNPATH)] {
            for value in all(wanted) {
                search.extend(string(value)?.split(':').map(|part| SearchPath { tag, directory: part.to_owned() }));
            }
        }
        let mut interpreter = None;
        // Debug files keep the segment without its bytes.
        for segment in image.segments.iter().filter(|segment| segment.p_filesz(LE) > 0) {
            interpreter = interpreter.or(segment.interpreter(LE, bytes).map_err(damaged)?.map(text));
        }
        let (required, unnumbered) = versions(&image)?;
        let loaded = |flags: u32| {
            let segments = image.segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
            segments.into_iter().any(|segment| segment.p_flags(LE) & flags == flags)
        };
        let stack = image.segments.iter().find(|segment| segment.p_type(LE) == elf::PT_GNU_STACK);
        let kind = match image.header.e_type(LE) {
            elf::ET_EXEC => Kind::FixedExecutable,
            // Older linkers do not set the flag; libraries that can be run (libc) have an interpreter, too, but a name.
            elf::ET_DYN if has_flag(elf::DT_FLAGS_1, elf::DF_1_PIE) => Kind::PieExecutable,
            elf::ET_DYN if interpreter.is_some() && all(elf::DT_SONAME).next().is_none() => Kind::PieExecutable,
            elf::ET_DYN => Kind::SharedLibrary,
            _ => Kind::Other,
        };
        let runs = kind != Kind::Other;
        Ok(Facts {
            machine,
            kind,
            needed: all(elf::DT_NEEDED).map(string).collect::<Result<_>>()?,
            soname: all(elf::DT_SONAME).next().map(string).transpose()?,
            search,
            interpreter,
            required,
            unnumbered,
            defines: defines(&image)?,
            exports: exports(&image)?,
            executable_stack: runs && stack.is_none_or(|stack| stack.p_flags(LE) & elf::PF_X != 0),
            writable_code: loaded(elf::PF_W | elf::PF_X),
            text_relocations: all(elf::DT_TEXTREL).next().is_some() || has_flag(elf::DT_FLAGS, elf::DF_TEXTREL),
            build_id: BuildId::of(&image)?,
            symbol_table: image.sections.iter().any(|section| section.kind == elf::SHT_SYMTAB),
            debug_sections: image
                .sections
                .iter()
                .any(|section| section.name.starts_with(".debug_") || section.name.starts_with(".zdebug_")),
        })
    }
}

pub(crate) fn machine(image: &Image<'_>) -> Result<Machine> {
    match image.header.e_machine(LE) {
        elf::EM_X86_64 => Ok(Machine::X86_64),
        elf::EM_AARCH64 => Ok(Machine::Aarch64),
        other => {
            Err(Error::new(codes::GATE_FAILED, format!("an ELF file for machine {other}, not for x86-64 or arm64")))
        }
    }
}

/// A version reference of the file: library, version, whether the file loads without it.
struct Reference {
    library: String,
    name: String,
    weak: bool,
}

/// The version references by their index in the version table.
fn references(image: &Image<'_>) -> Result<BTreeMap<u16, Reference>> {
    let mut references = BTreeMap::new();
    let mut seen = 0;
    let Some((mut libraries, link)) = image.table.gnu_verneed(LE, image.bytes).map_err(damaged)? else {
        return Ok(references);
    };
    let strings = image.linked_strings(link)?;
    while let Some((library, mut versions)) = libraries.next().map_err(damaged)? {
        let library = text(strings.get(library.vn_file.get(LE))?);
        while let Some(version) = versions.next().map_err(damaged)? {
            seen += 1;
            if seen > VERSION_LIMIT {
                return Err(damaged("it has too many symbol versions"));
            }
            let reference = Reference {
                library: library.clone(),
                name: text(strings.get(version.vna_name.get(LE))?),
                weak: version.vna_flags.get(LE) & elf::VER_FLG_WEAK != 0,
            };
            references.insert(version.vna_other.get(LE) & elf::VERSYM_VERSION, reference);
        }
    }
    Ok(references)
}

type Unnumbered = BTreeSet<(String, String)>;

fn versions(image: &Image<'_>) -> Result<(Vec<Required>, Unnumbered)> {
    let mut newest: BTreeMap<(&str, &str), (Version, u16)> = BTreeMap::new();
    let mut unnumbered = Unnumbered::new();
    let references = references(image)?;
    for (index, reference) in references.iter().filter(|(_, reference)| !reference.weak) {
        let numbered = reference.name.rsplit_once('_').and_then(|(family, text)| {
            let version: Version = text.parse().ok()?;
            Some((family, version))
        });
        let Some((family, version)) = numbered else {
            unnumbered.insert((reference.library.clone(), reference.name.clone()));
            continue;
        };
        let entry = newest.entry((&reference.library, family)).or_insert_with(|| (version.clone(), *index));
        if version > entry.0 {
            *entry = (version, *index);
        }
    }
    let mut symbols = symbols_by_version(image)?;
    let required = newest.into_iter().map(|((library, family), (version, index))| Required {
        library: library.to_owned(),
        family: family.to_owned(),
        version,
        symbols: symbols.remove(&index).unwrap_or_default().into_iter().collect(),
    });
    Ok((required.collect(), unnumbered))
}

/// Undefined symbols by the index of the version that they ask for.
fn symbols_by_version(image: &Image<'_>) -> Result<BTreeMap<u16, BTreeSet<String>>> {
    let mut found: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    let Some((indices, _)) = image.table.gnu_versym(LE, image.bytes).map_err(damaged)? else { return Ok(found) };
    let (symbols, names) = image.symbols(elf::SHT_DYNSYM)?;
    for (symbol, index) in symbols.iter().zip(indices).filter(|(symbol, _)| symbol.is_undefined(LE)) {
        let name = names.get(symbol.st_name.get(LE))?;
        found.entry(index.0.get(LE) & elf::VERSYM_VERSION).or_default().insert(text(name));
    }
    Ok(found)
}

/// The names of the versions that a file defines. The first one is the file's own name.
fn defines(image: &Image<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let Some((mut versions, link)) = image.table.gnu_verdef(LE, image.bytes).map_err(damaged)? else {
        return Ok(names);
    };
    let strings = image.linked_strings(link)?;
    let mut seen = 0;
    while let Some((version, mut aux)) = versions.next().map_err(damaged)? {
        seen += 1;
        if seen > VERSION_LIMIT {
            return Err(damaged("it defines too many symbol versions"));
        }
        // What follows the first name are the versions that it includes.
        if version.vd_flags.get(LE) & elf::VER_FLG_BASE == 0
            && let Some(name) = aux.next().map_err(damaged)?
        {
            names.insert(text(strings.get(name.vda_name.get(LE))?));
        }
    }
    Ok(names)
}

fn exports(image: &Image<'_>) -> Result<BTreeSet<String>> {
    let (symbols, names) = image.symbols(elf::SHT_DYNSYM)?;
    let open = |symbol: &&elf::Sym64<LE>| {
        !symbol.is_undefined(LE)
            && !symbol.is_local()
            && matches!(symbol.st_visibility(), elf::STV_DEFAULT | elf::STV_PROTECTED)
    };
    let name = |symbol: &elf::Sym64<LE>| names.get(symbol.st_name.get(LE)).map(text);
    symbols.iter().filter(open).map(name).filter(|name| name.as_ref().map_or(true, |name| !name.is_empty())).collect()
}
