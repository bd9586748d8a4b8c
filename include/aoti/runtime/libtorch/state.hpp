// SPDX-License-Identifier: BSD-3-Clause
// Hides a thread's settings for torch's functions (autocast, inference mode, …) from models.
#pragma once

#include <ATen/FuncTorchTLS.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/SavedTensorHooks.h>
#include <c10/core/AutogradState.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <memory>
#include <optional>
#include <utility>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Whether the thread has settings that change what torch's dispatcher calls: autocast, inference
/// mode, functorch, a TorchDispatchMode. One load.
[[gnu::always_inline]] inline bool dispatches_otherwise() noexcept {
  const c10::impl::PODLocalDispatchKeySet& keys = c10::impl::raw_local_dispatch_key_set;
  return (keys.included_ | keys.excluded_) != 0;  // differences from the defaults
}

/// Whether its only settings are the keys of inference mode or of no_grad, with which torch's
/// functions compute the same.
inline bool only_leaves_autograd_out() noexcept {
  constexpr c10::DispatchKeySet keys = c10::autograd_dispatch_keyset_with_ADInplaceOrView;
  const c10::impl::PODLocalDispatchKeySet& set = c10::impl::raw_local_dispatch_key_set;
  return ((set.included_ | set.excluded_) & ~keys.raw_repr()) == 0;
}

/// During its lifetime, tensors made in its thread are not inference tensors.
class WithoutInferenceTensors {
 public:
  WithoutInferenceTensors() noexcept
      : were_{c10::AutogradState::get_tls_state().get_inference_mode()} {
    c10::AutogradState::get_tls_state().set_inference_mode(false);
  }
  WithoutInferenceTensors(const WithoutInferenceTensors&) = delete;
  WithoutInferenceTensors& operator=(const WithoutInferenceTensors&) = delete;
  ~WithoutInferenceTensors() { c10::AutogradState::get_tls_state().set_inference_mode(were_); }

 private:
  bool were_;
};

/// During its lifetime, torch's functions work in its thread as with default settings, and without
/// gradients. Profilers keep running.
class TorchDefaults {
 public:
  [[gnu::cold, gnu::noinline]] TorchDefaults()
      : keys_{c10::impl::tls_local_dispatch_key_set()},
        autograd_{c10::AutogradState::get_tls_state()},
        dispatch_modes_{c10::impl::TorchDispatchModeTLS::get_state()},
        function_modes_{at::impl::PythonTorchFunctionTLS::get_state()},
        functorch_{std::exchange(at::functorch::functorchTLSAccessor(), nullptr)} {
    const auto& hooks = at::SavedTensorDefaultHooks::get_tls_state();
    if (!hooks.stack.empty() || hooks.disabled_error_message || hooks.is_tracing) {
      hooks_ = hooks;
      at::SavedTensorDefaultHooks::set_tls_state({});
    }
    c10::AutogradState autograd = autograd_;
    autograd.set_grad_mode(false);
    autograd.set_inference_mode(false);
    autograd.set_fw_grad_mode(true);
    c10::AutogradState::set_tls_state(std::move(autograd));
    c10::impl::TorchDispatchModeTLS::set_state({});
    at::impl::PythonTorchFunctionTLS::set_state({});
    c10::impl::LocalDispatchKeySet keys{c10::impl::PODLocalDispatchKeySet{}};
    // There, tensors of inference mode may be written to, and have no version counter to change.
    if (!keys_.included_.has(c10::DispatchKey::ADInplaceOrView)) {
      keys.excluded_ = keys.excluded_.add(c10::DispatchKey::ADInplaceOrView);
    }
    c10::impl::_force_tls_local_dispatch_key_set(keys);
  }
  TorchDefaults(const TorchDefaults&) = delete;
  TorchDefaults& operator=(const TorchDefaults&) = delete;
  [[gnu::cold, gnu::noinline]] ~TorchDefaults() {
    at::functorch::functorchTLSAccessor() = std::move(functorch_);
    at::impl::PythonTorchFunctionTLS::set_state(function_modes_);
    c10::impl::TorchDispatchModeTLS::set_state(std::move(dispatch_modes_));
    c10::AutogradState::set_tls_state(std::move(autograd_));
    if (hooks_) at::SavedTensorDefaultHooks::set_tls_state(*hooks_);
    c10::impl::_force_tls_local_dispatch_key_set(keys_);  // last, since modes change them
  }

 private:
  c10::impl::LocalDispatchKeySet keys_;
  c10::AutogradState autograd_;
  c10::impl::TorchDispatchModeTLS dispatch_modes_;
  at::impl::PythonTorchFunctionTLS function_modes_;
  std::unique_ptr<at::functorch::FuncTorchTLSBase> functorch_;
  std::optional<at::impl::SavedTensorDefaultHooksTLS> hooks_;
};

}  // namespace aoti::inline AOTI_ABI::detail
