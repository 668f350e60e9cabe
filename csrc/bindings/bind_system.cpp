// The machine's limits, the worker pool, the buffer pool, and what this build is.
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "bindings/register.h"
#include "memory/buffer_pool.h"
#include "threads/affinity.h"
#include "threads/pinned_pool.h"
#include "threads/topology.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

Scheduling scheduling_from(const std::string& name) {
  if (name == "normal") return Scheduling::kNormal;
  if (name == "batch") return Scheduling::kBatch;
  if (name == "idle") return Scheduling::kIdle;
  throw Error(ErrorKind::kOptions, "scheduling must be normal, batch or idle, not " + name,
              {.field = "scheduling"});
}

py::dict statistics(const BufferPool& pool) {
  const PoolStatistics s = pool.statistics();
  py::dict out;
  out["capacity"] = s.capacity;
  out["in_use"] = s.in_use;
  out["high_water"] = s.high_water;
  out["largest_free"] = s.largest_free;
  out["resident"] = s.resident;
  out["leases"] = s.leases;
  out["refused"] = s.refused;
  out["backing"] = backing_name(s.backing);
  out["folder"] = s.folder;
  return out;
}

}  // namespace

void register_system(py::module_& module) {
  module.def("build_info", [] {
    py::dict out;
    out["version"] = IMAGINE_DEBLUR_VERSION;
    out["build_type"] = IMAGINE_DEBLUR_BUILD;
    out["compiler"] = __VERSION__;
    return out;
  });

  module.def(
      "topology",
      [](const std::string& root) {
        const Topology t = discover_topology(root);
        py::dict out;
        out["processors"] = t.processors;
        out["cores"] = t.cores;
        out["quota"] = t.quota;
        out["l2_bytes"] = t.l2_bytes;
        out["l3_bytes"] = t.l3_bytes;
        out["usable_threads"] = t.usable_threads;
        return out;
      },
      py::arg("root") = "");

  module.def(
      "memory_limits",
      [](const std::string& root) {
        const MemoryLimits m = discover_memory_limits(root);
        py::dict out;
        out["machine_bytes"] = m.machine_bytes;
        out["available_bytes"] = m.available_bytes;
        out["cgroup_limit_bytes"] = m.cgroup_limit_bytes;
        out["cgroup_room_bytes"] = m.cgroup_room_bytes;
        out["room_bytes"] = m.room_bytes();
        return out;
      },
      py::arg("root") = "");

  module.def(
      "make_this_thread_polite",
      [](int nice, const std::string& scheduling) {
        return make_this_thread_polite({nice, scheduling_from(scheduling)});
      },
      py::arg("nice") = 0, py::arg("scheduling") = "normal");

  py::class_<PinnedPool, std::shared_ptr<PinnedPool>>(module, "WorkerPool")
      .def(py::init([](int threads, bool pin, std::vector<int> processors, int nice,
                       const std::string& scheduling) {
             return std::make_shared<PinnedPool>(PinnedPoolOptions{
                 threads, pin, std::move(processors), {nice, scheduling_from(scheduling)}});
           }),
           py::arg("threads"), py::kw_only(), py::arg("pin") = false,
           py::arg("processors") = std::vector<int>{}, py::arg("nice") = 0,
           py::arg("scheduling") = "normal")
      .def_property_readonly("worker_count", &PinnedPool::worker_count)
      .def_property_readonly("pinned_count", &PinnedPool::pinned_count)
      .def_property_readonly("polite_count", &PinnedPool::polite_count);

  // Held by shared_ptr: arrays handed to a linear stage keep the pool's mapping alive.
  py::class_<BufferPool, std::shared_ptr<BufferPool>>(module, "BufferPool")
      .def(py::init([](std::size_t bytes, const std::filesystem::path& folder, bool anonymous) {
             return std::make_shared<BufferPool>(PoolOptions{bytes, folder.string(), anonymous});
           }),
           py::arg("bytes"), py::kw_only(), py::arg("folder") = "", py::arg("anonymous") = false)
      .def("statistics", &statistics)
      .def_property_readonly("capacity", &BufferPool::capacity);
}

}  // namespace imagine_deblur
