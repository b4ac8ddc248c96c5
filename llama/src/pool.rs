//! Threads that wait for work, as llama.cpp's own tools have them: without these, every token would start and end threads.

use std::ffi::{CStr, c_void};
use std::mem;
use std::ptr::{self, NonNull};

use llama_sys as sys;

use crate::Threads;

type New = unsafe extern "C-unwind" fn(*mut sys::ggml_threadpool_params) -> *mut sys::ggml_threadpool;
type Free = unsafe extern "C-unwind" fn(*mut sys::ggml_threadpool);

/// The pools of a context: one for each phase, or one for both when they have as many threads.
pub(crate) struct Pools {
    generation: NonNull<sys::ggml_threadpool>,
    prompt: Option<NonNull<sys::ggml_threadpool>>,
    free: Free,
}

// SAFETY: a pool belongs to no thread: it is a structure with a lock of its own, and any thread may compute with it or free it,
// one at a time (ggml/src/ggml-cpu/ggml-cpu.c).
unsafe impl Send for Pools {}

impl Pools {
    /// Starts threads; `None` when the CPU backend has no pools to offer, and computing starts threads each time.
    pub(crate) fn start(threads: Threads) -> Option<Pools> {
        let (new, free) = functions()?;
        let pool = |count: u32, paused: bool| {
            // SAFETY: returns a plain structure.
            let mut params = unsafe { sys::ggml_threadpool_params_default(count.cast_signed()) };
            params.paused = paused;
            // SAFETY: `params` is whole, and read during this call only.
            NonNull::new(unsafe { new(&raw mut params) })
        };
        let two = threads.generation != threads.prompt;
        // As common/common.cpp does it: of two pools the one that is not needed first sleeps.
        let generation = pool(threads.generation, two)?;
        let mut pools = Pools { generation, prompt: None, free };
        if two {
            pools.prompt = Some(pool(threads.prompt, false)?);
        }
        Some(pools)
    }

    /// Has a context compute with these pools.
    ///
    /// # Safety
    /// The context is alive. The pools live until the context has computed with others, or is gone.
    pub(crate) unsafe fn attach(&self, context: NonNull<sys::llama_context>) {
        let prompt = self.prompt.map_or(ptr::null_mut(), NonNull::as_ptr);
        // SAFETY: as the caller promises.
        unsafe { sys::llama_attach_threadpool(context.as_ptr(), self.generation.as_ptr(), prompt) };
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        for pool in [Some(self.generation), self.prompt].into_iter().flatten() {
            // SAFETY: made by the function that belongs to this one, and freed here alone; nobody computes with it any more,
            // as `attach` demands.
            unsafe { (self.free)(pool.as_ptr()) };
        }
    }
}

/// The functions of the CPU backend that is loaded; a portable build chooses it at run time.
fn functions() -> Option<(New, Free)> {
    // SAFETY: backends are loaded and never unloaded; the strings end with zeros.
    let find = |name: &CStr| unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::ggml_backend_dev_type::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return None;
        }
        NonNull::new(sys::ggml_backend_reg_get_proc_address(sys::ggml_backend_dev_backend_reg(device), name.as_ptr()))
    };
    let (new, free) = (find(c"ggml_threadpool_new")?, find(c"ggml_threadpool_free")?);
    // SAFETY: these names stand for functions of these types (ggml/include/ggml-cpu.h at the pin), and an address of a
    // function is as wide as any other here.
    unsafe {
        Some((mem::transmute::<*mut c_void, New>(new.as_ptr()), mem::transmute::<*mut c_void, Free>(free.as_ptr())))
    }
}
