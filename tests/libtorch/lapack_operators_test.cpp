// Linear algebra on LAPACK, compared with torch's.
#include <aoti/runtime/lapack.hpp>

#include "libtorch/native_operators.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;
using Native = aoti::NativeWith<aoti::Lapack>;
using Sizes = std::vector<std::int64_t>;

testing::AssertionResult near(const at::Tensor& found, const at::Tensor& expected) {
  const double tolerance =
      c10::toRealValueType(expected.scalar_type()) == at::kDouble ? 1e-9 : 2e-4;
  if (found.sizes() != expected.sizes() || found.scalar_type() != expected.scalar_type()) {
    return testing::AssertionFailure() << "found " << found.toString() << found.sizes()
                                       << ", expected " << expected.toString() << expected.sizes();
  }
  if (at::allclose(found, expected, tolerance, tolerance, true)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "found " << found << ", expected " << expected;
}

class Lapack : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(0); }

  at::Tensor numbers(const Sizes& sizes) const { return at::randn(sizes, GetParam()); }
  /// Matrices, batches of them, and empty ones, in several layouts.
  std::vector<at::Tensor> matrices(std::int64_t rows, std::int64_t columns) const {
    return {numbers({rows, columns}),
            numbers({columns, rows}).mT(),
            numbers({2, 3, rows, columns}),
            numbers({3, columns, rows}).mT(),
            numbers({1, rows, columns}).expand({2, rows, columns}),
            numbers({0, rows, columns})};
  }
  std::vector<at::Tensor> positive(std::int64_t size) const {
    std::vector<at::Tensor> made;
    for (const at::Tensor& a : matrices(size, size)) {
      made.push_back(a.matmul(a.mH()) + at::eye(size, GetParam()));
    }
    return made;
  }
};

/// Expects torch's results. Of those in `free` only the layout is compared: they may have other
/// signs.
std::vector<at::Tensor> expect_results(const std::string& target,
                                       const std::vector<Given>& arguments,
                                       const std::vector<at::Tensor>& expected,
                                       const std::vector<bool>& free = {}) {
  SCOPED_TRACE(testing::Message() << target << arguments[0].tensors[0].sizes()
                                  << arguments[0].tensors[0].strides());
  const auto found = call_native<Native>(target, arguments, expected.size());
  EXPECT_EQ(found.size(), expected.size()) << Native::last_error();
  std::vector<at::Tensor> copies;
  for (std::size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "result " << i);
    EXPECT_TRUE(same_layout(found[i], expected[i]));
    copies.push_back(found[i].numel() != 0 ? torch_of(found[i]).clone()
                                           : at::empty_like(expected[i]));
    if (i < free.size() && free[i]) continue;
    EXPECT_TRUE(near(copies[i], expected[i].resolve_conj()));
  }
  return copies;
}

template <class... Tensors> std::vector<at::Tensor> list(const std::tuple<Tensors...>& tuple) {
  return std::apply([](const auto&... all) { return std::vector<at::Tensor>{all...}; }, tuple);
}

TEST_P(Lapack, FactorsByLu) {
  for (const auto& [m, n] : {std::pair{4, 4}, {5, 3}, {3, 5}, {1, 1}}) {
    for (const at::Tensor& a : matrices(m, n)) {
      expect_results("aten::linalg_lu_factor_ex", {given("A", a)},
                     list(at::linalg_lu_factor_ex(a)));
      expect_results("aten::linalg_lu", {given("A", a)}, list(at::linalg_lu(a)));
      if (m != n) continue;
      expect_results("aten::_linalg_det", {given("A", a)}, list(at::_linalg_det(a)));
      expect_results("aten::_linalg_slogdet", {given("A", a)}, list(at::_linalg_slogdet(a)));
      expect_results("aten::linalg_inv_ex", {given("A", a)}, list(at::linalg_inv_ex(a)));
    }
  }
  const at::Tensor singular = at::ones({2, 2}, GetParam());
  expect_results("aten::_linalg_det", {given("A", singular)}, list(at::_linalg_det(singular)));
  expect_results("aten::_linalg_slogdet", {given("A", singular)},
                 list(at::_linalg_slogdet(singular)));
  EXPECT_EQ(refusal<Native>("aten::linalg_inv_ex",
                            {given("A", singular), given("check_errors", true)}, 2),
            "aten::linalg_inv_ex: a matrix is singular, or not positive-definite");
}

TEST_P(Lapack, SolvesSystems) {
  for (const at::Tensor& a : matrices(4, 4)) {
    for (const at::Tensor& b : {numbers({4, 5}), numbers({5, 4}).mT(), numbers({4, 4})}) {
      expect_results("aten::_linalg_solve_ex", {given("A", a), given("B", b)},
                     list(at::_linalg_solve_ex(a, b)));
      expect_results("aten::_linalg_solve_ex",
                     {given("A", a), given("B", b.mT().contiguous()), given("left", false)},
                     list(at::_linalg_solve_ex(a, b.mT().contiguous(), false)));
      for (const bool upper : {true, false}) {
        for (const bool unit : {true, false}) {
          const at::Tensor triangle = a * 0.1 + at::eye(4, GetParam());
          expect_results("aten::linalg_solve_triangular",
                         {given("self", triangle), given("B", b), given("upper", upper),
                          given("unitriangular", unit)},
                         {at::linalg_solve_triangular(triangle, b, upper, true, unit)});
          expect_results("aten::linalg_solve_triangular",
                         {given("self", triangle), given("B", b.mT()), given("upper", upper),
                          given("left", false), given("unitriangular", unit)},
                         {at::linalg_solve_triangular(triangle, b.mT(), upper, false, unit)});
        }
      }
      const auto [lu, pivots] = at::linalg_lu_factor(a);
      for (const bool adjoint : {true, false}) {
        expect_results(
            "aten::linalg_lu_solve",
            {given("LU", lu), given("pivots", pivots), given("B", b), given("adjoint", adjoint)},
            {at::linalg_lu_solve(lu, pivots, b, true, adjoint)});
        if (at::isComplexType(GetParam())) continue;
        expect_results("aten::linalg_lu_solve",
                       {given("LU", lu), given("pivots", pivots), given("B", b.mT()),
                        given("left", false), given("adjoint", adjoint)},
                       {at::linalg_lu_solve(lu, pivots, b.mT(), false, adjoint)});
      }
    }
  }
  const at::Tensor a = numbers({2, 3, 4, 4});
  for (const at::Tensor& b : {numbers({2, 3, 4}), numbers({4}), numbers({3, 4, 2})}) {
    expect_results("aten::_linalg_solve_ex", {given("A", a), given("B", b)},
                   list(at::_linalg_solve_ex(a, b)));
  }
  const at::Tensor one = numbers({4, 4}), many = numbers({2, 3, 4, 2});
  expect_results("aten::_linalg_solve_ex", {given("A", one), given("B", many)},
                 list(at::_linalg_solve_ex(one, many)));
}

TEST_P(Lapack, FactorsByQr) {
  for (const auto& [m, n] : {std::pair{4, 4}, {5, 3}, {3, 5}}) {
    for (const at::Tensor& a : matrices(m, n)) {
      for (const char* mode : {"reduced", "complete", "r"}) {
        expect_results("aten::linalg_qr", {given("A", a), given("mode", mode)},
                       list(at::linalg_qr(a, mode)));
      }
      const auto [packed, tau] = at::geqrf(a);
      if (m < n) continue;
      expect_results("aten::linalg_householder_product",
                     {given("input", packed), given("tau", tau)},
                     {at::linalg_householder_product(packed, tau)});
    }
  }
}

TEST_P(Lapack, FactorsPositiveMatrices) {
  for (const at::Tensor& a : positive(4)) {
    for (const bool upper : {true, false}) {
      expect_results("aten::linalg_cholesky_ex", {given("self", a), given("upper", upper)},
                     list(at::linalg_cholesky_ex(a, upper)));
    }
    for (const bool hermitian : {true, false}) {
      const auto [ld, pivots, info] = at::linalg_ldl_factor_ex(a, hermitian);
      expect_results("aten::linalg_ldl_factor_ex",
                     {given("self", a), given("hermitian", hermitian)}, {ld, pivots, info});
      const at::Tensor b = numbers({4, 2}).expand({a.dim() == 2 ? 1 : a.size(0), 4, 2});
      if (a.dim() != 3) continue;
      expect_results(
          "aten::linalg_ldl_solve",
          {given("LD", ld), given("pivots", pivots), given("B", b), given("hermitian", hermitian)},
          {at::linalg_ldl_solve(ld, pivots, b, hermitian)});
    }
  }
  const auto negative =
      call_native<Native>("aten::linalg_cholesky_ex", {given("self", -at::eye(3, GetParam()))}, 2);
  ASSERT_EQ(negative.size(), 2u);
  EXPECT_EQ(torch_of(negative[1]).item<int>(), 1);
  EXPECT_TRUE(call_native<Native>("aten::_linalg_check_errors",
                                  {given("info", torch_of(negative[1])), given("api_name", "it"),
                                   given("is_matrix", true)},
                                  0)
                  .empty());
  EXPECT_EQ(Native::last_error(),
            "aten::_linalg_check_errors: a matrix is singular, or not positive-definite");
}

TEST_P(Lapack, FindsSingularValues) {
  for (const auto& [m, n] : {std::pair{4, 4}, {5, 3}, {3, 5}}) {
    for (const at::Tensor& a : matrices(m, n)) {
      for (const bool full : {false, true}) {
        const auto found =
            expect_results("aten::_linalg_svd",
                           {given("A", a), given("full_matrices", full), given("compute_uv", true)},
                           list(at::_linalg_svd(a, full)), {true, false, true});
        ASSERT_EQ(found.size(), 3u);
        const std::int64_t k = std::min(m, n);
        EXPECT_TRUE(near(
            (found[0].narrow(-1, 0, k) * found[1].unsqueeze(-2)).matmul(found[2].narrow(-2, 0, k)),
            a.clone()));
        EXPECT_TRUE(
            near(found[0].mH().matmul(found[0]),
                 at::eye(found[0].size(-1), GetParam()).expand_as(found[0].mH().matmul(found[0]))));
      }
      expect_results("aten::_linalg_svd", {given("A", a), given("compute_uv", false)},
                     list(at::_linalg_svd(a, false, false)), {true, false, true});
      const at::ScalarType real = c10::toRealValueType(GetParam());
      for (const double tolerance : {0.0, 1.0}) {
        const at::Tensor atol = at::full({}, tolerance, real), rtol = at::full({}, 0.01, real);
        expect_results("aten::linalg_pinv.atol_rtol_tensor",
                       {given("self", a), given("atol", atol), given("rtol", rtol)},
                       {at::linalg_pinv(a, atol, rtol)});
      }
      expect_results(
          "aten::linalg_pinv.atol_rtol_tensor", {given("self", a)},
          {at::linalg_pinv(a, std::optional<at::Tensor>{}, std::optional<at::Tensor>{})});
    }
  }
}

TEST_P(Lapack, FindsEigenvalues) {
  for (const at::Tensor& a : matrices(4, 4)) {
    for (const char* triangle : {"L", "U"}) {
      const auto found =
          expect_results("aten::_linalg_eigh", {given("A", a), given("UPLO", triangle)},
                         list(at::_linalg_eigh(a, triangle)), {false, true});
      ASSERT_EQ(found.size(), 2u);
      at::Tensor symmetric =
          *triangle == 'L' ? a.tril() + a.tril(-1).mH() : a.triu() + a.triu(1).mH();
      if (at::isComplexType(GetParam())) {  // the diagonal counts as real
        symmetric = symmetric - at::diag_embed(at::diagonal(symmetric, 0, -2, -1)) +
                    at::diag_embed(at::real(at::diagonal(symmetric, 0, -2, -1)));
      }
      EXPECT_TRUE(near((found[1] * found[0].unsqueeze(-2)).matmul(found[1].mH()), symmetric));
    }
    expect_results("aten::_linalg_eigh", {given("A", a), given("compute_v", false)},
                   list(at::_linalg_eigh(a, "L", false)));
    const auto found = expect_results("aten::linalg_eig", {given("self", a)},
                                      list(at::linalg_eig(a)), {true, true});
    ASSERT_EQ(found.size(), 2u);
    EXPECT_TRUE(
        near(a.to(found[1].scalar_type()).matmul(found[1]), found[1] * found[0].unsqueeze(-2)));
  }
}

AtenTensorHandle passed(Twin* tensor, bool torch) {
  return torch ? tensor->of_torch() : tensor->of_native();
}
std::int32_t passed(bool flag, bool) { return flag; }

template <class Function, std::size_t... i, class... Arguments>
AOTITorchError call(Function* function, AtenTensorHandle* out, std::index_sequence<i...>,
                    Arguments... arguments) {
  return function(arguments..., (out + i)...);
}

/// Expects the results of torch's C function.
template <class Import, std::size_t results, class... Arguments>
void compare(Arguments... arguments) {
  SCOPED_TRACE(Import::symbol);
  AtenTensorHandle wanted[results] = {}, got[results] = {};
  constexpr std::make_index_sequence<results> all;
  ASSERT_EQ(call(torch_function<Import>(), wanted, all, passed(arguments, true)...), 0);
  ASSERT_EQ((call(aoti::abi::resolve<Native, Import>(), got, all, passed(arguments, false)...)), 0)
      << Native::last_error();
  for (std::size_t i = 0; i < results; ++i) {
    const at::Tensor expected = taken_torch(wanted[i]);
    const aoti::Tensor found = Native::take(got[i]);
    EXPECT_TRUE(same_layout(found, expected)) << i;
    if (expected.numel() == 0) continue;
    EXPECT_TRUE(near(torch_of(found), expected)) << i;
  }
}

TEST_P(Lapack, HasFunctionsOfMatrices) {
  for (const auto& [m, n] : {std::pair{4, 4}, {5, 3}}) {
    for (const at::Tensor& a : matrices(m, n)) {
      const auto found = expect_results(
          "aten::linalg_polar", {given("A", a)},
          {at::empty(a.sizes(), GetParam()), at::empty(a.mH().matmul(a).sizes(), GetParam())},
          {true, true});
      ASSERT_EQ(found.size(), 2u);
      EXPECT_TRUE(near(found[0].matmul(found[1]), a.clone()));
      EXPECT_TRUE(near(found[1], found[1].mH()));
      const at::Tensor one = found[0].mH().matmul(found[0]);
      EXPECT_TRUE(near(one, at::eye(n, GetParam()).expand_as(one)));
      if (m != n) continue;
      for (const double scale : {0.01, 1.0, 4.0}) {
        const at::Tensor x = a * scale;
        expect_results("aten::linalg_matrix_exp", {given("self", x)}, {at::linalg_matrix_exp(x)});
      }
      const at::Tensor hermitian = a + a.mH();
      expect_results("aten::linalg_pinv.atol_rtol_tensor",
                     {given("self", hermitian), given("hermitian", true)},
                     {at::linalg_pinv(hermitian, std::optional<at::Tensor>{},
                                      std::optional<at::Tensor>{}, true)});
    }
  }
}

TEST_P(Lapack, HasTheFunctionsInC) {
  for (const at::Tensor& matrix : positive(4)) {
    if (matrix.numel() == 0) continue;
    Twin a = twin(matrix), b = twin(numbers({4, 3}));
    for (const bool flag : {false, true}) {
      Twin factor = twin(at::linalg_cholesky(matrix, flag));
      compare<imported::cpu_cholesky_inverse, 1>(&factor, flag);
      compare<imported::cpu_cholesky_solve, 1>(&b, &factor, flag);
      for (const bool transposes : {false, true}) {
        for (const bool unit : {false, true}) {
          compare<imported::cpu_triangular_solve, 2>(&b, &factor, flag, transposes, unit);
        }
      }
    }
    compare<imported::cpu_geqrf, 2>(&a);
    const auto [lu, order] = at::linalg_lu_factor(matrix);
    Twin packed = twin(lu), pivots = twin(order);
    compare<imported::cpu_lu_unpack, 3>(&packed, &pivots, true, true);
    compare<imported::cpu_lu_unpack, 3>(&packed, &pivots, false, true);
    compare<imported::cpu_lu_unpack, 3>(&packed, &pivots, true, false);
    const auto [reflectors, scalars] = at::geqrf(matrix);
    Twin q = twin(reflectors), tau = twin(scalars), other = twin(matrix.clone());
    for (const bool left : {false, true}) {
      for (const bool transposes : {false, true}) {
        compare<imported::cpu_ormqr, 1>(&q, &tau, &other, left, transposes);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Numbers, Lapack,
                         testing::Values(at::kFloat, at::kDouble, at::kComplexFloat,
                                         at::kComplexDouble),
                         [](const auto& test) { return std::string{c10::toString(test.param)}; });

TEST(LinearAlgebra, RefusesWhatDoesNotFit) {
  EXPECT_EQ(refusal<Native>("aten::_linalg_det", {given("A", at::ones({2, 3}))}, 3),
            "aten::_linalg_det: the tensor is not of matrices that fit");
  EXPECT_EQ(refusal<Native>("aten::_linalg_det", {given("A", at::ones({2, 2}, at::kLong))}, 3),
            "aten::_linalg_det: not for this dtype");
  EXPECT_EQ(
      refusal<Native>("aten::linalg_qr", {given("A", at::ones({2, 3})), given("mode", "x")}, 2),
      "aten::linalg_qr: there is no such mode");
}

}  // namespace
}  // namespace aoti_test
