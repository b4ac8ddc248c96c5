//! Machines by name, to plan for one without having it: [`find`].
//!
//! The facts lie in `planner/profiles.toml`, each with its source and date. There are no speeds among them: what a model
//! would do is computed from bandwidth elsewhere, and labelled as such.

mod find;

use std::sync::LazyLock;

use serde::Deserialize;

pub use find::{Found, How, find};

const FILE: &str = include_str!("../../profiles.toml");

/// The layout of the file that this crate reads.
pub const SCHEMA: u32 = 1;

/// All of `profiles.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The layout of this file: 1.
    pub schema: u32,
    /// How much of each kind of memory a model may take.
    pub usable: UsableRules,
    /// The machines, those of one vendor together.
    pub profiles: Vec<Profile>,
    /// Where the facts are from.
    pub sources: Vec<Source>,
}

/// One machine, or the part of one that computes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is called on a command line: lower case, with dashes.
    pub name: String,
    /// What its vendor calls it.
    pub title: String,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Who makes it.
    pub vendor: Vendor,
    /// What it is.
    pub kind: Kind,
    /// What its makers call its design, such as `Ampere` or `Zen 4`.
    pub architecture: String,
    /// The sizes of memory that it is sold with, smallest first, in GiB; none for a CPU, whose memory is its machine's.
    pub memory_gib: Vec<u32>,
    /// Peak bandwidth between memory and chip, in 10^9 bytes per second.
    pub bandwidth_gbs: f64,
    /// Whether CPU and GPU share one memory.
    pub unified: bool,
    /// Which rule says how much of the memory a model may take.
    pub usable: Usable,
    /// As how many GPUs it shows; memory and bandwidth are those of each.
    #[serde(default = "one")]
    pub devices: u32,
    /// The cores of its CPU, if it has one.
    #[serde(default)]
    pub cores: Option<Cores>,
    /// What its GPU can run: a compute capability of CUDA such as `8.6`, or a target of HIP such as `gfx1100`.
    #[serde(default)]
    pub compute: Option<String>,
    /// What its CPU can run, such as `x86-64-v4` or `armv8.2-a`.
    #[serde(default)]
    pub isa: Option<String>,
    /// How it is cooled.
    pub thermal: Thermal,
    /// What a person should know beside.
    #[serde(default)]
    pub note: Option<String>,
    /// The fields that none of the sources says in so many words.
    #[serde(default)]
    pub unconfirmed: Vec<String>,
    /// Where its facts are from: ids of [`Catalogue::sources`].
    pub sources: Vec<String>,
}

fn one() -> u32 {
    1
}

/// Who makes a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "names say it")]
pub enum Vendor {
    Amd,
    Ampere,
    Apple,
    Aws,
    Intel,
    Nvidia,
}

/// What a profile describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A card with memory of its own; the machine around it is another matter.
    Gpu,
    /// CPU and GPU on one memory.
    Soc,
    /// A CPU without a GPU that counts.
    Cpu,
}

/// Cores that compute alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// Fast ones.
    pub performance: u32,
    /// Slow ones that take little power.
    pub efficiency: u32,
}

/// How a machine is cooled; where a chip is sold in several, the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Thermal {
    /// No fan, or a box of which nobody knows: gets slower within minutes.
    Passive,
    /// Small fans, and perhaps a battery.
    Laptop,
    /// Fans that suffice.
    Active,
    /// The fans of a rack.
    Server,
}

/// Which rule says how much of a memory a model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Usable {
    /// The part of a Mac's memory that its GPU may keep.
    Apple,
    /// Memory that CPU and GPU share, other than Apple's.
    Shared,
    /// The memory of a card.
    Vram,
    /// The memory of a card that loses a part of it to error correction.
    VramEcc,
    /// Main memory.
    Ram,
}

/// The rules for each kind of memory.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as the variants of `Usable`")]
pub struct UsableRules {
    pub apple: Rule,
    pub shared: Rule,
    pub vram: Rule,
    pub vram_ecc: Rule,
    pub ram: Rule,
}

/// How much of a memory a model may take, and why.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// By size; the first that fits counts, and the last fits all.
    pub shares: Vec<Share>,
    /// In a sentence.
    pub why: String,
    /// Ids of [`Catalogue::sources`]; none for a reserve of our own.
    pub sources: Vec<String>,
}

/// A share of memories up to a size.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The largest memory that it is for; none for all that are left.
    #[serde(default)]
    pub up_to_gib: Option<u32>,
    /// Between 0 and 1.
    pub share: f64,
}

/// Where facts are from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What profiles call it.
    pub id: String,
    /// What it says.
    pub what: String,
    /// How close to the maker it is.
    pub kind: SourceKind,
    /// Where it is.
    pub url: String,
    /// When it was published or, for pages that change, looked at: `2026-11-28`.
    pub date: String,
}

/// How close to the maker a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The maker's own page or data sheet.
    Vendor,
    /// An article about what the maker announced.
    Report,
    /// A collection of specifications.
    Table,
    /// What somebody measured.
    Measured,
}

/// The catalogue that is part of this crate.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| parse(FILE).expect("a test reads the same file"));
    &CATALOGUE
}

/// Reads a catalogue.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn parse(text: &str) -> Result<Catalogue, toml::de::Error> {
    toml::from_str(text)
}

/// The JSON Schema of the file: indented JSON with a final newline, always the same bytes.
#[cfg(feature = "schema")]
pub fn schema() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
    let schema = settings.into_generator().into_root_schema_for::<Catalogue>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

impl Profile {
    /// How many of `memory` bytes a model may take on it.
    pub fn usable_bytes(&self, memory: u64) -> u64 {
        let rules = &catalogue().usable;
        let rule = match self.usable {
            Usable::Apple => &rules.apple,
            Usable::Shared => &rules.shared,
            Usable::Vram => &rules.vram,
            Usable::VramEcc => &rules.vram_ecc,
            Usable::Ram => &rules.ram,
        };
        rule.usable_bytes(memory)
    }
}

impl Rule {
    /// How many of `memory` bytes a model may take; the smallest share where no row is for such a memory.
    pub fn usable_bytes(&self, memory: u64) -> u64 {
        let fits = |row: &&Share| row.up_to_gib.is_none_or(|most| memory <= u64::from(most) << 30);
        let smallest = || self.shares.iter().map(|row| row.share).fold(1.0, f64::min);
        let share = self.shares.iter().find(fits).map_or_else(smallest, |row| row.share);
        (memory as f64 * share) as u64
    }
}
