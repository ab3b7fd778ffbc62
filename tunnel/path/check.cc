#include "tunnel/path/check.h"

#include <algorithm>

namespace tunnel {
namespace {

void put_address(base::Writer& w, const base::IpPort& a) {
  uint8_t bytes[16] = {};
  auto b = a.ip.bytes();
  std::copy(b.begin(), b.end(), bytes);
  w.u8(a.ip.is_v4() ? 4 : 6);
  w.put(bytes);
  w.u16(a.port);
}

base::IpPort take_address(base::Reader& r) {
  uint8_t family = r.u8();
  auto b = r.take(16);
  uint16_t port = r.u16();
  if (!r.ok()) return {};
  return {family == 4 ? base::IpAddr::v4(b.data()) : base::IpAddr::v6(b.data()), port};
}

}  // namespace

base::ByteVec encode(const Check& c, size_t bytes) {
  base::ByteVec out;
  base::Writer w(out);
  w.u64(c.txid);
  w.u32(c.path);
  out.resize(std::max(bytes, kCheckBytes));
  return out;
}

base::ByteVec encode(const CheckAck& a) {
  base::ByteVec out;
  base::Writer w(out);
  w.u64(a.txid);
  w.u32(a.path);
  put_address(w, a.observed);
  w.u16(a.size);
  w.u32(a.ce);
  w.u64(a.data_packets);
  size_t n = std::min(a.lanes.size(), kFeedbackLanesMax);
  w.u8(uint8_t(n));
  for (size_t i = 0; i < n; i++) {
    w.u8(a.lanes[i].lane);
    w.u64(a.lanes[i].highest);
    w.u64(a.lanes[i].count);
  }
  return out;
}

std::optional<Check> decode_check(base::ByteView b) {
  base::Reader r(b);
  Check c;
  c.txid = r.u64();
  c.path = r.u32();
  if (!r.ok() || b.size() < kCheckBytes) return std::nullopt;
  return c;
}

std::optional<CheckAck> decode_check_ack(base::ByteView b) {
  base::Reader r(b);
  CheckAck a;
  a.txid = r.u64();
  a.path = r.u32();
  a.observed = take_address(r);
  a.size = r.u16();
  a.ce = r.u32();
  a.data_packets = r.u64();
  for (int n = r.u8(); n > 0 && r.ok(); n--) {
    LaneFeedback lane{r.u8(), 0, 0};
    lane.highest = r.u64();
    lane.count = r.u64();
    if (a.lanes.size() < kFeedbackLanesMax) a.lanes.push_back(lane);
  }
  if (!r.ok()) return std::nullopt;
  return a;
}

}  // namespace tunnel
