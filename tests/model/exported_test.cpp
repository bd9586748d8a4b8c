// Every function of the C boundary, on models written in C++, as a host calls them.
#include "model/models.hpp"

#include <aoti/abi/array_ref.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace aoti_test {
namespace {

using aoti::abi::ConstantEntry;
using aoti::abi::ModelExports;
using Container = AOTInductorModelContainerHandle;
using Map = std::unordered_map<std::string, AtenTensorHandle>;

template <class M> const ModelExports& table_of() {
  static constexpr ModelExports table = model::Exported<model::Written<M>>::table();
  return table;
}

/// A container, deleted at the end.
template <class M> struct Host {
  const ModelExports& f = table_of<M>();
  Container handle = nullptr;

  explicit Host(std::size_t instances = 1) {
    EXPECT_EQ(f.create_with_device(&handle, instances, "cpu", nullptr), 0) << error();
  }
  Host(const Host&) = delete;
  ~Host() { EXPECT_EQ(f.delete_container(handle), 0); }

  std::string error() const {
    const char* text = nullptr;
    EXPECT_EQ(f.get_last_error(&text), 0);
    return text;
  }
  void fails(AOTIRuntimeError code, const std::vector<std::string>& parts) const {
    EXPECT_NE(code, 0);
    for (const std::string& part : parts) EXPECT_THAT(error(), testing::HasSubstr(part));
  }

  /// The first output, or -1.
  float run(float x, bool single = false) const {
    AtenTensorHandle in[] = {aoti::Native::share(floats({x}))};
    AtenTensorHandle out[2] = {};
    const auto run = single ? f.run_single_threaded : f.run;
    const std::size_t outputs = M::outputs.size();
    const auto code = run(handle, in, 1, out, outputs, nullptr, nullptr);
    if (in[0] != nullptr) aoti::Native::destroy(in[0]);  // it was not taken
    if (code != 0) return -1;
    const float result = first(aoti::Native::take(out[0]));
    if (outputs == 2) aoti::Native::destroy(out[1]);
    return result;
  }
};

AOTInductorConstantMapHandle as_handle(Map& map) {
  return reinterpret_cast<AOTInductorConstantMapHandle>(&map);
}
const AOTInductorConstantMapEntry* as_entries(const std::vector<ConstantEntry>& entries) {
  return reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data());
}

TEST(Exported, HasAllFunctions) {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  EXPECT_NE(table_of<Affine>().member, nullptr) << #symbol;
#include <aoti/abi/exports.inc>
}

TEST(Exported, CreatesOnTheDeviceOfTheModelOnly) {
  const ModelExports& f = table_of<Echo>();
  Host<Echo> host;
  Container other = nullptr;
  EXPECT_EQ(f.create(&other, 2, true, ""), 0);
  EXPECT_EQ(f.delete_container(other), 0);
  host.fails(f.create(&other, 1, false, ""), {"'cuda'", "'cpu'"});
  host.fails(f.create_with_device(&other, 0, "cpu", ""), {"0 instances"});
  host.fails(f.create_with_device(&other, 1, "cpu:x", ""), {"'cpu:x'"});
  host.fails(f.create_with_device(&other, 1, nullptr, ""), {"null"});
  host.fails(f.create_with_device(nullptr, 1, "cpu", ""), {"null"});
}

TEST(Exported, TellsWhatTheModelIs) {
  Host<Affine> host;
  const ModelExports& f = host.f;
  std::size_t count = 0;
  EXPECT_EQ(f.get_num_inputs(host.handle, &count), 0);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(f.get_num_outputs(host.handle, &count), 0);
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(f.get_num_constants(host.handle, &count), 0);
  EXPECT_EQ(count, 4u);
  const char* text = nullptr;
  EXPECT_EQ(f.get_input_name(host.handle, 0, &text), 0);
  EXPECT_STREQ(text, "x");
  EXPECT_EQ(f.get_output_name(host.handle, 1, &text), 0);
  EXPECT_STREQ(text, "runs");
  EXPECT_EQ(f.get_constant_name(host.handle, 1, &text), 0);
  EXPECT_STREQ(text, "layer.b");
  EXPECT_EQ(f.get_constant_original_fqn(host.handle, 0, &text), 0);
  EXPECT_STREQ(text, "layer.w");
  EXPECT_EQ(f.get_constant_original_fqn(host.handle, 3, &text), 0);
  EXPECT_STREQ(text, "");  // folded
  std::int32_t number = 0;
  EXPECT_EQ(f.get_constant_dtype(host.handle, 2, &number), 0);
  EXPECT_EQ(number, static_cast<std::int32_t>(aoti::DType::int64));
  EXPECT_EQ(f.get_constant_type(host.handle, 2, &number), 0);
  EXPECT_EQ(number, static_cast<std::int32_t>(aoti::ConstantKind::buffer));
  EXPECT_EQ(f.get_constant_data_size(host.handle, 2, &count), 0);
  EXPECT_EQ(count, 64u);
  bool flag = false;
  EXPECT_EQ(f.get_constant_from_folded(host.handle, 3, &flag), 0);
  EXPECT_TRUE(flag);
  EXPECT_EQ(f.did_call_load_constants(host.handle, &flag), 0);
  EXPECT_TRUE(flag);
  std::uint64_t bytes = 0;
  EXPECT_EQ(f.get_constants_blob_size(host.handle, &bytes), 0);
  EXPECT_EQ(bytes, 192u);
  const char *in = nullptr, *out = nullptr;
  EXPECT_EQ(f.get_call_spec(host.handle, &in, &out), 0);
  const auto spec = aoti::CallSpec::parse(in, out);
  ASSERT_TRUE(good(spec));
  EXPECT_EQ(spec.value().args.leaf_count(), 1u);
  EXPECT_EQ(spec.value().result.leaf_count(), 2u);
  EXPECT_EQ(f.set_use_stream_affinity(host.handle, false), 0);
  host.fails(f.set_use_stream_affinity(host.handle, true), {"stream affinity"});
  std::int64_t index = 0;
  EXPECT_EQ(f.get_stream_affinity_model_index_for_testing(host.handle, nullptr, &index), 0);
  EXPECT_EQ(index, -2);
  EXPECT_EQ(f.set_use_pinned_async_constants_copy(true), 0);
  EXPECT_EQ(f.set_pinned_async_constants_copy_stage_buffer_bytes(1 << 20), 0);
  EXPECT_EQ(f.set_pinned_async_constants_copy_cpu_threads(2), 0);

  host.fails(f.get_input_name(host.handle, 1, &text), {"GetInputName", "index 1", "below 1"});
  host.fails(f.get_constant_dtype(host.handle, 4, &number), {"index 4", "below 4"});
  host.fails(f.get_num_inputs(host.handle, nullptr), {"null"});
  host.fails(f.get_num_inputs(nullptr, &count), {"GetNumInputs", "handle is null"});
  host.fails(f.run(nullptr, nullptr, 0, nullptr, 0, nullptr, nullptr), {"handle is null"});
  EXPECT_NE(f.get_last_error(nullptr), 0);
}

TEST(Exported, HasConstantsOfNoElements) { EXPECT_EQ(Host<Hollow>{}.run(7), 7); }

TEST(Exported, RunsAndTakesTheInputs) {
  Host<Affine> host{2};
  EXPECT_EQ(host.run(1), 13);
  EXPECT_EQ(host.run(2, true), 16);
  AtenTensorHandle in[] = {aoti::Native::share(floats({1}))};
  AtenTensorHandle out[2] = {};
  host.fails(host.f.run(host.handle, in, 1, out, 1, nullptr, nullptr),
             {"wrong number of outputs", "found 1, expected 2"});
  host.fails(host.f.run_single_threaded(host.handle, in, 0, out, 2, nullptr, nullptr),
             {"wrong number of inputs", "found 0, expected 1"});
  EXPECT_NE(in[0], nullptr);  // they were not taken
  aoti::Native::destroy(in[0]);

  AtenTensorHandle wrong[] = {
      aoti::Native::share(aoti::Tensor::empty(aoti::DType::int32, {3}).value())};
  host.fails(host.f.run(host.handle, wrong, 1, out, 2, nullptr, nullptr),
             {"x: wrong input dtype", "found int32, expected float32"});
  EXPECT_EQ(wrong[0], nullptr);
  EXPECT_EQ(out[0], nullptr);
  EXPECT_EQ(host.run(1), 13);
}

TEST(Exported, TurnsFailuresIntoCodes) {
  Host<Echo> host;
  Echo::trouble = Echo::Trouble::refuses;
  EXPECT_EQ(host.run(1), -1);
  EXPECT_THAT(host.error(), testing::HasSubstr("it was told to fail"));
#if defined(__cpp_exceptions)
  Echo::trouble = Echo::Trouble::throws;
  EXPECT_EQ(host.run(1, true), -1);
  EXPECT_THAT(host.error(), testing::HasSubstr("it was told to throw"));
#endif
  Echo::trouble = Echo::Trouble::forgets;
  EXPECT_EQ(host.run(1), -1);
  EXPECT_THAT(host.error(), testing::HasSubstr("did not set this output"));
  Echo::trouble = Echo::Trouble::none;
  EXPECT_EQ(host.run(1), 1);
}

TEST(Exported, UpdatesEitherSetByMapOrEntries) {
  Host<Affine> host;
  const ModelExports& f = host.f;
  const aoti::Tensor ten = floats({10}), twenty = floats({20});
  const AtenTensorHandle w = aoti::Native::share(ten), b = aoti::Native::share(twenty);
  Map both{{"layer.w", w}, {"layer.b", b}};
  const std::vector<ConstantEntry> entries{{"layer.w", w}, {"layer.b", b}};

  EXPECT_EQ(f.update_inactive_constant_buffer(host.handle, as_handle(both)), 0) << host.error();
  EXPECT_EQ(host.run(1), 13);
  EXPECT_EQ(f.run_constant_folding(host.handle, true, nullptr, nullptr), 0) << host.error();
  EXPECT_EQ(f.swap_constant_buffer(host.handle), 0);
  EXPECT_EQ(host.run(1), 50);
  EXPECT_EQ(f.swap_constant_buffer(host.handle), 0);
  EXPECT_EQ(host.run(1), 13);
  EXPECT_EQ(f.update_constant_buffer(host.handle, as_handle(both), false, true), 0);
  EXPECT_EQ(host.run(1), 50);  // folded by the run
  EXPECT_EQ(f.free_inactive_constant_buffer(host.handle), 0);
  EXPECT_EQ(f.swap_constant_buffer(host.handle), 0);
  EXPECT_EQ(host.run(1), -1);
  EXPECT_THAT(host.error(), testing::HasSubstr("layer.w: bad state: the set lacks this weight"));
  EXPECT_EQ(f.swap_constant_buffer(host.handle), 0);
  EXPECT_EQ(host.run(1), 50);

  for (const auto update : {f.update_constant_buffer_pairs, f.update_constant_buffer_from_cpu_pairs,
                            f.update_user_managed_constant_buffer_pairs}) {
    EXPECT_EQ(update(host.handle, as_entries(entries), 1, false, false), 0) << host.error();
    EXPECT_EQ(host.run(2), 60);
  }
  static_cast<float*>(ten.data())[0] = 11;  // the last one kept it
  EXPECT_EQ(host.run(2), 62);
  EXPECT_EQ(f.update_constant_buffer_from_cpu(host.handle, as_handle(both), false, true), 0);
  EXPECT_EQ(f.update_user_managed_constant_buffer(host.handle, as_handle(both), true, true), 0);
  EXPECT_EQ(f.update_inactive_constant_buffer_pairs(host.handle, as_entries(entries), 2), 0);

  Map found;
  EXPECT_EQ(f.extract_constants_map(host.handle, as_handle(found), false), 0);
  EXPECT_EQ(found.size(), 3u);  // without the folded one
  EXPECT_EQ(first(aoti::Native::peek(found.at("layer.w"))), 11);
  const AOTInductorConstantMapEntry* listed = nullptr;
  std::size_t count = 0;
  EXPECT_EQ(f.extract_constants_map_entries(host.handle, &listed, &count, true), 0);
  ASSERT_EQ(count, 3u);
  EXPECT_STREQ(reinterpret_cast<const ConstantEntry*>(listed)[2].name, "runs");
  aoti::Native::destroy(w);
  aoti::Native::destroy(b);
}

TEST(Exported, RefusesUpdatesThatDoNotFitAndChangesNothing) {
  Host<Affine> host;
  const aoti::Tensor ten = floats({10}), two = floats({1, 2});
  const aoti::Tensor whole = aoti::Tensor::empty(aoti::DType::int32, {1}).value();
  const AtenTensorHandle good_one = aoti::Native::share(ten), long_one = aoti::Native::share(two),
                         whole_one = aoti::Native::share(whole);
  const auto refused = [&](const std::vector<ConstantEntry>& entries, bool full,
                           const std::vector<std::string>& parts) {
    for (const bool inactive : {false, true}) {
      host.fails(host.f.update_constant_buffer_pairs(host.handle, as_entries(entries),
                                                     entries.size(), inactive, full),
                 parts);
    }
    EXPECT_EQ(host.run(1), 13);
  };
  refused({{"layer.w", good_one}, {"layer.c", good_one}}, false,
          {"layer.c: no such constant", "layer.w, layer.b, runs"});
  refused({{"f", good_one}}, false, {"f: no such constant"});
  refused({{nullptr, good_one}}, false, {"no such constant"});
  refused({{"layer.w", good_one}}, true, {"layer.b: missing constants", "every parameter"});
  refused({{"layer.w", good_one}, {"layer.b", nullptr}}, false, {"layer.b: undefined tensor"});
  refused({{"layer.w", long_one}}, false, {"layer.w", "found the shape [2], expected [1]"});
  refused({{"layer.w", whole_one}}, false, {"layer.w", "found int32, expected float32"});
  host.fails(host.f.update_constant_buffer(host.handle, nullptr, false, false), {"null"});
  host.fails(host.f.extract_constants_map(host.handle, nullptr, false), {"null"});

  const aoti::Tensor bias = floats({666});
  const AtenTensorHandle bad_one = aoti::Native::share(bias);
  const std::vector<ConstantEntry> unfoldable{{"layer.w", good_one}, {"layer.b", bad_one}};
  EXPECT_EQ(host.f.update_inactive_constant_buffer_pairs(host.handle, as_entries(unfoldable), 2),
            0);
  host.fails(host.f.run_constant_folding(host.handle, true, nullptr, nullptr), {"666 is refused"});
  EXPECT_EQ(host.run(1), 13);
#if defined(__cpp_exceptions)
  static_cast<float*>(bias.data())[0] = 667;
  EXPECT_EQ(host.f.update_inactive_constant_buffer_pairs(host.handle, as_entries(unfoldable), 2),
            0);
  host.fails(host.f.run_constant_folding(host.handle, true, nullptr, nullptr), {"667 is thrown"});
  EXPECT_EQ(host.run(1), 13);
#endif
  for (const AtenTensorHandle one : {good_one, long_one, whole_one, bad_one}) {
    aoti::Native::destroy(one);
  }
}

TEST(Exported, CopiesABlob) {
  Host<Empty> host;
  bool loaded = true;
  EXPECT_EQ(host.f.did_call_load_constants(host.handle, &loaded), 0);
  EXPECT_FALSE(loaded);
  EXPECT_EQ(host.run(2), -1);
  alignas(64) float blob[16] = {21};
  host.fails(host.f.model_update_constants_from_blob(host.handle, nullptr), {"null"});
  EXPECT_EQ(host.f.model_update_constants_from_blob(host.handle,
                                                    reinterpret_cast<const std::uint8_t*>(blob)),
            0);
  EXPECT_EQ(host.run(2), 42);
  blob[0] = 1;
  EXPECT_EQ(host.run(2), 42);
}

TEST(Exported, IsCreatedWithConstantsOfTheHost) {
  const ModelExports& f = table_of<Empty>();
  const aoti::Tensor seven = floats({7});
  const AtenTensorHandle w = aoti::Native::share(seven);
  const std::vector<ConstantEntry> entries{{"w", w}};
  Container handle = nullptr;
  ASSERT_EQ(f.create_with_external_constants(&handle, 1, "cpu", "", as_entries(entries), 1), 0);
  AtenTensorHandle in[] = {aoti::Native::share(floats({3}))}, out[1] = {};
  EXPECT_EQ(f.run(handle, in, 1, out, 1, nullptr, nullptr), 0);
  EXPECT_EQ(first(aoti::Native::take(out[0])), 21);
  bool loaded = true;
  EXPECT_EQ(f.did_call_load_constants(handle, &loaded), 0);
  EXPECT_FALSE(loaded);
  EXPECT_EQ(f.delete_container(handle), 0);
  EXPECT_NE(f.create_with_external_constants(&handle, 1, "cpu", "", nullptr, 0), 0);
  aoti::Native::destroy(w);
}

TEST(Exported, IsAModelWithoutAContainer) {
  const ModelExports& f = table_of<Affine>();
  AOTInductorModelHandle alone = nullptr;
  ASSERT_EQ(f.model_create(&alone, nullptr), 0);
  std::size_t count = 0;
  EXPECT_EQ(f.model_get_num_outputs(alone, &count), 0);
  EXPECT_EQ(count, 2u);
  AtenTensorHandle in[] = {aoti::Native::share(floats({1}))}, out[2] = {};
  EXPECT_EQ(f.model_run(alone, in, out), 0);
  EXPECT_EQ(first(aoti::Native::take(out[0])), 13);
  EXPECT_EQ(first<std::int64_t>(aoti::Native::take(out[1])), 1);

  // Handles are taken over, also if they are refused.
  std::vector<ConstantEntry> entries{{"layer.w", aoti::Native::share(floats({10}))}};
  EXPECT_EQ(f.model_update_constants_map_v2(alone, as_entries(entries), 1), 0);
  Map map{{"layer.b", aoti::Native::share(floats({20}))}};
  EXPECT_EQ(f.model_update_constants_map(alone, as_handle(map)), 0);
  entries = {{"none", aoti::Native::share(floats({10}))}};
  EXPECT_NE(f.model_update_constants_map_v2(alone, as_entries(entries), 1), 0);
  EXPECT_NE(f.model_update_constants_map(alone, nullptr), 0);
  EXPECT_NE(f.model_update_constants_map_v2(alone, as_entries(entries), -1), 0);

  float x[2] = {1, 2};
  aoti::abi::ArrayRef view{.data = x, .size = 2, .extents = {2}, .steps = {1}, .rank = 1};
  aoti::abi::ArrayRef results[2];
  const auto* views = reinterpret_cast<const AOTInductorArrayRefTensor*>(&view);
  auto* made = reinterpret_cast<AOTInductorArrayRefTensor*>(results);
  ASSERT_EQ(f.model_run_minimal_arrayref_interface_v2(alone, 1, views, 2, made), 0);
  EXPECT_EQ(static_cast<float*>(results[0].data)[1], 60);
  EXPECT_EQ(results[0].extents[0], 2);
  EXPECT_EQ(results[1].dtype, aoti::DType::int64);
  EXPECT_NE(f.model_run_minimal_arrayref_interface_v2(alone, 0, views, 2, made), 0);
  EXPECT_NE(f.model_run_minimal_arrayref_interface_v2(alone, -1, views, 2, made), 0);
  EXPECT_NE(f.model_run_minimal_arrayref_interface_v2(alone, 1, nullptr, 2, made), 0);
  EXPECT_EQ(f.model_delete(alone), 0);

  entries = {{"layer.w", aoti::Native::share(floats({10}))}};
  ASSERT_EQ(f.model_create_v2(&alone, as_entries(entries), 1), 0);
  EXPECT_EQ(f.model_delete(alone), 0);
  entries = {{"other", aoti::Native::share(floats({10}))}};
  EXPECT_NE(f.model_create_v2(&alone, as_entries(entries), 1), 0);
}

}  // namespace
}  // namespace aoti_test
