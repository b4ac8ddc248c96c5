//! What is expected of a model on this machine: measured, computed from another, or from a data sheet.

use std::num::NonZeroU32;

use build_info::{BuildId, Figure, Trial};
use gguf::model::{Quant, Shape, plan};
use planner::described::Described;
use planner::feasibility::{self, Question, UseCase};

use super::*;
use crate::hardware;

fn generated(shape: Shape, quant: Quant) -> Header {
    let plan = plan(shape, quant, 1);
    let (metadata, tensors, data_offset) = (plan.metadata, plan.tensors, plan.data_offset);
    Header { version: gguf::VERSION, metadata, tensors, data_offset }
}

fn answer(header: &Header, profile: &str, use_case: UseCase) -> Answer {
    let machine = hardware::find(profile).unwrap();
    let question = Question { header, use_case, ctx: None, min_ctx: None };
    feasibility::answer(&question, &machine.hardware).unwrap()
}

/// What is said of 8B on a machine of the catalogue.
fn of_profile(profile: &str, use_case: UseCase) -> Speed {
    let header = "8B".parse::<Described>().unwrap().header();
    let data_sheet = hardware::find(profile).unwrap().data_sheet;
    of(&header, &answer(&header, profile, use_case), &Known { tuning: None, data_sheet, here: false })
}

/// What is said of a model on a CPU where these were measured: prompt, generation, and what a token reads.
fn here(header: &Header, measured: &[(&str, f64, f64, Option<u64>)]) -> Speed {
    let answer = answer(header, "graviton3", UseCase::General);
    of(header, &answer, &Known { tuning: Some(tuning(measured)), data_sheet: DataSheet::default(), here: true })
}

fn tuning(measured: &[(&str, f64, f64, Option<u64>)]) -> Tuning {
    let id = "portable-0.5.0-0c1e5709-0a1b2c3d".parse::<BuildId>().unwrap();
    let mut tuning = Tuning::new("oak-8c-0a1b".parse().unwrap(), id);
    for &(class, prompt, generation, bytes_per_token) in measured {
        let found = ClassTuning {
            date: "2026-11-20T10:00:00Z".parse().unwrap(),
            unstable: false,
            generation: phase(generation),
            prompt: phase(prompt),
            settings: Default::default(),
            environment: Default::default(),
            bytes_per_token,
            search: None,
            extra: Default::default(),
        };
        tuning.classes.insert(class.parse().unwrap(), found);
    }
    tuning
}

fn phase(tokens_per_second: f64) -> PhaseTuning {
    let threads = NonZeroU32::new(8).unwrap();
    let samples = [0.9, 1.0, 1.1].map(|share| share * tokens_per_second).to_vec();
    PhaseTuning {
        threads,
        tokens_per_second,
        tokens: threads,
        baseline: Figure { threads, tokens_per_second, extra: Default::default() },
        trials: vec![Trial { threads, samples, extra: Default::default() }],
        extra: Default::default(),
    }
}

#[test]
fn a_data_sheet_gives_a_range_and_no_prompt_speed() {
    let speed = of_profile("rtx-4090", UseCase::General);
    assert_eq!((speed.label, speed.prompt), ("catalogue", None));
    insta::assert_snapshot!(speed.text, @"catalogue, from 1008 GB/s of the data sheet: generation 87.3 to 207.4 tokens/s in a short context, 70.8 to 168.3 in a full one");
}

#[test]
fn of_main_memory_beside_a_card_no_profile_knows_anything() {
    let split = of_profile("rtx-4060", UseCase::CodingAssistant);
    assert_eq!((split.label, split.generation), ("unknown", None));
    insta::assert_snapshot!(split.text, @"unknown: 9 layers are read from main memory, and no profile knows how fast that is");
}

#[test]
fn layers_on_the_cpu_are_never_given_the_speed_of_the_gpu() {
    let header = "8B".parse::<Described>().unwrap().header();
    let on_cpu = answer(&header, "graviton3", UseCase::General);
    assert_eq!(on_cpu.breakdown.gpu_layers, 0);
    let data_sheet = DataSheet { main_memory: None, gpu: Some(1008.0) };
    let speed = of(&header, &on_cpu, &Known { tuning: None, data_sheet, here: true });
    assert_eq!((speed.label, speed.generation), ("unknown", None));
    insta::assert_snapshot!(speed.text, @"not measured yet: `cargo xtask bench --model FILE` does it");
}

#[test]
fn a_class_that_was_measured_is_said_as_measured() {
    let header = generated(Shape::OneB, Quant::Q4KM);
    let speed = here(&header, &[("1b/q4_k_m", 167.2, 53.1, Some(630_000_000)), ("7b/q4_k_m", 20.0, 7.0, None)]);
    assert_eq!((speed.label, speed.prompt, speed.generation), ("measured", Some(167.2), Some(53.1)));
    insta::assert_snapshot!(speed.text, @"measured, 1b/q4_k_m on 2026-11-20: prompts 167.2, generation 53.1 tokens/s, ± 10 %, in a short context; modelled: 32.4 to 53.1 in a full one");
}

#[test]
fn another_size_of_the_same_quantisation_predicts_both_phases() {
    let header = generated(Shape::Solar10B7, Quant::Q4KM);
    let speed =
        here(&header, &[("1b/q4_k_m", 167.2, 53.1, Some(630_000_000)), ("10b/q8_0", 17.0, 5.0, Some(11_000_000_000))]);
    assert_eq!(speed.label, "modelled");
    insta::assert_snapshot!(speed.text, @"modelled, from 1b/q4_k_m as measured here: prompts 11.5 to 21.4, generation 3.7 to 6.8 tokens/s in a short context, 3.3 to 6.0 in a full one");
}

#[test]
fn another_quantisation_predicts_no_prompts() {
    let header = generated(Shape::OneB, Quant::Q8_0);
    let near_and_far = [("1b/q4_k_m", 167.2, 53.1, Some(630_000_000)), ("10b/q4_0", 17.0, 5.0, Some(6_000_000_000))];
    let speed = here(&header, &near_and_far);
    assert_eq!((speed.label, speed.prompt), ("modelled", None));
    insta::assert_snapshot!(speed.text, @"modelled, from 1b/q4_k_m as measured here: generation 16.7 to 44.1 tokens/s in a short context, 15.4 to 40.7 in a full one");
}

#[test]
fn measurements_of_before_that_do_not_say_what_a_token_reads_predict_nothing() {
    let speed = here(&generated(Shape::OneB, Quant::Q8_0), &[("1b/q4_k_m", 167.2, 53.1, None)]);
    assert_eq!((speed.label, speed.generation), ("unknown", None));
}

#[test]
fn a_split_takes_the_time_of_both_ends() {
    let header = "8B".parse::<Described>().unwrap().header();
    let answer = answer(&header, "rtx-4060", UseCase::CodingAssistant);
    let (on_gpu, layers) = (answer.breakdown.gpu_layers, answer.breakdown.layers);
    assert!(0 < on_gpu && on_gpu < layers);
    let known = |tuning| {
        let data_sheet = DataSheet { main_memory: None, gpu: Some(272.0) };
        of(&header, &answer, &Known { tuning, data_sheet, here: true })
    };
    let speed = known(Some(tuning(&[("1b/q4_k_m", 167.2, 53.1, Some(630_000_000))])));
    assert_eq!((speed.label, speed.prompt), ("catalogue", None));
    insta::assert_snapshot!(speed.text, @"catalogue, from 272 GB/s of the data sheet for the 24 layers on the GPU, and 1b/q4_k_m as measured here for the others: generation 9.0 to 26.7 tokens/s in a short context, 4.7 to 13.9 in a full one");
    assert_eq!(known(None).label, "unknown");
}
