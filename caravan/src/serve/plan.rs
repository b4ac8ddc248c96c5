//! With which flags llama-server is started, and where each of them comes from: plain data, decided before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use build_info::BuildInfo;
use diagnostic::Result;
use host::Host;
use host::threads::ThreadChoice;
use planner::memory as fit;
use serde::Serialize;
use store::Measured;

use super::auto::Decided;
use super::given::{self, By};
use crate::environment::Variables;
use crate::installed;
use crate::memory::{self, Model};
use crate::setting::{Setting, Table};
use crate::threads::{self, Known};

/// Tokens that are taken in at once, and computed at once: llama-server's own, said so that it shows.
const BATCH: &str = "2048";
const UBATCH: &str = "512";
const USUAL: &str = "as llama-server has it";

/// Settings that were measured for both phases, and the flag that sets the same for prompts; llama-server copies them from
/// the one to the other only while both have the same number of threads.
const TWINS: &[(&str, &str)] = &[
    ("poll", "--poll-batch"),
    ("prio", "--prio-batch"),
    ("cpu-mask", "--cpu-mask-batch"),
    ("cpu-strict", "--cpu-strict-batch"),
];

/// Everything that the plan is made from.
#[derive(Debug)]
pub(super) struct Inputs {
    /// What `--auto` has decided.
    pub(super) auto: Decided,
    /// Where the build lies.
    pub(super) build: PathBuf,
    pub(super) info: BuildInfo,
    pub(super) host: Host,
    /// What was measured for this build on this host with models like this one.
    pub(super) measured: Option<Measured>,
    /// `None` when a person has llama-server find its models itself.
    pub(super) model: Option<Model>,
    pub(super) variables: Variables,
    pub(super) asked: Asked,
    /// What stands after `--`.
    pub(super) arguments: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) threads: Option<usize>,
    pub(super) ctx: Option<u64>,
    pub(super) host: String,
    pub(super) port: u16,
    /// Start also what would be refused.
    pub(super) force: bool,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    /// Flags that we set.
    pub(super) settings: Vec<Setting>,
    /// Variables that we set.
    pub(super) environment: Vec<Setting>,
    /// What a person gave, passed on as it is.
    pub(super) arguments: Vec<String>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// Threads of both phases, while we may change them: not when a person has fixed them.
    #[serde(skip)]
    pub(super) threads: Option<(usize, usize)>,
    /// CPUs that this process may use.
    pub(super) cpu_budget: usize,
    pub(super) weights_bytes: Option<u64>,
    pub(super) kv_cache_bytes: Option<u64>,
    pub(super) compute_bytes: Option<u64>,
}

/// Decides everything.
///
/// # Errors
/// What would run badly or not at all is refused, unless it is forced: more threads than the CPU budget
/// ([`THREADS_INVALID`](diagnostic::codes::THREADS_INVALID)), a model that does not fit
/// ([`MODEL_TOO_LARGE`](diagnostic::codes::MODEL_TOO_LARGE)), a build for another CPU
/// ([`VARIANT_UNAVAILABLE`](diagnostic::codes::VARIANT_UNAVAILABLE)).
pub(super) fn plan(inputs: &Inputs) -> Result<Plan> {
    if !inputs.asked.force {
        installed::runs_on(&inputs.info, &inputs.host.cpu)?;
        given::check_threads(&inputs.host, &inputs.arguments, &inputs.variables)?;
    }
    let mut plan = Plan {
        program: inputs.build.join("bin/llama-server"),
        settings: Vec::new(),
        environment: Vec::new(),
        arguments: inputs.arguments.clone(),
        notes: inputs.auto.notes.clone(),
        threads: None,
        cpu_budget: inputs.host.budget.cpus,
        weights_bytes: None,
        kv_cache_bytes: None,
        compute_bytes: None,
    };
    let mut set = Set { plan: &mut plan, variables: &inputs.variables };
    if let Some(model) = &inputs.model {
        set.flag("--model", model.path.display(), "`--model`");
    }
    set.flag("--host", &inputs.asked.host, "`--host`");
    set.flag("--port", inputs.asked.port, "`--port`");
    let choice = choose_threads(inputs)?;
    let fixed = [
        set.flag("--threads", choice.generation, &choice.why),
        set.flag("--threads-batch", choice.prompt, &choice.why),
    ];
    if fixed == [true, true] && inputs.asked.threads.is_none() {
        set.plan.threads = Some((choice.generation, choice.prompt));
    }
    for Setting { name, value, source } in &inputs.auto.settings {
        set.setting(name, value.clone(), source);
    }
    memory(inputs, &mut set)?;
    tuned(inputs.measured.as_ref(), &mut set);
    blas(&inputs.info, &mut set);
    Ok(plan)
}

/// The threads that this machine may run now; asked again whenever something changes.
///
/// # Errors
/// As [`threads::choose`].
pub(super) fn choose_threads(inputs: &Inputs) -> Result<ThreadChoice> {
    let known = Known::of(&inputs.info, inputs.measured.as_ref());
    threads::choose(&inputs.host, inputs.asked.threads, inputs.asked.force, known.as_ref(), &inputs.variables)
}

/// Adds settings to a plan.
struct Set<'a> {
    plan: &'a mut Plan,
    variables: &'a Variables,
}

impl Set<'_> {
    /// Sets a flag, unless a person has set it, or it is set already; says whether it did.
    fn flag(&mut self, name: &str, value: impl fmt::Display, source: &str) -> bool {
        self.setting(name, Some(value.to_string()), source)
    }

    fn setting(&mut self, name: &str, value: Option<String>, source: &str) -> bool {
        if self.plan.settings.iter().any(|setting| setting.name == name) {
            return false;
        }
        if let Some(given) = given::find(name, &self.plan.arguments, self.variables) {
            // Arguments show as they are; a variable would not show at all.
            if let By::Variable(variable) = given.by {
                let value = given.value.unwrap_or_default();
                self.plan.notes.push(format!("`{name}` is left to `{variable}={value}`"));
            }
            return false;
        }
        self.plan.settings.push(Setting { name: name.to_owned(), value, source: source.to_owned() });
        true
    }

    /// Sets a variable, unless a person has set it.
    fn variable(&mut self, name: &str, value: &str, source: &str) {
        if self.variables.contains_key(name) {
            return;
        }
        self.plan.environment.push(Setting::new(name, value, source));
    }
}

/// Context and prompt cache, as far as the memory goes.
fn memory(inputs: &Inputs, set: &mut Set<'_>) -> Result<()> {
    let Some(model) = &inputs.model else { return Ok(()) };
    let available = inputs.host.memory.budget.as_ref().filter(|_| !inputs.asked.force).map(|bytes| bytes.value);
    let given = given::find("--ctx-size", &inputs.arguments, &inputs.variables);
    let given = given.and_then(|given| given.value?.parse().ok());
    // Zero is llama-server's word for what the model was trained for.
    let trained = model.header.context_length()?;
    let auto = inputs.auto.settings.iter().find(|setting| setting.name == "--ctx-size");
    let auto = auto.and_then(|setting| setting.value.as_ref()?.parse().ok());
    let asked =
        given.or(auto).or(inputs.asked.ctx).map(|tokens| if tokens == 0 { trained.unwrap_or(0) } else { tokens });
    let share = memory::share(model, available, asked, &running(inputs))?;
    match (inputs.asked.ctx, &share.ctx) {
        (Some(tokens), _) => drop(set.flag("--ctx-size", tokens, "`--ctx`")),
        (None, Some(ctx)) => drop(set.flag("--ctx-size", ctx.value, &ctx.why)),
        (None, None) => {}
    }
    if let Some(cache) = &share.prompt_cache {
        set.flag("--cache-ram", cache.value, &format!("MiB: {}", cache.why));
    }
    set.plan.weights_bytes = Some(share.demand.weights);
    set.plan.kv_cache_bytes = Some(share.demand.kv_cache);
    set.plan.compute_bytes = Some(share.demand.compute);
    Ok(())
}

/// How llama-server will run the model, as far as memory depends on it: its defaults, what was measured, what a person says.
fn running(inputs: &Inputs) -> fit::Setting {
    let mut setting = fit::Setting::server(0);
    for (name, value) in inputs.measured.iter().flat_map(|measured| measured.tuning.options()) {
        // A value that llama-server would not take is its business.
        let _ = setting.option(&format!("--{name}"), &value);
    }
    for Setting { name, value, .. } in &inputs.auto.settings {
        let _ = setting.option(name, value.as_deref().unwrap_or_default());
    }
    for (variable, name) in fit::VARIABLES {
        let value = inputs.variables.get(variable).filter(|value| !value.is_empty());
        let _ = value.map(|value| setting.option(name, value));
    }
    for (at, word) in inputs.arguments.iter().enumerate() {
        let value = inputs.arguments.get(at + 1).map(String::as_str).unwrap_or_default();
        let _ = setting.option(word, value);
    }
    setting
}

/// Batches, how weights are loaded, and everything else that was measured.
fn tuned(measured: Option<&Measured>, set: &mut Set<'_>) {
    let source = measured.map(threads::source).unwrap_or_default();
    let mut settings: BTreeMap<&str, String> = measured.iter().flat_map(|measured| measured.tuning.options()).collect();
    set.flag("--batch-size", BATCH, USUAL);
    match settings.remove("ubatch-size") {
        Some(tokens) => set.flag("--ubatch-size", tokens, &source),
        None => set.flag("--ubatch-size", UBATCH, USUAL),
    };
    match settings.remove("load-mode") {
        Some(mode) => set.flag("--load-mode", mode, &source),
        None => set.flag("--load-mode", "mmap", "processes share the weights, and the kernel may drop them"),
    };
    // llama-bench has a number here, llama-server a flag.
    if settings.remove("repack").is_some_and(|value| value == "0") {
        set.setting("--no-repack", None, &source);
    }
    for (name, value) in settings {
        set.flag(&format!("--{name}"), &value, &source);
        if let Some((_, twin)) = TWINS.iter().find(|(single, _)| *single == name) {
            set.flag(twin, &value, &source);
        }
    }
    for (name, value) in measured.iter().flat_map(|measured| &measured.tuning.environment) {
        set.variable(name, value, &source);
    }
}

/// `ENABLE_BLAS`, where the build carries BLAS: it wins over what was measured.
fn blas(info: &BuildInfo, set: &mut Set<'_>) {
    const ENABLE: &str = "ENABLE_BLAS";
    const SKIP: &str = "GGML_BACKEND_SKIP";
    let Some(value) = set.variables.get(ENABLE).map(|value| value.trim().to_ascii_lowercase()) else { return };
    let enable = match value.as_str() {
        "true" | "1" | "on" | "yes" => true,
        "false" | "0" | "off" | "no" => false,
        "" => return,
        _ => {
            set.plan.notes.push(format!("`{ENABLE}` is neither `true` nor `false`, and changes nothing"));
            return;
        }
    };
    if !info.blas.enabled {
        if enable {
            let note = format!("`{ENABLE}=true` changes nothing: this build has no BLAS ({})", info.blas.reason);
            set.plan.notes.push(note);
        }
        return;
    }
    set.plan.environment.retain(|setting| setting.name != SKIP);
    set.variable(SKIP, if enable { "" } else { "blas" }, &format!("`{ENABLE}={value}`"));
}

impl Plan {
    /// The arguments of llama-server.
    pub(super) fn args(&self) -> impl Iterator<Item = &str> {
        let ours = self.settings.iter().flat_map(|setting| [Some(setting.name.as_str()), setting.value.as_deref()]);
        ours.flatten().chain(self.arguments.iter().map(String::as_str))
    }

    /// The variables that are set for llama-server.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|setting| (setting.name.as_str(), setting.value.as_deref().unwrap_or_default()))
    }
}

/// One line per setting: name, value, source.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.program.display())?;
        write!(f, "{}", Table(self.environment.iter().chain(&self.settings).collect()))?;
        if !self.arguments.is_empty() {
            writeln!(f, "  {}  passed on", self.arguments.join(" "))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
