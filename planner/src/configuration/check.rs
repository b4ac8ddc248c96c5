//! What is wrong with a configuration on a machine, and how to mend it.

use diagnostic::Result;
use gguf::Header;
use serde::Serialize;

use super::{Configuration, options};
use crate::hardware::{Hardware, SHARE, Thermal};
use crate::memory::{self, FlashAttention, KvType, Setting, gigabytes};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Note,
    /// It runs, and not as well as it could.
    Warning,
    /// It does not run, or the kernel ends it.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, for programs.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What to do; empty when there is nothing to be done.
    pub fix: String,
}

/// What is known beside the configuration.
struct Check<'a> {
    configuration: &'a Configuration,
    hardware: &'a Hardware,
    findings: Vec<Finding>,
}

/// Checks a configuration against a machine, and against a model where its header is known. `floor` is the fewest tokens
/// that each request must have room for.
///
/// # Errors
/// The header lacks what every model has.
pub fn check(
    configuration: &Configuration,
    header: Option<&Header>,
    hardware: &Hardware,
    floor: Option<u64>,
) -> Result<Vec<Finding>> {
    let mut check = Check { configuration, hardware, findings: Vec::new() };
    check.names();
    check.threads();
    check.fitting();
    let setting = check.setting();
    check.context(&setting, header, floor)?;
    if let Some(header) = header {
        check.memory(&setting, header);
    }
    for what in &configuration.metadata.degraded {
        check.note("degraded", format!("it was made to be degraded: {what}"), "");
    }
    check.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Ok(check.findings)
}

/// Options of earlier versions, and what says the same today.
const REMOVED: [(&str, &str); 6] = [
    ("mlock", "`--load-mode mlock`"),
    ("no-mmap", "`--load-mode none`"),
    ("mmap", "`--load-mode mmap`"),
    ("direct-io", "`--load-mode dio`"),
    ("n-gpu-layer", "`--n-gpu-layers`"),
    ("flash-attention", "`--flash-attn`"),
];

/// Options that are read and then ignored, or refused, at the pin.
const IGNORED: [(&str, &str); 2] =
    [("defrag-thold", "it is no longer used"), ("draft-max", "it was replaced by `--spec-draft-n-max`")];

/// Options after which llama-server no longer chooses itself what goes to the GPUs: `common_params_fit_impl` gives up.
const NO_FITTING: [&str; 5] = ["n-gpu-layers", "tensor-split", "override-tensor", "cpu-moe", "n-cpu-moe"];

impl Check<'_> {
    fn push(&mut self, id: &'static str, level: Level, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding { id, level, message: message.into(), fix: fix.into() });
    }

    fn error(&mut self, id: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(id, Level::Error, message, fix);
    }

    fn warn(&mut self, id: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(id, Level::Warning, message, fix);
    }

    fn note(&mut self, id: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(id, Level::Note, message, fix);
    }

    fn names(&mut self) {
        for setting in &self.configuration.settings {
            let name = setting.name.trim_start_matches('-');
            if let Some((_, why)) = IGNORED.iter().find(|(ignored, _)| *ignored == name) {
                self.warn("ignored_option", format!("`{}` does nothing: {why}", shown(&setting.name)), "leave it out");
            }
            if options::by_name(&setting.name).is_some() {
                continue;
            }
            let plain = name.replace('_', "-");
            let instead = REMOVED.iter().find(|(old, _)| *old == plain).map(|(_, new)| (*new).to_owned());
            let instead = instead.or_else(|| options::similar(name).map(|known| format!("`--{known}`")));
            let fix = instead.map_or_else(|| "leave it out".to_owned(), |name| format!("did you mean {name}?"));
            self.error("unknown_option", format!("llama-server has no option `{}`", shown(&setting.name)), fix);
        }
        if self.configuration.model.is_none() && self.configuration.get("hf-repo").is_none() {
            self.note("no_model", "no model is named: memory cannot be checked", "name one with `--model`");
        }
    }

    fn threads(&mut self) {
        let Some(budget) = self.hardware.cpu_budget else { return };
        let suggested = self.hardware.threads.as_ref().map_or(budget, |threads| threads.generation);
        for name in ["threads", "threads-batch"] {
            let Some(setting) = self.configuration.get(name) else { continue };
            let value = setting.value().to_owned();
            match value.parse::<i64>() {
                Err(_) => {
                    let message = format!("`--{name}` takes a number, not `{}`", value.escape_debug());
                    self.error("threads", message, format!("`--{name} {suggested}`"));
                }
                Ok(..=0) => {
                    let message =
                        format!("`--{name} {value}` takes a thread for every core of the machine, whatever we may use");
                    self.warn("threads", message, format!("`--{name} {suggested}`"));
                }
                Ok(count) if count > budget as i64 => {
                    let message =
                        format!("{count} threads are more than the CPU budget of {budget}: all wait for the slowest");
                    self.error("threads", message, format!("`--{name} {suggested}`"));
                }
                Ok(count) => self.thermal(count, suggested),
            }
        }
        if self.configuration.get("threads").is_none() {
            let message =
                "no thread count: llama-server counts the cores of the machine, and not those that it may use";
            self.warn("threads", message, format!("`--threads {suggested}`"));
        }
    }

    /// A machine that becomes hot is not faster with all of its cores.
    fn thermal(&mut self, count: i64, suggested: usize) {
        if self.hardware.thermal == Thermal::Mobile
            && count > suggested as i64
            && self.findings.iter().all(|finding| finding.id != "thermal")
        {
            let message = format!(
                "{count} threads on a machine that is cooled like a laptop: it becomes slower after some minutes"
            );
            self.warn("thermal", message, format!("`--threads {suggested}`"));
        }
    }

    /// What turns llama.cpp's own choice of layers off, and what is ignored without a GPU.
    fn fitting(&mut self) {
        let given: Vec<&str> = NO_FITTING.into_iter().filter(|name| self.configuration.get(name).is_some()).collect();
        if self.hardware.machine.gpus.is_empty() {
            for name in given {
                let none = self.configuration.get(name).is_some_and(|setting| setting.value() == "0");
                if !none {
                    self.warn("ignored_option", format!("`--{name}` does nothing: there is no GPU"), "leave it out");
                }
            }
            return;
        }
        for name in given {
            let message = format!(
                "`--{name}` turns off that llama.cpp fits the model to the GPUs itself: what does not fit ends it while it loads"
            );
            self.note("no_fitting", message, "leave it out, or check on the machine itself");
        }
    }

    /// The options that memory depends on.
    fn setting(&mut self) -> Setting {
        let mut setting = Setting::server(0);
        // llama-server's own, which are not the short form's.
        (setting.prompt_cache_mib, setting.checkpoints) = (8192, 32);
        for given in &self.configuration.settings {
            let (name, value) = super::command_line::argument(given);
            let result = setting.option(&name, value.unwrap_or_default());
            if let Err(why) = result {
                self.error("value", why, "");
            }
        }
        let limits: [(&str, u64); 3] =
            [("batch-size", setting.batch), ("ubatch-size", setting.ubatch), ("parallel", setting.sequences)];
        for (name, value) in limits {
            if value == 0 || value > 1 << 20 {
                self.error("value", format!("`--{name} {value}` is no sensible number"), "leave it out");
            }
        }
        if setting.ctx > 1 << 32 {
            self.error("value", format!("`--ctx-size {}` is no sensible number", setting.ctx), "");
        }
        if setting.ubatch > setting.batch {
            let message = format!(
                "`--ubatch-size {}` is more than `--batch-size {}`, and is cut to it",
                setting.ubatch, setting.batch
            );
            self.warn("ignored_option", message, format!("`--ubatch-size {}`", setting.batch));
            setting.ubatch = setting.batch;
        }
        if setting.kv_v.is_quantized() && setting.flash_attention == FlashAttention::Off {
            let message =
                format!("values of the KV cache in {} need flash attention, which is turned off", setting.kv_v);
            self.error("kv_type", message, "`--flash-attn on`, or `--cache-type-v f16`");
        }
        let coarse = [KvType::Q4_0, KvType::Q4_1, KvType::Iq4Nl];
        if coarse.contains(&setting.kv_k) || coarse.contains(&setting.kv_v) {
            self.warn(
                "kv_type",
                "a KV cache of 4 bits changes answers, often for the worse",
                "`q8_0` takes half of f16",
            );
        }
        setting
    }

    fn context(&mut self, setting: &Setting, header: Option<&Header>, floor: Option<u64>) -> Result<()> {
        let trained = match header {
            Some(header) => header.context_length()?,
            None => None,
        };
        let ctx = if setting.ctx == 0 { trained.unwrap_or(0) } else { setting.ctx };
        if let Some(trained) = trained.filter(|trained| ctx > *trained) {
            let scaled = ["rope-scaling", "rope-scale", "rope-freq-base", "rope-freq-scale"];
            if scaled.iter().all(|name| self.configuration.get(name).is_none()) {
                let message = format!("a context of {ctx} tokens, and the model was trained for {trained}");
                self.warn(
                    "beyond_training",
                    message,
                    format!("`--ctx-size {trained}`, or a model that was trained for more"),
                );
            }
        }
        let each = if setting.kv_unified { ctx } else { ctx / setting.sequences.max(1) };
        if !setting.kv_unified && setting.sequences > 1 {
            let message = format!("each of {} requests at once has {each} of the {ctx} tokens", setting.sequences);
            self.note("shared_context", message, "`--kv-unified` lets one have all while the others are short");
        }
        if let Some(floor) = floor.filter(|floor| ctx > 0 && each < *floor) {
            let message = format!("a request has room for {each} tokens, and at least {floor} are wanted");
            self.error(
                "context_floor",
                message,
                format!("`--ctx-size {}`", floor.saturating_mul(setting.sequences.max(1))),
            );
        }
        Ok(())
    }

    fn memory(&mut self, setting: &Setting, header: &Header) {
        if self.findings.iter().any(|finding| finding.id == "value") {
            // Nobody knows what was meant.
            return;
        }
        let machine = &self.hardware.machine;
        let breakdown = match memory::breakdown(header, setting, machine) {
            Ok(breakdown) => breakdown,
            Err(error) => return self.error("model", error.to_string(), error.hints().join("; ")),
        };
        if let Some(caveat) = breakdown.certainty.caveat() {
            self.note("not_compared", caveat, "");
        }
        let caches = breakdown.bytes(memory::Part::PromptCache) + breakdown.bytes(memory::Part::Checkpoints);
        let within = self.hardware.within_share();
        for (limit, level) in [(machine, Level::Error), (&within, Level::Warning)] {
            let mut found = false;
            for short in breakdown.shortfalls(limit) {
                found = true;
                let over = short.needed.saturating_sub(short.budget);
                let only_caches = short.name == "host" && over <= caches;
                let (id, level, fix) = match only_caches {
                    true => {
                        let cut = ((breakdown.bytes(memory::Part::PromptCache).saturating_sub(over)) / 2) >> 20;
                        let fix = format!("`--cache-ram {cut} --ctx-checkpoints 0`");
                        ("caches", Level::Warning, fix)
                    }
                    false => ("memory", level, "see `caravan doctor --model` for what fits".to_owned()),
                };
                let (needed, budget) = (gigabytes(short.needed), gigabytes(short.budget));
                let of = match (only_caches, level) {
                    (true, _) => {
                        format!("with use, prompts that are kept let it grow to {needed} of {budget} on {}", short.name)
                    }
                    (false, Level::Error) => format!("{} needs {needed}, and has {budget}", short.name),
                    (false, _) => {
                        format!("{} needs {needed}, more than {SHARE} % of what it has ({budget})", short.name)
                    }
                };
                self.push(id, level, of, fix);
            }
            if found {
                break;
            }
        }
    }
}

/// A name as it was written, safe to print.
fn shown(name: &str) -> String {
    let name: String = name.chars().take(60).collect();
    name.escape_debug().to_string()
}
