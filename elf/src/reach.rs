//! What can run when a file is loaded and one of its functions is called: the direct calls from there.
//!
//! A CPU backend is loaded on CPUs that cannot run it, to be asked for its score. All that happens on the way must be
//! plain x86-64: constructors, the score function, and destructors when the backend is let go again.

use std::collections::{BTreeMap, HashMap, VecDeque};

use diagnostic::Result;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic, OpKind};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{SectionHeader as _, Sym as _};

use crate::code::{Code, Region, Use};
use crate::image::{Image, damaged, text};

/// Functions that keep the address of another one, to call it when the file is let go.
const REGISTER: [&str; 3] = ["__cxa_atexit", "atexit", "__cxa_thread_atexit"];

/// More pointers than that in one file are refused; the largest tools have a hundred thousand.
const SLOT_LIMIT: usize = 1 << 24;
/// Longer chains of callers are cut at the entry's end.
const CHAIN_LIMIT: usize = 16;

/// One function that can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its symbol, or the section of code that has none.
    pub function: String,
    /// Who calls it, from the entry (`.init_array`, an exported function) down to itself. Of more than 16 the first is
    /// `...`.
    pub chain: Vec<String>,
}

/// What can run from some entries by direct calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach<'a> {
    /// The functions, nearest first.
    pub functions: Vec<Reached>,
    /// Their instructions beyond the x86-64 baseline, each with its chain of callers.
    pub uses: Vec<(&'a Use, Vec<String>)>,
    /// Calls through pointers in those functions; where they lead is not known.
    pub indirect_calls: u64,
    /// Entries that the file does not have.
    pub missing: Vec<String>,
}

/// Where the code of one region leads.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// Addresses that are called or jumped to, outside the region.
    pub(crate) calls: Vec<u64>,
    /// Addresses of pointers that are called or jumped through.
    pub(crate) slots: Vec<u64>,
    /// Addresses of code that are taken.
    pub(crate) taken: Vec<u64>,
    /// Addresses of pointers to code that are read.
    pub(crate) taken_slots: Vec<u64>,
    /// Calls through registers and other pointers.
    pub(crate) indirect: u64,
}

impl Edges {
    pub(crate) fn finish(&mut self) {
        for list in [&mut self.calls, &mut self.slots, &mut self.taken, &mut self.taken_slots] {
            list.sort_unstable();
            list.dedup();
            list.shrink_to_fit();
        }
    }
}

/// What a pointer that the dynamic linker fills will hold.
#[derive(Clone, Debug)]
enum Target {
    Own(u64),
    Import(String),
}

/// The calls between the regions of a file.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Addresses of executable sections, sorted.
    code: Vec<(u64, u64)>,
    slots: HashMap<u64, Target>,
    /// What the dynamic linker calls: where it is named, and its address.
    loader: Vec<(&'static str, u64)>,
    exports: HashMap<String, u64>,
    regions: Vec<Region>,
    edges: Vec<Edges>,
    /// Regions that each region leads to.
    calls: Vec<Vec<u32>>,
}

impl Graph {
    pub(crate) fn new(image: &Image<'_>) -> Result<Graph> {
        let mut code: Vec<_> = image
            .sections
            .iter()
            .filter(|section| section.is_code())
            .map(|section| (section.address, section.address.saturating_add(section.size)))
            .collect();
        code.sort_unstable();
        let mut graph = Graph {
            code,
            slots: HashMap::new(),
            loader: Vec::new(),
            exports: HashMap::new(),
            regions: Vec::new(),
            edges: Vec::new(),
            calls: Vec::new(),
        };
        graph.read_exports(image)?;
        graph.read_relocations(image)?;
        graph.read_loader_entries(image)?;
        Ok(graph)
    }

    pub(crate) fn is_code(&self, address: u64) -> bool {
        let after = self.code.partition_point(|(start, _)| *start <= address);
        after > 0 && address < self.code[after - 1].1
    }

    /// Whether the dynamic linker fills the pointer at an address with one to our own code.
    pub(crate) fn slot_is_code(&self, address: u64) -> bool {
        matches!(self.slots.get(&address), Some(Target::Own(target)) if self.is_code(*target))
    }

    /// Adds the next region; they come in the order of their addresses.
    pub(crate) fn add(&mut self, region: Region, edges: Edges) {
        self.regions.push(region);
        self.edges.push(edges);
    }

    fn read_exports(&mut self, image: &Image<'_>) -> Result<()> {
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let (symbols, names) = image.symbols(kind)?;
            for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(LE) && !symbol.is_local()) {
                if self.is_code(symbol.st_value.get(LE)) {
                    self.exports.insert(text(names.get(symbol.st_name.get(LE))?), symbol.st_value.get(LE));
                }
            }
        }
        Ok(())
    }

    fn read_relocations(&mut self, image: &Image<'_>) -> Result<()> {
        let (symbols, names) = image.symbols(elf::SHT_DYNSYM)?;
        for section in image.table.iter().filter(|section| section.sh_flags(LE) & u64::from(elf::SHF_ALLOC) != 0) {
            if let Some(relocations) = section.relr(LE, image.bytes).map_err(damaged)? {
                for address in relocations {
                    if let Some(value) = image.word(address).filter(|value| self.is_code(*value)) {
                        self.slots.insert(address, Target::Own(value));
                    }
                }
            }
            let Some((relocations, _)) = section.rela(LE, image.bytes).map_err(damaged)? else { continue };
            for relocation in relocations {
                let addend = relocation.r_addend.get(LE);
                let target = match relocation.r_type(LE, false) {
                    elf::R_X86_64_RELATIVE => Target::Own(addend.cast_unsigned()),
                    elf::R_X86_64_IRELATIVE => {
                        self.loader.push(("an IFUNC resolver", addend.cast_unsigned()));
                        continue;
                    }
                    elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT | elf::R_X86_64_64 => {
                        let Some(symbol) = symbols.get(relocation.r_sym(LE, false) as usize) else { continue };
                        if symbol.is_undefined(LE) {
                            Target::Import(text(names.get(symbol.st_name.get(LE))?))
                        } else {
                            if symbol.st_type() == elf::STT_GNU_IFUNC {
                                self.loader.push(("an IFUNC resolver", symbol.st_value.get(LE)));
                            }
                            Target::Own(symbol.st_value.get(LE).wrapping_add_signed(addend))
                        }
                    }
                    _ => continue,
                };
                self.slots.insert(relocation.r_offset.get(LE), target);
                if self.slots.len() > SLOT_LIMIT {
                    return Err(damaged("it has too many relocations"));
                }
            }
        }
        Ok(())
    }

    /// Constructors and destructors.
    fn read_loader_entries(&mut self, image: &Image<'_>) -> Result<()> {
        let entries = image.dynamic()?;
        let value = |wanted: i64| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        for (name, tag) in [("DT_INIT", elf::DT_INIT), ("DT_FINI", elf::DT_FINI)] {
            self.loader.extend(value(tag).map(|address| (name, address)));
        }
        for (name, array, size) in [
            (".preinit_array", elf::DT_PREINIT_ARRAY, elf::DT_PREINIT_ARRAYSZ),
            (".init_array", elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ),
            (".fini_array", elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ),
        ] {
            let (Some(array), Some(size)) = (value(array), value(size)) else { continue };
            let words = image.loaded(array).chunks_exact(8).take(usize::try_from(size / 8).unwrap_or(usize::MAX));
            for (position, word) in words.enumerate() {
                let address = match self.slots.get(&(array + position as u64 * 8)) {
                    Some(Target::Own(address)) => *address,
                    Some(Target::Import(_)) => continue,
                    None => word.first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default(),
                };
                // Empty places hold 0 or -1.
                if self.is_code(address) {
                    self.loader.push((name, address));
                }
            }
        }
        Ok(())
    }

    /// The region that an address lies in.
    fn region(&self, address: u64) -> Option<u32> {
        let after = self.regions.partition_point(|region| region.addresses.start <= address);
        let region = after.checked_sub(1)?;
        self.regions[region].addresses.contains(&address).then_some(region as u32)
    }

    /// Turns addresses into regions; called once, when all regions are there.
    pub(crate) fn resolve(&mut self, image: &Image<'_>) {
        let mut stubs: HashMap<u64, Option<u64>> = HashMap::new();
        let mut calls = Vec::with_capacity(self.regions.len());
        for edges in std::mem::take(&mut self.edges) {
            let mut own: Vec<u32> = Vec::new();
            let mut registers = false;
            let mut slots = edges.slots;
            for address in edges.calls {
                let Some(region) = self.region(address) else { continue };
                // A stub of the procedure linkage table has no symbol and jumps through a pointer.
                let stub = match self.regions[region as usize].function {
                    Some(_) => None,
                    None => *stubs.entry(address).or_insert_with(|| stub(image, address)),
                };
                match stub {
                    Some(slot) => slots.push(slot),
                    None => own.push(region),
                }
                // glibc links a small `atexit` of its own into every library.
                registers |= self.regions[region as usize].function.as_deref().is_some_and(is_register);
            }
            for slot in &slots {
                match self.slots.get(slot) {
                    Some(Target::Own(address)) => own.extend(self.region(*address)),
                    Some(Target::Import(name)) => registers |= is_register(name),
                    None => {}
                }
            }
            if registers {
                own.extend(edges.taken.iter().filter_map(|address| self.region(*address)));
                for slot in &edges.taken_slots {
                    if let Some(Target::Own(address)) = self.slots.get(slot) {
                        own.extend(self.region(*address));
                    }
                }
            }
            own.sort_unstable();
            own.dedup();
            calls.push(own);
            self.edges.push(Edges { indirect: edges.indirect, ..Edges::default() });
        }
        self.calls = calls;
    }
}

fn is_register(name: &str) -> bool {
    REGISTER.contains(&name)
}

/// The pointer that a stub jumps through, if the code at an address is one.
fn stub(image: &Image<'_>, address: u64) -> Option<u64> {
    let code = image.loaded(address);
    let mut decoder = Decoder::with_ip(64, &code[..code.len().min(32)], address, DecoderOptions::NONE);
    let mut instructions = decoder.iter();
    let mut first = instructions.next()?;
    if first.mnemonic() == Mnemonic::Endbr64 {
        first = instructions.next()?;
    }
    let jumps_through_memory = first.flow_control() == FlowControl::IndirectBranch
        && first.op0_kind() == OpKind::Memory
        && first.is_ip_rel_memory_operand();
    jumps_through_memory.then(|| first.ip_rel_memory_address())
}

impl Code {
    /// What can run when the file is loaded, the functions `entries` are called, and it is let go: constructors, IFUNC
    /// resolvers, destructors (also those that are registered with `atexit`), and all that they call directly, also
    /// through the procedure linkage table.
    ///
    /// Calls through other pointers are counted, not followed. Code of other files is theirs to answer for.
    pub fn reach(&self, entries: &[&str]) -> Reach<'_> {
        let graph = &self.graph;
        let mut reach = Reach::default();
        let mut starts: Vec<(String, u64)> =
            graph.loader.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        for entry in entries {
            match graph.exports.get(*entry) {
                Some(address) => starts.push((String::new(), *address)),
                None => reach.missing.push((*entry).to_owned()),
            }
        }
        // Each region with the one that leads to it.
        let mut from: BTreeMap<u32, Result<u32, String>> = BTreeMap::new();
        let mut queue = VecDeque::new();
        for (name, address) in starts {
            if let Some(region) = graph.region(address) {
                from.entry(region).or_insert_with(|| {
                    queue.push_back(region);
                    Err(name)
                });
            }
        }
        let mut uses: HashMap<(Option<&str>, &str), Vec<&Use>> = HashMap::new();
        for found in &self.uses {
            uses.entry((found.function.as_deref(), &found.section)).or_default().push(found);
        }
        while let Some(region) = queue.pop_front() {
            for next in &graph.calls[region as usize] {
                from.entry(*next).or_insert_with(|| {
                    queue.push_back(*next);
                    Ok(region)
                });
            }
            reach.indirect_calls += graph.edges[region as usize].indirect;
            let place = &graph.regions[region as usize];
            let chain = chain(&from, graph, region);
            for found in uses.get(&(place.function.as_deref(), place.section.as_str())).into_iter().flatten() {
                // Names are not unique: local functions of two files may share one.
                if place.addresses.contains(&found.address) {
                    reach.uses.push((found, chain.clone()));
                }
            }
            reach.functions.push(Reached { function: place.place(), chain });
        }
        reach
    }
}

/// The way to a region, from its entry.
fn chain(from: &BTreeMap<u32, std::result::Result<u32, String>>, graph: &Graph, region: u32) -> Vec<String> {
    let mut chain = Vec::new();
    let mut at = region;
    loop {
        if chain.len() == CHAIN_LIMIT {
            chain.push("...".to_owned());
            break;
        }
        chain.push(graph.regions[at as usize].place());
        match from.get(&at) {
            Some(Ok(caller)) => at = *caller,
            Some(Err(entry)) if !entry.is_empty() => {
                chain.push(entry.clone());
                break;
            }
            _ => break,
        }
    }
    chain.reverse();
    chain
}
