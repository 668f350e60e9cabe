#include "memory/buffer_pool.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "memory/assertion.h"

namespace imagine_deblur {
namespace {

constexpr std::size_t kSmallAlignment = 64;
constexpr std::size_t kBig = 64 * 1024;

std::size_t alignment(std::size_t bytes) noexcept {
  return bytes >= kBig ? page_bytes() : kSmallAlignment;
}

std::size_t round_up(std::size_t value, std::size_t step) noexcept {
  return (value + step - 1) / step * step;
}

MappedFile map(const PoolOptions& options) {
  if (options.anonymous) return MappedFile::anonymous(options.bytes);
  return MappedFile::in_folder(options.bytes,
                               options.folder.empty() ? default_folder() : options.folder);
}

}  // namespace

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      name_(std::move(other.name_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    release();
    pool_ = std::exchange(other.pool_, nullptr);
    name_ = std::move(other.name_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Lease::release() noexcept {
  if (pool_ == nullptr) return;
  pool_->take_back(*this);
  pool_ = nullptr;
  data_ = nullptr;
  bytes_ = 0;
}

BufferPool::BufferPool(const PoolOptions& options) : mapping_(map(options)) {
  holes_.push_back({0, mapping_.bytes()});
}

BufferPool::~BufferPool() { ensure(leases_ == 0, "a pool destroyed while a lease lives"); }

std::size_t BufferPool::footprint(std::size_t bytes) noexcept {
  return round_up(bytes, alignment(bytes));
}

Lease BufferPool::lease(std::string_view name, std::size_t bytes) {
  ensure(bytes > 0, "a lease of zero bytes");
  const std::lock_guard lock(mutex_);
  const std::size_t step = alignment(bytes);
  // The first test keeps the rounding from overflowing.
  const std::size_t size = bytes <= mapping_.bytes() ? footprint(bytes) : bytes;
  const auto fits = [&](const Hole& hole) {
    const std::size_t begin = round_up(hole.begin, step);
    return begin <= hole.end && hole.end - begin >= size;
  };
  const auto found = std::ranges::find_if(holes_, fits);
  if (found == holes_.end()) {
    ++refused_;
    std::size_t largest = 0;
    for (const Hole& hole : holes_) largest = std::max(largest, hole.end - hole.begin);
    ErrorContext context;
    context.field = std::string(name);
    context.wanted = static_cast<std::int64_t>(bytes);
    context.allowed = static_cast<std::int64_t>(largest);
    throw Error(ErrorKind::kMemoryBudget,
                "buffer '" + std::string(name) + "' needs " + std::to_string(bytes) +
                    " bytes; the largest free part of the pool of " +
                    std::to_string(mapping_.bytes()) + " bytes has " + std::to_string(largest) +
                    "; give the run more memory or smaller tiles",
                context);
  }

  const auto index = found - holes_.begin();
  const Hole hole = *found;
  const std::size_t begin = round_up(hole.begin, step);
  const std::size_t end = begin + size;
  const auto touches = [&](const Hole& d) { return d.begin < end && begin < d.end; };
  try {
    for (const Hole& dropped : dropped_) {
      if (touches(dropped)) mapping_.reserve(dropped.begin, dropped.end - dropped.begin);
    }
  } catch (const Error&) {
    ++refused_;
    throw;
  }
  std::erase_if(dropped_, touches);

  // There is never more than one hole more than leases, so take_back() need not allocate.
  holes_.reserve(static_cast<std::size_t>(leases_) + 2);
  Lease made(this, std::string(name), mapping_.data() + begin, bytes);  // nothing throws from here
  auto at = holes_.begin() + index;
  *at = {end, hole.end};
  if (end == hole.end) at = holes_.erase(at);
  if (hole.begin < begin) holes_.insert(at, {hole.begin, begin});
  in_use_ += size;
  high_water_ = std::max(high_water_, in_use_);
  ++leases_;
  return made;
}

void BufferPool::take_back(const Lease& lease) noexcept {
  const std::lock_guard lock(mutex_);
  const auto begin = static_cast<std::size_t>(lease.data_ - mapping_.data());
  const std::size_t size = footprint(lease.bytes_);
  Hole freed{begin, begin + size};
  auto after = std::ranges::lower_bound(holes_, begin, {}, &Hole::begin);
  if (after != holes_.end() && after->begin == freed.end) {
    freed.end = after->end;
    after = holes_.erase(after);
  }
  if (after != holes_.begin() && std::prev(after)->end == freed.begin) {
    std::prev(after)->end = freed.end;
  } else {
    holes_.insert(after, freed);
  }
  in_use_ -= size;
  --leases_;
}

void BufferPool::advise_dropped(const Lease& lease) { advise_dropped(lease, 0, lease.bytes_); }

void BufferPool::advise_dropped(const Lease& lease, std::size_t offset, std::size_t bytes) {
  ensure(lease.pool_ == this, "a lease of another pool");
  ensure(offset <= lease.bytes_ && bytes <= lease.bytes_ - offset, "bytes outside the lease");
  const std::size_t begin = static_cast<std::size_t>(lease.data_ - mapping_.data()) + offset;
  const std::lock_guard lock(mutex_);
  mapping_.drop(begin, bytes);
  if (mapping_.backing() != Backing::kTmpfs || bytes == 0) return;
  if (!dropped_.empty() && dropped_.back().end == begin) {
    dropped_.back().end += bytes;  // the next rows of a plane that is dropped as it is consumed
  } else {
    dropped_.push_back({begin, begin + bytes});
  }
}

PoolStatistics BufferPool::statistics() const {
  PoolStatistics now;
  now.resident = mapping_.resident_bytes();
  const std::lock_guard lock(mutex_);
  now.capacity = mapping_.bytes();
  now.in_use = in_use_;
  now.high_water = high_water_;
  for (const Hole& hole : holes_) {
    now.largest_free = std::max(now.largest_free, hole.end - hole.begin);
  }
  now.leases = leases_;
  now.refused = refused_;
  now.backing = mapping_.backing();
  now.folder = mapping_.folder();
  return now;
}

}  // namespace imagine_deblur
