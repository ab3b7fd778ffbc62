#include "cloud/ca/address_plan.h"

#include <algorithm>

#include "base/net/node_cert.h"

namespace cloud {
namespace {

using base::Cidr;
using base::Code;
using base::IpAddr;

constexpr int kAttemptsMax = 100'000;  // a /10 that is half full needs two on average

bool is_reserved4(const IpAddr& a) {
  static const Cidr kServices = *Cidr::parse("100.64.0.0/24"), kResolvers = *Cidr::parse("100.100.0.0/16");
  uint8_t last = uint8_t(a.v4_host_order());
  return kServices.contains(a) || kResolvers.contains(a) || last == 0 || last == 255;
}

base::Sha256 hash_of(std::string_view what, std::string_view name, int attempt) {
  return base::sha256(base::as_bytes(fmt::format("edgemesh {} {} {}", what, name, attempt)));
}

IpAddr with_host_bits(const Cidr& range, const base::Sha256& h) {
  std::array<uint8_t, 16> b{};
  auto net = range.ip.bytes();
  for (size_t i = 0; i < net.size(); i++) {
    int keep = std::clamp(int(range.len) - int(i) * 8, 0, 8);  // network bits in this byte
    uint8_t mask = uint8_t(0xff00 >> keep);
    b[i] = uint8_t((net[i] & mask) | (h[i] & ~mask));
  }
  return range.ip.is_v4() ? IpAddr::v4(b.data()) : IpAddr::v6(b.data());
}

base::Result<IpAddr> pick(const Cidr& range, std::string_view what, std::string_view node, const std::function<bool(const IpAddr&)>& refuse) {
  for (int i = 0; i < kAttemptsMax; i++) {
    IpAddr a = with_host_bits(range, hash_of(what, node, i));
    if (!refuse(a)) return a;
  }
  return base::fail(Code::limit, "no free address for node {} in {}; start a CA with a larger --overlay range", node, range.str());
}

}  // namespace

Cidr default_overlay4() { return *Cidr::parse("100.64.0.0/10"); }

Cidr overlay6_of(std::string_view trust_domain) {
  auto h = hash_of("ula", trust_domain, 0);
  uint8_t b[16] = {0xfd, h[0], h[1], h[2], h[3], h[4]};
  return {IpAddr::v6(b), 64};
}

base::Result<void> check_overlay_address(const IpAddr& a, const Cidr& overlay4, const Cidr& overlay6) {
  const Cidr& range = a.is_v4() ? overlay4 : overlay6;
  if (!range.contains(a))
    return base::fail(Code::invalid, "overlay address {} is outside this mesh's range {}; choose one inside or leave it out", a.str(), range.str());
  bool reserved = a.is_v4() ? is_reserved4(a) : a == overlay6.ip;
  if (reserved) return base::fail(Code::invalid, "overlay address {} is reserved; choose another or leave it out", a.str());
  return {};
}

base::Result<IpAddr> pick_overlay4(const Cidr& range, std::string_view node, const IsTaken& taken) {
  return pick(range, "v4", node, [&](const IpAddr& a) { return is_reserved4(a) || taken(a); });
}

base::Result<IpAddr> pick_overlay6(const Cidr& range, std::string_view node, const IsTaken& taken) {
  return pick(range, "v6", node, [&](const IpAddr& a) { return a == range.ip || taken(a); });
}

}  // namespace cloud
