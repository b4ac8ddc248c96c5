//! Verdicts, what is given up, and what is not.

use gguf::model::{Quant, Shape};
use planner::described::Described;
use planner::feasibility::{Answer, Question, UseCase, Verdict, answer};
use planner::hardware::Hardware;
use planner::memory::KvType;
use proptest::prelude::*;

use super::{GB, header, machine};

/// An 8B model with as many tokens as a coding assistant needs.
fn assistant(hardware: &Hardware, ctx: Option<u64>, min_ctx: Option<u64>) -> Answer {
    let header = "8B".parse::<Described>().unwrap().header();
    answer(&Question { header: &header, use_case: UseCase::CodingAssistant, ctx, min_ctx }, hardware).unwrap()
}

fn general(hardware: &Hardware, ctx: u64, min_ctx: Option<u64>) -> Answer {
    let header = "8B".parse::<Described>().unwrap().header();
    answer(&Question { header: &header, use_case: UseCase::General, ctx: Some(ctx), min_ctx }, hardware).unwrap()
}

#[test]
fn a_large_card_takes_all_of_it() {
    let found = assistant(&machine(32 * GB, 24 * GB), None, None);
    assert_eq!(found.verdict, Verdict::Gpu);
    assert_eq!((found.breakdown.gpu_layers, found.breakdown.ctx), (33, 32_768));
    assert!(found.sacrifices.is_empty() && found.changes.is_empty(), "{found:?}");
}

#[test]
fn a_small_card_takes_some_layers_and_is_told_what_would_fit_it() {
    let found = assistant(&machine(32 * GB, 8 * GB), None, None);
    assert_eq!(found.verdict, Verdict::Offload);
    assert!((1..33).contains(&found.breakdown.gpu_layers), "{}", found.breakdown.gpu_layers);
    assert!(found.sacrifices.is_empty(), "offload gives nothing up: {:?}", found.sacrifices);
    assert_eq!(found.setting.kv_k, KvType::F16);
}

#[test]
fn a_machine_without_a_card_computes_on_the_cpu() {
    let found = assistant(&machine(32 * GB, 0), None, None);
    assert_eq!((found.verdict, found.breakdown.gpu_layers), (Verdict::CpuOnly, 0));
}

#[test]
fn a_tight_machine_rounds_the_context_and_says_so() {
    let found = assistant(&machine(9 * GB, 0), None, None);
    assert_eq!(found.verdict, Verdict::Degraded, "{}", found.sentence());
    assert_eq!((found.setting.kv_k, found.breakdown.ctx), (KvType::Q8_0, 32_768));
    assert!(found.sacrifices[0].contains("q8_0"), "{:?}", found.sacrifices);
}

#[test]
fn a_machine_that_is_too_small_gets_no_and_what_is_missing() {
    let found = assistant(&machine(5 * GB, 0), None, None);
    assert_eq!(found.verdict, Verdict::DoesNotFit);
    assert!(found.changes.iter().any(|change| change.contains("more of memory for host")), "{:?}", found.changes);
    assert!(found.alternatives.iter().all(|row| row.ctx >= 32_768), "nothing below the floor is even shown");
}

#[test]
fn a_shorter_context_is_taken_only_where_it_was_allowed() {
    let small = machine(7 * GB, 0);
    assert_eq!(general(&small, 32_768, None).verdict, Verdict::DoesNotFit);
    let found = general(&small, 32_768, Some(4096));
    assert_eq!(found.verdict, Verdict::Degraded);
    assert!((4096..32_768).contains(&found.setting.ctx), "{}", found.setting.ctx);
    assert!(found.sacrifices.iter().any(|what| what.contains("and not of 32768")), "{:?}", found.sacrifices);
}

#[test]
fn who_asks_for_less_than_the_floor_gets_the_floor() {
    assert_eq!(assistant(&machine(32 * GB, 0), Some(2048), None).breakdown.ctx, 32_768);
}

#[test]
fn quality_is_never_rounded() {
    let header = "8B".parse::<Described>().unwrap().header();
    for ram in [4, 6, 7, 8, 9, 10] {
        let question = Question { header: &header, use_case: UseCase::Quality, ctx: Some(32_768), min_ctx: Some(512) };
        let found = answer(&question, &machine(ram * GB, 0)).unwrap();
        assert_eq!(found.setting.kv_k, KvType::F16, "{ram}");
    }
}

#[test]
fn beyond_what_a_model_was_trained_for_is_degraded() {
    let header = header(Shape::OneB, Quant::Q4KM);
    let question = Question { header: &header, use_case: UseCase::CodingAssistant, ctx: None, min_ctx: None };
    let found = answer(&question, &machine(64 * GB, 0)).unwrap();
    assert_eq!(found.verdict, Verdict::Degraded);
    assert_eq!(found.changes, ["a model that was trained for 32768 tokens"]);
}

#[test]
fn what_is_proposed_leaves_a_tenth_free_for_the_caches_too() {
    for ram in [6, 7, 8, 12, 16, 24] {
        let hardware = machine(ram * GB, 0);
        let found = general(&hardware, 4096, None);
        if found.verdict == Verdict::CpuOnly {
            assert!(found.breakdown.fits(&hardware.within_share()), "{ram}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn nothing_below_the_floor_is_ever_proposed_and_what_fits_does(
        ram in 1_u64..40, vram in 0_u64..26, ctx in 256_u64..70_000, floor in 256_u64..40_000,
    ) {
        let hardware = machine(ram * GB, vram * GB);
        let found = general(&hardware, ctx, Some(floor));
        prop_assert!(found.setting.ctx >= floor);
        prop_assert!(found.alternatives.iter().all(|row| row.ctx >= floor));
        match found.verdict {
            Verdict::DoesNotFit => {}
            Verdict::Degraded => prop_assert!(found.breakdown.fits(&hardware.machine) && !found.sacrifices.is_empty()),
            _ => prop_assert!(found.breakdown.fits(&hardware.within_share()) && found.sacrifices.is_empty()),
        }
    }
}
