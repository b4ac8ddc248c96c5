// The OpenBLAS that PyPI serves exports every symbol with a prefix, so that it can live beside another BLAS in one
// process. These are the names that ggml's BLAS backend uses.
#pragma once
#define cblas_sgemm scipy_cblas_sgemm
#define openblas_get_parallel scipy_openblas_get_parallel
#define openblas_set_num_threads scipy_openblas_set_num_threads
