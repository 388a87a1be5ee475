#!/usr/bin/env bash
# What has not been seen on a GPU yet, in parts that print as they go and end within three minutes each; the most
# telling first. Tables are on the screen, those of benchmark.py in benchmarks/*.json too.
#   bash scripts/dev/benchmark_gpu.sh datasets/horse2zebra                                # all parts
#   bash scripts/dev/benchmark_gpu.sh --part equality|speed|memory|resume|train datasets/horse2zebra [flags of train.py]
set -o pipefail
parts="equality speed memory resume train"
if [ "$1" = --part ]; then parts=$2; shift 2; fi
dataroot=${1:?give a folder with trainA and trainB}; shift
flags=("$@")
dev=$(dirname "$0")
device=${DEVICE:-cuda} # cpu to try the script itself
limit=${LIMIT:-175}    # seconds a part
half="--precision bf16 --channels_last"

run() { # a command, for what is left of the part's time
    local left=$((ends - SECONDS)) command
    command=$(printf "%q " "$@")
    [ $left -gt 0 ] || { echo "left out, the part's time is over: $command"; return; }
    echo "$ $command"
    mkdir -p benchmarks
    timeout --foreground -s INT -k 10 "$left" "$@"
    local status=$?
    case $status in
        0 | 75) ;;
        124 | 137) echo "stopped: the part's time is over; what stands above holds" ;;
        *) echo "FAILED with status $status: $command"; failed=1 ;;
    esac
}
benchmark() {
    run python "$dev/benchmark.py" --device "$device" --warmup 5 --json "benchmarks/$1.json" "${@:2}" "${flags[@]}"
}

equality() { # each model's step against float64 on the CPU: default, bf16, recorded, tf32, channels-last, compiled
    run python "$dev/device_equality.py" --device "$device" "${flags[@]}"
}
speed() {
    benchmark steps --sizes 256 --rounds 20 --settings "plain; default; $half; $half --cuda_graph"
    benchmark batches --sizes 256 --batches 8 --rounds 10 --settings "plain; default; $half; $half --cuda_graph"
    benchmark profile --sizes 256 --rounds 5 --settings="$half" --profile --dataroot "$dataroot"
    benchmark fast --sizes 256 --rounds 20 --settings "default; --fast"
    benchmark sizes --sizes 128 512 --rounds 10 --settings "plain; default; $half --cuda_graph"
    benchmark cut --models cut --sizes 256 --rounds 20 --settings "plain; default; $half --cuda_graph"
    benchmark inference --inference --sizes 256 --batches 1 8 --rounds 20 --settings "default; --precision tf32; $half"
    benchmark loading --loading --sizes 256 --load_size 286 --dataroot "$dataroot" --settings "default; --cache none"
}
memory() {
    for at in "256 1" "256 8" "512 1" "128 1"; do
        set -- $at
        benchmark "memory_$1_$2" --memory --sizes "$1" --batches "$2" --rounds 1 --settings "plain; default; $half"
    done
}
resume() { run python "$dev/drill.py" --kills 3 --device "$device"; }
train() { # three minutes of horse2zebra, with the losses of every 50 images
    run python train.py --dataroot "$dataroot" --name gpu_three_minutes --model negcut --device "$device" --fast \
        --time_budget "$((limit - 15))s" --print_freq 50 --display_id 0 --eval_freq 0 "${flags[@]}"
}

for part in $parts; do
    case $part in equality | speed | memory | resume | train) ;; *)
        echo "error: --part $part is none of equality, speed, memory, resume, train" >&2; exit 2 ;;
    esac
    echo "== $part"
    ends=$((SECONDS + limit))
    $part
done
exit "${failed:-0}"
