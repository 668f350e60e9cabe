// JPEG files made with libjpeg directly, so that the reader and the writer under test have a second
// opinion. Internal to the native tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <jpeglib.h>

namespace jpeg_fixtures {

using Bytes = std::vector<std::uint8_t>;

struct Recipe {
  int rows = 17;
  int columns = 33;
  J_COLOR_SPACE stored = JCS_YCbCr;  // JCS_GRAYSCALE, JCS_RGB, JCS_YCbCr, JCS_CMYK or JCS_YCCK
  int horizontal = 1;                // luma sampling factors
  int vertical = 1;
  int quality = 90;
  bool progressive = false;
  bool optimise = false;
  bool arithmetic = false;  // where the library can
  int restart_rows = 0;
  bool adobe_marker = true;           // for CMYK and YCCK
  std::vector<jpeg_scan_info> scans;  // empty: the library's choice
  std::vector<std::pair<int, Bytes>> segments;
  int density_unit = 0;
  int density_x = 1;
  int density_y = 1;
};

inline int bands_in(const Recipe& recipe) {
  switch (recipe.stored) {
    case JCS_GRAYSCALE:
      return 1;
    case JCS_CMYK:
    case JCS_YCCK:
      return 4;
    default:
      return 3;
  }
}

// Smooth shapes with some noise on top, so that every coefficient has something to say.
inline Bytes scene(int rows, int columns, int bands, unsigned seed = 7) {
  std::mt19937 random(seed);
  Bytes samples(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) *
                static_cast<std::size_t>(bands));
  std::size_t i = 0;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      for (int b = 0; b < bands; ++b) {
        const int value = 40 + (r * (3 + b) + c * (5 - b)) % 150;
        samples[i++] = static_cast<std::uint8_t>(value + static_cast<int>(random() % 24U));
      }
    }
  }
  return samples;
}

[[noreturn]] inline void stop(j_common_ptr object) {
  object->err->output_message(object);
  std::exit(2);
}

inline Bytes encode(const Recipe& recipe, const Bytes& samples) {
  jpeg_compress_struct e{};
  jpeg_error_mgr errors{};
  e.err = jpeg_std_error(&errors);
  errors.error_exit = stop;
  jpeg_create_compress(&e);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&e, &data, &size);
  e.image_width = static_cast<JDIMENSION>(recipe.columns);
  e.image_height = static_cast<JDIMENSION>(recipe.rows);
  e.input_components = bands_in(recipe);
  e.in_color_space = e.input_components == 1   ? JCS_GRAYSCALE
                     : e.input_components == 4 ? JCS_CMYK
                                               : JCS_RGB;
  jpeg_set_defaults(&e);
  jpeg_set_colorspace(&e, recipe.stored);
  if (e.input_components == 4 && !recipe.adobe_marker) {
    e.write_Adobe_marker = FALSE;
  }
  jpeg_set_quality(&e, recipe.quality, TRUE);
  for (int i = 0; i < e.num_components; ++i) {
    const bool full = i == 0 || i == 3;  // black is sampled like luma
    e.comp_info[i].h_samp_factor = full ? recipe.horizontal : 1;
    e.comp_info[i].v_samp_factor = full ? recipe.vertical : 1;
  }
  e.arith_code = recipe.arithmetic ? TRUE : FALSE;
  e.optimize_coding = recipe.optimise ? TRUE : FALSE;
  e.restart_in_rows = recipe.restart_rows;
  e.density_unit = static_cast<UINT8>(recipe.density_unit);
  e.X_density = static_cast<UINT16>(recipe.density_x);
  e.Y_density = static_cast<UINT16>(recipe.density_y);
  if (!recipe.scans.empty()) {
    e.scan_info = recipe.scans.data();
    e.num_scans = static_cast<int>(recipe.scans.size());
  } else if (recipe.progressive) {
    jpeg_simple_progression(&e);
  }
  jpeg_start_compress(&e, TRUE);
  for (const auto& [marker, payload] : recipe.segments) {
    jpeg_write_marker(&e, marker, payload.data(), static_cast<unsigned>(payload.size()));
  }
  const std::size_t row_bytes =
      static_cast<std::size_t>(recipe.columns) * static_cast<std::size_t>(e.input_components);
  while (e.next_scanline < e.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(samples.data() + e.next_scanline * row_bytes);
    jpeg_write_scanlines(&e, &row, 1);
  }
  jpeg_finish_compress(&e);
  jpeg_destroy_compress(&e);
  Bytes encoded(data, data + size);
  std::free(data);
  return encoded;
}

inline Bytes make(const Recipe& recipe) {
  return encode(recipe, scene(recipe.rows, recipe.columns, bands_in(recipe)));
}

// Grey, RGB or CMYK samples as the library gives them.
inline Bytes decode(const Bytes& file) {
  jpeg_decompress_struct d{};
  jpeg_error_mgr errors{};
  d.err = jpeg_std_error(&errors);
  errors.error_exit = stop;
  jpeg_create_decompress(&d);
  jpeg_mem_src(&d, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&d, TRUE);
  d.out_color_space = d.num_components == 1   ? JCS_GRAYSCALE
                      : d.num_components == 4 ? JCS_CMYK
                                              : JCS_RGB;
  jpeg_start_decompress(&d);
  const std::size_t row_bytes =
      static_cast<std::size_t>(d.output_width) * static_cast<std::size_t>(d.output_components);
  Bytes samples(row_bytes * d.output_height);
  while (d.output_scanline < d.output_height) {
    JSAMPROW row = samples.data() + d.output_scanline * row_bytes;
    jpeg_read_scanlines(&d, &row, 1);
  }
  jpeg_finish_decompress(&d);
  jpeg_destroy_decompress(&d);
  return samples;
}

// The position of the n-th marker FF `code` among the header's and the scans' segments, or the
// file's size. Entropy-coded data never holds FF followed by anything but 00 or a restart marker.
inline std::size_t find_marker(const Bytes& file, int code, int n = 0) {
  for (std::size_t i = 2; i + 1 < file.size();) {
    if (file[i] != 0xFF || file[i + 1] == 0 || file[i + 1] == 0xFF ||
        (file[i + 1] >= 0xD0 && file[i + 1] <= 0xD7)) {
      ++i;
      continue;
    }
    if (file[i + 1] == code && n-- == 0) {
      return i;
    }
    if (file[i + 1] == 0xD9) {
      break;
    }
    i += 2U + (static_cast<std::size_t>(file[i + 2]) << 8) + file[i + 3];
  }
  return file.size();
}

// Declares other dimensions in the frame header.
inline Bytes with_size(Bytes file, int rows, int columns, bool progressive) {
  const std::size_t frame = find_marker(file, progressive ? 0xC2 : 0xC0);
  file[frame + 5] = static_cast<std::uint8_t>(rows >> 8);
  file[frame + 6] = static_cast<std::uint8_t>(rows & 255);
  file[frame + 7] = static_cast<std::uint8_t>(columns >> 8);
  file[frame + 8] = static_cast<std::uint8_t>(columns & 255);
  return file;
}

}  // namespace jpeg_fixtures
