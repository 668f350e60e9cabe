#!/usr/bin/env bash
# The source archive in dist/, installed and tried: packaging/check_sdist.sh [PYTHON]
#
# Makes the archive with PYTHON (which has scikit-build-core), installs it with pip in an empty
# environment as a person would, and restores a small scene there. Needs a compiler and the headers
# of libjpeg-turbo, as `pip install .` does.
set -euo pipefail
python=${1:-python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$root/dist"
cd "$root"
name=$("$python" -c 'import scikit_build_core.build as b; print(b.build_sdist("dist"))' | tail -n 1)
"$python" -m venv "$work/venv"
cd "$work" # away from the tree, so that nothing of it is used
"$work/venv/bin/pip" install -q "$root/dist/$name"
"$work/venv/bin/pip" list
"$work/venv/bin/imagine-deblur" --version
"$work/venv/bin/imagine-deblur" demo -o demo --rows 384 --columns 512
echo "dist/$name installs and restores"
