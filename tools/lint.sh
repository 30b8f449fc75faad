#!/usr/bin/env bash
# The habits of the house that a script can see: who may include whom, no writable globals, no calls that libraries must not make,
# unique file names, formatting. Prints a line for each fault and exits 1 if there was one.
#   tools/lint.sh [BUILD_FOLDER]     the folder with libmoe2.a, for the check of globals
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build/release}
faults=0
fault() { echo "lint: $*"; faults=$((faults + 1)); }

# ---- the law of imports (docs/design.md) ----
allowed() {
    case $1 in
    base) echo base ;;
    tensor) echo base tensor ;;
    io) echo base tensor io ;;
    text) echo base tensor text ;;
    route) echo base route ;;
    kernels) echo base tensor route kernels ;;
    model) echo base tensor io text kernels route model ;;
    eval) echo base tensor io text kernels route model eval ;;
    quant) echo base tensor io text kernels route model eval quant ;;
    train) echo base tensor io text kernels route model eval quant train ;;
    fleet) echo base io route fleet ;;
    report) echo base io report ;;
    pipeline) echo base tensor io text kernels route model eval quant train fleet report pipeline ;;
    cli) echo base tensor io text kernels route model eval quant train fleet report pipeline cli ;;
    esac
}
for dir in src/*/; do
    room=$(basename "$dir")
    ok=" $(allowed "$room") moe2 "
    [ "$ok" = "  moe2 " ] && fault "src/$room is no room of the house" && continue
    while IFS=: read -r file line target; do
        case $ok in *" $target "*) ;; *) fault "$file:$line: $room must not include $target/" ;; esac
    done < <(grep -rnE '^ *# *include "' --include='*.[ch]' --include='*.cu' "$dir" |
        sed -E 's/^([^:]+):([0-9]+): *# *include "([^/"]+).*/\1:\2:\3/')
done
grep -rnE '^ *# *include "[^/"]+"' --include='*.[ch]' src | sed 's/$/   (say the room: "room\/file.h")/' >/tmp/lint.$$
while read -r l; do fault "$l"; done </tmp/lint.$$

# ---- calls ----
if grep -rnE '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atof|rand|srand|system|alloca|popen)\(' --include='*.[ch]' src >/tmp/lint.$$; then
    while read -r l; do fault "banned call: $l"; done </tmp/lint.$$
fi
if grep -rnE '(^|[^a-z_.>])(printf|puts|putchar|exit|_exit|abort|getenv|setenv|secure_getenv)\(' --include='*.[ch]' src |
    grep -vE '^src/cli/|^[^:]+:[0-9]+: *(/?\*|//)' >/tmp/lint.$$; then
    while read -r l; do fault "only src/cli prints, exits and reads the environment: $l"; done </tmp/lint.$$
fi
grep -rnE -- '-ffast-math|-Ofast' CMakeLists.txt >/tmp/lint.$$ && fault "$(cat /tmp/lint.$$)"
grep -rnE '\b(TODO|FIXME|XXX)\b' src include tests bench fuzz tools --include='*.[ch]' --include='*.sh' --exclude=lint.sh >/tmp/lint.$$ &&
    while read -r l; do fault "unfinished: $l"; done </tmp/lint.$$

# ---- names ----
find src -name '*.c' -printf '%f\n' | sort | uniq -d | while read -r n; do echo "$n"; done >/tmp/lint.$$
while read -r n; do fault "two files are called $n"; done </tmp/lint.$$

# ---- sizes, and what a file is for ----
while read -r f; do
    read -r first <"$f"
    case $first in "/*"* | "//"*) ;; *) fault "$f does not open with what it is for" ;; esac
    lines=$(wc -l <"$f")
    limit=700
    case $f in tests/*) limit=900 ;; esac
    [ "$lines" -le $limit ] || fault "$f has $lines lines, wanted at most $limit"
done < <(git ls-files '*.c' '*.h' '*.cpp')
git ls-files 'src/*.c' 'src/*.h' | xargs awk '/^{/ { start = FNR }
    /^}/ { if (start && FNR - start > 70) print FILENAME ":" start ": a function of " FNR - start " lines, wanted at most 70"; start = 0 }' \
    >/tmp/lint.$$
while read -r l; do fault "$l"; done </tmp/lint.$$

# ---- paths of one machine ----
git grep -nIE '(^|[^A-Za-z0-9_.-])/(work|farm|root)/' -- . ':!*.json' ':!tools/lint.sh' >/tmp/lint.$$ 2>/dev/null &&
    while read -r l; do fault "a path of one machine: $l"; done </tmp/lint.$$

# ---- writable globals: .data and .bss of the library must be empty, but for these ----
may_write='^(kernel_table|log_level|stop)$'
if [ -f "$build/libmoe2.a" ]; then
    objdump -t "$build/libmoe2.a" 2>/dev/null | awk '
        /^[^ ]+\.o:/ { file = $1 }
        $0 ~ / O \.(data|bss|tbss|tdata)/ && $0 !~ /\.data\.rel\.ro/ { print file, $NF }' >/tmp/lint.$$
    while read -r file name; do
        [[ ${name%%.*} =~ $may_write ]] || fault "writable global $name in $file"
    done </tmp/lint.$$
fi

# ---- scripts ----
if command -v shellcheck >/dev/null; then
    git ls-files '*.sh' .ci/run | xargs shellcheck -s bash -S warning -e SC1007,SC2034 -f gcc >/tmp/lint.$$
    while read -r l; do fault "$l"; done </tmp/lint.$$
fi

# ---- formatting ----
if command -v clang-format >/dev/null; then
    mapfile -t sources < <(git ls-files '*.c' '*.h' | grep -vE '\.cu$')
    n=$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -c 'clang-format-violations')
    [ "$n" -eq 0 ] || fault "$n places differ from .clang-format (clang-format -i FILE)"
fi
rm -f /tmp/lint.$$
[ "$faults" -eq 0 ] && echo "lint: clean"
exit $((faults > 0))
