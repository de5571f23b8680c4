#!/bin/sh
#SBATCH --nodes={{ nodes }}
#SBATCH --ntasks={{ ranks }}
# As many ranks on each node, in order: partners are on different nodes when there are two.
#SBATCH --ntasks-per-node={{ ranks | divided_by: nodes }}
#SBATCH --time=10
set -eu
mpirun {{ prepare.compile }}/pingpong {{ bytes }}
