//! Models beside the model: one that looks at pictures, one that guesses.

use diagnostic::Result;
use gguf::Header;

use super::breakdown::{Part, Usage};
use super::machine::Machine;
use super::setting::Setting;
use super::split::Place;
use super::{breakdown, parameters};

/// What runs beside a model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Companions<'a> {
    /// The header of llama-server's `--mmproj`.
    pub mmproj: Option<&'a Header>,
    /// llama-server's `--model-draft`.
    pub draft: Option<Draft<'a>>,
}

/// A draft model, with the setting that it gets: its context is that of the model, its other options are its own.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Its header.
    pub header: &'a Header,
    /// How it is run.
    pub setting: &'a Setting,
}

/// Adds what the companions take.
pub(super) fn add(
    devices: &mut [Usage],
    companions: &Companions<'_>,
    setting: &Setting,
    machine: &Machine,
) -> Result<()> {
    if let Some(header) = companions.mmproj {
        // It goes to the first GPU, all of it (`--mmproj-offload`).
        let device = usize::from(!machine.gpus.is_empty());
        let weights = header.tensors.iter().map(|tensor| tensor.bytes).fold(0, u64::saturating_add);
        devices[device].push(Part::Mmproj, weights, "the weights of the vision model");
        let picture = picture(header).ok_or_else(|| parameters::invalid("it is no vision model"))?;
        devices[device].push(Part::Mmproj, picture, "about, for a picture of the size that it was made for");
    }
    if let Some(draft) = companions.draft {
        let ctx = if draft.setting.ctx == 0 { setting.ctx } else { draft.setting.ctx };
        let own = breakdown(draft.header, &Setting { ctx, ..draft.setting.clone() }, machine)?;
        for (usage, of_draft) in devices.iter_mut().zip(&own.devices) {
            // The driver is there once.
            let bytes = of_draft.total() - of_draft.bytes(Part::Overhead);
            let what = match usage.place {
                Place::Host => "weights, KV cache and buffers of the draft model",
                Place::Gpu(_) => "its layers' weights, KV cache and buffers",
            };
            usage.push(Part::Draft, bytes, what);
        }
    }
    Ok(())
}

/// About what it takes to look at one picture: activations of all its patches, with the scores of all heads. Models that
/// take pictures of any size may take more.
fn picture(header: &Header) -> Option<u64> {
    let number = |key: &str| header.metadata.get(&format!("clip.vision.{key}"))?.as_u64();
    let side = number("image_size")?.checked_div(number("patch_size")?)?;
    let patches = side.checked_mul(side)?;
    let (n_embd, n_ff) = (number("embedding_length")?, number("feed_forward_length")?);
    let heads = number("attention.head_count")?;
    let activations = n_embd.checked_mul(8)?.checked_add(n_ff.checked_mul(2)?)?;
    let scores = patches.checked_mul(heads)?;
    patches.checked_mul(activations.checked_add(scores)?)?.checked_mul(4)
}
