#!/bin/sh
# Stands in for llama-bench: takes its arguments, prints results in its format, or misbehaves as FAKE says.
prompt_ns=${FAKE_PROMPT_NS:-4000000000}
gen_ns=${FAKE_GEN_NS:-2000000000}
while [ $# -gt 0 ]; do
    case $1 in
        -m) model=$2 ;;
        -t) threads=$2 ;;
        -p) n_prompt=$2 ;;
        -n) n_gen=$2 ;;
        -r) repetitions=$2 ;;
        -o) [ "$2" = jsonl ] || exit 9 ;;
        --echo) echo "extra $2" ;;
        *) exit 9 ;;
    esac
    shift 2
done

# result N_PROMPT N_GEN NANOSECONDS
result() {
    samples=$(($3 / threads))
    for _ in $(seq 2 "$repetitions"); do samples="$samples, $(($3 / threads))"; done
    printf '{"build_commit": "0c1e570", "build_number": 1, "cpu_info": "a CPU", "backends": "CPU", '
    printf '"model_filename": "%s", "model_type": "llama 1B Q4_K - Medium", "model_n_params": 1100000000, ' "$model"
    printf '"n_threads": %s, "n_prompt": %s, "n_gen": %s, "avg_ns": 1, ' "$threads" "$1" "$2"
    printf '"samples_ns": [ %s ],"samples_ts": [ 1.0 ]}\n' "$samples"
}

case $FAKE in
    garbage) echo '{"n_prompt": 512, "n_gen": oops' ;;
    no-samples) echo "{\"n_prompt\": $n_prompt, \"n_gen\": 0, \"n_threads\": $threads}" ;;
    fail) echo "main: error: failed to load model '$model'" >&2; exit 1 ;;
    illegal) result "$n_prompt" 0 "$prompt_ns"; kill -ILL $$ ;;
    one) result "$n_prompt" 0 "$prompt_ns"; echo "the rest got lost" >&2 ;;
    twice) result "$n_prompt" 0 "$prompt_ns"; result "$n_prompt" 0 "$prompt_ns" ;;
    other-threads) threads=$((threads + 1)); result "$n_prompt" 0 "$prompt_ns" ;;
    silent) ;;
    memory)
        # 32 MiB in the shell itself, long enough to be seen.
        held=$(head -c 33554432 /dev/zero | tr '\0' x)
        sleep 0.1
        [ ${#held} -eq 33554432 ] || exit 9
        result "$n_prompt" 0 "$prompt_ns"
        result 0 "$n_gen" "$gen_ns"
        ;;
    *)
        echo "a library says hello"
        result "$n_prompt" 0 "$prompt_ns"
        # Asks the benchmark to stop while the second round's generation would run.
        if [ "$FAKE" = interrupt ] && [ -e "$FAKE_FLAG" ]; then
            kill -INT "$PPID"
            sleep 60
        fi
        [ -z "$FAKE_FLAG" ] || touch "$FAKE_FLAG"
        result 0 "$n_gen" "$gen_ns"
        ;;
esac
