"""Make the C library fail: allocations, and the writes of the JPEG encoder; nothing may be lost.

A small library, compiled here and preloaded, counts calls of the allocator above a size, of
``write`` (results, staged by the encoder in C++, and Python's own), of ``pwrite`` (the journal), of
``mmap`` of files (the buffer pool) and of ``posix_fallocate``. Trials are spread evenly over the
calls that an undisturbed run makes: in a forked child that one call fails, and after it an
undisturbed service runs. Both together must deliver every capture once, with the right bytes. The
disturbed process may end in any way but by hanging.

    python tests/faults/failing_libc.py --trials 200
    python tests/faults/failing_libc.py --only malloc --persistent

Needs a C compiler and glibc.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from common import FAULTS, capture, drop, expected_of, folder, reckon, service, verdict

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

enum { MALLOC, WRITE, PWRITE, MMAP, FALLOCATE, KINDS };
static long counts[KINDS];
static int armed = -1, code, persistent;
static long at;
static size_t least = (size_t)-1;

void fault_arm(int kind, long call, size_t size, int error, int lasting) {
  for (int k = 0; k < KINDS; ++k) counts[k] = 0;
  at = call, least = size, code = error, persistent = lasting, armed = kind;
}
long fault_count(int kind) { return counts[kind]; }

static int fails(int kind) {
  if (least == (size_t)-1) return 0;
  long mine = __atomic_fetch_add(&counts[kind], 1, __ATOMIC_RELAXED);
  if (kind != armed || mine < at || (mine > at && !persistent)) return 0;
  errno = code;
  return 1;
}

void* malloc(size_t n) { return n >= least && fails(MALLOC) ? NULL : __libc_malloc(n); }
void* calloc(size_t n, size_t m) {
  return n * m >= least && fails(MALLOC) ? NULL : __libc_calloc(n, m);
}
void* realloc(void* p, size_t n) {
  return n >= least && fails(MALLOC) ? NULL : __libc_realloc(p, n);
}
void* memalign(size_t a, size_t n) {
  return n >= least && fails(MALLOC) ? NULL : __libc_memalign(a, n);
}
void* aligned_alloc(size_t a, size_t n) { return memalign(a, n); }
int posix_memalign(void** p, size_t a, size_t n) {
  void* made = memalign(a, n);
  if (made == NULL) return ENOMEM;
  *p = made;
  return 0;
}
ssize_t write(int fd, const void* p, size_t n) {
  static ssize_t (*real)(int, const void*, size_t);
  if (!real) real = (ssize_t (*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  return fails(WRITE) ? -1 : real(fd, p, n);
}
ssize_t pwrite64(int fd, const void* p, size_t n, off64_t o) {
  static ssize_t (*real)(int, const void*, size_t, off64_t);
  if (!real) real = (ssize_t (*)(int, const void*, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  return fails(PWRITE) ? -1 : real(fd, p, n, o);
}
static void* map(void* p, size_t n, int prot, int flags, int fd, off64_t o) {
  static void* (*real)(void*, size_t, int, int, int, off64_t);
  if (!real) real = (void* (*)(void*, size_t, int, int, int, off64_t))dlsym(RTLD_NEXT, "mmap64");
  return fd >= 0 && fails(MMAP) ? MAP_FAILED : real(p, n, prot, flags, fd, o);
}
void* mmap64(void* p, size_t n, int r, int f, int fd, off64_t o) { return map(p, n, r, f, fd, o); }
void* mmap(void* p, size_t n, int r, int f, int fd, off_t o) { return map(p, n, r, f, fd, o); }
static int allocate(int fd, off64_t o, off64_t n) {
  static int (*real)(int, off64_t, off64_t);
  if (!real) real = (int (*)(int, off64_t, off64_t))dlsym(RTLD_NEXT, "posix_fallocate64");
  return fails(FALLOCATE) ? code : real(fd, o, n);
}
int posix_fallocate64(int fd, off64_t o, off64_t n) { return allocate(fd, o, n); }
int posix_fallocate(int fd, off_t o, off_t n) { return allocate(fd, o, n); }
"""
KINDS = ("malloc", "write", "pwrite", "mmap", "fallocate")
ERRORS = {"malloc": "ENOMEM", "write": "ENOSPC", "pwrite": "ENOSPC", "mmap": "ENOMEM"}
ENVIRONMENT = "IMAGINE_DEBLUR_FAULTS"


def preloaded() -> ctypes.CDLL:
    """Compile the library and start this program again with it, or return it."""
    if ENVIRONMENT in os.environ:
        faults = ctypes.CDLL(os.environ[ENVIRONMENT])
        faults.fault_arm.argtypes = (
            ctypes.c_int, ctypes.c_long, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
        )  # fmt: skip
        faults.fault_count.restype = ctypes.c_long
        return faults
    with tempfile.TemporaryDirectory() as scratch:
        source, library = Path(scratch) / "faults.c", Path(scratch) / "faults.so"
        source.write_text(SOURCE)
        command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True)
        environment = os.environ | {ENVIRONMENT: str(library), "LD_PRELOAD": str(library)}
        done = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
    raise SystemExit(done.returncode)


def in_child(
    inbox: Path,
    outbox: Path,
    faults: ctypes.CDLL,
    fault: tuple[int, int, int, int, int] | None,
    tally: Path | None = None,
) -> str:
    """Run a service to its end in a forked child; return how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            signal.alarm(120)
            faulthandler.enable()
            if fault is not None:
                faults.fault_arm(*fault)
            try:
                code = service(inbox, outbox, stable_polls=1).run()
            except MemoryError:
                code = 254
            if tally is not None:
                tally.write_text(" ".join(str(faults.fault_count(k)) for k in range(len(KINDS))))
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGALRM:
        return "hung"
    return {0: "carried on", 254: "MemoryError"}.get(code, f"code {code}")


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="of each kind, at most")
    parser.add_argument("--least", type=int, default=2048, help="bytes of allocations that count")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--persistent", action="store_true", help="every later call fails too")
    arguments = parser.parse_args()
    faults = preloaded()
    captures = {"c.jpg": capture(0, 64, 80), "bad.jpg": b"no picture \xff\xd9"}
    expected = expected_of({"c.jpg": captures["c.jpg"]})
    with folder("libc") as base:
        (base / "in").mkdir()
        for name, data in captures.items():
            drop(base / "in", name, data)
        undisturbed = (len(KINDS), 0, arguments.least, 0, 0)
        in_child(base / "in", base / "out", faults, undisturbed, base / "tally")
        counts = [int(c) for c in (base / "tally").read_text().split()]
    print("calls of an undisturbed run:", dict(zip(KINDS, counts, strict=True)), flush=True)
    total: Counter[str] = Counter()
    for kind, (name, count) in enumerate(zip(KINDS, counts, strict=True)):
        if arguments.only not in (None, name):
            continue
        trials = min(count, arguments.trials)
        ends: Counter[str] = Counter()
        error = getattr(errno, ERRORS.get(name, "ENOSPC"))
        for trial in range(trials):
            at = trial * count // trials
            with folder("libc") as base:
                inbox, outbox = base / "in", base / "out"
                inbox.mkdir()
                for capture_name, data in captures.items():
                    drop(inbox, capture_name, data)
                fault = (kind, at, arguments.least, error, int(arguments.persistent))
                first = in_child(inbox, outbox, faults, fault)
                second = in_child(inbox, outbox, faults, None)
                result = reckon(outbox, captures, expected)
            ends[first] += 1
            total += result
            total["hung"] += first == "hung"
            total["second service failed"] += second != "carried on"
            if first not in ("carried on", "MemoryError"):
                print(f"{name} {at}: the disturbed service ended with {first}", flush=True)
            if second != "carried on" or any(result[fault] for fault in FAULTS):
                print(f"{name} {at}: {first}, then {second}, {dict(result)}", flush=True)
        print(f"{name}: {trials} of {count} calls failed in turn: {dict(ends)}", flush=True)
    return verdict(total) or int(total["second service failed"] + total["hung"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
