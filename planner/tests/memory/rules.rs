//! What llama.cpp's code says of GPUs, which no test machine has: hand calculations from `load_tensors`,
//! `create_tensor` and `make_cpu_buft_list`.

use gguf::{Header, TensorType};
use planner::memory::{
    Certainty, CpuExperts, FlashAttention, Gpu, GpuLayers, KvType, Load, Machine, Part, Place, Repacks, Setting,
    Shortfall, breakdown, longest_context, most_gpu_layers,
};

use crate::models;

const GIB: u64 = 1 << 30;

fn gpus(memory: &[u64]) -> Machine {
    let gpus = memory.iter().enumerate().map(|(number, &memory)| Gpu::cuda(format!("gpu{number}"), memory)).collect();
    Machine { ram: Some(64 * GIB), gpus, unified: false, repacks: Repacks::Nothing }
}

fn layers(count: u64) -> Setting {
    Setting { gpu_layers: GpuLayers::Last(count), ..Setting::single(4096) }
}

fn llama() -> Header {
    models::llama(32, 4096, 14336, 32, 128_256, None).header()
}

/// Bytes of the tensors whose names start so.
fn tensors(header: &Header, starts: &[&str]) -> u64 {
    let named = |name: &str| starts.iter().any(|start| name.starts_with(start));
    header.tensors.iter().filter(|tensor| named(&tensor.name)).map(|tensor| tensor.bytes).sum()
}

#[test]
fn the_output_is_a_layer_and_the_first_to_go() {
    let (header, machine) = (llama(), gpus(&[24 * GIB]));
    let one = breakdown(&header, &layers(1), &machine).unwrap();
    assert_eq!((one.gpu_layers, one.layers), (1, 33));
    assert_eq!(one.gpus()[0].bytes(Part::Weights), tensors(&header, &["output"]));
    assert_eq!(one.gpus()[0].bytes(Part::KvCache), 0);
    let two = breakdown(&header, &layers(2), &machine).unwrap();
    assert_eq!(two.gpus()[0].bytes(Part::Weights), tensors(&header, &["output", "blk.31."]));
    assert_eq!(two.gpus()[0].bytes(Part::KvCache), 4096 * 2 * 1024 * 2, "a layer's cache is where the layer is");
}

#[test]
fn the_input_stays_in_main_memory_and_a_tied_output_is_there_twice() {
    let header = models::all().into_iter().find(|model| model.name == "Gemma 2 9B").unwrap().sketch.header();
    let all = breakdown(&header, &layers(99), &gpus(&[24 * GIB])).unwrap();
    let embedding = tensors(&header, &["token_embd"]);
    assert_eq!(all.host().bytes(Part::Weights), embedding);
    let file: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(all.bytes(Part::Weights), file + embedding);
    let none = breakdown(&header, &layers(0), &gpus(&[24 * GIB])).unwrap();
    assert_eq!(none.bytes(Part::Weights), file, "on the CPU one is enough");
    let machine = Machine { repacks: Repacks::Avx2, ..gpus(&[]) };
    let repacked = breakdown(&header, &layers(0), &machine).unwrap();
    let twice = repacked.bytes(Part::Weights) + repacked.bytes(Part::Repacked);
    assert_eq!(twice, file + embedding, "unless it is rearranged to be multiplied with");
    assert!(repacked.host().items.iter().any(|item| item.why.contains("the embedding again")));
}

#[test]
fn several_gpus_share_the_layers_by_their_memory_or_as_asked() {
    let header = llama();
    let caches = |setting: &Setting, machine: &Machine| -> Vec<u64> {
        let layer = 4096 * 2 * 1024 * 2;
        let breakdown = breakdown(&header, setting, machine).unwrap();
        breakdown.devices.iter().map(|usage| usage.bytes(Part::KvCache) / layer).collect()
    };
    // 33 layers, the output among them: positions 0/33, 1/33, ... below 16/24 are the first GPU's, that is 22.
    assert_eq!(caches(&layers(99), &gpus(&[16 * GIB, 8 * GIB])), [0, 22, 10]);
    let asked = Setting { tensor_split: vec![1.0, 3.0], ..layers(99) };
    assert_eq!(caches(&asked, &gpus(&[16 * GIB, 8 * GIB])), [0, 9, 23]);
    // Of 16, below 2/3: 11 positions; the 16th is the output.
    assert_eq!(caches(&layers(16), &gpus(&[16 * GIB, 8 * GIB])), [17, 11, 4]);
    let stays = Setting { kv_offload: false, ..layers(99) };
    assert_eq!(caches(&stays, &gpus(&[16 * GIB, 8 * GIB])), [32, 0, 0]);
}

#[test]
fn experts_may_stay_behind() {
    let header = models::all().into_iter().find(|model| model.name == "Mixtral 8x7B").unwrap().sketch.header();
    let experts = |layer: &str| -> u64 {
        let named = |name: &str| name.starts_with(layer) && name.contains("_exps.");
        header.tensors.iter().filter(|tensor| named(&tensor.name)).map(|tensor| tensor.bytes).sum()
    };
    let on_gpu = |cpu_experts| {
        let setting = Setting { cpu_experts, ..layers(99) };
        breakdown(&header, &setting, &gpus(&[48 * GIB])).unwrap().gpus()[0].bytes(Part::Weights)
    };
    let all = on_gpu(CpuExperts::None);
    assert_eq!(all - on_gpu(CpuExperts::All), experts("blk."));
    assert_eq!(all - on_gpu(CpuExperts::First(2)), experts("blk.0.") + experts("blk.1."));
}

#[test]
fn a_quantised_cache_takes_room_to_unpack_on_some_gpus() {
    let machine = gpus(&[24 * GIB]);
    let overhead = |kind| {
        let setting = Setting::single(32_768).with_kv(kind);
        breakdown(&llama(), &setting, &machine).unwrap().gpus()[0].bytes(Part::Overhead)
    };
    assert_eq!(overhead(KvType::F16), Gpu::CUDA_DRIVER);
    assert_eq!(overhead(KvType::Q8_0), Gpu::CUDA_DRIVER + 32_768 * 2 * 1024 * 2);
}

#[test]
fn one_pool_is_counted_once() {
    let machine = Machine { unified: true, ram: Some(8 * GIB), ..gpus(&[6 * GIB]) };
    let breakdown = breakdown(&llama(), &layers(99), &machine).unwrap();
    assert!(breakdown.gpus()[0].total() < 6 * GIB && breakdown.host().total() < 2 * GIB);
    assert!(breakdown.fits(&machine));
    let small = Machine { ram: Some(breakdown.total() - 1), ..machine };
    let short = breakdown.shortfalls(&small);
    assert!(matches!(short.as_slice(), [Shortfall { place: Place::Host, .. }]), "{short:?}");
}

#[test]
fn as_many_layers_go_to_the_gpu_as_it_holds() {
    let header = llama();
    let setting = Setting::single(8192);
    let machine = gpus(&[4 * GIB]);
    let (found, taken) = most_gpu_layers(&header, &setting, &machine).unwrap().unwrap();
    assert!(taken.fits(&machine) && taken.gpu_layers > 0 && taken.gpu_layers < 33, "{}", taken.gpu_layers);
    let more = Setting { gpu_layers: GpuLayers::Last(taken.gpu_layers + 1), ..found };
    assert!(!breakdown(&header, &more, &machine).unwrap().fits(&machine));
    let tiny = Machine { ram: Some(GIB), ..machine };
    assert_eq!(most_gpu_layers(&header, &setting, &tiny).unwrap(), None);
}

#[test]
fn the_longest_context_fits_and_a_longer_one_does_not() {
    let header = llama();
    let machine = Machine::cpu_only(Some(8 * GIB), Repacks::Avx2);
    let (ctx, taken) = longest_context(&header, &Setting::single(0), &machine, 512, 131_072).unwrap().unwrap();
    assert!(ctx % 256 == 0 && taken.fits(&machine));
    assert!(!breakdown(&header, &Setting::single(ctx + 256), &machine).unwrap().fits(&machine));
    assert_eq!(longest_context(&header, &Setting::single(0), &machine, 131_072, 131_072).unwrap(), None);
}

#[test]
fn what_llama_cpp_refuses_is_refused() {
    let refused = |setting: &Setting, header: &Header| {
        breakdown(header, setting, &Machine::cpu_only(None, Repacks::Nothing)).unwrap_err().to_string()
    };
    let off = Setting { flash_attention: FlashAttention::Off, ..Setting::single(4096).with_kv(KvType::Q8_0) };
    insta::assert_snapshot!(refused(&off, &llama()), @"values of the KV cache cannot be `q8_0` without flash attention");
    let mut odd = gguf::model::Sketch::new("llama", TensorType::F16);
    odd.set("block_count", 1_u32).set("embedding_length", 80_u32).set("attention.head_count", 2_u32);
    let quantised = Setting::single(4096).with_kv(KvType::Q4_0);
    insta::assert_snapshot!(refused(&quantised, &odd.header()), @"keys of the KV cache cannot be `q4_0`: its blocks of 32 do not divide heads of 40");
}

#[test]
fn what_is_not_modelled_says_so_and_counts_every_layer() {
    let mut unknown = gguf::model::Sketch::new("next-year", TensorType::F16);
    unknown
        .set("block_count", 4_u32)
        .set("embedding_length", 128_u32)
        .set("attention.head_count", 2_u32)
        .set("attention.sliding_window", 16_u32);
    let machine = Machine::cpu_only(None, Repacks::Nothing);
    let breakdown = breakdown(&unknown.header(), &Setting::single(4096), &machine).unwrap();
    assert_eq!(breakdown.certainty, Certainty::NotModelled);
    assert!(breakdown.certainty.caveat().unwrap().contains("llama-fit-params"));
    assert_eq!(breakdown.bytes(Part::KvCache), 4 * 4096 * 2 * 128 * 2);
}

#[test]
fn a_damaged_header_is_an_error_and_no_panic() {
    let machine = gpus(&[GIB]);
    for key in [
        "block_count",
        "embedding_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "feed_forward_length",
    ] {
        for value in [0_u32, 1, u32::MAX] {
            let mut header = llama();
            for (name, found) in &mut header.metadata.0 {
                if name == &format!("llama.{key}") {
                    *found = value.into();
                }
            }
            // Whatever it says, it comes to an end.
            let _ = breakdown(&header, &Setting::server(131_072), &machine);
        }
    }
    let mut header = llama();
    for tensor in &mut header.tensors {
        tensor.dims = vec![u64::MAX; 4];
        tensor.bytes = u64::MAX;
    }
    assert!(breakdown(&header, &Setting::server(131_072), &machine).is_err());
    let huge = Setting { sequences: u64::MAX, ..Setting::server(u64::MAX) };
    assert!(breakdown(&llama(), &huge, &machine).is_err());
}

#[test]
fn limits_of_the_server_are_counted_where_they_are_asked_for() {
    let header = models::all().into_iter().find(|model| model.name == "Gemma 3 12B").unwrap().sketch.header();
    let machine = Machine::cpu_only(None, Repacks::Nothing);
    let setting = Setting { prompt_cache_mib: 8192, checkpoints: 32, load: Load::Read, ..Setting::server(32_768) };
    let breakdown = breakdown(&header, &setting, &machine).unwrap();
    assert_eq!(breakdown.bytes(Part::PromptCache), 8 * GIB);
    // 40 of 48 layers have a window; a unified cache holds that of four sequences and a micro-batch.
    let window = 40 * (4 * 1024 + 512) * 2 * 2048 * 2;
    assert_eq!(breakdown.bytes(Part::Checkpoints), 32 * 4 * window);
    let json = serde_json::to_value(&breakdown).unwrap();
    let host = &json["devices"][0];
    for key in ["weights_bytes", "kv_cache_bytes", "compute_bytes", "total_bytes"] {
        assert!(host[key].as_u64().unwrap() > 0, "{key}");
    }
    assert!(
        host["why"]["kv_cache_bytes"]
            .as_str()
            .unwrap()
            .contains("8 layers of 32768 cells and 40 with a window of 4608"),
        "{host}"
    );
}
