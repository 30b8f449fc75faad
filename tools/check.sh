#!/usr/bin/env bash
# The long check: lint, every test under the address and undefined-behaviour sanitizers with warnings as errors, the public headers as
# C and C++, static analysis where cppcheck is there. Under thirty minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=passive ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
echo "== lint"
bash tools/lint.sh build/release
echo "== public headers"
for h in include/moe2/*.h; do
    echo "#include <moe2/$(basename "$h")>" | gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c -
    echo "#include <moe2/$(basename "$h")>" | g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c++ -
done
echo "== address and undefined-behaviour sanitizers"
mkdir -p build
cmake --preset asan >build/asan-configure.log 2>&1 || { cat build/asan-configure.log; exit 1; }
cmake --build --preset asan
ctest --preset asan -j2
if command -v cppcheck >/dev/null; then
    echo "== cppcheck"
    cppcheck -j2 --quiet --std=c11 --enable=warning,portability --error-exitcode=1 --suppressions-list=tools/cppcheck.txt \
        -Isrc -Iinclude src
fi
echo "check: clean"
