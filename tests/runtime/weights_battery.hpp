// Weights of models compiled by torch: where they lie, and how they change, on every tensor
// runtime. A file for one runtime includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, WeightsBattery, Runtime);
#pragma once

#include <aoti/weights.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/models.hpp"

namespace aoti_test {

template <class Runtime> class WeightsBattery : public testing::Test {};
TYPED_TEST_SUITE_P(WeightsBattery);

/// The file that is mapped at an address; empty if there is none.
inline std::string file_at(const void* address) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string text; std::getline(maps, text);) {
    std::uintptr_t begin = 0, end = 0;
    int path = 0;
    if (std::sscanf(text.c_str(), "%lx-%lx %*s %*s %*s %*s %n", &begin, &end, &path) < 2) continue;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at >= begin && at < end) return text.substr(static_cast<std::size_t>(path));
  }
  return {};
}

template <class Runtime> struct Weights : OnRuntime<Runtime> {
  using B = OnRuntime<Runtime>;
  using Tensor = typename B::Tensor;
  using Floats = typename B::Floats;
  using Named = std::map<std::string, Tensor>;

  /// Models that compute the same in each run.
  static std::vector<const char*> models() {
    if (!B::Case::has_operators) return {"types"};
    return B::available({"types", "mlp", "mlp_plain", "mlp_appended", "mlp_beside"});
  }

  template <class Runner> static Named named(Runner& runner) {
    Named result;
    for (auto& [name, tensor] : value_of(aoti::weights(runner))) result[name] = tensor;
    return result;
  }
  /// Random values for weights with these names and shapes.
  static Named random_for(const Named& weights, unsigned seed) {
    Named result;
    for (const auto& [name, tensor] : weights) {
      result[name] = B::random(B::sizes_of(tensor), ++seed);
    }
    return result;
  }
  static Named halves_of(const Named& weights) {
    Named result;
    for (const auto& [name, tensor] : weights) {
      result[name] = B::floats(B::sizes_of(tensor), B::times(0.5f, B::floats_in(tensor)));
    }
    return result;
  }
  template <class Update>
  static aoti::Result<void> set_all(Update& update, const Named& weights, bool shares = false) {
    for (const auto& [name, tensor] : weights) {
      auto done = shares ? update.share(name, tensor) : update.set(name, tensor);
      if (!done) return done;
    }
    return aoti::success();
  }
  template <class Runner>
  static aoti::Result<void> replaced(Runner& runner, const Named& weights, bool shares = false) {
    auto update = aoti::update_weights(runner);
    if (!update) return std::move(update).error();
    if (auto done = set_all(update.value(), weights, shares); !done) return done;
    return update.value().commit();
  }
  /// The same in steps.
  template <class Runner>
  static aoti::Result<void> replaced_in_steps(Runner& runner, const Named& weights) {
    auto update = aoti::update_weights(runner);
    if (!update) return std::move(update).error();
    if (auto done = set_all(update.value(), weights); !done) return done;
    if (auto done = update.value().stage(); !done) return done;
    if (auto done = aoti::swap_weights(runner); !done) return done;
    return aoti::free_inactive_weights(runner);
  }

  /// The first output, always on the same inputs.
  template <class Runner> static Floats output(const Runner& runner, std::string_view model) {
    typename B::Tensors inputs;
    if (model == "types") {
      inputs = {B::longs({0, 3, 9}), B::bools({true, true, true})};
    } else {
      inputs = {B::recorded_of(model).input()};
    }
    return B::floats_in(value_of(runner.run(inputs))[0]);
  }
};

TYPED_TEST_P(WeightsBattery, BesideTheImageAreUsedFromTheFile) {
  using B = Weights<TypeParam>;
  const char* model = B::network_beside();
  B::needs(model);
  auto runner = B::opened(model);
  for (const aoti::Constant& constant : runner.constants()) EXPECT_TRUE(constant.described);
  const auto weights = B::named(runner);
  EXPECT_FALSE(weights.empty());
  for (const auto& [name, tensor] : weights) {
    EXPECT_EQ(file_at(B::Case::data(tensor)), std::filesystem::canonical(model_path(model)))
        << name;
  }
  EXPECT_TRUE(B::works(runner, model));
  // Writes are private to this runner.
  for (const auto& [name, tensor] : weights) {
    *static_cast<float*>(const_cast<void*>(B::Case::data(tensor))) += 7;
  }
  EXPECT_FALSE(B::works(runner, model));
  EXPECT_TRUE(B::works(B::opened(model), model));
}

TYPED_TEST_P(WeightsBattery, InMemoryAreCopied) {
  using B = Weights<TypeParam>;
  const char* model = B::network_beside();
  B::needs(model);
  const auto bytes = read_file(model_path(model));
  auto runner = value_of(B::Runner::open(bytes));
  for (const auto& [name, tensor] : B::named(runner)) {
    EXPECT_EQ(file_at(B::Case::data(tensor)).find(".pt2"), std::string::npos) << name;
  }
  EXPECT_TRUE(B::works(runner, model));
}

TYPED_TEST_P(WeightsBattery, ChangeOneByOneAndTogether) {
  using B = Weights<TypeParam>;
  for (const char* model : B::models()) {
    SCOPED_TRACE(model);
    auto runner = B::opened(model);
    const auto first = B::named(runner);
    const auto before = B::output(runner, model);
    for (unsigned round = 0; round < 4; ++round) {
      const auto changed = B::random_for(first, 10 * round);
      ASSERT_TRUE(good(B::replaced(runner, changed, round % 2 == 1)));
      const auto together = B::output(runner, model);
      EXPECT_NE(together, before);
      for (const auto& [name, tensor] : B::named(runner)) {
        EXPECT_EQ(B::floats_in(tensor), B::floats_in(changed.at(name))) << name;
      }
      // Setting them one by one gives the same result.
      auto other = B::opened(model);
      for (const auto& weight : changed) {
        ASSERT_TRUE(good(B::replaced(other, {weight})));
      }
      EXPECT_EQ(B::output(other, model), together);
    }
    auto fresh = B::opened(model);
    ASSERT_TRUE(good(B::replaced(runner, B::named(fresh))));
    EXPECT_EQ(B::output(runner, model), before);
  }
}

TYPED_TEST_P(WeightsBattery, ChangeAsAWholeOrNotAtAll) {
  using B = Weights<TypeParam>;
  using aoti::Errc;
  for (const char* model : B::models()) {
    SCOPED_TRACE(model);
    auto runner = B::opened(model);
    const auto before = B::output(runner, model);
    const auto changed = B::random_for(B::named(runner), 1);
    for (int i = 0; i < 2; ++i) {
      auto dropped = value_of(aoti::update_weights(runner));
      expect_error(aoti::update_weights(runner), Errc::bad_state);
      ASSERT_TRUE(good(B::set_all(dropped, changed)));
      EXPECT_EQ(B::output(runner, model), before);
    }
    EXPECT_EQ(B::output(runner, model), before);
    auto update = value_of(aoti::update_weights(runner));
    ASSERT_TRUE(good(B::set_all(update, changed)));
    ASSERT_TRUE(good(update.commit()));
    expect_error(update.commit(), Errc::bad_state);
    EXPECT_NE(B::output(runner, model), before);
  }
}

TYPED_TEST_P(WeightsBattery, AreStagedSwappedAndFreed) {
  using B = Weights<TypeParam>;
  using aoti::Errc;
  for (const char* model : B::models()) {
    SCOPED_TRACE(model);
    auto runner = B::opened(model);
    const auto before = B::output(runner, model);
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
    auto update = value_of(aoti::update_weights(runner));
    ASSERT_TRUE(good(B::set_all(update, B::random_for(B::named(runner), 1))));
    ASSERT_TRUE(good(update.stage()));
    EXPECT_EQ(B::output(runner, model), before);
    ASSERT_TRUE(good(aoti::swap_weights(runner)));
    const auto after = B::output(runner, model);
    EXPECT_NE(after, before);
    ASSERT_TRUE(good(aoti::swap_weights(runner)));
    EXPECT_EQ(B::output(runner, model), before);
    ASSERT_TRUE(good(aoti::swap_weights(runner)));
    ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
    EXPECT_EQ(B::output(runner, model), after);
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
  }
}

TYPED_TEST_P(WeightsBattery, AreRefusedWhereTheyDoNotFit) {
  using B = Weights<TypeParam>;
  using aoti::Errc;
  auto runner = B::opened("types");
  const auto before = B::output(runner, "types");
  auto update = value_of(aoti::update_weights(runner));
  expect_error(update.set("no.weight", B::random({1}, 1)), Errc::no_such_constant,
               {"'no.weight'", "table"});
  expect_error(update.set("table", B::random({4, 10}, 1)), Errc::constant_shape,
               {"4, 10", "10, 4"});
  expect_error(update.set("table", B::random({40}, 1)), Errc::constant_shape);
  expect_error(update.set("table", B::Case::empty({10, 4}, aoti::DType::float64)),
               Errc::constant_dtype, {"float64", "float32"});
  expect_error(update.set("table", {}), Errc::undefined_tensor);
  // Copied from any layout; shared in the layout that the code requires.
  const auto numbers = B::count_from(100, 40);
  const auto transposed = B::floats({10, 4}, numbers, {1, 10});
  expect_error(update.share("table", transposed), Errc::constant_layout, {"1, 10", "4, 1"});
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(B::output(runner, "types"), before);
  ASSERT_TRUE(good(B::replaced(runner, {{"table", transposed}})));
  EXPECT_EQ(B::output(runner, "types"),
            (typename B::Floats{100, 101, 102, 103, 112, 113, 114, 115, 136, 137, 138, 139}));
}

// Models before torch 2.15 keep handles forever.
TYPED_TEST_P(WeightsBattery, AreGivenUpOnceReplaced) {
  using B = Weights<TypeParam>;
  for (const char* model : B::models()) {
    SCOPED_TRACE(model);
    std::vector<typename B::Named> sets(3);
    {
      auto runner = B::opened(model);
      for (unsigned i = 0; i < 3; ++i) {
        sets[i] = B::random_for(B::named(runner), i);
        ASSERT_TRUE(good(B::replaced(runner, sets[i], true)));
        B::output(runner, model);
        for (const auto& [name, tensor] : sets[i]) EXPECT_GT(B::Case::owners(tensor), 1u) << name;
      }
      for (const auto& [name, tensor] : sets[0]) EXPECT_EQ(B::Case::owners(tensor), 1u) << name;
      for (const auto& [name, tensor] : sets[1]) EXPECT_EQ(B::Case::owners(tensor), 1u) << name;
    }
    for (const auto& [name, tensor] : sets[2]) EXPECT_EQ(B::Case::owners(tensor), 1u) << name;
  }
}

// A model that writes to its buffer writes to private pages.
TYPED_TEST_P(WeightsBattery, ThatAModelChangesStayItsOwn) {
  using B = Weights<TypeParam>;
  const auto x = B::floats({12}, typename B::Floats(12, 1));
  for (int opening = 0; opening < 2; ++opening) {
    const auto first = B::opened("mutating"), second = B::opened("mutating");
    for (int n = 1; n <= 3; ++n) {
      EXPECT_EQ(B::floats_in(value_of(first.template run<2>(x))[1]),
                typename B::Floats(12, static_cast<float>(n)));
    }
    EXPECT_EQ(B::floats_in(value_of(second.template run<2>(x))[1]), typename B::Floats(12, 1));
  }
}

// The n-th run of this model returns x * weight + n, and writes n into a buffer.
TYPED_TEST_P(WeightsBattery, ThatAModelChangesMayBeReplaced) {
  using B = Weights<TypeParam>;
  using Floats = typename B::Floats;
  auto runner = B::opened("mutating");
  const auto x = B::floats({12}, Floats(12, 1)), weight = B::floats({12}, Floats(12, 5));
  const auto after = [&](int n) {
    auto outputs = value_of(runner.template run<2>(x));
    EXPECT_EQ(B::floats_in(outputs[1]), Floats(12, static_cast<float>(n)));
    return B::floats_in(outputs[0]);
  };
  EXPECT_EQ(after(1), B::count_from(1, 12));
  EXPECT_EQ(after(2), B::count_from(2, 12));

  auto update = value_of(aoti::update_weights(runner));
  ASSERT_TRUE(good(update.set("weight", weight)));
  ASSERT_TRUE(good(update.set("counter", B::floats({12}, Floats(12, 0)))));
  EXPECT_EQ(after(3), B::count_from(3, 12));  // not yet
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(after(1), Floats(12, 6));

  // Shared, the model writes to the caller's tensor.
  const auto counter = B::floats({12}, Floats(12, 0));
  ASSERT_TRUE(good(B::replaced(runner, {{"counter", counter}}, true)));
  EXPECT_EQ(after(1), Floats(12, 6));
  EXPECT_EQ(B::floats_in(counter), Floats(12, 1));
  EXPECT_EQ(B::floats_in(B::named(runner)["weight"]), Floats(12, 5));
}

// Compiled code reads inputs and weights in its own order, possibly after it has written.
TYPED_TEST_P(WeightsBattery, ThatAModelChangesMeetNothingElse) {
  using B = Weights<TypeParam>;
  using Floats = typename B::Floats;
  auto runner = B::opened("mutating");
  const auto own = B::named(runner)["counter"];
  const auto shared = B::floats({12}, Floats(12, 0));
  const auto x = B::floats({12}, Floats(12, 1));
  for (const bool sharing : {false, true}) {
    if (sharing) {
      ASSERT_TRUE(good(B::replaced(runner, {{"counter", shared}}, true)));
    }
    const auto& counter = sharing ? shared : own;
    expect_error(runner.template run<2>(counter), aoti::Errc::input_layout,
                 {"input 0 'x'", "also that of weight 'counter'", "writes to that weight"});
    EXPECT_EQ(B::floats_in(counter), Floats(12, 0));
  }
  ASSERT_TRUE(good(runner.template run<2>(own)));  // now belongs to the previous set
  ASSERT_TRUE(good(runner.template run<2>(x)));
  ASSERT_TRUE(good(runner.template run<2>(B::named(runner)["weight"])));  // only read
  EXPECT_EQ(B::floats_in(shared), Floats(12, 3));

  const Floats before = B::floats_in(B::named(runner)["weight"]);
  using Named = typename B::Named;
  for (const Named& weights : {Named{{"weight", shared}}, Named{{"weight", x}, {"counter", x}}}) {
    expect_error(B::replaced(runner, weights, true), aoti::Errc::constant_layout,
                 {"weight 'counter'", "also that of weight 'weight'", "set() copies"});
  }
  EXPECT_EQ(B::floats_in(B::named(runner)["weight"]), before);
  ASSERT_TRUE(good(runner.template run<2>(x)));
  EXPECT_EQ(B::floats_in(shared), Floats(12, 4));
}

// This model returns its buffer, and the transpose of it.
TYPED_TEST_P(WeightsBattery, OutliveTheModelInItsOutputs) {
  using B = Weights<TypeParam>;
  using Floats = typename B::Floats;
  const auto x = B::floats({6}, Floats(6, 1));
  for (const char* model : {"state", "state_embedded"}) {
    SCOPED_TRACE(model);
    for (int way = 0; way < 4; ++way) {
      SCOPED_TRACE(way);
      std::array<typename B::Tensor, 2> outputs;
      {
        auto runner = B::opened(model);
        outputs = value_of(runner.template run<2>(x));
        if (way == 1) std::move(runner).unload();
        if (way == 2) {
          ASSERT_TRUE(good(B::replaced(runner, {{"total", B::random({4, 6}, 1)}})));
          ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
        }
        if (way == 3) runner = B::opened("add");
      }
      const auto other = B::opened(model);  // where the memory may be reused
      value_of(other.template run<2>(x));
      Floats expected(24), transposed(24);
      for (std::size_t i = 0; i < 24; ++i) {
        expected[i] = static_cast<float>(4 * (i % 6) + i / 6 + 1);
        transposed[i] = static_cast<float>(i + 1);
      }
      EXPECT_EQ(B::floats_in(outputs[0]), expected);
      EXPECT_EQ(B::floats_in(outputs[1]), transposed);
      EXPECT_EQ(TypeParam::strides(outputs[0])[1], 4);
    }
  }
}

TYPED_TEST_P(WeightsBattery, ComeFromABlob) {
  using B = Weights<TypeParam>;
  std::vector<const char*> models{"types"};
  if (B::Case::has_operators) models.push_back("mlp");
  for (const char* model : models) {
    SCOPED_TRACE(model);
    auto runner = B::opened(model);
    const auto halves = B::halves_of(B::named(runner));
    std::size_t size = 0;
    for (const aoti::Constant& constant : runner.constants()) size += constant.bytes;
    std::vector<std::byte> blob(size);
    for (const aoti::Constant& constant : runner.constants()) {
      const auto numbers = B::floats_in(halves.at(constant.fqn));
      std::memcpy(blob.data() + constant.offset, numbers.data(), numbers.size() * sizeof(float));
    }
    const auto before = B::output(runner, model);
    auto update = value_of(aoti::update_weights(runner));
    expect_error(update.set_blob(aoti::Bytes{blob}.first(size - 1)), aoti::Errc::invalid_argument,
                 {"expected " + std::to_string(size)});
    ASSERT_TRUE(good(update.set_blob(blob)));
    EXPECT_EQ(B::output(runner, model), before);
    ASSERT_TRUE(good(update.commit()));
    auto other = B::opened(model);
    ASSERT_TRUE(good(B::replaced(other, halves)));
    EXPECT_EQ(B::output(runner, model), B::output(other, model));
    EXPECT_NE(B::output(runner, model), before);
  }
}

// Threads run while another changes the weights, a thousand times or more.
TYPED_TEST_P(WeightsBattery, ChangeUnderLoad) {
  using B = Weights<TypeParam>;
  for (const char* model : B::models()) {
    SCOPED_TRACE(model);
    auto runner = B::template opened<typename B::SharedRunner>(model, {.instances = 2});
    typename B::Named sets[2];
    typename B::Floats outputs[2];
    for (unsigned k = 0; k < 2; ++k) {
      sets[k] = B::random_for(B::named(runner), 100 * k);
      ASSERT_TRUE(good(B::replaced(runner, sets[k])));
      outputs[k] = B::output(runner, model);
    }
    std::atomic<bool> stop = false;
    std::atomic<int> mixed = 0, runs = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        while (!stop) {
          const auto found = B::output(runner, model);
          mixed += found == outputs[0] || found == outputs[1] ? 0 : 1;
          ++runs;
        }
      });
    }
    std::size_t warm = 0;
    for (int i = 0; i < 1000 || runs < 100; ++i) {
      const auto& set = sets[i % 2];
      mixed += (i % 4 < 2 ? B::replaced(runner, set) : B::replaced_in_steps(runner, set)) ? 0 : 1;
      if (i == 200) warm = resident_memory();
    }
    const std::size_t grown = resident_memory() - warm;
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mixed, 0);
    // Leaks in the 800 sets after that would be twice as much in the networks.
    EXPECT_LT(static_cast<std::ptrdiff_t>(grown), 4 << 20);
  }
}

REGISTER_TYPED_TEST_SUITE_P(WeightsBattery, BesideTheImageAreUsedFromTheFile, InMemoryAreCopied,
                            ChangeOneByOneAndTogether, ChangeAsAWholeOrNotAtAll,
                            AreStagedSwappedAndFreed, AreRefusedWhereTheyDoNotFit,
                            AreGivenUpOnceReplaced, ThatAModelChangesStayItsOwn,
                            ThatAModelChangesMayBeReplaced, ThatAModelChangesMeetNothingElse,
                            OutliveTheModelInItsOutputs, ComeFromABlob, ChangeUnderLoad);

}  // namespace aoti_test
