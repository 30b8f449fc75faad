#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that moe2 needs and that are missing; says so; does nothing when all are there.
set -eu
packages="build-essential cmake ninja-build pkg-config libgomp1 libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev
zlib1g-dev libzstd-dev libcmocka-dev libmicrohttpd-dev libcurl4-openssl-dev gnuplot-nox xz-utils"
command -v dpkg-query >/dev/null || { echo "install-deps: not a Debian system; needed: $packages"; exit 0; }
missing=
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
echo "install-deps: installing$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
