// The identity engine, and OpenVINO's where IMAGINE_DEBLUR_OPENVINO_LIB names its C library.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/identity_engine.h"
#include "engine/openvino_engine.h"

namespace {

using imagine_deblur::EngineSpec;
using imagine_deblur::Error;
using imagine_deblur::ErrorKind;
using imagine_deblur::IdentityEngine;
using imagine_deblur::IdentityOptions;
using imagine_deblur::OpenVinoEngine;
using imagine_deblur::OpenVinoOptions;

constexpr int kRows = 6;
constexpr int kColumns = 10;
constexpr std::size_t kPlane = kRows * kColumns;

// Negative and positive samples, every one different.
std::vector<float> ramp(std::size_t planes) {
  std::vector<float> tile(planes * kPlane);
  for (std::size_t i = 0; i < tile.size(); ++i) {
    tile[i] = (static_cast<float>(i) - static_cast<float>(tile.size()) / 2) / 64.0F;
  }
  return tile;
}

IdentityOptions identity_options(int planes, int bands, int first) {
  IdentityOptions o;
  o.input_planes = planes;
  o.output_bands = bands;
  o.first_plane = first;
  o.tile_rows = kRows;
  o.tile_columns = kColumns;
  return o;
}

void identity_returns_its_input() {
  IdentityEngine engine(identity_options(3, 3, 0));
  const std::vector<float> input = ramp(3);
  std::vector<float> output(3 * kPlane, -7.0F);
  engine.infer(input.data(), output.data());
  CHECK(output == input);
  CHECK(engine.spec().name == "identity");
  CHECK(engine.spec().halo.rows == 0);
}

void identity_picks_planes_and_adds_the_offset_back() {
  IdentityOptions options = identity_options(8, 3, 3);
  options.input_offset = 0.5F;
  IdentityEngine engine(options);
  const std::vector<float> input = ramp(8);
  std::vector<float> output(3 * kPlane);
  engine.infer(input.data(), output.data());
  for (std::size_t i = 0; i < output.size(); ++i) {
    CHECK(output[i] == input[3 * kPlane + i] + 0.5F);
  }
}

void identity_refuses_planes_it_does_not_have() {
  CHECK_THROWS(IdentityEngine(identity_options(8, 3, 6)), ErrorKind::kEngine);
  CHECK_THROWS(IdentityEngine(identity_options(2, 3, 0)), ErrorKind::kEngine);
  CHECK_THROWS(IdentityEngine(identity_options(3, 3, -1)), ErrorKind::kEngine);
  CHECK_THROWS(IdentityEngine(identity_options(3, 0, 0)), ErrorKind::kEngine);
  IdentityOptions empty = identity_options(3, 3, 0);
  empty.tile_rows = 0;
  CHECK_THROWS(IdentityEngine{empty}, ErrorKind::kEngine);
}

// max(0, x) as OpenVINO's own graph format: needs no weights and no ONNX writer.
constexpr std::string_view kRelu = R"(<?xml version="1.0"?>
<net name="relu" version="11"><layers>
<layer id="0" name="input" type="Parameter" version="opset1">
 <data shape="1,3,?,?" element_type="f32"/>
 <output><port id="0" precision="FP32"><dim>1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port>
 </output></layer>
<layer id="1" name="relu" type="ReLU" version="opset1">
 <input><port id="0" precision="FP32"><dim>1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port>
 </input>
 <output><port id="1" precision="FP32"><dim>1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port>
 </output></layer>
<layer id="2" name="output" type="Result" version="opset1">
 <input><port id="0" precision="FP32"><dim>1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port>
 </input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
</edges></net>)";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

OpenVinoOptions relu_options(const std::string& library) {
  OpenVinoOptions o;
  o.library_path = library;
  o.model_bytes = bytes_of(kRelu);
  o.tile_rows = kRows;
  o.tile_columns = kColumns;
  return o;
}

std::string message_of(const OpenVinoOptions& options) {
  try {
    const OpenVinoEngine engine(options);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kEngine);
    CHECK(error.context().field == "openvino");
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

void a_missing_runtime_names_the_cure() {
  const std::string missing = message_of(relu_options("/nonexistent/libopenvino_c.so"));
  CHECK(contains(missing, "/nonexistent/libopenvino_c.so"));
  CHECK(contains(missing, "pip install \"imagine-deblur[openvino]\""));
}

void openvino_computes_in_the_callers_buffers(const std::string& library) {
  OpenVinoEngine engine(relu_options(library));
  for (int round = 0; round < 3; ++round) {  // other buffers, then the same again
    const std::vector<float> input = ramp(3);
    std::vector<float> output(3 * kPlane, -7.0F);
    engine.infer(input.data(), output.data());
    engine.infer(input.data(), output.data());
    CHECK(input == ramp(3));
    for (std::size_t i = 0; i < output.size(); ++i) {
      CHECK(output[i] == (input[i] > 0 ? input[i] : 0.0F));
    }
  }
  const EngineSpec& spec = engine.spec();
  CHECK(spec.name == "openvino" && spec.precision == "f32");
  CHECK(spec.input_planes == 3 && spec.output_bands == 3);
  CHECK(spec.tile_rows == kRows && spec.tile_columns == kColumns);
}

void openvino_settings_are_read_back(const std::string& library) {
  OpenVinoOptions options = relu_options(library);
  options.threads = 1;
  const OpenVinoEngine engine(options);
  CHECK(engine.effective().threads == 1);
  CHECK(engine.effective().streams == 1);
  CHECK(engine.effective().precision == "f32");
  CHECK(engine.effective().performance_hint == "LATENCY");
  CHECK(!engine.effective().pin_threads);
  CHECK(contains(engine.effective().version, "202"));
}

void openvino_refuses_what_does_not_fit(const std::string& library) {
  OpenVinoOptions planes = relu_options(library);
  planes.input_planes = 8;
  CHECK(contains(message_of(planes), "expected 1x8xROWSxCOLUMNS"));

  OpenVinoOptions bands = relu_options(library);
  bands.output_bands = 4;
  CHECK(contains(message_of(bands), "expected 1x4x6x10"));

  OpenVinoOptions corrupt = relu_options(library);
  corrupt.model_path = "corrupt.onnx";
  corrupt.model_bytes = bytes_of(kRelu.substr(0, 200));
  CHECK(contains(message_of(corrupt), "corrupt.onnx"));

  OpenVinoOptions absent = relu_options(library);
  absent.model_bytes = {};
  absent.model_path = "/nonexistent/network.onnx";
  CHECK(contains(message_of(absent), "/nonexistent/network.onnx"));

  OpenVinoOptions threads = relu_options(library);
  threads.threads = 0;
  CHECK(contains(message_of(threads), "threads is 0"));

  OpenVinoOptions precision = relu_options(library);
  precision.precision = "f8";
  CHECK(contains(message_of(precision), "\"f8\""));
}

void another_library_is_refused() {
  const std::string message = message_of(relu_options("libc.so.6"));
  CHECK(contains(message, "lacks ov_get_openvino_version"));
}

}  // namespace

int main() {
  identity_returns_its_input();
  identity_picks_planes_and_adds_the_offset_back();
  identity_refuses_planes_it_does_not_have();
  a_missing_runtime_names_the_cure();
  another_library_is_refused();
  const char* const library = std::getenv("IMAGINE_DEBLUR_OPENVINO_LIB");
  if (library == nullptr || *library == '\0') {
    std::printf("OpenVINO skipped: IMAGINE_DEBLUR_OPENVINO_LIB is not set\n");
    return 0;
  }
  openvino_computes_in_the_callers_buffers(library);
  openvino_settings_are_read_back(library);
  openvino_refuses_what_does_not_fit(library);
  std::printf("OpenVINO checked: %s\n", library);
  return 0;
}
