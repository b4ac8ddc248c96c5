//! The truth table of thread choice: machine, affinity, quota, policy and what is given, to `-t`, `-tb` and why.
//!
//! Every other crate relies on these rows. The known answers of the design are the first ones of each group.

use host::job::JobThreads;
use host::threads::{Measured, Policy, ThreadChoice, Wish, choose, sweep};
use host::topology::CoreMix;
use host::{CpuBudget, Sourced, Topology};
use proptest::prelude::*;

/// Given: `-` nothing, `T/TB` measured, `NAME=N` a job variable, `--threads N`, joined by `,`. Affinity and quota: `-`
/// unlimited; `4c2` is four CPUs on two cores.
const TABLE: &str = "
machine            | affinity | quota | policy   | given                               |  -t | -tb | why
Ryzen 9 7950X      | -        | -     | balanced | -                                   |  16 |  16 | `balanced` on 16 cores, 32 CPUs: all (16 or more) = 16
i7-12700K          | -        | -     | balanced | -                                   |   9 |   9 | `balanced` on 12 cores (8 P + 4 E), 20 CPUs: 3/4 of P and E cores = 9
Ryzen 5 5600X      | -        | -     | balanced | -                                   |   4 |   4 | `balanced` on 6 cores, 12 CPUs: 3/4 (6 to 15) = 4
i5-1135G7          | -        | -     | balanced | -                                   |   3 |   3 | `balanced` on 4 cores, 8 CPUs: all but one (3 to 5) = 3
VM of 2 vCPUs      | -        | -     | balanced | -                                   |   2 |   2 | `balanced` on 2 cores: all (1 or 2) = 2
VM of 1 vCPU       | -        | -     | balanced | -                                   |   1 |   1 | `balanced` on 1 core: all (1 or 2) = 1
VM of 8 vCPUs      | -        | -     | balanced | -                                   |   6 |   6 | `balanced` on 8 cores: 3/4 (6 to 15) = 6
3 cores            | -        | -     | balanced | -                                   |   2 |   2 | `balanced` on 3 cores: all but one (3 to 5) = 2
5 cores            | -        | -     | balanced | -                                   |   4 |   4 | `balanced` on 5 cores: all but one (3 to 5) = 4
15 cores           | -        | -     | balanced | -                                   |  11 |  11 | `balanced` on 15 cores: 3/4 (6 to 15) = 11
i3-N305            | -        | -     | balanced | -                                   |   6 |   6 | `balanced` on 8 cores: 3/4 (6 to 15) = 6
Core Ultra 7 265K  | -        | -     | balanced | -                                   |  15 |  15 | `balanced` on 20 cores (8 P + 12 E): 3/4 of P and E cores = 15
i9-13900K          | -        | -     | balanced | -                                   |  18 |  18 | `balanced` on 24 cores (8 P + 16 E), 32 CPUs: 3/4 of P and E cores = 18
Pentium 8505       | -        | -     | balanced | -                                   |   3 |   3 | `balanced` on 5 cores (1 P + 4 E), 6 CPUs: 3/4 of P and E cores = 3
RK3588             | -        | -     | balanced | -                                   |   4 |   4 | `balanced` on 8 cores (4 big + 4 little): the big cores = 4
2 x Xeon 8280      | -        | -     | balanced | -                                   |  56 |  56 | `balanced` on 56 cores, 112 CPUs, 2 sockets: all (16 or more) = 56
i7-12700K          | -        | -     | max      | -                                   |  12 |  12 | `max` on 12 cores (8 P + 4 E), 20 CPUs: all = 12
i7-12700K          | -        | -     | shared   | -                                   |   6 |   6 | `shared` on 12 cores (8 P + 4 E), 20 CPUs: half = 6
i7-12700K          | -        | -     | single   | -                                   |   1 |   1 | `single` on 12 cores (8 P + 4 E), 20 CPUs: one thread = 1
VM of 1 vCPU       | -        | -     | shared   | -                                   |   1 |   1 | `shared` on 1 core: half = 1
RK3588             | -        | -     | max      | -                                   |   8 |   8 | `max` on 8 cores (4 big + 4 little): all = 8
node of 96 CPUs    | -        | 7.65  | balanced | -                                   |   7 |   7 | `balanced` on 48 cores, 96 CPUs: all (16 or more) = 48; capped by the CPU budget: 7 CPUs (quota 7.65 of 96, cpu.max)
node of 96 CPUs    | -        | 7.65  | max      | -                                   |   7 |   7 | `max` on 48 cores, 96 CPUs: all = 48; capped by the CPU budget: 7 CPUs (quota 7.65 of 96, cpu.max)
node of 96 CPUs    | -        | 0.5   | balanced | -                                   |   1 |   1 | `balanced` on 48 cores, 96 CPUs: all (16 or more) = 48; capped by the CPU budget: 1 CPU (quota 0.50 of 96, cpu.max)
VM of 8 vCPUs      | 4        | -     | balanced | -                                   |   4 |   4 | `balanced` on 8 cores: 3/4 (6 to 15) = 6; capped by the CPU budget: 4 CPUs (affinity)
VM of 8 vCPUs      | 4        | 2.5   | balanced | -                                   |   2 |   2 | `balanced` on 8 cores: 3/4 (6 to 15) = 6; capped by the CPU budget: 2 CPUs (quota 2.50 of 4, cpu.max)
VM of 8 vCPUs      | -        | 6.0   | balanced | -                                   |   6 |   6 | `balanced` on 8 cores: 3/4 (6 to 15) = 6
2 x Xeon 8280      | 28c14    | -     | balanced | -                                   |  14 |  14 | `balanced` on 56 cores, 112 CPUs, 2 sockets: all (16 or more) = 56; capped to the physical cores that the affinity reaches: 14
node of 96 CPUs    | 2c1      | -     | balanced | -                                   |   1 |   1 | `balanced` on 48 cores, 96 CPUs: all (16 or more) = 48; capped to the physical cores that the affinity reaches: 1
i7-12700K          | 4        | -     | shared   | -                                   |   4 |   4 | `shared` on 12 cores (8 P + 4 E), 20 CPUs: half = 6; capped by the CPU budget: 4 CPUs (affinity)
Ryzen 9 7950X      | -        | -     | balanced | 8/16                                |   8 |  16 | measured: 8 for generation, 16 for prompts
Ryzen 9 7950X      | -        | -     | max      | 8/16                                |   8 |  16 | measured: 8 for generation, 16 for prompts
Ryzen 9 7950X      | -        | -     | shared   | 6/16                                |   6 |   8 | measured: 6 for generation, 16 for prompts; policy `shared` takes at most 8
Ryzen 9 7950X      | -        | -     | single   | 8/16                                |   1 |   1 | measured: 8 for generation, 16 for prompts; policy `single` takes at most 1
Ryzen 9 7950X      | -        | 2.0   | balanced | 16/16                               |   2 |   2 | measured: 16 for generation, 16 for prompts; capped by the CPU budget: 2 CPUs (quota 2.00 of 32, cpu.max)
Ryzen 9 7950X      | -        | 12.0  | balanced | 8/16                                |   8 |  12 | measured: 8 for generation, 16 for prompts; capped by the CPU budget: 12 CPUs (quota 12.00 of 32, cpu.max)
node of 96 CPUs    | 2c1      | -     | balanced | 2/2                                 |   2 |   2 | measured: 2 for generation, 2 for prompts
i7-12700K          | -        | -     | balanced | MARKETING_THREADS=6                 |   6 |   6 | `MARKETING_THREADS`: 6
i7-12700K          | -        | -     | single   | 8/12, MARKETING_THREADS=6           |   6 |   6 | `MARKETING_THREADS`: 6
i7-12700K          | -        | 4.0   | balanced | CODING_THREADS=9999                 |   4 |   4 | `CODING_THREADS`: 9999; capped by the CPU budget: 4 CPUs (quota 4.00 of 20, cpu.max)
i7-12700K          | -        | -     | balanced | --threads 20                        |  20 |  20 | `--threads 20`
i7-12700K          | -        | -     | single   | 8/12, CODING_THREADS=6, --threads 3 |   3 |   3 | `--threads 3`
i7-12700K          | -        | -     | balanced | --threads 21                        |   - |   - | `--threads 21` is more than the CPU budget of 20; hint: give 1 to 20: this process may use 20 CPUs (affinity)
i7-12700K          | -        | 2.0   | balanced | --threads 3                         |   - |   - | `--threads 3` is more than the CPU budget of 2; hint: give 1 to 2: this process may use 2 CPUs (quota 2.00 of 20, cpu.max)
VM of 2 vCPUs      | -        | -     | balanced | --threads 0                         |   - |   - | `--threads` must be at least 1; hint: give 1 to 2: this process may use 2 CPUs (affinity)
VM of 2 vCPUs      | -        | -     | balanced | --threads 9999                      |   - |   - | `--threads 9999` is more than the CPU budget of 2; hint: give 1 to 2: this process may use 2 CPUs (affinity)
";

/// Cores by kind: performance, others, SMT threads of the performance cores, mix.
fn machine(name: &str) -> Topology {
    let (big, others, threads, mix) = match name {
        "Ryzen 9 7950X" => (16, 0, 2, CoreMix::Uniform),
        "i7-12700K" => (8, 4, 2, CoreMix::Hybrid),
        "Ryzen 5 5600X" => (6, 0, 2, CoreMix::Uniform),
        "i5-1135G7" => (4, 0, 2, CoreMix::Uniform),
        "VM of 1 vCPU" => (1, 0, 1, CoreMix::Uniform),
        "VM of 2 vCPUs" => (2, 0, 1, CoreMix::Uniform),
        "VM of 8 vCPUs" => (8, 0, 1, CoreMix::Uniform),
        "Core Ultra 7 265K" => (8, 12, 1, CoreMix::Hybrid),
        "i9-13900K" => (8, 16, 2, CoreMix::Hybrid),
        "i3-N305" => (8, 0, 1, CoreMix::Uniform),
        "Pentium 8505" => (1, 4, 2, CoreMix::Hybrid),
        "RK3588" => (4, 4, 1, CoreMix::BigLittle),
        "2 x Xeon 8280" => (56, 0, 2, CoreMix::Uniform),
        "node of 96 CPUs" => (48, 0, 2, CoreMix::Uniform),
        "15 cores" => (15, 0, 1, CoreMix::Uniform),
        "5 cores" => (5, 0, 1, CoreMix::Uniform),
        "3 cores" => (3, 0, 1, CoreMix::Uniform),
        other => panic!("no machine {other:?}"),
    };
    let mut topology = Topology::uniform(big + others, 1, "test");
    topology.performance_cores = Some(Sourced::new(big, "test"));
    topology.logical_cpus.value = big * threads + others;
    topology.mix = mix;
    topology.sockets = Some(if name.starts_with("2 x") { 2 } else { 1 });
    topology
}

fn budget(topology: &Topology, affinity: &str, quota: &str) -> CpuBudget {
    let (cpus, cores) = match affinity.split_once('c') {
        Some((cpus, cores)) => (number(cpus), number(cores)),
        None if affinity == "-" => (topology.logical_cpus.value, topology.cores()),
        None => (number(affinity), number(affinity).min(topology.cores())),
    };
    let quota = (quota != "-").then(|| Sourced::new(quota.parse().expect("a quota in CPUs"), "cpu.max"));
    CpuBudget::new(Sourced::new(cpus, "affinity"), quota, Some(cores))
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

fn wish(policy: &str, given: &str) -> Wish {
    let mut wish = Wish { policy: policy.parse().expect("a policy"), ..Wish::default() };
    for given in given.split(", ").filter(|given| *given != "-") {
        if let Some(threads) = given.strip_prefix("--threads ") {
            wish.explicit = Some(number(threads));
        } else if let Some((variable, threads)) = given.split_once('=') {
            wish.job = Some(JobThreads { variable: variable.to_owned(), threads: number(threads) });
        } else {
            let (generation, prompt) = given.split_once('/').expect("T/TB");
            wish.measured = Some(Measured { generation: number(generation), prompt: number(prompt) });
        }
    }
    wish
}

#[test]
fn the_truth_table_holds() {
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in TABLE.trim().lines().skip(1) {
        let cells: Vec<&str> = row.splitn(8, '|').map(str::trim).collect();
        let [name, affinity, quota, policy, given, ..] = cells[..] else { panic!("{row}") };
        let topology = machine(name);
        let (t, tb, why) = match choose(&topology, &budget(&topology, affinity, quota), &wish(policy, given)) {
            Ok(ThreadChoice { generation, prompt, why }) => (generation.to_string(), prompt.to_string(), why),
            Err(error) => ("-".to_owned(), "-".to_owned(), format!("{error}; hint: {}", error.hints().join(" "))),
        };
        let actual =
            format!("{name:<18} | {affinity:<8} | {quota:<5} | {policy:<8} | {given:<35} | {t:>3} | {tb:>3} | {why}");
        if actual != row {
            wrong.push(format!("expected {row}\n     got {actual}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 25, "{rows} rows");
}

#[test]
fn a_sweep_tries_what_may_win() {
    assert_eq!(sweep(16, 12), [1, 2, 4, 8, 12, 16]);
    assert_eq!(sweep(7, 48), [1, 2, 4, 7]);
    assert_eq!(sweep(2, 2), [1, 2]);
    assert_eq!(sweep(1, 1), [1]);
    assert_eq!(sweep(0, 0), [1]);
    assert_eq!(sweep(usize::MAX, 3).len(), usize::BITS as usize + 2);
}

proptest! {
    #[test]
    fn nothing_but_an_explicit_wish_passes_the_budget_and_nothing_is_zero(
        (cores, smt, big) in (0_usize..200, 1_usize..9, 0_usize..200),
        mix in prop_oneof![Just(CoreMix::Uniform), Just(CoreMix::Hybrid), Just(CoreMix::BigLittle)],
        (affinity, quota) in (0_usize..2000, prop::option::of(-1.0..500.0)),
        measured in prop::option::of((0_usize..9999, 0_usize..9999)),
        policy in prop::sample::select(&Policy::ALL[..]),
    ) {
        let mut topology = Topology::uniform(cores, smt, "test");
        topology.performance_cores = Some(Sourced::new(big, "test"));
        topology.mix = mix;
        let budget = CpuBudget::new(
            Sourced::new(affinity, "test"),
            quota.map(|quota| Sourced::new(quota, "test")),
            Some(affinity.min(cores)).filter(|cores| *cores > 0),
        );
        let measured = measured.map(|(generation, prompt)| Measured { generation, prompt });
        let choice = choose(&topology, &budget, &Wish { policy, measured, ..Wish::default() }).unwrap();
        prop_assert!((1..=budget.cpus).contains(&choice.generation), "{choice:?}");
        prop_assert!((1..=budget.cpus).contains(&choice.prompt), "{choice:?}");

        let counts = sweep(budget.cpus, choice.generation);
        prop_assert!(counts.is_sorted_by(|a, b| a < b));
        prop_assert!(counts.contains(&1) && counts.contains(&choice.generation));
        prop_assert_eq!(counts.last(), Some(&budget.cpus));
    }
}
