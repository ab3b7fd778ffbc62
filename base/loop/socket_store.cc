#include "base/loop/socket_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/core/log.h"

namespace base {
namespace {

constexpr int kFirstSystemdFd = 3;   // sd_listen_fds(3)
constexpr int kInheritedFdsMax = 1024;

std::vector<std::string_view> split(std::string_view s, char by) {
  std::vector<std::string_view> out;
  for (size_t end; (end = s.find(by)) != s.npos; s.remove_prefix(end + 1)) out.push_back(s.substr(0, end));
  if (!s.empty()) out.push_back(s);
  return out;
}

std::optional<int> number(std::string_view s) {
  int v = 0;
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (ec != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return v;
}

// Reads a variable once: a child of ours must not believe that it was meant.
std::string take_env(const char* name) {
  const char* v = getenv(name);
  std::string text = v ? v : "";
  unsetenv(name);
  return text;
}

struct Inherited {
  std::string name;
  int fd;
};

std::vector<Inherited> from_systemd() {
  auto pid = number(take_env("LISTEN_PID"));
  auto count = number(take_env("LISTEN_FDS"));
  std::string names_text = take_env("LISTEN_FDNAMES");
  if (pid != getpid() || !count || *count > kInheritedFdsMax) return {};
  auto names = split(names_text, ':');
  std::vector<Inherited> out;
  for (int i = 0; i < *count; ++i)
    out.push_back({size_t(i) < names.size() ? std::string(names[i]) : fmt::format("fd{}", i), kFirstSystemdFd + i});
  return out;
}

std::vector<Inherited> from_predecessor() {
  std::string text = take_env("EDGEMESHD_FDS");
  std::vector<Inherited> out;
  for (std::string_view item : split(text, ',')) {
    size_t eq = item.rfind('=');
    auto fd = eq == item.npos ? std::nullopt : number(item.substr(eq + 1));
    if (!fd || eq == 0)
      EM_LOG(warn, "sockets", "EDGEMESHD_FDS: \"{}\" is not name=number; ignored", item);
    else
      out.push_back({std::string(item.substr(0, eq)), *fd});
  }
  return out;
}

}  // namespace

void SocketStore::adopt_environment() {
  std::set<int> seen;
  auto adopt = [&](const std::vector<Inherited>& list) {
    for (const Inherited& i : list) {
      bool usable = i.fd > 2 && !seen.contains(i.fd) && fcntl(i.fd, F_SETFD, FD_CLOEXEC) == 0;
      if (!usable) {
        EM_LOG(warn, "sockets", "inherited socket {}: descriptor {} is not open or named twice; ignored", i.name, i.fd);
        continue;
      }
      seen.insert(i.fd);
      UniqueFd fd(i.fd);
      if (have_.contains(i.name))
        EM_LOG(warn, "sockets", "inherited socket {}: the name is taken; descriptor {} is closed", i.name, i.fd);
      else
        have_.emplace(i.name, std::move(fd));
    }
  };
  adopt(from_predecessor());  // before systemd: after a hot restart both hold the same sockets, and this one is newer
  adopt(from_systemd());
}

UniqueFd SocketStore::take(const std::string& name) {
  auto node = have_.extract(name);
  return node ? std::move(node.mapped()) : UniqueFd();
}

Result<UniqueFd> SocketStore::acquire(const std::string& name, const std::function<Result<UniqueFd>()>& open) {
  held_.erase(name);  // an earlier one of that name must not stand in the way of the new one
  UniqueFd fd = take(name);
  if (!fd) {
    auto opened = open();
    if (!opened) return fail_in(name, opened.error());
    fd = std::move(*opened);
  }
  keep(name, fd.get());
  return fd;
}

void SocketStore::keep(const std::string& name, int fd) {
  held_.erase(name);
  if (fd < 0) return;
  if (UniqueFd twin(fcntl(fd, F_DUPFD_CLOEXEC, 3)); twin) held_[name] = std::move(twin);
}

std::vector<std::pair<std::string, int>> SocketStore::held() const {
  std::vector<std::pair<std::string, int>> out;
  for (const auto& [name, fd] : held_) out.push_back({name, fd.get()});
  return out;
}

}  // namespace base
