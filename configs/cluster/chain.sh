#!/bin/bash
# From videos to a measured model: labels, then stages 1, 2 and 3 beside one another, then export, then test.
#
#   bash chain.sh first paper/stage paper/data.yaml videos.yaml
#
# The first argument names the runs: runs/first-stage1 and so on, the model is runs/first-model. The second is what the
# stages' configs are called, up to the number. The others are configs laid over those, and given to all jobs but export:
# `data: {videos: clips.parquet}`. A job starts when those before it have ended well; if one fails, those after it go.
# The same line again goes on where the runs are. SLURM's options: edit the files beside this one, or set SBATCH_ACCOUNT,
# SBATCH_PARTITION and their like.
set -euo pipefail

if [ "$#" -lt 2 ]; then
  echo "usage: bash chain.sh NAME STAGE [CONFIG...]" >&2
  exit 2
fi
name=$1
stage=$2
shift 2
configs=()
for config in "$@"; do
  configs+=(--config "$config")
done
here=$(dirname "$0")

# submit NAME JOBS FILE ARGUMENTS...: prints the number of the job, which waits for JOBS (1:2:3, or nothing)
submit() {
  local number
  number=$(sbatch --parsable --job-name="$name-$1" ${2:+--dependency=afterok:$2 --kill-on-invalid-dep=yes} \
    "$here/$3" "${@:4}")
  echo "$name-$1: job ${number%%;*}" >&2
  echo "${number%%;*}"
}

last() {
  echo "runs/$name-$1/version_0/checkpoints/last.ckpt"
}

labels=$(submit labels "" labels.sbatch "${configs[@]}")
stage1=$(submit stage1 "$labels" fit.sbatch --config "${stage}1.yaml" "${configs[@]}")
stage2=$(submit stage2 "$labels" fit.sbatch --config "${stage}2.yaml" "${configs[@]}")
stage3=$(submit stage3 "$labels" fit.sbatch --config "${stage}3.yaml" "${configs[@]}" \
  --trainer.strategy ddp_find_unused_parameters_true)
export=$(submit export "$stage1:$stage2:$stage3" export.sbatch --out "runs/$name-model" \
  --checkpoints "[$(last stage1), $(last stage2), $(last stage3)]")
submit test "$export" test.sbatch --config generation.yaml "${configs[@]}" --model.model "runs/$name-model" >/dev/null
