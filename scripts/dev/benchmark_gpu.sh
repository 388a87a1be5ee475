#!/usr/bin/env bash
# Everything that docs/performance.md still has to measure on a GPU, in one go: tables on the screen and JSON in benchmarks/.
#   bash scripts/dev/benchmark_gpu.sh datasets/horse2zebra
set -eo pipefail
dataroot=${1:?give a folder with trainA and trainB}
benchmark() { python "$(dirname "$0")/benchmark.py" --warmup 10 --json "benchmarks/$1.json" "${@:2}"; }
mkdir -p benchmarks

settings="plain; default; --precision tf32; --precision bf16; --channels_last; --compile; --cuda_graph; --fast; --fast --cuda_graph"
benchmark steps --sizes 256 --rounds 50 --memory --dataroot "$dataroot" --settings "$settings"
benchmark cut --models cut --sizes 256 --rounds 50 --settings "plain; default; --fast; --fast --cuda_graph"
benchmark batches --sizes 256 --batches 8 --rounds 30 --settings "default; --fast; --fast --cuda_graph"
benchmark sizes --sizes 128 256 512 --rounds 30 --settings "default; --fast; --fast --cuda_graph"
benchmark inference --inference --sizes 256 --batches 1 8 --rounds 50 --settings "default; --precision tf32; --fast"
benchmark loading --loading --sizes 256 --load_size 286 --dataroot "$dataroot" --settings "default; --cache none"
