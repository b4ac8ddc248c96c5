//! A machine that is saved as a text is the same machine, and tells nothing of its owner.
#![cfg(feature = "probe")]

mod probed;
mod support;

use std::fs;
use std::path::Path;

use host::fixture;
use probed::probed;
use serde_json::Value;

/// A host without the sources of its values: they name cgroups, which get other names.
fn values(root: &Path) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| name != "source");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(probed(root)).expect("a host is JSON");
    strip(&mut value);
    value
}

fn saved(root: &Path) -> String {
    fixture::tree("synthetic: a test", root, &probed::nvml(root))
}

#[test]
fn every_fixture_survives_being_saved() {
    for entry in fs::read_dir(support::fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let root = support::machine(&name);
        let text = saved(root.path());
        let again = support::planted(&text);
        assert_eq!(values(again.path()), values(root.path()), "{name}\n{text}");
        assert_eq!(saved(again.path()), text, "{name}: saved twice");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_machine_that_runs_this_survives_being_saved() {
    let text = fixture::tree("recorded: a test", Path::new("/"), &[]);
    let (mut live, mut again) = (values(Path::new("/")), values(support::planted(&text).path()));
    for host in [&mut live, &mut again] {
        // What other processes do meanwhile.
        for field in ["available", "cgroup_left", "budget"] {
            host["memory"][field].take();
        }
        host["memory"]["huge_pages"]["free_bytes"].take();
        host["gpus"].take();
    }
    assert_eq!(live, again, "{text}");
}

#[test]
fn nothing_of_the_owner_is_saved() {
    let root = support::machine("nvidia-h100-node");
    let put = |path: &str, content: &str| support::put(root.path(), path, content);
    put("proc/self/cgroup", "9:name=systemd:/alice\n5:devices:/alice\n0::/user.slice/alice.slice/docker-5ec7e7.scope");
    put(
        "proc/self/mountinfo",
        "1 0 8:1 / / rw - ext4 /dev/disk/by-label/alice rw\n\
         2 1 0:9 / /home/alice rw - nfs4 alicehost:/export rw,addr=192.0.2.7\n\
         3 1 0:26 /user.slice /srv/alice\\040s/cg rw - cgroup2 alice rw,alice\n\
         4 1 0:27 / /v1 rw - cgroup alice rw,memory,release_agent=/home/alice/agent",
    );
    put("srv/alice s/cg/alice.slice/docker-5ec7e7.scope/cpu.max", "150000 100000");
    put("srv/alice s/cg/alice.slice/memory.max", "1073741824");
    put("srv/alice s/cg/alice.slice/memory.current", "1");
    put("srv/alice s/cg/alice.slice/memory.stat", "anon 5ec7e7\ninactive_file 1");
    put("proc/self/status", "Name:\talice\nUid:\t1000\nCpus_allowed_list:\t0-15");
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Xeon\nflags\t: avx2\nSerial\t: 5ec7e7\n\nHardware\t: alice");
    put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 50 kB\nSerial: 5ec7e7 kB");
    put("proc/device-tree/compatible", "nvidia,tegra234");
    put("proc/device-tree/serial-number", "5ec7e7");
    put(
        "proc/driver/nvidia/gpus/0000:06:00.0/information",
        "Model: \t NVIDIA H100\nGPU UUID: \t GPU-5ec7e7\nBus Location: \t 0000:06:00.0",
    );
    put("sys/class/drm/card1/device/uevent", "DRIVER=nvidia\nPCI_SLOT_NAME=0000:06:00.0\nSERIAL=5ec7e7");
    let text = saved(root.path());
    for secret in ["alice", "5ec7e7", "192.0.2.7", "1000\n", "by-label"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    let again = support::planted(&text);
    assert_eq!(values(again.path()), values(root.path()), "{text}");
    let host = probed(again.path());
    assert_eq!(host.budget.quota.unwrap().value, 1.5, "{text}");
    assert_eq!(host.memory.cgroup_limit.unwrap().value, 1 << 30);
}

#[test]
fn cpus_in_a_row_are_one_line() {
    let text = saved(support::machine("epyc-9375f-smt-off").path());
    assert!(text.contains("sys/devices/system/cpu/cpu{0-63}/cache/index0/size = 1024K\n"), "{text}");
    assert!(text.contains("sys/devices/system/cpu/cpu{0-63}/topology/thread_siblings_list = {n}\n"), "{text}");
    assert!(text.lines().count() < 200, "{}", text.lines().count());
}

#[test]
fn a_text_is_read_as_the_machine_that_it_describes() {
    for entry in fs::read_dir(support::fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let read = fixture::host(&support::description(&name)).unwrap();
        assert_eq!(read, probed(support::machine(&name).path()), "{name}");
    }
}
