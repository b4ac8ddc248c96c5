//! Memory that may still be taken, huge pages, disks: what we read from trees of other people's machines.
#![cfg(feature = "probe")]

mod probed;
mod support;

use std::path::Path;

use host::disk::{Disk, DiskKind};
use host::memory::Transparent;
use host::{Host, Overrides};
use probed::probed;

fn budget(root: &Path) -> Option<(u64, String)> {
    probed(root).memory.budget.map(|budget| (budget.value, budget.source))
}

#[test]
fn the_cgroup_that_leaves_least_binds() {
    let root = support::machine("nested-cgroups");
    let memory = probed(root.path()).memory;
    assert_eq!(memory.cgroup_limit.unwrap().value, 32 << 30, "the lowest limit is our own");
    let slice = "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice";
    let source = format!("{slice}/memory.max - (memory.current - inactive_file)");
    assert_eq!(budget(root.path()), Some((6 << 30, source)), "but an ancestor is nearly full");

    let put = |path: &str, content: &str| support::put(root.path(), path, content);
    put(&format!("{slice}/memory.current")[1..], "1000");
    assert_eq!(budget(root.path()).unwrap().0, 31 << 30, "then our own leaves least");
    put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 50 kB");
    assert_eq!(budget(root.path()), Some((51200, "/proc/meminfo".to_owned())));
}

#[test]
fn both_versions_and_no_limit() {
    let left = |membership: &str, mountinfo: &str, files: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        support::put(root.path(), "proc/self/cgroup", membership);
        support::put(root.path(), "proc/self/mountinfo", mountinfo);
        for (path, content) in files {
            support::put(root.path(), path, content);
        }
        probed(root.path()).memory.cgroup_left.map(|left| (left.value, left.source))
    };
    let found = |value, source: &str| Some((value, source.to_owned()));
    let v1 = "30 24 0:26 / /m rw - cgroup cgroup rw,memory";
    let v2 = "30 24 0:26 / /m rw - cgroup2 cgroup2 rw";
    let with_used = "(memory.usage_in_bytes - total_inactive_file)";

    // v1: what children use counts too, so `inactive_file` alone is too little.
    let files = [
        ("m/a/memory.limit_in_bytes", "1000"),
        ("m/a/memory.usage_in_bytes", "900"),
        ("m/a/memory.stat", "inactive_file 1\ntotal_inactive_file 300\nhierarchical_memory_limit 1000"),
    ];
    let expected = found(400, &format!("/m/a/memory.limit_in_bytes - {with_used}"));
    assert_eq!(left("4:memory:/a", v1, &files), expected);
    // A limit further up than the container can see.
    let files = [
        ("m/memory.limit_in_bytes", "9223372036854771712"),
        ("m/memory.usage_in_bytes", "900"),
        ("m/memory.stat", "hierarchical_memory_limit 1500"),
    ];
    let expected = found(600, &format!("/m/memory.stat: hierarchical_memory_limit - {with_used}"));
    assert_eq!(left("4:memory:/", v1, &files), expected);
    // Hybrid: v1 has the controller and says "none", v2 is empty.
    let both = format!("{v1}\n31 24 0:27 / /u rw - cgroup2 cgroup2 rw");
    let files = [("m/memory.limit_in_bytes", "9223372036854771712"), ("m/memory.usage_in_bytes", "900")];
    assert_eq!(left("4:memory:/\n0::/", &both, &files), None);
    // Over the limit, and more cache than use.
    let files = [("m/memory.max", "1000"), ("m/memory.current", "5000")];
    assert_eq!(left("0::/", v2, &files).unwrap().0, 0);
    let files = [("m/memory.max", "1000"), ("m/memory.current", "5"), ("m/memory.stat", "inactive_file 50")];
    assert_eq!(left("0::/", v2, &files).unwrap().0, 1000);
    // How much is used cannot be read.
    let files = [("m/memory.max", "1000"), ("m/memory.stat", "inactive_file 50")];
    assert_eq!(left("0::/", v2, &files), found(1000, "/m/memory.max, use unknown"));
    for limit in ["max", "-1", "", "9223372036854775807", "1e3", "NaN", "99999999999999999999999"] {
        assert_eq!(left("0::/", v2, &[("m/memory.max", limit), ("m/memory.current", "1")]), None, "{limit:?}");
    }
}

#[test]
fn huge_pages() {
    let pages = |name: &str| probed(support::machine(name).path()).memory.huge_pages;
    assert_eq!(pages("ryzen-9-7950x").transparent.unwrap().value, Transparent::Always);
    assert_eq!(pages("strix-halo").transparent.unwrap().value, Transparent::Madvise);
    assert_eq!(pages("rk3588").transparent, None);
    assert_eq!(pages("rk3588").free_bytes, None, "no pools are known");
    assert_eq!(pages("epyc-9375f-smt-off").free_bytes.unwrap().value, (512 << 21) + (4 << 30));
}

#[test]
#[cfg(unix)]
fn disks() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &str| support::put(root.path(), path, content);
    put(
        "proc/self/mountinfo",
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
         2 1 259:2 / /fast rw - xfs /dev/nvme0n1p2 rw\n\
         3 1 0:40 /@home /home rw - btrfs /dev/sda2 rw\n\
         4 1 0:41 / /fast/net rw - nfs4 server:/export rw\n\
         5 1 0:42 / /tmp rw - tmpfs tmpfs rw\n\
         6 1 254:0 / /vm rw - ext4 /dev/vda rw\n\
         7 1 0:43 / /layers rw - overlay overlay rw\n\
         8 1 0:44 / /pool rw - zfs pool/data rw\n\
         9 1 0:45 / /evil rw - btrfs /dev/../../../etc rw\n\
         10 1 8:17 / /over rw - ext4 /dev/sdb1 rw\n\
         11 1 0:46 / /over rw - virtiofs host rw\n\
         12 1 9:9 / /odd\\040name rw - ext4 /dev/md9 rw",
    );
    // As on a real system, a partition is a link into its disk.
    for (device, name, disk) in [("8:1", "sda1", "sda"), ("259:2", "nvme0n1p2", "nvme0n1")] {
        put(&format!("sys/devices/{disk}/{name}/uevent"), &format!("DEVNAME={name}"));
        std::fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
        let target = root.path().join(format!("sys/devices/{disk}/{name}"));
        std::os::unix::fs::symlink(target, root.path().join(format!("sys/dev/block/{device}"))).unwrap();
    }
    put("sys/devices/sda/queue/rotational", "1");
    put("sys/devices/nvme0n1/queue/rotational", "0");
    put("sys/class/block/sda2/queue/rotational", "1");
    put("sys/dev/block/254:0/uevent", "MAJOR=254\nDEVNAME=vda");
    put("sys/dev/block/254:0/queue/rotational", "1");
    put("sys/dev/block/9:9/queue/rotational", "7");
    let on = |path: &str| {
        let disk = Disk::probe_at(root.path(), Path::new(path)).unwrap();
        (disk.mount_point, disk.kind.map(|kind| kind.value))
    };
    let expected = |point: &str, kind| (point.to_owned(), kind);
    assert_eq!(on("/var/lib"), expected("/", Some(DiskKind::Rotational)));
    assert_eq!(on("/fast/store"), expected("/fast", Some(DiskKind::SolidState)));
    assert_eq!(on("/faster"), expected("/", Some(DiskKind::Rotational)));
    assert_eq!(on("/home/me"), expected("/home", Some(DiskKind::Rotational)));
    assert_eq!(on("/fast/net/x"), expected("/fast/net", Some(DiskKind::Network)));
    assert_eq!(on("/tmp"), expected("/tmp", Some(DiskKind::Memory)));
    assert_eq!(on("/vm"), expected("/vm", None), "a virtual disk calls itself rotating");
    assert_eq!(on("/layers"), expected("/layers", Some(DiskKind::Overlay)));
    assert_eq!(on("/pool"), expected("/pool", None));
    assert_eq!(on("/evil"), expected("/evil", None));
    assert_eq!(on("/over"), expected("/over", Some(DiskKind::Network)), "what is mounted last is seen");
    assert_eq!(on("/odd name/x"), expected("/odd name", None));
    assert_eq!(Disk::probe_at(tempfile::tempdir().unwrap().path(), Path::new("/")), None);
}

#[test]
#[cfg(target_os = "linux")]
fn the_disk_of_what_does_not_exist_yet_is_that_of_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::probe(dir.path()).expect("we are on some file system");
    assert_eq!(Disk::probe(&dir.path().join("not/yet")), Some(disk));
}

#[test]
fn another_process_has_cgroups_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("proc/self/cgroup", "0::/mine"),
        ("proc/self/mountinfo", "30 24 0:26 / /m rw - cgroup2 cgroup2 rw"),
        ("proc/42/cgroup", "0::/its/own"),
        ("proc/42/status", "Cpus_allowed_list:\t0"),
        ("sys/devices/system/cpu/online", "0-3"),
        ("m/mine/memory.max", "1000"),
        ("m/its/memory.max", "7000"),
        ("m/its/memory.current", "3000"),
        ("m/its/own/cpu.max", "50000 100000"),
    ] {
        support::put(root.path(), path, content);
    }
    let seen = |overrides: Overrides| {
        let host = Host::probe_at(root.path(), overrides);
        (host.memory.cgroup_left.map(|left| left.value), host.budget.quota.map(|quota| quota.value), host.budget.cpus)
    };
    assert_eq!(seen(Overrides::default()), (Some(1000), None, 4));
    assert_eq!(seen(Overrides::default().of_process(42)), (Some(4000), Some(0.5), 1));
    assert_eq!(seen(Overrides::default().of_process(43)), (None, None, 4), "it has ended");
}

#[test]
fn the_kernel_counts_whom_it_has_ended() {
    let kills = |membership: &str, kind: &str, files: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        support::put(root.path(), "proc/self/cgroup", membership);
        support::put(root.path(), "proc/self/mountinfo", &format!("30 24 0:26 / /m rw - {kind}"));
        for (path, content) in files {
            support::put(root.path(), path, content);
        }
        host::out_of_memory_kills(root.path())
    };
    let (v1, v2) = ("cgroup cgroup rw,memory", "cgroup2 cgroup2 rw");
    assert_eq!(kills("0::/a", v2, &[("m/a/memory.events", "oom 3\noom_kill 2\noom_group_kill 0")]), Some(2));
    assert_eq!(kills("0::/a", v2, &[("m/memory.events", "oom_kill 1")]), Some(1), "where the own one has no file");
    assert_eq!(kills("4:memory:/a", v1, &[("m/a/memory.oom_control", "under_oom 0\noom_kill 5")]), Some(5));
    assert_eq!(kills("0::/a", v2, &[("m/a/memory.events", "oom_kill many")]), None);
    assert_eq!(kills("0::/a", v2, &[]), None);
}
