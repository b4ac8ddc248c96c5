//! Every option of llama-server at the pin.

use std::sync::OnceLock;

/// An option of llama-server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// Its names, with dashes; the last counts.
    pub names: Vec<&'static str>,
    /// Names that say the contrary: `--no-repack`.
    pub negated: Vec<&'static str>,
    /// The variable that llama-server reads when it is not given.
    pub variable: Option<&'static str>,
    /// Whether a value follows.
    pub takes_value: bool,
}

impl Opt {
    /// The name that counts, without dashes.
    pub fn name(&self) -> &'static str {
        self.names.last().expect("every row has a name").trim_start_matches('-')
    }
}

/// An option that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The option.
    pub option: &'static Opt,
    /// Whether it was asked for by a name that says the contrary.
    pub negated: bool,
}

const TABLE: &str = include_str!("options.txt");

/// All of them, in the order of `llama-server --help`.
pub fn all() -> &'static [Opt] {
    static ALL: OnceLock<Vec<Opt>> = OnceLock::new();
    ALL.get_or_init(|| TABLE.lines().filter(|line| !line.starts_with('#')).map(row).collect())
}

fn row(line: &'static str) -> Opt {
    let mut columns = line.split('|').map(str::trim);
    let mut next = || columns.next().unwrap_or_default();
    Opt {
        names: next().split_whitespace().collect(),
        negated: next().split_whitespace().collect(),
        variable: next().split_whitespace().next(),
        takes_value: next() == "value",
    }
}

/// The option with this name, dashes included; llama-server takes `_` for `-` in long ones.
pub fn by_argument(argument: &str) -> Option<Known> {
    match argument.starts_with("--") {
        true => {
            let argument = argument.replace('_', "-");
            find(|name| name == argument)
        }
        false => find(|name| name == argument),
    }
}

/// The option with this name, without dashes.
pub fn by_name(name: &str) -> Option<Known> {
    find(|argument| argument.trim_start_matches('-') == name)
}

fn find(is: impl Fn(&str) -> bool) -> Option<Known> {
    all().iter().find_map(|option| {
        let negated = option.negated.iter().any(|name| is(name));
        (negated || option.names.iter().any(|name| is(name))).then_some(Known { option, negated })
    })
}

/// The option that a variable sets; `LLAMA_ARG_NO_REPACK`, set to whatever, says the contrary.
pub fn by_variable(variable: &str) -> Option<Known> {
    let plain = |variable: &str| all().iter().find(|option| option.variable == Some(variable));
    if let Some(option) = plain(variable) {
        return Some(Known { option, negated: false });
    }
    let rest = variable.strip_prefix("LLAMA_ARG_NO_")?;
    let option = plain(&format!("LLAMA_ARG_{rest}")).filter(|option| !option.negated.is_empty())?;
    Some(Known { option, negated: true })
}

/// The option whose name is the most like this one.
pub fn similar(name: &str) -> Option<&'static str> {
    let name = name.trim_start_matches('-').replace('_', "-");
    let long = all().iter().map(Opt::name);
    let close = long.map(|known| (strsim::jaro_winkler(known, &name), known));
    close.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness > 0.85).map(|(_, known)| known)
}

/// `is_truthy` in llama.cpp's common/arg.cpp.
pub fn is_true(value: &str) -> bool {
    ["on", "enabled", "true", "1"].contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_begins_with_a_dash() {
        let mut names: Vec<&str> =
            all().iter().flat_map(|option| option.names.iter().chain(&option.negated)).copied().collect();
        assert!(names.len() > 300 && names.iter().all(|name| name.starts_with('-')), "{}", names.len());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn options_are_found_by_any_name() {
        let name = |known: Option<Known>| known.map(|known| (known.option.name(), known.negated));
        assert_eq!(name(by_argument("-ngl")), Some(("n-gpu-layers", false)));
        assert_eq!(name(by_argument("--no-repack")), Some(("repack", true)));
        assert_eq!(name(by_name("c")), Some(("ctx-size", false)));
        assert_eq!(name(by_variable("LLAMA_ARG_NO_REPACK")), Some(("repack", true)));
        assert_eq!(name(by_variable("LLAMA_ARG_CTX_SIZE")), Some(("ctx-size", false)));
        assert_eq!(name(by_variable("LLAMA_ARG_NO_CTX_SIZE")), None);
        assert_eq!(name(by_argument("--ctx")), None);
        assert_eq!(similar("--ctx_sizes"), Some("ctx-size"));
        assert_eq!(similar("zzz"), None);
    }
}
