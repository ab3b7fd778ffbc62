// Result<T>: what the environment or a peer may refuse. An Error says in one line what failed, where, and the mend;
// it is written for the operator who reads it. We throw nothing; code that calls throwing libraries catches beside the call.
#pragma once
#include <fmt/core.h>

#include <string>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace base {

enum class Code {
  invalid,      // input that breaks its rules; the text names the place
  not_found,
  exists,       // already there, held by somebody else
  denied,       // by policy, permission or authentication
  unavailable,  // not now: try again later
  timeout,
  limit,        // a bound was reached
  unsupported,
  io,           // a system call failed
};

struct Error {
  Code code = Code::io;
  std::string what;
};

template <class T>
using Result = tl::expected<T, Error>;

template <class... A>
[[nodiscard]] tl::unexpected<Error> fail(Code code, fmt::format_string<A...> f, A&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(f, std::forward<A>(args)...)});
}

// A failed system call: "<what>: <strerror(err)>".
[[nodiscard]] inline tl::unexpected<Error> fail_errno(int err, std::string what) {
  return tl::unexpected<Error>(Error{Code::io, what + ": " + std::generic_category().message(err)});
}

// The same error with its place put in front: "<context>: <what>".
[[nodiscard]] inline tl::unexpected<Error> fail_in(std::string_view context, const Error& e) {
  return tl::unexpected<Error>(Error{e.code, fmt::format("{}: {}", context, e.what)});
}

}  // namespace base

// EM_TRY(expr): leaves the function with the error of a Result<void>. EM_TRY_ASSIGN(var, expr): declares var from its value.
#define EM_CONCAT2(a, b) a##b
#define EM_CONCAT(a, b) EM_CONCAT2(a, b)
#define EM_TRY(expr)                                                          \
  do {                                                                        \
    if (auto em_r_ = (expr); !em_r_) return tl::unexpected(std::move(em_r_.error())); \
  } while (0)
#define EM_TRY_ASSIGN(var, expr)                                                                   \
  auto EM_CONCAT(em_r_, __LINE__) = (expr);                                                        \
  if (!EM_CONCAT(em_r_, __LINE__)) return tl::unexpected(std::move(EM_CONCAT(em_r_, __LINE__).error())); \
  var = std::move(*EM_CONCAT(em_r_, __LINE__))
