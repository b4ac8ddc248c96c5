//! `LLAMA_ARG_...=...`, one a line, without quotes, as container engines and systemd read it.

use diagnostic::Result;

use super::command_line::argument;
use super::{Configuration, Setting, Value, invalid, one_line, options};

/// llama-server's variables begin so.
const PREFIX: &str = "LLAMA_ARG_";

/// The variable that says a setting, if there is one.
pub(super) fn variable(setting: &Setting) -> Option<&'static str> {
    options::by_name(&setting.name).filter(|known| !known.negated)?.option.variable
}

pub(super) fn write(configuration: &Configuration) -> Result<String> {
    let mut text: String = configuration.metadata.lines().iter().map(|line| format!("# {line}\n")).collect();
    let mut line = |name: &str, value: &str| -> Result<()> {
        text.push_str(&format!("{name}={}\n", one_line(value)?));
        Ok(())
    };
    if let Some(model) = &configuration.model {
        line("LLAMA_ARG_MODEL", model)?;
    }
    let (with, without): (Vec<_>, Vec<_>) =
        configuration.settings.iter().partition(|setting| variable(setting).is_some());
    for setting in with {
        line(variable(setting).expect("it was just looked up"), setting.value())?;
    }
    for setting in without {
        let (name, value) = argument(setting);
        let words: Vec<&str> = [name.as_str()].into_iter().chain(value).collect();
        text.push_str(&format!("# no variable says this: {}\n", one_line(&words.join(" "))?));
    }
    Ok(text)
}

pub(super) fn read(text: &str) -> Result<Configuration> {
    let mut configuration = Configuration::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            configuration.metadata.read_line(line);
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(invalid(format!("line {}: no `=`", number + 1)));
        };
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim);
        match options::by_variable(name) {
            // llama-server looks only whether it is there.
            Some(known) if known.negated => configuration.set(known.option.name(), Value::Switch(false)),
            None if !name.starts_with(PREFIX) => {}
            known => configuration.assign(name, known, value),
        }
    }
    Ok(configuration)
}
