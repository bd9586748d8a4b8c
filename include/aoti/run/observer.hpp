// SPDX-License-Identifier: BSD-3-Clause
// Observers, which measure or trace what a runner does; chosen at compile time.
#pragma once

#include <time.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// What an observer is told of. An event that happens within another one, such as a fold in a load,
/// lies between its begin and end, in the same thread.
enum class Event : std::uint8_t {
  load,    ///< All of Runner::open, in any form.
  run,     ///< Any form of run, from the check of the inputs to the outputs.
  update,  ///< WeightsUpdate::commit or stage, with the events that it causes.
  fold,    ///< The model computes its folded constants, if it has some.
  swap,    ///< swap_weights, or the same in a commit.
  free,    ///< free_inactive_weights, or the same in a commit.
};

constexpr std::string_view to_string(Event event) noexcept {
  constexpr std::string_view names[] = {"load", "run", "update", "fold", "swap", "free"};
  return names[static_cast<std::uint8_t>(event)];
}

/// How an event ended.
struct Completion {
  const Error* error;         ///< What the caller gets, or null; valid only during `end`.
  std::int64_t nanoseconds;   ///< Since `begin` returned.
  std::size_t constants = 0;  ///< Loaded, set by the update, or folded; 0 for the other events.
  bool inactive = false;      ///< Whether the set that was staged, folded or freed is inactive.

  Errc code() const noexcept { return error != nullptr ? error->code() : Errc::none; }
};

/// No observer: nothing is stored, called or measured.
struct NoObserver {};

namespace detail {

template <class Observer> using TokenOf = decltype(std::declval<const Observer&>().begin(Event{}));

template <class Observer>
concept EndsWithToken = requires(const Observer& observer, TokenOf<Observer>&& token) {
  requires noexcept(observer.end(Event{}, Completion{}, std::move(token)));
};
template <class Observer>
concept EndsWithoutToken = requires(const Observer& observer) {
  requires std::is_void_v<TokenOf<Observer>>;
  requires noexcept(observer.end(Event{}, Completion{}));
};
template <class Observer>
concept HasClock = requires {
  requires noexcept(Observer::now());
  requires std::same_as<decltype(Observer::now()), std::int64_t>;
};
template <class Observer>
concept HasNow = requires(Observer& observer) {
  observer.now();
};

}  // namespace detail

/// An observer: a small value that is passed when a runner is opened, and copied into it. All
/// copies are equivalent, so it usually holds a pointer to its counters.
/// - `begin(event)`: called before; returns void, or a token, such as a tracer's span
/// - `end(event, completion)`, or `end(event, completion, token)`: called after, in the same thread
/// - `static now()`: nanoseconds as std::int64_t, for a clock other than the monotonic one
///
/// Each begin has its end. Both are const and noexcept, and are called by as many threads at once
/// as are inside the runner. A refused call, for example because of its inputs, is an event that
/// fails. A token should be small: it lies on the stack of the run.
template <class O>
concept ObserverPolicy = std::same_as<O, NoObserver> || requires(const O& observer) {
  requires std::copyable<O>;
  requires std::is_nothrow_copy_constructible_v<O> && std::is_nothrow_copy_assignable_v<O>;
  requires noexcept(observer.begin(Event{}));
  requires detail::EndsWithToken<O> || detail::EndsWithoutToken<O>;
  requires detail::HasClock<O> || !detail::HasNow<O>;
};

namespace detail {

/// When instantiated, reports each requirement of ObserverPolicy that a type lacks.
template <class O> struct NoObserverPolicy {
  static constexpr bool begins = requires(const O& observer) {
    requires noexcept(observer.begin(Event{}));
  };
  static_assert(std::copyable<O> && std::is_nothrow_copy_constructible_v<O> &&
                    std::is_nothrow_copy_assignable_v<O>,
                "an ObserverPolicy needs a copy constructor and assignment that are noexcept");
  static_assert(begins, "an ObserverPolicy needs begin(Event) const noexcept");
  static_assert(
      !begins || EndsWithToken<O> || EndsWithoutToken<O>,
      "an ObserverPolicy needs end(Event, const Completion&) const noexcept, with a third "
      "parameter for what begin returns, unless that is void");
  static_assert(HasClock<O> || !HasNow<O>,
                "an ObserverPolicy that has now() needs static std::int64_t now() noexcept");
  static constexpr bool value = false;
};

/// An ObserverPolicy; for any other type, a compile error says what it lacks.
template <class O>
concept CheckedObserver = ObserverPolicy<O> || NoObserverPolicy<O>::value;

template <class Observer> inline std::int64_t now() noexcept {
  if constexpr (HasClock<Observer>) {
    return Observer::now();
  } else {
    timespec time{};  // not std::chrono, which takes long to compile
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  }
}

struct NoToken {};

/// An event from its begin to its end, whichever way the scope is left.
template <class Observer> class Watch {
 public:
  Watch(const Observer& observer, Event event) noexcept
      : observer_{observer}, event_{event}, token_{begin()}, start_{now<Observer>()} {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() {
    if (!ended_) static_cast<void>(failed(Error{Errc::model_threw}));
  }

  /// The rest of what the completion tells.
  void about(std::size_t constants, bool inactive = false) noexcept {
    constants_ = constants;
    inactive_ = inactive;
  }
  template <class T> void ended(const Result<T>& result) noexcept {
    end(result ? nullptr : &result.error());
  }
  Error&& failed(Error&& error) noexcept {
    end(&error);
    return std::move(error);
  }

 private:
  static constexpr bool has_token = !std::is_void_v<TokenOf<Observer>>;
  using Token = std::conditional_t<has_token, TokenOf<Observer>, NoToken>;

  Token begin() noexcept {
    if constexpr (has_token) {
      return observer_.begin(event_);
    } else {
      observer_.begin(event_);
      return {};
    }
  }

  void end(const Error* error) noexcept {
    const Completion completion{error, now<Observer>() - start_, constants_, inactive_};
    ended_ = true;
    if constexpr (has_token) {
      observer_.end(event_, completion, std::move(token_));
    } else {
      observer_.end(event_, completion);
    }
  }

  const Observer& observer_;
  Event event_;
  bool ended_ = false;
  bool inactive_ = false;
  std::size_t constants_ = 0;
  [[no_unique_address]] Token token_;
  std::int64_t start_;
};

template <> class Watch<NoObserver> {
 public:
  constexpr Watch(const NoObserver&, Event) noexcept {}
  constexpr void about(std::size_t, bool = false) const noexcept {}
  template <class T> constexpr void ended(const Result<T>&) const noexcept {}
  constexpr Error&& failed(Error&& error) const noexcept { return std::move(error); }
};

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
