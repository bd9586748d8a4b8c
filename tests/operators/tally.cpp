// A class for the tests, whose objects a model keeps: it counts its calls.
#include <ATen/ATen.h>
#include <torch/custom_class.h>
#include <torch/library.h>

namespace {

struct Tally : torch::CustomClassHolder {
  explicit Tally(std::int64_t start) : count{start} {}

  /// x plus the number of calls so far.
  at::Tensor add_to(const at::Tensor& x) { return x + ++count; }

  std::int64_t count;
};

at::Tensor minus_tally(const at::Tensor& x, const c10::intrusive_ptr<Tally>& tally) {
  return x - tally->count;
}

TORCH_LIBRARY(aoti_classes, library) {
  library.class_<Tally>("Tally")
      .def(torch::init<std::int64_t>())
      .def("add_to", &Tally::add_to)
      .def("__obj_flatten__",
           [](const c10::intrusive_ptr<Tally>& self) {
             return std::make_tuple(std::make_tuple(std::string{"start"}, self->count));
           })
      .def_pickle([](const c10::intrusive_ptr<Tally>& self) { return self->count; },
                  [](std::int64_t start) { return c10::make_intrusive<Tally>(start); });
  library.def("minus_tally(Tensor x, __torch__.torch.classes.aoti_classes.Tally tally) -> Tensor");
  library.impl("minus_tally", c10::DispatchKey::CPU, TORCH_FN(minus_tally));
}

}  // namespace
