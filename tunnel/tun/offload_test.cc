// Segmenter and Coalescer against each other and against a checksum routine of the test's own.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/core/rng.h"
#include "tunnel/tun/coalesce.h"
#include "tunnel/tun/segment.h"

namespace tunnel {
namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kPsh = 8, kAck = 0x10, kEce = 0x40, kCwr = 0x80;

uint32_t sum16(const uint8_t* p, size_t n) {  // straight from RFC 1071, byte by byte
  uint32_t s = 0;
  for (size_t i = 0; i < n; ++i) s += i % 2 ? p[i] : p[i] << 8;
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return s;
}

struct Spec {
  bool v6 = false;
  size_t payload = 0;
  uint8_t flags = kAck, tos = 0, ttl = 64;
  bool df = true;
  uint16_t id = 100, sport = 1000;
  uint32_t seq = 0xfffffff0;  // wraps within the first segments
  size_t options = 12;
  uint8_t proto = kProtoTcp;
};

base::ByteVec make(const Spec& s) {
  size_t ip_bytes = s.v6 ? 40 : 20, l4 = s.proto == kProtoTcp ? 20 + s.options : 8;
  base::ByteVec p(ip_bytes + l4 + s.payload);
  if (s.v6) {
    p[0] = uint8_t(0x60 | s.tos >> 4), p[1] = uint8_t(s.tos << 4), p[6] = s.proto, p[7] = s.ttl, p[8] = 0xfd, p[23] = 1, p[24] = 0xfd, p[39] = 2;
    base::store_be16(&p[4], uint16_t(p.size() - 40));
  } else {
    p[0] = 0x45, p[1] = s.tos, p[6] = s.df ? 0x40 : 0, p[8] = s.ttl, p[9] = s.proto, p[12] = 100, p[15] = 1, p[16] = 100, p[19] = 2;
    base::store_be16(&p[2], uint16_t(p.size()));
    base::store_be16(&p[4], s.id);
    set_ipv4_checksum(p.data());
  }
  uint8_t* t = &p[ip_bytes];
  base::store_be16(t, s.sport);
  base::store_be16(t + 2, 80);
  if (s.proto == kProtoTcp) {
    base::store_be32(t + 4, s.seq);
    base::store_be32(t + 8, 77);
    t[12] = uint8_t((20 + s.options) / 4 << 4), t[13] = s.flags, t[15] = 200;
    for (size_t i = 0; i < s.options; ++i) t[20 + i] = 1;
  } else {
    base::store_be16(t + 4, uint16_t(8 + s.payload));
  }
  for (size_t i = 0; i < s.payload; ++i) p[ip_bytes + l4 + i] = uint8_t(i * 7 + i / 251);
  return p;
}

uint32_t pseudo(const base::ByteVec& p, bool v6, uint8_t proto) {
  uint8_t b[40] = {};
  size_t a = v6 ? 32 : 8;
  memcpy(b, &p[v6 ? 8 : 12], a);
  b[a + 1] = proto;
  base::store_be16(b + a + 2, uint16_t(p.size() - (v6 ? 40 : 20)));
  return sum16(b, a + 4);
}

void expect_partial(const base::ByteVec& p, bool v6, uint8_t proto) {
  size_t at = (v6 ? 40 : 20) + size_t(proto == kProtoTcp ? 16 : 6);
  EXPECT_EQ(base::load_be16(&p[at]), pseudo(p, v6, proto));
  if (!v6) EXPECT_EQ(sum16(p.data(), 20), 0xffffu);
}

base::ByteVec with_full_checksum(base::ByteVec p, bool v6, uint8_t proto) {
  size_t l4 = v6 ? 40 : 20, at = l4 + (proto == kProtoTcp ? 16 : 6);
  base::store_be16(&p[at], 0);
  uint32_t s = sum16(&p[l4], p.size() - l4) + pseudo(p, v6, proto);
  base::store_be16(&p[at], uint16_t(~((s & 0xffff) + (s >> 16))));
  return p;
}

VnetHeader vnet(const Spec& s, uint16_t gso) {
  VnetHeader v;
  v.flags = VnetHeader::kNeedsChecksum;
  v.gso_type = s.proto == kProtoUdp ? VnetHeader::kUdp : s.v6 ? VnetHeader::kTcp6 : VnetHeader::kTcp4;
  v.gso_size = gso;
  v.checksum_start = s.v6 ? 40 : 20;
  v.checksum_offset = checksum_offset(s.proto);
  return v;
}

std::vector<base::ByteVec> split(const VnetHeader& v, base::ByteVec p) {
  Segmenter seg;
  std::vector<base::ByteVec> out;
  if (!seg.begin(v, p)) return out;
  while (size_t n = seg.next_bytes()) seg.write(out.emplace_back(n).data());
  EXPECT_TRUE(seg.begin(v, p));
  for (const auto& want : out) {  // the same again, in place
    size_t n = seg.next_bytes();
    const uint8_t* got = seg.next();
    EXPECT_EQ(base::ByteVec(got, got + n), want);
  }
  EXPECT_EQ(seg.next_bytes(), 0u);
  return out;
}

struct Written {
  VnetHeader v;
  base::ByteVec packet;
};

struct Joiner {
  explicit Joiner(Coalescer::Options o = {.udp = true}) : options(o) { keep.reserve(1000); }
  Coalescer::Options options;
  std::vector<Written> out;
  std::vector<base::ByteVec> keep;
  Coalescer c{[this](iovec* parts, size_t n) {
    Written w;
    ASSERT_EQ(parts[0].iov_len, kVnetBytes);
    memcpy(&w.v, parts[0].iov_base, kVnetBytes);
    for (size_t i = 1; i < n; ++i) {
      auto* b = static_cast<uint8_t*>(parts[i].iov_base);
      w.packet.insert(w.packet.end(), b, b + parts[i].iov_len);
    }
    out.push_back(std::move(w));
  }, options};
  void add(base::ByteVec p, bool partial = true) {
    keep.push_back(std::move(p));
    auto ip = parse_ip(keep.back());
    ASSERT_TRUE(ip);
    c.add(keep.back(), *ip, partial);
  }
  std::vector<Written>& done() { return c.flush(), out; }
};

TEST(Offload, TcpRoundTripAtManySizes) {
  for (bool v6 : {false, true})
    for (size_t payload : {1u, 2u, 999u, 1000u, 1001u, 2000u, 2001u, 3999u, 60000u})
      for (uint16_t gso : {20, 1000, 1001, 1368}) {
        if (payload / gso > 60) continue;
        Spec s{.v6 = v6, .payload = payload, .flags = kAck | kPsh};
        auto whole = make(s);
        auto parts = split(vnet(s, gso), whole);
        ASSERT_EQ(parts.size(), (payload + gso - 1) / gso);
        Joiner j;
        uint32_t seq = s.seq;
        for (size_t i = 0; i < parts.size(); ++i) {
          auto& p = parts[i];
          size_t l4 = v6 ? 40 : 20;
          expect_partial(p, v6, kProtoTcp);
          EXPECT_EQ(base::load_be32(&p[l4 + 4]), seq);
          EXPECT_EQ(p[l4 + 13], i + 1 == parts.size() ? kAck | kPsh : kAck);
          if (!v6) EXPECT_EQ(base::load_be16(&p[4]), s.id + i);
          seq += uint32_t(p.size() - l4 - 32);
          j.add(p);
        }
        auto& out = j.done();
        ASSERT_EQ(out.size(), 1u) << payload << " by " << gso;
        base::ByteVec want = whole;
        base::store_be16(&want[(v6 ? 40 : 20) + 16], uint16_t(pseudo(want, v6, kProtoTcp)));
        EXPECT_EQ(out[0].packet, want);
        EXPECT_EQ(out[0].v.flags, VnetHeader::kNeedsChecksum);
        EXPECT_EQ(out[0].v.checksum_start, v6 ? 40 : 20);
        EXPECT_EQ(out[0].v.gso_size, parts.size() > 1 ? gso : 0);
      }
}

TEST(Offload, FinOnTheLastCwrOnTheFirstEceOnAll) {
  Spec s{.payload = 3000, .flags = kAck | kPsh | kFin | kCwr | kEce};
  auto p = split(vnet(s, 1000), make(s));
  ASSERT_EQ(p.size(), 3u);
  EXPECT_EQ(p[0][33], kAck | kEce | kCwr);
  EXPECT_EQ(p[1][33], kAck | kEce);
  EXPECT_EQ(p[2][33], kAck | kEce | kPsh | kFin);
}

TEST(Offload, UdpIsCutIntoDatagrams) {
  for (bool v6 : {false, true}) {
    Spec s{.v6 = v6, .payload = 2500, .proto = kProtoUdp};
    auto parts = split(vnet(s, 1000), make(s));
    ASSERT_EQ(parts.size(), 3u);
    for (auto& p : parts) {
      expect_partial(p, v6, kProtoUdp);
      EXPECT_EQ(base::load_be16(&p[(v6 ? 40u : 20u) + 4]), p.size() - (v6 ? 40 : 20));
    }
    EXPECT_EQ(parts[2].size(), (v6 ? 48u : 28u) + 500);
    Joiner apart({.udp = false});
    for (auto& p : parts) apart.add(p);
    EXPECT_EQ(apart.done().size(), 3u);
    EXPECT_EQ(apart.out[0].v.flags, VnetHeader::kNeedsChecksum);
    EXPECT_EQ(apart.out[0].v.checksum_offset, 6);
    Joiner j;
    for (auto& p : parts) j.add(p);
    ASSERT_EQ(j.done().size(), 1u);
    auto want = make(s);
    base::store_be16(&want[(v6 ? 40 : 20) + 6], uint16_t(pseudo(want, v6, kProtoUdp)));
    EXPECT_EQ(j.out[0].packet, want);
    EXPECT_EQ(j.out[0].v.gso_type, VnetHeader::kUdp);
    EXPECT_EQ(j.out[0].v.gso_size, 1000);
    EXPECT_EQ(j.out[0].v.header_bytes, v6 ? 48 : 28);
    EXPECT_EQ(j.out[0].v.checksum_offset, 6);
    EXPECT_EQ(split(j.out[0].v, j.out[0].packet), parts);  // as the kernel does it
  }
}

TEST(Offload, DatagramsThatDifferStayApart) {
  auto count = [](auto change, bool partial = true) {
    Spec a{.payload = 100, .proto = kProtoUdp}, b = a;
    b.id += 1;
    auto first = make(a), second = make(b);
    for (auto* p : {&first, &second}) base::store_be16(&(*p)[26], 0x1234);
    change(second);
    set_ipv4_checksum(second.data());
    Joiner j;
    j.add(first);
    j.add(second, partial);
    j.add(first);
    base::ByteVec last = j.done().back().packet;
    EXPECT_EQ(base::ByteVec(last.end() - 100, last.end()), base::ByteVec(first.end() - 100, first.end()));
    return j.out.size();
  };
  EXPECT_EQ(count([](auto&) {}), 1u);
  EXPECT_EQ(count([](auto& p) { p[1] = 2; }), 3u);     // TOS
  EXPECT_EQ(count([](auto& p) { p[8] = 63; }), 3u);    // TTL
  EXPECT_EQ(count([](auto& p) { p[21] ^= 1; }), 2u);   // another flow
  EXPECT_EQ(count([](auto& p) { p[6] = 0x20; }), 3u);  // a fragment
  EXPECT_EQ(count([](auto& p) { p[25] -= 1; }), 3u);   // a length that is not its own
  EXPECT_EQ(count([](auto& p) { p.pop_back(), base::store_be16(&p[2], uint16_t(p.size())), p[25] -= 1; }), 2u);  // a shorter one ends it
  EXPECT_EQ(count([](auto&) {}, false), 3u);           // a wrong checksum
  EXPECT_EQ(count([](auto& p) { p[26] = p[27] = 0; }, false), 3u);  // none
}

TEST(Offload, OtherProtocolsLeaveWithACompleteChecksum) {
  base::ByteVec p = make({.payload = 101, .proto = 47});
  p[22] = p[23] = 0;
  VnetHeader v{.flags = VnetHeader::kNeedsChecksum, .checksum_start = 20, .checksum_offset = 2};
  Segmenter s;
  ASSERT_TRUE(s.begin(v, p));
  EXPECT_FALSE(s.is_partial());
  EXPECT_EQ(sum16(&p[20], p.size() - 20), 0xffffu);
}

TEST(Offload, NeverJoinsWhatDiffers) {
  auto count = [](auto change, bool v6 = false) {
    Spec a{.v6 = v6, .payload = 100, .seq = 1000};
    Spec b = a;
    b.seq += 100, b.id += 1;
    change(b);
    Joiner j;
    j.add(make(a));
    j.add(make(b));
    EXPECT_FALSE(j.done().empty());
    for (auto& w : j.out) EXPECT_EQ(base::load_be16(&w.packet[v6 ? 4 : 2]) + (v6 ? 40u : 0u), w.packet.size());
    return j.out.size();
  };
  EXPECT_EQ(count([](Spec&) {}), 1u);
  EXPECT_EQ(count([](Spec&) {}, true), 1u);
  EXPECT_EQ(count([](Spec& b) { b.tos = 2; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.tos = 2; }, true), 2u);
  EXPECT_EQ(count([](Spec& b) { b.ttl = 63; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.ttl = 63; }, true), 2u);
  EXPECT_EQ(count([](Spec& b) { b.df = false; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.sport = 1001; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.seq += 1; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.options = 8; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.payload = 101; }), 2u);
  EXPECT_EQ(count([](Spec& b) { b.payload = 0; }), 2u);
  for (uint8_t f : {kFin, kSyn, uint8_t(4), uint8_t(0x20), kCwr, kEce}) EXPECT_EQ(count([=](Spec& b) { b.flags |= f; }), 2u) << int(f);
  EXPECT_EQ(count([](Spec& b) { b.flags |= kPsh; }), 1u);
}

TEST(Offload, WithoutDontFragmentIdsMustCountUp) {
  for (uint16_t step : {0, 1, 2}) {
    Joiner j;
    j.add(make({.payload = 100, .df = false, .id = 5, .seq = 0}));
    j.add(make({.payload = 100, .df = false, .id = uint16_t(5 + step), .seq = 100}));
    EXPECT_EQ(j.done().size(), step == 1 ? 1u : 2u);
  }
}

TEST(Offload, ADamagedSegmentStaysApartAndDamaged) {
  auto first = with_full_checksum(make({.payload = 100, .seq = 0}), false, kProtoTcp);
  auto second = with_full_checksum(make({.payload = 100, .seq = 100}), false, kProtoTcp);
  Joiner good;
  good.add(first, false);
  good.add(second, false);
  EXPECT_EQ(good.done().size(), 1u);
  auto bad = second;
  bad.back() ^= 1;
  Joiner j;
  j.add(first, false);
  j.add(bad, false);
  ASSERT_EQ(j.done().size(), 2u);
  EXPECT_EQ(j.out[1].packet, bad);
  EXPECT_EQ(j.out[1].v.flags, 0);  // the kernel is to find out
}

TEST(Offload, FlowsKeepTheirOrderWhenMixed) {
  Joiner j;
  for (uint32_t i = 0; i < 20; ++i)
    for (uint16_t flow = 0; flow < 12; ++flow) j.add(make({.payload = 50, .sport = uint16_t(flow + 1), .seq = i * 50}));
  std::map<uint16_t, uint32_t> next;
  for (auto& w : j.done()) {
    uint16_t flow = base::load_be16(&w.packet[20]);
    EXPECT_EQ(base::load_be32(&w.packet[24]), next[flow]);
    next[flow] += uint32_t(w.packet.size() - 52);
  }
  for (auto& [flow, n] : next) EXPECT_EQ(n, 1000u);
}

// As the data plane has it: packets of a batch one behind the other, with sealed headers and tags between them.
TEST(Offload, NeighboursInABatchBecomeOnePartAndNobodyElseIsTouched) {
  constexpr size_t kGap = 32, kPayload = 500;
  std::vector<base::ByteVec> packets;
  auto add = [&](uint16_t flow, uint32_t seq) {
    packets.push_back(make({.payload = kPayload, .sport = flow, .seq = seq}));
    for (size_t i = 52; i < packets.back().size(); ++i) packets.back()[i] = uint8_t(i * 7 + packets.size());
  };
  for (uint32_t i = 0; i < 5; ++i) add(1, i * kPayload);
  for (uint32_t i = 0; i < 3; ++i) add(2, i * kPayload), add(1, (5 + i) * kPayload);
  std::map<uint16_t, base::ByteVec> want, got;
  base::ByteVec all;
  for (auto& p : packets) {
    auto& stream = want[base::load_be16(&p[20])];
    stream.insert(stream.end(), p.begin() + 52, p.end());
    all.resize(all.size() + kGap);
    all.insert(all.end(), p.begin(), p.end());
  }
  std::map<uint16_t, size_t> parts_of;
  Coalescer c([&](iovec* parts, size_t n) {
    base::ByteVec p;
    for (size_t i = 1; i < n; ++i) {
      auto* b = static_cast<uint8_t*>(parts[i].iov_base);
      p.insert(p.end(), b, b + parts[i].iov_len);
    }
    uint16_t flow = base::load_be16(&p[20]);
    got[flow].insert(got[flow].end(), p.begin() + 52, p.end());
    parts_of[flow] += n - 1;
  }, {});
  for (bool batch : {false, true}) {
    auto buffer = all;
    got.clear(), parts_of.clear();
    if (batch) c.batch(buffer);
    for (size_t at = 0; at < buffer.size(); at += kGap + 52 + kPayload) {
      base::MutByteView p = base::MutByteView(buffer).subspan(at + kGap, 52 + kPayload);
      c.add(p, *parse_ip(p), true);
    }
    c.flush();
    EXPECT_EQ(got, want) << batch;
    EXPECT_EQ(parts_of[1], batch ? 4u : 8u);  // the first five are neighbours
    EXPECT_EQ(parts_of[2], 3u);
  }
}

TEST(Offload, MalformedIsDropped) {
  Spec s{.payload = 2000};
  auto good = make(s);
  VnetHeader v = vnet(s, 1000);
  EXPECT_EQ(split(v, good).size(), 2u);
  auto bad = [&](auto change, VnetHeader h) {
    auto p = good;
    change(p, h);
    return split(h, p).empty();
  };
  EXPECT_TRUE(bad([](auto& p, auto&) { p.pop_back(); }, v));          // total length
  EXPECT_TRUE(bad([](auto& p, auto&) { p.push_back(0); }, v));
  EXPECT_TRUE(bad([](auto& p, auto&) { p[0] = 0x44; }, v));           // header length
  EXPECT_TRUE(bad([](auto& p, auto&) { p[0] = 0x55; }, v));           // version
  EXPECT_TRUE(bad([](auto& p, auto&) { p[32] = 0x40; }, v));          // TCP header below 20
  EXPECT_TRUE(bad([](auto& p, auto&) { p.resize(50); base::store_be16(&p[2], 50); }, v));  // options cut short
  EXPECT_TRUE(bad([](auto& p, auto&) { p[9] = kProtoUdp; }, v));
  EXPECT_TRUE(bad([](auto& p, auto&) { p[6] = 0x20; }, v));           // a fragment
  EXPECT_TRUE(bad([](auto&, auto& h) { h.gso_size = 0; }, v));
  EXPECT_TRUE(bad([](auto&, auto& h) { h.gso_type = VnetHeader::kTcp6; }, v));
  EXPECT_TRUE(bad([](auto&, auto& h) { h.gso_type = 3; }, v));        // the old UDP fragmentation offload
  EXPECT_TRUE(bad([](auto& p, auto&) { p.clear(); }, v));
  VnetHeader far{.flags = VnetHeader::kNeedsChecksum, .checksum_start = 2050, .checksum_offset = 16};
  EXPECT_TRUE(bad([](auto&, auto&) {}, far));
}

TEST(IpPacket, Ipv6ExtensionHeadersAreWalked) {
  auto p = make({.v6 = true, .payload = 10, .proto = kProtoUdp});
  p.insert(p.begin() + 40, 16, 0);
  p[6] = 0, p[40] = 60, p[48] = kProtoUdp;  // hop-by-hop, destination options, UDP
  base::store_be16(&p[4], uint16_t(p.size() - 40));
  auto ip = parse_ip(p);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->transport, 56);
  EXPECT_EQ(ip->proto, kProtoUdp);
  p[41] = 200;  // longer than the packet
  EXPECT_FALSE(parse_ip(p));
}

TEST(IpPacket, ConfinedAddresses) {
  auto v4 = [](uint8_t a, uint8_t b) { uint8_t x[4] = {a, b, 0, 1}; return is_confined(x, false); };
  EXPECT_TRUE(v4(127, 0) && v4(169, 254) && v4(224, 0) && v4(255, 255) && v4(0, 0));
  EXPECT_FALSE(v4(169, 253) || v4(10, 0) || v4(100, 64) || v4(223, 1));
  auto v6 = [](uint8_t a, uint8_t b, uint8_t last) { uint8_t x[16] = {a, b}; x[15] = last; return is_confined(x, true); };
  EXPECT_TRUE(v6(0xfe, 0x80, 1) && v6(0xff, 2, 1) && v6(0, 0, 1) && v6(0, 0, 0) && v6(0xfe, 0xbf, 1));
  EXPECT_FALSE(v6(0xfd, 0, 1) || v6(0x20, 1, 1) || v6(0xfe, 0xc0, 1));
}

TEST(IpPacket, CongestionMarkKeepsTheHeaderRight) {
  auto p = make({.payload = 10, .tos = 2});
  EXPECT_TRUE(mark_congestion(p));
  EXPECT_EQ(p[1], 3);
  EXPECT_EQ(sum16(p.data(), 20), 0xffffu);
  auto p6 = make({.v6 = true, .payload = 10, .tos = 0xa1});
  EXPECT_TRUE(mark_congestion(p6));
  EXPECT_EQ(ip_tos(p6.data()), 0xa3);
  auto none = make({.payload = 10});
  EXPECT_FALSE(mark_congestion(none));
}

TEST(IpPacket, ChecksumAgreesWithThePlainOne) {
  base::SeededRng rng(3);
  for (size_t n = 0; n < 300; ++n) {
    base::ByteVec b(n);
    rng.fill(b);
    EXPECT_EQ(checksum_fold(checksum_add(b)) % 0xffff, sum16(b.data(), n) % 0xffff) << n;
  }
}

}  // namespace
}  // namespace tunnel
