// Which wide registers this processor and system have, for code compiled several times.
#pragma once

namespace imagine_deblur {

struct Vectors {
  bool avx2 = false;    // with FMA
  bool avx512 = false;  // F, VL and DQ
};

// Asks the processor itself, and the system whether it saves the wide registers. Nothing on
// processors of other families.
Vectors supported_vectors() noexcept;

}  // namespace imagine_deblur
