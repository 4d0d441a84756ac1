#!/usr/bin/env bash
# Set up a virtual environment with rlt_ros: `tools/install.sh [.venv]`.
#
# Safe to interrupt and to repeat: the stamp file of the Makefile is written last, a working environment is kept, and a
# broken one (interrupted creation) is created again.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${1:-.venv}"

log() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

source tools/check_system.sh

# A virtual environment, never the base Python, with a supported Python and pip.
isolated='import sys; sys.exit(sys.prefix == sys.base_prefix)'
usable() {
    "$venv/bin/python" -c "$PYTHON_RANGE" 2>/dev/null && "$venv/bin/python" -c "$isolated" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

if ! usable; then
    log "Creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# One line per downloaded package, with its size; on a terminal each line replaces the previous one.
install() {
    PYTHONUNBUFFERED=1 "$venv/bin/python" -m pip --disable-pip-version-check install --progress-bar off "$@" |
        awk -v tty="$([ -t 2 ] && echo 1)" '
            /^ *Downloading .*[MG]B\)/ && !/metadata/ { n++; text = sprintf("  %3d  %s", n, $2 " " $3 " " $4) }
            /^Installing collected packages/ { text = "  unpacking " NF - 3 " packages" }
            text != "" { printf(tty ? "\r\033[K%.100s" : "%.100s\n", text); fflush(); text = "" }
            END { if (tty) printf("\r\033[K") }' >&2
}

# torch first: without a GPU its CPU build is a tenth of the download. That build is on PyTorch's index only (Linux on
# x86); if the index is unreachable, PyPI's build works as well.
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    torch="$(grep -E '^torch==' constraints.txt)"
    cpu_index=https://download.pytorch.org/whl/cpu
    reachable="import urllib.request; urllib.request.urlopen('$cpu_index/torch/', timeout=5)"
    if [ "$(uname -sm)" = "Linux x86_64" ] && ! nvidia-smi >/dev/null 2>&1 &&
        "$venv/bin/python" -c "$reachable" 2>/dev/null; then
        log "Installing $torch, CPU build"
        install --index-url "$cpu_index" -c constraints.txt "$torch" ||
            log "Installation of the CPU build failed; installing PyPI's build instead."
    fi
fi

log "Installing rlt_ros and its libraries into $venv: about 0.6 GB to download, 2.4 GB on the disk (more with a GPU)"
install -c constraints.txt -e '.[all]'
"$venv/bin/python" -m pip --disable-pip-version-check check >&2
touch "$venv/.installed"
log "Ready: $venv/bin/rlt-ros --help"
