#!/usr/bin/env bash
# Sets up a virtual environment with rlt_ros in it: `tools/install.sh [.venv]`.
#
# Safe to interrupt and to run again: the stamp file that the Makefile looks at is written last, an environment
# that works is kept, and one that does not (an interrupted creation) is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${1:-.venv}"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))'

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.12 python3.13 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$supported" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.10 to 3.13 found. Install one with: sudo apt-get install -y python3 python3-venv"
}

# An environment of its own (never the Python that it was made from) with a Python that fits and with pip.
isolated='import sys; sys.exit(sys.prefix == sys.base_prefix)'
usable() {
    "$venv/bin/python" -c "$supported" 2>/dev/null && "$venv/bin/python" -c "$isolated" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

if ! usable; then
    python="$(find_python)"
    # Debian and Ubuntu split ensurepip off; without it `venv` stops half-way and leaves a broken folder.
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot create virtual environments. Install what is missing with: sudo apt-get install -y python3-venv"
    say "Creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check)

# torch first: without a GPU its CPU build is a tenth of the download. That build is on PyTorch's own index only
# (Linux on x86); where the index cannot be reached, PyPI's build works just as well.
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    torch="$(grep -E '^torch==' constraints.txt)"
    cpu_index=https://download.pytorch.org/whl/cpu
    reachable="import urllib.request; urllib.request.urlopen('$cpu_index/torch/', timeout=5)"
    if [ "$(uname -sm)" = "Linux x86_64" ] && ! nvidia-smi >/dev/null 2>&1 &&
        "$venv/bin/python" -c "$reachable" 2>/dev/null; then
        say "Installing $torch, CPU build"
        "${pip[@]}" install --quiet --index-url "$cpu_index" -c constraints.txt "$torch" ||
            say "That did not work; taking PyPI's build instead."
    fi
fi

say "Installing rlt_ros into $venv"
"${pip[@]}" install --quiet -c constraints.txt -e '.[all]'
"$venv/bin/python" -m pip check
touch "$venv/.installed"
say "Ready: $venv/bin/rlt-ros --help"
