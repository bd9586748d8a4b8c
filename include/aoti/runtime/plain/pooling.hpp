// SPDX-License-Identifier: BSD-3-Clause
// Operators on windows of two or three dimensions, and interpolation in a volume.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

/// Sizes as passed by a model.
struct Sizes {
  const std::int64_t* data;
  std::int64_t count;

  /// One for all dimensions, or one for each.
  std::int64_t operator[](std::int64_t d) const noexcept { return data[count == 1 ? 0 : d]; }
};

/// The windows along one dimension.
struct Axis {
  std::int64_t size = 1, windows = 1;
  std::int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool adaptive = false;

  /// Windows of sizes as equal as possible, this many.
  static Axis adapted(std::int64_t size, std::int64_t windows) noexcept {
    Axis axis;
    axis.size = size;
    axis.windows = windows;
    axis.adaptive = true;
    return axis;
  }
  /// @param up whether a window that extends beyond the end counts
  void count(bool up) noexcept {
    const std::int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
    const std::int64_t last = room + (up ? stride - 1 : 0);
    windows = (last >= 0 ? last / stride : -((stride - 1 - last) / stride)) + 1;
    if (up && (windows - 1) * stride >= size + padding) --windows;
  }

  /// The bounds of a window, which may lie in the padding.
  std::int64_t begin(std::int64_t i) const noexcept {
    return adaptive ? i / windows * size + i % windows * size / windows : i * stride - padding;
  }
  std::int64_t end(std::int64_t i) const noexcept {
    return adaptive ? 1 + ((i + 1) * size - 1) / windows
                    : std::min(begin(i) + dilation * (kernel - 1) + 1, size + padding);
  }
};

/// A pooling operator's windows: three dimensions, of which the first may be of size 1.
struct Windows {
  static constexpr std::uint32_t most = 3;

  Axis axes[most];
  std::uint32_t spatial = 0;
  std::int64_t volumes = 1, size = 1, count = 1;  ///< Elements and windows of each volume.
  std::int64_t sizes[most + 2] = {}, strides[most + 2] = {};  ///< Of the results.

  /// @param keeps_layout whether the results are channels-last if the tensor is
  template <class Make>
  const char* set(const Body& tensor, std::uint32_t dimensions, bool keeps_layout,
                  Make make) noexcept {
    spatial = dimensions;
    if (tensor.rank != spatial + 1 && tensor.rank != spatial + 2) return sizes_differ;
    const std::uint32_t first = tensor.rank - spatial;
    for (std::uint32_t d = 0; d < tensor.rank; ++d) {
      const std::int64_t mine = sizes[d] = tensor.sizes()[d];
      if (d < first) {
        volumes *= mine;
        continue;
      }
      if (mine == 0) return "a size is 0";
      Axis& axis = axes[most - spatial + d - first];
      axis = make(mine, d - first);
      if (axis.windows < 0 || axis.kernel <= 0 || axis.stride <= 0 || axis.dilation <= 0) {
        return "the windows do not fit";
      }
      sizes[d] = axis.windows;
      size *= mine;
      count *= axis.windows;
    }
    std::int64_t step = 1;
    const bool last = keeps_layout && lies_channels_last(tensor);
    for (std::uint32_t i = 0; i < tensor.rank; ++i) {
      const std::uint32_t d = last ? channels_last(tensor.rank, i) : tensor.rank - 1 - i;
      strides[d] = step;
      step *= sizes[d] != 0 ? sizes[d] : 1;
    }
    return nullptr;
  }

  /// Calls `each(window, begins, ends)` for the windows of one volume.
  template <class Each> void for_each(Each each) const {
    std::int64_t window = 0, begins[most], ends[most];
    const auto place = [&](int d, std::int64_t i) {
      begins[d] = axes[d].begin(i);
      ends[d] = axes[d].end(i);
    };
    for (std::int64_t i = 0; i < axes[0].windows; ++i) {
      place(0, i);
      for (std::int64_t j = 0; j < axes[1].windows; ++j) {
        place(1, j);
        for (std::int64_t k = 0; k < axes[2].windows; ++k, ++window) {
          place(2, k);
          each(window, begins, ends);
        }
      }
    }
  }
  /// Calls `each(offset)` with the elements of a window that lie inside the volume.
  template <class Each>
  void inside(const std::int64_t* begins, const std::int64_t* ends, Each each) const {
    std::int64_t first[most], last[most];
    for (std::uint32_t d = 0; d < most; ++d) {
      const std::int64_t step = axes[d].dilation;
      first[d] = begins[d] < 0 ? begins[d] + (step - 1 - begins[d]) / step * step : begins[d];
      last[d] = std::min(ends[d], axes[d].size);
    }
    for (std::int64_t i = first[0]; i < last[0]; i += axes[0].dilation) {
      for (std::int64_t j = first[1]; j < last[1]; j += axes[1].dilation) {
        const std::int64_t row = (i * axes[1].size + j) * axes[2].size;
        for (std::int64_t k = first[2]; k < last[2]; k += axes[2].dilation) each(row + k);
      }
    }
  }
};

struct Pooling {
  /// Means over windows of sizes as equal as possible.
  template <std::uint32_t spatial>
  static const char* adaptive_average(Body& self, const std::int64_t* sizes, std::int64_t count,
                                      Handle* out) noexcept {
    Windows windows;
    if (const char* wrong = adapt<spatial>(windows, self, {sizes, count})) return wrong;
    return averages(self, windows, out, [&](auto sum, const auto* begins, const auto* ends) {
      for (std::uint32_t d = 0; d < Windows::most; ++d) {
        sum /= static_cast<decltype(sum)>(ends[d] - begins[d]);
      }
      return sum;
    });
  }

  template <std::uint32_t spatial>
  static const char* average(Body& self, const std::int64_t* kernel, std::int64_t kernels,
                             const std::int64_t* stride, std::int64_t strides,
                             const std::int64_t* padding, std::int64_t paddings, std::int32_t up,
                             std::int32_t counts_padding, const std::int64_t* divisor,
                             Handle* out) noexcept {
    const std::int64_t one = 1;
    Windows windows;
    if (divisor != nullptr && *divisor == 0) return "the divisor is 0";
    if (const char* wrong =
            roll<spatial>(windows, self, false, {kernel, kernels}, {stride, strides},
                          {padding, paddings}, {&one, 1}, up != 0)) {
      return wrong;
    }
    return averages(self, windows, out, [&](auto sum, const auto* begins, const auto* ends) {
      std::int64_t all = 1, within = 1;
      for (std::uint32_t d = 0; d < Windows::most; ++d) {
        all *= ends[d] - begins[d];
        within *= std::min(ends[d], windows.axes[d].size) - std::max(begins[d], std::int64_t{0});
      }
      const std::int64_t by = divisor != nullptr ? *divisor : counts_padding != 0 ? all : within;
      return within > 0 ? sum / static_cast<decltype(sum)>(by) : decltype(sum){0};
    });
  }

  /// The maxima of windows, and their positions in the volume.
  template <std::uint32_t spatial>
  static const char* adaptive_largest(Body& self, const std::int64_t* sizes, std::int64_t count,
                                      Handle* out, Handle* places) noexcept {
    Windows windows;
    if (const char* wrong = adapt<spatial>(windows, self, {sizes, count})) return wrong;
    return largest(self, windows, out, places);
  }
  template <std::uint32_t spatial>
  static const char* largest(Body& self, const std::int64_t* kernel, std::int64_t kernels,
                             const std::int64_t* stride, std::int64_t strides,
                             const std::int64_t* padding, std::int64_t paddings,
                             const std::int64_t* dilation, std::int64_t dilations, std::int32_t up,
                             Handle* out, Handle* places) noexcept {
    Windows windows;
    if (const char* wrong = roll<spatial>(windows, self, true, {kernel, kernels}, {stride, strides},
                                          {padding, paddings}, {dilation, dilations}, up != 0)) {
      return wrong;
    }
    return largest(self, windows, out, places);
  }

 private:
  template <std::uint32_t spatial>
  static const char* adapt(Windows& windows, const Body& self, Sizes sizes) noexcept {
    if (sizes.count != spatial) return sizes_differ;
    return windows.set(self, spatial, spatial == 2, [&](std::int64_t size, std::uint32_t d) {
      return Axis::adapted(size, sizes[d]);
    });
  }
  template <std::uint32_t spatial>
  static const char* roll(Windows& windows, const Body& self, bool largest, Sizes kernel,
                          Sizes stride, Sizes padding, Sizes dilation, bool up) noexcept {
    for (const Sizes& given : {kernel, padding, dilation}) {
      if (given.count != 1 && given.count != spatial) return sizes_differ;
    }
    if (stride.count != 0 && stride.count != 1 && stride.count != spatial) return sizes_differ;
    bool fits = true;
    const char* wrong = windows.set(
        self, spatial, spatial == 2 || largest, [&](std::int64_t size, std::uint32_t d) {
          Axis axis;
          axis.size = size;
          axis.kernel = kernel[d];
          axis.stride = stride.count != 0 ? stride[d] : axis.kernel;
          axis.padding = padding[d];
          axis.dilation = dilation[d];
          if (axis.kernel > 0 && axis.stride > 0 && axis.dilation > 0) axis.count(up);
          fits &= axis.padding >= 0 && axis.padding <= axis.kernel / 2 && axis.windows > 0;
          return axis;
        });
    return wrong == nullptr && !fits ? "the windows do not fit" : wrong;
  }

  template <class Mean>
  static const char* averages(const Body& self, const Windows& windows, Handle* out,
                              Mean mean) noexcept {
    if (!is_floating(self.dtype)) return not_for_dtype;
    Elements elements;
    Target to;
    Output result;
    const DType type = computing(self.dtype);
    const char* wrong = elements.read(self, type);
    if (wrong == nullptr)
      wrong = result.make(self.dtype, windows.sizes, self.rank, windows.strides);
    if (wrong == nullptr) wrong = to.begin(*result, type);
    if (wrong != nullptr) return wrong;
    with_floating(type, [&]<class T>(T) {
      const T* from = elements.data<T>();
      T* next = to.data<T>();
      for (std::int64_t v = 0; v < windows.volumes; ++v, from += windows.size) {
        windows.for_each([&](std::int64_t, const std::int64_t* begins, const std::int64_t* ends) {
          T sum = 0;
          windows.inside(begins, ends, [&](std::int64_t at) { sum += from[at]; });
          *next++ = mean(sum, begins, ends);
        });
      }
    });
    if ((wrong = to.finish()) != nullptr) return wrong;
    result.give(out);
    return nullptr;
  }

  static const char* largest(const Body& self, const Windows& windows, Handle* out,
                             Handle* places) noexcept {
    if (!is_real(self.dtype) || self.dtype == DType::boolean) return not_for_dtype;
    Elements elements;
    Target to, to_places;
    Output result, indices;
    const DType type = computing(self.dtype);
    const char* wrong = elements.read(self, type);
    const auto make = [&](Output& output, DType dtype) {
      return output.make(dtype, windows.sizes, self.rank, windows.strides);
    };
    if (wrong == nullptr) wrong = make(result, self.dtype);
    if (wrong == nullptr) wrong = make(indices, DType::int64);
    if (wrong == nullptr) wrong = to.begin(*result, type);
    if (wrong == nullptr) wrong = to_places.begin(*indices, DType::int64);
    if (wrong != nullptr) return wrong;
    with_real(type, [&]<class T>(T) {
      const T* from = elements.data<T>();
      T* next = to.data<T>();
      std::int64_t* place = to_places.data<std::int64_t>();
      for (std::int64_t v = 0; v < windows.volumes; ++v, from += windows.size) {
        windows.for_each([&](std::int64_t, const std::int64_t* begins, const std::int64_t* ends) {
          std::int64_t best = -1;
          windows.inside(begins, ends, [&](std::int64_t at) {
            const T value = from[at];
            if (best < 0 || value > from[best] || value != value) best = at;
          });
          *next++ = best < 0 ? T{0} : from[best];
          *place++ = best;
        });
      }
    });
    if ((wrong = to.finish()) != nullptr || (wrong = to_places.finish()) != nullptr) return wrong;
    result.give(out);
    indices.give(places);
    return nullptr;
  }
};

struct Sampling {
  /// The values of volumes between elements, at positions in the last dimension of the grid: x, y
  /// and z from -1 to 1.
  /// @param mode 0 for linear, 1 for nearest
  /// @param padding for positions outside: 0 for zeros, 1 for the border, 2 for reflection
  static const char* grid_3d(Body& self, Body& grid, std::int64_t mode, std::int64_t padding,
                             std::int32_t aligned, Handle* out) noexcept {
    if (!is_floating(self.dtype) || grid.dtype != self.dtype) return not_for_dtype;
    if (self.rank != 5 || grid.rank != 5 || grid.sizes()[4] != 3) return sizes_differ;
    if (self.sizes()[0] != grid.sizes()[0]) return sizes_differ;
    if (mode < 0 || mode > 1 || padding < 0 || padding > 2) return "there is no such mode";
    for (int d = 2; d < 5; ++d) {
      if (self.sizes()[d] == 0) return "a size is 0";
    }
    Elements from, at;
    Target to;
    Output result;
    const DType type = computing(self.dtype);
    std::int64_t sizes[5] = {self.sizes()[0], self.sizes()[1]};
    for (int d = 2; d < 5; ++d) sizes[d] = grid.sizes()[d - 1];
    const char* wrong = from.read(self, type);
    if (wrong == nullptr) wrong = at.read(grid, type);
    if (wrong == nullptr) wrong = result.make(self.dtype, sizes, 5);
    if (wrong == nullptr) wrong = to.begin(*result, type);
    if (wrong != nullptr) return wrong;
    const std::int64_t* const size = self.sizes() + 2;
    const std::int64_t points = sizes[2] * sizes[3] * sizes[4];
    const std::int64_t volume = size[0] * size[1] * size[2];
    with_floating(type, [&]<class T>(T) {
      for (std::int64_t i = 0; i < sizes[0] * points; ++i) {
        // For z, y and x, two neighbours each, and their weights.
        std::int64_t places[3][2];
        T parts[3][2];
        for (int d = 0; d < 3; ++d) {
          const T place = locate(at.data<T>()[3 * i + 2 - d], size[d], padding, aligned != 0);
          const T low = mode == 0 ? std::floor(place) : std::nearbyint(place);
          parts[d][0] = mode == 0 ? low + 1 - place : T{1};
          parts[d][1] = mode == 0 ? place - low : T{0};
          const bool known = low >= -1 && low < static_cast<T>(size[d]);
          places[d][0] = known ? static_cast<std::int64_t>(low) : -2;
          places[d][1] = places[d][0] + 1;
        }
        for (std::int64_t c = 0; c < sizes[1]; ++c) {
          const std::int64_t n = i / points;
          const T* const mine = from.data<T>() + (n * sizes[1] + c) * volume;
          T sum = 0;
          for (int corner = 0; corner < (mode == 0 ? 8 : 1); ++corner) {
            const int k[] = {corner >> 2, corner >> 1 & 1, corner & 1};
            bool inside = true;
            std::int64_t offset = 0;
            for (int d = 0; d < 3; ++d) {
              inside &= places[d][k[d]] >= 0 && places[d][k[d]] < size[d];
              offset = offset * size[d] + places[d][k[d]];
            }
            if (inside) {
              sum += mine[offset] * (parts[2][k[2]] * parts[1][k[1]] * parts[0][k[0]]);
            }
          }
          to.data<T>()[(n * sizes[1] + c) * points + i % points] = sum;
        }
      }
    });
    if ((wrong = to.finish()) != nullptr) return wrong;
    result.give(out);
    return nullptr;
  }

 private:
  /// Converts a position from [-1, 1] to elements. -1 and 1 are the centres of the outermost
  /// elements if aligned, else their edges.
  template <class T>
  static T locate(T given, std::int64_t size, std::int64_t padding, bool aligned) noexcept {
    const T count = static_cast<T>(size);
    T place = aligned ? (given + 1) / 2 * (count - 1) : ((given + 1) * count - 1) / 2;
    if (padding == 0) return place;
    if (padding == 2) {
      const T least = aligned ? T{0} : T{-0.5}, span = aligned ? count - 1 : count;
      if (span == 0) {
        place = 0;
      } else {
        place = std::fabs(place - least);
        const T rest = std::fmod(place, span);
        const bool back = std::fmod(std::floor(place / span), T{2}) != 0;
        place = back ? span - rest + least : rest + least;
      }
    }
    return std::min(count - 1, std::max(place, T{0}));
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
