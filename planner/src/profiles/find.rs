//! Which machine a name means.

use super::{Cores, Kind, Profile, Thermal, Usable, Vendor, catalogue};

/// How many names are suggested.
const NEAREST: usize = 3;

/// Words that vendors put around a name, and that drivers put behind it.
const FILLERS: [&str; 14] = [
    "amd", "apple", "aws", "chip", "geforce", "graphics", "instinct", "intel", "nvidia", "radeon", "sxm2", "sxm3",
    "sxm4", "tesla",
];

/// A machine, and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is known of it; of a fallback, what is safe to assume.
    pub profile: Profile,
    /// Bytes of its memory, of each device: as named, or the least that it is sold with. `None` for a CPU.
    pub memory: Option<u64>,
    /// How sure that is.
    pub how: How,
}

/// How a machine was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// By its name, and with its memory.
    Named,
    /// By its name; it is sold with these sizes of memory in GiB, of which the first was taken.
    SmallestMemory(Vec<u32>),
    /// Not at all: the values are the least of all machines that are known. These names are the nearest.
    Unknown(Vec<String>),
}

/// The machine that `name` means: a profile's name or alias, its vendor's name, or what a driver calls it, with the size of
/// its memory where there are several: `apple-m1-max:64`, `NVIDIA A100-SXM4-80GB`. A name that is not known gets conservative
/// values, and says so.
///
/// ```
/// use planner::profiles::{How, find};
///
/// let found = find("NVIDIA GeForce RTX 4090");
/// assert_eq!((found.profile.name.as_str(), found.memory), ("rtx-4090", Some(24 << 30)));
/// assert_eq!(find("apple-m1-max:64").memory, Some(64 << 30));
/// assert!(matches!(find("rtx-4900").how, How::Unknown(nearest) if nearest.contains(&"rtx-4090".to_owned())));
/// ```
pub fn find(name: &str) -> Found {
    let (words, gib) = words(name);
    // Where memories differ in more than size, the size is part of a name of its own.
    let with_memory = gib.and_then(|gib| by_key(&format!("{words}-{gib}gb")));
    if let Some(profile) = with_memory.filter(|profile| gib.is_some_and(|gib| profile.memory_gib == [gib])) {
        return found(profile, gib);
    }
    match (by_key(&words), gib) {
        (Some(profile), gib) if gib.is_none_or(|gib| profile.memory_gib.contains(&gib)) => found(profile, gib),
        _ => unknown(name, &words),
    }
}

fn found(profile: &Profile, gib: Option<u32>) -> Found {
    let (memory, how) = match (gib, profile.memory_gib.as_slice()) {
        (Some(gib), _) => (Some(gib), How::Named),
        (None, []) => (None, How::Named),
        (None, [only]) => (Some(*only), How::Named),
        (None, sizes) => (Some(sizes[0]), How::SmallestMemory(sizes.to_vec())),
    };
    Found { profile: profile.clone(), memory: memory.map(|gib| u64::from(gib) << 30), how }
}

fn unknown(name: &str, words: &str) -> Found {
    let profiles = &catalogue().profiles;
    let likeness = |profile: &&Profile| keys(profile).map(|key| strsim::jaro_winkler(&key, words)).fold(0.0, f64::max);
    let mut nearest: Vec<&Profile> = profiles.iter().collect();
    nearest.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let nearest = nearest.iter().take(NEAREST).map(|profile| profile.name.clone()).collect();
    Found { profile: conservative(name), memory: None, how: How::Unknown(nearest) }
}

/// What holds for all machines that are known.
fn conservative(name: &str) -> Profile {
    let profiles = &catalogue().profiles;
    Profile {
        name: "unknown".to_owned(),
        title: name.to_owned(),
        aliases: Vec::new(),
        vendor: Vendor::Intel,
        kind: Kind::Cpu,
        architecture: "unknown".to_owned(),
        memory_gib: Vec::new(),
        bandwidth_gbs: profiles.iter().map(|profile| profile.bandwidth_gbs).fold(f64::INFINITY, f64::min),
        unified: false,
        usable: Usable::Ram,
        devices: 1,
        cores: Some(Cores { performance: 1, efficiency: 0 }),
        compute: None,
        isa: None,
        thermal: Thermal::Passive,
        note: Some("not known: the least of all machines that are, and no GPU".to_owned()),
        unconfirmed: Vec::new(),
        sources: Vec::new(),
    }
}

fn by_key(words: &str) -> Option<&'static Profile> {
    catalogue().profiles.iter().find(|profile| keys(profile).any(|key| key == words))
}

/// All that a profile is called, as [`words`] has it.
fn keys(profile: &Profile) -> impl Iterator<Item = String> {
    [&profile.name, &profile.title]
        .into_iter()
        .chain(&profile.aliases)
        // With the memory that is part of it.
        .flat_map(|name| match words(name) {
            (key, Some(gib)) => vec![format!("{key}-{gib}gb"), key],
            (key, None) => vec![key],
        })
}

/// A name without what does not matter, and the memory in GiB that it ends with: `:64`, `64GB`, `64 GiB`.
fn words(name: &str) -> (String, Option<u32>) {
    let (name, memory) = match name.rsplit_once(':') {
        Some((name, memory)) => (name, memory.trim().parse().ok()),
        None => (name, None),
    };
    let lower = name.to_lowercase().replace("(r)", " ").replace("(tm)", " ");
    let mut words: Vec<&str> = lower
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '+')
        .filter(|word| !word.is_empty() && !FILLERS.contains(word))
        .collect();
    let mut memory: Option<u32> = memory;
    if let [.., number, "gb" | "gib"] = words[..]
        && let Ok(gib) = number.parse()
    {
        memory = memory.or(Some(gib));
        words.truncate(words.len() - 2);
    } else if let Some(gib) = words.last().and_then(|last| last.strip_suffix("gb")?.parse().ok()) {
        memory = memory.or(Some(gib));
        words.pop();
    }
    (words.join("-"), memory)
}
