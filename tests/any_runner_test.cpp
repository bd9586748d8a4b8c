// Runners whose device is chosen by the package: AnyRunner, Registry, open_any.
#include <aoti/any_runner.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "fakes/trouble.hpp"
#include "support/allocations.hpp"
#include "support/runners.hpp"

#if !AOTI_TEST_TSAN  // which has one of its own
namespace aoti_test {
inline bool new_fails = false;
}

// Called by AnyRunner::of; fails when the test asks for it.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return aoti_test::new_fails ? nullptr : ::operator new(size);
}
#endif

namespace aoti_test {
namespace {

using aoti::Cpu;
using aoti::Cuda;
using aoti::Errc;
using Any = aoti::AnyRunner<FakeRuntime>;
using Registry = aoti::Registry<FakeRuntime>;
using Outputs = std::vector<FakeTensor>;

static_assert(std::is_nothrow_move_constructible_v<Any>);
static_assert(std::is_nothrow_move_assignable_v<Any>);
static_assert(!std::is_copy_constructible_v<Any>);
static_assert(sizeof(Any) == sizeof(void*));

/// What Runner and AnyRunner have in common: everything but streams.
template <class R>
concept RunsModels = requires(const R runner, R mine, std::span<const FakeTensor> in,
                              std::span<FakeTensor> out, std::span<AtenTensorHandle> handles,
                              FakeTensor tensor, std::string path, aoti::Bytes bytes,
                              aoti::Package package, aoti::PackagedModel model,
                              aoti::OpenOptions choice) {
  requires std::same_as<typename R::Tensor, FakeTensor>;
  requires std::same_as<typename R::TensorRuntime, FakeRuntime>;
  requires std::same_as<typename R::Tensors, std::vector<FakeTensor>>;
  requires std::same_as<decltype(R::max_tensors), const std::size_t>;
  { R::open(path, choice) } -> std::same_as<aoti::Result<R>>;
  { R::open("literal") } -> std::same_as<aoti::Result<R>>;
  { R::open(bytes, choice) } -> std::same_as<aoti::Result<R>>;
  { R::open(package, choice) } -> std::same_as<aoti::Result<R>>;
  { R::open(model, choice) } -> std::same_as<aoti::Result<R>>;
  {
    runner.template run<1>(tensor, std::move(tensor))
    } -> std::same_as<aoti::Result<std::array<FakeTensor, 1>>>;
  { runner.run_into(in, out) } -> std::same_as<aoti::Result<void>>;
  { runner.run(in) } -> std::same_as<aoti::Result<typename R::Tensors>>;
  { runner.boxed_run(out) } -> std::same_as<aoti::Result<typename R::Tensors>>;
  { runner.run_handles(handles, handles) } -> std::same_as<aoti::Result<void>>;
  { runner.input_count() }
  noexcept->std::same_as<std::size_t>;
  { runner.output_count() }
  noexcept->std::same_as<std::size_t>;
  { runner.input_name(0) } -> std::same_as<aoti::Result<std::string>>;
  { runner.output_name(0) } -> std::same_as<aoti::Result<std::string>>;
  { runner.input_index("x") } -> std::same_as<aoti::Result<std::size_t>>;
  { runner.output_index("x") } -> std::same_as<aoti::Result<std::size_t>>;
  { runner.spec() }
  noexcept->std::same_as<const aoti::ModelSpec*>;
  { runner.call_spec() } -> std::same_as<aoti::Result<aoti::CallSpec>>;
  { runner.metadata() }
  noexcept->std::same_as<const aoti::Metadata&>;
  { runner.constants() }
  noexcept->std::same_as<const std::vector<aoti::Constant>&>;
  { runner.weights_state() }
  noexcept->std::same_as<aoti::WeightsState>;
  { runner.device_key() }
  noexcept->std::same_as<std::string_view>;
  { runner.origin() }
  noexcept->std::same_as<const std::string&>;
  { runner.operators() }
  noexcept->std::same_as<const typename aoti::detail::OperatorsOf<FakeRuntime>::type&>;
  { runner.container() }
  noexcept->std::same_as<const aoti::Container&>;
  { std::move(mine).unload() }
  noexcept->std::same_as<void>;
};
static_assert(RunsModels<Runner>);
static_assert(RunsModels<Any>);

/// The CPU under another key, like an accelerator that torch does not know.
struct Own : Cpu {
  static constexpr std::string_view key = "privateuseone";
  static inline int entered = 0;
  static std::string device_string(aoti::DeviceIndex) { return "privateuseone:0"; }
  static aoti::Result<Guard> enter(aoti::DeviceIndex, Stream) noexcept {
    ++entered;
    return Guard{};
  }
};

/// Another policy with the CPU's key.
struct OtherCpu : Cpu {};

class AnyRunner : public Tidy {
 protected:
  static Any opened_by(const Registry& registry, const std::string& path) {
    auto any = registry.open(path);
    if (!any) ADD_FAILURE() << any.error().message();
    return std::move(any).value();
  }
  static void expect_adds(const Any& any) {
    const Outputs in{a23(), b23()};
    Outputs out(1);
    ASSERT_TRUE(good(any.run_into(in, out)));
    EXPECT_EQ(elements<float>(out[0]), sum23);
    const auto result = any.run(in);
    ASSERT_TRUE(good(result));
    ASSERT_EQ(result.value().size(), 1u);
    EXPECT_EQ(elements<float>(result.value()[0]), sum23);
    Outputs taken{a23(), b23()};
    const auto boxed = any.boxed_run(taken);
    ASSERT_TRUE(good(boxed));
    EXPECT_EQ(elements<float>(boxed.value()[0]), sum23);
    EXPECT_FALSE(FakeRuntime::is_defined(taken[0]));
  }
  static void expect_gone(Any& any) {
    Outputs in{a23(), b23()}, out(1);
    expect_error(any.run_into(in, out), Errc::bad_state, {"AnyRunner", "moved from"});
    expect_error(any.run(in), Errc::bad_state, {"moved from"});
    expect_error(any.boxed_run(in), Errc::bad_state, {"moved from"});
    EXPECT_TRUE(FakeRuntime::is_defined(in[0]));
    EXPECT_EQ(any.device_key(), "");
    EXPECT_EQ(any.input_count(), 0u);
    EXPECT_EQ(any.output_count(), 0u);
    EXPECT_EQ(any.spec(), nullptr);
    EXPECT_EQ(any.as<Cpu>(), nullptr);
    FakeTensor left = a23();
    expect_error(any.run<1>(std::move(left), b23()), Errc::bad_state, {"moved from"});
    EXPECT_TRUE(FakeRuntime::is_defined(left));  // NOLINT(bugprone-use-after-move)
    expect_error(any.run_handles({}, {}), Errc::bad_state);
    expect_error(any.input_name(0), Errc::bad_state);
    expect_error(any.output_name(0), Errc::bad_state);
    expect_error(any.input_index("a"), Errc::bad_state);
    expect_error(any.output_index("sum"), Errc::bad_state);
    expect_error(any.call_spec(), Errc::bad_state);
    EXPECT_TRUE(any.metadata().items.empty());
    EXPECT_TRUE(any.constants().empty());
    EXPECT_EQ(any.weights_state(), aoti::WeightsState::none);
    EXPECT_EQ(any.origin(), "");
    EXPECT_EQ(any.container().handle(), nullptr);
    std::move(any).unload();
  }
};

/// Written for either class.
template <RunsModels R> void expect_serves(const std::string& path) {
  auto opened = R::open(path, {.model = "model"});
  ASSERT_TRUE(good(opened));
  R runner = std::move(opened).value();
  EXPECT_EQ(runner.device_key(), "cpu");
  EXPECT_EQ(runner.origin(), path + " (model)");
  EXPECT_EQ(runner.metadata()["author"], "the tests");
  EXPECT_TRUE(runner.metadata().contains("author"));
  EXPECT_EQ(runner.input_name(1).value(), "b");
  EXPECT_EQ(runner.output_name(0).value(), "sum");
  EXPECT_EQ(runner.call_spec().value().args.leaf_count(), 1u);
  EXPECT_EQ(runner.weights_state(), aoti::WeightsState::folded);
  EXPECT_EQ(runner.constants().at(0).fqn, "layer.weight");
  EXPECT_EQ(&runner.container().constants(), &runner.constants());

  // Inputs by name.
  Outputs in(runner.input_count());
  in[runner.input_index("b").value()] = b23();
  in[runner.input_index("a").value()] = a23();
  const auto outputs = runner.run(in);
  ASSERT_TRUE(good(outputs));
  EXPECT_EQ(elements<float>(outputs.value()[runner.output_index("sum").value()]), sum23);
  expect_error(runner.input_index("c"), Errc::invalid_argument,
               {path, "there is no input 'c'; the model has a, b"});
  expect_error(runner.output_index("a"), Errc::invalid_argument, {"output 'a'", "has sum"});

  // A moved input is taken over, unless the call is refused.
  const FakeTensor a = a23();
  FakeTensor b = b23();
  expect_error(runner.template run<2>(a, std::move(b)), Errc::output_count);
  EXPECT_TRUE(FakeRuntime::is_defined(b));  // NOLINT(bugprone-use-after-move)
  const auto sum = runner.template run<1>(a, std::move(b));
  ASSERT_TRUE(good(sum));
  EXPECT_EQ(elements<float>(sum.value()[0]), sum23);
  EXPECT_TRUE(FakeRuntime::is_defined(a));
  EXPECT_FALSE(FakeRuntime::is_defined(b));

  std::array<AtenTensorHandle, 2> handles{FakeRuntime::share(a), FakeRuntime::share(b23())};
  std::array<AtenTensorHandle, 1> out{};
  ASSERT_TRUE(good(runner.run_handles(handles, out)));
  EXPECT_EQ(elements<float>(FakeRuntime::take(out[0])), sum23);
  std::move(runner).unload();
}

TEST_F(AnyRunner, AndRunnerServeOneTemplate) {
  expect_serves<Runner>(package("add.pt2"));
  expect_serves<Any>(package("add.pt2"));
}

TEST_F(AnyRunner, OffersWhatTheRunnerDoes) {
  const Any any = opened_by(Registry::of<Cpu>(), package("add.pt2"));
  expect_adds(any);
  EXPECT_EQ(any.device_key(), "cpu");
  EXPECT_EQ(any.input_count(), 2u);
  EXPECT_EQ(any.output_count(), 1u);
  ASSERT_NE(any.spec(), nullptr);
  EXPECT_EQ(any.spec()->inputs[0].name, "a");
  EXPECT_EQ(opened_by(Registry::of<Cpu>(), package("add_plain.pt2")).spec(), nullptr);
}

TEST_F(AnyRunner, TakesARunnerOver) {
  auto any = Any::of(opened(package("add.pt2")));
  ASSERT_TRUE(good(any));
  expect_adds(any.value());
}

#if !AOTI_TEST_TSAN
TEST_F(AnyRunner, SaysWhereThereIsNoMemoryForIt) {
  Runner runner = opened(package("add.pt2"));
  new_fails = true;
  const auto any = Any::of(std::move(runner));
  new_fails = false;
  expect_error(any, Errc::out_of_memory);
}
#endif

struct Counting {
  int* begun;
  void begin(aoti::Event) const noexcept { ++*begun; }
  void end(aoti::Event, const aoti::Completion&) const noexcept {}
};
constexpr aoti::Options shared{.access = aoti::Access::shared};
using Observed = aoti::Runner<Cpu, FakeRuntime, shared, Counting>;
int observed = 0;

TEST_F(AnyRunner, TakesRunnersOfAnyOptionsAndObserver) {
  auto runner = Observed::open(package("add.pt2"), {.instances = 2}, {&observed});
  ASSERT_TRUE(good(runner));
  auto any = Any::of(std::move(runner).value());
  ASSERT_TRUE(good(any));
  observed = 0;
  expect_adds(any.value());
  EXPECT_EQ(observed, 3);
  EXPECT_EQ(any.value().as<Cpu>(), nullptr);
  ASSERT_NE(any.value().get<Observed>(), nullptr);
  EXPECT_NE(std::as_const(any.value()).get<Observed>(), nullptr);
}

TEST_F(AnyRunner, TellsOfTheModel) {
  Any any = opened_by(Registry::of<Cpu>(), package("add.pt2"));
  EXPECT_EQ(any.metadata()["author"], "the tests");
  ASSERT_EQ(any.constants().size(), 2u);
  EXPECT_EQ(any.constants()[0].fqn, "layer.weight");
  const Any other = std::move(any);
  EXPECT_TRUE(any.metadata().items.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(any.constants().empty());
}

TEST_F(AnyRunner, AllocatesNothingOfItsOwnInARun) {
  const Any any = opened_by(Registry::of<Cpu>(), package("add.pt2"));
  const Outputs in{a23(), b23()};
  Outputs out(1);
  bool worked = any.run_into(in, out).has_value();  // makes room for the model's thread-locals
  EXPECT_EQ(allocations_in([&] { worked &= any.run_into(in, out).has_value(); }), 0u);
  EXPECT_EQ(allocations_in([&] { worked &= any.run<1>(in[0], in[1]).has_value(); }), 0u);
  EXPECT_TRUE(worked);
}

TEST_F(AnyRunner, ShowsTheRunnerToThoseWhoKnowItsPolicy) {
  Any any = opened_by(Registry::of<Cpu>(), package("add.pt2"));
  Runner* const runner = any.as<Cpu>();
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(std::as_const(any).as<Cpu>(), runner);
  EXPECT_TRUE(good(runner->run<1>(a23(), b23())));
  EXPECT_EQ(any.as<Cuda>(), nullptr);
  EXPECT_EQ(any.as<Own>(), nullptr);
  EXPECT_EQ(std::as_const(any).as<OtherCpu>(), nullptr);  // the same key is not the same policy
}

TEST_F(AnyRunner, MovesAsAPointerDoes) {
  const Registry registry = Registry::of<Cpu>();
  Any first = opened_by(registry, package("add.pt2"));
  const Runner* const runner = first.as<Cpu>();
  Any second = std::move(first);
  EXPECT_EQ(second.as<Cpu>(), runner);
  expect_gone(first);
  first = opened_by(registry, package("many.pt2"));
  first = std::move(second);  // what it held before is destroyed, not swapped
  EXPECT_EQ(first.as<Cpu>(), runner);
  expect_gone(second);
  Any& same = first;
  first = std::move(same);
  expect_adds(first);
}

TEST_F(AnyRunner, PassesErrorsOnAndChecksInputs) {
  const Any any = opened_by(Registry::of<Cpu>(), package("add.pt2"));
  const FakeTensor wide = tensor<float>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  Outputs one{a23()}, wrong{a23(), wide}, none{a23(), FakeTensor{}}, out(1), two(2);
  expect_error(any.run(one), Errc::input_count, {"add.pt2", "found 1 inputs, expected 2"});
  expect_error(any.run_into(wrong, out), Errc::input_shape, {"input 1 'b'", "found 4"});
  expect_error(any.run_into(wrong, two), Errc::output_count, {"2 outputs, expected 1"});
  expect_error(any.boxed_run(none), Errc::undefined_tensor, {"input 1"});
  EXPECT_TRUE(FakeRuntime::is_defined(none[0]));
  expect_adds(any);

  const Registry registry = Registry::of<Cpu, Cuda>();
  expect_error(registry.open(package("absent.pt2")), Errc::not_found, {"absent.pt2"});
  expect_error(registry.open(package("text.pt2")), Errc::not_a_package);
  expect_error(registry.open(package("two.pt2")), Errc::ambiguous_model, {"model, model2"});
  expect_error(registry.open(package("machine.pt2")), Errc::wrong_machine, {"sparc"});
  expect_error(registry.open(package("no_weights.pt2")), Errc::unsupported, {"no weights"});
  expect_error(registry.open(package("add.pt2"), {.device = {1}}), Errc::device_unavailable);
}

TEST_F(AnyRunner, PassesTheModelsFailuresOn) {
  const Any any = opened_by(Registry::of<Cpu>(), package("trouble.pt2"));
  EXPECT_EQ(any.device_key(), "cpu");
  const Outputs in(any.input_count(), tensor<float>({1}, {static_cast<float>(Trouble::fails)}));
  expect_error(any.run(in), Errc::model_failed, {"the fake failed"});
}

class Registries : public AnyRunner {};

TEST_F(Registries, PickByTheDeviceKey) {
  const Registry registry = Registry::of<Own, Cpu, Cuda>();
  EXPECT_EQ(opened_by(registry, package("add.pt2")).device_key(), "cpu");
  const int before = Own::entered;
  const Any own = opened_by(registry, package("privateuseone.pt2"));
  EXPECT_EQ(own.device_key(), "privateuseone");
  EXPECT_NE(own.as<Own>(), nullptr);
  EXPECT_EQ(own.as<Cpu>(), nullptr);
  EXPECT_EQ(Own::entered, before + 1);
  expect_adds(own);
  EXPECT_EQ(Own::entered, before + 4);
  // There is no such device here, as that policy reports.
  expect_error(registry.open(package("cuda.pt2")), Errc::device_unavailable, {"cuda"});
}

TEST_F(Registries, TakePathsBytesAndPackages) {
  const Registry registry = Registry::of<Cpu>();
  expect_adds(opened_by(registry, package("unpacked")));
  auto bytes = read_file(package("add.pt2"));
  auto by_bytes = registry.open(bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  ASSERT_TRUE(good(by_bytes));
  expect_adds(by_bytes.value());

  auto two = aoti::Package::open(package("two.pt2"));
  ASSERT_TRUE(good(two));
  auto first = registry.open(two.value(), {.model = "model"});
  two = aoti::Error{Errc::none};  // closes the package
  ASSERT_TRUE(good(first));
  expect_adds(first.value());
}

TEST_F(Registries, ReplaceAPolicyOfTheSameKey) {
  Registry registry = Registry::of<Cpu, Own>();
  registry.add<OtherCpu>();
  Any any = opened_by(registry, package("add.pt2"));
  EXPECT_NE(any.as<OtherCpu>(), nullptr);
  EXPECT_EQ(any.as<Cpu>(), nullptr);
  expect_error(registry.open(package("cuda.pt2")), Errc::wrong_device, {"cpu, privateuseone"});
  const Registry copy = registry;
  registry.add<Cpu>();
  EXPECT_NE(opened_by(registry, package("add.pt2")).as<Cpu>(), nullptr);
  EXPECT_NE(opened_by(copy, package("add.pt2")).as<OtherCpu>(), nullptr);
}

TEST_F(Registries, TakeFunctions) {
  Registry registry = Registry::of<Own>();
  registry.add(
      "cpu",
      [](const aoti::PackagedModel& model, const aoti::OpenOptions& choice) -> aoti::Result<Any> {
        auto runner = Observed::open(model, choice, {&observed});
        if (!runner) return std::move(runner).error();
        return Any::of(std::move(runner).value());
      });
  Any any = opened_by(registry, package("add.pt2"));
  EXPECT_NE(any.get<Observed>(), nullptr);
  expect_adds(any);
  registry.add<Cpu>();
  EXPECT_NE(opened_by(registry, package("add.pt2")).as<Cpu>(), nullptr);
  // Of several models, the one that was asked for.
  const auto two = registry.open(package("two.pt2"), {.model = "model2"});
  ASSERT_TRUE(good(two));
  EXPECT_NE(two.value().input_count(), 2u);
}

TEST_F(Registries, ServeOpenAny) {
  const Registry registry = Registry::of<Own>();
  const auto any = aoti::open_any(package("privateuseone.pt2"), {}, registry);
  ASSERT_TRUE(good(any));
  EXPECT_NE(any.value().as<Own>(), nullptr);
  expect_error(aoti::open_any(package("add.pt2"), {}, registry), Errc::wrong_device,
               {"for privateuseone"});
}

TEST_F(Registries, ListTheKeysThatTheyKnow) {
  expect_error(Registry::of<Cpu, Cuda>().open(package("privateuseone.pt2")), Errc::wrong_device,
               {"privateuseone.pt2 (model)", "compiled for privateuseone", "for cpu, cuda"});
  expect_error(Registry{}.open(package("add.pt2")), Errc::wrong_device,
               {"compiled for cpu", "no device"});
}

TEST_F(Registries, NeedAKey) {
  const Registry registry = Registry::of<Cpu>();
  const std::vector<std::string> parts{"AOTI_DEVICE_KEY", "open it with a Runner"};
  expect_error(registry.open(package("no_metadata.pt2")), Errc::wrong_device, parts);
  expect_error(registry.open(fake("add")), Errc::wrong_device, parts);
  const auto bytes = read_file(fake("add"));
  expect_error(registry.open(bytes), Errc::wrong_device, parts);
}

TEST_F(Registries, OpenInSeveralThreadsAtOnce) {
  const Registry registry = Registry::of<Cpu, Cuda>();
  const auto body = [&] {
    for (int i = 0; i < 10; ++i) {
      expect_adds(opened_by(registry, package("add.pt2")));
      expect_error(registry.open(package("privateuseone.pt2")), Errc::wrong_device, {"cpu, cuda"});
      EXPECT_TRUE(good(aoti::open_any<FakeRuntime>(package("add.pt2"))));
    }
  };
  std::thread other{body};
  body();
  other.join();
}

TEST_F(Registries, OpenAnyKnowsTheDevicesOfThisLibrary) {
  const auto any = aoti::open_any<FakeRuntime>(package("add.pt2"));
  ASSERT_TRUE(good(any));
  expect_adds(any.value());
  expect_error(aoti::open_any<FakeRuntime>(package("privateuseone.pt2")), Errc::wrong_device,
               {"cpu, cuda, xpu, mps"});
  expect_error(aoti::open_any<FakeRuntime>("absent.pt2"), Errc::not_found);

  const auto two = aoti::Package::open(package("two.pt2"));
  ASSERT_TRUE(good(two));
  const auto model =
      aoti::open_any<FakeRuntime, shared>(two.value(), {.model = "model", .instances = 2});
  ASSERT_TRUE(good(model));
  EXPECT_EQ(model.value().input_count(), 2u);
}

}  // namespace
}  // namespace aoti_test
