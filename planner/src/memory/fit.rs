//! What fits: the most layers on the GPUs, the longest context.

use diagnostic::Result;
use gguf::Header;

use super::breakdown;
use super::breakdown::Breakdown;
use super::kv::CELLS;
use super::machine::Machine;
use super::setting::{GpuLayers, Setting};
use super::split::Place;

/// The setting with the most layers on the GPUs that these can hold, and what that takes; `None` when it does not fit
/// with any number, or main memory cannot hold the rest.
///
/// # Errors
/// As [`super::breakdown`].
pub fn most_gpu_layers(header: &Header, setting: &Setting, machine: &Machine) -> Result<Option<(Setting, Breakdown)>> {
    let with = |count: u64| -> Result<(Setting, Breakdown)> {
        let setting = Setting { gpu_layers: GpuLayers::Last(count), ..setting.clone() };
        let breakdown = breakdown(header, &setting, machine)?;
        Ok((setting, breakdown))
    };
    let all = with(u64::from(u32::MAX))?.1.layers;
    // The more layers, the more the GPUs hold, and the less main memory does.
    let best = largest(0, all, 1, |count| {
        let (setting, breakdown) = with(count)?;
        let on_gpus = breakdown.shortfalls(machine).iter().any(|short| short.place != Place::Host);
        Ok((!on_gpus).then_some((setting, breakdown)))
    })?;
    Ok(best.map(|(_, found)| found).filter(|(_, breakdown)| breakdown.fits(machine)))
}

/// The longest context of at least `least` and at most `most` tokens with which it fits, in steps of llama.cpp's rounding,
/// and what that takes; `None` when it does not fit with `least`.
///
/// # Errors
/// As [`super::breakdown`].
pub fn longest_context(
    header: &Header,
    setting: &Setting,
    machine: &Machine,
    least: u64,
    most: u64,
) -> Result<Option<(u64, Breakdown)>> {
    largest(least.max(1), most.max(least), CELLS, |ctx| {
        let breakdown = breakdown(header, &Setting { ctx, ..setting.clone() }, machine)?;
        Ok(breakdown.fits(machine).then_some(breakdown))
    })
}

/// The largest number from `least` to `most` for which there is a value, given that there is one for all that are smaller.
/// Between the two only multiples of `step` are tried.
fn largest<T>(
    least: u64,
    most: u64,
    step: u64,
    mut value: impl FnMut(u64) -> Result<Option<T>>,
) -> Result<Option<(u64, T)>> {
    if let Some(found) = value(most)? {
        return Ok(Some((most, found)));
    }
    let Some(found) = value(least)? else { return Ok(None) };
    let mut best = (least, found);
    // In steps: `low` is known to be good, `high` not.
    let (mut low, mut high) = (least / step, most.div_ceil(step));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match value(middle * step)? {
            Some(found) => (low, best) = (middle, (middle * step, found)),
            None => high = middle,
        }
    }
    Ok(Some(best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_is_found_between_the_ends() {
        for good in [0, 1, 255, 256, 700, 1024] {
            let found = largest(100, 1024, 256, |n| Ok((n <= good).then_some(n))).unwrap();
            let expected = (good >= 100).then(|| if good == 1024 { 1024 } else { (good / 256 * 256).max(100) });
            assert_eq!(found.map(|(n, _)| n), expected, "{good}");
        }
    }
}
