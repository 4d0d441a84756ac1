#!/usr/bin/env bash
# Tests of the lerobot back end in an environment of their own: `tools/test_lerobot.sh [.venv] [pytest options]`.
#
# lerobot wants other versions of torch, transformers and huggingface-hub than this package. It is laid over the
# environment of the package: torch and everything else that fits is taken from there. Its own requirements would replace
# torch's CPU build by gigabytes of CUDA, so it comes without them, and those that its policies need are named in
# tools/lerobot-*.txt. Which release, Python decides: 0.6 needs 3.12, and 0.4.4 is the last one before.
set -euo pipefail
cd "$(dirname "$0")/.."
base="${1:-.venv}"
shift || true
venv=.venv-lerobot
stamp="$venv/.installed"

release=0.4
if "$base/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    release=0.6
fi
packages="tools/lerobot-$release.txt"
site='import sysconfig; print(sysconfig.get_path("purelib"))'
below="$("$base/bin/python" -c "$site")"

# What is there may be laid over another environment, or be older than what it is made of.
if [ "$(cat "$stamp" 2>/dev/null)" != "$below" ] || [ "$0" -nt "$stamp" ] || [ "$packages" -nt "$stamp" ]; then
    "$base/bin/python" -m venv --clear "$venv"
    printf '%s\n' "$below" "$PWD" >"$("$venv/bin/python" -c "$site")/rlt_ros_base.pth"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps -r "$packages"
    echo "$below" >"$stamp"
fi
exec "$venv/bin/python" -m pytest -q test/vla_lerobot "$@"
