#include "base/net/deny_list.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/core/file.h"
#include "base/net/x509_ptr.h"

namespace base {
namespace {

using Json = nlohmann::json;
constexpr int64_t kIssuedMax = 253402300799;  // year 9999

bool signed_by(X509* ca, std::string_view body, ByteView signature) {
  std::string message = std::string(kDenyListContext) + std::string(body);
  bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(ca));
  bssl::ScopedEVP_MD_CTX ctx;
  bool ok = key && EVP_DigestVerifyInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key.get()) &&
            EVP_DigestVerify(ctx.get(), signature.data(), signature.size(), reinterpret_cast<const uint8_t*>(message.data()), message.size());
  ERR_clear_error();
  return ok;
}

// Only a root may deny: an intermediate that leaks must not be able to cut nodes off.
bool signed_by_a_root(const std::vector<ByteVec>& ca_certs, std::string_view body, ByteView signature) {
  for (auto& der : ca_certs) {
    auto x = x509_from_der(der);
    if (!x || X509_NAME_cmp(X509_get_subject_name(x.get()), X509_get_issuer_name(x.get())) != 0) continue;
    if (signed_by(x.get(), body, signature)) return true;
  }
  return false;
}

const std::string* text_at(const Json& j, const char* key) {
  auto it = j.find(key);
  return it != j.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

Result<uint64_t> number_at(const Json& j, const char* key) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_number_unsigned()) return fail(Code::invalid, "deny list has no \"{}\"", key);
  return it->get<uint64_t>();
}

Result<std::vector<std::string>> texts_at(const Json& j, const char* key) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_array()) return fail(Code::invalid, "deny list has no \"{}\"", key);
  std::vector<std::string> out;
  for (auto& e : *it) {
    if (!e.is_string()) return fail(Code::invalid, "deny list: \"{}\" holds something that is not text", key);
    out.push_back(e.get<std::string>());
  }
  return out;
}

}  // namespace

Result<DenyList> DenyList::verify(std::string_view text, const std::vector<ByteVec>& ca_certs, std::string_view trust_domain) {
  if (text.size() > kDenyListBytesMax) return fail(Code::limit, "deny list is larger than {} bytes", kDenyListBytesMax);
  Json envelope = Json::parse(text, nullptr, false);
  if (!envelope.is_object()) return fail(Code::invalid, "deny list is not JSON");
  const std::string *body = text_at(envelope, "body"), *sig = text_at(envelope, "signature");
  auto signature = sig ? from_base64(*sig) : std::nullopt;
  if (!body || !signature) return fail(Code::invalid, "deny list has no body or no signature");
  if (!signed_by_a_root(ca_certs, *body, *signature))
    return fail(Code::denied, "deny list is not signed by this mesh's CA; fetch the deny.json of the CA folder");
  Json j = Json::parse(*body, nullptr, false);
  if (!j.is_object()) return fail(Code::invalid, "deny list's body is not JSON");
  EM_TRY_ASSIGN(uint64_t version, number_at(j, "version"));
  if (version != 1) return fail(Code::unsupported, "deny list has version {}; this program reads 1", version);
  const std::string* domain = text_at(j, "trustDomain");
  if (!domain || *domain != trust_domain) return fail(Code::denied, "deny list is of another trust domain than \"{}\"", trust_domain);
  DenyList out;
  EM_TRY_ASSIGN(out.number_, number_at(j, "number"));
  if (auto at = j.find("issued"); at != j.end() && at->is_number_integer()) out.issued_ = WallTime{std::clamp<int64_t>(at->get<int64_t>(), 0, kIssuedMax)};
  EM_TRY_ASSIGN(auto keys, texts_at(j, "keys"));
  EM_TRY_ASSIGN(auto names, texts_at(j, "names"));
  for (auto& k : keys) {
    auto raw = from_hex(k);
    if (!raw || raw->size() != 32) return fail(Code::invalid, "deny list: \"{}\" is not a SHA-256", k.substr(0, 80));
    Sha256 h;
    std::copy(raw->begin(), raw->end(), h.begin());
    out.keys_.insert(h);
  }
  out.names_.insert(names.begin(), names.end());
  out.text_ = std::string(text);
  return out;
}

Result<DenyList> DenyList::load(const std::string& path, const std::vector<ByteVec>& ca_certs, std::string_view trust_domain) {
  auto text = read_file(path, kDenyListBytesMax);
  if (!text && text.error().code == Code::not_found) return DenyList{};
  if (!text) return tl::unexpected(text.error());
  auto list = verify(*text, ca_certs, trust_domain);
  if (!list) return fail_in(path, list.error());
  return list;
}

bool DenyList::is_denied(const NodeIdentity& id) const { return keys_.contains(id.spki_sha256) || names_.contains(id.name); }

Result<bool> DenyList::replace_with(DenyList newer) {
  if (newer.number_ < number_) return fail(Code::denied, "deny list {} is older than {}, which is held; it is ignored", newer.number_, number_);
  if (newer.number_ == number_) return false;
  *this = std::move(newer);
  return true;
}

}  // namespace base
