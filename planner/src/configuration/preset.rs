//! llama.cpp's own format, for `llama-server --models-preset FILE` (docs/preset.md and common/preset.cpp there).

use diagnostic::Result;

use super::{Configuration, Value, invalid, one_line, options};

/// The section whose settings hold for all others.
const ALL: &str = "*";

pub(super) fn write(configuration: &Configuration) -> Result<String> {
    let mut text: String = configuration.metadata.lines().iter().map(|line| format!("; {line}\n")).collect();
    text.push_str(&format!("[{}]\n", section(configuration)));
    let model = configuration.model.as_deref().map(|model| ("model", model.to_owned()));
    let settings = configuration.settings.iter().map(|setting| {
        let value = match &setting.value {
            Value::Text(text) => text.clone(),
            Value::Switch(on) => on.to_string(),
        };
        (setting.name.as_str(), value)
    });
    for (name, value) in model.into_iter().chain(settings) {
        let value = one_line(&value)?;
        // Its parser ends a value at either, and takes spaces at the ends away.
        if value.contains([';', '#']) || value.trim() != value {
            return Err(invalid(format!("`{name} = {value}` cannot be said in a preset: `;` and `#` begin a comment"))
                .hint("take another format, or give the file another name"));
        }
        text.push_str(&format!("{name} = {value}\n"));
    }
    Ok(text)
}

/// The name of a section: the model's file, as far as a section's name can say it.
fn section(configuration: &Configuration) -> String {
    let name = configuration.name.as_deref().or(configuration.model.as_deref()).unwrap_or("model");
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

pub(super) fn read(text: &str) -> Result<Vec<Configuration>> {
    let mut all: Vec<Configuration> = Vec::new();
    let mut common = Configuration::default();
    // Settings before the first section hold for a model that has no name.
    let mut current = Configuration::default();
    let mut put = |done: Configuration| match done.name.as_deref() {
        Some(ALL) => common = done,
        None if done.settings.is_empty() && done.model.is_none() => {}
        _ => all.push(done),
    };
    let mut comments = Configuration::default().metadata;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with([';', '#']) {
            comments.read_line(line);
            continue;
        }
        let line = line.split([';', '#']).next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| invalid(format!("line {}: no `]`", number + 1)))?.trim();
            put(std::mem::take(&mut current));
            current.name = Some(name.to_owned());
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(invalid(format!("line {}: neither `[section]` nor `name = value`", number + 1)));
        };
        let (name, value) = (name.trim(), value.trim());
        if name == "version" {
            continue;
        }
        current.assign(name, options::by_name(name).or_else(|| options::by_variable(name)), value);
    }
    put(current);
    if all.is_empty() && (!common.settings.is_empty() || common.model.is_some()) {
        return Ok(vec![Configuration { metadata: comments, ..common }]);
    }
    for one in &mut all {
        one.metadata = comments.clone();
        let missing = common.settings.iter().filter(|setting| one.settings.iter().all(|own| own.name != setting.name));
        let missing: Vec<_> = missing.cloned().collect();
        one.settings.extend(missing);
    }
    if all.is_empty() { Err(invalid("it holds no setting")) } else { Ok(all) }
}
