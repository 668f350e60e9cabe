// The mapping's files: nameless and closed, in folders and on disks that are missing or too small.
#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "check.h"
#include "memory/buffer_pool.h"
#include "memory/mapped_file.h"
#include "support.h"

using namespace imagine_deblur;
using test_support::in_child;

namespace {

constexpr std::size_t kMiB = 1024 * 1024;

constexpr int kSkipped = 77;

int entries(const std::string& folder) {
  int count = 0;
  DIR* const open = opendir(folder.c_str());
  CHECK(open != nullptr);
  while (const dirent* entry = readdir(open)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) ++count;
  }
  closedir(open);
  return count;
}

// A folder of its own, empty, removed at the end.
struct TemporaryFolder {
  explicit TemporaryFolder(const std::string& parent = default_folder())
      : path(parent + "/test-memory-XXXXXX") {
    CHECK(mkdtemp(path.data()) != nullptr);
  }
  ~TemporaryFolder() { rmdir(path.c_str()); }
  std::string path;
};

void test_files_are_nameless_and_closed() {
  const int before = entries("/proc/self/fd");
  TemporaryFolder folder;
  {
    BufferPool pool({.bytes = kMiB, .folder = folder.path});
    CHECK(pool.statistics().folder == folder.path);
    CHECK(entries(folder.path) == 0);
    CHECK(entries("/proc/self/fd") == before + 1);
    MappedFile first = MappedFile::in_folder(1, folder.path);
    CHECK(first.bytes() == page_bytes());
    const MappedFile second = std::move(first);
    CHECK(second.data() != nullptr && second.data()[0] == std::byte{0});
  }
  CHECK(entries("/proc/self/fd") == before);
}

void test_missing_and_unwritable_folders() {
  const int before = entries("/proc/self/fd");
  try {
    MappedFile::in_folder(kMiB, "/nonexistent/folder");
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kIo && error.context().code == ENOENT);
    CHECK(error.context().path == "/nonexistent/folder");
  }
  CHECK_THROWS(MappedFile::in_folder(kMiB, "/proc/self/status"), ErrorKind::kIo);
  CHECK_THROWS(free_bytes("/nonexistent"), ErrorKind::kIo);
  TemporaryFolder folder;
  CHECK(in_child([&folder] {
          if (chmod(folder.path.c_str(), S_IRUSR | S_IXUSR) != 0) return 3;
          if (geteuid() == 0 && seteuid(65534) != 0) return 3;  // root may write anywhere
          try {
            MappedFile::in_folder(kMiB, folder.path);
          } catch (const Error& error) {
            return error.kind() == ErrorKind::kIo && error.context().code == EACCES ? 0 : 1;
          }
          return 2;
        }) == 0);
  CHECK(entries("/proc/self/fd") == before);
}

void test_a_disk_too_small_is_refused_before_it_fills() {
  TemporaryFolder folder;
  const std::int64_t free = free_bytes(folder.path);
  const int before = entries("/proc/self/fd");
  try {
    MappedFile::in_folder(static_cast<std::size_t>(free) + (std::size_t{1} << 40), folder.path);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kMemoryBudget);
    CHECK(error.context().path == folder.path);
    CHECK(error.context().wanted > error.context().allowed && error.context().allowed >= 0);
  }
  CHECK(entries("/proc/self/fd") == before);
  CHECK_THROWS(MappedFile::anonymous(std::size_t{1} << 60), ErrorKind::kMemoryBudget);
}

// On a file system of 2 MiB of our own, where the kernel lets us make one.
int on_a_small_tmpfs(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return kSkipped;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kSkipped;
  if (mount("tmpfs", path.c_str(), "tmpfs", 0, "size=2m") != 0) return kSkipped;
  CHECK(free_bytes(path) == static_cast<std::int64_t>(2 * kMiB));
  CHECK_THROWS(MappedFile::in_folder(3 * kMiB, path), ErrorKind::kMemoryBudget);
  CHECK(free_bytes(path) == static_cast<std::int64_t>(2 * kMiB));
  {
    BufferPool pool({.bytes = kMiB, .folder = path});
    CHECK(free_bytes(path) == static_cast<std::int64_t>(kMiB));  // reserved, though not written
    Lease lease = pool.lease("plane", kMiB);
    std::memset(lease.data(), 1, lease.bytes());
    pool.advise_dropped(lease);
    CHECK(free_bytes(path) == static_cast<std::int64_t>(2 * kMiB));
    lease.release();
    {
      // Somebody else takes the room: leasing again is refused here, not killed later.
      const MappedFile greedy = MappedFile::in_folder(3 * kMiB / 2, path);
      CHECK_THROWS(static_cast<void>(pool.lease("again", kMiB)), ErrorKind::kMemoryBudget);
      CHECK(pool.statistics().refused == 1 && pool.statistics().in_use == 0);
    }
    const Lease again = pool.lease("again", kMiB);
    CHECK(free_bytes(path) == static_cast<std::int64_t>(kMiB));
    std::memset(again.data(), 2, again.bytes());
  }
  CHECK(free_bytes(path) == static_cast<std::int64_t>(2 * kMiB));
  umount(path.c_str());
  return 0;
}

void test_a_small_tmpfs() {
  TemporaryFolder folder;
  const int status = in_child([&folder] { return on_a_small_tmpfs(folder.path); });
  if (status == kSkipped) std::printf("small tmpfs: not permitted to mount one, skipped\n");
  CHECK(status == 0 || status == kSkipped);
}

void test_default_folder_follows_the_environment() {
  const char* const kept = std::getenv("TMPDIR");
  const std::string old = kept == nullptr ? "" : kept;
  setenv("TMPDIR", "/some/where", 1);
  CHECK(default_folder() == "/some/where");
  unsetenv("TMPDIR");
  CHECK(access(default_folder().c_str(), W_OK) == 0);
  if (kept != nullptr) setenv("TMPDIR", old.c_str(), 1);
}

}  // namespace

int main() {
  test_files_are_nameless_and_closed();
  test_missing_and_unwritable_folders();
  test_a_disk_too_small_is_refused_before_it_fills();
  test_a_small_tmpfs();
  test_default_folder_follows_the_environment();
  return 0;
}
