#!/usr/bin/env bash
# From nothing to a result page: installs, draws a small dataset, trains NEGCUT on it, translates, scores.
#   bash scripts/quickstart.sh
#   DATAROOT=./datasets/horse2zebra bash scripts/quickstart.sh --name h2z [any flag of train.py]
set -eo pipefail
source "$(dirname "$0")/setup.sh" requirements.txt
started=$SECONDS

if [ -n "$DATAROOT" ]; then
    name=h2z small=()
else
    DATAROOT=datasets/toy name=quickstart
    [ -d "$DATAROOT" ] || python scripts/data/make_toy_dataset.py "$DATAROOT"
    # A small network and small images, so that two CPU cores are enough.
    small=(--netG resnet_4blocks --ngf 16 --netD n_layers --n_layers_D 2 --ndf 16 --netF_nc 64 --num_patches 64)
    small+=(--load_size 64 --crop_size 64 --n_epochs 3 --n_epochs_decay 3 --lr 0.0004 --eval_freq 3 --num_threads 0)
fi
for ((i = 1; i <= $#; i++)); do # --name among the arguments is the name that the steps after training use
    case ${!i} in
        --name) j=$((i + 1)) && name=${!j} ;;
        --name=*) name=${!i#--name=} ;;
    esac
done

python train.py --dataroot "$DATAROOT" --name "$name" --model negcut "${small[@]}" "$@"
python test.py --name "$name"
if [ -d "$DATAROOT/testA_truth" ]; then
    python scripts/data/score_toy.py "$DATAROOT" --name "$name" --summary
fi
echo
echo "done in $((SECONDS - started)) seconds after the installation"
echo "results:  results/$name/test_latest/index.html"
echo "training: checkpoints/$name/web/index.html"
