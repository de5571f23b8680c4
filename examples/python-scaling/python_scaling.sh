#!/bin/sh
# Several processes of one program: they share one node.
#SBATCH --nodes=1
#SBATCH --ntasks=$n_cores
#SBATCH --output=job_%j.out
#SBATCH --error=job_%j.err
# Time allocation
#SBATCH -t 1:00:00

$load_module
env | grep -i SLURM | sort
# Execution
python bench.py
