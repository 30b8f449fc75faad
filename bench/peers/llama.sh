#!/usr/bin/env bash
# Makes llama.cpp, once, from the source inside the llama-cpp-python package, links llama_peer.c to it, and prints the folder of the build
# (its programs, llama_peer among them, are in bin).
#   bench/peers/llama.sh [native|avx2] [--made]
# native: for this machine; avx2: as for a machine without AVX-512. --made: only what was made before, or status 1.
# All is below ${MOE2_LLAMA:-~/.cache/moe2/llama.cpp}: 77 MB of source from PyPI, ten minutes on two cores, 110 MB a build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${MOE2_LLAMA:-$HOME/.cache/moe2/llama.cpp} package=llama_cpp_python-0.3.36
kind=native made=
for word; do
    case $word in
    native | avx2) kind=$word ;;
    --made) made=1 ;;
    *) echo "llama.sh: unknown word $word, wanted native, avx2 or --made" >&2; exit 2 ;;
    esac
done
source=$root/$package/vendor/llama.cpp
build=$source/build flags=(-DGGML_NATIVE=ON)
[ $kind = native ] || { build=$source/build-avx2 flags=(-DGGML_NATIVE=OFF); } # ggml's own choice for any x86-64: AVX2, FMA, F16C and BMI2

make_llama() {
    if [ ! -d "$source" ]; then
        mkdir -p "$root"
        [ -e "$root/$package.tar.gz" ] ||
            python3 -m pip download -q --no-deps --no-binary :all: -d "$root" "llama-cpp-python==${package#*-}"
        tar -xzf "$root/$package.tar.gz" -C "$root"
    fi
    cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_OPENSSL=OFF "${flags[@]}"
    cmake --build "$build" -j "$(nproc)" --target llama llama-quantize llama-perplexity
}
if [ ! -e "$build/bin/llama-perplexity" ]; then
    [ -z "$made" ] || exit 1
    make_llama >&2
fi
peer=$build/bin/llama_peer
if [ ! "$peer" -nt "$here/llama_peer.c" ]; then
    gcc -O2 -Wall -Wextra -I"$source/include" -I"$source/ggml/include" -c "$here/llama_peer.c" -o "$peer.$$.o" >&2
    g++ "$peer.$$.o" "$build/src/libllama.a" "$build"/ggml/src/libggml{,-cpu,-base}.a -fopenmp -lpthread -ldl -o "$peer.$$" >&2
    rm "$peer.$$.o"
    mv "$peer.$$" "$peer"
fi
echo "$build"
