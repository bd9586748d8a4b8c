// A model that is written in C++: y = factor * x + offset for each row of eight, by GCC's vectors.
// aoti_add_model makes a shared object and a package of it, which torch's runners load, too.
#include <aoti/export_model.hpp>
#include <array>
#include <cstddef>

namespace {

using aoti::model::parameter;
using aoti::model::tensor;

struct Scale : aoti::model::Model<Scale> {
  static constexpr std::array inputs{tensor<float>("x", "rows", 8)};
  static constexpr std::array outputs{tensor<float>("y", "rows", 8)};
  static constexpr std::array<float, 8> ones{1, 1, 1, 1, 1, 1, 1, 1};
  static constexpr std::array<float, 8> zeros{};
  static constexpr std::array constants{parameter("factor", {8}, ones),
                                        parameter("offset", {8}, zeros)};

  aoti::Result<void> run(aoti::model::Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    AOTI_TRY(const auto factor, call.constant<float>(0));
    AOTI_TRY(const auto offset, call.constant<float>(1));
    AOTI_TRY(const auto y, call.output<float>(0, call.input(0).sizes()));
    using Eight [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
    const auto at = [](auto* first) { return reinterpret_cast<const Eight*>(first); };
    for (std::size_t i = 0; i < x.size(); i += 8) {
      *reinterpret_cast<Eight*>(&y[i]) = *at(&factor[0]) * *at(&x[i]) + *at(&offset[0]);
    }
    return aoti::success();
  }
};

}  // namespace

AOTI_EXPORT_MODEL(Scale);
