// SPDX-License-Identifier: BSD-3-Clause
// Fourier transforms by FFTW 3, for models that run without libtorch.
#pragma once

#include <fftw3.h>
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/native/executor.hpp"
#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail::fftw {

using Body = TensorBody;
using Sizes = std::span<const std::int64_t>;
using Dimension = fftw_iodim64;
static_assert(sizeof(fftwf_iodim64) == sizeof(Dimension));  // the same struct in FFTW's header

/// FFTW makes only one plan at a time; plans may run concurrently.
class Planning {
 public:
  Planning() noexcept { ::pthread_mutex_lock(&mutex_); }
  Planning(const Planning&) = delete;
  ~Planning() { ::pthread_mutex_unlock(&mutex_); }

 private:
  inline static pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

enum class Kind : std::uint8_t { forward, backward, from_real, to_real };

struct Double {
  using Real = double;
  using Complex = fftw_complex;
  static auto plan(Kind kind, int rank, const Dimension* dims, int batches, const Dimension* batch,
                   void* from, void* to) noexcept {
    constexpr unsigned flags = FFTW_ESTIMATE | FFTW_PRESERVE_INPUT;
    switch (kind) {
      case Kind::from_real:
        return fftw_plan_guru64_dft_r2c(rank, dims, batches, batch, static_cast<Real*>(from),
                                        static_cast<Complex*>(to), flags);
      case Kind::to_real:
        return fftw_plan_guru64_dft_c2r(rank, dims, batches, batch, static_cast<Complex*>(from),
                                        static_cast<Real*>(to), flags);
      default:
        return fftw_plan_guru64_dft(rank, dims, batches, batch, static_cast<Complex*>(from),
                                    static_cast<Complex*>(to),
                                    kind == Kind::forward ? FFTW_FORWARD : FFTW_BACKWARD, flags);
    }
  }
  static void run(fftw_plan plan) noexcept { fftw_execute(plan); }
  static void destroy(fftw_plan plan) noexcept { fftw_destroy_plan(plan); }
};

struct Single {
  using Real = float;
  using Complex = fftwf_complex;
  static auto plan(Kind kind, int rank, const Dimension* dims, int batches, const Dimension* batch,
                   void* from, void* to) noexcept {
    constexpr unsigned flags = FFTW_ESTIMATE | FFTW_PRESERVE_INPUT;
    switch (kind) {
      case Kind::from_real:
        return fftwf_plan_guru64_dft_r2c(rank, dims, batches, batch, static_cast<Real*>(from),
                                         static_cast<Complex*>(to), flags);
      case Kind::to_real:
        return fftwf_plan_guru64_dft_c2r(rank, dims, batches, batch, static_cast<Complex*>(from),
                                         static_cast<Real*>(to), flags);
      default:
        return fftwf_plan_guru64_dft(rank, dims, batches, batch, static_cast<Complex*>(from),
                                     static_cast<Complex*>(to),
                                     kind == Kind::forward ? FFTW_FORWARD : FFTW_BACKWARD, flags);
    }
  }
  static void run(fftwf_plan plan) noexcept { fftwf_execute(plan); }
  static void destroy(fftwf_plan plan) noexcept { fftwf_destroy_plan(plan); }
};

/// The dimensions of a transform: counted from the front, each once, and in torch's order, which is
/// by stride, the largest first. The last may have to keep its place.
struct Transformed {
  std::int64_t dims[Body::max_rank];
  std::uint32_t count = 0;
  std::uint64_t set = 0;

  const char* read(const Body& self, Sizes given, bool keeps_last) noexcept {
    for (std::int64_t d : given) {
      if (self.rank == 0 || !plain::wrap(d, self.rank)) return plain::no_dimension;
      if ((set >> d & 1) != 0) return "a dimension comes twice";
      set |= std::uint64_t{1} << d;
      dims[count++] = d;
    }
    std::stable_sort(
        dims, dims + count - (keeps_last && count != 0 ? 1 : 0),
        [&](std::int64_t a, std::int64_t b) { return self.strides()[a] > self.strides()[b]; });
    return nullptr;
  }
  bool has(std::int64_t dimension) const noexcept { return (set >> dimension & 1) != 0; }
};

/// The strides of a result, as in torch's wheels for this processor: those for x86-64 have MKL.
inline void lay(const Body& self, const Transformed& over, const std::int64_t* sizes,
                std::int64_t* strides) noexcept {
  std::int64_t order[Body::max_rank];
  std::uint32_t count = 0;
#if defined(__x86_64__)
  for (std::int64_t d = 0; d < self.rank; ++d) {
    if (!over.has(d)) order[count++] = d;
  }
  std::stable_sort(order, order + count, [&](std::int64_t a, std::int64_t b) {
    return self.strides()[a] > self.strides()[b];
  });
  for (std::uint32_t i = 0; i < over.count; ++i) order[count++] = over.dims[i];
#else
  static_cast<void>(over);
  for (std::int64_t d = 0; d < self.rank; ++d) order[count++] = d;
#endif
  std::int64_t step = 1;
  for (std::uint32_t i = count; i-- > 0; step *= sizes[order[i]]) strides[order[i]] = step;
}

/// Transforms between tensors of the same sizes. If one of them is real, the complex one may be
/// half as long in the last transformed dimension.
template <class Precision>
const char* transform(Kind kind, const Body& from, Body& to, const Transformed& over,
                      std::int64_t normalization) noexcept {
  using Real = typename Precision::Real;
  Dimension dims[Body::max_rank], batch[Body::max_rank];
  int batches = 0;
  const Body& whole = kind == Kind::to_real ? to : from;  // the sizes of the transform
  double points = 1;
  for (std::uint32_t i = 0; i < over.count; ++i) {
    const std::int64_t d = over.dims[i];
    dims[i] = {whole.sizes()[d], from.strides()[d], to.strides()[d]};
    points *= static_cast<double>(whole.sizes()[d]);
  }
  for (std::int64_t d = 0; d < from.rank; ++d) {
    if (!over.has(d)) batch[batches++] = {from.sizes()[d], from.strides()[d], to.strides()[d]};
  }
  const auto plan = [&] {
    const Planning alone;
    return Precision::plan(kind, static_cast<int>(over.count), dims, batches, batch, from.data,
                           to.data);
  }();
  if (plan == nullptr) return "FFTW cannot make a plan for it";
  Precision::run(plan);
  {
    const Planning alone;
    Precision::destroy(plan);
  }
  if (normalization == 0) return nullptr;
  const auto scale = static_cast<Real>(normalization == 1 ? 1 / std::sqrt(points) : 1 / points);
  walk_rows(to, [&](std::byte* at, std::int64_t count, std::int64_t step) {
    for (; count > 0; --count, at += step) {
      Real* const number = reinterpret_cast<Real*>(at);
      number[0] *= scale;
      if (kind != Kind::to_real) number[1] *= scale;
    }
  });
  return nullptr;
}

inline const char* run(Kind kind, const Body& from, Body& to, const Transformed& over,
                       std::int64_t normalization) noexcept {
  if (to.count == 0) return nullptr;
  if (over.count == 0) return copy_elements(to, from);
  // FFTW would transform elements that share a place in it.
  Temporary room;
  const Body* source = &from;
  for (std::uint32_t d = 0; d < from.rank; ++d) {
    if (from.strides()[d] == 0 && from.sizes()[d] > 1) source = nullptr;
  }
  if (source == nullptr && (source = room.copy(from)) == nullptr) return Body::no_memory;
  const bool wide = from.dtype == DType::complex128 || from.dtype == DType::float64;
  return wide ? transform<Double>(kind, *source, to, over, normalization)
              : transform<Single>(kind, *source, to, over, normalization);
}

constexpr DType complex_of(DType dtype) noexcept {
  return dtype == DType::float64 ? DType::complex128 : DType::complex64;
}
constexpr bool is_complex(DType dtype) noexcept {
  return dtype == DType::complex64 || dtype == DType::complex128;
}
inline const char* refused(std::int64_t normalization) noexcept {
  return normalization < 0 || normalization > 2 ? "there is no such normalization" : nullptr;
}

/// @param normalization 0 for none, 1 to divide by the square root of the number of points, 2 by
///        that number
inline const char* c2c(Body& self, Sizes dims, std::int64_t normalization, bool forward,
                       OperatorResult& result) noexcept {
  if (!is_complex(self.dtype)) return plain::not_for_dtype;
  if (const char* wrong = refused(normalization)) return wrong;
  Transformed over;
  if (const char* wrong = over.read(self, dims, false)) return wrong;
  std::int64_t strides[Body::max_rank];
  if (over.count == 0) {
    dense_strides(self, strides);
  } else {
    lay(self, over, self.sizes(), strides);
  }
  if (const char* wrong = result.make(self.dtype, self.sizes(), self.rank, strides)) return wrong;
  return run(forward ? Kind::forward : Kind::backward, self, *result, over, normalization);
}

/// For real numbers; if one-sided, without the half that mirrors the other.
inline const char* r2c(Body& self, Sizes dims, std::int64_t normalization, bool onesided,
                       OperatorResult& result) noexcept {
  if (self.dtype != DType::float32 && self.dtype != DType::float64) return plain::not_for_dtype;
  if (const char* wrong = refused(normalization)) return wrong;
  Transformed over;
  if (const char* wrong = over.read(self, dims, true)) return wrong;
  if (over.count == 0) return plain::no_dimension;
  std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
  std::copy_n(self.sizes(), self.rank, sizes);
  const std::int64_t last = over.dims[over.count - 1];
  if (onesided) sizes[last] = sizes[last] / 2 + 1;
  lay(self, over, sizes, strides);
  const DType dtype = complex_of(self.dtype);
  if (const char* wrong = result.make(dtype, sizes, self.rank, strides)) return wrong;
  if (onesided) return run(Kind::from_real, self, *result, over, normalization);
  Temporary room;  // all of it, as a transform of complex numbers
  const Body* numbers = room.copy(self, dtype);
  if (numbers == nullptr) return Body::no_memory;
  return run(Kind::forward, *numbers, *result, over, normalization);
}

/// Back to real numbers; the last transformed dimension has `size` of them.
inline const char* c2r(Body& self, Sizes dims, std::int64_t normalization, std::int64_t size,
                       OperatorResult& result) noexcept {
  if (!is_complex(self.dtype)) return plain::not_for_dtype;
  if (const char* wrong = refused(normalization)) return wrong;
  if (dims.empty()) return plain::no_dimension;
  OperatorResult first;  // of the other dimensions
  Body* from = &self;
  if (dims.size() > 1) {
    if (const char* wrong = c2c(self, dims.first(dims.size() - 1), normalization, false, first)) {
      return wrong;
    }
    from = &*first;
  }
  Transformed over;
  if (const char* wrong = over.read(*from, dims.last(1), true)) return wrong;
  std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
  std::copy_n(self.sizes(), self.rank, sizes);
  if (size < 1 || sizes[over.dims[0]] < size / 2 + 1) return plain::sizes_differ;
  sizes[over.dims[0]] = size;
  lay(*from, over, sizes, strides);
  const DType dtype = self.dtype == DType::complex128 ? DType::float64 : DType::float32;
  if (const char* wrong = result.make(dtype, sizes, self.rank, strides)) return wrong;
  return run(Kind::to_real, *from, *result, over, normalization);
}

/// The C function of a transform.
template <class Import, auto function>
AOTITorchError imported(AtenTensorHandle self, const std::int64_t* dims, std::int64_t count,
                        std::int64_t normalization, std::int32_t flag,
                        AtenTensorHandle* out) noexcept {
  const Unplaced unplaced;
  OperatorResult result;
  Body& body = *Body::of(self);
  const char* wrong = body.storage == nullptr
                          ? "the tensor is undefined"
                          : function(body, {dims, static_cast<std::size_t>(count)}, normalization,
                                     flag != 0, result);
  if (wrong != nullptr) return NativeFunctions::fail(Import::symbol, wrong);
  result.give(out);
  return 0;
}

}  // namespace detail::fftw

namespace detail::fftw {

template <class Import> struct FftwFunction : std::false_type {};
#define AOTI_PROVIDED(row, ...)                                          \
  template <> struct FftwFunction<abi::imported::row> : std::true_type { \
    static constexpr abi::imported::row::type* function =                \
        &imported<abi::imported::row, __VA_ARGS__>;                      \
  };
#define AOTI_OPERATOR(name, parameters, function)
#include "aoti/runtime/fftw.inc"

}  // namespace detail::fftw

/// Fourier transforms on FFTW 3, for NativeWith: `NativeWith<Onednn, Fftw, PlainOperators>`.
/// Results have the memory layout of torch's wheels for this processor. Any number of threads may
/// call them at once; FFTW makes plans for one at a time. A program that makes plans itself while
/// models run must have called fftw_make_planner_thread_safe() and
/// fftwf_make_planner_thread_safe().
struct Fftw {
  template <class Import> using Function = detail::fftw::FftwFunction<Import>;

  static void* import(std::string_view symbol) noexcept {
    using namespace detail::fftw;
    static const detail::NativeEntry entries[] = {
#define AOTI_PROVIDED(row, ...) \
  detail::entry<abi::imported::row>(Function<abi::imported::row>::function),
#define AOTI_OPERATOR(name, parameters, function)
#include "aoti/runtime/fftw.inc"
    };
    return detail::find(entries, symbol);
  }
  static std::span<const NativeOperator> operators() noexcept {
    using namespace detail::fftw;
    static constexpr NativeOperator rows[] = {
#define AOTI_PROVIDED(row, function)
#define AOTI_OPERATOR(name, parameters, function) native_operator<&function>(name, parameters),
#include "aoti/runtime/fftw.inc"
    };
    return rows;
  }
};

}  // namespace aoti::inline AOTI_ABI
