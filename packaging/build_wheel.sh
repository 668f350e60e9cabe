#!/usr/bin/env bash
# x86-64 wheels in dist/, repaired to manylinux: packaging/build_wheel.sh [PYTHON...]
# One wheel for each interpreter named (default: those of python3.11 to python3.14 that are found).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pythons=("$@")
if [ ${#pythons[@]} = 0 ]; then mapfile -t pythons < <(default_pythons); fi
make_tools
mkdir -p "$root/dist"
trap 'rm -rf "$work"/raw.*' EXIT
for python in "${pythons[@]}"; do
  raw=$(mktemp -d "$work/raw.XXXXXX")
  compile_wheel x86_64 "$python" "$raw"
  auditwheel repair --plat "manylinux_${glibc/./_}_x86_64" --only-plat -w "$raw/repaired" "$raw"/*.whl
  check_wheel x86_64 "$raw"/repaired/*.whl
  mv "$raw"/repaired/*.whl "$root/dist/"
done
"$tools/bin/python" "$here/sbom.py" --jpeg "$work/libjpeg-turbo" "$root"/dist/*.whl
