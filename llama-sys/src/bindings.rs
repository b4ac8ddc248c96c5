//! Made by `cargo xtask codegen bindings` from the pinned headers of llama.cpp; not edited by hand.

#[derive(PartialEq, Eq, Copy, Clone, Debug, Hash)]
#[repr(C, align(8))]
pub struct __BindgenOpaqueArray8<T>(pub T);
impl<T: Copy + Default, const N: usize> Default for __BindgenOpaqueArray8<[T; N]> {
    fn default() -> Self {
        Self([<T as Default>::default(); N])
    }
}
impl ggml_type {
    pub const GGML_TYPE_F32: ggml_type = ggml_type(0);
    pub const GGML_TYPE_F16: ggml_type = ggml_type(1);
    pub const GGML_TYPE_Q4_0: ggml_type = ggml_type(2);
    pub const GGML_TYPE_Q4_1: ggml_type = ggml_type(3);
    pub const GGML_TYPE_Q5_0: ggml_type = ggml_type(6);
    pub const GGML_TYPE_Q5_1: ggml_type = ggml_type(7);
    pub const GGML_TYPE_Q8_0: ggml_type = ggml_type(8);
    pub const GGML_TYPE_Q8_1: ggml_type = ggml_type(9);
    pub const GGML_TYPE_Q2_K: ggml_type = ggml_type(10);
    pub const GGML_TYPE_Q3_K: ggml_type = ggml_type(11);
    pub const GGML_TYPE_Q4_K: ggml_type = ggml_type(12);
    pub const GGML_TYPE_Q5_K: ggml_type = ggml_type(13);
    pub const GGML_TYPE_Q6_K: ggml_type = ggml_type(14);
    pub const GGML_TYPE_Q8_K: ggml_type = ggml_type(15);
    pub const GGML_TYPE_IQ2_XXS: ggml_type = ggml_type(16);
    pub const GGML_TYPE_IQ2_XS: ggml_type = ggml_type(17);
    pub const GGML_TYPE_IQ3_XXS: ggml_type = ggml_type(18);
    pub const GGML_TYPE_IQ1_S: ggml_type = ggml_type(19);
    pub const GGML_TYPE_IQ4_NL: ggml_type = ggml_type(20);
    pub const GGML_TYPE_IQ3_S: ggml_type = ggml_type(21);
    pub const GGML_TYPE_IQ2_S: ggml_type = ggml_type(22);
    pub const GGML_TYPE_IQ4_XS: ggml_type = ggml_type(23);
    pub const GGML_TYPE_I8: ggml_type = ggml_type(24);
    pub const GGML_TYPE_I16: ggml_type = ggml_type(25);
    pub const GGML_TYPE_I32: ggml_type = ggml_type(26);
    pub const GGML_TYPE_I64: ggml_type = ggml_type(27);
    pub const GGML_TYPE_F64: ggml_type = ggml_type(28);
    pub const GGML_TYPE_IQ1_M: ggml_type = ggml_type(29);
    pub const GGML_TYPE_BF16: ggml_type = ggml_type(30);
    pub const GGML_TYPE_TQ1_0: ggml_type = ggml_type(34);
    pub const GGML_TYPE_TQ2_0: ggml_type = ggml_type(35);
    pub const GGML_TYPE_MXFP4: ggml_type = ggml_type(39);
    pub const GGML_TYPE_NVFP4: ggml_type = ggml_type(40);
    pub const GGML_TYPE_Q1_0: ggml_type = ggml_type(41);
    pub const GGML_TYPE_Q2_0: ggml_type = ggml_type(42);
    pub const GGML_TYPE_COUNT: ggml_type = ggml_type(43);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct ggml_type(pub ::core::ffi::c_uint);
impl ggml_log_level {
    pub const GGML_LOG_LEVEL_NONE: ggml_log_level = ggml_log_level(0);
    pub const GGML_LOG_LEVEL_DEBUG: ggml_log_level = ggml_log_level(1);
    pub const GGML_LOG_LEVEL_INFO: ggml_log_level = ggml_log_level(2);
    pub const GGML_LOG_LEVEL_WARN: ggml_log_level = ggml_log_level(3);
    pub const GGML_LOG_LEVEL_ERROR: ggml_log_level = ggml_log_level(4);
    pub const GGML_LOG_LEVEL_CONT: ggml_log_level = ggml_log_level(5);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct ggml_log_level(pub ::core::ffi::c_uint);
#[repr(C)]
#[repr(align(8))]
#[derive(Copy, Clone)]
pub struct ggml_tensor {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 336usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_tensor"][::core::mem::size_of::<ggml_tensor>() - 336usize];
    ["Alignment of ggml_tensor"][::core::mem::align_of::<ggml_tensor>() - 8usize];
};
pub type ggml_abort_callback =
    ::core::option::Option<unsafe extern "C-unwind" fn(data: *mut ::core::ffi::c_void) -> bool>;
pub type ggml_log_callback = ::core::option::Option<
    unsafe extern "C-unwind" fn(
        level: ggml_log_level,
        text: *const ::core::ffi::c_char,
        user_data: *mut ::core::ffi::c_void,
    ),
>;
impl ggml_sched_priority {
    pub const GGML_SCHED_PRIO_LOW: ggml_sched_priority = ggml_sched_priority(-1);
    pub const GGML_SCHED_PRIO_NORMAL: ggml_sched_priority = ggml_sched_priority(0);
    pub const GGML_SCHED_PRIO_MEDIUM: ggml_sched_priority = ggml_sched_priority(1);
    pub const GGML_SCHED_PRIO_HIGH: ggml_sched_priority = ggml_sched_priority(2);
    pub const GGML_SCHED_PRIO_REALTIME: ggml_sched_priority = ggml_sched_priority(3);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct ggml_sched_priority(pub ::core::ffi::c_int);
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_threadpool_params {
    pub cpumask: [bool; 512usize],
    pub n_threads: ::core::ffi::c_int,
    pub prio: ggml_sched_priority,
    pub poll: u32,
    pub strict_cpu: bool,
    pub paused: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_threadpool_params"][::core::mem::size_of::<ggml_threadpool_params>() - 528usize];
    ["Alignment of ggml_threadpool_params"][::core::mem::align_of::<ggml_threadpool_params>() - 4usize];
    ["Offset of field: ggml_threadpool_params::cpumask"]
        [::core::mem::offset_of!(ggml_threadpool_params, cpumask) - 0usize];
    ["Offset of field: ggml_threadpool_params::n_threads"]
        [::core::mem::offset_of!(ggml_threadpool_params, n_threads) - 512usize];
    ["Offset of field: ggml_threadpool_params::prio"][::core::mem::offset_of!(ggml_threadpool_params, prio) - 516usize];
    ["Offset of field: ggml_threadpool_params::poll"][::core::mem::offset_of!(ggml_threadpool_params, poll) - 520usize];
    ["Offset of field: ggml_threadpool_params::strict_cpu"]
        [::core::mem::offset_of!(ggml_threadpool_params, strict_cpu) - 524usize];
    ["Offset of field: ggml_threadpool_params::paused"]
        [::core::mem::offset_of!(ggml_threadpool_params, paused) - 525usize];
};
#[repr(C)]
#[derive(Debug)]
pub struct ggml_threadpool {
    _unused: [u8; 0],
}
pub type ggml_threadpool_t = *mut ggml_threadpool;
unsafe extern "C-unwind" {
    pub fn ggml_threadpool_params_default(n_threads: ::core::ffi::c_int) -> ggml_threadpool_params;
}
#[repr(C)]
#[derive(Debug)]
pub struct ggml_backend_buffer_type {
    _unused: [u8; 0],
}
pub type ggml_backend_buffer_type_t = *mut ggml_backend_buffer_type;
#[repr(C)]
#[derive(Debug)]
pub struct ggml_backend_reg {
    _unused: [u8; 0],
}
pub type ggml_backend_reg_t = *mut ggml_backend_reg;
#[repr(C)]
#[derive(Debug)]
pub struct ggml_backend_device {
    _unused: [u8; 0],
}
pub type ggml_backend_dev_t = *mut ggml_backend_device;
impl ggml_backend_dev_type {
    pub const GGML_BACKEND_DEVICE_TYPE_CPU: ggml_backend_dev_type = ggml_backend_dev_type(0);
    pub const GGML_BACKEND_DEVICE_TYPE_GPU: ggml_backend_dev_type = ggml_backend_dev_type(1);
    pub const GGML_BACKEND_DEVICE_TYPE_IGPU: ggml_backend_dev_type = ggml_backend_dev_type(2);
    pub const GGML_BACKEND_DEVICE_TYPE_ACCEL: ggml_backend_dev_type = ggml_backend_dev_type(3);
    pub const GGML_BACKEND_DEVICE_TYPE_META: ggml_backend_dev_type = ggml_backend_dev_type(4);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct ggml_backend_dev_type(pub ::core::ffi::c_uint);
unsafe extern "C-unwind" {
    pub fn ggml_backend_dev_backend_reg(device: ggml_backend_dev_t) -> ggml_backend_reg_t;
}
unsafe extern "C-unwind" {
    pub fn ggml_backend_reg_get_proc_address(
        reg: ggml_backend_reg_t,
        name: *const ::core::ffi::c_char,
    ) -> *mut ::core::ffi::c_void;
}
unsafe extern "C-unwind" {
    pub fn ggml_backend_dev_by_type(type_: ggml_backend_dev_type) -> ggml_backend_dev_t;
}
pub type ggml_backend_sched_eval_callback = ::core::option::Option<
    unsafe extern "C-unwind" fn(t: *mut ggml_tensor, ask: bool, user_data: *mut ::core::ffi::c_void) -> bool,
>;
impl ggml_numa_strategy {
    pub const GGML_NUMA_STRATEGY_DISABLED: ggml_numa_strategy = ggml_numa_strategy(0);
    pub const GGML_NUMA_STRATEGY_DISTRIBUTE: ggml_numa_strategy = ggml_numa_strategy(1);
    pub const GGML_NUMA_STRATEGY_ISOLATE: ggml_numa_strategy = ggml_numa_strategy(2);
    pub const GGML_NUMA_STRATEGY_NUMACTL: ggml_numa_strategy = ggml_numa_strategy(3);
    pub const GGML_NUMA_STRATEGY_MIRROR: ggml_numa_strategy = ggml_numa_strategy(4);
    pub const GGML_NUMA_STRATEGY_COUNT: ggml_numa_strategy = ggml_numa_strategy(5);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct ggml_numa_strategy(pub ::core::ffi::c_uint);
#[repr(C)]
#[derive(Debug)]
pub struct llama_vocab {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct llama_model {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct llama_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct llama_memory_i {
    _unused: [u8; 0],
}
pub type llama_memory_t = *mut llama_memory_i;
pub type llama_pos = i32;
pub type llama_token = i32;
pub type llama_seq_id = i32;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_NONE: llama_vocab_type = 0;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_SPM: llama_vocab_type = 1;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_BPE: llama_vocab_type = 2;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_WPM: llama_vocab_type = 3;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_UGM: llama_vocab_type = 4;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_RWKV: llama_vocab_type = 5;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_PLAMO2: llama_vocab_type = 6;
pub const llama_vocab_type_LLAMA_VOCAB_TYPE_TEST: llama_vocab_type = 7;
pub type llama_vocab_type = ::core::ffi::c_uint;
impl llama_rope_scaling_type {
    pub const LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED: llama_rope_scaling_type = llama_rope_scaling_type(-1);
    pub const LLAMA_ROPE_SCALING_TYPE_NONE: llama_rope_scaling_type = llama_rope_scaling_type(0);
    pub const LLAMA_ROPE_SCALING_TYPE_LINEAR: llama_rope_scaling_type = llama_rope_scaling_type(1);
    pub const LLAMA_ROPE_SCALING_TYPE_YARN: llama_rope_scaling_type = llama_rope_scaling_type(2);
    pub const LLAMA_ROPE_SCALING_TYPE_LONGROPE: llama_rope_scaling_type = llama_rope_scaling_type(3);
    pub const LLAMA_ROPE_SCALING_TYPE_MAX_VALUE: llama_rope_scaling_type = llama_rope_scaling_type(3);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_rope_scaling_type(pub ::core::ffi::c_int);
impl llama_pooling_type {
    pub const LLAMA_POOLING_TYPE_UNSPECIFIED: llama_pooling_type = llama_pooling_type(-1);
    pub const LLAMA_POOLING_TYPE_NONE: llama_pooling_type = llama_pooling_type(0);
    pub const LLAMA_POOLING_TYPE_MEAN: llama_pooling_type = llama_pooling_type(1);
    pub const LLAMA_POOLING_TYPE_CLS: llama_pooling_type = llama_pooling_type(2);
    pub const LLAMA_POOLING_TYPE_LAST: llama_pooling_type = llama_pooling_type(3);
    pub const LLAMA_POOLING_TYPE_RANK: llama_pooling_type = llama_pooling_type(4);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_pooling_type(pub ::core::ffi::c_int);
impl llama_attention_type {
    pub const LLAMA_ATTENTION_TYPE_UNSPECIFIED: llama_attention_type = llama_attention_type(-1);
    pub const LLAMA_ATTENTION_TYPE_CAUSAL: llama_attention_type = llama_attention_type(0);
    pub const LLAMA_ATTENTION_TYPE_NON_CAUSAL: llama_attention_type = llama_attention_type(1);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_attention_type(pub ::core::ffi::c_int);
impl llama_flash_attn_type {
    pub const LLAMA_FLASH_ATTN_TYPE_AUTO: llama_flash_attn_type = llama_flash_attn_type(-1);
    pub const LLAMA_FLASH_ATTN_TYPE_DISABLED: llama_flash_attn_type = llama_flash_attn_type(0);
    pub const LLAMA_FLASH_ATTN_TYPE_ENABLED: llama_flash_attn_type = llama_flash_attn_type(1);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_flash_attn_type(pub ::core::ffi::c_int);
impl llama_split_mode {
    pub const LLAMA_SPLIT_MODE_NONE: llama_split_mode = llama_split_mode(0);
    pub const LLAMA_SPLIT_MODE_LAYER: llama_split_mode = llama_split_mode(1);
    pub const LLAMA_SPLIT_MODE_ROW: llama_split_mode = llama_split_mode(2);
    pub const LLAMA_SPLIT_MODE_TENSOR: llama_split_mode = llama_split_mode(3);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_split_mode(pub ::core::ffi::c_uint);
impl llama_load_mode {
    pub const LLAMA_LOAD_MODE_AUTO: llama_load_mode = llama_load_mode(-1);
    pub const LLAMA_LOAD_MODE_NONE: llama_load_mode = llama_load_mode(0);
    pub const LLAMA_LOAD_MODE_MMAP: llama_load_mode = llama_load_mode(1);
    pub const LLAMA_LOAD_MODE_MLOCK: llama_load_mode = llama_load_mode(2);
    pub const LLAMA_LOAD_MODE_MMAP_MLOCK: llama_load_mode = llama_load_mode(3);
    pub const LLAMA_LOAD_MODE_DIRECT_IO: llama_load_mode = llama_load_mode(4);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_load_mode(pub ::core::ffi::c_int);
impl llama_lazy_mode {
    pub const LLAMA_LAZY_MODE_OFF: llama_lazy_mode = llama_lazy_mode(0);
    pub const LLAMA_LAZY_MODE_AUTO: llama_lazy_mode = llama_lazy_mode(1);
    pub const LLAMA_LAZY_MODE_ON: llama_lazy_mode = llama_lazy_mode(2);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_lazy_mode(pub ::core::ffi::c_uint);
impl llama_context_type {
    pub const LLAMA_CONTEXT_TYPE_DEFAULT: llama_context_type = llama_context_type(0);
    pub const LLAMA_CONTEXT_TYPE_MTP: llama_context_type = llama_context_type(1);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_context_type(pub ::core::ffi::c_uint);
pub type llama_progress_callback =
    ::core::option::Option<unsafe extern "C-unwind" fn(progress: f32, user_data: *mut ::core::ffi::c_void) -> bool>;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_batch {
    pub n_tokens: i32,
    pub token: *mut llama_token,
    pub embd: *mut f32,
    pub pos: *mut llama_pos,
    pub n_seq_id: *mut i32,
    pub seq_id: *mut *mut llama_seq_id,
    pub logits: *mut i8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_batch"][::core::mem::size_of::<llama_batch>() - 56usize];
    ["Alignment of llama_batch"][::core::mem::align_of::<llama_batch>() - 8usize];
    ["Offset of field: llama_batch::n_tokens"][::core::mem::offset_of!(llama_batch, n_tokens) - 0usize];
    ["Offset of field: llama_batch::token"][::core::mem::offset_of!(llama_batch, token) - 8usize];
    ["Offset of field: llama_batch::embd"][::core::mem::offset_of!(llama_batch, embd) - 16usize];
    ["Offset of field: llama_batch::pos"][::core::mem::offset_of!(llama_batch, pos) - 24usize];
    ["Offset of field: llama_batch::n_seq_id"][::core::mem::offset_of!(llama_batch, n_seq_id) - 32usize];
    ["Offset of field: llama_batch::seq_id"][::core::mem::offset_of!(llama_batch, seq_id) - 40usize];
    ["Offset of field: llama_batch::logits"][::core::mem::offset_of!(llama_batch, logits) - 48usize];
};
impl llama_model_kv_override_type {
    pub const LLAMA_KV_OVERRIDE_TYPE_INT: llama_model_kv_override_type = llama_model_kv_override_type(0);
    pub const LLAMA_KV_OVERRIDE_TYPE_FLOAT: llama_model_kv_override_type = llama_model_kv_override_type(1);
    pub const LLAMA_KV_OVERRIDE_TYPE_BOOL: llama_model_kv_override_type = llama_model_kv_override_type(2);
    pub const LLAMA_KV_OVERRIDE_TYPE_STR: llama_model_kv_override_type = llama_model_kv_override_type(3);
}
#[repr(transparent)]
#[derive(Copy, Clone, Hash, PartialEq, Eq)]
pub struct llama_model_kv_override_type(pub ::core::ffi::c_uint);
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_kv_override {
    pub tag: llama_model_kv_override_type,
    pub key: [::core::ffi::c_char; 128usize],
    pub __bindgen_anon_1: llama_model_kv_override__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union llama_model_kv_override__bindgen_ty_1 {
    pub val_i64: i64,
    pub val_f64: f64,
    pub val_bool: bool,
    pub val_str: [::core::ffi::c_char; 128usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_kv_override__bindgen_ty_1"]
        [::core::mem::size_of::<llama_model_kv_override__bindgen_ty_1>() - 128usize];
    ["Alignment of llama_model_kv_override__bindgen_ty_1"]
        [::core::mem::align_of::<llama_model_kv_override__bindgen_ty_1>() - 8usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_i64"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_i64) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_f64"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_f64) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_bool"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_bool) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_str"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_str) - 0usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_kv_override"][::core::mem::size_of::<llama_model_kv_override>() - 264usize];
    ["Alignment of llama_model_kv_override"][::core::mem::align_of::<llama_model_kv_override>() - 8usize];
    ["Offset of field: llama_model_kv_override::tag"][::core::mem::offset_of!(llama_model_kv_override, tag) - 0usize];
    ["Offset of field: llama_model_kv_override::key"][::core::mem::offset_of!(llama_model_kv_override, key) - 4usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_tensor_buft_override {
    pub pattern: *const ::core::ffi::c_char,
    pub buft: ggml_backend_buffer_type_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_tensor_buft_override"][::core::mem::size_of::<llama_model_tensor_buft_override>() - 16usize];
    ["Alignment of llama_model_tensor_buft_override"]
        [::core::mem::align_of::<llama_model_tensor_buft_override>() - 8usize];
    ["Offset of field: llama_model_tensor_buft_override::pattern"]
        [::core::mem::offset_of!(llama_model_tensor_buft_override, pattern) - 0usize];
    ["Offset of field: llama_model_tensor_buft_override::buft"]
        [::core::mem::offset_of!(llama_model_tensor_buft_override, buft) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_params {
    pub devices: *mut ggml_backend_dev_t,
    pub tensor_buft_overrides: *const llama_model_tensor_buft_override,
    pub n_gpu_layers: i32,
    pub split_mode: llama_split_mode,
    pub load_mode: llama_load_mode,
    pub lazy_mode: llama_lazy_mode,
    pub main_gpu: i32,
    pub tensor_split: *const f32,
    pub progress_callback: llama_progress_callback,
    pub progress_callback_user_data: *mut ::core::ffi::c_void,
    pub kv_overrides: *const llama_model_kv_override,
    pub vocab_only: bool,
    pub check_tensors: bool,
    pub use_extra_bufts: bool,
    pub no_host: bool,
    pub no_alloc: bool,
    pub load_mtp: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_params"][::core::mem::size_of::<llama_model_params>() - 80usize];
    ["Alignment of llama_model_params"][::core::mem::align_of::<llama_model_params>() - 8usize];
    ["Offset of field: llama_model_params::devices"][::core::mem::offset_of!(llama_model_params, devices) - 0usize];
    ["Offset of field: llama_model_params::tensor_buft_overrides"]
        [::core::mem::offset_of!(llama_model_params, tensor_buft_overrides) - 8usize];
    ["Offset of field: llama_model_params::n_gpu_layers"]
        [::core::mem::offset_of!(llama_model_params, n_gpu_layers) - 16usize];
    ["Offset of field: llama_model_params::split_mode"]
        [::core::mem::offset_of!(llama_model_params, split_mode) - 20usize];
    ["Offset of field: llama_model_params::load_mode"]
        [::core::mem::offset_of!(llama_model_params, load_mode) - 24usize];
    ["Offset of field: llama_model_params::lazy_mode"]
        [::core::mem::offset_of!(llama_model_params, lazy_mode) - 28usize];
    ["Offset of field: llama_model_params::main_gpu"][::core::mem::offset_of!(llama_model_params, main_gpu) - 32usize];
    ["Offset of field: llama_model_params::tensor_split"]
        [::core::mem::offset_of!(llama_model_params, tensor_split) - 40usize];
    ["Offset of field: llama_model_params::progress_callback"]
        [::core::mem::offset_of!(llama_model_params, progress_callback) - 48usize];
    ["Offset of field: llama_model_params::progress_callback_user_data"]
        [::core::mem::offset_of!(llama_model_params, progress_callback_user_data) - 56usize];
    ["Offset of field: llama_model_params::kv_overrides"]
        [::core::mem::offset_of!(llama_model_params, kv_overrides) - 64usize];
    ["Offset of field: llama_model_params::vocab_only"]
        [::core::mem::offset_of!(llama_model_params, vocab_only) - 72usize];
    ["Offset of field: llama_model_params::check_tensors"]
        [::core::mem::offset_of!(llama_model_params, check_tensors) - 73usize];
    ["Offset of field: llama_model_params::use_extra_bufts"]
        [::core::mem::offset_of!(llama_model_params, use_extra_bufts) - 74usize];
    ["Offset of field: llama_model_params::no_host"][::core::mem::offset_of!(llama_model_params, no_host) - 75usize];
    ["Offset of field: llama_model_params::no_alloc"][::core::mem::offset_of!(llama_model_params, no_alloc) - 76usize];
    ["Offset of field: llama_model_params::load_mtp"][::core::mem::offset_of!(llama_model_params, load_mtp) - 77usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler_seq_config {
    pub seq_id: llama_seq_id,
    pub sampler: *mut llama_sampler,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler_seq_config"][::core::mem::size_of::<llama_sampler_seq_config>() - 16usize];
    ["Alignment of llama_sampler_seq_config"][::core::mem::align_of::<llama_sampler_seq_config>() - 8usize];
    ["Offset of field: llama_sampler_seq_config::seq_id"]
        [::core::mem::offset_of!(llama_sampler_seq_config, seq_id) - 0usize];
    ["Offset of field: llama_sampler_seq_config::sampler"]
        [::core::mem::offset_of!(llama_sampler_seq_config, sampler) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_context_params {
    pub n_ctx: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub n_rs_seq: u32,
    pub n_outputs_max: u32,
    pub n_outputs_max_per_seq: u32,
    pub n_threads: i32,
    pub n_threads_batch: i32,
    pub ctx_type: llama_context_type,
    pub rope_scaling_type: llama_rope_scaling_type,
    pub pooling_type: llama_pooling_type,
    pub attention_type: llama_attention_type,
    pub flash_attn_type: llama_flash_attn_type,
    pub rope_freq_base: f32,
    pub rope_freq_scale: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_orig_ctx: u32,
    pub defrag_thold: f32,
    pub cb_eval: ggml_backend_sched_eval_callback,
    pub cb_eval_user_data: *mut ::core::ffi::c_void,
    pub type_k: ggml_type,
    pub type_v: ggml_type,
    pub abort_callback: ggml_abort_callback,
    pub abort_callback_data: *mut ::core::ffi::c_void,
    pub embeddings: bool,
    pub offload_kqv: bool,
    pub no_perf: bool,
    pub op_offload: bool,
    pub swa_full: bool,
    pub kv_unified: bool,
    pub samplers: *mut llama_sampler_seq_config,
    pub n_samplers: usize,
    pub ctx_other: *mut llama_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_context_params"][::core::mem::size_of::<llama_context_params>() - 160usize];
    ["Alignment of llama_context_params"][::core::mem::align_of::<llama_context_params>() - 8usize];
    ["Offset of field: llama_context_params::n_ctx"][::core::mem::offset_of!(llama_context_params, n_ctx) - 0usize];
    ["Offset of field: llama_context_params::n_batch"][::core::mem::offset_of!(llama_context_params, n_batch) - 4usize];
    ["Offset of field: llama_context_params::n_ubatch"]
        [::core::mem::offset_of!(llama_context_params, n_ubatch) - 8usize];
    ["Offset of field: llama_context_params::n_seq_max"]
        [::core::mem::offset_of!(llama_context_params, n_seq_max) - 12usize];
    ["Offset of field: llama_context_params::n_rs_seq"]
        [::core::mem::offset_of!(llama_context_params, n_rs_seq) - 16usize];
    ["Offset of field: llama_context_params::n_outputs_max"]
        [::core::mem::offset_of!(llama_context_params, n_outputs_max) - 20usize];
    ["Offset of field: llama_context_params::n_outputs_max_per_seq"]
        [::core::mem::offset_of!(llama_context_params, n_outputs_max_per_seq) - 24usize];
    ["Offset of field: llama_context_params::n_threads"]
        [::core::mem::offset_of!(llama_context_params, n_threads) - 28usize];
    ["Offset of field: llama_context_params::n_threads_batch"]
        [::core::mem::offset_of!(llama_context_params, n_threads_batch) - 32usize];
    ["Offset of field: llama_context_params::ctx_type"]
        [::core::mem::offset_of!(llama_context_params, ctx_type) - 36usize];
    ["Offset of field: llama_context_params::rope_scaling_type"]
        [::core::mem::offset_of!(llama_context_params, rope_scaling_type) - 40usize];
    ["Offset of field: llama_context_params::pooling_type"]
        [::core::mem::offset_of!(llama_context_params, pooling_type) - 44usize];
    ["Offset of field: llama_context_params::attention_type"]
        [::core::mem::offset_of!(llama_context_params, attention_type) - 48usize];
    ["Offset of field: llama_context_params::flash_attn_type"]
        [::core::mem::offset_of!(llama_context_params, flash_attn_type) - 52usize];
    ["Offset of field: llama_context_params::rope_freq_base"]
        [::core::mem::offset_of!(llama_context_params, rope_freq_base) - 56usize];
    ["Offset of field: llama_context_params::rope_freq_scale"]
        [::core::mem::offset_of!(llama_context_params, rope_freq_scale) - 60usize];
    ["Offset of field: llama_context_params::yarn_ext_factor"]
        [::core::mem::offset_of!(llama_context_params, yarn_ext_factor) - 64usize];
    ["Offset of field: llama_context_params::yarn_attn_factor"]
        [::core::mem::offset_of!(llama_context_params, yarn_attn_factor) - 68usize];
    ["Offset of field: llama_context_params::yarn_beta_fast"]
        [::core::mem::offset_of!(llama_context_params, yarn_beta_fast) - 72usize];
    ["Offset of field: llama_context_params::yarn_beta_slow"]
        [::core::mem::offset_of!(llama_context_params, yarn_beta_slow) - 76usize];
    ["Offset of field: llama_context_params::yarn_orig_ctx"]
        [::core::mem::offset_of!(llama_context_params, yarn_orig_ctx) - 80usize];
    ["Offset of field: llama_context_params::defrag_thold"]
        [::core::mem::offset_of!(llama_context_params, defrag_thold) - 84usize];
    ["Offset of field: llama_context_params::cb_eval"]
        [::core::mem::offset_of!(llama_context_params, cb_eval) - 88usize];
    ["Offset of field: llama_context_params::cb_eval_user_data"]
        [::core::mem::offset_of!(llama_context_params, cb_eval_user_data) - 96usize];
    ["Offset of field: llama_context_params::type_k"][::core::mem::offset_of!(llama_context_params, type_k) - 104usize];
    ["Offset of field: llama_context_params::type_v"][::core::mem::offset_of!(llama_context_params, type_v) - 108usize];
    ["Offset of field: llama_context_params::abort_callback"]
        [::core::mem::offset_of!(llama_context_params, abort_callback) - 112usize];
    ["Offset of field: llama_context_params::abort_callback_data"]
        [::core::mem::offset_of!(llama_context_params, abort_callback_data) - 120usize];
    ["Offset of field: llama_context_params::embeddings"]
        [::core::mem::offset_of!(llama_context_params, embeddings) - 128usize];
    ["Offset of field: llama_context_params::offload_kqv"]
        [::core::mem::offset_of!(llama_context_params, offload_kqv) - 129usize];
    ["Offset of field: llama_context_params::no_perf"]
        [::core::mem::offset_of!(llama_context_params, no_perf) - 130usize];
    ["Offset of field: llama_context_params::op_offload"]
        [::core::mem::offset_of!(llama_context_params, op_offload) - 131usize];
    ["Offset of field: llama_context_params::swa_full"]
        [::core::mem::offset_of!(llama_context_params, swa_full) - 132usize];
    ["Offset of field: llama_context_params::kv_unified"]
        [::core::mem::offset_of!(llama_context_params, kv_unified) - 133usize];
    ["Offset of field: llama_context_params::samplers"]
        [::core::mem::offset_of!(llama_context_params, samplers) - 136usize];
    ["Offset of field: llama_context_params::n_samplers"]
        [::core::mem::offset_of!(llama_context_params, n_samplers) - 144usize];
    ["Offset of field: llama_context_params::ctx_other"]
        [::core::mem::offset_of!(llama_context_params, ctx_other) - 152usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler_chain_params {
    pub no_perf: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler_chain_params"][::core::mem::size_of::<llama_sampler_chain_params>() - 1usize];
    ["Alignment of llama_sampler_chain_params"][::core::mem::align_of::<llama_sampler_chain_params>() - 1usize];
    ["Offset of field: llama_sampler_chain_params::no_perf"]
        [::core::mem::offset_of!(llama_sampler_chain_params, no_perf) - 0usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_chat_message {
    pub role: *const ::core::ffi::c_char,
    pub content: *const ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_chat_message"][::core::mem::size_of::<llama_chat_message>() - 16usize];
    ["Alignment of llama_chat_message"][::core::mem::align_of::<llama_chat_message>() - 8usize];
    ["Offset of field: llama_chat_message::role"][::core::mem::offset_of!(llama_chat_message, role) - 0usize];
    ["Offset of field: llama_chat_message::content"][::core::mem::offset_of!(llama_chat_message, content) - 8usize];
};
unsafe extern "C-unwind" {
    pub fn llama_version() -> *const ::core::ffi::c_char;
}
unsafe extern "C-unwind" {
    pub fn llama_model_default_params() -> llama_model_params;
}
unsafe extern "C-unwind" {
    pub fn llama_context_default_params() -> llama_context_params;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_chain_default_params() -> llama_sampler_chain_params;
}
unsafe extern "C-unwind" {
    pub fn llama_backend_init();
}
unsafe extern "C-unwind" {
    pub fn llama_numa_init(numa: ggml_numa_strategy);
}
unsafe extern "C-unwind" {
    pub fn llama_attach_threadpool(
        ctx: *mut llama_context,
        threadpool: ggml_threadpool_t,
        threadpool_batch: ggml_threadpool_t,
    );
}
unsafe extern "C-unwind" {
    pub fn llama_model_load_from_file(
        path_model: *const ::core::ffi::c_char,
        params: llama_model_params,
    ) -> *mut llama_model;
}
unsafe extern "C-unwind" {
    pub fn llama_model_free(model: *mut llama_model);
}
unsafe extern "C-unwind" {
    pub fn llama_init_from_model(model: *mut llama_model, params: llama_context_params) -> *mut llama_context;
}
unsafe extern "C-unwind" {
    pub fn llama_free(ctx: *mut llama_context);
}
unsafe extern "C-unwind" {
    pub fn llama_n_ctx(ctx: *const llama_context) -> u32;
}
unsafe extern "C-unwind" {
    pub fn llama_n_batch(ctx: *const llama_context) -> u32;
}
unsafe extern "C-unwind" {
    pub fn llama_n_ubatch(ctx: *const llama_context) -> u32;
}
unsafe extern "C-unwind" {
    pub fn llama_n_seq_max(ctx: *const llama_context) -> u32;
}
unsafe extern "C-unwind" {
    pub fn llama_get_memory(ctx: *const llama_context) -> llama_memory_t;
}
unsafe extern "C-unwind" {
    pub fn llama_model_get_vocab(model: *const llama_model) -> *const llama_vocab;
}
unsafe extern "C-unwind" {
    pub fn llama_model_n_ctx_train(model: *const llama_model) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_model_n_embd(model: *const llama_model) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_model_n_layer(model: *const llama_model) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_type(vocab: *const llama_vocab) -> llama_vocab_type;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_n_tokens(vocab: *const llama_vocab) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_model_meta_val_str(
        model: *const llama_model,
        key: *const ::core::ffi::c_char,
        buf: *mut ::core::ffi::c_char,
        buf_size: usize,
    ) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_model_desc(model: *const llama_model, buf: *mut ::core::ffi::c_char, buf_size: usize) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_model_size(model: *const llama_model) -> u64;
}
unsafe extern "C-unwind" {
    pub fn llama_model_chat_template(
        model: *const llama_model,
        name: *const ::core::ffi::c_char,
    ) -> *const ::core::ffi::c_char;
}
unsafe extern "C-unwind" {
    pub fn llama_model_n_params(model: *const llama_model) -> u64;
}
unsafe extern "C-unwind" {
    pub fn llama_model_has_encoder(model: *const llama_model) -> bool;
}
unsafe extern "C-unwind" {
    pub fn llama_model_has_decoder(model: *const llama_model) -> bool;
}
unsafe extern "C-unwind" {
    pub fn llama_memory_clear(mem: llama_memory_t, data: bool);
}
unsafe extern "C-unwind" {
    pub fn llama_memory_seq_rm(mem: llama_memory_t, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos) -> bool;
}
unsafe extern "C-unwind" {
    pub fn llama_memory_seq_cp(
        mem: llama_memory_t,
        seq_id_src: llama_seq_id,
        seq_id_dst: llama_seq_id,
        p0: llama_pos,
        p1: llama_pos,
    );
}
unsafe extern "C-unwind" {
    pub fn llama_memory_seq_keep(mem: llama_memory_t, seq_id: llama_seq_id);
}
unsafe extern "C-unwind" {
    pub fn llama_memory_seq_pos_min(mem: llama_memory_t, seq_id: llama_seq_id) -> llama_pos;
}
unsafe extern "C-unwind" {
    pub fn llama_memory_seq_pos_max(mem: llama_memory_t, seq_id: llama_seq_id) -> llama_pos;
}
unsafe extern "C-unwind" {
    pub fn llama_decode(ctx: *mut llama_context, batch: llama_batch) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_set_n_threads(ctx: *mut llama_context, n_threads: i32, n_threads_batch: i32);
}
unsafe extern "C-unwind" {
    pub fn llama_n_threads(ctx: *mut llama_context) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_n_threads_batch(ctx: *mut llama_context) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_synchronize(ctx: *mut llama_context);
}
unsafe extern "C-unwind" {
    pub fn llama_get_logits_ith(ctx: *mut llama_context, i: i32) -> *mut f32;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_is_eog(vocab: *const llama_vocab, token: llama_token) -> bool;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_bos(vocab: *const llama_vocab) -> llama_token;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_eos(vocab: *const llama_vocab) -> llama_token;
}
unsafe extern "C-unwind" {
    pub fn llama_vocab_get_add_bos(vocab: *const llama_vocab) -> bool;
}
unsafe extern "C-unwind" {
    pub fn llama_tokenize(
        vocab: *const llama_vocab,
        text: *const ::core::ffi::c_char,
        text_len: i32,
        tokens: *mut llama_token,
        n_tokens_max: i32,
        add_special: bool,
        parse_special: bool,
    ) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_token_to_piece(
        vocab: *const llama_vocab,
        token: llama_token,
        buf: *mut ::core::ffi::c_char,
        length: i32,
        lstrip: i32,
        special: bool,
    ) -> i32;
}
unsafe extern "C-unwind" {
    pub fn llama_chat_apply_template(
        tmpl: *const ::core::ffi::c_char,
        chat: *const llama_chat_message,
        n_msg: usize,
        add_ass: bool,
        buf: *mut ::core::ffi::c_char,
        length: i32,
    ) -> i32;
}
#[repr(C)]
#[repr(align(8))]
#[derive(Copy, Clone)]
pub struct llama_sampler {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 16usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler"][::core::mem::size_of::<llama_sampler>() - 16usize];
    ["Alignment of llama_sampler"][::core::mem::align_of::<llama_sampler>() - 8usize];
};
unsafe extern "C-unwind" {
    pub fn llama_sampler_accept(smpl: *mut llama_sampler, token: llama_token);
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_reset(smpl: *mut llama_sampler);
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_free(smpl: *mut llama_sampler);
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_chain_init(params: llama_sampler_chain_params) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_chain_add(chain: *mut llama_sampler, smpl: *mut llama_sampler);
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_greedy() -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_dist(seed: u32) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_top_k(k: i32) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_top_p(p: f32, min_keep: usize) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_min_p(p: f32, min_keep: usize) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_temp(t: f32) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_init_penalties(
        n_vocab: i32,
        penalty_last_n: i32,
        penalty_repeat: f32,
        penalty_freq: f32,
        penalty_present: f32,
    ) -> *mut llama_sampler;
}
unsafe extern "C-unwind" {
    pub fn llama_sampler_sample(smpl: *mut llama_sampler, ctx: *mut llama_context, idx: i32) -> llama_token;
}
unsafe extern "C-unwind" {
    pub fn llama_log_set(log_callback: ggml_log_callback, user_data: *mut ::core::ffi::c_void);
}
