//! Whether a model can be run on a machine as it is wanted, and what has to be given up where it cannot: said before
//! anything is loaded.
//!
//! [`answer`] tries what is wanted first, then what costs least: smaller steps through prompts (slower, same answers), a
//! rounded KV cache (answers change a little), a shorter context (only down to the floor that was named), and at last the
//! tenth of the memory that is otherwise left free. What is given up is said. Nothing below the floor is ever tried.

mod alternatives;
mod refusal;
mod text;
mod use_case;

use diagnostic::Result;
use gguf::Header;
use serde::Serialize;

pub use alternatives::Alternative;
pub use text::Screen;
pub use use_case::UseCase;

use crate::hardware::{Hardware, SHARE};
use crate::memory::{
    self, Breakdown, CpuExperts, GpuLayers, KvType, Machine, Setting, longest_context, most_gpu_layers,
};

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The model.
    pub header: &'a Header,
    /// What it is for.
    pub use_case: UseCase,
    /// Tokens of the context; otherwise what the use case wants.
    pub ctx: Option<u64>,
    /// The fewest tokens that will do; otherwise the use case's, otherwise as many as are wanted.
    pub min_ctx: Option<u64>,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does not fit, whatever is given up that may be.
    DoesNotFit,
    /// It fits when something is given up that was wanted.
    Degraded,
    /// It fits, and the CPU computes all of it.
    CpuOnly,
    /// It fits when some layers stay with the CPU.
    Offload,
    /// It fits on the GPU.
    Gpu,
}

impl Verdict {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Gpu => "fits on the GPU",
            Verdict::Offload => "fits with offload",
            Verdict::CpuOnly => "fits, on the CPU only",
            Verdict::Degraded => "fits only degraded",
            Verdict::DoesNotFit => "does not fit",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// In one word.
    pub verdict: Verdict,
    /// What was wanted.
    pub use_case: UseCase,
    /// Tokens that were wanted.
    pub wanted_ctx: u64,
    /// Tokens below which nothing is proposed.
    pub min_ctx: u64,
    /// Tokens that the model was trained for, where its file says so.
    pub trained_ctx: Option<u64>,
    /// How it is to be run; where nothing fits, what comes closest.
    pub setting: Setting,
    /// What that takes.
    pub breakdown: Breakdown,
    /// What is given up of what was wanted; not empty when degraded.
    pub sacrifices: Vec<String>,
    /// What it costs without changing what was wanted, and what to know.
    pub notes: Vec<String>,
    /// What would make it better, the cheapest first.
    pub changes: Vec<String>,
    /// What else there is.
    pub alternatives: Vec<Alternative>,
}

/// One way to run the model, before it is known whether it fits.
#[derive(Debug, Clone)]
struct Step {
    setting: Setting,
    /// What is given up.
    sacrifices: Vec<String>,
    /// What it costs.
    notes: Vec<String>,
}

/// Answers.
///
/// # Errors
/// [`diagnostic::codes::MODEL_INVALID`]: the header lacks what every model has.
pub fn answer(question: &Question<'_>, hardware: &Hardware) -> Result<Answer> {
    let trained = question.header.context_length()?.filter(|tokens| *tokens > 0);
    let wanted = question.ctx.unwrap_or_else(|| question.use_case.ctx(trained)).max(1);
    let floor = question.min_ctx.or(question.use_case.floor()).unwrap_or(wanted);
    // Whoever asks for less than the floor gets the floor.
    let wanted = wanted.max(floor);
    let machine = hardware.within_share();
    let steps = steps(question, wanted);
    let mut found = None;
    for step in &steps {
        if let Some((setting, breakdown)) = place(question.header, &step.setting, &machine)? {
            found = Some((Step { setting, ..step.clone() }, breakdown));
            break;
        }
    }
    if found.is_none() && floor < wanted {
        found = shorter(question.header, &steps, &machine, floor, wanted)?;
    }
    if found.is_none() {
        found = without_margin(question.header, &steps, hardware)?;
    }
    let fits = found.is_some();
    let (mut step, breakdown) = match found {
        Some(found) => found,
        None => closest(question.header, &steps, &machine, floor)?,
    };
    if let Some(trained) = trained.filter(|trained| breakdown.ctx > *trained && wanted > *trained) {
        step.sacrifices.push(format!(
            "answers beyond {trained} tokens: the model was trained for no more, and {wanted} are wanted"
        ));
    }
    let verdict = match (fits, breakdown.gpu_layers) {
        (false, _) => Verdict::DoesNotFit,
        (true, _) if !step.sacrifices.is_empty() => Verdict::Degraded,
        (true, 0) => Verdict::CpuOnly,
        (true, layers) if layers < breakdown.layers || step.setting.cpu_experts != CpuExperts::None => Verdict::Offload,
        (true, _) => Verdict::Gpu,
    };
    if let Some(caveat) = breakdown.certainty.caveat() {
        step.notes.push(caveat.to_owned());
    }
    if hardware.machine.ram.is_none() {
        step.notes.push("nobody knows how much main memory there is: it was not checked".to_owned());
    }
    let mut answer = Answer {
        verdict,
        use_case: question.use_case,
        wanted_ctx: wanted,
        min_ctx: floor,
        trained_ctx: trained,
        setting: step.setting,
        breakdown,
        sacrifices: step.sacrifices,
        notes: step.notes,
        changes: Vec::new(),
        alternatives: Vec::new(),
    };
    answer.alternatives = alternatives::of(question, &answer, hardware)?;
    answer.changes = alternatives::changes(&answer, hardware);
    Ok(with_caches(answer, question.header, &machine))
}

/// What is tried with the context that is wanted, in the order in which it hurts.
fn steps(question: &Question<'_>, wanted: u64) -> Vec<Step> {
    let setting = question.use_case.setting(wanted);
    let plain = Step { setting: setting.clone(), sacrifices: Vec::new(), notes: Vec::new() };
    let small = |step: &Step| Step {
        setting: Setting { ubatch: 128, ..step.setting.clone() },
        notes: vec!["prompts are read 128 tokens at a time and not 512: slower, the same answers".to_owned()],
        ..step.clone()
    };
    let rounded = Step {
        setting: setting.with_kv(KvType::Q8_0),
        sacrifices: vec!["the KV cache is kept in q8_0 and not in f16: answers change a little".to_owned()],
        ..plain.clone()
    };
    let mut steps = vec![plain.clone(), small(&plain)];
    if question.use_case.may_round() {
        steps.extend([rounded.clone(), small(&rounded)]);
    }
    steps
}

/// Where the layers go, so that it fits; `None` when it does not.
fn place(header: &Header, setting: &Setting, machine: &Machine) -> Result<Option<(Setting, Breakdown)>> {
    // A KV type may not suit the model: its heads are no whole blocks. That is no way to run it, then.
    let Ok(whole) = memory::breakdown(header, setting, machine) else {
        return if setting.kv_k == KvType::F16 {
            memory::breakdown(header, setting, machine).map(|_| None)
        } else {
            Ok(None)
        };
    };
    if whole.fits(machine) {
        return Ok(Some((setting.clone(), whole)));
    }
    if machine.gpus.is_empty() {
        return Ok(None);
    }
    if let Some(found) = experts_on_cpu(header, setting, machine, whole.layers)? {
        return Ok(Some(found));
    }
    most_gpu_layers(header, setting, machine)
}

/// The fewest layers whose experts stay in main memory, so that everything else fits on the GPUs: experts are large, and
/// few of them are used for a token.
fn experts_on_cpu(
    header: &Header,
    setting: &Setting,
    machine: &Machine,
    layers: u64,
) -> Result<Option<(Setting, Breakdown)>> {
    if !has_experts(header) {
        return Ok(None);
    }
    let with = |count: u64| -> Result<Option<(Setting, Breakdown)>> {
        let setting = Setting { cpu_experts: CpuExperts::First(count), ..setting.clone() };
        let breakdown = memory::breakdown(header, &setting, machine)?;
        Ok(breakdown.fits(machine).then_some((setting, breakdown)))
    };
    let Some(mut best) = with(layers)? else { return Ok(None) };
    let (mut low, mut high) = (0, layers);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match with(middle)? {
            Some(found) => (high, best) = (middle, found),
            None => low = middle,
        }
    }
    Ok(Some(best))
}

fn has_experts(header: &Header) -> bool {
    header.tensors.iter().any(|tensor| tensor.name.contains("_exps."))
}

/// The longest context that fits, between the floor and what is wanted.
fn shorter(
    header: &Header,
    steps: &[Step],
    machine: &Machine,
    floor: u64,
    wanted: u64,
) -> Result<Option<(Step, Breakdown)>> {
    for step in steps {
        // As much on the CPU as there may be: where that does not fit, nothing does.
        let setting = Setting { gpu_layers: GpuLayers::Last(0), ..step.setting.clone() };
        let on_cpu = longest_context(header, &setting, machine, floor, wanted).unwrap_or(None).map(|(ctx, _)| ctx);
        let on_gpu = longest_context(header, &step.setting, machine, floor, wanted).unwrap_or(None);
        let ctx = on_gpu.map(|(ctx, _)| ctx).max(on_cpu);
        let Some(ctx) = ctx else { continue };
        let setting = Setting { ctx, ..step.setting.clone() };
        if let Some((setting, breakdown)) = place(header, &setting, machine)? {
            let mut step = Step { setting, ..step.clone() };
            step.sacrifices.push(format!("a context of {ctx} tokens, and not of {wanted}"));
            return Ok(Some((step, breakdown)));
        }
    }
    Ok(None)
}

/// What fits when nothing is left free.
fn without_margin(header: &Header, steps: &[Step], hardware: &Hardware) -> Result<Option<(Step, Breakdown)>> {
    for step in steps {
        if let Some((setting, breakdown)) = place(header, &step.setting, &hardware.machine)? {
            let mut step = Step { setting, ..step.clone() };
            step.sacrifices.push(format!(
                "more than {SHARE} % of the memory is taken: what other programs take meanwhile may end it"
            ));
            return Ok(Some((step, breakdown)));
        }
    }
    Ok(None)
}

/// What needs the least of all that may be tried.
fn closest(header: &Header, steps: &[Step], machine: &Machine, floor: u64) -> Result<(Step, Breakdown)> {
    let mut best: Option<(Step, Breakdown)> = None;
    for step in steps {
        let setting = Setting { ctx: floor, gpu_layers: GpuLayers::Last(0), ..step.setting.clone() };
        let Ok(breakdown) = memory::breakdown(header, &setting, machine) else { continue };
        if best.as_ref().is_none_or(|(_, best)| breakdown.total() < best.total()) {
            best = Some((Step { setting, ..step.clone() }, breakdown));
        }
    }
    match best {
        Some(best) => Ok(best),
        // The error of the first one: the header lacks what every model has.
        None => {
            let breakdown = memory::breakdown(header, &steps[0].setting, machine)?;
            Ok((steps[0].clone(), breakdown))
        }
    }
}

/// llama-server's own limit of the prompts that it keeps, in MiB.
const PROMPTS_MIB: u64 = 8192;
/// llama-server's own limit of the states that it keeps for each slot.
pub(crate) const CHECKPOINTS: u64 = 32;

/// Gives half of the memory that is left to llama-server's caches, which are worth having and grow with use.
fn with_caches(mut answer: Answer, header: &Header, machine: &Machine) -> Answer {
    let used = if machine.unified { answer.breakdown.total() } else { answer.breakdown.host().total() };
    let Some(left) = machine.ram.map(|ram| ram.saturating_sub(used)) else { return answer };
    let mut setting = answer.setting.clone();
    setting.checkpoints = CHECKPOINTS;
    let one = memory::breakdown(header, &setting, machine)
        .map_or(0, |with| with.bytes(memory::Part::Checkpoints) / CHECKPOINTS / setting.sequences.max(1));
    let all = one.saturating_mul(setting.sequences);
    setting.checkpoints = (left / 4).checked_div(all).unwrap_or(CHECKPOINTS).min(CHECKPOINTS);
    let left = left.saturating_sub(all.saturating_mul(setting.checkpoints));
    setting.prompt_cache_mib = ((left / 2) >> 20).min(PROMPTS_MIB);
    if let Ok(breakdown) = memory::breakdown(header, &setting, machine) {
        (answer.setting, answer.breakdown) = (setting, breakdown);
    }
    answer
}
