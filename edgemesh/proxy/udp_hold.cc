#include "edgemesh/proxy/udp_hold.h"

#include <numeric>
#include <utility>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/net/socket.h"

namespace edgemesh {

using base::ByteVec;
using base::ByteView;
using base::IpAddr;
using base::IpPort;
using base::load_be16;
using base::load_be32;
using base::store_be16;
using base::store_be32;

static constexpr size_t kFlowsMax = 1024;
static constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;

std::optional<InnerPacket> parse_inner(ByteView p) {
  if (p.size() < 20) return {};
  InnerPacket x;
  size_t transport;
  if (p[0] >> 4 == 4) {
    transport = size_t(p[0] & 15) * 4;
    if (transport < 20 || load_be16(&p[2]) > p.size()) return {};
    x.protocol = p[9];
    x.first_fragment = (load_be16(&p[6]) & 0x1fff) == 0;
    x.from.ip = IpAddr::v4(&p[12]);
    x.to.ip = IpAddr::v4(&p[16]);
  } else if (p[0] >> 4 == 6 && p.size() >= 40) {
    transport = 40;  // extension headers: not ours, the packet is then of no known protocol
    x.protocol = p[6];
    x.from.ip = IpAddr::v6(&p[8]);
    x.to.ip = IpAddr::v6(&p[24]);
  } else {
    return {};
  }
  if (x.first_fragment && (x.protocol == kTcp || x.protocol == kUdp)) {
    if (p.size() < transport + 8) return {};
    x.from.port = load_be16(&p[transport]);
    x.to.port = load_be16(&p[transport + 2]);
  }
  return x;
}

// ---- answers to packets nobody takes

static uint32_t add_words(uint32_t sum, ByteView b) {
  for (size_t i = 0; i + 1 < b.size(); i += 2) sum += load_be16(&b[i]);
  if (b.size() % 2) sum += uint32_t(b.back()) << 8;
  return sum;
}
static uint16_t finish(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return uint16_t(~sum);
}

static ByteVec ip_header(const IpAddr& from, const IpAddr& to, uint8_t protocol, size_t payload) {
  ByteVec h(from.is_v4() ? 20 : 40);
  if (from.is_v4()) {
    h[0] = 0x45;
    store_be16(&h[2], uint16_t(20 + payload));
    h[8] = 64;
    h[9] = protocol;
    std::copy(from.bytes().begin(), from.bytes().end(), &h[12]);
    std::copy(to.bytes().begin(), to.bytes().end(), &h[16]);
    store_be16(&h[10], finish(add_words(0, h)));
  } else {
    h[0] = 0x60;
    store_be16(&h[4], uint16_t(payload));
    h[6] = protocol;
    h[7] = 64;
    std::copy(from.bytes().begin(), from.bytes().end(), &h[8]);
    std::copy(to.bytes().begin(), to.bytes().end(), &h[24]);
  }
  return h;
}

static uint32_t pseudo_header_sum(const IpAddr& from, const IpAddr& to, uint8_t protocol, size_t length) {
  return add_words(add_words(uint32_t(protocol) + uint32_t(length), from.bytes()), to.bytes());
}

static ByteVec make_reset(ByteView p, const InnerPacket& x) {
  size_t at = x.from.ip.is_v4() ? size_t(p[0] & 15) * 4 : 40;
  if (p.size() < at + 20 || p[at + 13] & 0x04) return {};  // never a reset for a reset (RFC 9293 §3.10.7.1)
  const uint8_t* tcp = &p[at];
  size_t data_offset = size_t(tcp[12] >> 4) * 4;
  if (data_offset < 20 || p.size() < at + data_offset) return {};
  uint32_t consumed = uint32_t(p.size() - at - data_offset) + (tcp[13] & 0x02 ? 1 : 0) + (tcp[13] & 0x01 ? 1 : 0);
  ByteVec r(20);
  store_be16(&r[0], x.to.port);
  store_be16(&r[2], x.from.port);
  r[12] = 5 << 4;
  if (tcp[13] & 0x10) {  // had ACK: the reset takes its sequence number from there
    std::copy(tcp + 8, tcp + 12, &r[4]);
    r[13] = 0x04;
  } else {
    store_be32(&r[8], load_be32(tcp + 4) + consumed);
    r[13] = 0x14;
  }
  store_be16(&r[16], finish(add_words(pseudo_header_sum(x.to.ip, x.from.ip, kTcp, 20), r)));
  ByteVec out = ip_header(x.to.ip, x.from.ip, kTcp, r.size());
  out.insert(out.end(), r.begin(), r.end());
  return out;
}

ByteVec make_unreachable(ByteView p, const InnerPacket& x) {
  if (!x.first_fragment || x.protocol == kIcmp || x.protocol == kIcmp6) return {};
  if (x.protocol == kTcp) return make_reset(p, x);
  bool v4 = x.from.ip.is_v4();
  size_t quoted = std::min<size_t>(p.size(), v4 ? 548 : 1232);  // RFC 1812 §4.3.2.3, RFC 4443 §2.4
  ByteVec icmp(8);
  icmp[0] = v4 ? 3 : 1;
  icmp[1] = v4 ? 3 : 4;  // port unreachable
  icmp.insert(icmp.end(), p.begin(), p.begin() + long(quoted));
  uint32_t sum = v4 ? 0 : pseudo_header_sum(x.to.ip, x.from.ip, kIcmp6, icmp.size());
  store_be16(&icmp[2], finish(add_words(sum, icmp)));
  ByteVec out = ip_header(x.to.ip, x.from.ip, v4 ? kIcmp : kIcmp6, icmp.size());
  out.insert(out.end(), icmp.begin(), icmp.end());
  return out;
}

// ---- holding

UdpHold::UdpHold(Hooks hooks, base::Loop& loop, base::Metrics& m)
    : hooks_(std::move(hooks)),
      loop_(loop),
      expire_timer_(loop.timer([this] { expire(); })),
      held_(m.counter("edgemeshd_udp_held_total", "Datagrams held while an export was asked for.")),
      released_(m.counter("edgemeshd_udp_released_total", "Held datagrams sent on.")),
      dropped_(m.counter("edgemeshd_udp_hold_dropped_total", "Held datagrams dropped: too many or too old.")) {
  for (auto [family, fd] : {std::pair{base::Family::v4, &raw4_}, {base::Family::v6, &raw6_}}) {
    auto raw = base::raw_ip_socket(family);
    if (raw) *fd = std::move(*raw);
    else EM_LOG(error, "proxy", "{}: first datagrams to remote UDP services will be lost", raw.error().what);
  }
}

void UdpHold::on_stray(ByteVec packet) {
  auto x = parse_inner(packet);
  if (!x) return;
  FrontendKey key{x->to.ip, base::Proto(x->protocol), x->to.port};
  if (x->protocol != kUdp || !hooks_.wanted(key)) {
    if (hooks_.awaited(key)) return dropped_.add();
    if (auto answer = make_unreachable(packet, *x); !answer.empty()) hooks_.write_tun(answer);
    return;
  }
  if (flows_.size() >= kFlowsMax && !flows_.count({x->from, x->to})) return dropped_.add();
  Flow& flow = flows_[{x->from, x->to}];
  if (flow.packets.empty()) flow.since = loop_.now();
  if (flow.packets.size() >= base::limits::kHeldDatagramsPerFlowMax) {
    dropped_.add();
    flow.packets.pop_front();
  }
  flow.packets.push_back(std::move(packet));
  held_.add();
  if (!expire_timer_->armed()) expire_timer_->arm(base::limits::kHeldDatagramAgeMax);
}

void UdpHold::on_ready(const FrontendKey& key) {
  for (auto it = flows_.begin(); it != flows_.end();) {
    const auto& [client, frontend] = it->first;
    if (frontend.port != key.port || (!key.node_port && frontend.ip != key.ip)) {
      ++it;
      continue;
    }
    reinject(client, frontend, it->second);
    it = flows_.erase(it);
  }
}

void UdpHold::reinject(const IpPort& client, const IpPort& frontend, Flow& flow) {
  hooks_.forget_flow(client, frontend);  // its entry was made without a translation
  int raw = (frontend.ip.is_v4() ? raw4_ : raw6_).get();
  for (const ByteVec& p : flow.packets) (base::send_raw_ip(raw, frontend.ip, p) ? released_ : dropped_).add();
}

void UdpHold::expire() {
  for (auto it = flows_.begin(); it != flows_.end();) {
    if (loop_.now() - it->second.since < base::limits::kHeldDatagramAgeMax) {
      ++it;
      continue;
    }
    dropped_.add(it->second.packets.size());
    it = flows_.erase(it);
  }
  if (!flows_.empty()) expire_timer_->arm(std::chrono::milliseconds(200));
}

size_t UdpHold::held() const {
  return std::accumulate(flows_.begin(), flows_.end(), size_t(0), [](size_t n, const auto& f) { return n + f.second.packets.size(); });
}

}  // namespace edgemesh
