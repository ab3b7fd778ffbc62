#include "base/core/state_disk.h"

#include "base/core/file.h"
#include "base/core/log.h"

namespace base {

static std::string line_about(const std::string& why) {
  return fmt::format("{}: what this node keeps on disk is not up to date, a restart would begin with older state: "
                     "free space there or make it writable; it is tried again and service goes on", why);
}

StateDisk::StateDisk(Metrics& metrics)
    : alarm_(metrics.gauge("edgemeshd_state_write_failed", "Files of the data directory that could not be written; anything but 0 is an alarm.")) {}

Result<void> StateDisk::write(const std::string& path, std::string_view content) {
  auto r = write_file_atomic(path, content, 0600);
  std::lock_guard lock(mu_);
  if (r) succeeded(path);
  else failed(path, r.error().what);
  alarm_.set(int64_t(failing_.size()));
  return r;
}

void StateDisk::failed(const std::string& path, const std::string& why) {
  if (failing_.empty()) EM_LOG(error, "state", "{}", line_about(why));
  failing_[path] = why;
}

void StateDisk::succeeded(const std::string& path) {
  if (failing_.erase(path) && failing_.empty()) EM_LOG(info, "state", "{}: written: what this node keeps on disk is up to date again", path);
}

std::vector<std::string> StateDisk::problems() const {
  std::lock_guard lock(mu_);
  if (failing_.empty()) return {};
  return {line_about(failing_.begin()->second)};
}

}  // namespace base
