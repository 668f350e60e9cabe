// What several native tests use: seeded random numbers, and code that runs in a process of its own.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <random>

namespace test_support {

using Random = std::mt19937;

inline int pick(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// How `body` ended in a child process: its exit status, or minus the signal that killed it.
inline int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Whether `misuse` ends the program instead of returning.
inline bool aborts(const std::function<void()>& misuse) {
  return in_child([&misuse] {
           if (std::freopen("/dev/null", "w", stderr) == nullptr) return 2;
           misuse();
           return 0;
         }) == -SIGABRT;
}

}  // namespace test_support
