// Measures one OpenVINO engine in a process without Python, and prints a line of JSON.
//
//   engine_probe LIBRARY MODEL PLANES BANDS ROWS COLUMNS THREADS PRECISION REPEATS [MEMORY|PATH]
//                [INPUT OUTPUT [CACHE_DIRECTORY]]
//
// INPUT and OUTPUT are raw float32 tiles; "-" or nothing: a ramp in, nothing out. MEMORY reads the
// model into a buffer first and gives the engine that.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/openvino_engine.h"

namespace {

using imagine_deblur::OpenVinoEngine;
using imagine_deblur::OpenVinoOptions;

// 64-byte aligned floats.
struct Tile {
  explicit Tile(std::size_t count) : samples(count), storage(count + 16) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    data = storage.data() + ((64 - address % 64) % 64) / sizeof(float);
  }
  std::size_t samples;
  std::vector<float> storage;
  float* data = nullptr;
};

// Not from getrusage: its maximum begins with that of the process that started this one.
double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") {
      double kib = 0;
      status >> kib;
      return kib / 1024.0;
    }
  }
  return -1;
}

long thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void fill(Tile& tile, const std::string& path) {
  if (path.empty() || path == "-") {
    for (std::size_t i = 0; i < tile.samples; ++i) {
      tile.data[i] = static_cast<float>(i % 251) / 251.0F - 0.5F;
    }
    return;
  }
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(tile.data),
            static_cast<std::streamsize>(tile.samples * sizeof(float)));
}

void save(const Tile& tile, const std::string& path) {
  if (path.empty() || path == "-") {
    return;
  }
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(tile.data),
             static_cast<std::streamsize>(tile.samples * sizeof(float)));
}

void measure(const std::vector<std::string>& a) {
  const auto number = [&a](std::size_t i) { return std::atoi(a[i].c_str()); };
  const auto word = [&a](std::size_t i) { return i < a.size() ? a[i] : std::string(); };
  OpenVinoOptions options;
  options.library_path = a[0];
  options.model_path = a[1];
  options.input_planes = number(2);
  options.output_bands = number(3);
  options.tile_rows = number(4);
  options.tile_columns = number(5);
  options.threads = number(6);
  options.precision = a[7];
  options.cache_directory = word(12);
  const double before = peak_mib();
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<OpenVinoEngine> engine;
  if (word(9) == "MEMORY") {
    std::ifstream file(a[1], std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    options.model_bytes = std::as_bytes(std::span(bytes));
    engine = std::make_unique<OpenVinoEngine>(options);
  } else {
    engine = std::make_unique<OpenVinoEngine>(options);
  }
  const double ready = seconds_since(start);
  const double loaded = peak_mib();

  const std::size_t pixels =
      static_cast<std::size_t>(options.tile_rows) * static_cast<std::size_t>(options.tile_columns);
  Tile input(pixels * static_cast<std::size_t>(options.input_planes));
  Tile output(pixels * static_cast<std::size_t>(options.output_bands));
  fill(input, word(10));
  std::vector<double> seconds;
  for (int i = 0; i < std::max(number(8), 1); ++i) {
    const auto tile_start = std::chrono::steady_clock::now();
    engine->infer(input.data, output.data);
    seconds.push_back(seconds_since(tile_start));
  }
  save(output, word(11));
  std::sort(seconds.begin(), seconds.end());
  const auto& e = engine->effective();
  std::printf(
      "{\"version\": \"%s\", \"threads\": %d, \"streams\": %d, \"precision\": \"%s\", "
      "\"hint\": \"%s\", \"pinned\": %s, \"tasks\": %ld, \"ready_s\": %.4f, "
      "\"tile_median_s\": %.5f, \"tile_min_s\": %.5f, \"before_mib\": %.1f, \"loaded_mib\": %.1f, "
      "\"peak_mib\": %.1f}\n",
      e.version.c_str(), e.threads, e.streams, e.precision.c_str(), e.performance_hint.c_str(),
      e.pin_threads ? "true" : "false", thread_count(), ready, seconds[seconds.size() / 2],
      seconds.front(), before, loaded, peak_mib());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 9) {
    std::fprintf(stderr, "engine_probe: 9 arguments or more, see the source\n");
    return 2;
  }
  try {
    measure(arguments);
  } catch (const imagine_deblur::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
