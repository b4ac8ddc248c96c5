//! Trees of other people's machines: `tests/fixtures/<name>/tree.txt`, one file per line, expanded into a temporary
//! directory.
//!
//! ```text
//! # synthetic | recorded | a link, and what the machine is
//! path = content                                  \n and \t in the content are a line break and a tab
//! nvml.json = [..]                                what NVML says of this machine
//! sys/cpu{0-15}/sib = {n},{n+16}                  one file per n from 0 to 15
//! sys/cpu{0-14:2}/sib = {n}-{n+1}                 n = 0, 2, ... 14; also {n-1}, {n*2} and {n/2}
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where the fixtures are.
pub(crate) fn fixtures() -> PathBuf {
    // The tests of `xtask` read them too.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/tests/fixtures")
}

/// The description of one machine.
pub(crate) fn description(name: &str) -> String {
    fs::read_to_string(fixtures().join(name).join("tree.txt")).expect("the fixture exists")
}

/// The tree of one machine.
pub(crate) fn machine(name: &str) -> TempDir {
    planted(&description(name))
}

/// The tree that a description stands for.
pub(crate) fn planted(description: &str) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files(description) {
        put(root.path(), &path, &content);
    }
    root
}

/// Writes one file below the root.
pub(crate) fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    // Most directories are there already, and some trees have a thousand files.
    if fs::write(&path, content).is_err() {
        fs::create_dir_all(path.parent().expect("a path below the root")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
}

/// The files that a description stands for.
pub(crate) fn files(description: &str) -> Vec<(String, String)> {
    let lines = description.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(expand).collect()
}

fn expand(line: &str) -> Vec<(String, String)> {
    let empty = || line.strip_suffix(" =").map(|path| (path, ""));
    let (path, content) = line.split_once(" = ").or_else(empty).unwrap_or_else(|| panic!("no ` = ` in {line:?}"));
    let content = content.replace("\\n", "\n").replace("\\t", "\t") + "\n";
    let Some((before, rest)) = path.split_once('{') else {
        return vec![(path.to_owned(), content)];
    };
    let (range, after) = rest.split_once('}').expect("a closing brace");
    let (range, step) = range.split_once(':').unwrap_or((range, "1"));
    let (first, last) = range.split_once('-').expect("a range");
    let number = |text: &str| text.parse::<usize>().expect("a number");
    (number(first)..=number(last))
        .step_by(number(step))
        .map(|n| (format!("{before}{n}{after}"), evaluate(&content, n)))
        .collect()
}

fn evaluate(content: &str, n: usize) -> String {
    let mut parts = content.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, after) = part.split_once('}').expect("a closing brace");
        let operation = expression.strip_prefix('n').expect("an expression of n");
        let value = match operation.split_at_checked(1) {
            None => n,
            Some((operator, operand)) => {
                let operand: usize = operand.parse().expect("a number");
                match operator {
                    "+" => n + operand,
                    "-" => n - operand,
                    "*" => n * operand,
                    "/" => n / operand,
                    _ => panic!("unknown operator in {expression:?}"),
                }
            }
        };
        text.push_str(&value.to_string());
        text.push_str(after);
    }
    text
}
