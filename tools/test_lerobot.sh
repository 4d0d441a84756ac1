#!/usr/bin/env bash
# Tests of the lerobot back end in a separate environment: `tools/test_lerobot.sh [.venv] [pytest options]`.
#
# lerobot pins other versions of torch, transformers and huggingface-hub than this package. It is installed on top of the
# package's environment, which provides torch and all compatible libraries. Its own requirements would replace torch's CPU
# build by gigabytes of CUDA, so it is installed without them; tools/lerobot-*.txt pins those that its policies need. The
# Python version determines the release: 0.6 needs 3.12; 0.4.4 is the last one for older versions.
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

# An existing environment may be on top of another base, or older than its sources.
if [ "$(cat "$stamp" 2>/dev/null)" != "$below" ] || [ "$0" -nt "$stamp" ] || [ "$packages" -nt "$stamp" ]; then
    "$base/bin/python" -m venv --clear "$venv"
    printf '%s\n' "$below" "$PWD" >"$("$venv/bin/python" -c "$site")/rlt_ros_base.pth"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps -r "$packages"
    echo "$below" >"$stamp"
fi
exec "$venv/bin/python" -m pytest -q test/vla_lerobot "$@"
