// One mapping of memory, made once and never grown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace imagine_deblur {

// What the pages of a mapping are. A file on tmpfs is memory, not disk: the kernel can only move it
// to swap.
enum class Backing { kDisk, kTmpfs, kAnonymous };

// "disk", "tmpfs" or "anonymous".
const char* backing_name(Backing backing) noexcept;

// The folder for temporary files: $TMPDIR where set, else the first of /var/tmp and /tmp that can
// be written. /var/tmp comes first because /tmp is tmpfs on many systems.
std::string default_folder();

// Bytes an unprivileged process may still write to the file system that holds `folder`; throws kIo.
std::int64_t free_bytes(const std::string& folder);

// Memory of a fixed size, zero at first. File-backed memory sits in a file without a name (so that
// it is gone when the process is, however it ends), with every block reserved at construction: a
// full disk is an error then and never a SIGBUS later. Under pressure the kernel writes file-backed
// pages out instead of killing the process. Not copyable; any thread.
class MappedFile {
 public:
  // In `folder`. Throws kMemoryBudget (wanted and free bytes, folder) when the disk is too small,
  // kIo (errno, folder) when the folder is missing, unwritable or cannot reserve.
  static MappedFile in_folder(std::size_t bytes, const std::string& folder);
  // Without a file. Throws kMemoryBudget when the kernel refuses.
  static MappedFile anonymous(std::size_t bytes);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }  // as asked, rounded up to whole pages
  Backing backing() const noexcept { return backing_; }
  const std::string& folder() const noexcept { return folder_; }  // empty for anonymous

  // Bytes of the mapping whose pages are in memory now, by mincore; -1 where the kernel will not
  // say. For a file these are pages of the page cache, which the kernel can take back.
  std::int64_t resident_bytes() const;

  // The content of [offset, offset + bytes) is dead: gives back the memory of the whole pages
  // inside without writing them to disk. They read as zeros afterwards, or still as they were where
  // the file system can do no better. On disk the blocks stay reserved. On tmpfs they do not
  // (there, reserving is using): call reserve() before writing again. Never fails.
  void drop(std::size_t offset, std::size_t bytes) noexcept;

  // Makes [offset, offset + bytes) safe to write again after drop(). Throws kMemoryBudget where
  // the file system has filled up since.
  void reserve(std::size_t offset, std::size_t bytes);

 private:
  MappedFile() = default;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  int file_ = -1;  // stays open for drop() and reserve(); -1 for anonymous
  Backing backing_ = Backing::kAnonymous;
  std::string folder_;
};

std::size_t page_bytes() noexcept;

}  // namespace imagine_deblur
