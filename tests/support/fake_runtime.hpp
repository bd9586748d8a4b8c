// A tensor runtime without libtorch: tensors that are plain memory, and the functions that the
// fakes import, exported from the test program. All live objects are counted.
#pragma once

#include <aoti/abi/imports.hpp>
#include <aoti/runtime/runtime.hpp>

#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include <aoti/abi/imports.inc>
}

namespace aoti_test {

using aoti::DeviceType;
using aoti::DType;
using Sizes = std::vector<std::int64_t>;

/// Marks allocations of the runtime and the tests, as opposed to the library: see allocations.hpp.
inline thread_local int foreign_depth = 0;
struct Foreign {
  Foreign() noexcept { ++foreign_depth; }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  ~Foreign() { --foreign_depth; }
};

inline std::atomic<int> live_storages = 0;
inline std::atomic<int> live_handles = 0;

/// Queued work, such as copies within a device; a copy to the CPU waits for it.
inline std::atomic<int> queued = 0;

/// How many more allocations of the runtime succeed on this thread before one fails; -1 for all.
inline thread_local int allocations_left = -1;
inline thread_local std::string runtime_error;

inline bool allocation_fails() {
  if (allocations_left < 0 || allocations_left-- > 0) return false;
  runtime_error = "the fake runtime is out of memory";
  return true;
}

struct Storage {
  explicit Storage(std::size_t size) : bytes(size), at{bytes.data()} { ++live_storages; }
  explicit Storage(void* borrowed) : at{static_cast<std::byte*>(borrowed)} { ++live_storages; }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() { --live_storages; }
  std::vector<std::byte> bytes{};
  std::byte* at;
};

/// Copies share the storage; a default-constructed or moved-from tensor is undefined.
struct FakeTensor {
  DType dtype = DType::float32;
  DeviceType device = DeviceType::cpu;
  int index = 0;
  bool strided = true;
  Sizes sizes{};
  Sizes strides{};
  std::shared_ptr<Storage> storage{};

  void* data() const noexcept { return storage->at; }
};

inline Sizes contiguous_strides(const Sizes& sizes) {
  Sizes strides(sizes.size());
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0; step *= sizes[i]) strides[i] = step;
  return strides;
}

inline std::int64_t element_count(const Sizes& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

inline FakeTensor empty(DType dtype, Sizes sizes, Sizes strides = {}) {
  const Foreign scope;
  if (strides.empty()) strides = contiguous_strides(sizes);
  std::int64_t elements = element_count(sizes) == 0 ? 0 : 1;
  for (std::size_t i = 0; i < sizes.size() && elements != 0; ++i) {
    elements += (sizes[i] - 1) * strides[i];
  }
  FakeTensor tensor{.dtype = dtype, .sizes = std::move(sizes), .strides = std::move(strides)};
  const auto bytes = static_cast<std::size_t>(elements) * aoti::element_size(dtype);
  tensor.storage = std::make_shared<Storage>(bytes);
  return tensor;
}

/// Calls `visit` with the offset in elements of each element, in row-major order.
template <class Visit> void for_each_offset(const FakeTensor& tensor, Visit&& visit) {
  const std::int64_t count = element_count(tensor.sizes);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, offset = 0;
    for (std::size_t d = tensor.sizes.size(); d-- > 0; rest /= tensor.sizes[d]) {
      offset += rest % tensor.sizes[d] * tensor.strides[d];
    }
    visit(offset);
  }
}

/// As in torch: a dimension of size 1 may have any stride, and so may every dimension of a tensor
/// without elements.
inline bool is_row_major(const FakeTensor& tensor) noexcept {
  std::int64_t step = 1;
  bool dense = true;
  for (std::size_t i = tensor.sizes.size(); i-- > 0; step *= tensor.sizes[i]) {
    dense &= tensor.sizes[i] == 1 || tensor.strides[i] == step;
  }
  return dense || step == 0;
}

template <class T> inline constexpr DType dtype_of = DType::float32;
template <> inline constexpr DType dtype_of<std::int32_t> = DType::int32;
template <> inline constexpr DType dtype_of<std::int64_t> = DType::int64;
static_assert(sizeof(float) == 4);

/// A tensor with these elements in row-major order, for any strides.
template <class T>
FakeTensor tensor(Sizes sizes, const std::vector<T>& elements, Sizes strides = {}) {
  FakeTensor result = empty(dtype_of<T>, std::move(sizes), std::move(strides));
  std::size_t i = 0;
  for_each_offset(result,
                  [&](std::int64_t at) { static_cast<T*>(result.data())[at] = elements[i++]; });
  return result;
}

/// The elements in row-major order.
template <class T> std::vector<T> elements(const FakeTensor& tensor) {
  std::vector<T> result;
  for_each_offset(tensor,
                  [&](std::int64_t at) { result.push_back(static_cast<T*>(tensor.data())[at]); });
  return result;
}

/// Copies element by element, for any strides.
inline void copy_elements(const FakeTensor& tensor, FakeTensor& copy) {
  const std::size_t size = aoti::element_size(tensor.dtype);
  std::vector<std::int64_t> from;
  for_each_offset(tensor, [&](std::int64_t at) { from.push_back(at); });
  std::size_t i = 0;
  for_each_offset(copy, [&](std::int64_t at) {
    std::memcpy(static_cast<std::byte*>(copy.data()) + static_cast<std::size_t>(at) * size,
                static_cast<std::byte*>(tensor.data()) + static_cast<std::size_t>(from[i++]) * size,
                size);
  });
}

inline FakeTensor* tensor_of(AtenTensorHandle handle) {
  return reinterpret_cast<FakeTensor*>(handle);
}

template <class... Arguments> AtenTensorHandle new_handle(Arguments&&... arguments) {
  const Foreign scope;
  if (allocation_fails()) return nullptr;
  ++live_handles;
  return reinterpret_cast<AtenTensorHandle>(new FakeTensor(std::forward<Arguments>(arguments)...));
}

struct FakeRuntime {
  using Tensor = FakeTensor;

  static bool is_defined(const FakeTensor& tensor) noexcept { return tensor.storage != nullptr; }
  static bool is_strided(const FakeTensor& tensor) noexcept {
    return is_defined(tensor) && tensor.strided;
  }
  static bool is_strided_on(const FakeTensor& tensor, aoti::DeviceType type) noexcept {
    return is_strided(tensor) && tensor.device == type;
  }
  static DType dtype(const FakeTensor& tensor) noexcept { return tensor.dtype; }
  static aoti::DeviceType device(const FakeTensor& tensor) noexcept { return tensor.device; }
  static int device_index(const FakeTensor& tensor) noexcept { return tensor.index; }
  static std::span<const std::int64_t> sizes(const FakeTensor& tensor) noexcept {
    return tensor.sizes;
  }
  static const void* data(const FakeTensor& tensor) noexcept { return tensor.data(); }
  static std::span<const std::int64_t> strides(const FakeTensor& tensor) noexcept {
    return tensor.strides;
  }
  static bool is_row_major(const FakeTensor& tensor) noexcept {
    return aoti_test::is_row_major(tensor);
  }
  static AtenTensorHandle share(const FakeTensor& tensor) { return new_handle(tensor); }
  static AtenTensorHandle give(FakeTensor&& tensor) { return new_handle(std::move(tensor)); }
  static FakeTensor take(AtenTensorHandle handle) noexcept {
    FakeTensor tensor = std::move(*tensor_of(handle));
    destroy(handle);
    return tensor;
  }
  static const FakeTensor& peek(AtenTensorHandle handle) noexcept { return *tensor_of(handle); }
  static void destroy(AtenTensorHandle handle) noexcept {
    --live_handles;
    delete tensor_of(handle);
  }
  static FakeTensor reordered(const FakeTensor& tensor, std::span<const int> order) {
    const Foreign scope;
    const std::size_t rank = tensor.sizes.size();
    Sizes strides(rank);
    std::int64_t step = 1;
    for (std::size_t i = rank; i-- > 0;) {
      const std::size_t d = order.empty() ? i : static_cast<std::size_t>(order[i]);
      strides[d] = step;
      step *= tensor.sizes[d];
    }
    FakeTensor copy = empty(tensor.dtype, tensor.sizes, strides);
    copy_elements(tensor, copy);
    return copy;
  }
  static void* import(const char* symbol) noexcept { return ::dlsym(RTLD_DEFAULT, symbol); }
  static std::string last_error() { return runtime_error; }
};
static_assert(aoti::TensorRuntime<FakeRuntime>);

}  // namespace aoti_test

// A test program has one source file, so these are defined here; it exports them to the fakes.
extern "C" {

inline __attribute__((used)) AOTITorchError aoti_torch_empty_strided(
    std::int64_t rank, const std::int64_t* sizes, const std::int64_t* strides, std::int32_t dtype,
    std::int32_t device, std::int32_t index, AtenTensorHandle* out) {
  const aoti_test::Foreign scope;
  if (aoti_test::allocation_fails()) return 1;
  aoti_test::FakeTensor tensor = aoti_test::empty(static_cast<aoti::DType>(dtype),
                                                  {sizes, sizes + rank}, {strides, strides + rank});
  tensor.device = static_cast<aoti::DeviceType>(device);
  tensor.index = index;
  *out = aoti_test::new_handle(std::move(tensor));
  return *out == nullptr;
}

inline __attribute__((used)) AOTITorchError aoti_torch_create_tensor_from_blob(
    void* data, std::int64_t rank, const std::int64_t* sizes, const std::int64_t* strides,
    std::int64_t, std::int32_t dtype, std::int32_t device, std::int32_t index,
    AtenTensorHandle* out) {
  const aoti_test::Foreign scope;
  if (aoti_test::allocation_fails()) return 1;
  aoti_test::FakeTensor tensor{.dtype = static_cast<aoti::DType>(dtype),
                               .device = static_cast<aoti::DeviceType>(device),
                               .index = index,
                               .sizes = {sizes, sizes + rank},
                               .strides = {strides, strides + rank},
                               .storage = std::make_shared<aoti_test::Storage>(data)};
  *out = aoti_test::new_handle(std::move(tensor));
  return *out == nullptr;
}

inline __attribute__((used)) AOTITorchError aoti_torch_copy_(AtenTensorHandle to,
                                                             AtenTensorHandle from, std::int32_t) {
  const aoti_test::Foreign scope;
  if (aoti_test::allocation_fails()) return 1;
  const bool from_cpu = aoti_test::tensor_of(from)->device == aoti::DeviceType::cpu;
  const bool to_cpu = aoti_test::tensor_of(to)->device == aoti::DeviceType::cpu;
  if (!from_cpu && !to_cpu) ++aoti_test::queued;
  if (!from_cpu && to_cpu) aoti_test::queued = 0;
  aoti_test::copy_elements(*aoti_test::tensor_of(from), *aoti_test::tensor_of(to));
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_delete_tensor_object(
    AtenTensorHandle handle) {
  aoti_test::FakeRuntime::destroy(handle);
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_data_ptr(AtenTensorHandle handle,
                                                                    void** out) {
  *out = aoti_test::tensor_of(handle)->data();
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_sizes(AtenTensorHandle handle,
                                                                 std::int64_t** out) {
  *out = aoti_test::tensor_of(handle)->sizes.data();
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_strides(AtenTensorHandle handle,
                                                                   std::int64_t** out) {
  *out = aoti_test::tensor_of(handle)->strides.data();
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_dtype(AtenTensorHandle handle,
                                                                 std::int32_t* out) {
  *out = static_cast<std::int32_t>(aoti_test::tensor_of(handle)->dtype);
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_device_type(AtenTensorHandle handle,
                                                                       std::int32_t* out) {
  *out = static_cast<std::int32_t>(aoti_test::tensor_of(handle)->device);
  return 0;
}

inline __attribute__((used)) bool aoti_torch_grad_mode_is_enabled() { return false; }
inline __attribute__((used)) void aoti_torch_grad_mode_set_enabled(bool) {}

inline __attribute__((used)) AOTITorchError aoti_torch_get_dim(AtenTensorHandle handle,
                                                               std::int64_t* out) {
  *out = static_cast<std::int64_t>(aoti_test::tensor_of(handle)->sizes.size());
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_get_numel(AtenTensorHandle handle,
                                                                 std::int64_t* out) {
  *out = aoti_test::element_count(aoti_test::tensor_of(handle)->sizes);
  return 0;
}

inline __attribute__((used)) AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle handle,
                                                                         AtenTensorHandle* out) {
  *out = aoti_test::new_handle(*aoti_test::tensor_of(handle));
  return *out == nullptr;
}

}  // extern "C"
