set(IMAGINE_DEBLUR_THREADS_SOURCES threads/affinity.cpp threads/cgroup.cpp threads/executor.cpp
                                   threads/pinned_pool.cpp threads/topology.cpp)
