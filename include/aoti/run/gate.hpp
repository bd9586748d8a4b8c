// SPDX-License-Identifier: BSD-3-Clause
// Locks: for state that threads look at for a moment, and for models that cannot keep threads apart
// themselves in their first run.
#pragma once

#include <pthread.h>

#include <utility>

#include "aoti/atomic.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Held for microseconds at most. A thread that holds it inherits the priority of its most urgent
/// waiter.
class Mutex {
 public:
  Mutex() noexcept {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    ::pthread_mutex_init(&mutex_, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
  }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() { ::pthread_mutex_destroy(&mutex_); }

  class Hold {
   public:
    explicit Hold(Mutex& mutex) noexcept : mutex_{mutex} { ::pthread_mutex_lock(&mutex_.mutex_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { ::pthread_mutex_unlock(&mutex_.mutex_); }

   private:
    Mutex& mutex_;
  };

 private:
  pthread_mutex_t mutex_;
};

/// A lock that runs share, and that changes hold exclusively. Two kinds of models have one:
/// - models with abi::ModelTraits::first_run_is_alone, whose own locks can deadlock a second thread
///   with the first run: the first run on a set of weights is exclusive (`pass`), and so is the
///   change to another set (`change`)
/// - models that lend weights: these are freed (`alone`) when no run holds them (`Beside`)
class Gate {
 public:
  Gate() noexcept = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { ::pthread_rwlock_destroy(&lock_); }

  /// Calls `run`, which returns 0 on success, beside other runs or alone.
  template <class Run> auto pass(Run&& run) -> decltype(run()) {
    while (true) {
      {
        const Hold hold{lock_, ::pthread_rwlock_rdlock};
        if (passed_.load()) return run();
      }
      // Only one thread waits to be alone: others behind it could wait forever while runs go on.
      const Mutex::Hold first{first_};
      if (passed_.load()) continue;
      const Hold hold{lock_, ::pthread_rwlock_wrlock};
      const auto native = run();
      if (native == 0) passed_.store(true);
      return native;
    }
  }

  /// Holds a gate, if there is one, shared with others.
  class Beside {
   public:
    explicit Beside(Gate* gate) noexcept : gate_{gate} {
      if (gate_ != nullptr) [[unlikely]]
        ::pthread_rwlock_rdlock(&gate_->lock_);
    }
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;
    ~Beside() {
      if (gate_ != nullptr) [[unlikely]]
        ::pthread_rwlock_unlock(&gate_->lock_);
    }

   private:
    Gate* gate_;
  };

  /// Calls `change` while nobody else holds the gate.
  template <class Change> auto alone(Change&& change) -> decltype(change()) {
    const Hold hold{lock_, ::pthread_rwlock_wrlock};
    return change();
  }

  /// Calls `change`, which activates another set of weights, while nothing runs.
  template <class Change> auto change(Change&& change) -> decltype(change()) {
    const Hold hold{lock_, ::pthread_rwlock_wrlock};
    passed_.store(false);
    return change();
  }

 private:
  struct Hold {
    pthread_rwlock_t& lock;
    Hold(pthread_rwlock_t& held, int (*take)(pthread_rwlock_t*)) : lock{held} { take(&lock); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { ::pthread_rwlock_unlock(&lock); }
  };

  pthread_rwlock_t lock_ = PTHREAD_RWLOCK_INITIALIZER;
  Mutex first_;
  Atomic<bool> passed_ = false;
};

/// Owns a gate, or none.
class GatePointer {
 public:
  static GatePointer make() {
    GatePointer pointer;
    pointer.gate_ = new Gate;
    return pointer;
  }

  GatePointer() noexcept = default;
  GatePointer(GatePointer&& other) noexcept : gate_{std::exchange(other.gate_, nullptr)} {}
  GatePointer& operator=(GatePointer&& other) noexcept {
    std::swap(gate_, other.gate_);
    return *this;
  }
  ~GatePointer() { delete gate_; }

  Gate* get() const noexcept { return gate_; }

 private:
  Gate* gate_ = nullptr;
};

}  // namespace aoti::inline AOTI_ABI::detail
