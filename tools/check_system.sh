#!/usr/bin/env bash
# Check for system packages that pip cannot install. Print one command that installs the missing ones, and exit with 1.
#
# Runs before anything is downloaded. The README names the same packages; a test compares the two.
set -euo pipefail

PACKAGES="git make python3 python3-venv libgomp1 libegl1 libgl1 libgl1-mesa-dri libosmesa6"
PYTHON_RANGE='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))'

# First interpreter in the supported range that can create virtual environments.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.12 python3.13 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$PYTHON_RANGE" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# On Debian ldconfig is outside the PATH of ordinary users.
libraries="$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)"
has_library() { grep -q "^[[:space:]]*$1" <<<"$libraries"; }

missing=()
for program in git make; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if python="$(find_python)"; then
    # Debian and Ubuntu package ensurepip separately; without it `venv` fails and leaves a broken folder.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$(basename "$python")-venv")
else
    missing+=("python3 (3.10 to 3.13)" python3-venv)
fi
has_library 'libgomp\.so\.1' || missing+=("libgomp1 (threads of PyTorch)")
has_library 'libGL\.so\.1' || missing+=(libgl1)
if [ -z "${MUJOCO_GL:-}" ] && ! has_library 'libEGL\.so\.1' && ! has_library 'libOSMesa\.so'; then
    missing+=("libegl1 or libosmesa6 (OpenGL without a screen)")
fi

if [ "${#missing[@]}" -gt 0 ]; then
    printf 'error: this system lacks %s. Install everything rlt_ros needs with:\n\n' \
        "$(printf '%s\n' "${missing[@]}" | paste -sd, | sed 's/,/, /g')" >&2
    printf '  sudo apt-get update && sudo apt-get install -y %s\n\n' "$PACKAGES" >&2
    exit 1
fi
