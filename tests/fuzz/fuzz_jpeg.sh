#!/usr/bin/env bash
# Coverage-guided fuzzing of the JPEG path: libFuzzer with AddressSanitizer and UBSan, libjpeg-turbo
# compiled from source with the same flags, so that coverage and checks reach into the decoder.
#   tests/fuzz/fuzz_jpeg.sh [SECONDS]      build, make the seeds once, fuzz so long (default 20)
# Needs Debian's clang with libFuzzer's runtime, its deb-src and Pillow; installs clang as root.
# Ends with 0 and says why where these cannot be had, unless FUZZ_REQUIRED is set.
#   FUZZ_FOLDER   corpus, findings and statistics (default: build/fuzz); kept between runs
#   CLANG         clang's name (default: clang-14)    PYTHON   an interpreter with numpy and Pillow
seconds=${1:-20}
source "$(dirname "${BASH_SOURCE[0]}")/../../packaging/common.sh"
folder=${FUZZ_FOLDER:-$root/build/fuzz}
build=$root/build/fuzz-build
clang=${CLANG:-clang-14}
mkdir -p "$folder"/{corpus,findings} "$build"

give_up() {
  echo "the JPEG path is not fuzzed here: $1"
  [ -z "${FUZZ_REQUIRED:-}" ] && exit 0
  exit 1
}

has_fuzzer() {
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    "${clang/clang/clang++}" -x c++ -fsanitize=fuzzer,address,undefined - -o "$build/probe" 2>/dev/null
}

if ! has_fuzzer && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq clang-14 libclang-rt-14-dev cmake \
    ninja-build dpkg-dev >/dev/null 2>&1 ||
    { apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq clang-14 libclang-rt-14-dev cmake \
        ninja-build dpkg-dev >/dev/null; } || give_up "apt-get cannot install clang-14"
fi
has_fuzzer || give_up "$clang cannot link libFuzzer"
(jpeg_source) || give_up "apt-get cannot fetch the source package libjpeg-turbo"

checks=address,undefined
# The vector code is assembly, which no sanitizer sees: the C code does the same work here.
if [ ! -f "$build/jpeg/libjpeg.a" ]; then
  cmake -S "$work/libjpeg-turbo" -B "$build/jpeg" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_COMPILER="$clang" -DENABLE_SHARED=OFF -DWITH_TURBOJPEG=OFF -DWITH_SIMD=OFF \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
    -DCMAKE_C_FLAGS="-fsanitize=fuzzer-no-link,$checks -fno-sanitize-recover=all" >"$build/jpeg.log" 2>&1
  cmake --build "$build/jpeg" -j "${JOBS:-1}" --target jpeg-static >>"$build/jpeg.log" 2>&1
  mkdir -p "$build/include"
  cp "$build/jpeg/jconfig.h" "$work/libjpeg-turbo"/{jpeglib,jmorecfg,jerror}.h "$build/include/"
fi
cmake -S "$root" -B "$build/target" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_C_COMPILER="$clang" -DCMAKE_CXX_COMPILER="${clang/clang/clang++}" \
  -DIMAGINE_DEBLUR_FUZZ=ON -DIMAGINE_DEBLUR_PYTHON=OFF -DIMAGINE_DEBLUR_TESTS=OFF \
  -DIMAGINE_DEBLUR_SANITIZE="$checks" -DJPEG_INCLUDE_DIR="$build/include" \
  -DJPEG_LIBRARY="$build/jpeg/libjpeg.a" >"$build/target.log"
cmake --build "$build/target" -j "${JOBS:-1}" --target fuzz_jpeg >>"$build/target.log" ||
  { tail -n 40 "$build/target.log" && exit 1; }

[ -d "$folder/seeds" ] || "${PYTHON:-python3}" "$here/../tests/fuzz/make_corpus.py" "$folder/seeds"
# A hang is an input that takes over 30 s (the machine may be busy); memory may not pass 600 MB with ASan's own, nor one
# request 64 MB. Any finding ends the run with a non-zero code and is left in findings/.
cd "$folder"
exec "$build/target/fuzz_jpeg" corpus seeds -artifact_prefix=findings/ -max_len=8192 -timeout=30 \
  -rss_limit_mb=600 -malloc_limit_mb=64 -max_total_time="$seconds" -print_final_stats=1 \
  -verbosity="${FUZZ_VERBOSITY:-0}"
