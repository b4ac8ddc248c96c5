//! `profiles.toml` holds what it promises, and names find what they mean.

use std::collections::{BTreeMap, BTreeSet};

use planner::profiles::{How, Kind, SCHEMA, SourceKind, Thermal, catalogue, find, parse};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

#[test]
fn every_machine_is_plausible_and_has_sources() {
    assert_eq!(catalogue().schema, SCHEMA);
    for profile in &catalogue().profiles {
        let name = &profile.name;
        assert!(!profile.sources.is_empty(), "{name}");
        assert!((20.0..10_000.0).contains(&profile.bandwidth_gbs), "{name}: {}", profile.bandwidth_gbs);
        let sizes = &profile.memory_gib;
        assert!(sizes.is_sorted() && sizes.iter().all(|gib| (4..=1024).contains(gib)), "{name}");
        assert_eq!(sizes.is_empty(), profile.kind == Kind::Cpu, "{name}");
        assert_eq!(profile.unified, profile.kind == Kind::Soc, "{name}");
        assert!((1..=2).contains(&profile.devices), "{name}");
        assert_eq!(profile.compute.is_some(), profile.kind != Kind::Cpu && !name.starts_with("apple-"), "{name}");
        if let Some(cores) = profile.cores {
            assert!((4..=256).contains(&(cores.performance + cores.efficiency)), "{name}");
            assert_ne!(profile.kind, Kind::Gpu, "{name}");
        }
        assert!(profile.kind != Kind::Cpu || profile.thermal >= Thermal::Active, "{name}");
        for field in &profile.unconfirmed {
            assert!(["memory_gib", "bandwidth_gbs", "cores"].contains(&field.as_str()), "{name}: {field}");
        }
    }
}

#[test]
fn every_source_is_used_dated_and_addressed() {
    let catalogue = catalogue();
    let sources: BTreeMap<_, _> = catalogue.sources.iter().map(|source| (source.id.as_str(), source)).collect();
    assert_eq!(sources.len(), catalogue.sources.len(), "two sources have one id");
    let rules = &catalogue.usable;
    let rules = [&rules.apple, &rules.shared, &rules.vram, &rules.vram_ecc, &rules.ram];
    let used = catalogue.profiles.iter().flat_map(|profile| &profile.sources);
    let used: BTreeSet<&str> = used.chain(rules.iter().flat_map(|rule| &rule.sources)).map(String::as_str).collect();
    assert_eq!(used, sources.keys().copied().collect(), "a source is missing, or nobody uses it");
    for source in &catalogue.sources {
        assert!(source.url.starts_with("http"), "{}", source.id);
        let parts: Vec<u32> = source.date.split('-').map(|part| part.parse().unwrap()).collect();
        assert!(matches!(parts[..], [2015..=2026, 1..=12, 1..=31]) && source.date.len() == 10, "{}", source.id);
    }
    assert!(catalogue.sources.iter().any(|source| source.kind == SourceKind::Vendor));
    for rule in rules {
        assert!(rule.shares.iter().all(|row| (0.5..=1.0).contains(&row.share)), "{rule:?}");
        assert!(rule.shares.last().is_some_and(|row| row.up_to_gib.is_none()), "{rule:?}");
        assert!(!rule.why.is_empty());
    }
}

#[test]
fn no_two_machines_have_one_name() {
    let mut seen = BTreeSet::new();
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-+".contains(&b));
    for profile in &catalogue().profiles {
        for name in [&profile.name].into_iter().chain(&profile.aliases) {
            assert!(plain(name), "{name}");
            assert!(seen.insert(name.as_str()), "{name}");
        }
        // A name finds its own entry, whatever stands before it in the file.
        for name in [&profile.name, &profile.title].into_iter().chain(&profile.aliases) {
            let found = find(name);
            assert_eq!((&found.profile.name, matches!(found.how, How::Unknown(_))), (&profile.name, false), "{name}");
        }
    }
}

#[test]
fn all_machines_that_are_promised_are_there() {
    let promised = "apple-m1 apple-m1-pro apple-m1-max apple-m1-ultra apple-m2 apple-m2-pro apple-m2-max apple-m2-ultra \
        apple-m3 apple-m3-pro apple-m3-max apple-m3-ultra apple-m4 apple-m4-pro apple-m4-max rtx-3060 rtx-3070 rtx-3080 \
        rtx-3090 rtx-4060 rtx-4070 rtx-4080 rtx-4090 t4 v100 a100 jetson-nano jetson-xavier jetson-orin rx-7900-xt \
        rx-7900-xtx mi250 mi300 graviton3 altra epyc-9654 core-i9-13900k";
    for name in promised.split_whitespace() {
        assert!(!matches!(find(name).how, How::Unknown(_)), "{name}");
    }
}

#[test]
fn what_drivers_call_a_machine_finds_it() {
    for (text, name, gib) in [
        ("NVIDIA GeForce RTX 3060", "rtx-3060", Some(12)),
        ("rtx-3060:8", "rtx-3060-8gb", Some(8)),
        ("RTX 3060 8GB", "rtx-3060-8gb", Some(8)),
        ("RTX 3080 12 GB", "rtx-3080-12gb", Some(12)),
        ("NVIDIA GeForce RTX 4060 Ti 16GB", "rtx-4060-ti", Some(16)),
        ("NVIDIA A100-SXM4-40GB", "a100", Some(40)),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb", Some(80)),
        ("NVIDIA A100-PCIE-40GB", "a100", Some(40)),
        ("Tesla V100-SXM2-32GB", "v100", Some(32)),
        ("Tesla T4", "t4", Some(16)),
        ("AMD Radeon RX 7900 XTX", "rx-7900-xtx", Some(24)),
        ("Apple M2 Ultra", "apple-m2-ultra", Some(64)),
        ("m3-max:96", "apple-m3-max", Some(96)),
        ("Intel(R) Core(TM) i9-13900K", "core-i9-13900k", None),
        ("Graviton-3", "graviton3", None),
    ] {
        let found = find(text);
        assert_eq!((found.profile.name.as_str(), found.memory.map(|bytes| bytes / GIB)), (name, gib), "{text}");
    }
}

#[test]
fn where_memory_is_not_named_the_least_is_taken_and_that_is_said() {
    let found = find("apple-m4");
    assert_eq!((found.memory, found.how), (Some(16 * GIB), How::SmallestMemory(vec![16, 24, 32])));
    assert_eq!(find("rtx-4090").how, How::Named);
}

#[test]
fn a_machine_that_only_sounds_alike_is_not_taken_for_it() {
    let slowest = catalogue().profiles.iter().map(|profile| profile.bandwidth_gbs).fold(f64::INFINITY, f64::min);
    for (text, nearest) in [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090"),
        ("NVIDIA A100-PCIE-80GB", "a100"),
        ("rtx-4090:48", "rtx-4090"),
        ("apple-m9", "apple-m1"),
        ("", ""),
    ] {
        let found = find(text);
        let How::Unknown(names) = &found.how else { panic!("{text}: {found:?}") };
        assert!(nearest.is_empty() || names.iter().any(|name| name == nearest), "{text}: {names:?}");
        assert_eq!((found.profile.bandwidth_gbs, found.memory, found.profile.kind), (slowest, None, Kind::Cpu));
        assert!(found.profile.note.is_some_and(|note| note.contains("not known")));
    }
}

#[test]
fn a_model_may_take_less_than_there_is() {
    let usable = |name: &str, gib: u64| find(name).profile.usable_bytes(gib * GIB) as f64 / GIB as f64;
    // Metal recommends 10.67 of 16, and 107.5 of 128 on later systems.
    assert!((10.0..10.67).contains(&usable("apple-m1", 16)));
    assert!((90.0..107.5).contains(&usable("apple-m3-max-16", 128)));
    // The driver of an A100 reports 39.5 of 40.
    assert!((37.0..39.5).contains(&usable("a100", 40)));
    for profile in &catalogue().profiles {
        assert_eq!(profile.usable_bytes(0), 0);
        assert!(profile.usable_bytes(64 * GIB) < 64 * GIB, "{}", profile.name);
    }
}

#[test]
fn mistakes_in_the_file_are_found() {
    let text = include_str!("../profiles.toml");
    let first = "name = \"apple-m1\"\n";
    assert!(text.contains(first));
    for wrong in ["name = 1\n", "name = \"apple-m1\"\nspeed = 20\n", "name = \"apple-m1\"\nthermal = \"oven\"\n", ""] {
        assert!(parse(&text.replacen(first, wrong, 1)).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_finds_something(text in ".{0,60}") {
        let found = find(&text);
        prop_assert!(found.profile.bandwidth_gbs > 0.0);
    }
}
