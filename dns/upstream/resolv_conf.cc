#include "dns/upstream/resolv_conf.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>

namespace dns {

static constexpr size_t kServersMax = 8;
static constexpr size_t kFileBytesMax = 64 << 10;

static std::string_view next_word(std::string_view& line) {
  size_t from = line.find_first_not_of(" \t\r");
  if (from == line.npos) return line = {};
  line.remove_prefix(from);
  std::string_view word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

std::vector<base::IpPort> parse_resolv_conf(std::string_view text) {
  std::vector<base::IpPort> out;
  while (!text.empty() && out.size() < kServersMax) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (next_word(line) != "nameserver") continue;
    auto ip = base::IpAddr::parse(next_word(line));
    base::IpPort server{ip.value_or(base::IpAddr()), 53};
    if (ip && std::find(out.begin(), out.end(), server) == out.end()) out.push_back(server);
  }
  return out;
}

bool ResolvConf::changed() {
  struct stat st {};
  Stamp now;
  if (::stat(path_.c_str(), &st) == 0) now = {st.st_ino, uint64_t(st.st_size), st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec};
  bool differs = !read_once_ || now != seen_;
  seen_ = now;
  read_once_ = true;
  return differs;
}

std::vector<base::IpPort> ResolvConf::read() const {
  std::ifstream in(path_, std::ios::binary);
  std::string text(kFileBytesMax, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(std::max<std::streamsize>(0, in.gcount())));
  return parse_resolv_conf(text);
}

}  // namespace dns
