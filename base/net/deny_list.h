// The CA-signed, numbered list of denied nodes: public key hashes and names. Verified here, written by cloud/ca. A node keeps
// the newest it has seen on disk and passes it on; a list with a lower number than the one held is refused, so a peer cannot
// bring a denied node back. Layout: docs/reference/certificates.md.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/net/node_cert.h"

namespace base {

inline constexpr size_t kDenyListBytesMax = 1 << 20;
inline constexpr std::string_view kDenyListContext = "edgemesh deny list 1\n";  // goes before the body under the signature

class DenyList {
 public:
  DenyList() = default;  // number 0: nobody is denied, any signed list is newer
  // Signature by a root among ca_certs, trust domain equal to the one given.
  static Result<DenyList> verify(std::string_view text, const std::vector<ByteVec>& ca_certs, std::string_view trust_domain);
  // No file is the empty list; anything else that is wrong is an error that names the file.
  static Result<DenyList> load(const std::string& path, const std::vector<ByteVec>& ca_certs, std::string_view trust_domain);

  uint64_t number() const { return number_; }
  std::optional<WallTime> issued() const { return issued_; }  // by the CA's clock; older CAs did not say
  bool is_denied(const NodeIdentity&) const;
  bool is_name_denied(std::string_view name) const { return names_.contains(name); }
  const std::set<Sha256>& keys() const { return keys_; }
  const std::set<std::string, std::less<>>& names() const { return names_; }
  const std::string& text() const { return text_; }  // as received, to be kept and passed on

  // True: newer was newer and is now held. False: the same number. Code::denied: an older one.
  Result<bool> replace_with(DenyList newer);

 private:
  uint64_t number_ = 0;
  std::optional<WallTime> issued_;
  std::set<Sha256> keys_;
  std::set<std::string, std::less<>> names_;
  std::string text_;
};

}  // namespace base
