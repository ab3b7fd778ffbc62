// StateDisk: writes what the daemon keeps in its data directory, and knows what could not be written. A disk that is full, read-only
// or broken costs service nothing: there is one alarm (the gauge edgemeshd_state_write_failed: files that are not as they should
// be), one log line when it begins, one when it is over, one line in `status`. Who has something to keep tries again. Any thread.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"

namespace base {

class StateDisk {
 public:
  explicit StateDisk(Metrics&);
  // Whole or not at all, mode 0600 (write_file_atomic). The error is for the caller's next try: it is told to people here.
  Result<void> write(const std::string& path, std::string_view content);
  std::vector<std::string> problems() const;  // at most one

 private:
  void failed(const std::string& path, const std::string& why);
  void succeeded(const std::string& path);

  mutable std::mutex mu_;
  std::map<std::string, std::string> failing_;  // path → the error's text
  Gauge& alarm_;
};

}  // namespace base
