#!/usr/bin/env bash
# Tests of the lerobot back end in an environment of their own: `tools/test_lerobot.sh [.venv] [pytest options]`.
#
# lerobot wants other versions of torch, transformers and huggingface-hub than this package. On Python 3.11 it is 0.4.4,
# which is laid over the environment of the package: torch and everything else that fits is taken from there. Its own
# requirements would replace torch's CPU build by gigabytes of CUDA, so it comes without them, and those that SmolVLA
# needs are named here.
set -euo pipefail
cd "$(dirname "$0")/.."
base="${1:-.venv}"
shift || true
venv=.venv-lerobot
stamp="$venv/.installed"

if [ ! -e "$stamp" ] || [ "$0" -nt "$stamp" ]; then
    "$base/bin/python" -m venv --clear "$venv"
    for place in "$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$PWD"; do
        echo "$place"
    done >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rlt_ros_base.pth"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
    "${pip[@]}" install --no-deps lerobot==0.4.4 torchvision==0.28.0 transformers==4.57.6 huggingface-hub==0.36.2 \
        tokenizers==0.22.2 datasets==4.1.1 diffusers==0.35.2 draccus==0.10.0 deepdiff==8.6.2 orderly-set==5.5.0 \
        'dill<0.4.1' 'multiprocess<0.70.17' 'fsspec<2025.10' \
        einops imageio jsonlines mergedeep num2words docopt typing-inspect pandas pyarrow pytz python-dateutil six \
        pyserial pyyaml-include requests charset-normalizer urllib3 certifi termcolor toml tqdm xxhash
    touch "$stamp"
fi
exec "$venv/bin/python" -m pytest -q test/vla_lerobot "$@"
