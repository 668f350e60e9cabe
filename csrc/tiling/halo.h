// How far an engine looks beyond the pixels it writes.
#pragma once

namespace imagine_deblur {

// Pixels read beyond the written rectangle, on each side.
struct Halo {
  int rows = 0;
  int columns = 0;
  friend constexpr bool operator==(const Halo&, const Halo&) noexcept = default;
};

}  // namespace imagine_deblur
