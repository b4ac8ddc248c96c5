//! Trees that are damaged or hostile: never a panic, never an unbounded wait, and at least one CPU to use.
#![cfg(all(feature = "probe", unix))]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use host::threads::{Wish, choose};
use host::{Disk, Host, Overrides, fixture};

const HOSTILE: [&str; 12] = [
    "",
    "max",
    "-1",
    "0-4294967295",
    "0-8191",
    "18446744073709551615 1",
    "garbage\0\u{fffd}\n::::\n - \n0::/../../..\n",
    "MemTotal: 99999999999999999999 kB\nCpus_allowed_list:\t7-3\n0:cpu:x\n\\9 \\777 \\1",
    "NaN",
    "0xffffffffffffffffffff",
    "-9223372036854775808 -1\ninactive_file -1\ninactive_file NaN\nhierarchical_memory_limit 1e99\ntotal_inactive_file 99999999999999999999\nPCI_SLOT_NAME=../../..\nDRIVER=\nModel: \u{1b}[31m\nBus Location: -1:-1:-1.-1\nnvidia,tegra",
    "0:://///\n1:cpu:\n2:cpu,memory:/a/../b\n30 24 0:26 / / rw - cgroup cgroup rw,cpu,memory\n31 2 0:2 /../.. /.. rw - cgroup2 x rw",
];

/// Looks at the tree, and at what follows from it.
fn survives(root: &Path) -> Host {
    let host = Host::probe_at(root, Overrides::default());
    assert!(host.topology.nodes.len() <= 1024 && host.gpus.len() <= 128 && host.topology.cpus.online.len() <= 8192);
    if let (Some(budget), Some(available)) = (&host.memory.budget, &host.memory.available) {
        assert!(budget.value <= available.value, "{:?}", host.memory);
    }
    let _cards = host::gpu::dedicated_bytes(&host.gpus);
    let _disk = Disk::probe_at(root, Path::new("/usr"));
    let _saved = fixture::tree("", root, &[]);
    let choice = choose(&host.topology, &host.budget, &Wish::default()).expect("nothing explicit was asked for");
    assert!((1..=host.budget.cpus).contains(&choice.generation), "{choice:?}");
    assert!(host.topology.logical_cpus.value <= 8192);
    let _shown = format!("{} {} {}", host.topology, host.budget, host.fingerprint());
    let _cache = host.topology.cache_bytes_at_most();
    host
}

fn every_file(name: &str, mut damage: impl FnMut(&Path, &Path)) {
    let root = support::machine(name);
    // The small machines stand for the CPUs of the others, which have hundreds of files more.
    const CPUS: &str = "sys/devices/system/cpu";
    let small = ["vm-2-vcpu", "rk3588"].contains(&name);
    if !small {
        fs::remove_dir_all(root.path().join(CPUS)).expect("a directory of ours");
    }
    let files = support::files(&support::description(name)).into_iter();
    for (path, content) in files.filter(|(path, _)| small || !path.starts_with(CPUS)) {
        let file = root.path().join(&path);
        damage(root.path(), &file);
        if file.is_dir() {
            fs::remove_dir(&file).expect("our directory");
        } else if file.symlink_metadata().is_ok() {
            fs::remove_file(&file).expect("our file");
        }
        support::put(root.path(), &path, &content);
    }
}

#[test]
fn every_file_may_be_missing_or_no_file() {
    for name in ["vm-2-vcpu", "core-ultra-125h"] {
        every_file(name, |root, file| {
            fs::remove_file(file).unwrap();
            survives(root);
            symlink(file, file).unwrap();
            survives(root);
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
            survives(root);
        });
    }
}

#[test]
fn every_file_may_hold_anything() {
    for name in ["vm-2-vcpu", "rk3588", "ghost-igpu", "arc-b580", "jetson-agx-orin", "nested-cgroups"] {
        every_file(name, |root, file| {
            for content in HOSTILE {
                fs::write(file, content).unwrap();
                survives(root);
            }
            fs::write(file, b"\xff\xfe\x00").unwrap();
            survives(root);
        });
    }
}

#[test]
fn all_files_may_hold_the_same_nonsense() {
    let files = support::files(&support::description("core-i7-12700k"));
    for content in HOSTILE {
        let root = tempfile::tempdir().unwrap();
        for (path, _) in &files {
            support::put(root.path(), path, content);
        }
        survives(root.path());
    }
}

#[test]
fn a_pipe_is_not_waited_for() {
    let root = support::machine("vm-2-vcpu");
    let file = root.path().join("proc/self/cgroup");
    fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    survives(root.path());
}

#[test]
fn a_file_is_not_read_beyond_the_limit() {
    let root = support::machine("vm-2-vcpu");
    let file = fs::File::create(root.path().join("proc/cpuinfo")).unwrap();
    // Sparse: costs nothing on disk, and would cost a terabyte to read.
    file.set_len(1 << 40).unwrap();
    assert_eq!(survives(root.path()).cpu.model, None);
}

#[test]
fn a_deep_cgroup_is_not_walked() {
    let root = support::machine("vm-2-vcpu");
    support::put(root.path(), "proc/self/cgroup", &format!("1:cpu:{}", "/a".repeat(1 << 20)));
    support::put(root.path(), "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000");
    assert_eq!(survives(root.path()).budget.cpus, 1, "the limit of the mount point still counts");
}

#[test]
fn endless_cgroups_and_mounts_are_not_multiplied() {
    let root = support::machine("vm-2-vcpu");
    support::put(root.path(), "proc/self/cgroup", &"0::/\n".repeat(1 << 19));
    support::put(root.path(), "proc/self/mountinfo", &"1 1 0:1 / /x rw - cgroup2 x rw\n".repeat(1 << 16));
    assert_eq!(survives(root.path()).budget.quota, None);
}

#[test]
fn endless_directories_are_not_multiplied() {
    let root = support::machine("strix-halo");
    for n in 0..200 {
        support::put(root.path(), &format!("sys/class/drm/card{n}/device/vendor"), "0x1002");
        support::put(root.path(), &format!("sys/class/drm/card1/device/hwmon/hwmon{n}/in1_label"), "x");
        support::put(root.path(), &format!("proc/driver/nvidia/gpus/0000:{n:02x}:00.0/information"), "Model: x");
        let pool = format!("sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages", u64::MAX - n);
        support::put(root.path(), &pool, "18446744073709551615");
    }
    let host = survives(root.path());
    assert_eq!(host.memory.huge_pages.free_bytes, None, "no such size can be");
}

#[test]
fn a_cgroup_that_climbs_out_of_its_mount_is_not_followed() {
    let root = support::machine("vm-2-vcpu");
    let put = |path: &str, content: &str| support::put(root.path(), path, content);
    put("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw");
    put("cg/cpu.max", "max");
    put("secret/cpu.max", "1000 1000");
    put("secret/memory.max", "1");
    for path in ["/../secret", "/a/../../secret", "/./../secret", "/..", "/../../../../../../../../secret"] {
        put("proc/self/cgroup", &format!("0::{path}"));
        let host = survives(root.path());
        assert_eq!((host.budget.quota, host.memory.cgroup_limit), (None, None), "{path}");
    }
}

#[test]
fn what_makes_no_sense_is_unknown_and_not_guessed() {
    let root = support::machine("rk3588");
    let put = |path: &str, content: &str| support::put(root.path(), path, content);
    put("sys/devices/system/cpu/cpu7/topology/thread_siblings_list", "6");
    fs::remove_file(root.path().join("sys/devices/system/cpu/cpu7/topology/core_id")).unwrap();
    let host = survives(root.path());
    assert_eq!(host.topology.physical_cores, None, "CPU 7 is on no known core");
    assert_eq!((host.topology.cores(), host.budget.cpus), (8, 8), "so every CPU counts as one");

    put("sys/devices/system/cpu/online", "0-4294967295");
    let host = survives(root.path());
    assert_eq!(host.topology.logical_cpus.source, "/proc/cpuinfo");
    assert_eq!(host.budget.cpus, 8, "the affinity is known although the online CPUs are not");

    put("proc/self/status", "Cpus_allowed_list:\tnone");
    let host = survives(root.path());
    assert_eq!(host.budget.affinity.source, "affinity unknown, so all CPUs of /proc/cpuinfo");
}
