//! JSON and YAML: `backend`, `model_path`, `settings`, `metadata`.

use diagnostic::Result;
use serde_json::{Map, Value as Json, json};

use super::{Configuration, Metadata, Value, invalid, options};

/// What settings are called here that llama-server calls otherwise; all others have `_` for `-`.
const NAMES: [(&str, &str); 9] = [
    ("n_gpu_layers", "n-gpu-layers"),
    ("n_threads", "threads"),
    ("n_threads_batch", "threads-batch"),
    ("n_batch", "batch-size"),
    ("n_ubatch", "ubatch-size"),
    ("n_ctx", "ctx-size"),
    ("n_parallel", "parallel"),
    ("type_k", "cache-type-k"),
    ("type_v", "cache-type-v"),
];

/// The only backend there is.
const BACKEND: &str = "llama.cpp";

pub(super) fn write_json(configuration: &Configuration) -> String {
    let text = serde_json::to_string_pretty(&tree(configuration)).expect("a tree holds only strings and numbers");
    text + "\n"
}

pub(super) fn write_yaml(configuration: &Configuration) -> Result<String> {
    yaml_serde::to_string(&tree(configuration)).map_err(|error| invalid(format!("it cannot be written: {error}")))
}

fn tree(configuration: &Configuration) -> Json {
    let settings: Map<String, Json> =
        configuration.settings.iter().map(|setting| (key(&setting.name), value(&setting.value))).collect();
    json!({
        "backend": BACKEND,
        "model_path": configuration.model,
        "settings": settings,
        "metadata": configuration.metadata,
    })
}

fn key(name: &str) -> String {
    let found = NAMES.iter().find(|(_, option)| *option == name);
    match found {
        Some((key, _)) => (*key).to_owned(),
        // What is not an option of llama-server stays as it was written.
        None if options::by_name(name).is_some() => name.replace('-', "_"),
        None => name.to_owned(),
    }
}

/// A number where its text says the same again.
fn value(value: &Value) -> Json {
    match value {
        Value::Switch(on) => Json::Bool(*on),
        Value::Text(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => number.into(),
            _ => Json::String(text.clone()),
        },
    }
}

pub(super) fn read_json(text: &str) -> Result<Configuration> {
    let tree: Json = serde_json::from_str(text).map_err(|error| invalid(format!("it is not JSON: {error}")))?;
    from_tree(tree)
}

/// More brackets than any configuration has: the parser takes time that grows with the square of their depth.
const MOST_BRACKETS: usize = 128;

pub(super) fn read_yaml(text: &str) -> Result<Configuration> {
    if text.matches(['[', '{']).count() > MOST_BRACKETS || text.contains(": &") {
        return Err(invalid("it holds anchors, or more brackets than a configuration has"));
    }
    let tree: Json = yaml_serde::from_str(text).map_err(|error| invalid(format!("it is not YAML: {error}")))?;
    from_tree(tree)
}

fn from_tree(tree: Json) -> Result<Configuration> {
    let Json::Object(mut tree) = tree else { return Err(invalid("it is no object with `settings`")) };
    if let Some(backend) = tree.get("backend").filter(|backend| backend.as_str() != Some(BACKEND)) {
        return Err(invalid(format!("the backend is {backend}, and only `{BACKEND}` is known")));
    }
    let mut configuration = Configuration::default();
    match tree.remove("model_path") {
        None | Some(Json::Null) => {}
        Some(Json::String(path)) => configuration.model = Some(path),
        Some(other) => return Err(invalid(format!("`model_path` is {}, and no text", kind(&other)))),
    }
    if let Some(metadata) = tree.remove("metadata") {
        configuration.metadata = serde_json::from_value::<Metadata>(metadata)
            .map_err(|error| invalid(format!("`metadata` is damaged: {error}")))?;
    }
    let settings = match tree.remove("settings") {
        Some(Json::Object(settings)) => settings,
        _ => return Err(invalid("there is no `settings`, or it is no object")),
    };
    for (key, value) in settings {
        let known = NAMES.iter().find(|(name, _)| *name == key).map(|(_, option)| (*option).to_owned());
        let known = options::by_name(&known.unwrap_or_else(|| key.replace('_', "-")));
        let takes_value = known.is_some_and(|known| known.option.takes_value);
        let text = match value {
            Json::String(text) => text,
            Json::Number(number) => number.to_string(),
            // YAML of an older kind takes `on` for a truth.
            Json::Bool(on) if takes_value => (if on { "on" } else { "off" }).to_owned(),
            Json::Bool(on) => (if on { "1" } else { "0" }).to_owned(),
            Json::Null => continue,
            other => return Err(invalid(format!("`{key}` is {}, and neither text, number nor truth", kind(&other)))),
        };
        configuration.assign(&key, known, &text);
    }
    Ok(configuration)
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "a truth",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
