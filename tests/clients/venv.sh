#!/usr/bin/env bash
# Prints the folder of a virtual environment with the packages of
# requirements-NAME.txt, and those of requirements-NAME-nodeps.txt without what
# they depend on, made when it isn't there yet.
#
#   venv.sh NAME            make it when missing (needs PyPI), print its folder
#   venv.sh --cached NAME   print its folder when it is there, else fail
#   venv.sh --python        print the interpreter that would be used
#
# They are slow to make and large, so they live outside the tree and outside
# the tests' private HOME, in MLC_TEST_CACHE, one for each distinct content of
# the requirements files and each interpreter.  A venv holds its own path and
# can't be made elsewhere and renamed: a marker inside says that it is whole,
# and a lock beside it that somebody is at it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MLC_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mlcachefs-tests}

# A shim that chooses an interpreter by $HOME or the current folder is of no
# use in a venv: ask it for the real one.
find_python() {
    local candidate real
    for candidate in python3 /usr/bin/python3; do
        real=$("$candidate" -c '
import ensurepip, sys, venv
assert sys.version_info >= (3, 10)
print(sys._base_executable)' 2>/dev/null) || continue
        echo "$real"
        return
    done
    echo "no python3 >= 3.10 with venv (Debian: python3-venv)" >&2
    return 1
}

may_make=true
case ${1:-} in
    --python) find_python; exit ;;
    --cached) may_make=false; shift ;;
esac
[ $# -eq 1 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

requirements=$here/requirements-$1.txt
[ -f "$requirements" ] || { echo "no such file: $requirements" >&2; exit 2; }
nodeps=$here/requirements-$1-nodeps.txt
files=("$requirements")
[ ! -f "$nodeps" ] || files+=("$nodeps")
python=$(find_python)
key=$({ "$python" -VV; echo "$python"; cat "${files[@]}"; } |
    sha256sum | cut -c1-12)
venv=$cache/$1-$key

if [ ! -e "$venv/.complete" ]; then
    "$may_make" || exit 1
    mkdir -p "$cache"
    exec {lock}>"$venv.lock"
    flock "$lock"
fi
if [ ! -e "$venv/.complete" ]; then
    echo "making the virtual environment $venv" >&2
    "$python" -m venv --clear "$venv" >&2
    pip=("$venv/bin/python" -m pip --disable-pip-version-check
         --no-input -qq install)
    torch=$(grep '^torch==' "$requirements" || true)
    if [ -n "$torch" ]; then
        "${pip[@]}" "$torch" >&2
    fi
    "${pip[@]}" -r "$requirements" >&2
    if [ -f "$nodeps" ]; then
        "${pip[@]}" --no-deps -r "$nodeps" >&2
    fi
    : >"$venv/.complete"
fi
echo "$venv"
