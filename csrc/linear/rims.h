// Dark rims round bright things, taken off again.
//
// The inverse of a blur that is a little too wide, or of one with other edges than it has, leaves a
// dark line round a bright cloud on dark ground. A sharp scene may be darker than its capture, but
// hardly there: where most of the 13 x 13 px round a pixel are dark, the darkest of them show the
// ground itself. So the luma of a restored pixel stays above
//
//   least - depth (greatest - least)
//
// of the capture's luma round it. The rule acts in full where the mean is no further from the least
// than a share of the range, 5 % below a limit, and fades out to 5 % above it: narrow dark gaps
// between bright things may become as dark as they are. It fades in from a range of 25 to one of 50
// of 255 grey levels: below, a rim is not seen. From a range of 50 to one of 100, as round clouds,
// the limit rises from 30 to 40 % and the depth falls from 3 to 2 %.
//
// The numbers were chosen on twelve real captures, for their rims, and on validation scenes, for
// the PSNR; the table is in research/notes/2026-11-30-trust.md.
#pragma once

#include <span>

#include "base/image_view.h"
#include "threads/executor.h"

namespace imagine_deblur::linear {

// Lifts columns [first_column, last_column) of the restored rows. One plane a band, of the whole
// width of the frame; row 0 of `restored` is row `restored_first` of `capture`. Neighbourhoods end
// where the capture does.
void lift_rims(Executor& executor, std::span<const PlaneView> capture,
               std::span<const PlaneView> restored, int restored_first, int first_column,
               int last_column);

}  // namespace imagine_deblur::linear
