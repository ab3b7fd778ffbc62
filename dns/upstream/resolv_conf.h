// The resolver configuration of the host, resolv.conf(5): its nameserver lines, nothing else. Pure but for reading the file.
#pragma once
#include <string>
#include <vector>

#include "base/net/addr.h"

namespace dns {

// At most 8 servers, duplicates dropped; lines that are not understood are skipped, as the C library does.
std::vector<base::IpPort> parse_resolv_conf(std::string_view text);

// Follows one file: changed() is true when it became another one since the last read (and at first).
class ResolvConf {
 public:
  explicit ResolvConf(std::string path) : path_(std::move(path)) {}
  bool changed();
  std::vector<base::IpPort> read() const;  // empty when there is none
  const std::string& path() const { return path_; }

 private:
  struct Stamp {
    uint64_t inode = 0, size = 0;
    int64_t mtime_ns = -1;
    bool operator==(const Stamp&) const = default;
  };
  std::string path_;
  Stamp seen_;
  bool read_once_ = false;
};

}  // namespace dns
