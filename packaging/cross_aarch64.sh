#!/usr/bin/env bash
# aarch64 wheels in dist/, built on x86-64: packaging/cross_aarch64.sh [PYTHON...]
# PYTHON: interpreters of this machine; their versions are what the wheels are for.
# `auditwheel repair` refuses wheels of another machine. There is nothing to bundle (the one library
# is static), so the wheel is measured by `auditwheel show` and tagged.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pythons=("$@")
if [ ${#pythons[@]} = 0 ]; then mapfile -t pythons < <(default_pythons); fi
make_tools
mkdir -p "$root/dist"
trap 'rm -rf "$work"/raw.*' EXIT
for python in "${pythons[@]}"; do
  raw=$(mktemp -d "$work/raw.XXXXXX")
  compile_wheel aarch64 "$python" "$raw"
  wheel tags --remove --platform-tag "manylinux_${glibc/./_}_aarch64" "$raw"/*.whl >/dev/null
  check_wheel aarch64 "$raw"/*.whl
  mv "$raw"/*.whl "$root/dist/"
done
"$tools/bin/python" "$here/sbom.py" --jpeg "$work/libjpeg-turbo" "$root"/dist/*.whl
