#!/usr/bin/env bash
# Install the aarch64 wheel into a folder and run it under user-mode emulation, on x86-64:
#   packaging/test_aarch64.sh WHEEL [PYTEST ARGUMENT...]
# Compares one restored frame with this machine's (packaging/agreement.py), then runs the tests
# named (default: what does not count threads or memory, a quarter of an hour). Emulates a Cortex-A72.
# The distribution's own arm64 CPython runs it, so WHEEL must be for that version (3.11 on Debian 12).
#   REFERENCE   a Python of this machine with imagine_deblur installed (default: python3)
# Memory figures read under emulation are inflated: none is taken.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
wheel=$(realpath "$1")
shift
tests=("$@")
if [ ${#tests[@]} = 0 ]; then
  tests=(tests/test_{packaging,tiling,session,session_blur,damage}.py tests/capture tests/degradation tests/restoration
         tests/psf/test_{psf,psf_record,psf_field}.py tests/engines/test_winograd_engine.py
         tests/support/test_files.py tests/watch/test_{watch_journal,integrity}.py
         tests/evaluation/test_metrics.py
         tests/engines/test_{engines,engine_settings,engine_choice,network_files}.py
         -k "not as_many_threads and not ort_waits and not without_arena")
fi
sysroot=$work/sysroot-arm64 site=$work/site-aarch64
if [ ! -x "$sysroot/usr/bin/python3.11" ]; then
  unpack_debs arm64 "$sysroot" python3.11 libstdc++6 zlib1g libgcc-s1 libgomp1
fi
if command -v qemu-aarch64-static >/dev/null; then
  qemu=$(command -v qemu-aarch64-static)
else
  qemu=$work/qemu/usr/bin/qemu-aarch64-static
  if [ ! -x "$qemu" ]; then
    refresh_apt amd64
    mkdir -p "$work/qemu"
    (cd "$work/qemu" && private_apt amd64 download qemu-user-static && dpkg -x qemu-user-static_*.deb .)
  fi
fi

# ONNX Runtime reads the processor's parts from here (qemu's -L redirects the path) and crashes on
# what an x86 machine says.
mkdir -p "$sysroot/proc"
for core in 0 1 2 3; do
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n' "$core"
done >"$sysroot/proc/cpuinfo"

platforms=()
for floor in 2_35 2_34 2_31 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${floor}_aarch64"); done
install_arm() {
  "${PYTHON:-python3}" -m pip install -q --target "$site" --upgrade --only-binary :all: "$@" \
    --implementation cp --python-version 3.11 "${platforms[@]}"
}
if [ ! -f "$site/complete" ]; then
  # Every need of the wheel itself must be met by wheels for this machine: pip resolves them here.
  install_arm "$wheel"
  install_arm --no-deps openvino pillow scipy
  install_arm onnx
  install_arm pytest pytest-timeout hypothesis
  touch "$site/complete"
else
  install_arm --no-deps "$wheel"
fi

# What the tests start in turn has to be emulated as well: this machine's kernel does not run it.
interpreter=$work/python-aarch64
cat >"$interpreter" <<END
#!/bin/sh
exec "$qemu" -L "$sysroot" "$sysroot/usr/bin/python3.11" "\$@"
END
chmod +x "$interpreter"
printf 'import sys\n\nsys.executable = "%s"\n' "$interpreter" >"$site/sitecustomize.py"

emulated() {
  env -i PATH=/usr/bin:/bin HOME="$work" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH="$site" QEMU_CPU=cortex-a72 OPENBLAS_NUM_THREADS=1 "$qemu" -L "$sysroot" \
    "$sysroot/usr/bin/python3.11" "$@"
}

emulated "$here/agreement.py" write "$work/aarch64.npz"
"${REFERENCE:-python3}" "$here/agreement.py" write "$work/x86_64.npz"
"${REFERENCE:-python3}" "$here/agreement.py" compare "$work/x86_64.npz" "$work/aarch64.npz"

# The tests run outside the source tree's python/ folder, so that they import the installed wheel.
cd "$root"
emulated -m pytest -p no:cacheprovider -o timeout=0 -o addopts=-ra "${tests[@]}"
