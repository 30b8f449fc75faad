#!/usr/bin/env bash
# What `moe2 select` costs to solve: bench_select under the lock of this machine's measurements.
set -eu
cd "$(dirname "$0")/.."
flock "${MOE2_LOCK:-/tmp/moe2.lock}" build/release/bench_select "$@"
