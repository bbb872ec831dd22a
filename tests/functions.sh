# shellcheck shell=bash
# What tests of the mounted whole share.  A test is a bash script that begins
#
#   #!/usr/bin/env bash
#   # One sentence: the behaviour that it shows.
#   . "${srcdir:-.}/tests/functions.sh"
#
# It exits 0 for passed, 77 for skipped (through skip), and anything else for
# failed.  Comments that tests/run obeys: "# timeout: SECONDS", "# serial" (not
# beside another test), "# tap" (it reports named cases, see run_case), and
# "# tsan" (worth running under ThreadSanitizer: parallel readers).
#
# Given to it:
#   $srcdir     top of the source tree
#   $MLCACHEFS  the binary (build/mlcachefs)
#   $MLC_WRAP   a command to run it under, such as valgrind
#   $tmp        a private folder; HOME lies in it, and all variables that
#               mlcachefs or its clients read from the environment are unset
# Whatever it mounts or starts through these functions is unmounted and ended
# on any exit.

set -euo pipefail

srcdir=$(cd "${srcdir:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
MLCACHEFS=${MLCACHEFS:-$srcdir/build/mlcachefs}
export srcdir MLCACHEFS
export MLC_TEST_CACHE=${MLC_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mlcachefs-tests}

# ---------------------------------------------------------------------------
# Results

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# skip REASON: this can't be tested here.  Where everything must work, as in
# CI, that is a failure.
skip() {
    if [ "${MLC_MUST_WORK:-0}" = 1 ]; then
        fail "can't be tested here, and MLC_MUST_WORK is set: $*"
    fi
    echo "SKIP: $*" >&2
    exit 77
}

requires_command() {
    local name
    for name; do
        command -v "$name" >/dev/null || skip "no $name"
    done
}

requires_fuse() {
    if ! [ -r /dev/fuse ] || ! [ -w /dev/fuse ]; then
        skip "/dev/fuse can't be opened"
    fi
    requires_command fusermount3
    [ -x "$MLCACHEFS" ] || fail "no $MLCACHEFS: build first"
}

# requires_venv NAME: sets $venv_python, see tests/clients/venv.sh.
requires_venv() {
    local venv
    venv=$("$srcdir/tests/clients/venv.sh" ${MLC_VENVS_TRIED:+--cached} "$1") ||
        skip "no virtual environment $1"
    export venv_python=$venv/bin/python
}

# ---------------------------------------------------------------------------
# Assertions: each prints what differed.

assert_equal() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

assert_match() { # WHAT REGEX GOT
    [[ $3 =~ $2 ]] || fail "$1: wanted something like '$2', got '$3'"
}

assert_same() { # FILE FILE
    local said
    said=$(cmp "$1" "$2" 2>&1) || fail "contents differ: $said"
}

assert_same_tree() { # FOLDER FOLDER
    local said
    said=$(diff -r "$1" "$2" 2>&1) ||
        fail "folders differ:"$'\n'"$(head -n 20 <<<"$said")"
}

assert_exists() {
    [ -e "$1" ] || fail "$1 should exist"
}

assert_absent() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        fail "$1 should not exist"
    fi
}

# assert_error MESSAGE COMMAND...: it fails, and says why; MESSAGE is the text
# of the errno ("Permission denied") or a part of what it prints.
assert_error() {
    local wanted=$1 said
    shift
    if said=$(LC_ALL=C "$@" 2>&1); then
        fail "should have failed with '$wanted': $*"
    fi
    [[ $said == *"$wanted"* ]] ||
        fail "should have failed with '$wanted', but said '$said': $*"
}

# assert_refused REGEX ARG...: mlcachefs with these arguments ends with status 1
# instead of mounting, and says so on stderr alone.
assert_refused() {
    local wanted=$1 status=0
    shift
    # shellcheck disable=SC2086  # MLC_WRAP is a command with its arguments
    timeout "${MLC_MOUNT_SECONDS:-60}" ${MLC_WRAP:-} "$MLCACHEFS" "$@" \
        </dev/null >"$tmp/refused.out" 2>"$tmp/refused.err" || status=$?
    assert_equal "the exit status of: mlcachefs $*" 1 "$status"
    assert_equal "stdout of: mlcachefs $*" "" "$(cat "$tmp/refused.out")"
    assert_match "stderr of: mlcachefs $*" "$wanted" "$(cat "$tmp/refused.err")"
}

# wait_until SECONDS COMMAND...: the only way to wait.  Returns as soon as the
# command succeeds; SECONDS is when that becomes a failure.
wait_until() {
    local seconds=$1 end
    shift
    end=$((${EPOCHREALTIME/[.,]/} + seconds * 1000000))
    until "$@"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || {
            echo "still not so after $seconds s: $*" >&2
            return 1
        }
        sleep 0.02
    done
}

# ---------------------------------------------------------------------------
# Named cases in one script ("# tap"): for a matrix whose cases share a slow
# setup.  Each runs in a subshell, so that one failing leaves the others be,
# and what a case mounts or starts ends with it; what the script had mounted
# before can be used by a case, but not unmounted.
#
#   run_case "branch, online" check_one --rev main
#   ...
#   end_cases
#
# With MLC_CASES=REGEX only the cases whose name matches are run.

cases=0
cases_failed=0

run_case() {
    local name=$1 status=0
    shift
    [[ $name =~ ${MLC_CASES:-} ]] || return 0
    cases=$((cases + 1))
    # Not in a condition: "set -e" must hold inside.
    set +e
    (
        exit_hooks=()
        daemon_pids=()
        origin_pids=()
        trap 'end_case $?' EXIT
        set -e
        "$@"
    )
    status=$?
    set -e
    case $status in
        0) echo "ok $cases - $name" ;;
        77) echo "ok $cases - $name # SKIP" ;;
        *)
            echo "not ok $cases - $name"
            cases_failed=$((cases_failed + 1))
            ;;
    esac
}

end_case() { # STATUS
    trap - EXIT
    end_everything
    if [ "$1" = 0 ] && ! "$is_clean"; then
        exit 1
    fi
    exit "$1"
}

end_cases() {
    echo "1..$cases"
    [ "$cases_failed" = 0 ] || exit 1
}

# ---------------------------------------------------------------------------
# Private surroundings and cleanup

# Whoever chooses python by $HOME or the current folder must do so now.
python=$("$srcdir/tests/clients/venv.sh" --python 2>/dev/null) ||
    python=$(python3 -c 'import sys; print(sys.executable)')
PATH=$(dirname "$python"):$PATH

tmp=$(mktemp -d "${MLC_TEST_TMP:-${TMPDIR:-/tmp}}/mlc.XXXXXX")
tmp=$(cd "$tmp" && pwd -P)
mkdir "$tmp/home"
export HOME=$tmp/home TMPDIR=$tmp LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
for name in $(compgen -e); do
    case $name in
        HF_* | HUGGING* | DGENERATE_* | TRANSFORMERS_* | CIVIT_AI_TOKEN | \
            XDG_CACHE_HOME | XDG_RUNTIME_DIR | SSL_CERT_* | \
            [hH][tT][tT][pP]_[pP][rR][oO][xX][yY] | \
            [hH][tT][tT][pP][sS]_[pP][rR][oO][xX][yY] | \
            [aA][lL][lL]_[pP][rR][oO][xX][yY])
            unset "$name"
            ;;
    esac
done
unset name
export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1
export HF_HUB_DISABLE_PROGRESS_BARS=1

# A leak is a failure, and so is a data race; a report ends the daemon with a
# status of its own, and stop_daemon looks for one in the log as well.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:exitcode=99}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$srcdir/tests/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=99:halt_on_error=0}

exit_hooks=()
declare -A daemon_pids=() # mountpoint -> pid
declare -A origin_pids=() # origin's folder -> pid

# on_exit COMMAND...: run before $tmp is removed, last one first.
on_exit() {
    exit_hooks+=("$(printf '%q ' "$@")")
}

pid_is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

# end_process PID SECONDS: asks, waits, insists; leaves its status in
# $ended_status.  Only for children of this shell.
end_process() {
    kill -TERM "$1" 2>/dev/null || true
    if ! wait_until "$2" pid_is_gone "$1"; then
        kill -KILL "$1" 2>/dev/null || true
    fi
    ended_status=0
    wait "$1" 2>/dev/null || ended_status=$?
}

detach_mount() {
    if [ "$(id -u)" = 0 ]; then
        umount -l "$1" 2>/dev/null || true
    else
        fusermount3 -uz "$1" 2>/dev/null || true
    fi
}

mounts_under() {
    awk -v under="$1/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo
}

# Sets is_clean: did all daemons that a test left to us end as they should?
end_everything() {
    local i mnt dir
    set +e
    is_clean=true
    for ((i = ${#exit_hooks[@]} - 1; i >= 0; i--)); do
        eval "${exit_hooks[i]}"
    done
    for mnt in "${!daemon_pids[@]}"; do
        end_process "${daemon_pids[$mnt]}" 5
        if [ "$ended_status" != 0 ]; then
            echo "the daemon on $mnt ended with status $ended_status" >&2
            is_clean=false
        fi
    done
    for dir in "${!origin_pids[@]}"; do
        end_process "${origin_pids[$dir]}" 5
    done
}

cleanup() {
    local status=$? mnt
    trap - EXIT
    trap '' INT TERM
    end_everything
    if [ "$status" = 0 ] && ! ("$is_clean" && assert_no_report); then
        status=1
    fi
    for mnt in $(mounts_under "$tmp"); do
        detach_mount "$mnt"
    done
    # Nor after Ctrl-C, which is no failure.
    if [ "$status" != 0 ] && [ "$status" != 77 ] && [ "$status" != 130 ] &&
        [ -s "$tmp/daemon.log" ]; then
        echo "--- the end of the daemon's log"
        tail -n "${MLC_TEST_LOG_LINES:-100}" "$tmp/daemon.log"
    fi >&2
    if [ -z "${MLC_TEST_KEEP:-}" ] && [ -z "$(mounts_under "$tmp")" ]; then
        chmod -R u+rwX "$tmp" 2>/dev/null
        rm -rf --one-file-system "$tmp"
    else
        echo "kept: $tmp" >&2
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# names_in FOLDER: what it lists, on one line.
names_in() {
    find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | paste -sd ' '
}

# make_file PATH SIZE [SEED]: SIZE bytes (K, M as in head) that look random and
# are the same each time.
make_file() {
    mkdir -p "$(dirname "$1")"
    "$python" - "$1" "$2" "${3:-$(basename "$1")}" <<'EOS'
import random, re, sys
path, size, seed = sys.argv[1:]
n, unit = re.fullmatch(r"(\d+)([KMG]?)", size).groups()
left = int(n) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]
rng = random.Random(seed)
with open(path, "wb") as f:
    while left:
        block = rng.randbytes(min(left, 1 << 20))
        f.write(block)
        left -= len(block)
EOS
}

# ---------------------------------------------------------------------------
# The origin: a Hub, its CDN and a web server on loopback (tests/origin)

# start_origin [FOLDER [OPTION...]]: sets $origin_root, $hub, $cdn, $web and
# HF_ENDPOINT.
start_origin() {
    local root=${1:-$tmp/origin}
    shift || true
    mkdir -p "$root"
    rm -f "$root.json"
    "$python" "$srcdir/tests/origin/origin.py" --root "$root" \
        --info "$root.json" "$@" >>"$root.log" 2>&1 </dev/null &
    origin_pids[$root]=$!
    wait_until 20 origin_is_up "$root" || {
        cat "$root.log" >&2
        fail "the origin did not start"
    }
    origin_root=$root
    read -r hub cdn web < <("$python" -c '
import json, sys
info = json.load(open(sys.argv[1]))
print(info["hub"], info["cdn"], info["web"])' "$root.json")
    # Not all tests use all of these.
    export hub cdn web HF_ENDPOINT=$hub
}

origin_is_up() {
    [ -s "$1.json" ] && return
    ! pid_is_gone "${origin_pids[$1]}" || {
        cat "$1.log" >&2
        fail "the origin ended at once"
    }
    return 1
}

# stop_origin [FOLDER]: nobody answers at its addresses any more.
stop_origin() {
    local root=${1:-$origin_root}
    end_process "${origin_pids[$root]}" 10
    unset "origin_pids[$root]"
}

# make_repo TYPE ORG/NAME --from FOLDER [OPTION...]: prints the commit.
make_repo() {
    "$python" "$srcdir/tests/origin/mkrepo.py" --root "$origin_root" "$@"
}

set_faults() { # JSON
    "$python" "$srcdir/tests/origin/faults.py" --root "$origin_root" set "$1"
}

clear_faults() {
    "$python" "$srcdir/tests/origin/faults.py" --root "$origin_root" clear
}

origin_log() {
    "$python" "$srcdir/tests/origin/log.py" --root "$origin_root" "$@"
}

# count_requests [--server S] [--method M] [--path REGEX] [--ua REGEX] ...
count_requests() {
    origin_log count "$@"
}

# body_bytes [the same]: how many bytes of bodies were sent.
body_bytes() {
    origin_log bytes "$@"
}

# wait_requests --count N [--timeout S] [the same]
wait_requests() {
    origin_log wait "$@"
}

# ---------------------------------------------------------------------------
# The daemon

# mount_ready STORE MOUNTPOINT [OPTION,...]: in the foreground, so that its
# exit status and its log are ours; returns once it answers.
mount_ready() {
    local store=$1 mnt=$2 options=${3:-} fifo ready_r ready_w ready_rw
    local pid status=0
    mkdir -p "$store"
    # A dead mount is there, and can't be asked; mlcachefs goes over it.
    mkdir -p "$mnt" 2>/dev/null || true
    # One byte comes through a pipe; the daemon's end is its end of file.
    fifo=$tmp/ready.$BASHPID.$RANDOM
    mkfifo "$fifo"
    exec {ready_rw}<>"$fifo"
    exec {ready_r}<"$fifo"
    exec {ready_w}>"$fifo"
    exec {ready_rw}>&-
    rm "$fifo"
    # shellcheck disable=SC2086  # MLC_WRAP is a command with its arguments
    ${MLC_WRAP:-} "$MLCACHEFS" "$store" "$mnt" -f \
        -o "ready_fd=$ready_w${options:+,$options}" \
        </dev/null >>"$tmp/daemon.log" 2>&1 {ready_r}<&- &
    pid=$!
    exec {ready_w}>&-
    daemon_pids[$mnt]=$pid
    # End of file: the daemon ended; a status above 128: time is up.
    read -r -N 1 -t "${MLC_MOUNT_SECONDS:-60}" -u "$ready_r" _ || status=$?
    if [ "$status" != 0 ]; then
        exec {ready_r}<&-
        if [ "$status" -gt 128 ] || ! wait_until 5 pid_is_gone "$pid"; then
            fail "the mount did not come up: $mnt"
        fi
        wait "$pid" && status=0 || status=$?
        unset "daemon_pids[$mnt]"
        fail "mlcachefs ended with status $status instead of mounting $mnt"
    fi
    exec {ready_r}<&-
}

# mount_background MOUNTPOINT COMMAND...: a command that returns once the mount
# answers and leaves a daemon behind, as a user's or mount(8)'s does.
mount_background() {
    local mnt=$1
    shift
    mkdir -p "$mnt"
    "$@" </dev/null >>"$tmp/daemon.log" 2>&1 ||
        fail "status $? instead of a mount: $*"
    mounts_under "$tmp" | grep -Fqx -- "$mnt" || fail "$mnt is not mounted"
}

# unmount_background MOUNTPOINT STORE: and waits until the daemon has let go.
unmount_background() {
    if [ "$(id -u)" = 0 ]; then
        umount "$1"
    else
        fusermount3 -u "$1"
    fi
    wait_until "${MLC_UNMOUNT_SECONDS:-15}" flock -n "$2" true ||
        fail "the daemon of $1 does not end"
}

daemon_pid() { # MOUNTPOINT
    echo "${daemon_pids[$1]}"
}

sanitizer_report='ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer'
sanitizer_report+='|runtime error: |SUMMARY: .*Sanitizer'

# unmount MOUNTPOINT: as a user's kill, or systemd's stop, would.  The daemon
# must end in time, with status 0 and without a sanitizer's report.
unmount() {
    local mnt=$1 pid
    pid=${daemon_pids[$mnt]:-}
    [ -n "$pid" ] || fail "unmount: nothing is mounted on $mnt"
    unset "daemon_pids[$mnt]"
    kill -TERM "$pid" 2>/dev/null || true
    if ! wait_until "${MLC_UNMOUNT_SECONDS:-15}" pid_is_gone "$pid"; then
        kill -ABRT "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        detach_mount "$mnt"
        fail "the daemon on $mnt did not end on SIGTERM"
    fi
    ended_status=0
    wait "$pid" || ended_status=$?
    assert_equal "the daemon's exit status on $mnt" 0 "$ended_status"
    assert_no_report
    if mounts_under "$tmp" | grep -Fqx -- "$mnt"; then
        fail "the daemon ended, but $mnt is still mounted"
    fi
}

assert_no_report() {
    [ -e "$tmp/daemon.log" ] || return 0
    ! grep -E -q "$sanitizer_report" "$tmp/daemon.log" ||
        fail "a sanitizer complained, see the daemon's log"
}

# kill_daemon MOUNTPOINT: as a crash or the out-of-memory killer would.
kill_daemon() {
    local mnt=$1 pid=${daemon_pids[$1]}
    unset "daemon_pids[$mnt]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    detach_mount "$mnt"
}
