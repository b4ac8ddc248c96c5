//! How much memory a context and a prompt cache may take, so that the kernel does not end us under load.

use std::path::{Path, PathBuf};

use diagnostic::Result;
use gguf::{Header, ModelFiles};
use planner::memory::{Demand, Machine, Repacks, Setting, gigabytes, longest_context};

/// llama-server's own limit of its prompt cache, in MiB.
const PROMPT_CACHE_MIB: u64 = 8192;
/// The shortest context that is worth serving, in tokens.
const LEAST_TOKENS: u64 = 512;

/// What is known of a model before it is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Of a model in parts, the first one: llama.cpp takes no other.
    pub(crate) path: PathBuf,
    /// Of all parts.
    pub(crate) bytes: u64,
    pub(crate) header: Header,
}

impl Model {
    /// Reads the header.
    ///
    /// # Errors
    /// There is no such model, it is damaged, or it was written for another kind of machine.
    pub(crate) fn open(path: &Path) -> Result<Model> {
        let files = ModelFiles::open_loadable(path)?;
        let bytes = files.bytes().expect("files have sizes");
        let first = files.paths(path).swap_remove(0);
        Ok(Model { path: first, bytes, header: files.header })
    }
}

/// A number, and why it is that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Because {
    pub(crate) value: u64,
    pub(crate) why: String,
}

/// What the server may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Tokens of all requests together; `None` leaves it to llama-server.
    pub(crate) ctx: Option<Because>,
    /// MiB of prompts that are kept for requests to come; `None` leaves it to llama-server.
    pub(crate) prompt_cache: Option<Because>,
    /// What the model takes with that context.
    pub(crate) demand: Demand,
}

/// Shares the `available` bytes out: weights and buffers first, then the context, then the prompt cache.
///
/// A context that was asked for (`asked`, in tokens) is taken or refused. Otherwise it is what the model was trained for,
/// within half of what weights and buffers leave. The prompt cache gets half of what is left then, at most what
/// llama-server takes by itself. `setting` is how the model is run otherwise; its context does not count.
///
/// # Errors
/// [`diagnostic::codes::MODEL_TOO_LARGE`]: it does not fit with the context that was asked for, or with one of 512 tokens.
pub(crate) fn share(model: &Model, available: Option<u64>, asked: Option<u64>, setting: &Setting) -> Result<Share> {
    let demand = |ctx: u64| Demand::of(&model.header, model.bytes, &Setting { ctx, ..setting.clone() });
    let Some(available) = available else {
        return Ok(Share { ctx: None, prompt_cache: None, demand: demand(asked.unwrap_or(LEAST_TOKENS)) });
    };
    let least = demand(asked.unwrap_or(LEAST_TOKENS));
    least.check(model.path.display(), available)?;
    let ctx = match asked {
        Some(_) => None,
        None => context(model, setting, least.total(), available)?,
    };
    let demand = ctx.as_ref().map_or(least, |ctx| demand(ctx.value));
    let left = available.saturating_sub(demand.total());
    let mib = ((left / 2) >> 20).min(PROMPT_CACHE_MIB);
    let why = match mib {
        PROMPT_CACHE_MIB => "as llama-server has it".to_owned(),
        _ => format!("half of the {} that are left", gigabytes(left)),
    };
    Ok(Share { ctx, prompt_cache: Some(Because { value: mib, why }), demand })
}

/// The longest context that takes half of what the shortest one (`least` bytes in all) leaves of `available`; `None` when
/// the file does not tell what it needs.
fn context(model: &Model, setting: &Setting, least: u64, available: u64) -> Result<Option<Because>> {
    let left = available - least;
    let Some(trained) = model.header.context_length()? else { return Ok(None) };
    let machine = Machine::cpu_only(Some(least + left / 2), Repacks::Avx512);
    let Ok(found) = longest_context(&model.header, setting, &machine, LEAST_TOKENS.min(trained), trained) else {
        return Ok(None);
    };
    let fits = found.map_or(LEAST_TOKENS, |(tokens, _)| tokens);
    if trained <= fits {
        return Ok(Some(Because { value: trained, why: "what the model was trained for".to_owned() }));
    }
    let why = format!("of the {trained} that the model was trained for, what fits into half of {}", gigabytes(left));
    Ok(Some(Because { value: fits.max(LEAST_TOKENS), why }))
}

#[cfg(test)]
mod tests {
    use diagnostic::codes;
    use gguf::model::{Quant, Shape, plan};

    use super::*;

    const GB: u64 = 1_000_000_000;

    /// The reference workload: 6.5 GB of weights, 196608 bytes of KV cache per token, trained for 4096 tokens or more.
    fn model() -> Model {
        let plan = plan(Shape::Solar10B7, Quant::Q4KM, 1);
        let header = Header {
            version: gguf::VERSION,
            metadata: plan.metadata,
            tensors: plan.tensors,
            data_offset: plan.data_offset,
        };
        Model { path: "solar.gguf".into(), bytes: plan.file_bytes, header }
    }

    fn shared(available: u64, asked: Option<u64>) -> (Option<u64>, Option<u64>) {
        let share = share(&model(), Some(available), asked, &Setting::server(0)).unwrap();
        assert!(share.demand.total() + (share.prompt_cache.as_ref().unwrap().value << 20) <= available);
        (share.ctx.map(|ctx| ctx.value), share.prompt_cache.map(|cache| cache.value))
    }

    #[test]
    fn a_large_machine_gets_all_that_the_model_was_trained_for() {
        let trained = model().header.context_length().unwrap().unwrap();
        assert_eq!(shared(512 * GB, None), (Some(trained), Some(8192)));
    }

    #[test]
    fn a_pod_gets_what_fits_and_the_prompt_cache_is_bounded() {
        let (ctx, cache) = shared(8 * GB, None);
        let (ctx, cache) = (ctx.unwrap(), cache.unwrap());
        assert!(ctx >= 512 && ctx % 256 == 0, "{ctx}");
        assert!(cache < 600, "{cache}");
        assert_eq!(shared(9 * GB, Some(2048)).0, None, "what was asked for is not set twice");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |available, asked| share(&model(), Some(available), asked, &Setting::server(0)).unwrap_err();
        assert_eq!(refused(6 * GB, None).code(), codes::MODEL_TOO_LARGE);
        let error = refused(8 * GB, Some(32_768));
        assert!(error.to_string().contains("KV cache of 32768 tokens 6.4 GB"), "{error}");
    }

    #[test]
    fn a_machine_that_does_not_say_what_it_has_decides_nothing() {
        let share = share(&model(), None, None, &Setting::server(0)).unwrap();
        assert_eq!((share.ctx, share.prompt_cache), (None, None));
    }
}
