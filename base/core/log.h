// One line per event, for an operator: "<time> <level> <module>: <text>". Lines go to stderr (journald, kubectl logs).
// Each call site may write 10 lines in 10 s; what was held back is counted in its next line ("(41 more like this)").
// Any thread may log; lines never interleave.
#pragma once
#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

namespace base {

enum class LogLevel : uint8_t { error, warn, info, debug };

void set_log_level(LogLevel);
LogLevel log_level();
// Tests and the admin socket may watch lines; nullptr restores stderr.
void set_log_sink(std::function<void(LogLevel, std::string_view line)>);

struct LogSite {  // one static per call site; see EM_LOG
  std::atomic<int64_t> window_start_ms{0};
  std::atomic<uint32_t> in_window{0};
  std::atomic<uint32_t> suppressed{0};
};
bool log_allowed(LogSite&);  // false: counted as suppressed
void log_write(LogLevel, const char* module, LogSite&, std::string_view text);

}  // namespace base

#define EM_LOG(level_, module, ...)                                                                 \
  do {                                                                                              \
    if (::base::LogLevel::level_ <= ::base::log_level()) {                                          \
      static ::base::LogSite em_site_;                                                              \
      if (::base::log_allowed(em_site_))                                                            \
        ::base::log_write(::base::LogLevel::level_, module, em_site_, ::fmt::format(__VA_ARGS__));  \
    }                                                                                               \
  } while (0)
