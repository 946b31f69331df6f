#!/usr/bin/env bash
# Teach a data set on a Slurm cluster: each task of an array teaches one part.
#
#   export TEACHER=teacher.onnx DATA=/shared/train OUT=/shared/answers/train.answers
#   sbatch --array=0-31 slurm.sh --head logits --head feat:stage:3 --views identity,flip
#
# The array's size is the number of parts. What follows the script's name goes to `limbeck teach`. DATA is a folder that every node
# sees, or s3://, gs://, az:// (a limbeck with the feature `cloud`; credentials come from the environment, which sbatch hands on).
#
# A task that was killed, preempted or out of time goes on where it stopped when it is started again, with the same command or by
# itself (--requeue); what is done is not done twice. When all tasks are done (in the same folder, or after a download):
#
#   limbeck answers merge --out "$OUT" "$OUT".shard-*
#
# All nodes of one array should have one kind of CPU (--constraint): another may round float sums otherwise, in the last bits.

#SBATCH --job-name=limbeck-teach
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
# The model, a thread's activations times the threads, and 256 MB of pictures.
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --requeue
# A minute before the end: what was answered is synced, and the task ends with 130.
#SBATCH --signal=B:TERM@60
#SBATCH --output=limbeck-teach-%A_%a.log

set -euo pipefail
: "${TEACHER:?the ONNX file; its card is the .toml beside it}" "${DATA:?a folder or URL of images}" "${OUT:?the answers file}"

# `exec`, so that Slurm's signal reaches limbeck and not a shell that waits for it.
exec "${LIMBECK:-limbeck}" teach --teacher "$TEACHER" --data "$DATA" --out "$OUT" --shard auto \
    --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
