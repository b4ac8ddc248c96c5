//! A machine as far as planning depends on it: this one, one that somebody has saved, or one that is only described.

use diagnostic::Result;
use host::gpu::Vendor;
use host::threads::{self, Wish};
use host::{Gpu as HostGpu, Host};
use serde::{Deserialize, Serialize};

use crate::memory::{Gpu, Machine, Repacks};
use crate::profiles::{self, Found, How, Kind};

/// How much of the memory a configuration may take, in percent: what is left is for what nobody accounts for, and for a
/// machine that is a little busier than when it was looked at.
pub const SHARE: u64 = 90;

/// Main memory of a machine of which nothing is known, in bytes.
const LEAST_RAM: u64 = 8 << 30;

/// Threads of both phases, and why so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// For generation.
    pub generation: usize,
    /// For prompts.
    pub prompt: usize,
    /// How these numbers came about.
    pub why: String,
}

/// How well a machine gets rid of its heat, as far as the name of its processor tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thermal {
    /// Made to run at full load for ever.
    Server,
    /// A desktop, most likely.
    Desktop,
    /// A laptop or a board of that kind: full load on all cores makes it slower after some minutes.
    Mobile,
    /// Nobody knows.
    Unknown,
}

impl Thermal {
    /// By the naming rules of the makers.
    pub fn of(cpu: &str) -> Thermal {
        let any = |parts: &[&str]| parts.iter().any(|part| cpu.contains(part));
        if any(&["Xeon", "EPYC", "Neoverse", "Graviton", "Ampere", "Threadripper"]) {
            return Thermal::Server;
        }
        if any(&["Jetson", "Cortex", "Snapdragon", "Raspberry", "Atom", "Celeron"]) {
            return Thermal::Mobile;
        }
        if any(&["Apple M"]) {
            return if any(&["Max", "Ultra"]) { Thermal::Desktop } else { Thermal::Mobile };
        }
        if !any(&["Core", "Ryzen"]) {
            return Thermal::Unknown;
        }
        // `i7-1185G7`, `i5-12450H`, `7840U`, `Ultra 7 155H`: a letter after the number says what it was made for.
        let mobile = cpu.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
            let digits = word.chars().take_while(char::is_ascii_digit).count();
            digits >= 3
                && ["U", "H", "HX", "HS", "HK", "HQ", "P", "Y", "V", "G1", "G4", "G7", "M"].contains(&&word[digits..])
        });
        if mobile { Thermal::Mobile } else { Thermal::Desktop }
    }
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// What it is called: its processor, or the profile's name.
    pub name: String,
    /// Where we know this from: `this machine`, the name of a file, ...
    pub source: String,
    /// CPUs that a process may use; `None` when nobody knows.
    pub cpu_budget: Option<usize>,
    /// The threads that fit it; `None` when nobody knows.
    pub threads: Option<Threads>,
    /// How well it is cooled.
    pub thermal: Thermal,
    /// Memory and GPUs, as far as a model may take them.
    pub machine: Machine,
}

impl Hardware {
    /// A machine that was looked at, with the threads that the heuristic gives.
    ///
    /// # Errors
    /// As [`threads::choose`].
    pub fn of_host(host: &Host, source: &str) -> Result<Hardware> {
        let choice = threads::choose(&host.topology, &host.budget, &Wish::default())?;
        let name = host.cpu.model.clone().unwrap_or_else(|| "unknown processor".to_owned());
        // One GPU that is a part of the processor does not count beside a card.
        let cards: Vec<&HostGpu> = host.gpus.iter().filter(|gpu| !gpu.is_integrated()).collect();
        let (gpus, unified): (Vec<&HostGpu>, bool) = match cards.is_empty() {
            false => (cards, false),
            true => (host.gpus.iter().filter(|gpu| gpu.vendor != Vendor::Intel).take(1).collect(), true),
        };
        let gpus: Vec<Gpu> = gpus.into_iter().filter_map(gpu).collect();
        Ok(Hardware {
            thermal: Thermal::of(&name),
            name,
            source: source.to_owned(),
            cpu_budget: Some(host.budget.cpus),
            threads: Some(Threads { generation: choice.generation, prompt: choice.prompt, why: choice.why }),
            machine: Machine {
                ram: host.memory.budget.as_ref().map(|bytes| bytes.value),
                unified: unified && !gpus.is_empty(),
                gpus,
                repacks: repacks(host),
            },
        })
    }

    /// A machine by its name in the catalogue, as `find` has found it; `ram` is the main memory beside a card, in bytes,
    /// which no catalogue knows. Nothing is known of its load.
    pub fn of_profile(found: &Found, ram: Option<u64>) -> Hardware {
        let profile = &found.profile;
        let usable = found.memory.map(|memory| profile.usable_bytes(memory));
        let gpu = |memory: u64| match profile.vendor {
            profiles::Vendor::Nvidia => Gpu::cuda(&*profile.title, memory),
            vendor => {
                let unpacks_kv = vendor == profiles::Vendor::Amd;
                Gpu { name: profile.title.clone(), memory, driver: 0, unpacks_kv }
            }
        };
        let has_gpu = profile.kind != Kind::Cpu;
        let gpus: Vec<Gpu> = match usable.filter(|_| has_gpu) {
            Some(memory) => (0..profile.devices).map(|_| gpu(memory)).collect(),
            None => Vec::new(),
        };
        let ram = match (profile.unified, &found.how) {
            (true, _) => usable,
            // A machine that nobody knows is given the least that a machine has.
            (false, How::Unknown(_)) => ram.or(Some(profile.usable_bytes(LEAST_RAM))),
            (false, _) => ram,
        };
        let cores = profile.cores.map(|cores| {
            let (fast, all) = (cores.performance as usize, (cores.performance + cores.efficiency) as usize);
            // The fast ones: the rule of the heuristic for machines with slow ones too, whatever their number.
            (all.max(1), if cores.efficiency > 0 { fast } else { all }.max(1))
        });
        let why = "the fast cores of the profile".to_owned();
        Hardware {
            name: profile.title.clone(),
            source: format!("profile `{}`", profile.name),
            cpu_budget: cores.map(|(all, _)| all),
            threads: cores.map(|(_, fast)| Threads { generation: fast, prompt: fast, why }),
            thermal: match profile.thermal {
                profiles::Thermal::Passive | profiles::Thermal::Laptop => Thermal::Mobile,
                profiles::Thermal::Active => Thermal::Desktop,
                profiles::Thermal::Server => Thermal::Server,
            },
            machine: Machine {
                ram,
                unified: profile.unified && !gpus.is_empty(),
                gpus,
                repacks: match profile.isa.as_deref().unwrap_or_default() {
                    isa if isa.starts_with("x86-64-v4") => Repacks::Avx512,
                    isa if isa.starts_with("x86-64-v3") => Repacks::Avx2,
                    isa if isa.starts_with("armv8.2") || isa.starts_with("armv8.4") || isa.starts_with("armv9") => {
                        Repacks::Neon
                    }
                    _ => Repacks::Nothing,
                },
            },
        }
    }

    /// The same without its GPUs: what a llama.cpp that computes on the CPU sees.
    #[must_use]
    pub fn without_gpus(&self) -> Hardware {
        let machine = Machine { gpus: Vec::new(), unified: false, ..self.machine.clone() };
        Hardware { machine, ..self.clone() }
    }

    /// Memory and GPUs, of which a configuration takes only [`SHARE`] percent.
    pub fn within_share(&self) -> Machine {
        let share = |bytes: u64| bytes / 100 * SHARE;
        let gpus = self.machine.gpus.iter().map(|gpu| Gpu { memory: share(gpu.memory), ..gpu.clone() });
        Machine { ram: self.machine.ram.map(share), gpus: gpus.collect(), ..self.machine.clone() }
    }
}

/// A GPU whose memory is known.
fn gpu(gpu: &HostGpu) -> Option<Gpu> {
    let memory = gpu.usable.as_ref()?.value;
    Some(match gpu.vendor {
        Vendor::Nvidia => Gpu::cuda(gpu.label(), memory),
        vendor => Gpu { name: gpu.label(), memory, driver: 0, unpacks_kv: vendor == Vendor::Amd },
    })
}

fn repacks(host: &Host) -> Repacks {
    let has = |feature| host.cpu.has(feature);
    match () {
        () if has("avx512f") => Repacks::Avx512,
        () if has("avx2") => Repacks::Avx2,
        () if has("asimddp") || has("i8mm") => Repacks::Neon,
        () => Repacks::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_processor_tells_how_it_is_cooled() {
        for (cpu, thermal) in [
            ("Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", Thermal::Server),
            ("AMD EPYC 9454P 48-Core Processor", Thermal::Server),
            ("12th Gen Intel(R) Core(TM) i7-12700K", Thermal::Desktop),
            ("AMD Ryzen 9 7950X 16-Core Processor", Thermal::Desktop),
            ("11th Gen Intel(R) Core(TM) i5-1135G7 @ 2.40GHz", Thermal::Mobile),
            ("Intel(R) Core(TM) Ultra 7 155H", Thermal::Mobile),
            ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", Thermal::Mobile),
            ("Apple M2", Thermal::Mobile),
            ("Apple M2 Ultra", Thermal::Desktop),
            ("something else", Thermal::Unknown),
        ] {
            assert_eq!(Thermal::of(cpu), thermal, "{cpu}");
        }
    }
}
