#include "threads/pinned_pool.h"

#include <pthread.h>

#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "memory/assertion.h"

namespace imagine_deblur {
namespace {

// The pool whose task this thread is running, to catch calls from inside a task.
thread_local const PinnedPool* running_pool = nullptr;

// Threads started while this lives are deaf to signals.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

PinnedPool::PinnedPool(const PinnedPoolOptions& options) {
  if (options.threads < 1) {
    ErrorContext context;
    context.field = "threads";
    throw Error(ErrorKind::kOptions,
                "threads is " + std::to_string(options.threads) + "; expected at least 1", context);
  }
  const SignalsBlocked blocked;
  threads_.reserve(static_cast<std::size_t>(options.threads - 1));
  try {
    for (int worker = 1; worker < options.threads; ++worker) {
      {
        const std::lock_guard lock(mutex_);
        ++starting_;
      }
      threads_.emplace_back([this, worker, &options] { work(worker, options); });
    }
  } catch (const std::system_error& error) {
    {
      const std::lock_guard lock(mutex_);
      --starting_;  // the one that never was
    }
    wait_until_started();
    stop();
    ErrorContext context;
    context.code = error.code().value();
    throw Error(ErrorKind::kIo,
                "cannot start thread " + std::to_string(threads_.size() + 2) + " of " +
                    std::to_string(options.threads) + ": " + error.what(),
                context);
  }
  wait_until_started();  // workers read `options`, which the caller may destroy
}

void PinnedPool::wait_until_started() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return starting_ == 0; });
}

PinnedPool::~PinnedPool() {
  ensure(running_pool != this, "a pool destroyed by one of its own tasks");
  stop();
}

void PinnedPool::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void PinnedPool::work(int worker, const PinnedPoolOptions& options) {
  const auto at = static_cast<std::size_t>(worker);
  const bool pinned =
      options.pin && at < options.processors.size() && pin_this_thread(options.processors[at]);
  const bool polite = make_this_thread_polite(options.politeness);

  std::unique_lock lock(mutex_);
  pinned_ += pinned ? 1 : 0;
  polite_ += polite ? 1 : 0;
  if (--starting_ == 0) finished_.notify_all();
  std::uint64_t seen = 0;
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || call_ != seen; });
    if (stopping_) return;
    seen = call_;
    lock.unlock();
    run_indices(worker);
    lock.lock();
    if (--busy_ == 0) finished_.notify_all();
  }
}

void PinnedPool::run_indices(int worker) noexcept {
  const PinnedPool* const outer = std::exchange(running_pool, this);
  while (!failed_.load(std::memory_order_relaxed)) {
    const int index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) break;
    try {
      (*task_)(index, worker);
    } catch (...) {
      failed_.store(true, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!first_error_) first_error_ = std::current_exception();
    }
  }
  running_pool = outer;
}

void PinnedPool::parallel_for(int count, const Task& task) {
  ensure(running_pool != this, "parallel_for called from inside one of its own tasks");
  if (count <= 0) return;
  const std::lock_guard turn(turn_);
  task_ = &task;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  failed_.store(false, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    busy_ = static_cast<int>(threads_.size());
    ++call_;
  }
  wake_.notify_all();
  run_indices(0);

  std::exception_ptr error;
  {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return busy_ == 0; });
    error = std::exchange(first_error_, nullptr);
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace imagine_deblur
