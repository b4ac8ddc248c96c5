//! The machine that a model is to run on, as far as memory depends on it.

use gguf::TensorInfo;
use gguf::TensorType;
use serde::{Deserialize, Serialize};

/// What a machine has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Bytes of main memory that may be taken; `None` when nobody knows.
    pub ram: Option<u64>,
    /// Its GPUs, in llama.cpp's order.
    pub gpus: Vec<Gpu>,
    /// Whether main memory and GPUs are one pool: Apple, Jetson, integrated GPUs. Then `ram` is the pool, and the memory
    /// of a GPU the part of it that the GPU may use.
    pub unified: bool,
    /// Which weights its CPU wants rearranged.
    pub repacks: Repacks,
}

impl Machine {
    /// A machine without a GPU that has `ram` bytes of main memory to give.
    pub fn cpu_only(ram: Option<u64>, repacks: Repacks) -> Machine {
        Machine { ram, gpus: Vec::new(), unified: false, repacks }
    }
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// What it is called.
    pub name: String,
    /// Bytes of its memory that may be taken.
    pub memory: u64,
    /// Bytes that its driver takes for our process beside what llama.cpp allocates: about 300 to 500 MiB with CUDA, which
    /// llama.cpp's own account lists as "unaccounted".
    pub driver: u64,
    /// Whether the GPU turns a quantised KV cache into f16 before it computes with it, which takes room for one layer of
    /// the context: CUDA and HIP for prompts.
    pub unpacks_kv: bool,
}

impl Gpu {
    /// What a CUDA context was seen to take at most: the upper end of public reports.
    pub const CUDA_DRIVER: u64 = 500 << 20;

    /// A GPU of NVIDIA.
    pub fn cuda(name: impl Into<String>, memory: u64) -> Gpu {
        Gpu { name: name.into(), memory, driver: Gpu::CUDA_DRIVER, unpacks_kv: true }
    }
}

/// Which types of weights the CPU backend rearranges when it loads them: `ggml_repack_get_optimal_repack_type` in
/// ggml/src/ggml-cpu/repack.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repacks {
    /// None: a CPU without such instructions, or one that nobody knows.
    Nothing,
    /// x86 with AVX2.
    Avx2,
    /// x86 with AVX-512.
    Avx512,
    /// Arm with dot product or int8 matrix instructions.
    Neon,
}

impl Repacks {
    /// Whether a matrix is rearranged, given that it is multiplied with.
    pub fn takes(self, tensor: &TensorInfo) -> bool {
        use TensorType::{Iq4Nl, Mxfp4, Q2K, Q4_0, Q4K, Q5K, Q6K, Q8_0};
        let rows = tensor.dims.get(1).copied().unwrap_or(1);
        let every = match (self, tensor.tensor_type) {
            (Repacks::Avx2 | Repacks::Avx512, Q4_0 | Q4K | Iq4Nl | Mxfp4) | (Repacks::Avx512, Q2K) => 8,
            (Repacks::Neon, Q4K | Q5K | Q6K) => 8,
            (Repacks::Neon, Q4_0 | Q8_0 | Iq4Nl | Mxfp4) => 4,
            _ => return false,
        };
        tensor.dims.len() >= 2 && rows % every == 0
    }
}
