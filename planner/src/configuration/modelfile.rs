//! Ollama's Modelfile, which can say little of what llama-server can.

use diagnostic::Result;

use super::command_line::argument;
use super::{Configuration, Setting, Value, invalid, one_line, options};

/// Its parameters, and the options that say the same.
const PARAMETERS: [(&str, &str); 14] = [
    ("num_ctx", "ctx-size"),
    ("num_thread", "threads"),
    ("num_batch", "batch-size"),
    ("num_gpu", "n-gpu-layers"),
    ("temperature", "temperature"),
    ("seed", "seed"),
    ("num_predict", "n-predict"),
    ("top_k", "top-k"),
    ("top_p", "top-p"),
    ("min_p", "min-p"),
    ("repeat_last_n", "repeat-last-n"),
    ("repeat_penalty", "repeat-penalty"),
    ("presence_penalty", "presence-penalty"),
    ("frequency_penalty", "frequency-penalty"),
];

/// The parameter that says a setting, if there is one.
pub(super) fn parameter(setting: &Setting) -> Option<&'static str> {
    PARAMETERS.iter().find(|(_, option)| *option == setting.name).map(|(parameter, _)| *parameter)
}

pub(super) fn write(configuration: &Configuration) -> Result<String> {
    let model =
        configuration.model.as_deref().ok_or_else(|| invalid("a Modelfile begins with a model, and none is named"))?;
    if model.trim() != model {
        return Err(invalid("a model whose name begins or ends with a space cannot be said in a Modelfile"));
    }
    let mut text: String = configuration.metadata.lines().iter().map(|line| format!("# {line}\n")).collect();
    text.push_str(&format!("FROM {}\n", one_line(model)?));
    for setting in &configuration.settings {
        match parameter(setting) {
            Some(name) if setting.value().is_empty() || setting.value().trim() != setting.value() => {
                return Err(invalid(format!("`{name}` has a value that cannot be said in a Modelfile")));
            }
            Some(name) => text.push_str(&format!("PARAMETER {name} {}\n", one_line(setting.value())?)),
            None => {
                let (name, value) = argument(setting);
                let words: Vec<&str> = [name.as_str()].into_iter().chain(value).collect();
                text.push_str(&format!("# no parameter says this: {}\n", one_line(&words.join(" "))?));
            }
        }
    }
    Ok(text)
}

pub(super) fn read(text: &str) -> Result<Configuration> {
    let mut configuration = Configuration::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            configuration.metadata.read_line(line);
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "FROM" => configuration.model = Some(rest.to_owned()),
            "PARAMETER" => {
                let (name, value) = rest
                    .split_once(char::is_whitespace)
                    .ok_or_else(|| invalid(format!("line {}: a parameter without a value", number + 1)))?;
                let option = PARAMETERS.iter().find(|(parameter, _)| *parameter == name).map(|(_, option)| *option);
                match option {
                    Some(option) => configuration.assign(name, options::by_name(option), value.trim()),
                    // Of texts that end an answer there may be several, and llama-server's is asked for with a request.
                    None if name == "stop" => {}
                    None => configuration.set(name, Value::Text(value.trim().to_owned())),
                }
            }
            // What follows is text, over several lines when it begins with three quotes.
            "TEMPLATE" | "SYSTEM" | "LICENSE" | "MESSAGE" | "ADAPTER" | "REQUIRES" | "RENDERER" | "PARSER" => {
                if rest.matches("\"\"\"").count() == 1 {
                    lines.by_ref().find(|(_, line)| line.contains("\"\"\""));
                }
            }
            _ => return Err(invalid(format!("line {}: `{}` is no instruction", number + 1, word.escape_debug()))),
        }
    }
    Ok(configuration)
}
