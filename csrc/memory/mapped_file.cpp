#include "memory/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace imagine_deblur {
namespace {

constexpr std::size_t kMapsPagesAtATime = 4096;  // for mincore: one byte each
constexpr long kTmpfsMagic = 0x01021994;         // statfs(2): TMPFS_MAGIC

std::size_t round_up_to_page(std::size_t bytes) noexcept {
  const std::size_t page = page_bytes();
  return (bytes + page - 1) / page * page;
}

[[noreturn]] void refuse_io(const std::string& folder, const std::string& what, int code) {
  ErrorContext context;
  context.path = folder;
  context.code = code;
  throw Error(ErrorKind::kIo, what + " in folder " + folder + ": " + std::strerror(code), context);
}

[[noreturn]] void refuse_memory(const std::string& where, std::size_t wanted, std::int64_t allowed,
                                const std::string& advice) {
  ErrorContext context;
  context.path = where;
  context.wanted = static_cast<std::int64_t>(wanted);
  context.allowed = allowed;
  throw Error(ErrorKind::kMemoryBudget,
              std::to_string(wanted) + " bytes wanted, " +
                  (allowed < 0 ? std::string("not available") : std::to_string(allowed) + " free") +
                  (where.empty() ? std::string() : " in folder " + where) + "; " + advice,
              context);
}

constexpr const char* kDiskAdvice = "make room there or choose another folder";

// A file without a name that its owner alone may read.
int open_nameless(const std::string& folder) {
  const int file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file >= 0) return file;
  // Kernels and file systems that cannot do that say so in one of these ways; every other failure
  // comes back from mkostemp as well, which names it.
  std::string name = folder + "/imagine-deblur-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named < 0) refuse_io(folder, "cannot create a temporary file", errno);
  unlink(name.c_str());
  return named;
}

// Blocks for [offset, offset + bytes), or the errno that says why not.
int allocate(int file, std::size_t offset, std::size_t bytes) noexcept {
  int code = EINTR;
  while (code == EINTR) {
    code = posix_fallocate(file, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  }
  return code;
}

bool is_tmpfs(int file) noexcept {
  struct statfs about{};
  return fstatfs(file, &about) == 0 && static_cast<long>(about.f_type) == kTmpfsMagic;
}

// Closes the file on the way out unless told to keep it.
struct FileGuard {
  int file;
  ~FileGuard() {
    if (file >= 0) close(file);
  }
};

bool out_of_room(int code) noexcept { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

}  // namespace

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

const char* backing_name(Backing backing) noexcept {
  switch (backing) {
    case Backing::kDisk:
      return "disk";
    case Backing::kTmpfs:
      return "tmpfs";
    case Backing::kAnonymous:
      return "anonymous";
  }
  return "unknown";
}

std::string default_folder() {
  const char* const chosen = std::getenv("TMPDIR");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  for (const char* folder : {"/var/tmp", "/tmp"}) {
    if (access(folder, W_OK | X_OK) == 0) return folder;
  }
  return ".";
}

std::int64_t free_bytes(const std::string& folder) {
  struct statvfs about{};
  if (statvfs(folder.c_str(), &about) != 0) {
    refuse_io(folder, "cannot ask for the free space", errno);
  }
  return static_cast<std::int64_t>(about.f_bavail) * static_cast<std::int64_t>(about.f_frsize);
}

MappedFile MappedFile::in_folder(std::size_t bytes, const std::string& folder) {
  MappedFile made;
  made.bytes_ = round_up_to_page(std::max<std::size_t>(bytes, 1));
  made.folder_ = folder;
  FileGuard guard{open_nameless(folder)};
  // Asked first, so that a hopeless wish does not fill the disk for everyone else for a moment.
  const std::int64_t free = free_bytes(folder);
  if (static_cast<std::int64_t>(made.bytes_) > free) {
    refuse_memory(folder, made.bytes_, free, kDiskAdvice);
  }
  if (const int code = allocate(guard.file, 0, made.bytes_); out_of_room(code)) {
    refuse_memory(folder, made.bytes_, free, kDiskAdvice);
  } else if (code != 0) {
    refuse_io(folder, "cannot reserve space", code);
  }
  void* const mapped =
      mmap(nullptr, made.bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, guard.file, 0);
  if (mapped == MAP_FAILED) {
    if (errno != ENOMEM) refuse_io(folder, "cannot map a temporary file", errno);
    refuse_memory("", made.bytes_, -1, "the address space limit is too small for the budget");
  }
  made.data_ = static_cast<std::byte*>(mapped);
  made.backing_ = is_tmpfs(guard.file) ? Backing::kTmpfs : Backing::kDisk;
  made.file_ = std::exchange(guard.file, -1);
  return made;
}

MappedFile MappedFile::anonymous(std::size_t bytes) {
  MappedFile made;
  made.bytes_ = round_up_to_page(std::max<std::size_t>(bytes, 1));
  void* const mapped =
      mmap(nullptr, made.bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    refuse_memory("", made.bytes_, -1, "choose a smaller budget or a folder to back the memory");
  }
  made.data_ = static_cast<std::byte*>(mapped);
  return made;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      file_(std::exchange(other.file_, -1)),
      backing_(other.backing_),
      folder_(std::move(other.folder_)) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (file_ >= 0) close(file_);
}

std::int64_t MappedFile::resident_bytes() const {
  std::vector<unsigned char> in_memory(kMapsPagesAtATime);
  const std::size_t step = kMapsPagesAtATime * page_bytes();
  std::int64_t pages = 0;
  for (std::size_t at = 0; at < bytes_; at += step) {
    const std::size_t length = std::min(step, bytes_ - at);
    if (mincore(data_ + at, length, in_memory.data()) != 0) return -1;
    const auto end = in_memory.begin() + static_cast<std::ptrdiff_t>(length / page_bytes());
    pages += std::count_if(in_memory.begin(), end, [](unsigned char page) { return page & 1; });
  }
  return pages * static_cast<std::int64_t>(page_bytes());
}

void MappedFile::drop(std::size_t offset, std::size_t bytes) noexcept {
  const std::size_t first = round_up_to_page(offset);
  const std::size_t last = (offset + bytes) / page_bytes() * page_bytes();
  if (last <= first) return;
  const auto start = static_cast<off_t>(first);
  const auto length = static_cast<off_t>(last - first);
  bool gone = false;
  if (backing_ == Backing::kDisk) {
    // Turns the blocks into reserved ones that have never been written, and forgets their pages.
    gone = fallocate(file_, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, start, length) == 0;
  } else if (backing_ == Backing::kTmpfs) {
    gone = fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, length) == 0;
  }
  // Anonymous pages are freed by this. A file that could do neither of the above at least leaves
  // this process's resident set; its pages stay in the cache until the kernel writes them.
  if (!gone) madvise(data_ + first, last - first, MADV_DONTNEED);
}

void MappedFile::reserve(std::size_t offset, std::size_t bytes) {
  if (backing_ != Backing::kTmpfs || bytes == 0) return;
  const int code = allocate(file_, offset, bytes);
  if (out_of_room(code)) refuse_memory(folder_, bytes, free_bytes(folder_), kDiskAdvice);
  if (code != 0) refuse_io(folder_, "cannot reserve space again", code);
}

}  // namespace imagine_deblur
