#include "threads/executor.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "memory/assertion.h"

namespace imagine_deblur {

void SerialExecutor::parallel_for(int count, const Task& task) {
  for (int index = 0; index < count; ++index) task(index, 0);
}

ShuffledExecutor::ShuffledExecutor(int workers, std::uint64_t seed)
    : workers_(workers), state_(seed) {
  ensure(workers > 0, "an executor without workers");
}

std::uint64_t ShuffledExecutor::next() noexcept {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

void ShuffledExecutor::parallel_for(int count, const Task& task) {
  std::vector<int> order(static_cast<std::size_t>(std::max(count, 0)));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next() % i]);
  for (const int index : order) {
    task(index, static_cast<int>(next() % static_cast<std::uint64_t>(workers_)));
  }
}

}  // namespace imagine_deblur
