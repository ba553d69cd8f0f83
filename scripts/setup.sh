# Shared by `demo` and `check`, which source it: finds Python and a compiler, makes .venv, installs into it.
#
#   set_up NAME PIP_ARGUMENT...     install the checkout with these arguments, unless that was done already
#
# Plain POSIX sh; needs no standard input. What was installed is remembered by a stamp in .venv that holds the
# checksum of pyproject.toml and constraints.txt, so a second call takes no time.
# Sets ROOT, the checkout, and VENV, the virtual environment.

set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=$ROOT/.venv

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "$*"
    exit 3
}

find_python() {
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$python"
            return
        fi
    done
    stop "agentkit needs Python 3.11 or newer, and none was found. Install one ('sudo apt-get install python3 python3-venv'," \
        "'brew install python'), or name it: PYTHON=/path/to/python3.12 $0"
}

make_venv() {
    if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || stop "$python cannot make virtual environments: 'sudo apt-get install python3-venv'."
        say "Making a virtual environment in $VENV"
        "$python" -m venv "$VENV"
    fi
    "$VENV/bin/python" -c 'import pip' >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >/dev/null
    pip_install --upgrade 'pip>=25.1' # the first that knows dependency groups
}

pip_install() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }

# llama-cpp-python comes as source. Compile it only where it is neither installed nor in pip's wheel cache.
install_llama_cpp() {
    wanted=$(sed -n 's/^llama-cpp-python==//p' "$ROOT/constraints.txt")
    if "$VENV/bin/python" -c "from importlib.metadata import version as v; assert v('llama-cpp-python') == '$wanted'" 2>/dev/null; then
        return
    fi
    if ! "$VENV/bin/python" -m pip cache list --format=abspath llama_cpp_python 2>/dev/null | grep -q "llama_cpp_python-$wanted-"; then
        need_compiler
        leave_amx_out
        say "Compiling llama-cpp-python $wanted from source: about five minutes on two cores, and only this once."
    fi
    pip_install -c "$ROOT/constraints.txt" "llama-cpp-python==$wanted"
}

# What GCC makes of llama.cpp's code for AMX crashes (agentkit/engine/llama/amx.py says why).
leave_amx_out() {
    without='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
    case $("$compiler" --version) in
        *'Free Software Foundation'*) ;;
        *) return ;;
    esac
    # shellcheck disable=SC2086  they are several words
    if echo 'int main() { return 0; }' | "$compiler" $without -x c++ -fsyntax-only - 2>/dev/null; then
        export CFLAGS="${CFLAGS:-} $without" CXXFLAGS="${CXXFLAGS:-} $without"
    fi
}

need_compiler() {
    for compiler in ${CXX:-} c++ g++ clang++; do
        if "$compiler" --version >/dev/null 2>&1; then
            return
        fi
    done
    stop "agentkit compiles llama.cpp once, and no C++ compiler was found. Install one: 'sudo apt-get install build-essential'" \
        "on Debian or Ubuntu, 'xcode-select --install' or 'brew install gcc' on macOS. (CMake is not needed: pip brings it.)"
}

set_up() {
    name=$1
    shift
    stamp=$VENV/.agentkit-$name
    sum="$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" "$ROOT/scripts/setup.sh" | cksum) $ROOT"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ]; then
        return
    fi
    make_venv
    install_llama_cpp
    say "Installing agentkit and what it needs into $VENV"
    if [ "$name" = check ]; then
        # This very pin, alone: other requests for torch may bring gigabytes of CUDA libraries.
        pip_install "$(grep '^torch==' "$ROOT/constraints.txt")"
    fi
    (cd "$ROOT" && pip_install -c constraints.txt "$@")
    printf '%s\n' "$sum" >"$stamp"
}
