//! What is found wrong.

use gguf::Header;
use gguf::model::{Quant, Shape};
use planner::configuration::{self, Finding, Format, Level, check};
use planner::hardware::{Hardware, Thermal};

use super::formats::planned;
use super::{GB, header, machine};

fn findings(line: &str, header: Option<&Header>, hardware: &Hardware) -> Vec<Finding> {
    let one = configuration::read(line, Format::CommandLine).unwrap().remove(0);
    check(&one, header, hardware, None).unwrap()
}

/// Their names, but for notes.
fn ids(line: &str, hardware: &Hardware) -> Vec<&'static str> {
    let header = header(Shape::Tiny, Quant::Q4KM);
    let found = findings(&format!("llama-server -m tiny.gguf {line}"), Some(&header), hardware);
    found.iter().filter(|finding| finding.level > Level::Note).map(|finding| finding.id).collect()
}

#[test]
fn what_is_planned_is_in_order() {
    let header = header(Shape::Solar10B7, Quant::Q4KM);
    let found = check(&planned(), Some(&header), &machine(16 * GB, 6 * GB), None).unwrap();
    assert!(found.iter().all(|finding| finding.level == Level::Note), "{found:?}");
}

#[test]
fn each_trouble_is_named_and_a_good_line_has_none() {
    let here = machine(16 * GB, 0);
    const GOOD: &str = "-t 4 -c 4096 --cache-ram 512";
    let with = |more: &str| ids(&format!("{GOOD} {more}"), &here);
    let none: [&str; 0] = [];
    assert_eq!(with(""), none);
    assert_eq!(with("-t 9"), ["threads"]);
    assert_eq!(with("-t 0"), ["threads"]);
    assert_eq!(with("-tb many"), ["threads"]);
    assert_eq!(ids("-c 4096 --cache-ram 512", &here), ["threads"], "llama-server counts the host's cores");
    assert_eq!(with("-ctv q8_0 -fa off"), ["kv_type", "model"]);
    assert_eq!(with("-ctv q8_0"), none);
    assert_eq!(with("-ctk q4_0"), ["kv_type"]);
    assert_eq!(with("-ctk q3_k"), ["value"]);
    assert_eq!(with("-ngl 20"), ["ignored_option"]);
    assert_eq!(with("-ngl 0"), none);
    assert_eq!(with("-c 8192"), ["beyond_training"]);
    assert_eq!(with("-c 8192 --rope-scale 2"), none);
    assert_eq!(with("-b 256 -ub 512"), ["ignored_option"]);
    assert_eq!(with("--no-mmap"), ["unknown_option"]);
    assert_eq!(with("--ctx 4096"), ["unknown_option"]);
    assert_eq!(with("-c many"), ["value"]);
    assert_eq!(with("-ub 0"), ["value"]);
    let hot = Hardware { thermal: Thermal::Mobile, ..here.clone() };
    assert_eq!(ids(&format!("{GOOD} -t 8 -tb 8"), &hot), ["thermal"]);
}

#[test]
fn fixes_name_what_to_write() {
    let here = machine(16 * GB, 0);
    let fix = |line: &str| findings(line, None, &here).first().unwrap().fix.clone();
    assert_eq!(fix("-t 4 --no-mmap"), "did you mean `--load-mode none`?");
    assert_eq!(fix("-t 4 --ctx-sise 4096"), "did you mean `--ctx-size`?");
    assert_eq!(fix("-t 99"), "`--threads 6`");
}

#[test]
fn memory_is_counted_against_nine_tenths_and_all_of_it() {
    let model = header(Shape::Solar10B7, Quant::Q4KM);
    let level = |ram: u64| {
        let line = "llama-server -m solar.gguf -t 4 -c 4096 -np 1 --cache-ram 0";
        let found = findings(line, Some(&model), &machine(ram, 0));
        found.iter().find(|finding| finding.id == "memory").map(|finding| finding.level)
    };
    assert_eq!(level(16 * GB), None);
    assert_eq!(level(7_700_000_000), Some(Level::Warning));
    assert_eq!(level(6 * GB), Some(Level::Error));
    let caches = findings("llama-server -m solar.gguf -t 4 -c 4096", Some(&model), &machine(12 * GB, 0));
    assert!(caches.iter().any(|finding| finding.id == "caches" && finding.level == Level::Warning), "{caches:?}");
}

#[test]
fn the_floor_holds_for_each_request() {
    let one = configuration::read("llama-server -m a.gguf -t 4 -c 32768 -np 4", Format::CommandLine).unwrap().remove(0);
    let found = check(&one, None, &machine(16 * GB, 0), Some(32_768)).unwrap();
    assert!(
        found.iter().any(|finding| finding.id == "context_floor" && finding.fix == "`--ctx-size 131072`"),
        "{found:?}"
    );
}

#[test]
fn with_a_card_the_options_that_turn_fitting_off_are_noted() {
    let found = findings("llama-server -m a.gguf -t 4 -ngl 20 -ot exps=CPU", None, &machine(16 * GB, 8 * GB));
    let noted = found.iter().filter(|finding| finding.id == "no_fitting" && finding.level == Level::Note).count();
    assert_eq!(noted, 2, "{found:?}");
}
