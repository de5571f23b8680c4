#!/bin/sh
# The batch script of each part. Values come quoted for the shell: a folder may have any name.
set -eu
node {{ program }} --from {{ from }} --until {{ until }}
