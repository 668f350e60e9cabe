// Fixed buffers over one mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "memory/mapped_file.h"

namespace imagine_deblur {

struct PoolOptions {
  std::size_t bytes = 0;
  std::string folder = {};  // empty: default_folder()
  bool anonymous = false;   // true: no file; `folder` is not looked at
};

struct PoolStatistics {
  std::size_t capacity = 0;      // bytes
  std::size_t in_use = 0;        // bytes leased now, with rounding
  std::size_t high_water = 0;    // most bytes ever in use
  std::size_t largest_free = 0;  // the largest buffer that could be leased now, about a page less
  std::int64_t resident = -1;    // bytes in memory now, -1 unknown
  int leases = 0;                // live
  std::int64_t refused = 0;      // requests refused since the start
  Backing backing = Backing::kAnonymous;
  std::string folder;
};

class BufferPool;

// One buffer of a pool, given back on destruction. Its content is whatever was there before.
// Movable; a moved-from or released lease is empty. Does not outlive its pool.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { release(); }

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }  // as asked
  const std::string& name() const noexcept { return name_; }
  explicit operator bool() const noexcept { return pool_ != nullptr; }

  // The buffer as samples of T; the lease is aligned for every type up to 64 bytes.
  template <typename T>
  T* as() const noexcept {
    static_assert(alignof(T) <= 64);
    return static_cast<T*>(static_cast<void*>(data_));
  }

  // Gives the buffer back now. Does nothing for an empty lease.
  void release() noexcept;

 private:
  friend class BufferPool;
  Lease(BufferPool* pool, std::string name, std::byte* data, std::size_t bytes)
      : pool_(pool), name_(std::move(name)), data_(data), bytes_(bytes) {}

  BufferPool* pool_ = nullptr;
  std::string name_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Planes and tile buffers of one run, all out of one mapping whose size is decided at the start.
//
// How to size it: add up footprint(bytes) of every buffer that is alive at the same time. A pool of
// that many bytes never refuses as long as buffers are leased in a fixed order and given back
// last-first; leases that come and go in other orders can leave holes, so give those some slack and
// look at the high-water mark of a run.
//
// When it runs out: lease() throws kMemoryBudget with the bytes wanted and the largest free hole,
// counts the refusal, and leaves the pool as it was. It never grows. Later requests that fit still
// succeed.
//
// Alignment: 64 bytes; buffers of 64 KiB and more begin on a page and fill whole pages, so that
// dropping one never touches a neighbour. First fit, neighbouring holes are joined.
//
// Misuse that ends the program: destroying the pool while a lease lives; leasing zero bytes;
// dropping bytes outside the lease.
//
// Threads: every method may be called from any thread; a mutex guards the list of holes. What is in
// a buffer is its holder's business.
class BufferPool {
 public:
  // Throws what MappedFile throws.
  explicit BufferPool(const PoolOptions& options);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  // `name` is for error messages.
  [[nodiscard]] Lease lease(std::string_view name, std::size_t bytes);

  // The content of the lease, or of a part of it, is dead: the memory of the whole pages inside is
  // given back without being written to disk. Do not touch that part again under this lease; the
  // next lease over the same bytes may be written as usual.
  void advise_dropped(const Lease& lease);
  void advise_dropped(const Lease& lease, std::size_t offset, std::size_t bytes);

  PoolStatistics statistics() const;
  std::size_t capacity() const noexcept { return mapping_.bytes(); }

  // Bytes of the pool that a buffer of `bytes` takes up, alignment included.
  static std::size_t footprint(std::size_t bytes) noexcept;

 private:
  friend class Lease;
  struct Hole {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  void take_back(const Lease& lease) noexcept;

  MappedFile mapping_;
  mutable std::mutex mutex_;   // guards everything below
  std::vector<Hole> holes_;    // free bytes, in order, never touching each other
  std::vector<Hole> dropped_;  // not reserved since drop() on tmpfs; reserved again when leased
  std::size_t in_use_ = 0;
  std::size_t high_water_ = 0;
  int leases_ = 0;
  std::int64_t refused_ = 0;
};

}  // namespace imagine_deblur
