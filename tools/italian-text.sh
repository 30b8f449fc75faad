#!/usr/bin/env bash
# Packs Italian text from Debian's own documentation packages into the folder OUT (data/italian): what make demo trains on. The
# rest of the words go to moe2 data italian: --text FILE, --vocab-size N, --force, …
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/data/italian}
[ $# -gt 0 ] && shift
exec "${MOE2:-$root/build/release/moe2}" data italian --out "$out" "$@"
