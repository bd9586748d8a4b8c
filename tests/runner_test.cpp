#include "support/runners.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "device/recording.hpp"
#include "fakes/trouble.hpp"
#include "support/allocations.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;
using Handles = std::vector<AtenTensorHandle>;

static_assert(std::is_nothrow_move_constructible_v<Runner>);
static_assert(std::is_nothrow_move_assignable_v<Runner>);
static_assert(!std::is_copy_constructible_v<Runner>);

/// All ways to run, in one form: takes over the inputs, returns the outputs.
using Outputs = std::vector<FakeTensor>;
template <class R> struct Way {
  const char* name;
  aoti::Result<Outputs> (*run)(const R&, Outputs inputs);
};

template <class R, std::size_t inputs, std::size_t outputs>
aoti::Result<Outputs> by_array(const R& runner, Outputs in) {
  if constexpr (inputs == 2) {
    auto result = runner.template run<outputs>(in[0], in[1]);
    if (!result) return std::move(result).error();
    return Outputs(result.value().begin(), result.value().end());
  }
}

template <class R, std::size_t outputs> std::vector<Way<R>> ways() {
  return {
      {"array", &by_array<R, 2, outputs>},
      {"array of moved",
       [](const R& runner, Outputs in) -> aoti::Result<Outputs> {
         auto result = runner.template run<outputs>(std::move(in[0]), std::move(in[1]));
         if (!result) return std::move(result).error();
         return Outputs(result.value().begin(), result.value().end());
       }},
      {"span", [](const R& runner, Outputs in) -> aoti::Result<Outputs> { return runner.run(in); }},
      {"run_into",
       [](const R& runner, Outputs in) -> aoti::Result<Outputs> {
         Outputs out(outputs);
         if (auto done = runner.run_into(in, out); !done) return std::move(done).error();
         return out;
       }},
      {"boxed_run",
       [](const R& runner, Outputs in) -> aoti::Result<Outputs> { return runner.boxed_run(in); }},
      {"run_handles",
       [](const R& runner, Outputs in) -> aoti::Result<Outputs> {
         Handles given, made(outputs, reinterpret_cast<AtenTensorHandle>(1));
         for (FakeTensor& tensor : in) {
           given.push_back(FakeRuntime::is_defined(tensor) ? FakeRuntime::give(std::move(tensor))
                                                           : nullptr);
         }
         auto done = runner.run_handles(given, made);
         for (AtenTensorHandle handle : given) {  // of a refused call: still the caller's
           if (handle != nullptr) FakeRuntime::destroy(handle);
         }
         if (!done) {
           for (AtenTensorHandle handle : made) EXPECT_EQ(handle, nullptr);
           return std::move(done).error();
         }
         Outputs out;
         for (AtenTensorHandle handle : made) {
           out.push_back(handle != nullptr ? FakeRuntime::take(handle) : FakeTensor{});
         }
         return out;
       }},
  };
}

class Run : public Tidy {};

TEST_F(Run, AddsInEveryForm) {
  const Runner checked = opened(package("add.pt2")), plain = opened(package("add_plain.pt2"));
  const UncheckedRunner unchecked = opened<UncheckedRunner>(package("add.pt2"));
  const SharedRunner shared = opened<SharedRunner>(package("add.pt2"), {.instances = 2});
  const auto expect = [](const auto& runner, const auto& all) {
    for (const auto& [name, run] : all) {
      for (int i = 0; i < 2; ++i) {
        const auto result = run(runner, {a23(), b23()});
        ASSERT_TRUE(good(result)) << name;
        ASSERT_EQ(result.value().size(), 1u);
        EXPECT_EQ(elements<float>(result.value()[0]), sum23) << name;
      }
    }
  };
  expect(checked, ways<Runner, 1>());
  expect(plain, ways<Runner, 1>());
  expect(unchecked, ways<UncheckedRunner, 1>());
  expect(shared, ways<SharedRunner, 1>());
}

TEST_F(Run, LeavesInputsWithTheCallerUnlessTheyAreGiven) {
  const Runner runner = opened(package("add.pt2"));
  FakeTensor a = a23(), b = b23();
  const FakeTensor constant = b23();
  ASSERT_TRUE(good(runner.run<1>(a, b)));
  EXPECT_EQ(elements<float>(a), elements<float>(a23()));
  EXPECT_EQ(elements<float>(b), elements<float>(b23()));
  ASSERT_TRUE(good(runner.run<1>(std::move(a), b)));
  EXPECT_FALSE(FakeRuntime::is_defined(a));  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(FakeRuntime::is_defined(b));
  ASSERT_TRUE(good(runner.run<1>(b, std::move(constant))));
  EXPECT_TRUE(
      FakeRuntime::is_defined(constant));  // NOLINT(bugprone-use-after-move): that is the point

  Outputs inputs{a23(), b23()};
  ASSERT_TRUE(good(runner.run(inputs)));
  EXPECT_TRUE(FakeRuntime::is_defined(inputs[0]));
  ASSERT_TRUE(good(runner.boxed_run(inputs)));
  EXPECT_FALSE(FakeRuntime::is_defined(inputs[0]));
  EXPECT_FALSE(FakeRuntime::is_defined(inputs[1]));

  Handles given{FakeRuntime::give(a23()), FakeRuntime::give(b23())}, made{nullptr};
  ASSERT_TRUE(good(runner.run_handles(given, made)));
  EXPECT_EQ(given, (Handles{nullptr, nullptr}));
  EXPECT_EQ(elements<float>(FakeRuntime::take(made[0])), sum23);
}

// A refused call takes nothing, in any form.
TEST_F(Run, TakesNothingWhenItIsRefused) {
  const Runner runner = opened(package("add.pt2"));
  FakeTensor a = a23(), wrong = tensor<float>({2, 2}, {1, 2, 3, 4});
  expect_error(runner.run<1>(std::move(a), std::move(wrong)), Errc::input_shape, {"input 1 'b'"});
  EXPECT_TRUE(FakeRuntime::is_defined(a));  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(
      FakeRuntime::is_defined(wrong));  // NOLINT(bugprone-use-after-move): that is the point
  expect_error(runner.run<1>(std::move(a), std::move(a)), Errc::undefined_tensor, {"input 1 'b'"});
  EXPECT_TRUE(FakeRuntime::is_defined(a));  // NOLINT(bugprone-use-after-move): that is the point
  Outputs inputs{a, wrong};
  expect_error(runner.boxed_run(inputs), Errc::input_shape, {"input 1 'b'"});
  EXPECT_TRUE(FakeRuntime::is_defined(inputs[0]));
  EXPECT_TRUE(FakeRuntime::is_defined(inputs[1]));
  const AtenTensorHandle first = FakeRuntime::share(a), second = FakeRuntime::share(wrong);
  Handles given{first, second}, made{first};
  expect_error(runner.run_handles(given, made), Errc::input_shape, {"input 1 'b'"});
  EXPECT_EQ(given, (Handles{first, second}));
  EXPECT_EQ(made, (Handles{nullptr}));
  FakeRuntime::destroy(first);
  FakeRuntime::destroy(second);
}

TEST_F(Run, OnAnErrorTheOutputsAreAsTheyWere) {
  const Runner runner = opened(package("trouble.pt2"));
  Outputs outputs{a23(), FakeTensor{}};
  const Outputs inputs{tensor<float>({1}, {static_cast<float>(Trouble::fails_late)}), b23()};
  expect_error(runner.run_into(inputs, outputs), Errc::model_failed);
  EXPECT_EQ(elements<float>(outputs[0]), elements<float>(a23()));
  EXPECT_FALSE(FakeRuntime::is_defined(outputs[1]));
}

TEST_F(Run, ChecksInputsAgainstTheSpec) {
  const Runner runner = opened(package("add.pt2"));
  const auto floats = [](Sizes sizes) { return empty(DType::float32, std::move(sizes)); };
  FakeTensor cuda = a23(), sparse = a23();
  cuda.device = DeviceType::cuda;
  sparse.strided = false;
  const struct {
    FakeTensor a, b;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {a23(), FakeTensor{}, Errc::undefined_tensor, {"input 1 'b'"}},
      {FakeTensor{}, FakeTensor{}, Errc::undefined_tensor, {"input 0 'a'"}},
      {sparse, b23(), Errc::input_layout, {"input 0 'a'", "sparse"}},
      {a23(),
       cuda,
       Errc::input_device,
       {"input 1 'b'", "found a tensor on cuda", "expected one on cpu"}},
      {tensor<std::int64_t>({1, 3}, {1, 2, 3}),
       floats({1, 3}),
       Errc::input_dtype,
       {"input 0 'a'", "found int64, expected float32"}},
      {floats({2, 3}),
       floats({3}),
       Errc::input_rank,
       {"input 1 'b'", "found 1 dimensions, expected 2"}},
      {floats({2, 4}),
       floats({2, 3}),
       Errc::input_shape,
       {"input 0 'a'", "dimension 1: found 4, expected 3"}},
      {floats({65, 3}),
       floats({65, 3}),
       Errc::input_shape,
       {"input 0 'a'", "dimension 0 (n): found 65, expected 0 to 64"}},
      {floats({2, 3}),
       floats({5, 3}),
       Errc::input_shape,
       {"input 1 'b'", "dimension 0 (n): found 5, expected 2"}},
  };
  for (const auto& test : cases) {
    for (const auto& [name, run] : ways<Runner, 1>()) {
      SCOPED_TRACE(test.parts[0] + ", " + name);
      const auto result = run(runner, {test.a, test.b});
      if (std::string_view{name} == "run_handles" && test.code == Errc::undefined_tensor) {
        expect_error(result, test.code, {test.parts[0].substr(0, 7), "null"});
      } else {
        expect_error(result, test.code, test.parts);
      }
      EXPECT_TRUE(good(run(runner, {a23(), b23()})));
    }
  }
}

TEST_F(Run, ChecksOnlyForMemoryWithoutASpecAndNothingWhenToldSo) {
  const Runner plain = opened(package("add_plain.pt2"));
  EXPECT_EQ(plain.spec(), nullptr);
  expect_error(plain.run<1>(a23(), FakeTensor{}), Errc::undefined_tensor, {"input 1"});
  FakeTensor other = b23();
  other.device = aoti::DeviceType::meta;
  expect_error(plain.run<1>(a23(), other), Errc::input_device,
               {"input 1", "found a tensor on meta, expected one on cpu"});
  other.strided = false;
  expect_error(plain.run<1>(a23(), other), Errc::input_layout, {"input 1", "sparse"});
  const FakeTensor integers = tensor<std::int32_t>({2, 3}, {0, 0, 0, 0, 0, 0});
  EXPECT_TRUE(good(plain.run<1>(a23(), integers)));
  expect_error(opened(package("add.pt2")).run<1>(a23(), integers), Errc::input_dtype);
  EXPECT_TRUE(good(opened<UncheckedRunner>(package("add.pt2")).run<1>(a23(), integers)));
}

TEST_F(Run, ChecksCounts) {
  const Runner runner = opened(package("add.pt2"));
  const FakeTensor a = a23();
  const Outputs one{a}, three{a, a, a}, two{a, a}, none;
  expect_error(runner.run<1>(a), Errc::input_count,
               {"add.pt2 (model)", "found 1 inputs, expected 2"});
  expect_error(runner.run<1>(), Errc::input_count, {"found 0 inputs, expected 2"});
  expect_error(runner.run<1>(a, a, a), Errc::input_count, {"found 3 inputs, expected 2"});
  expect_error(runner.run<0>(a, a), Errc::output_count, {"found room for 0 outputs, expected 1"});
  expect_error(runner.run<2>(a, a), Errc::output_count,
               {"add.pt2 (model)", "found room for 2 outputs, expected 1"});
  for (const Outputs& inputs : {one, three, none, Outputs(3000, a)}) {
    const std::string found = "found " + std::to_string(inputs.size()) + " inputs, expected 2";
    Outputs boxed = inputs, into(1);
    expect_error(runner.run(inputs), Errc::input_count, {found});
    expect_error(runner.boxed_run(boxed), Errc::input_count, {found});
    for (const FakeTensor& tensor : boxed) EXPECT_TRUE(FakeRuntime::is_defined(tensor));
    expect_error(runner.run_into(inputs, into), Errc::input_count, {found});
    Handles handles, out{nullptr};
    for (const FakeTensor& tensor : inputs) handles.push_back(FakeRuntime::share(tensor));
    expect_error(runner.run_handles(handles, out), Errc::input_count, {found});
    for (AtenTensorHandle handle : handles) FakeRuntime::destroy(handle);
  }
  for (const std::size_t room : {0, 2, 5000}) {
    const std::string found = "found room for " + std::to_string(room) + " outputs, expected 1";
    Outputs into(room);
    expect_error(runner.run_into(two, into), Errc::output_count, {found});
  }
  EXPECT_TRUE(good(runner.run(two)));
}

TEST_F(Run, TakesAnyMemoryLayout) {
  const FakeTensor transposed = tensor<float>({2, 3}, elements<float>(a23()), {1, 2});
  const FakeTensor gaps = tensor<float>({2, 3}, elements<float>(b23()), {9, 2});
  ASSERT_FALSE(FakeRuntime::is_row_major(transposed));
  const Runner runner = opened(package("add.pt2"));
  for (const auto& [name, run] : ways<Runner, 1>()) {
    for (const auto& [a, b] :
         {std::pair{transposed, gaps}, std::pair{a23(), gaps}, std::pair{transposed, b23()}}) {
      const auto result = run(runner, {a, b});
      ASSERT_TRUE(good(result)) << name;
      EXPECT_EQ(elements<float>(result.value()[0]), sum23) << name;
    }
  }
  EXPECT_EQ(elements<float>(transposed),
            elements<float>(a23()));  // the caller's tensors are unchanged
  EXPECT_EQ(transposed.strides, (Sizes{1, 2}));
}

// A model compiled for column-major memory is given that: the fake adds in memory order.
TEST_F(Run, GivesTheModelTheLayoutThatItWasCompiledFor) {
  const Runner runner = opened(package("ordered.pt2"));
  const std::vector<float> expected{11, 42, 23, 54, 35, 66};
  const FakeTensor column_major = tensor<float>({2, 3}, elements<float>(b23()), {1, 2});
  for (const auto& [name, run] : ways<Runner, 1>()) {
    for (const FakeTensor& b : {b23(), column_major}) {
      const auto result = run(runner, {a23(), b});
      ASSERT_TRUE(good(result)) << name;
      EXPECT_EQ(elements<float>(result.value()[0]), expected) << name;
    }
  }
  const Runner strided = opened(package("strided.pt2"));
  EXPECT_TRUE(good(strided.run<1>(a23(), tensor<float>({2, 3}, elements<float>(b23()), {7, 1}))));
  expect_error(strided.run<1>(a23(), column_major), Errc::input_layout,
               {"found strides 1, 2, expected -1, 1"});
}

// The fake writes to nothing, but its spec says that it does.
TEST_F(Run, RefusesInputsThatShareMemoryWithOneThatIsWritten) {
  const Runner runner = opened(package("writing.pt2"));
  const FakeTensor b = tensor<float>({3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  FakeTensor part = b;
  part.sizes = {2, 3};
  for (const auto& [name, run] : ways<Runner, 1>()) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(good(run(runner, {a23(), b23()})));
    expect_error(run(runner, {part, part}), Errc::input_layout,
                 {"input 1 'b'", "memory that is also that of input 0 'a'", "writes to it"});
  }
  EXPECT_TRUE(good(opened(package("add.pt2")).run<1>(b, b)));
  EXPECT_TRUE(good(opened<UncheckedRunner>(package("writing.pt2")).run<1>(b, b)));
}

TEST_F(Run, TakesTensorsWithoutElements) {
  for (const char* name : {"add.pt2", "add_plain.pt2", "ordered.pt2"}) {
    const Runner runner = opened(package(name));
    for (const auto& [way, run] : ways<Runner, 1>()) {
      const auto result =
          run(runner, {empty(DType::float32, {0, 3}), empty(DType::float32, {0, 3}, {7, 9})});
      ASSERT_TRUE(good(result)) << name << ", " << way;
      EXPECT_EQ(result.value()[0].sizes, (Sizes{0, 3}));
    }
  }
}

TEST_F(Run, HandlesManyTensorsAndNone) {
  const Runner many = opened(package("many.pt2"));
  Outputs inputs;
  for (int i = 0; i < 40; ++i) inputs.push_back(tensor<float>({1}, {static_cast<float>(i)}));
  const auto outputs = many.run(inputs);
  ASSERT_TRUE(good(outputs));
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(outputs.value()[i].data(), inputs[i].data()) << i;
  const auto boxed = many.boxed_run(inputs);
  ASSERT_TRUE(good(boxed));
  for (std::size_t i = 0; i < 40; ++i)
    EXPECT_EQ(boxed.value()[i].data(), outputs.value()[i].data()) << i;

  const Runner none = opened(package("none.pt2"));
  EXPECT_TRUE(good(none.run<0>()));
  EXPECT_TRUE(good(none.run({})));
  EXPECT_TRUE(good(none.run_handles({}, {})));
}

TEST_F(Run, GivesATensorThatIsReturnedTwiceTwoHandles) {
  const FakeTensor x = a23(), zero = tensor<float>({2, 3}, {0, 0, 0, 0, 0, 0}),
                   one = tensor<float>({2, 3}, {1, 1, 1, 1, 1, 1});
  const Runner runner = opened(package("repeated_none.pt2")),
               plain = opened(package("repeated.pt2"));
  for (const auto& [name, run] : ways<Runner, 3>()) {
    const auto result = run(runner, {x, zero});
    ASSERT_TRUE(good(result)) << name;
    EXPECT_EQ(result.value()[0].data(), x.data()) << name;
    EXPECT_FALSE(FakeRuntime::is_defined(result.value()[1])) << name;  // None
    EXPECT_EQ(result.value()[2].data(), x.data()) << name;
    // If nothing mentions None, an output is missing; and no handle is destroyed twice.
    expect_error(run(plain, {x, zero}), Errc::model_failed, {"no output 1 of 3"});
    expect_error(run(runner, {x, one}), Errc::model_failed, {"with its outputs made"});
  }
}

struct TroubleCase {
  Trouble trouble;
  Errc code;
  std::vector<std::string> parts;
};

/// Makes the fake fail in every way, in each form, and checks that the runner works afterwards.
template <class R> void expect_troubles(const R& runner, const std::vector<TroubleCase>& cases) {
  for (const auto& [trouble, code, parts] : cases) {
    for (const auto& [name, run] : ways<R, 2>()) {
      SCOPED_TRACE(std::to_string(static_cast<int>(trouble)) + " in the form " + name);
      runtime_error = trouble == Trouble::import_fails ? "sizes must be positive" : "";
      const auto start = tensor<float>({2}, {static_cast<float>(trouble), 1});
      testing::internal::CaptureStderr();
      const auto result = run(runner, {start, tensor<float>({2}, {1, 2})});
      EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
      expect_error(result, code, parts);
      const auto next = run(runner, {tensor<float>({2}, {0, 5}), tensor<float>({2}, {1, 2})});
      ASSERT_TRUE(good(next));
      EXPECT_EQ(elements<float>(next.value()[1]), (std::vector<float>{1, 7}));
    }
  }
}

const std::string run_function = "AOTInductorModelContainerRun";

TEST_F(Run, TellsOfAModelThatFailsAndGoesOn) {
  const std::vector<TroubleCase> cases{
      {Trouble::fails, Errc::model_failed, {run_function + "SingleThreaded", "the fake failed"}},
      {Trouble::fails_late, Errc::model_failed, {run_function, "the fake failed late"}},
      {Trouble::out_of_memory, Errc::out_of_memory, {run_function, "Tried to allocate 2.00 GiB"}},
      {Trouble::import_fails,
       Errc::model_failed,
       {run_function, "sizes must be positive", "aoti_torch_empty_strided"}},
      {Trouble::silent, Errc::model_failed, {run_function, "gave no reason"}},
      {Trouble::few_outputs,
       Errc::model_failed,
       {"trouble.pt2 (model)", "success but no output 1 of 2"}},
      {Trouble::no_outputs,
       Errc::model_failed,
       {"trouble.pt2 (model)", "success but no output 0 of 2"}},
  };
  expect_troubles(opened(package("trouble.pt2")), cases);
  expect_troubles(opened<UncheckedRunner>(package("trouble.pt2")), cases);
  expect_troubles(opened<SharedRunner>(package("trouble.pt2")),
                  {{Trouble::fails, Errc::model_failed, {run_function + ":", "the fake failed"}}});
  // A model before torch 2.13 cannot give reasons, and one before 2.7 cannot run single-threaded.
  expect_troubles(
      opened(package("trouble_silent.pt2")),
      {{Trouble::fails, Errc::model_failed, {run_function + ":", "before torch 2.13"}}});
}

#if defined(__cpp_exceptions)
TEST_F(Run, TellsOfAModelThatThrowsAndGoesOn) {
  const std::vector<TroubleCase> cases{
      {Trouble::throws, Errc::model_threw, {"Runner::run", "the fake threw"}},
      {Trouble::throws_late, Errc::model_threw, {"Runner::run", "the fake threw late"}},
      {Trouble::throws_memory, Errc::out_of_memory, {}},
      {Trouble::throws_int, Errc::model_threw, {}},
  };
  expect_troubles(opened(package("trouble.pt2")), cases);
  expect_troubles(opened<SharedRunner>(package("trouble.pt2")), cases);
}
#endif

// Each allocation of the runtime fails in turn: of handles, of outputs, of copies.
TEST_F(Run, SurvivesARuntimeWithoutMemory) {
  const FakeTensor transposed = tensor<float>({2, 3}, elements<float>(a23()), {1, 2});
  const FakeTensor zero = tensor<float>({2, 3}, {0, 0, 0, 0, 0, 0});
  const Runner add = opened(package("add.pt2")), plain = opened(package("add_plain.pt2"));
  const Runner repeated = opened(package("repeated_none.pt2"));
  const auto expect = [](const Runner& runner, const std::vector<Way<Runner>>& all,
                         const Outputs& inputs) {
    for (const auto& [name, run] : all) {
      int failures = 0;
      for (int n = 0; n < 20; ++n) {
        Handles ready;
        Outputs given = inputs;
        if (std::string_view{name} == "run_handles")
          allocations_left = n + 2;  // after the test's own allocations
        else allocations_left = n;
        const auto result = run(runner, std::move(given));
        const bool reached = allocations_left < 0;
        allocations_left = -1;
        EXPECT_EQ(live_handles, 0) << name;
        if (!reached) {
          EXPECT_TRUE(good(result)) << name;
          break;
        }
        ++failures;
        expect_error(result, Errc::out_of_memory);
      }
      EXPECT_GE(failures, 1) << name;
      EXPECT_LT(failures, 20) << name;
    }
  };
  expect(add, ways<Runner, 1>(), {transposed, b23()});
  expect(plain, ways<Runner, 1>(), {a23(), b23()});
  expect(repeated, ways<Runner, 3>(), {a23(), zero});
}

TEST_F(Run, AllocatesNothingOfItsOwn) {
  const FakeTensor a = a23(), b = b23();
  const FakeTensor transposed = tensor<float>({2, 3}, elements<float>(a), {1, 2});
  const Outputs inputs{a, b};
  for (const char* name : {"add.pt2", "add_plain.pt2"}) {
    const Runner runner = opened(package(name));
    const SharedRunner shared = opened<SharedRunner>(package(name));
    Outputs into(1), boxed{a, b};
    Handles given{FakeRuntime::share(a), FakeRuntime::share(b)}, made{nullptr};
    // A model's first run on a thread allocates its thread-local variables.
    bool worked = runner.run<1>(a, b).has_value() && shared.run<1>(a, b).has_value();
    EXPECT_EQ(allocations_in([&] { worked &= runner.run<1>(a, b).has_value(); }), 0u);
    EXPECT_EQ(allocations_in([&] { worked &= runner.run<1>(transposed, b).has_value(); }), 0u);
    EXPECT_EQ(allocations_in([&] { worked &= runner.run<1>(std::move(boxed[0]), b).has_value(); }),
              0u);
    EXPECT_EQ(allocations_in([&] { worked &= runner.run_into(inputs, into).has_value(); }), 0u);
    EXPECT_EQ(allocations_in([&] { worked &= runner.run_handles(given, made).has_value(); }), 0u);
    EXPECT_EQ(allocations_in([&] { worked &= shared.run<1>(a, b).has_value(); }), 0u);
    FakeRuntime::destroy(made[0]);
    // Shows that the counter works: this form makes a vector, and an error makes a text.
    EXPECT_EQ(allocations_in([&] { worked &= runner.run(inputs).has_value(); }), 1u);
    EXPECT_TRUE(worked);
    EXPECT_GT(allocations_in([&] { worked = runner.run<1>(a).has_value(); }), 0u);
    EXPECT_FALSE(worked);
  }
}

TEST_F(Run, ARunnerThatWasMovedFromRefusesEverything) {
  for (const char* name : {"add.pt2", "add_plain.pt2"}) {
    Runner first = opened(package(name));
    const Runner second = std::move(first);
    Runner third = opened(package("trouble.pt2"));
    Runner fourth = std::move(third);
    EXPECT_TRUE(good(second.run<1>(a23(), b23())));
    expect_error(second.run<1>(a23(), FakeTensor{}), Errc::undefined_tensor);
    third = opened(package(name));
    EXPECT_TRUE(good(third.run<1>(a23(), b23())));
    fourth = std::move(third);
    EXPECT_TRUE(good(fourth.run<1>(a23(), b23())));
    EXPECT_EQ(fourth.origin(), package(name) + " (model)");
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    for (const Runner* moved : {&first, &third}) {
      for (const auto& [way, run] : ways<Runner, 1>()) {
        expect_error(run(*moved, {a23(), b23()}), Errc::bad_state, {"moved from"});
      }
      expect_error(moved->run<0>(), Errc::bad_state, {"moved from"});
      EXPECT_EQ(moved->input_count(), 0u);
      EXPECT_EQ(moved->output_count(), 0u);
      EXPECT_EQ(moved->spec(), nullptr);
      expect_error(moved->input_name(0), Errc::bad_state);
      expect_error(moved->output_name(0), Errc::bad_state);
      expect_error(moved->call_spec(), Errc::bad_state);
      EXPECT_TRUE(moved->constants().empty());
    }
    // NOLINTEND(bugprone-use-after-move)
  }
}

TEST_F(Run, ARunnerThatWasUnloadedRefusesEverything) {
  Runner runner = opened(package("add.pt2"));
  ASSERT_TRUE(good(runner.run<1>(a23(), b23())));
  std::move(runner).unload();
  // NOLINTBEGIN(bugprone-use-after-move): that is the point
  for (const auto& [way, run] : ways<Runner, 1>())
    expect_error(run(runner, {a23(), b23()}), Errc::bad_state);
  expect_error(runner.call_spec(), Errc::bad_state);
  std::move(runner).unload();
  runner = opened(package("add_plain.pt2"));
  EXPECT_TRUE(good(runner.run<1>(a23(), b23())));
  // NOLINTEND(bugprone-use-after-move)
}

TEST_F(Run, OutputsOutliveTheRunner) {
  std::optional<Runner> runner{opened(package("add.pt2"))};
  auto result = runner->run<1>(a23(), b23());
  runner.reset();
  ASSERT_TRUE(good(result));
  EXPECT_EQ(elements<float>(result.value()[0]), sum23);
}

TEST_F(Run, TellsWhatTheModelIs) {
  const Runner described = opened(package("add.pt2")), plain = opened(package("add_plain.pt2"));
  const struct {
    const Runner& runner;
    const char *first, *second, *output;
  } names[] = {{described, "a", "b", "sum"}, {plain, "arg0_1", "arg1_1", "output_0"}};
  for (const auto& [runner, first, second, output] : names) {
    EXPECT_EQ(runner.input_name(0).value(), first);
    EXPECT_EQ(runner.input_name(1).value(), second);
    EXPECT_EQ(runner.output_name(0).value(), output);
    expect_error(runner.input_name(2), Errc::invalid_argument, {"no input 2; the model has 2"});
    expect_error(runner.output_name(1), Errc::invalid_argument, {"no output 1; the model has 1"});
  }
  ASSERT_NE(described.spec(), nullptr);
  EXPECT_EQ(described.spec()->symbols, std::vector<std::string>{"n"});
  EXPECT_EQ(described.metadata()["author"], "the tests");
  EXPECT_EQ(described.origin(), package("add.pt2") + " (model)");

  const auto call = described.call_spec();
  ASSERT_TRUE(good(call));
  EXPECT_EQ(call.value().args.leaf_count(), 1u);
  EXPECT_EQ(call.value().kwargs.keys, std::vector<std::string>{"b"});
  EXPECT_TRUE(call.value().result.is_leaf());
  expect_error(opened(package("minimal.pt2")).call_spec(), Errc::unsupported, {"call spec"});

  const std::vector<aoti::Constant>& constants = described.constants();
  ASSERT_EQ(constants.size(), 2u);
  EXPECT_EQ(constants[0].name, "weight");
  EXPECT_EQ(constants[0].fqn, "layer.weight");
  EXPECT_EQ(constants[0].dtype, DType::float32);
  EXPECT_EQ(constants[0].kind, aoti::ConstantKind::parameter);
  EXPECT_EQ(constants[0].bytes, 64u);
  EXPECT_FALSE(constants[0].folded);
  EXPECT_TRUE(constants[1].folded);
  EXPECT_EQ(constants[1].kind, aoti::ConstantKind::folded);
  // A model from before torch 2.6 reports less.
  const std::vector<aoti::Constant> few = opened(package("weights.pt2")).constants();
  EXPECT_EQ(few[0].fqn, "layer.w");
  EXPECT_EQ(few[0].kind, aoti::ConstantKind::unknown);
  EXPECT_EQ(few[0].bytes, 0u);
}

// The device is entered and left on every path.
TEST_F(Run, EntersAndLeavesTheDevice) {
  using DeviceRunner = aoti::Runner<Recording, FakeRuntime>;
  const auto before = Recording::state;
  const auto runner = opened<DeviceRunner>(package("trouble.pt2"), {.device = {1}});
  EXPECT_EQ(Recording::inside, 0);
  EXPECT_EQ(Recording::entered, 1);
  const auto run = [&](Trouble trouble) {
    return runner.run<2>(tensor<float>({1}, {static_cast<float>(trouble)}),
                         tensor<float>({1}, {1}));
  };
  const struct {
    Trouble trouble;
    Errc code;
  } cases[] = {
    {Trouble::none, Errc::none},
    {Trouble::fails_late, Errc::model_failed},
    {Trouble::few_outputs, Errc::model_failed},
#if defined(__cpp_exceptions)
    {Trouble::throws_late, Errc::model_threw},
#endif
  };
  for (const auto& [trouble, code] : cases) {
    const int entered = Recording::entered;
    const auto result = run(trouble);
    if (code != Errc::none) {
      expect_error(result, code);
    } else {
      EXPECT_TRUE(good(result));
    }
    EXPECT_EQ(Recording::entered, entered + 1);
    EXPECT_EQ(Recording::inside, 0);
    EXPECT_TRUE(Recording::state == before);
  }
  Recording::refuses_entry = true;
  expect_error(run(Trouble::none), Errc::device_unavailable, {"the device is gone"});
  expect_error(DeviceRunner::open(package("add.pt2")), Errc::device_unavailable,
               {"the device is gone"});
  Recording::refuses_entry = false;
  EXPECT_TRUE(good(run(Trouble::none)));
  expect_error(DeviceRunner::open(package("add.pt2"), {.device = {2}}), Errc::device_unavailable,
               {"cpu:2"});
  EXPECT_EQ(Recording::inside, 0);
}

}  // namespace
}  // namespace aoti_test
