// SocksUsers: who may use the SOCKS5 proxy: a file of lines `name:password`, blank lines and lines that begin with # left out,
// readable by its owner only. Passwords are compared as hashes, in the same time whether right or wrong.
#pragma once
#include <array>
#include <map>
#include <string>
#include <string_view>

#include "base/core/result.h"

namespace edgemesh {

class SocksUsers {
 public:
  static base::Result<SocksUsers> read(const std::string& path);
  static base::Result<SocksUsers> parse(std::string_view text, std::string_view file);
  bool admits(std::string_view name, std::string_view password) const;
  size_t size() const { return users_.size(); }

 private:
  using Hash = std::array<uint8_t, 32>;
  static Hash hash_of(std::string_view);
  std::map<std::string, Hash, std::less<>> users_;
};

}  // namespace edgemesh
