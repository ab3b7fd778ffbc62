// Three classes of failure (docs/architecture.md): a bug stops the program here, in every build; a doubtful invariant is
// counted and logged once (EM_DOUBT) and the program goes on; the environment's failures are Result values (result.h).
#pragma once

namespace base {
[[noreturn]] void assert_failed(const char* expr, const char* file, int line);
void doubt(const char* expr, const char* file, int line);  // edgemeshd_doubts_total; logs each site once
}  // namespace base

#define EM_ASSERT(expr) ((expr) ? void(0) : ::base::assert_failed(#expr, __FILE__, __LINE__))
// Evaluates to the condition, so that a caller can leave: if (!EM_DOUBT(x)) return;
#define EM_DOUBT(expr) ((expr) ? true : (::base::doubt(#expr, __FILE__, __LINE__), false))
