//! What we read from the trees of other people's machines.
#![cfg(feature = "probe")]

mod probed;
mod support;

use host::{CpuList, CpuSets, Host, Overrides, Sourced, System};
use probed::probed;

fn probe(name: &str) -> Host {
    probed(support::machine(name).path())
}

/// Everything but the features, one value per line, each with its source.
fn summary(name: &str) -> String {
    let host = probe(name);
    let Host { cpu, topology, budget, memory, .. } = &host;
    let bytes = |value: &Option<Sourced<u64>>| value.as_ref().map_or("?".to_owned(), ToString::to_string);
    let count = |value: Option<usize>| value.map_or("?".to_owned(), |value| value.to_string());
    [
        format!("cpu: {} {}", cpu.vendor.as_deref().unwrap_or("?"), cpu.model.as_deref().unwrap_or("?")),
        format!("level: {:?}, {} features", cpu.x86_64_level(), cpu.features.len()),
        format!("topology: {topology}; {} P by {}", topology.big_cores(), source(&topology.performance_cores)),
        format!("sockets {}, NUMA nodes {}", count(topology.sockets), count(topology.numa_nodes)),
        format!("L2: {}", bytes(&topology.l2_bytes_per_core)),
        format!("L3: {}", bytes(&topology.l3_bytes_total)),
        format!("budget: {budget}; affinity {}; cores {}", budget.affinity, count(budget.cores)),
        format!("memory: {}", bytes(&memory.total)),
        format!("limit: {}", bytes(&memory.cgroup_limit)),
    ]
    .join("\n")
}

fn source<T>(value: &Option<Sourced<T>>) -> &str {
    value.as_ref().map_or("?", |value| &value.source)
}

#[test]
fn vm() {
    insta::assert_snapshot!(summary("vm-2-vcpu"), @r"
    cpu: AuthenticAMD AMD EPYC
    level: Some(4), 50 features
    topology: 2 cores; 2 P by nothing tells the cores apart
    sockets 1, NUMA nodes 1
    L2: 1048576 (/sys/devices/system/cpu/cpu*/cache)
    L3: 33554432 (/sys/devices/system/cpu/cpu*/cache)
    budget: 2 CPUs (/proc/self/status: 0-1); affinity 2 (/proc/self/status: 0-1); cores 2
    memory: 25276502016 (/proc/meminfo)
    limit: ?
    ");
}

#[test]
fn desktop_with_smt() {
    insta::assert_snapshot!(summary("ryzen-9-7950x"), @r"
    cpu: AuthenticAMD AMD Ryzen 9 7950X 16-Core Processor
    level: Some(4), 50 features
    topology: 16 cores, 32 CPUs; 16 P by nothing tells the cores apart
    sockets 1, NUMA nodes 1
    L2: 1048576 (/sys/devices/system/cpu/cpu*/cache)
    L3: 67108864 (/sys/devices/system/cpu/cpu*/cache)
    budget: 32 CPUs (/proc/self/status: 0-31); affinity 32 (/proc/self/status: 0-31); cores 16
    memory: 66579771392 (/proc/meminfo)
    limit: ?
    ");
}

#[test]
fn p_and_e_cores() {
    insta::assert_snapshot!(summary("core-i7-12700k"), @r"
    cpu: GenuineIntel 12th Gen Intel(R) Core(TM) i7-12700K
    level: Some(3), 38 features
    topology: 12 cores (8 P + 4 E), 20 CPUs; 8 P by /sys/devices/cpu_core/cpus
    sockets 1, NUMA nodes 1
    L2: 2097152 (/sys/devices/system/cpu/cpu*/cache)
    L3: 26214400 (/sys/devices/system/cpu/cpu*/cache)
    budget: 20 CPUs (/proc/self/status: 0-19); affinity 20 (/proc/self/status: 0-19); cores 12
    memory: 33393668096 (/proc/meminfo)
    limit: ?
    ");
}

#[test]
fn p_and_e_cores_without_smt() {
    insta::assert_snapshot!(summary("core-ultra-265k"), @r"
    cpu: GenuineIntel Intel(R) Core(TM) Ultra 7 265K
    level: Some(3), 38 features
    topology: 20 cores (8 P + 12 E); 8 P by /sys/devices/cpu_core/cpus
    sockets 1, NUMA nodes ?
    L2: 4194304 (/sys/devices/system/cpu/cpu*/cache)
    L3: 31457280 (/sys/devices/system/cpu/cpu*/cache)
    budget: 20 CPUs (/proc/self/status: 0-19); affinity 20 (/proc/self/status: 0-19); cores 20
    memory: 33393668096 (/proc/meminfo)
    limit: ?
    ");
}

#[test]
fn two_sockets_told_apart_by_core_number() {
    insta::assert_snapshot!(summary("xeon-2-socket"), @r"
    cpu: GenuineIntel Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz
    level: Some(4), 40 features
    topology: 56 cores, 112 CPUs, 2 sockets; 56 P by nothing tells the cores apart
    sockets 2, NUMA nodes 2
    L2: 1048576 (/sys/devices/system/cpu/cpu*/cache)
    L3: 80740352 (/sys/devices/system/cpu/cpu*/cache)
    budget: 112 CPUs (/proc/self/status: 0-111); affinity 112 (/proc/self/status: 0-111); cores 56
    memory: 405378285568 (/proc/meminfo)
    limit: ?
    ");
}

#[test]
fn quota_of_an_ancestor() {
    insta::assert_snapshot!(summary("pod-quota-7.65-of-96"), @r"
    cpu: AuthenticAMD AMD EPYC 9454P 48-Core Processor
    level: Some(4), 49 features
    topology: 48 cores, 96 CPUs; 48 P by nothing tells the cores apart
    sockets 1, NUMA nodes ?
    L2: 1048576 (/sys/devices/system/cpu/cpu*/cache)
    L3: ?
    budget: 7 CPUs (quota 7.65 of 96, /sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cpu.max); affinity 96 (/proc/self/status: 0-95); cores 48
    memory: 540662419456 (/proc/meminfo)
    limit: 34359738368 (/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/memory.max)
    ");
}

#[test]
fn cgroup_v1_in_a_container() {
    insta::assert_snapshot!(summary("container-cgroup-v1"), @r"
    cpu: GenuineIntel Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz
    level: Some(3), 34 features
    topology: 8 cores; 8 P by nothing tells the cores apart
    sockets 1, NUMA nodes ?
    L2: ?
    L3: ?
    budget: 2 CPUs (quota 2.50 of 8, /sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us); affinity 8 (/proc/self/status: 0-7); cores 8
    memory: 16777216000 (/proc/meminfo)
    limit: 4294967296 (/mnt/c g/memory/memory.limit_in_bytes)
    ");
}

#[test]
fn both_hierarchies_and_offline_cpus() {
    insta::assert_snapshot!(summary("hybrid-cgroups"), @r"
    cpu: GenuineIntel Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz
    level: Some(4), 39 features
    topology: 12 cores; 12 P by nothing tells the cores apart
    sockets 1, NUMA nodes ?
    L2: ?
    L3: ?
    budget: 3 CPUs (quota 3.50 of 12, /sys/fs/cgroup/cpu,cpuacct/system.slice/llm.service/cpu.cfs_quota_us); affinity 12 (/proc/self/status: 0-11); cores 12
    memory: 67423449088 (/proc/meminfo)
    limit: 17179869184 (/sys/fs/cgroup/unified/system.slice/llm.service/memory.max)
    ");
}

#[test]
fn big_and_little_cores() {
    insta::assert_snapshot!(summary("rk3588"), @r"
    cpu: 0x41 Arm parts 0xd05 0xd0b
    level: None, 16 features
    topology: 8 cores (4 big + 4 little); 4 P by /sys/devices/system/cpu/cpu*/cpu_capacity
    sockets ?, NUMA nodes ?
    L2: 524288 (/sys/devices/system/cpu/cpu*/cache)
    L3: ?
    budget: 8 CPUs (/proc/self/status: 0-7); affinity 8 (/proc/self/status: 0-7); cores 8
    memory: 16606298112 (/proc/meminfo)
    limit: ?
    ");
}

/// The machines of which only some lines are of interest.
#[test]
fn topologies() {
    let shown = |name: &str| {
        let host = probe(name);
        format!("{name}: {}; {}", host.topology, host.budget)
    };
    insta::assert_snapshot!(
        [
            "epyc-genoa-2-socket", "epyc-9375f-smt-off", "graviton2", "gb10", "jetson-agx-orin", "strix-halo", "ghost-igpu",
            "nested-cgroups", "core-ultra-125h", "arc-b580", "nvidia-h100-node",
        ]
        .map(shown)
        .join("\n"),
        @"
        epyc-genoa-2-socket: 64 cores, 128 CPUs, 2 sockets; 128 CPUs (/proc/self/status: 0-127)
        epyc-9375f-smt-off: 64 cores, 2 sockets; 64 CPUs (/proc/self/status: 0-63)
        graviton2: 16 cores; 16 CPUs (/proc/self/status: 0-15)
        gb10: 20 cores; 20 CPUs (/proc/self/status: 0-19)
        jetson-agx-orin: 12 cores; 12 CPUs (/proc/self/status: 0-11)
        strix-halo: 16 cores, 32 CPUs; 32 CPUs (/proc/self/status: 0-31)
        ghost-igpu: 16 cores, 32 CPUs; 32 CPUs (/proc/self/status: 0-31)
        nested-cgroups: 32 cores; 8 CPUs (quota 8.00 of 32, /sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod-1/cpu.max)
        core-ultra-125h: 14 cores (4 P + 10 E), 18 CPUs; 18 CPUs (/proc/self/status: 0-17)
        arc-b580: 12 cores (8 P + 4 E), 20 CPUs; 20 CPUs (/proc/self/status: 0-19)
        nvidia-h100-node: 16 cores; 16 CPUs (/proc/self/status: 0-15)
        "
    );
}

#[test]
fn which_cpus_are_which() {
    let shown = |name: &str| {
        let topology = probe(name).topology;
        let CpuSets { online, performance, efficiency, one_per_core } = &topology.cpus;
        assert_eq!(performance.len() + efficiency.len(), online.len(), "{name}");
        assert_eq!(one_per_core.len(), topology.cores(), "{name}");
        assert_eq!(one_per_core.intersection(performance).len(), topology.big_cores(), "{name}");
        format!("{name}: {online}, P {performance}, E {efficiency}, one per core {one_per_core}")
    };
    insta::assert_snapshot!(
        [
            "vm-2-vcpu", "ryzen-9-7950x", "core-i7-12700k", "core-ultra-265k", "core-ultra-125h", "rk3588", "gb10",
            "epyc-genoa-2-socket",
        ]
        .map(shown)
        .join("\n"),
        @"
        vm-2-vcpu: 0-1, P 0-1, E , one per core 0-1
        ryzen-9-7950x: 0-31, P 0-31, E , one per core 0-15
        core-i7-12700k: 0-19, P 0-15, E 16-19, one per core 0,2,4,6,8,10,12,14,16-19
        core-ultra-265k: 0-19, P 0-1,6-7,12-13,18-19, E 2-5,8-11,14-17, one per core 0-19
        core-ultra-125h: 0-17, P 0-1,10-15, E 2-9,16-17, one per core 0,2-10,12,14,16-17
        rk3588: 0-7, P 4-7, E 0-3, one per core 0-7
        gb10: 0-19, P 0-19, E , one per core 0-19
        epyc-genoa-2-socket: 0-127, P 0-127, E , one per core 0-63
        "
    );
}

#[test]
fn cpus_and_memory_of_the_numa_nodes() {
    let shown = |name: &str| {
        let nodes = probe(name).topology.nodes.into_iter().map(|node| {
            format!("{name} {}: [{}] {}", node.id, node.cpus, node.memory.map_or("?".to_owned(), |it| it.to_string()))
        });
        nodes.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(
        ["ryzen-9-7950x", "xeon-2-socket", "epyc-genoa-2-socket", "epyc-9375f-smt-off"].map(shown).join("\n"),
        @"
        ryzen-9-7950x 0: [0-31] 66579771392 (/sys/devices/system/node/node0/meminfo)
        xeon-2-socket 0: [0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32,34,36,38,40,42,44,46,48,50,52,54,56,58,60,62,64,66,68,70,72,74,76,78,80,82,84,86,88,90,92,94,96,98,100,102,104,106,108,110] 202689142784 (/sys/devices/system/node/node0/meminfo)
        xeon-2-socket 1: [1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,41,43,45,47,49,51,53,55,57,59,61,63,65,67,69,71,73,75,77,79,81,83,85,87,89,91,93,95,97,99,101,103,105,107,109,111] 202689142784 (/sys/devices/system/node/node1/meminfo)
        xeon-2-socket 2: [] 134217728000 (/sys/devices/system/node/node2/meminfo)
        xeon-2-socket 3: [] 134217728000 (/sys/devices/system/node/node3/meminfo)
        epyc-genoa-2-socket 0: [0-31,64-95] 202689142784 (/sys/devices/system/node/node0/meminfo)
        epyc-genoa-2-socket 1: [32-63,96-127] 202689142784 (/sys/devices/system/node/node1/meminfo)
        epyc-9375f-smt-off 0: [0-31] 810833464320 (/sys/devices/system/node/node0/meminfo)
        epyc-9375f-smt-off 1: [32-63] 811627518976 (/sys/devices/system/node/node1/meminfo)
        "
    );
}

#[test]
fn cpus_that_are_offline_are_in_no_node_and_in_no_set() {
    let root = support::machine("ryzen-9-7950x");
    support::put(root.path(), "sys/devices/system/cpu/online", "0-15");
    let topology = probed(root.path()).topology;
    assert_eq!(topology.nodes[0].cpus.to_string(), "0-15");
    assert_eq!(topology.cpus.performance.to_string(), "0-15");
}

#[test]
fn nothing_at_all() {
    let root = tempfile::tempdir().unwrap();
    let host = Host::probe_at(root.path(), Overrides::default());
    assert_eq!(host.budget.cpus, 1);
    assert_eq!(host.topology.logical_cpus, Sourced::new(1, "nothing known"));
    assert_eq!((&host.topology.physical_cores, &host.cpu.model, &host.memory.total), (&None, &None, &None));
    assert_eq!(host.fingerprint().len(), 16);
}

#[test]
fn the_system_is_asked_where_there_are_no_files() {
    let root = tempfile::tempdir().unwrap();
    let system = System { cpus: Some(10), cores: Some(8), total_memory: Some(1 << 34), ..System::default() };
    let host = Host::probe_at(root.path(), Overrides { system, ..Overrides::default() });
    assert_eq!((host.topology.logical_cpus.value, host.topology.cores(), host.budget.cpus), (10, 8, 10));
    assert_eq!(host.memory.total, Some(Sourced::new(1 << 34, "operating system")));
}

#[test]
fn the_affinity_counts_cpus_and_the_cores_they_are_on() {
    let root = support::machine("core-i7-12700k");
    let budget = |cpus: &str| {
        let affinity = Some(Sourced::new(CpuList::parse(cpus).unwrap(), "test"));
        let budget = Host::probe_at(root.path(), Overrides { affinity, ..Overrides::default() }).budget;
        (budget.cpus, budget.cores)
    };
    assert_eq!(budget("0-19"), (20, Some(12)));
    assert_eq!(budget("0-3"), (4, Some(2)), "two cores with their siblings");
    assert_eq!(budget("1,3,5,16"), (4, Some(4)));
    assert_eq!(budget("18-40"), (2, Some(2)), "CPUs that are offline do not count");
}

#[test]
fn a_cgroup_is_found_wherever_it_is_mounted() {
    let quota = |membership: &str, mountinfo: &str, files: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        support::put(root.path(), "proc/self/cgroup", membership);
        support::put(root.path(), "proc/self/mountinfo", mountinfo);
        for (path, content) in files {
            support::put(root.path(), path, content);
        }
        Host::probe_at(root.path(), Overrides::default()).budget.quota.map(|quota| (quota.value, quota.source))
    };
    let v2 = "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw";
    let found = |value, source: &str| Some((value, source.to_owned()));
    assert_eq!(quota("0::/a/b", v2, &[("cg/a/cpu.max", "150000 100000")]), found(1.5, "/cg/a/cpu.max"));
    assert_eq!(quota("0::/a/b", v2, &[("cg/a/b/cpu.max", "50000")]), found(0.5, "/cg/a/b/cpu.max"));
    assert_eq!(quota("0::/a:b", v2, &[("cg/a:b/cpu.max", "2000 1000")]), found(2.0, "/cg/a:b/cpu.max"));
    assert_eq!(quota("0::/ab", v2, &[("cg/a/cpu.max", "2000 1000")]), None, "not our cgroup");
    // A bind mount of a part, and of a neighbour that must not be taken for ours.
    let parts = "30 24 0:26 /a /mine rw - cgroup2 cgroup2 rw\n31 24 0:26 /ax /other rw - cgroup2 cgroup2 rw";
    let files = [("mine/b/cpu.max", "3000 1000"), ("other/cpu.max", "1000 1000")];
    assert_eq!(quota("0::/a/b", parts, &files), found(3.0, "/mine/b/cpu.max"));
    // Outside of our cgroup namespace: what is mounted is all that can be read.
    assert_eq!(quota("0::/../x", v2, &[("cg/cpu.max", "4000 1000")]), found(4.0, "/cg/cpu.max"));
    // Not limits.
    for content in ["max 100000", "-1 100000", "0 100000", "100000 0", "100000 max", "", "1e9", "100000 99999999999"] {
        assert_eq!(quota("0::/", v2, &[("cg/cpu.max", content)]), None, "{content:?}");
    }
}

#[test]
fn the_fingerprint_names_the_machine_and_not_its_use() {
    let host = probe("ryzen-9-7950x");
    let name = host.fingerprint();
    assert_eq!(name, "9b5686253a0288b7", "stored tuning is found by this name: change it only on purpose");

    let same = |change: &dyn Fn(&mut Host)| {
        let mut changed = host.clone();
        change(&mut changed);
        changed.fingerprint() == name
    };
    assert!(same(&|host| host.budget = probe("vm-2-vcpu").budget));
    assert!(same(&|host| host.kernel = Some("99".to_owned())));
    assert!(same(&|host| host.memory.available = None));
    assert!(same(&|host| host.memory.total.as_mut().unwrap().value += 100 << 20));
    assert!(same(&|host| host.topology.logical_cpus.source = "elsewhere".to_owned()));

    assert!(!same(&|host| host.memory.total.as_mut().unwrap().value += 1 << 30));
    assert!(!same(&|host| drop(host.cpu.features.pop())));
    assert!(!same(&|host| host.cpu.model = None));
    assert!(!same(&|host| host.topology.logical_cpus.value = 16));
    assert!(!same(&|host| host.topology.physical_cores = None));
    assert!(!same(&|host| host.topology.sockets = Some(2)));
    assert!(!same(&|host| host.topology.l3_bytes_total = None));
}

#[test]
fn a_host_survives_json() {
    let host = probe("core-i7-12700k");
    let json = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<Host>(&json).unwrap(), host);
}

#[test]
fn every_fixture_says_where_it_comes_from() {
    let mut count = 0;
    for entry in std::fs::read_dir(support::fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let description = support::description(&name);
        let first = description.lines().next().unwrap();
        assert!(
            ["# synthetic", "# recorded", "# http"].iter().any(|origin| first.starts_with(origin)),
            "{name}: {first}"
        );
        assert!(support::files(&description).len() > 20, "{name}");
        count += 1;
    }
    assert!(count >= 16, "{count} fixtures");
}
