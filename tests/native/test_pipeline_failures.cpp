// The streaming pipeline is clean when a part of it fails, and refuses plans that do not fit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "check.h"
#include "engine/identity_engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/streaming_pipeline.h"
#include "pipeline_parts.h"
#include "support.h"
#include "threads/executor.h"
#include "threads/pinned_pool.h"

using namespace imagine_deblur;
using namespace pipeline_parts;

namespace {

// Everything that can break, breaking once.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class BrokenSource final : public FrameSource {
 public:
  BrokenSource(Frame& frame, int row) : inner_(frame.view()), row_(row) {}
  FrameShape shape() const override { return inner_.shape(); }
  void read(RowRange rows, std::span<const PlaneWindow> planes) override {
    if (rows.last > row_) throw Broken("source");
    inner_.read(rows, planes);
  }

 private:
  ArraySource inner_;
  int row_;
};

class BrokenSink final : public FrameSink {
 public:
  void write(RowRange rows, std::span<const PlaneWindow>) override {
    CHECK(rows.first == written_);
    if (rows.first > 0) throw Broken("sink");
    written_ = rows.last;
  }

 private:
  int written_ = 0;
};

class CountingSink final : public FrameSink {
 public:
  void write(RowRange rows, std::span<const PlaneWindow>) override { written = rows.last; }
  int written = 0;
};

class BrokenStage final : public LinearStage {
 public:
  BrokenStage(int restores, int reviews) : restores_(restores), reviews_(reviews) {}
  void restore(const Strip&) override {
    if (restores_-- == 0) throw Broken("restore");
  }
  int review(const Strip&) override {
    if (reviews_-- == 0) throw Broken("review");
    return 0;
  }

 private:
  int restores_;
  int reviews_;
};

class BrokenEngine final : public Engine {
 public:
  explicit BrokenEngine(int tiles)
      : tiles_(tiles), spec_{"broken", "f32", 1, 1, 16, 16, {0, 0}, true, 0.0F} {}
  const EngineSpec& spec() const noexcept override { return spec_; }
  void infer(const float* input, float* output) override {
    if (tiles_-- == 0) throw Error(ErrorKind::kEngine, "engine", {.field = "broken"});
    std::copy(input, input + 256, output);
  }

 private:
  int tiles_;
  EngineSpec spec_;
};

void failures_propagate_and_leave_nothing() {
  Random random(4);
  Frame frame({97, 41, 1, SampleType::kUint8});
  frame.fill(random);
  FramePlan plan = plan_of(frame.shape, BrokenEngine(0),
                           {.inputs = {0}, .strip_height = 1, .drop_memory = true}, nullptr);
  plan.margin_rows = 3;
  plan.scratch_bytes = 100'000;
  constexpr int kNever = 1'000'000;
  enum class What { kSource, kSink, kRestore, kReview, kEngine, kCancel, kCallback };
  for (const What what : {What::kSource, What::kSink, What::kRestore, What::kReview, What::kEngine,
                          What::kCancel, What::kCallback}) {
    BrokenEngine engine(what == What::kEngine ? 5 : kNever);
    BrokenStage stage(what == What::kRestore ? 1 : kNever, what == What::kReview ? 1 : kNever);
    BrokenSource source(frame, what == What::kSource ? 60 : kNever);
    BrokenSink broken_sink;
    CountingSink counting_sink;
    FrameSink& sink = what == What::kSink ? static_cast<FrameSink&>(broken_sink) : counting_sink;
    BufferPool pool({.bytes = plan.pool_bytes(), .anonymous = true});
    PinnedPool workers({.threads = 2, .pin = false});
    int calls = 0;
    const KeepGoing keep_going = [&](double) {
      ++calls;
      if (what == What::kCallback && calls == 6) throw Broken("callback");
      return what != What::kCancel || calls < 6;
    };
    std::string caught;
    try {
      run_pipeline(source, sink, engine, &stage, pool, workers, plan, keep_going);
    } catch (const Broken& error) {
      caught = error.what();
    } catch (const Error& error) {
      caught = error.kind() == ErrorKind::kEngine      ? "engine"
               : error.kind() == ErrorKind::kCancelled ? "cancelled"
                                                       : error.what();
    }
    const char* const expected[] = {"source", "sink",      "restore", "review",
                                    "engine", "cancelled", "callback"};
    CHECK(caught == expected[static_cast<int>(what)]);
    CHECK(counting_sink.written < 97);  // stopped before the last strip
    CHECK(pool.statistics().leases == 0 && pool.statistics().in_use == 0);
    if (what == What::kCancel || what == What::kCallback) CHECK(calls == 6);  // at once
    // The same parts serve the next frame.
    BrokenEngine sound(kNever);
    BrokenStage sound_stage(kNever, kNever);
    ArraySource again(frame.view());
    CountingSink whole;
    run_pipeline(again, whole, sound, &sound_stage, pool, workers, plan, nullptr);
    CHECK(whole.written == 97);
  }
}

void cancelling_before_the_first_tile() {
  Frame frame({40, 40, 1, SampleType::kUint8});
  BrokenEngine engine(0);  // would fail at once if it were reached
  BufferPool pool({.bytes = 1 << 20, .anonymous = true});
  SerialExecutor serial;
  ArraySource source(frame.view());
  CountingSink sink;
  const FramePlan plan = plan_of(frame.shape, engine, {.inputs = {0}}, nullptr);
  CHECK_THROWS(
      run_pipeline(source, sink, engine, nullptr, pool, serial, plan, [](double) { return false; }),
      ErrorKind::kCancelled);
  CHECK(sink.written == 0);
}

void a_small_pool_is_refused_with_the_number_that_does() {
  Random random(5);
  Frame in({97, 300, 3, SampleType::kUint8});
  Frame out(in.shape);
  in.fill(random);
  RowMeanStage stage(in, 9);
  IdentityEngine engine({.tile_rows = 32, .tile_columns = 32, .halo = {}});
  SerialExecutor serial;
  const FramePlan plan =
      plan_of(in.shape, engine, {.inputs = {3, 4, 5}, .strip_height = 1}, &stage);
  std::int64_t wanted = 0;
  {
    BufferPool pool({.bytes = 40'000, .anonymous = true});
    ArraySource source(in.view());
    ArraySink sink(out.view());
    try {
      run_pipeline(source, sink, engine, &stage, pool, serial, plan, nullptr);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kMemoryBudget);
      CHECK(error.context().allowed < 45'000 && error.context().field == "max_ram");
      wanted = error.context().wanted;
    }
  }
  CHECK(wanted > 40'000);
  BufferPool pool({.bytes = static_cast<std::size_t>(wanted), .anonymous = true});
  ArraySource source(in.view());
  ArraySink sink(out.view());
  const PipelineReport report =
      run_pipeline(source, sink, engine, &stage, pool, serial, plan, nullptr);
  CHECK(report.strips == 4);
  CHECK(stage.finished() == 97);
}

void plans_that_do_not_fit_are_refused() {
  const FrameShape colour{40, 40, 3, SampleType::kUint8};
  const FrameShape grey{40, 40, 1, SampleType::kUint8};
  IdentityEngine three({.tile_rows = 32, .tile_columns = 32, .halo = {}});
  IdentityEngine one(
      {.input_planes = 1, .output_bands = 1, .tile_rows = 32, .tile_columns = 32, .halo = {}});
  CHECK_THROWS(plan_of(colour, three, {.inputs = {0, 1, 3}}, nullptr), ErrorKind::kOptions);
  CHECK_THROWS(plan_of(colour, three, {.inputs = {0, -1, 2}}, nullptr), ErrorKind::kOptions);
  CHECK_THROWS(plan_of(colour, one, {.inputs = {0}}, nullptr), ErrorKind::kOptions);
  CHECK(plan_of(grey, three, {.inputs = {0, 0, 0}}, nullptr).pool_bytes() > 0);
  const Cut part{.inputs = {0, 1, 2}, .region = Rect{0, 0, 20, 40}};
  IdentityEngine blended({.tile_rows = 32, .tile_columns = 32, .halo = {}, .local = false});
  Cut overlapping = part;
  overlapping.overlap = 4;
  CHECK_THROWS(plan_of(colour, blended, overlapping, nullptr), ErrorKind::kOptions);
  CHECK(plan_of(colour, three, part, nullptr).tiles.size() == 2);
  // The engine and the frame are those that were planned for.
  Frame frame(colour);
  ArraySource source(frame.view());
  ArraySink sink(frame.view());
  SerialExecutor serial;
  BufferPool pool({.bytes = 1 << 22, .anonymous = true});
  for (const FramePlan& plan :
       {plan_of(grey, three, {.inputs = {0, 0, 0}}, nullptr),
        plan_of({40, 41, 3, SampleType::kUint8}, three, {.inputs = {0, 1, 2}}, nullptr),
        plan_of(colour, three, {.inputs = {0, 1}}, nullptr)}) {
    CHECK_THROWS(run_pipeline(source, sink, three, nullptr, pool, serial, plan, nullptr),
                 ErrorKind::kOptions);
  }
}

}  // namespace

int main() {
  failures_propagate_and_leave_nothing();
  cancelling_before_the_first_tile();
  a_small_pool_is_refused_with_the_number_that_does();
  plans_that_do_not_fit_are_refused();
  return 0;
}
