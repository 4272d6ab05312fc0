#!/usr/bin/env bash
# Extract on a Slurm cluster: one Ray node per machine, the driver on the first. Submit: sbatch examples/slurm.sh DIR STORE
# The store must lie on a file system that all machines see, and the package must be installed on all of them.
# A killed or timed-out job loses nothing that is done: submit the same line again and it goes on.
#SBATCH --job-name=vidu-pipe
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=48:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
videos=$1 store=$2

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}'):6379

srun --nodes=1 --ntasks=1 -w "$head" ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 10
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi
sleep 20

# four tasks share a GPU; --device is named because the first machine need not be like the others
RAY_ADDRESS=$address vidu-pipe extract --videos "$videos" --out "$store" --device cuda --gpus-per-task 0.25 \
    --log-json "$store.log.jsonl" &
driver=$!
trap 'kill -TERM $driver' TERM
wait "$driver"
