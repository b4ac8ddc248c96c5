//! `llama-server --model ...`, for a shell.

use diagnostic::Result;

use super::options::{self, Known};
use super::{Configuration, Setting, Value, invalid, one_line};

pub(super) fn write(configuration: &Configuration) -> Result<String> {
    let mut text: String = configuration.metadata.lines().iter().map(|line| format!("# {line}\n")).collect();
    text.push_str("llama-server");
    let mut word = |name: &str, value: Option<&str>| -> Result<()> {
        text.push_str(" \\\n  ");
        text.push_str(name);
        if let Some(value) = value {
            let quoted = shlex::try_quote(one_line(value)?).map_err(|_| invalid("a value holds a NUL byte"))?;
            text.push(' ');
            text.push_str(&quoted);
        }
        Ok(())
    };
    if let Some(model) = &configuration.model {
        word("--model", Some(model))?;
    }
    for setting in &configuration.settings {
        let (name, value) = argument(setting);
        word(&name, value)?;
    }
    text.push('\n');
    Ok(text)
}

/// An option as it is given to llama-server.
pub(super) fn argument(setting: &Setting) -> (String, Option<&str>) {
    match &setting.value {
        Value::Text(value) => (format!("--{}", setting.name), Some(value)),
        Value::Switch(true) => (format!("--{}", setting.name), None),
        Value::Switch(false) => {
            let known = options::by_name(&setting.name).and_then(|known| known.option.negated.last());
            (known.map_or_else(|| format!("--no-{}", setting.name), |name| (*name).to_owned()), None)
        }
    }
}

pub(super) fn read(text: &str) -> Result<Configuration> {
    let mut configuration = Configuration::default();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with('#')) {
        configuration.metadata.read_line(line);
    }
    // Comments may hold quotes, and a line that ends with a backslash goes on.
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let line = lines.join("\n").replace("\\\n", " ");
    let words = shlex::split(&line).ok_or_else(|| invalid("a quote is not closed"))?;
    let mut words = words.into_iter().peekable();
    // The program's name.
    words.next_if(|word| !word.starts_with('-'));
    while let Some(word) = words.next() {
        match options::by_argument(&word) {
            Some(Known { option, .. }) if option.takes_value => {
                // llama-server takes whatever follows, a word with a dash too.
                let value =
                    words.next().ok_or_else(|| invalid(format!("`{word}` is the last word, and takes a value")))?;
                configuration.set(option.name(), Value::Text(value));
            }
            Some(Known { option, negated }) => configuration.set(option.name(), Value::Switch(!negated)),
            None => {
                let value = words.next_if(|word| !word.starts_with('-'));
                configuration.set(&word, value.map_or(Value::Switch(true), Value::Text));
            }
        }
    }
    Ok(configuration)
}
