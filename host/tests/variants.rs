//! The truth table of variant choice: machine, build, what is forced, to the variant that runs and why no other does.

use host::variants::{AARCH64, Choice, Table, Verdict, X86_64, choose};
use host::{Cpu, Host, Overrides};
use proptest::prelude::*;

mod support;

/// What the named CPUs have of the features that matter here, each line on top of others (`+`), with `-` taking away and
/// `os:` marking what the operating system does not enable. Transcribed (synthetic) from the vendors' documentation of
/// the families; machines with recorded flags are below.
const MACHINES: &str = "
core2duo         = sse2 pni ssse3
nehalem          = + core2duo sse4_1 sse4_2 popcnt
sandy-bridge     = + nehalem avx
bulldozer        = + sandy-bridge xop fma4
ivy-bridge       = + sandy-bridge f16c
fx-8350          = + bulldozer f16c fma bmi1
haswell          = + ivy-bridge fma avx2 bmi1 bmi2
haswell-pentium  = + nehalem
skylake-client   = + haswell adx
zen2             = + skylake-client sha_ni
zen3             = + zen2 vaes
knights-landing  = + haswell avx512f avx512cd
skylakex         = + skylake-client avx512f avx512cd avx512vl avx512dq avx512bw
cannon-lake      = + skylakex avx512ifma avx512vbmi
cascade-lake     = + skylakex avx512_vnni
cooper-lake      = + cascade-lake avx512_bf16
ice-lake         = + cannon-lake avx512_vnni avx512_vbmi2
zen4             = + ice-lake avx512_bf16
zen5             = + zen4 avx_vnni
alder-lake       = + zen3 avx_vnni
sapphire-rapids  = + zen5 avx512_fp16 amx_tile amx_int8 amx_bf16
vm-no-avx512     = + sapphire-rapids - avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16
vm-no-popcnt     = + haswell - popcnt
vm-no-bmi2       = + haswell - bmi2
xcr0-no-avx512   = + sapphire-rapids os: avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16
xcr0-no-avx      = + haswell os: avx f16c fma avx2
amx-not-allowed  = + sapphire-rapids os: amx_tile amx_int8 amx_bf16
rk3588           = fp asimd fphp asimdhp asimddp
raspberry-pi-4   = fp asimd
graviton3        = + rk3588 sve i8mm
graviton4        = + graviton3 sve2
one-bit-of-fp16  = fp asimd asimddp asimdhp
";

/// Build: `all` of the architecture, or a list. The last column: the error, or why variants above the taken one are not.
const TABLE: &str = "
machine          | build                   | forced         | taken          | why
core2duo         | all                     | -              | x64            | sse42 lacks sse4_1 sse4_2 popcnt
nehalem          | all                     | -              | sse42          | sandybridge lacks avx
sandy-bridge     | all                     | -              | sandybridge    | ivybridge lacks f16c
bulldozer        | all                     | -              | sandybridge    | piledriver lacks f16c fma
ivy-bridge       | all                     | -              | ivybridge      | piledriver lacks fma
fx-8350          | all                     | -              | piledriver     | haswell lacks avx2 bmi2
haswell          | all                     | -              | haswell        | alderlake lacks avx_vnni
haswell-pentium  | all                     | -              | sse42          | haswell lacks avx f16c fma avx2 bmi2
skylake-client   | all                     | -              | haswell        | skylakex lacks avx512f avx512cd avx512vl avx512dq avx512bw
zen2             | all                     | -              | haswell        | alderlake lacks avx_vnni
zen3             | all                     | -              | haswell        | alderlake lacks avx_vnni
knights-landing  | all                     | -              | haswell        | skylakex lacks avx512vl avx512dq avx512bw
skylakex         | all                     | -              | skylakex       | cascadelake lacks avx512_vnni
cannon-lake      | all                     | -              | cannonlake     | icelake lacks avx512_vnni
cascade-lake     | all                     | -              | cascadelake    | icelake lacks avx512vbmi
cooper-lake      | all                     | -              | cooperlake     | zen4 lacks avx512vbmi
ice-lake         | all                     | -              | icelake        | zen4 lacks avx512_bf16
zen4             | all                     | -              | zen4           | sapphirerapids lacks amx_tile amx_int8
zen5             | all                     | -              | zen4           | alderlake outscored by zen4
alder-lake       | all                     | -              | alderlake      | skylakex lacks avx512f avx512cd avx512vl avx512dq avx512bw
sapphire-rapids  | all                     | -              | sapphirerapids | zen4 outscored by sapphirerapids
vm-no-avx512     | all                     | -              | alderlake      | sapphirerapids lacks avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16 amx_tile amx_int8
vm-no-popcnt     | all                     | -              | x64            | haswell lacks popcnt
vm-no-bmi2       | all                     | -              | piledriver     | haswell lacks bmi2
xcr0-no-avx512   | all                     | -              | alderlake      | zen4 disabled avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16
xcr0-no-avx      | all                     | -              | sse42          | haswell disabled avx f16c fma avx2
xcr0-no-avx      | all                     | -              | sse42          | skylakex lacks avx512f avx512cd avx512vl avx512dq avx512bw
amx-not-allowed  | all                     | -              | zen4           | sapphirerapids disabled amx_tile amx_int8
zen4             | x64 haswell skylakex    | -              | skylakex       | zen4 is not in the build
zen4             | haswell x64             | -              | haswell        | x64 outscored by haswell
core2duo         | haswell zen4            | -              | -              | this machine can run no CPU variant of this build
core2duo         | -                       | -              | -              | this machine can run no CPU variant of this build
zen4             | x64 haswell glacierlake | -              | haswell        | glacierlake is not known
zen4             | all                     | haswell        | haswell        | zen4 is forced away
zen4             | all                     | haswell        | haswell        | sapphirerapids lacks amx_tile amx_int8
sapphire-rapids  | all                     | zen4           | zen4           | sapphirerapids is forced away
zen4             | all                     |                | zen4           | haswell outscored by zen4
haswell          | all                     | zen4           | -              | CPU variant `zen4` cannot run here: the CPU lacks `avx512f`, `avx512cd`, `avx512vl`, `avx512dq`, `avx512bw`, `avx512vbmi`, `avx512_vnni`, `avx512_bf16`; hint: what can run here: `x64`, `sse42`, `sandybridge`, `ivybridge`, `piledriver`, `haswell`
amx-not-allowed  | all                     | sapphirerapids | -              | CPU variant `sapphirerapids` cannot run here: the operating system does not enable `amx_tile`, `amx_int8`; hint: what can run here: `x64`, `sse42`, `sandybridge`, `ivybridge`, `piledriver`, `haswell`, `skylakex`, `cannonlake`, `cascadelake`, `icelake`, `cooperlake`, `zen4`, `alderlake`
zen4             | x64 haswell             | zen4           | -              | CPU variant `zen4` is not in this build; hint: what can run here: `x64`, `haswell`
zen4             | all                     | ../x64         | -              | CPU variant `../x64` is not in this build; hint: what can run here: `x64`, `sse42`, `sandybridge`, `ivybridge`, `piledriver`, `haswell`, `skylakex`, `cannonlake`, `cascadelake`, `icelake`, `cooperlake`, `zen4`
zen4             | x64 glacierlake         | glacierlake    | -              | CPU variant `glacierlake` is not known to this version; hint: what can run here: `x64`
zen4             | haswell                 | armv8.0_1      | -              | CPU variant `armv8.0_1` is not in this build; hint: what can run here: `haswell`
raspberry-pi-4   | all                     | -              | armv8.0_1      | armv8.2_1 lacks asimddp
rk3588           | all                     | -              | armv8.2_2      | armv8.2_3 lacks sve
graviton3        | all                     | -              | armv8.6_1      | armv8.6_2 lacks sve2
graviton4        | all                     | -              | armv8.6_2      | armv9.2_2 lacks sme
one-bit-of-fp16  | all                     | -              | armv8.2_1      | armv8.2_2 lacks fphp
zen4             | armv8.0_1               | -              | -              | armv8.0_1 lacks asimd
";

fn machine(name: &str) -> Cpu {
    let mut cpu = Cpu { source: "table".to_owned(), ..Cpu::default() };
    let line = MACHINES.lines().find_map(|line| {
        let (found, features) = line.split_once('=')?;
        (found.trim() == name).then_some(features)
    });
    let mut words = line.unwrap_or_else(|| panic!("no machine `{name}`")).split_whitespace().peekable();
    if words.next_if_eq(&"+").is_some() {
        cpu = machine(words.next().expect("a machine after `+`"));
    }
    let mut mode = "add";
    for word in words {
        match word {
            "-" | "os:" => mode = word,
            _ if mode == "add" => cpu.features.push(word.to_owned()),
            _ => {
                let before = cpu.features.len();
                cpu.features.retain(|feature| feature != word);
                assert_eq!(cpu.features.len(), before - 1, "{name} has no {word} to take away");
                if mode == "os:" {
                    cpu.disabled_by_os.push(word.to_owned());
                }
            }
        }
    }
    cpu
}

fn names(table: &Table) -> Vec<&'static str> {
    table.variants.iter().map(|variant| variant.name).collect()
}

fn why(choice: &Choice, name: &str) -> String {
    let reason = choice.reasons.iter().find(|reason| reason.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    match &reason.verdict {
        Verdict::Taken => format!("{name} is taken"),
        Verdict::Outscored { by } => format!("{name} outscored by {by}"),
        Verdict::Missing { features } => format!("{name} lacks {}", features.join(" ")),
        Verdict::OsDisabled { features } => format!("{name} disabled {}", features.join(" ")),
        Verdict::NotInBuild => format!("{name} is not in the build"),
        Verdict::ForcedAway => format!("{name} is forced away"),
        Verdict::Unknown => format!("{name} is not known"),
    }
}

#[test]
fn the_truth_table_holds() {
    let mut rows = 0;
    for row in TABLE.trim().lines().skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, build, forced, taken, expected] = cells[..] else { panic!("{row}") };
        let cpu = machine(name);
        let build = match build {
            "all" => names(if cpu.has("asimd") { &AARCH64 } else { &X86_64 }),
            "-" => Vec::new(),
            list => list.split(' ').collect(),
        };
        let choice = choose(&cpu, &build, (forced != "-").then_some(forced));
        assert_eq!(choice.taken.as_deref().unwrap_or("-"), taken, "{row}");
        let said = match choice.taken() {
            Ok(name) => {
                assert_eq!(why(&choice, name), format!("{name} is taken"), "{row}");
                why(&choice, expected.split(' ').next().unwrap())
            }
            Err(_) if expected.starts_with("armv8.0_1 ") => why(&choice, "armv8.0_1"),
            Err(error) => {
                assert_eq!(error.code(), diagnostic::codes::VARIANT_UNAVAILABLE);
                let hints = error.hints().iter().map(|hint| format!("; hint: {hint}"));
                [error.to_string()].into_iter().chain(hints).collect()
            }
        };
        assert_eq!(said, expected, "{row}");
        rows += 1;
    }
    assert!(rows >= 45, "{rows} rows");
}

#[test]
fn recorded_machines_take_what_they_should() {
    let taken = |name: &str| {
        let host = Host::probe_at(support::machine(name).path(), Overrides::default());
        let all = if host.cpu.has("asimd") { names(&AARCH64) } else { names(&X86_64) };
        choose(&host.cpu, &all, None).taken.unwrap_or_else(|| panic!("{name} takes none"))
    };
    for (machine, variant) in [
        ("vm-2-vcpu", "zen4"),
        ("ryzen-9-7950x", "zen4"),
        ("pod-quota-7.65-of-96", "zen4"),
        ("core-i7-12700k", "alderlake"),
        ("core-ultra-265k", "alderlake"),
        ("xeon-2-socket", "cascadelake"),
        ("hybrid-cgroups", "skylakex"),
        ("container-cgroup-v1", "haswell"),
        ("rk3588", "armv8.2_2"),
    ] {
        assert_eq!(taken(machine), variant, "{machine}");
    }
}

#[test]
fn scores_are_those_that_upstream_computes() {
    let scores = |table: &'static Table| {
        let score = |variant| format!("{} {}", table.score(variant), variant.name);
        table.variants.iter().map(score).collect::<Vec<_>>().join(", ")
    };
    insta::assert_snapshot!(scores(&X86_64), @"1 x64, 5 sse42, 21 sandybridge, 23 ivybridge, 24 piledriver, 64 haswell, 192 skylakex, 448 cannonlake, 1216 cascadelake, 1472 icelake, 1728 cooperlake, 1984 zen4, 128 alderlake, 4032 sapphirerapids");
    insta::assert_snapshot!(scores(&AARCH64), @"1 armv8.0_1, 3 armv8.2_1, 7 armv8.2_2, 15 armv8.2_3, 31 armv8.6_1, 63 armv8.6_2, 95 armv9.2_1, 127 armv9.2_2");
}

#[test]
fn tables_name_groups_that_exist_and_features_that_are_probed() {
    for table in [&X86_64, &AARCH64] {
        for variant in table.variants {
            for name in variant.groups {
                assert!(table.groups.iter().any(|group| group.name == *name), "{} names {name}", variant.name);
            }
        }
    }
    // What Arm kernels list is taken as it is; on x86 a feature that is not probed would be missing everywhere.
    for feature in X86_64.groups.iter().flat_map(|group| group.features).chain(X86_64.base) {
        assert!(host::isa::FEATURES.iter().any(|known| known.name == *feature), "{feature} is not probed");
    }
}

#[test]
fn a_choice_survives_json() {
    let choice = choose(&machine("xcr0-no-avx"), &["x64", "haswell", "skylakex", "glacierlake"], None);
    let json = serde_json::to_string(&choice).unwrap();
    assert_eq!(serde_json::from_str::<Choice>(&json).unwrap(), choice);
    assert!(
        json.contains(r#"{"name":"haswell","verdict":"os_disabled","features":["avx","f16c","fma","avx2"]}"#),
        "{json}"
    );
}

proptest! {
    /// No machine, however its features are mixed, gets a variant that it cannot run, or a lesser one than it could.
    #[test]
    fn what_is_taken_runs_and_nothing_better_does(
        has in proptest::collection::vec(prop_oneof![12 => Just(0_u8), 1 => Just(1), 1 => Just(2)], 24),
        built in proptest::collection::vec(any::<bool>(), 14),
    ) {
        let mut features: Vec<&str> = X86_64.groups.iter().flat_map(|group| group.features).copied().collect();
        features.extend(X86_64.base);
        let mut cpu = Cpu::default();
        for (feature, state) in features.iter().zip(has.iter().cycle()) {
            match state {
                0 => cpu.features.push((*feature).to_owned()),
                1 => cpu.disabled_by_os.push((*feature).to_owned()),
                _ => {}
            }
        }
        let build: Vec<&str> =
            names(&X86_64).into_iter().zip(&built).filter_map(|(name, there)| there.then_some(name)).collect();
        let choice = choose(&cpu, &build, None);
        let runs = |name: &str| {
            let variant = X86_64.variants.iter().find(|variant| variant.name == name).unwrap();
            (build.contains(&name) && X86_64.features(variant).iter().all(|feature| cpu.has(feature)))
                .then(|| X86_64.score(variant))
        };
        let best = names(&X86_64).into_iter().filter_map(|name| Some((runs(name)?, name))).max();
        prop_assert_eq!(choice.taken.as_deref(), best.map(|(_, name)| name));
        prop_assert_eq!(choice.reasons.len(), 14);
        for reason in &choice.reasons {
            let could_run = matches!(reason.verdict, Verdict::Taken | Verdict::Outscored { .. });
            prop_assert_eq!(could_run, runs(&reason.name).is_some(), "{:?}", reason);
        }
    }
}
