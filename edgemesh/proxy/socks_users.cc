#include "edgemesh/proxy/socks_users.h"

#include <openssl/mem.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include "base/core/bytes.h"
#include "base/core/file.h"

namespace edgemesh {
namespace {
constexpr size_t kFileBytesMax = 256 << 10, kUsersMax = 1024, kTextMax = 255;  // the last is RFC 1929's
}

SocksUsers::Hash SocksUsers::hash_of(std::string_view s) {
  Hash h;
  SHA256(reinterpret_cast<const uint8_t*>(s.data()), s.size(), h.data());
  return h;
}

base::Result<SocksUsers> SocksUsers::read(const std::string& path) {
  EM_TRY_ASSIGN(std::string text, base::read_file(path, kFileBytesMax));
  struct stat st{};
  if (::stat(path.c_str(), &st) == 0 && (st.st_mode & 077))
    return base::fail(base::Code::denied, "{}: others may read these passwords: chmod 0600 {}", path, path);
  auto users = parse(text, path);
  base::secure_zero(text.data(), text.size());
  return users;
}

base::Result<SocksUsers> SocksUsers::parse(std::string_view text, std::string_view file) {
  SocksUsers out;
  for (size_t at = 0, line = 1; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view s = text.substr(at, end - at);
    at = end + 1;
    if (!s.empty() && s.back() == '\r') s.remove_suffix(1);
    if (s.empty() || s[0] == '#') continue;
    const size_t colon = s.find(':');
    if (colon == s.npos || colon == 0 || colon + 1 == s.size())
      return base::fail(base::Code::invalid, "{}:{}: is not <name>:<password>", file, line);
    if (colon > kTextMax || s.size() - colon - 1 > kTextMax)
      return base::fail(base::Code::invalid, "{}:{}: a name and a password have at most {} bytes each", file, line, kTextMax);
    if (!out.users_.try_emplace(std::string(s.substr(0, colon)), hash_of(s.substr(colon + 1))).second)
      return base::fail(base::Code::invalid, "{}:{}: \"{}\" is there twice", file, line, s.substr(0, colon));
    if (out.users_.size() > kUsersMax) return base::fail(base::Code::limit, "{}:{}: more than {} users", file, line, kUsersMax);
  }
  if (out.users_.empty()) return base::fail(base::Code::invalid, "{}: has no users: write lines of <name>:<password>", file);
  return out;
}

bool SocksUsers::admits(std::string_view name, std::string_view password) const {
  const Hash given = hash_of(password);
  static const Hash kNobody{};
  auto it = users_.find(name);
  const Hash& right = it == users_.end() ? kNobody : it->second;
  return CRYPTO_memcmp(given.data(), right.data(), given.size()) == 0 && it != users_.end();
}

}  // namespace edgemesh
