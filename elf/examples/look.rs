//! `cargo run -p elf --example look -- FILE...`: what the library sees in unstripped files, as plain lines.

use std::path::Path;
use std::time::Instant;

use elf::{Code, Facts, Machine};

fn main() {
    for name in std::env::args().skip(1) {
        if let Err(error) = look(Path::new(&name)) {
            eprintln!("{name}: {error}");
        }
    }
}

fn look(path: &Path) -> diagnostic::Result<()> {
    let bytes = elf::read(path)?;
    let facts = Facts::of(&bytes)?;
    let stripped = elf::strip(&bytes)?;
    println!("{}: {} bytes, {} stripped", path.display(), bytes.len(), stripped.len());
    println!("  needed {:?}, search {:?}, {:?}, {:?}", facts.needed, facts.search, facts.kind, facts.interpreter);
    for required in &facts.required {
        println!("  {} {}_{}: {:?}", required.library, required.family, required.version, required.symbols);
    }
    println!("  {} exports, unnumbered {:?}, stack {}", facts.exports.len(), facts.unnumbered, facts.executable_stack);
    if facts.machine != Machine::X86_64 {
        return Ok(());
    }
    let start = Instant::now();
    let code = Code::of(&bytes)?;
    println!("  {} instructions in {:?}; undecoded {:?}", code.instructions, start.elapsed(), code.undecoded);
    for (isa, (first, count)) in code.isas() {
        println!("  {isa:?} {count} first in {} at {:#x}", first.place(), first.address);
    }
    for found in code.uses.iter().take(4) {
        println!("  use {} {:?} x{} in {}", found.encoding, found.isas, found.count, found.place());
    }
    let reach = code.reach(&["ggml_backend_score"]);
    println!(
        "  reach {} functions, {} indirect calls, missing {:?}",
        reach.functions.len(),
        reach.indirect_calls,
        reach.missing
    );
    for reached in reach.functions.iter().take(12) {
        println!("    reached {:?}", reached.chain);
    }
    for (found, chain) in reach.uses.iter().take(10) {
        println!("    {:?} by {chain:?}", found.isas);
    }
    Ok(())
}
