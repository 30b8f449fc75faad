# What the shell tests share: checks that are counted, commands that must fail, a server that is waited for. A test sources it with
#   . "$(dirname "$0")/shell.sh"
# before it goes into a folder of its own, and ends with finish. Counts are the shell's: a check in a subshell or behind a pipe is not
# counted. Files are left in the folder that the test is in: check.out by passes, refused.out and refused.err by refused.
n_passed=0
n_failed=0

# a helper that is spelt wrong checks nothing: it ends the test (bash calls this in a subshell, for words that are no command)
command_not_found_handle() {
    echo "FAILED: $1: there is no such command"
    kill $$
    return 127
}

# fault TEXT…: something is not as it should be
fault() {
    echo "FAILED: $*"
    n_failed=$((n_failed + 1))
}

# passes NAME COMMAND…: the command succeeds; the end of what it printed is shown where it does not
passes() {
    local name=$1
    shift
    if "$@" >check.out 2>&1; then
        n_passed=$((n_passed + 1))
    else
        fault "$name"
        tail -20 check.out | sed 's/^/    /'
    fi
}

# same NAME WANTED SEEN: the two texts are equal
same() {
    if [ "$2" = "$3" ]; then
        n_passed=$((n_passed + 1))
    else
        fault "$1"
        printf '    wanted: %s\n    seen:   %s\n' "$2" "$3"
    fi
}

# refused NAME STATUS PATTERN COMMAND…: the command, run once, exits with STATUS, and its last line on stderr is PATTERN, or matches it
# as a pattern of the shell
refused() {
    local name=$1 status=$2 pattern=$3 seen said
    shift 3
    "$@" >refused.out 2>refused.err
    seen=$?
    said=$(tail -1 refused.err)
    # shellcheck disable=SC2053
    if [ "$seen" != "$status" ]; then
        fault "$name: exit status $seen, wanted $status; said \"$said\""
    elif [[ $said != "$pattern" && $said != $pattern ]]; then # unquoted: a pattern
        fault "$name: said \"$said\", wanted \"$pattern\""
    else
        n_passed=$((n_passed + 1))
    fi
}

# refused_alone NAME STATUS PATTERN COMMAND…: the same, and that line is all that was printed
refused_alone() {
    refused "$@"
    same "$1: nothing else is printed" "" "$(cat refused.out && sed '$d' refused.err)"
}

# listening FILE PID: waits, at most a minute, until the server PID has printed into FILE where it listens, and sets $url to that; 1 where
# the server ended or said nothing
listening() {
    local i
    for i in $(seq 1200); do
        grep -qs 'listens on' "$1" && break
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    url=$(sed -n 's/.* listens on //p' "$1" 2>/dev/null)
    [ -n "$url" ]
}

# finish [TEXT…]: ends the test; says TEXT where nothing failed, without one how many checks passed and failed
finish() {
    if [ $n_failed -eq 0 ] && [ $# -gt 0 ]; then
        echo "$*"
    else
        echo "$n_passed passed, $n_failed failed"
    fi
    exit $((n_failed > 0))
}
