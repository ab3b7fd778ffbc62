#include "tunnel/stun/nat_class.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace tunnel {

const char* to_string(NatMapping m) {
  static constexpr const char* kNames[] = {"unknown", "none", "endpoint-independent", "address-dependent", "address-and-port-dependent"};
  return kNames[size_t(m)];
}

std::string NatClass::str() const {
  std::string s = to_string(mapping);
  if (keeps_port && mapping != NatMapping::none) s += ", port kept";
  if (delta) s += fmt::format(", ports {:+}", delta);
  return s;
}

int port_step(const std::vector<uint16_t>& ports) {
  int step = 0;
  for (size_t i = 1; i < ports.size(); i++) {
    int d = int(ports[i]) - int(ports[i - 1]);
    if (d == 0 || std::abs(d) > kNatDeltaMax || (step && (d < 0) != (step < 0))) return 0;
    if (!step || std::abs(d) < std::abs(step)) step = d;  // others took ports in between: the smallest is the nearest to the truth
  }
  return step;
}

NatClass classify_nat(const std::vector<NatSample>& all, const std::vector<base::IpPort>& own) {
  std::vector<NatSample> v4;
  for (const auto& s : all)
    if (s.server.ip.is_v4() && s.mapped.ip.is_v4()) v4.push_back(s);
  NatClass c;
  if (v4.empty()) return c;
  uint16_t port = own.empty() ? 0 : own.front().port;
  auto same = [&](auto what) { return std::all_of(v4.begin(), v4.end(), what); };
  c.keeps_port = port && same([&](const auto& s) { return s.mapped.port == port; });
  if (same([&](const auto& s) { return std::find(own.begin(), own.end(), s.mapped) != own.end(); })) return c.mapping = NatMapping::none, c;
  if (v4.size() < 2) return c;
  if (same([&](const auto& s) { return s.mapped == v4[0].mapped; })) return c.mapping = NatMapping::independent, c;
  bool by_address = false, by_port = false;
  for (const auto& a : v4)
    for (const auto& b : v4) {
      if (a.server == b.server || a.server.ip != b.server.ip) continue;
      (a.mapped == b.mapped ? by_address : by_port) = true;
    }
  c.mapping = by_address && !by_port ? NatMapping::address : NatMapping::endpoint;
  std::vector<uint16_t> ports;
  for (const auto& s : v4) ports.push_back(s.mapped.port);
  if (c.mapping == NatMapping::endpoint) c.delta = port_step(ports);
  return c;
}

}  // namespace tunnel
