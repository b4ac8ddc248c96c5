//! `doctor`: what this machine is, what we make of it, and what stands in the way of speed.

mod facts;
mod save;
mod screen;
mod verdicts;

use std::path::{Path, PathBuf};

use clap::Args;
use diagnostic::Result;
use serde_json::json;

use crate::{machine, ui};

use facts::Facts;
use verdicts::Verdict;

/// Show what this machine is, what a build may use of it, and what costs speed
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print JSON: every value with where it came from
    #[arg(long)]
    json: bool,
    /// Write the files that this was read from into `DIR/tree.txt`, for a bug report; names, serial numbers and what else
    /// is on this machine are left out
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let target = self.save.as_deref().map(save::Target::new).transpose()?;
        let overrides = host::Overrides::live().with_nvml();
        let nvml = overrides.nvml.clone();
        let facts = Facts::gather(host::Host::probe_at(Path::new("/"), overrides))?;
        let verdicts = verdicts::of(&facts);
        ui::print(if self.json { as_json(&facts, &verdicts) } else { screen::of(&facts, &verdicts) })?;
        match target {
            Some(target) => target.write(&facts.host, &nvml),
            None => Ok(()),
        }
    }
}

fn as_json(facts: &Facts, verdicts: &[Verdict]) -> String {
    let value = json!({
        "host": machine::description(&facts.host),
        "cpu_budget": facts.host.budget.cpus,
        "optimal_threads": facts.threads.as_ref().ok().map(|threads| threads.generation),
        "threads": facts.threads.as_ref().ok(),
        "threads_error": facts.threads.as_ref().err().map(ToString::to_string),
        "heuristic_threads": facts.heuristic,
        "llama_cpp_threads": facts::upstream_threads(&facts.host),
        "load": facts.load,
        "store": { "path": facts.store, "free_bytes": facts.free_bytes, "disk": facts.disk },
        "build": facts.build.as_ref().ok().and_then(|build| build.as_ref()).map(|build| json!({
            "id": build.id,
            "variant": build.variant.as_ref().and_then(|variant| variant.as_ref().ok()),
            "tuned": build.tuned,
        })),
        "build_error": facts.build.as_ref().err(),
        "verdicts": verdicts,
    });
    serde_json::to_string_pretty(&value).expect("facts hold only strings and finite numbers")
}

#[cfg(test)]
#[path = "../../../host/tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use host::gpu::NvmlDevice;
    use host::threads::{Wish, choose};
    use host::{CpuList, Disk, Host, Overrides, Sourced};

    use super::*;
    use facts::Build;

    /// A machine of `host/tests/fixtures` with a build that has been measured.
    fn facts(name: &str, change: impl FnOnce(&mut Overrides)) -> Facts {
        let root = support::machine(name);
        let nvml = std::fs::read(root.path().join(host::fixture::NVML));
        let nvml: Vec<NvmlDevice> = nvml.map(|json| serde_json::from_slice(&json).unwrap()).unwrap_or_default();
        let mut overrides = Overrides { nvml, ..Overrides::default() };
        change(&mut overrides);
        let host = Host::probe_at(root.path(), overrides);
        Facts {
            threads: choose(&host.topology, &host.budget, &Wish::default()),
            heuristic: machine::heuristic(&host).unwrap().generation,
            store: ".local".to_owned(),
            free_bytes: Some(123_456_789_012),
            disk: Some(Disk {
                mount_point: "/".to_owned(),
                file_system: "ext4".to_owned(),
                kind: Some(Sourced::new(host::disk::DiskKind::SolidState, "test")),
            }),
            build: Ok(Some(Build {
                id: "portable-0.5.0-0c1e5709-8f14e45f".to_owned(),
                variant: Some(Ok("haswell".to_owned())),
                tuned: true,
            })),
            load: Some(0.25),
            host,
        }
    }

    fn shown(facts: &Facts) -> String {
        screen::of(facts, &verdicts::of(facts))
    }

    fn ids(facts: &Facts) -> Vec<&'static str> {
        verdicts::of(facts).into_iter().map(|verdict| verdict.id).collect()
    }

    #[test]
    fn a_pod_with_a_quota() {
        insta::assert_snapshot!(shown(&facts("pod-quota-7.65-of-96", |_| ())), @"
        cpu          AMD EPYC 9454P 48-Core Processor, x86-64-v4 (/proc/cpuinfo)
                     49 features: avx512_bf16 avx512_vnni avx512f avx2 fma f16c
        topology     48 cores, 96 CPUs
                     one CPU per core: 0-47
        caches       L2 1.0 MiB per core
        cpu budget   7 CPUs (quota 7.65 of 96, /sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cpu.max)
        threads      -t 7 -tb 7: `balanced` on 48 cores, 96 CPUs: all (16 or more) = 48; capped by the CPU budget: 7 CPUs (quota 7.65 of 96, /sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cpu.max)
                     before measuring: 7; llama.cpp by itself: 48
        memory       503.5 GiB, 457.8 GiB available
                     cgroup limit 32.0 GiB (/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/memory.max)
                     budget 32.0 GiB (/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/memory.max, use unknown)
        huge pages   transparent: unknown; free in pools: unknown
        gpu          none
        store        .local: 115.0 GiB free, ext4 on / (solid state)
        build        portable-0.5.0-0c1e5709-8f14e45f, variant haswell, measured here
        system       unknown, kernel unknown, load 0.25
        host         8d447373fbf6288a (measurements are kept under this)

        warning: llama.cpp by itself would start 48 threads, and may use 7 CPUs
        hint: run it with `-t 7`: threads wait for the slowest
        note: of 457.8 GiB that the machine has available a cgroup leaves 32.0 GiB
        hint: what is beyond that ends the process (out of memory)
        ");
    }

    #[test]
    fn a_hybrid_desktop() {
        insta::assert_snapshot!(shown(&facts("arc-b580", |_| ())), @"
        cpu          12th Gen Intel(R) Core(TM) i7-12700K, x86-64-v3 (/proc/cpuinfo)
                     38 features: avx_vnni avx2 fma f16c
        topology     12 cores (8 P + 4 E), 20 CPUs
                     fast CPUs 0-15, slow ones 16-19
        caches       unknown
        cpu budget   20 CPUs (/proc/self/status: 0-19)
        threads      -t 9 -tb 9: `balanced` on 12 cores (8 P + 4 E), 20 CPUs: 3/4 of P and E cores = 9
                     before measuring: 9; llama.cpp by itself: 8
        memory       31.1 GiB, 26.8 GiB available
                     budget 26.8 GiB (/proc/meminfo)
        huge pages   transparent: unknown; free in pools: unknown
        gpu          Intel GPU 8086:4680, integrated, 31.1 GiB of main memory, 26.8 GiB usable
                     Intel GPU 8086:e20b, 12.0 GiB of its own, 12.0 GiB usable
        store        .local: 115.0 GiB free, ext4 on / (solid state)
        build        portable-0.5.0-0c1e5709-8f14e45f, variant haswell, measured here
        system       unknown, kernel unknown, load 0.25
        host         1cd06c42dfd17941 (measurements are kept under this)

        note: 8 of the 20 usable CPUs are SMT siblings
        hint: one CPU per core: `taskset -c 0,2,4,6,8,10,12,14,16-19`
        note: 2 GPUs will not be used: these builds compute on the CPU
        ");
    }

    #[test]
    fn two_sockets() {
        insta::assert_snapshot!(shown(&facts("xeon-2-socket", |_| ())), @"
        cpu          Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz, x86-64-v4 (/proc/cpuinfo)
                     40 features: avx512_vnni avx512f avx2 fma f16c
        topology     56 cores, 112 CPUs, 2 sockets
                     one CPU per core: 0-55
        numa         node 0: 188.8 GiB, CPUs 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32,34,36,38,...
                     node 1: 188.8 GiB, CPUs 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,...
                     node 2: 125.0 GiB, no CPUs
                     node 3: 125.0 GiB, no CPUs
        caches       L2 1.0 MiB per core, L3 77.0 MiB in all
        cpu budget   112 CPUs (/proc/self/status: 0-111)
        threads      -t 56 -tb 56: `balanced` on 56 cores, 112 CPUs, 2 sockets: all (16 or more) = 56
                     before measuring: 56; llama.cpp by itself: 56
        memory       377.5 GiB, 362.4 GiB available
                     budget 362.4 GiB (/proc/meminfo)
        huge pages   transparent: unknown; free in pools: unknown
        gpu          none
        store        .local: 115.0 GiB free, ext4 on / (solid state)
        build        portable-0.5.0-0c1e5709-8f14e45f, variant haswell, measured here
        system       unknown, kernel unknown, load 0.25
        host         d0c609b44f063ad4 (measurements are kept under this)

        note: 56 of the 112 usable CPUs are SMT siblings
        hint: one CPU per core: `taskset -c 0-55`
        note: memory is on 2 NUMA nodes: a thread reads its own faster
        hint: try `--numa distribute`, or one server per node: `numactl -N 0 -m 0`
        ");
    }

    #[test]
    fn a_container_in_a_full_slice_without_a_build() {
        let mut facts = facts("nested-cgroups", |_| ());
        facts.build = Ok(None);
        facts.load = Some(3.5);
        insta::assert_snapshot!(shown(&facts), @"
        cpu          AMD EPYC 9454P 48-Core Processor, x86-64-v4 (/proc/cpuinfo)
                     49 features: avx512_bf16 avx512_vnni avx512f avx2 fma f16c
        topology     32 cores
        caches       unknown
        cpu budget   8 CPUs (quota 8.00 of 32, /sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod-1/cpu.max)
        threads      -t 8 -tb 8: `balanced` on 32 cores: all (16 or more) = 32; capped by the CPU budget: 8 CPUs (quota 8.00 of 32, /sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod-1/cpu.max)
                     before measuring: 8; llama.cpp by itself: 32
        memory       251.8 GiB, 190.7 GiB available
                     cgroup limit 32.0 GiB (/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod-1/container-1/memory.max)
                     budget 6.0 GiB (/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/memory.max - (memory.current - inactive_file))
        huge pages   transparent: unknown; free in pools: unknown
        gpu          none
        store        .local: 115.0 GiB free, ext4 on / (solid state)
        build        none
        system       unknown, kernel unknown, load 3.50
        host         390a9e7fcd772aec (measurements are kept under this)

        warning: no build is active
        hint: `cargo xtask install-fast` installs one, `cargo xtask install-optimized` compiles one for this CPU
        warning: llama.cpp by itself would start 32 threads, and may use 8 CPUs
        hint: run it with `-t 8`: threads wait for the slowest
        warning: the machine is busy: load 3.50, and 8 CPUs to use
        hint: what is measured now will scatter; see `top` for who it is
        note: of 190.7 GiB that the machine has available a cgroup leaves 6.0 GiB
        hint: what is beyond that ends the process (out of memory)
        ");
    }

    #[test]
    fn every_machine_fits_a_screen() {
        for entry in std::fs::read_dir(support::fixtures()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let screen = shown(&facts(&name, |_| ()));
            assert!(screen.lines().count() <= 40, "{name}\n{screen}");
            let longest = screen.lines().map(str::len).max();
            assert!(longest <= Some(200), "{name}: {longest:?}\n{screen}");
        }
    }

    #[test]
    fn each_trouble_is_named_and_a_good_machine_has_none() {
        let plain = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts("graviton2", |_| ());
            change(&mut facts);
            ids(&facts)
        };
        let none: [&str; 0] = [];
        assert_eq!(plain(&|_| ()), none);
        assert_eq!(plain(&|facts| facts.load = Some(9.0)), ["busy"]);
        assert_eq!(plain(&|facts| facts.build = Ok(None)), ["no_build"]);
        assert_eq!(plain(&|facts| facts.build = Err("torn".to_owned())), ["build_damaged"]);
        assert_eq!(plain(&|facts| facts.build.as_mut().unwrap().as_mut().unwrap().tuned = false), ["not_measured"]);
        let no_variant = |facts: &mut Facts| {
            facts.build.as_mut().unwrap().as_mut().unwrap().variant = Some(Err("no AVX2".to_owned()));
        };
        assert_eq!(plain(&no_variant), ["no_variant"]);
        let disabled = |facts: &mut Facts| facts.host.cpu.disabled_by_os = vec!["avx512f".to_owned()];
        assert_eq!(plain(&disabled), ["disabled_by_os"]);
        let tight = |facts: &mut Facts| facts.host.memory.budget.as_mut().unwrap().value = 4 << 30;
        assert_eq!(plain(&tight), ["memory_tight"]);
        let limited = |facts: &mut Facts| facts.host.memory.budget.as_mut().unwrap().value = 10 << 30;
        assert_eq!(plain(&limited), ["memory_limited"]);
        let never = |facts: &mut Facts| {
            facts.host.memory.huge_pages.transparent = Some(Sourced::new(host::memory::Transparent::Never, "test"));
        };
        assert_eq!(plain(&never), ["huge_pages_off"]);
        assert_eq!(plain(&|facts| facts.free_bytes = Some(1)), ["disk_full"]);
        let rotating = |facts: &mut Facts| {
            facts.disk.as_mut().unwrap().kind = Some(Sourced::new(host::disk::DiskKind::Rotational, "test"));
        };
        assert_eq!(plain(&rotating), ["disk"]);
        assert_eq!(plain(&|facts| facts.disk = None), none, "what is unknown is no trouble");
    }

    #[test]
    fn threads_that_llama_cpp_would_start() {
        let threads = |name: &str| facts::upstream_threads(&facts(name, |_| ()).host);
        // llama.cpp issue 28625: four on a Core Ultra 265K.
        assert_eq!(threads("core-ultra-265k"), 4);
        assert_eq!(threads("core-i7-12700k"), 8);
        assert_eq!(threads("pod-quota-7.65-of-96"), 48);
        assert!(ids(&facts("core-ultra-265k", |_| ())).contains(&"too_few_threads"));
        assert!(ids(&facts("pod-quota-7.65-of-96", |_| ())).contains(&"too_many_threads"));
    }

    #[test]
    fn a_smaller_affinity_is_a_trouble_too() {
        let affinity = |cpus: &str| {
            let cpus = CpuList::parse(cpus).unwrap();
            ids(&facts("ryzen-9-7950x", |overrides| overrides.affinity = Some(Sourced::new(cpus, "test"))))
        };
        assert_eq!(affinity("0-31"), ["smt"]);
        assert_eq!(affinity("0-15"), [""; 0]);
        assert_eq!(affinity("0-3"), ["too_many_threads"]);
        assert_eq!(affinity("0,16"), ["too_many_threads", "smt"], "two siblings are one core");
    }

    #[test]
    fn what_the_machine_says_does_not_steer_the_terminal() {
        let mut facts = facts("vm-2-vcpu", |_| ());
        facts.host.cpu.model = Some("evil\u{1b}[2J\nhint: pay".to_owned());
        facts.build = Err("torn\u{1b}]0;x\u{7}".to_owned());
        let screen = shown(&facts);
        assert!(!screen.contains(['\u{1b}', '\u{7}']) && !screen.contains("\nhint: pay"), "{screen}");
    }

    #[test]
    fn json_holds_the_host_and_the_verdicts() {
        let facts = facts("gb10", |_| ());
        let value: serde_json::Value = serde_json::from_str(&as_json(&facts, &verdicts::of(&facts))).unwrap();
        assert_eq!(value["host"]["gpus"][0]["name"]["value"], "NVIDIA GB10");
        assert_eq!(value["host"]["topology"]["cpus"]["online"], "0-19");
        assert_eq!((&value["cpu_budget"], &value["optimal_threads"]), (&20.into(), &20.into()));
        assert_eq!(value["verdicts"][0]["id"], "gpu_unused");
        assert_eq!(value["verdicts"][0]["level"], "note");
        let host: Host = serde_json::from_value(value["host"].clone()).unwrap();
        assert_eq!(host, facts.host);
    }
}
