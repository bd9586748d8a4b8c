// What the hand-made models share: turns a struct with a model's peculiarities into the functions
// that a compiled model exports.
#pragma once

#include <aoti/abi/handles.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

// Declares every function of the boundary, so that a definition with another type does not compile.
extern "C" {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include <aoti/abi/exports.inc>
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include <aoti/abi/imports.inc>
}

namespace {

constexpr std::int32_t float32 = 6;
constexpr std::int32_t int32 = 3;

thread_local const char* last_error = "";
thread_local AOTInductorStreamHandle run_stream = nullptr;   // of the current run
thread_local AOTInductorStreamHandle fold_stream = nullptr;  // of the current fold
thread_local AOTIProxyExecutorHandle fold_proxy = nullptr;

inline AOTIRuntimeError fail(const char* text) {
  last_error = text;
  return 1;
}

struct ConstantInfo {
  const char* name;
  const char* fqn;
  std::int32_t dtype, type;
  std::size_t size;
  bool folded;
};

/// Frees an input, as a compiled model does when it is done with it.
inline void free_input(AtenTensorHandle& handle) {
  aoti_torch_delete_tensor_object(handle);
  handle = nullptr;
}

template <class T> T* data(AtenTensorHandle handle) {
  void* pointer = nullptr;
  aoti_torch_get_data_ptr(handle, &pointer);
  return static_cast<T*>(pointer);
}

/// A contiguous tensor of the same sizes (at most four), or null.
inline AtenTensorHandle empty_like(AtenTensorHandle handle, std::int32_t dtype) {
  std::int64_t rank = 0;
  std::int64_t* sizes = nullptr;
  aoti_torch_get_dim(handle, &rank);
  aoti_torch_get_sizes(handle, &sizes);
  std::int64_t strides[4] = {};
  std::int64_t step = 1;
  for (std::int64_t i = rank; i-- > 0; step *= sizes[i]) strides[i] = step;
  AtenTensorHandle result = nullptr;
  const auto failed = aoti_torch_empty_strided(rank, sizes, strides, dtype, 0, 0, &result);
  return failed != 0 ? nullptr : result;
}

/// a + b, element by element in memory order.
inline AOTIRuntimeError add(AtenTensorHandle* in, AtenTensorHandle* out) {
  std::int64_t count = 0;
  aoti_torch_get_numel(in[0], &count);
  AtenTensorHandle sum = empty_like(in[0], float32);
  if (sum == nullptr) return fail("aoti_torch_empty_strided(…) API call failed at fake_model.hpp");
  const float* a = data<float>(in[0]);
  const float* b = data<float>(in[1]);
  float* c = data<float>(sum);
  for (std::int64_t i = 0; i < count; ++i) c[i] = a[i] + b[i];
  free_input(in[0]);
  free_input(in[1]);
  out[0] = sum;
  return 0;
}

constexpr const char* add_call_spec_in =
    R"([1, {"type": "builtins.tuple", "context": "null", "children_spec": [)"
    R"({"type": "builtins.tuple", "context": "null", "children_spec": [)"
    R"({"type": null, "context": null, "children_spec": []}]}, )"
    R"({"type": "builtins.dict", "context": "[\"b\"]", "children_spec": [)"
    R"({"type": null, "context": null, "children_spec": []}]}]}])";
constexpr const char* add_call_spec_out =
    R"([1, {"type": null, "context": null, "children_spec": []}])";

/// The defaults of a fake: adds two float32 tensors, and has no constants.
struct Model {
  static constexpr std::size_t inputs = 2;
  static constexpr std::size_t outputs = 1;
  static constexpr std::array<ConstantInfo, 0> constants{};
  static const char* input_name(std::size_t i) { return i == 0 ? "arg0_1" : "arg1_1"; }
  static const char* output_name(std::size_t) { return "output_0"; }
  static const char* call_spec_in() { return add_call_spec_in; }
  static const char* call_spec_out() { return add_call_spec_out; }

  std::string kernel_folder;

  AOTIRuntimeError start(std::size_t, const char*) { return 0; }
  AOTIRuntimeError update(AOTInductorConstantMapHandle, bool) { return 0; }
  AOTIRuntimeError fold(bool) { return 0; }
  AOTIRuntimeError swap() { return 0; }
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) { return add(in, out); }
};

template <class M> M* model_of(AOTInductorModelContainerHandle handle) {
  return reinterpret_cast<M*>(handle);
}

template <class M>
AOTIRuntimeError create(AOTInductorModelContainerHandle* handle, std::size_t instances,
                        const char* device, const char* kernels) {
  if (handle == nullptr || instances == 0) return fail("");
  auto model = std::make_unique<M>();
  if (kernels != nullptr) model->kernel_folder = kernels;
  if (model->start(instances, device) != 0) return 1;
  *handle = reinterpret_cast<AOTInductorModelContainerHandle>(model.release());
  return 0;
}

template <class M>
AOTIRuntimeError run(AOTInductorModelContainerHandle handle, AtenTensorHandle* in,
                     std::size_t inputs, AtenTensorHandle* out, std::size_t outputs,
                     AOTInductorStreamHandle stream) {
  last_error = "";
  run_stream = stream;
  if (handle == nullptr || inputs != M::inputs || outputs != M::outputs) return fail("bad counts");
  return model_of<M>(handle)->run(in, out);
}

/// A model without constants has none to be asked about.
template <class M, class Value>
AOTIRuntimeError constant(std::size_t i, Value ConstantInfo::*member, Value* out) {
  if (i >= M::constants.size()) return fail("no such constant");
  *out = M::constants.data()[i].*member;
  return 0;
}

template <class Value> AOTIRuntimeError answer(Value* out, Value value) {
  *out = value;
  return 0;
}

}  // namespace

// The exports of a complete model, and of one without the two functions below.
#define FAKE_MODEL_BUT_RUN_AND_OUTPUTS(M)                                                          \
  extern "C" {                                                                                     \
  using C = AOTInductorModelContainerHandle;                                                       \
  AOTIRuntimeError AOTInductorModelContainerCreateWithDevice(C* c, std::size_t n, const char* d,   \
                                                             const char* kernels) {                \
    return create<M>(c, n, d, kernels);                                                            \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerDelete(C c) {                                          \
    delete model_of<M>(c);                                                                         \
    return 0;                                                                                      \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetNumInputs(C, std::size_t* out) {                    \
    return answer(out, std::size_t{M::inputs});                                                    \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetInputName(C, std::size_t i, const char** out) {     \
    return answer(out, M::input_name(i));                                                          \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetOutputName(C, std::size_t i, const char** out) {    \
    return answer(out, M::output_name(i));                                                         \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetCallSpec(C, const char** in, const char** out) {    \
    *in = M::call_spec_in();                                                                       \
    return answer(out, M::call_spec_out());                                                        \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetNumConstants(C, std::size_t* out) {                 \
    return answer(out, M::constants.size());                                                       \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetConstantName(C, std::size_t i, const char** out) {  \
    return constant<M>(i, &ConstantInfo::name, out);                                               \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetConstantOriginalFQN(C, std::size_t i,               \
                                                                   const char** out) {             \
    return constant<M>(i, &ConstantInfo::fqn, out);                                                \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetConstantFromFolded(C, std::size_t i, bool* out) {   \
    return constant<M>(i, &ConstantInfo::folded, out);                                             \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetConstantDtype(C, std::size_t i,                     \
                                                             std::int32_t* out) {                  \
    return constant<M>(i, &ConstantInfo::dtype, out);                                              \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerUpdateConstantBuffer(C c,                              \
                                                                 AOTInductorConstantMapHandle map, \
                                                                 bool inactive, bool) {            \
    return model_of<M>(c)->update(map, inactive);                                                  \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerUpdateInactiveConstantBuffer(                          \
      C c, AOTInductorConstantMapHandle map) {                                                     \
    return model_of<M>(c)->update(map, true);                                                      \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerRunConstantFolding(C c, bool inactive,                 \
                                                               AOTInductorStreamHandle stream,     \
                                                               AOTIProxyExecutorHandle proxy) {    \
    fold_stream = stream;                                                                          \
    fold_proxy = proxy;                                                                            \
    return model_of<M>(c)->fold(inactive);                                                         \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerSwapConstantBuffer(C c) {                              \
    return model_of<M>(c)->swap();                                                                 \
  }                                                                                                \
  }

// All required functions.
#define FAKE_MODEL(M)                                                                          \
  FAKE_MODEL_BUT_RUN_AND_OUTPUTS(M)                                                            \
  extern "C" {                                                                                 \
  AOTIRuntimeError AOTInductorModelContainerRun(C c, AtenTensorHandle* in, std::size_t inputs, \
                                                AtenTensorHandle* out, std::size_t outputs,    \
                                                AOTInductorStreamHandle stream,                \
                                                AOTIProxyExecutorHandle) {                     \
    return run<M>(c, in, inputs, out, outputs, stream);                                        \
  }                                                                                            \
  AOTIRuntimeError AOTInductorModelContainerGetNumOutputs(C, std::size_t* out) {               \
    return answer(out, std::size_t{M::outputs});                                               \
  }                                                                                            \
  }

// The optional functions, each for models that need it.
#define FAKE_LAST_ERROR                                                   \
  extern "C" AOTIRuntimeError AOTInductorGetLastError(const char** out) { \
    return answer(out, last_error);                                       \
  }

#define FAKE_RUN_SINGLE_THREADED(M)                                                              \
  extern "C" AOTIRuntimeError AOTInductorModelContainerRunSingleThreaded(                        \
      C c, AtenTensorHandle* in, std::size_t inputs, AtenTensorHandle* out, std::size_t outputs, \
      AOTInductorStreamHandle stream, AOTIProxyExecutorHandle) {                                 \
    return run<M>(c, in, inputs, out, outputs, stream);                                          \
  }

#define FAKE_CONSTANT_DETAILS(M)                                                                   \
  extern "C" {                                                                                     \
  AOTIRuntimeError AOTInductorModelContainerGetConstantType(C, std::size_t i, std::int32_t* out) { \
    return constant<M>(i, &ConstantInfo::type, out);                                               \
  }                                                                                                \
  AOTIRuntimeError AOTInductorModelContainerGetConstantDataSize(C, std::size_t i,                  \
                                                                std::size_t* out) {                \
    return constant<M>(i, &ConstantInfo::size, out);                                               \
  }                                                                                                \
  }
