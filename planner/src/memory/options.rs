//! llama-server's options, as far as memory depends on them.

use super::setting::{CpuExperts, FlashAttention, GpuLayers, KvType, Load, Setting};

impl Setting {
    /// Takes over one of llama-server's options, by name and with its value. `false` when memory does not depend on
    /// an option of this name.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn option(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let number =
            || value.parse::<u64>().map_err(|_| format!("`{name}` takes a number, not `{}`", value.escape_debug()));
        match long(name) {
            "--ctx-size" => self.ctx = number()?,
            "--cache-type-k" => self.kv_k = value.parse::<KvType>()?,
            "--cache-type-v" => self.kv_v = value.parse::<KvType>()?,
            "--batch-size" => self.batch = number()?,
            "--ubatch-size" => self.ubatch = number()?,
            // Without a number of slots llama-server takes four, and one cache for all.
            "--parallel" if value.starts_with('-') => (self.sequences, self.kv_unified) = (4, true),
            "--parallel" => (self.sequences, self.kv_unified) = (number()?.max(1), false),
            "--kv-unified" => self.kv_unified = true,
            "--no-kv-unified" => self.kv_unified = false,
            "--flash-attn" => {
                self.flash_attention = match value {
                    "auto" | "-1" => FlashAttention::Auto,
                    "on" | "1" | "true" | "enabled" => FlashAttention::On,
                    "off" | "0" | "false" | "disabled" => FlashAttention::Off,
                    _ => return Err(format!("`{name}` is `on`, `off` or `auto`, not `{}`", value.escape_debug())),
                }
            }
            "--n-gpu-layers" => {
                self.gpu_layers = match value {
                    "auto" | "all" | "-1" => GpuLayers::All,
                    _ => GpuLayers::Last(number()?),
                }
            }
            "--tensor-split" => {
                let shares = value.split([',', '/']).map(|share| share.trim().parse::<f32>().ok());
                let shares: Option<Vec<f32>> = shares.map(|share| share.filter(|share| *share >= 0.0)).collect();
                self.tensor_split = shares.ok_or_else(|| format!("`{name}` takes numbers such as `3,1`"))?;
            }
            "--cpu-moe" => self.cpu_experts = CpuExperts::All,
            "--n-cpu-moe" => self.cpu_experts = CpuExperts::First(number()?),
            "--kv-offload" => self.kv_offload = true,
            "--no-kv-offload" => self.kv_offload = false,
            "--swa-full" => self.swa_full = true,
            "--repack" => self.repack = true,
            "--no-repack" => self.repack = false,
            "--load-mode" if value.starts_with("mmap") || value == "auto" => self.load = Load::Mapped,
            "--load-mode" => self.load = Load::Read,
            // No limit is a limit that nobody reaches.
            "--cache-ram" if value.starts_with('-') => self.prompt_cache_mib = 1 << 40,
            "--cache-ram" => self.prompt_cache_mib = number()?,
            "--ctx-checkpoints" => self.checkpoints = number()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The variable that llama-server reads for an option when it is not given, and the option; both from common/arg.cpp.
pub const VARIABLES: [(&str, &str); 13] = [
    ("LLAMA_ARG_CTX_SIZE", "--ctx-size"),
    ("LLAMA_ARG_CACHE_TYPE_K", "--cache-type-k"),
    ("LLAMA_ARG_CACHE_TYPE_V", "--cache-type-v"),
    ("LLAMA_ARG_BATCH", "--batch-size"),
    ("LLAMA_ARG_UBATCH", "--ubatch-size"),
    ("LLAMA_ARG_N_PARALLEL", "--parallel"),
    ("LLAMA_ARG_KV_UNIFIED", "--kv-unified"),
    ("LLAMA_ARG_FLASH_ATTN", "--flash-attn"),
    ("LLAMA_ARG_N_GPU_LAYERS", "--n-gpu-layers"),
    ("LLAMA_ARG_TENSOR_SPLIT", "--tensor-split"),
    ("LLAMA_ARG_SWA_FULL", "--swa-full"),
    ("LLAMA_ARG_CACHE_RAM", "--cache-ram"),
    ("LLAMA_ARG_CTX_CHECKPOINTS", "--ctx-checkpoints"),
];

/// The long name of an option.
fn long(name: &str) -> &str {
    match name {
        "-c" => "--ctx-size",
        "-ctk" => "--cache-type-k",
        "-ctv" => "--cache-type-v",
        "-b" => "--batch-size",
        "-ub" => "--ubatch-size",
        "-np" => "--parallel",
        "-kvu" => "--kv-unified",
        "-no-kvu" => "--no-kv-unified",
        "-fa" => "--flash-attn",
        "-ngl" | "--gpu-layers" => "--n-gpu-layers",
        "-ts" => "--tensor-split",
        "-cmoe" => "--cpu-moe",
        "-ncmoe" => "--n-cpu-moe",
        "-kvo" => "--kv-offload",
        "-nkvo" => "--no-kv-offload",
        "-nr" => "--no-repack",
        "-lm" => "--load-mode",
        "-cram" => "--cache-ram",
        "-ctxcp" | "--swa-checkpoints" => "--ctx-checkpoints",
        long => long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_over_and_wrong_ones_are_told() {
        let mut setting = Setting::server(0);
        for (name, value) in
            [("--ctx-size", "32768"), ("--cache-type-k", "q8_0"), ("--parallel", "2"), ("--n-gpu-layers", "10")]
        {
            assert_eq!(setting.option(name, value), Ok(true), "{name}");
        }
        assert_eq!((setting.ctx, setting.kv_k, setting.sequences, setting.kv_unified), (32768, KvType::Q8_0, 2, false));
        assert_eq!(setting.gpu_layers, GpuLayers::Last(10));
        assert_eq!(setting.option("--temp", "0.7"), Ok(false));
        for (name, value) in
            [("--cache-type-v", "q3_k"), ("--ctx-size", "-1"), ("--flash-attn", "maybe"), ("--tensor-split", "a")]
        {
            assert!(setting.option(name, value).is_err(), "{name}");
        }
    }
}
