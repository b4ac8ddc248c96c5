// Asks llama.cpp what running a model takes: loads it without allocating anything, makes a context for every line of
// standard input, and prints the sums of its own account (`llama_get_memory_breakdown`), in bytes.
//
// line:   n_ctx type_k type_v n_ubatch flash_attention n_seq kv_unified swa_full n_outputs
// answer: model context compute, or "refused"

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "llama-ext.h"
#include "llama.h"

int main(int argc, char ** argv) {
    if (argc != 2) {
        return 2;
    }
    // Only what goes wrong.
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR) {
                fputs(text, stderr);
            }
        },
        nullptr);
    ggml_backend_load_all();
    llama_model_params model_params = llama_model_default_params();
    model_params.no_alloc           = true;
    model_params.load_mode          = LLAMA_LOAD_MODE_NONE;
    llama_model * model             = llama_model_load_from_file(argv[1], model_params);
    if (model == nullptr) {
        return 1;
    }
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        int type_k, type_v, flash_attention, unified, swa_full;
        llama_context_params params = llama_context_default_params();
        words >> params.n_ctx >> type_k >> type_v >> params.n_ubatch >> flash_attention >> params.n_seq_max >> unified >>
            swa_full >> params.n_outputs_max;
        params.n_batch         = 2048;
        params.type_k          = (ggml_type) type_k;
        params.type_v          = (ggml_type) type_v;
        params.flash_attn_type = flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.kv_unified      = unified != 0;
        params.swa_full        = swa_full != 0;
        llama_context * context = llama_init_from_model(model, params);
        if (context == nullptr) {
            std::cout << "refused" << std::endl;
            continue;
        }
        llama_memory_breakdown_data sum;
        for (const auto & [type, bytes] : llama_get_memory_breakdown(context)) {
            sum.model += bytes.model;
            sum.context += bytes.context;
            sum.compute += bytes.compute;
        }
        std::cout << sum.model << ' ' << sum.context << ' ' << sum.compute << std::endl;
        llama_free(context);
    }
    llama_model_free(model);
    return 0;
}
