// The deny list. The first byte chooses: the input is a whole list (then it is never accepted: nobody signed it), or the body of
// one that our root signed. What is accepted reads the same again, is refused when a byte of it changes, and never gives way to
// an older one.
#include <nlohmann/json.hpp>

#include "base/core/assert.h"
#include "base/net/deny_list.h"
#include "base/sim/test_ca.h"

namespace {

using base::DenyList;
using Json = nlohmann::json;

constexpr std::string_view kDomain = "mesh.test";

struct Keys {
  base::TestAuthority root{"root"}, other{"other"};
  base::TestAuthority middle = root.intermediate(base::kNodeCaUnit);
  std::vector<base::ByteVec> ca = base::certificates_from_pem(root.pem() + middle.pem(), "ca").value();
};
const Keys& keys() {
  static const Keys k;
  return k;
}

std::string envelope(const base::TestAuthority& by, const std::string& body, std::string_view signed_body) {
  base::ByteVec signature = by.sign(std::string(base::kDenyListContext) + std::string(signed_body));
  return Json{{"body", body}, {"signature", base::to_base64(signature)}}.dump();
}
std::string envelope(const base::TestAuthority& by, const std::string& body) { return envelope(by, body, body); }

void check_accepted(const DenyList& list, const std::string& body) {
  auto again = DenyList::verify(list.text(), keys().ca, kDomain);
  EM_ASSERT(again && again->number() == list.number() && again->keys() == list.keys() && again->names() == list.names());
  for (auto& name : list.names()) EM_ASSERT(list.is_name_denied(name));
  for (auto& key : list.keys()) {
    base::NodeIdentity id;
    id.spki_sha256 = key;
    EM_ASSERT(list.is_denied(id));
  }
  EM_ASSERT(!DenyList::verify(list.text(), keys().ca, "other.test"));
  EM_ASSERT(!DenyList::verify(envelope(keys().root, body + " ", body), keys().ca, kDomain));
  EM_ASSERT(!DenyList::verify(envelope(keys().other, body), keys().ca, kDomain));
  EM_ASSERT(!DenyList::verify(envelope(keys().middle, body), keys().ca, kDomain));  // only a root may deny
  DenyList held;
  EM_ASSERT(held.replace_with(list).value() == (list.number() > 0));
  DenyList older;
  EM_ASSERT(list.number() == 0 || !held.replace_with(std::move(older)));
  EM_ASSERT(held.number() == list.number());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] & 1) {
    EM_ASSERT(!DenyList::verify(text, keys().ca, kDomain));
    return 0;
  }
  // JSON text is UTF-8: the body is what survives of the input.
  std::string body = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
  auto list = DenyList::verify(envelope(keys().root, body), keys().ca, kDomain);
  if (list) check_accepted(*list, body);
  return 0;
}
