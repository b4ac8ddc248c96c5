//! Instructions that not every x86-64 CPU has, by the function that holds them.
//!
//! Code is decoded one instruction after another, anew from every symbol, so that data between functions cannot make us
//! read the next one wrongly. This needs the symbol table: look at files before they are stripped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use diagnostic::{Error, Result, codes};
use iced_x86::{Code as Opcode, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, Mnemonic, OpKind};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;

use crate::facts::{Machine, machine};
use crate::image::{Image, Section, Strings, Symbol, damaged, text};
use crate::isa::{Isa, beyond_baseline};
use crate::reach::{Edges, Graph};

/// How an instruction is encoded. Old CPUs raise SIGILL at all but `Legacy`, and there at extensions that they lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As on the first x86 CPUs, with prefixes: SSE4.2, POPCNT.
    Legacy,
    /// Three operands: AVX, AVX2, FMA, F16C, BMI, AMX.
    Vex,
    /// AVX-512.
    Evex,
    /// AMD's own: XOP.
    Xop,
    /// AMD's own: 3DNow!, and what else there may be.
    Other,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Legacy => "legacy",
            Encoding::Vex => "VEX",
            Encoding::Evex => "EVEX",
            Encoding::Xop => "XOP",
            Encoding::Other => "3DNow!",
        })
    }
}

/// Instructions of one function that need the same extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The symbol of the function, mangled; `None` for code without one.
    pub function: Option<String>,
    /// The section.
    pub section: String,
    /// Address of the first one.
    pub address: u64,
    /// How many.
    pub count: u64,
    /// How they are encoded.
    pub encoding: Encoding,
    /// Which extensions each of them needs, all of them.
    pub isas: &'static [Isa],
}

impl Use {
    /// The function, for messages.
    pub fn place(&self) -> String {
        place(self.function.as_deref(), &self.section)
    }
}

/// Bytes of a function that are no instruction we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecoded {
    /// The symbol of the function, mangled.
    pub function: String,
    /// Address of the first.
    pub address: u64,
}

/// The machine code of a file.
#[derive(Debug)]
pub struct Code {
    /// Instructions beyond the x86-64 baseline, by address of their functions.
    pub uses: Vec<Use>,
    /// Functions with bytes that we cannot decode, by address.
    pub undecoded: Vec<Undecoded>,
    /// How many instructions were decoded.
    pub instructions: u64,
    pub(crate) graph: Graph,
}

/// A stretch of code that is decoded from its start.
#[derive(Debug)]
pub(crate) struct Region {
    /// The symbol; `None` between and without symbols.
    pub(crate) function: Option<String>,
    pub(crate) section: String,
    pub(crate) addresses: Range<u64>,
}

impl Region {
    pub(crate) fn place(&self) -> String {
        place(self.function.as_deref(), &self.section)
    }
}

fn place(function: Option<&str>, section: &str) -> String {
    function.map_or_else(|| format!("{section} (no symbol)"), ToOwned::to_owned)
}

impl Code {
    /// Decodes all code of an x86-64 file. The file must have its symbol table, or functions have no names.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: not an ELF file for x86-64, or damaged.
    pub fn of(bytes: &[u8]) -> Result<Code> {
        let image = Image::parse(bytes)?;
        if machine(&image)? != Machine::X86_64 {
            return Err(Error::new(
                codes::GATE_FAILED,
                "instructions of other processors than x86-64 are not looked at",
            ));
        }
        let code_size: u64 =
            image.sections.iter().filter(|section| section.is_code()).map(|section| section.size).sum();
        if code_size > bytes.len() as u64 {
            return Err(damaged("its code sections overlap"));
        }
        let regions = regions(&image)?;
        let mut graph = Graph::new(&image)?;
        let mut scan = Scan::default();
        for region in regions {
            let code = image.loaded(region.addresses.start);
            let size = (region.addresses.end - region.addresses.start) as usize;
            let edges = scan.decode(&region, code.get(..size).unwrap_or(code), &graph);
            graph.add(region, edges);
        }
        graph.resolve(&image);
        Ok(Code { uses: scan.uses, undecoded: scan.undecoded, instructions: scan.instructions, graph })
    }

    /// Every extension that is used, with the first use of it and the number of instructions.
    pub fn isas(&self) -> BTreeMap<Isa, (&Use, u64)> {
        let mut isas: BTreeMap<Isa, (&Use, u64)> = BTreeMap::new();
        for found in &self.uses {
            for isa in found.isas {
                isas.entry(*isa).or_insert((found, 0)).1 += found.count;
            }
        }
        isas
    }
}

/// What decoding collects.
#[derive(Default)]
struct Scan {
    uses: Vec<Use>,
    undecoded: Vec<Undecoded>,
    instructions: u64,
    instruction: Instruction,
}

impl Scan {
    fn decode(&mut self, region: &Region, bytes: &[u8], graph: &Graph) -> Edges {
        let mut edges = Edges::default();
        let first_use = self.uses.len();
        let mut undecoded = None;
        let mut decoder = Decoder::with_ip(64, bytes, region.addresses.start, DecoderOptions::NONE);
        while decoder.can_decode() {
            decoder.decode_out(&mut self.instruction);
            let instruction = &self.instruction;
            if instruction.code() == Opcode::INVALID {
                undecoded = undecoded.or(Some(instruction.ip()));
                continue;
            }
            self.instructions += 1;
            let isas = beyond_baseline(instruction.code());
            if !isas.is_empty() {
                let encoding = encoding(instruction);
                let known = self.uses[first_use..].iter_mut();
                match known.into_iter().find(|found| found.encoding == encoding && found.isas == isas) {
                    Some(found) => found.count += 1,
                    None => self.uses.push(Use {
                        function: region.function.clone(),
                        section: region.section.clone(),
                        address: instruction.ip(),
                        count: 1,
                        encoding,
                        isas,
                    }),
                }
            }
            note_edges(instruction, &region.addresses, graph, &mut edges);
        }
        // Between functions lies padding, and data now and then.
        if let (Some(function), Some(address)) = (region.function.clone(), undecoded) {
            self.undecoded.push(Undecoded { function, address });
        }
        edges.finish();
        edges
    }
}

fn encoding(instruction: &Instruction) -> Encoding {
    match instruction.encoding() {
        EncodingKind::Legacy => Encoding::Legacy,
        EncodingKind::VEX => Encoding::Vex,
        EncodingKind::EVEX => Encoding::Evex,
        EncodingKind::XOP => Encoding::Xop,
        _ => Encoding::Other,
    }
}

/// Where an instruction may lead: calls and jumps out of the function, and addresses of functions that it takes.
fn note_edges(instruction: &Instruction, own: &Range<u64>, graph: &Graph, edges: &mut Edges) {
    let target = instruction.near_branch_target();
    match instruction.flow_control() {
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch | FlowControl::Call
            if target != 0 && !own.contains(&target) =>
        {
            edges.calls.push(target);
        }
        FlowControl::IndirectCall | FlowControl::IndirectBranch => {
            if instruction.op0_kind() == OpKind::Memory && instruction.is_ip_rel_memory_operand() {
                edges.slots.push(instruction.ip_rel_memory_address());
            } else if instruction.flow_control() == FlowControl::IndirectCall {
                edges.indirect += 1;
            }
        }
        FlowControl::Next if instruction.is_ip_rel_memory_operand() => {
            let address = instruction.ip_rel_memory_address();
            match instruction.mnemonic() {
                Mnemonic::Lea if graph.is_code(address) => edges.taken.push(address),
                Mnemonic::Mov if graph.slot_is_code(address) => edges.taken_slots.push(address),
                _ => {}
            }
        }
        _ => {}
    }
}

/// All code, cut at the symbols of functions.
fn regions(image: &Image<'_>) -> Result<Vec<Region>> {
    let mut regions = Vec::new();
    let (mut symbols, mut names) = image.symbols(elf::SHT_SYMTAB)?;
    if symbols.is_empty() {
        (symbols, names) = image.symbols(elf::SHT_DYNSYM)?;
    }
    let starts = starts(symbols, &names)?;
    let mut sections: Vec<&Section> = image.sections.iter().filter(|section| section.is_code()).collect();
    sections.sort_unstable_by_key(|section| section.address);
    let mut seen = 0;
    for section in sections {
        let end = section.address.checked_add(section.size).ok_or_else(|| damaged("a section ends outside memory"))?;
        // Overlapping sections have no place in what is loaded.
        if section.address < seen || image.loaded(section.address).len() < section.size as usize {
            return Err(damaged(format_args!("its code section `{}` is not where it says", section.name)));
        }
        seen = end;
        cut(section, end, &starts, &mut regions);
    }
    Ok(regions)
}

/// A function's symbol: where it starts, how long it is (zero if unknown), its name.
type Start = (u64, u64, String);

/// One symbol per address, by address.
fn starts(symbols: &[Symbol], names: &Strings<'_>) -> Result<Vec<Start>> {
    let mut candidates: Vec<&Symbol> = symbols
        .iter()
        .filter(|symbol| !symbol.is_undefined(LE) && symbol.st_name.get(LE) != 0)
        .filter(|symbol| matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_NOTYPE))
        .collect();
    // The best name of an address comes first: a function's, a sized one, one that others know.
    let rank = |symbol: &Symbol| {
        let size = u64::MAX - symbol.st_size.get(LE);
        (symbol.st_value.get(LE), symbol.st_type() == elf::STT_NOTYPE, size, symbol.is_local(), symbol.st_name.get(LE))
    };
    candidates.sort_by_key(|symbol| rank(symbol));
    let mut starts: Vec<Start> = Vec::new();
    let mut function_end = 0;
    for symbol in candidates {
        let (address, size) = (symbol.st_value.get(LE), symbol.st_size.get(LE));
        let is_label = symbol.st_type() == elf::STT_NOTYPE && address < function_end;
        if is_label || starts.last().is_some_and(|last| last.0 == address) {
            continue;
        }
        function_end = function_end.max(address.saturating_add(size));
        starts.push((address, size, text(names.get(symbol.st_name.get(LE))?)));
    }
    Ok(starts)
}

/// Cuts one section: functions, and what lies between them.
fn cut(section: &Section, end: u64, starts: &[Start], regions: &mut Vec<Region>) {
    let first = starts.partition_point(|start| start.0 < section.address);
    let mut add = |function: Option<&str>, addresses: Range<u64>| {
        if !addresses.is_empty() {
            let function = function.map(ToOwned::to_owned);
            regions.push(Region { function, section: section.name.clone(), addresses });
        }
    };
    let inside = starts[first..].iter().take_while(|start| start.0 < end).collect::<Vec<_>>();
    add(None, section.address..inside.first().map_or(end, |start| start.0));
    for (position, (start, size, name)) in inside.iter().enumerate() {
        let next = inside.get(position + 1).map_or(end, |next| next.0);
        let own_end = if *size == 0 { next } else { start.saturating_add(*size).min(next) };
        add(Some(name), *start..own_end);
        add(None, own_end..next);
    }
}

/// Names, without repetition, for messages.
pub(crate) fn names(isas: impl IntoIterator<Item = Isa>) -> String {
    let names: BTreeSet<String> = isas.into_iter().map(|isa| isa.to_string()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
