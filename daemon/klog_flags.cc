#include "daemon/klog_flags.h"

#include <algorithm>
#include <charconv>

namespace edgemeshd {
namespace {

constexpr int kDebugFrom = 4;  // where EdgeMesh begins to tell of single connections
constexpr const char* kWhere = "the log goes to standard error, for the journal or the container's log";
constexpr const char* kForm = "lines have one form, and logLevel holds for the whole program";

struct Flag {
  std::string_view name;
  bool takes_value;
  const char* why;
};
constexpr Flag kFlags[] = {
    {"add_dir_header", false, kForm},
    {"alsologtostderr", false, kWhere},
    {"log_backtrace_at", true, kForm},
    {"log_dir", true, kWhere},
    {"log_file", true, kWhere},
    {"log_file_max_size", true, kWhere},
    {"log_flush_frequency", true, kWhere},
    {"logtostderr", false, kWhere},
    {"one_output", false, kWhere},
    {"skip_headers", false, kForm},
    {"skip_log_headers", false, kForm},
    {"stderrthreshold", true, kWhere},
    {"vmodule", true, kForm},
};

base::Result<void> set_level(std::string_view flag, std::string_view value, KlogFlags& out) {
  int n = 0;
  const auto r = std::from_chars(value.data(), value.data() + value.size(), n);
  if (r.ec != std::errc() || r.ptr != value.data() + value.size())
    return base::fail(base::Code::invalid, "{} needs a number, not \"{}\"", flag, value);
  if (n >= kDebugFrom) out.level = base::LogLevel::debug;
  return {};
}

}  // namespace

base::Result<int> take_klog_flag(std::string_view argument, std::string_view next, KlogFlags& out) {
  const size_t equal = argument.find('=');
  const bool has_value = equal != argument.npos;
  const std::string_view flag = argument.substr(0, equal), value = has_value ? argument.substr(equal + 1) : next;
  const int used = has_value ? 1 : 2;
  if (flag == "-v" || flag == "--v") {
    EM_TRY(set_level(flag, value, out));
    return used;
  }
  if (!flag.starts_with("--") && flag.starts_with("-v") && !has_value) {  // -v4
    EM_TRY(set_level("-v", flag.substr(2), out));
    return 1;
  }
  if (!flag.starts_with("--")) return 0;
  std::string name(flag.substr(2));
  std::ranges::replace(name, '-', '_');
  const auto known = std::ranges::find(kFlags, name, &Flag::name);
  if (known == std::end(kFlags)) return 0;
  out.notes.push_back(fmt::format("{}: has no effect: {}", flag, known->why));
  return known->takes_value ? used : 1;
}

}  // namespace edgemeshd
