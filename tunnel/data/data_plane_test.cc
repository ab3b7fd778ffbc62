// Two data planes in two namespaces with static keys (data_plane_lab.h): what applications inside the tunnel and strangers
// outside of it notice.
#include <netinet/udp.h>

#include <fstream>

#include "tunnel/data/data_plane_lab.h"

namespace tunnel::lab {
namespace {

class DataPlaneTest : public Lab {};

TEST_F(DataPlaneTest, UdpThereAndBackOverBothFamilies) {
  for (bool v6 : {false, true}) {
    start({.v6_underlay = v6});
    for (int f : {0, 1}) {
      auto at0 = f ? inner6(0) : inner(0), at1 = f ? inner6(1) : inner(1);
      auto s0 = udp(0, {at0, 4000}), s1 = udp(1, {at1, 4000});
      send(s0, {at1, 4000}, base::as_bytes("ping"));
      std::string got;
      ASSERT_TRUE(wait([&] { return (got = receive(s1)) != ""; })) << at1.str();
      EXPECT_EQ(got, "ping");
      send(s1, {at0, 4000}, base::as_bytes("pong"));
      ASSERT_TRUE(wait([&] { return (got = receive(s0)) != ""; }));
      EXPECT_EQ(got, "pong");
    }
    EXPECT_TRUE(wait([&] { return seen_[1].first_data.size() == 1 + size_t(v6); }));
    EXPECT_EQ(seen_[1].first_data.back(), keys_.side[1]->local_index());
    auto t = plane_[1]->traffic(kPeer);
    EXPECT_GE(t.rx_packets, 2u);
    EXPECT_EQ(t.last_rx_path.remote, outer(0));
    EXPECT_NE(t.last_rx, base::Instant{});
    TearDown();
  }
}

uint64_t packets_from_tun(int i) {
  std::ifstream f;
  Namespaces::enter(i);
  std::thread reader([&] {  // /proc/net is the thread's own
    Namespaces::enter(i);
    f.open("/proc/thread-self/net/dev");
  });
  reader.join();
  for (std::string line; std::getline(f, line);)
    if (uint64_t bytes = 0, packets = 0; sscanf(line.c_str(), (" t" + std::to_string(i) + ": %lu %lu").c_str(), &bytes, &packets) == 2) return packets;
  return 0;
}

// A burst comes out as it was sent, datagram by datagram, and the receiver's kernel took it along its way together.
TEST_F(DataPlaneTest, ABurstOfDatagramsStaysABurstOfDatagrams) {
  start({});
  for (bool v6 : {false, true}) {
    auto to = v6 ? inner6(1) : inner(1);
    auto server = udp(1, {to, 0});
    auto at = *base::local_address(server.get());
    auto client = udp(0, {v6 ? inner6(0) : inner(0), 0});
    constexpr size_t kCount = 40, kBytes = 64;
    int segment = kBytes;
    ASSERT_EQ(setsockopt(client.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    base::ByteVec burst(kCount * kBytes - 10);  // the last is shorter
    for (size_t i = 0; i < burst.size(); ++i) burst[i] = uint8_t(mix(uint32_t(i)));
    uint64_t before = packets_from_tun(1);
    send(client, at, burst);
    std::string got;
    size_t count = 0;
    ASSERT_TRUE(wait([&] {
      for (std::string one; !(one = receive(server)).empty(); got += one, ++count) EXPECT_EQ(one.size(), count + 1 < kCount ? kBytes : kBytes - 10);
      return count == kCount;
    }));
    EXPECT_EQ(got, std::string(burst.begin(), burst.end()));
    EXPECT_LT(packets_from_tun(1) - before, kCount / 2);
  }
}

TEST_F(DataPlaneTest, IcmpIsCarried) {
  start({});
  Namespaces::enter(0);
  base::UniqueFd raw(socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP));
  ASSERT_TRUE(raw);
  uint8_t echo[8] = {8, 0, 0xf7, 0xfd, 0, 1, 0, 1};
  send(raw, {inner(1), 0}, echo);
  std::string got;
  ASSERT_TRUE(wait([&] { return (got = receive(raw)) != ""; }));
  EXPECT_EQ(got[20], 0);  // echo reply, from the far kernel
}

TEST_F(DataPlaneTest, TcpBulkIsWhole) {
  start({});
  EXPECT_TRUE(transfer(inner(1), 50 << 20));
  EXPECT_TRUE(transfer(inner6(1), 20 << 20));
  for (const char* reason : {"forged", "replayed", "malformed", "tun_write", "unknown_index", "too_big"}) EXPECT_EQ(dropped(1, reason), 0u) << reason;
}

TEST_F(DataPlaneTest, TcpBulkOverIpv6Underlay) {
  start({.v6_underlay = true});
  EXPECT_TRUE(transfer(inner(1), 20 << 20));
}

TEST_F(DataPlaneTest, TcpBulkWithoutSegmentationOffload) {
  start({.gso = false});
  EXPECT_TRUE(transfer(inner(1), 20 << 20));
}

// The cable carries 1,300 bytes and says so to nobody; the TUN gives packets of 1,416.
TEST_F(DataPlaneTest, WhatIsTooLongForThePathGoesInPieces) {
  for (int i : {0, 1}) ASSERT_TRUE(Namespaces::run(i, "ip link set v" + std::to_string(i) + " mtu 1300"));
  start({.workers = 2, .mtu = 1416, .inner_mtu = 1232});
  for (int i : {0, 1}) {
    EXPECT_TRUE(transfer(i ? inner6(1) : inner(1), 8 << 20));
    EXPECT_GT(metrics_[0].counter("edgemeshd_tunnel_split_packets_total", "").value(), 0u);
  }
  EXPECT_GT(plane_[0]->traffic(kPeer).tx_long, 8000u);
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  std::string text(8192, 'u');
  send(s0, {inner(1), 4000}, base::as_bytes(text));
  std::string got;
  EXPECT_TRUE(wait([&] { return (got = receive(s1)) != ""; }));
  EXPECT_EQ(got, text);
  EXPECT_EQ(dropped(0, "too_big") + dropped(0, "send_failed"), 0u);
  for (int i : {0, 1}) Namespaces::run(i, "ip link set v" + std::to_string(i) + " mtu 1500");
}

TEST_F(DataPlaneTest, TwoWorkers) {
  start({.workers = 2});
  for (uint32_t k = 1; k < 5; ++k) {  // indices that fall to one and to the other
    EXPECT_TRUE(transfer(inner(1), 10 << 20));
    use_keys(make_keys(k + 1));
  }
  EXPECT_EQ(dropped(1, "replayed"), 0u);
}

TEST_F(DataPlaneTest, NobodyElseGetsIn) {
  start({});
  auto app = udp(1, {inner(1), 4000});
  auto stranger = udp(0, {ip("10.9.0.1"), 0});
  base::IpPort door = outer(1), service{inner(1), 4000};
  send(stranger, door, sealed(inner_udp(inner(0), service, "good"), 5));  // from another address, but authentic: a NAT may do that
  std::string got;
  ASSERT_TRUE(wait([&] { return (got = receive(app)) != ""; }));
  EXPECT_EQ(got, "good");
  auto gone = [&](const char* reason, base::ByteVec packet) {
    uint64_t before = dropped(1, reason);
    send(stranger, door, packet);
    EXPECT_TRUE(wait([&] { return dropped(1, reason) == before + 1; })) << reason;
    EXPECT_EQ(receive(app), "") << reason;
  };
  gone("replayed", sealed(inner_udp(inner(0), service, "good"), 5));
  auto forged = sealed(inner_udp(inner(0), service, "forged"), 6);
  forged[40] ^= 1;
  gone("forged", forged);
  auto unknown = sealed(inner_udp(inner(0), service, "unknown"), 7);
  base::store_be32(&unknown[4], 4242);
  gone("unknown_index", unknown);
  gone("foreign_source", sealed(inner_udp(ip("100.64.9.77"), service, "other node"), 8));
  gone("foreign_source", sealed(inner_udp(inner(1), service, "ourselves"), 9));
  gone("foreign_destination", sealed(inner_udp(inner(0), {ip("10.9.0.2"), 4000}, "underlay"), 10));
  gone("foreign_destination", sealed(inner_udp(inner(0), {ip("100.64.9.3"), 4000}, "third"), 11));
  gone("confined_address", sealed(inner_udp(inner(0), {ip("127.0.0.1"), 4000}, "loopback"), 12));
  gone("confined_address", sealed(inner_udp(inner(0), {ip("224.0.0.1"), 4000}, "multicast"), 13));
  gone("confined_address", sealed(inner_udp(ip("169.254.1.1"), service, "link local"), 14));
  auto cut = inner_udp(inner(0), service, "length");
  cut.pop_back();
  gone("malformed", sealed(cut, 15));
  send(stranger, door, sealed(inner_udp(inner(0), service, "still open"), 16));
  EXPECT_TRUE(wait([&] { return receive(app) == "still open"; }));
}

TEST_F(DataPlaneTest, WhatTheHostMayNotSendStaysHere) {
  start({});
  ASSERT_TRUE(Namespaces::run(0, "ip addr replace 10.77.0.1/32 dev lo"));
  auto s = udp(0, {ip("10.77.0.1"), 4000});
  send(s, {inner(1), 4000}, base::as_bytes("foreign"));
  EXPECT_TRUE(wait([&] { return dropped(0, "foreign_source") == 1; }));
  EXPECT_EQ(plane_[0]->traffic(kPeer).tx_packets, 0u);
}

// A pod's datagram to a service address, which the daemon holds: its source is no address of the mesh.
TEST_F(DataPlaneTest, StraysOfPodsAreHandedUp) {
  start({});
  ASSERT_TRUE(Namespaces::run(0, "ip addr replace 10.77.0.1/32 dev lo"));
  auto s = udp(0, {ip("10.77.0.1"), 4000});
  send(s, {ip("100.99.0.5"), 9}, base::as_bytes("from a pod"));
  EXPECT_TRUE(wait([&] { return seen_[0].strays.size() == 1; }));
}

TEST_F(DataPlaneTest, StraysAreHandedUp) {
  start({});
  auto s = udp(0, {inner(0), 4000});
  send(s, {ip("100.99.0.5"), 9}, base::as_bytes("who is there"));
  ASSERT_TRUE(wait([&] { return seen_[0].strays.size() == 1; }));
  EXPECT_NE(base::as_text(seen_[0].strays[0]).find("who is there"), std::string_view::npos);
  for (int i = 0; i < 3000; ++i) send(s, {ip("100.99.0.5"), 9}, base::as_bytes("flood"));
  settle();
  EXPECT_LE(seen_[0].strays.size(), 1100u);
}

TEST_F(DataPlaneTest, PacketsWaitForKeys) {
  start({.keys = false});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  for (int i = 0; i < 5; ++i) send(s0, {inner(1), 4000}, base::as_bytes("early" + std::to_string(i)));
  ASSERT_TRUE(wait([&] { return !seen_[0].wanted.empty(); }));
  EXPECT_EQ(seen_[0].wanted, std::vector<PeerId>{kPeer});
  use_keys(make_keys(1));
  for (int i = 0; i < 5; ++i) {
    std::string got;
    ASSERT_TRUE(wait([&] { return (got = receive(s1)) != ""; }));
    EXPECT_EQ(got, "early" + std::to_string(i));
  }
}

// Packets that wait for keys go to the handshake where its stream takes them, whole, so many for each handshake; and one that came so
// is what the application gets, if the peer may send it.
TEST_F(DataPlaneTest, WhatWaitsForKeysGoesWithTheHandshake) {
  start({.keys = false});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  base::IpPort to{inner(1), 4000};
  send(s0, to, base::as_bytes("before"));
  ASSERT_TRUE(wait([&] { return !seen_[0].wanted.empty(); }));
  EXPECT_TRUE(seen_[0].held.empty());
  route_[0].stream = 7;
  plane_[0]->set_peer(kPeer, route_[0]);
  ASSERT_TRUE(wait([&] { return seen_[0].held.size() == 1; }));
  for (size_t i = 1; i < 2 * kHandedPacketsMax; ++i) send(s0, to, base::as_bytes("number " + std::to_string(i)));
  ASSERT_TRUE(wait([&] { return seen_[0].held.size() == kHandedPacketsMax; }));
  settle();
  EXPECT_EQ(seen_[0].held.size(), kHandedPacketsMax);
  for (const auto& p : seen_[0].held) plane_[1]->deliver(kPeer, p);
  std::string got;
  for (size_t i = 0; i < kHandedPacketsMax; ++i) {
    ASSERT_TRUE(wait([&] { return (got = receive(s1)) != ""; })) << i << ": a wrong checksum?";
    EXPECT_EQ(got, i ? "number " + std::to_string(i) : "before");
  }
  plane_[1]->deliver(kPeer, inner_udp(ip("100.64.9.77"), to, "another node's"));
  plane_[1]->deliver(kPeer, inner_udp(inner(0), {ip("10.9.0.2"), 4000}, "underlay"));
  EXPECT_TRUE(wait([&] { return dropped(1, "foreign_source") == 1 && dropped(1, "foreign_destination") == 1; }));
  EXPECT_EQ(receive(s1), "");
  use_keys(make_keys(1));  // the rest has waited for them
  for (size_t i = kHandedPacketsMax; i < 2 * kHandedPacketsMax; ++i) {
    ASSERT_TRUE(wait([&] { return (got = receive(s1)) != ""; }));
    EXPECT_EQ(got, "number " + std::to_string(i));
  }
}

TEST_F(DataPlaneTest, WhatWaitsIsBoundedAndGrowsOld) {
  start({.keys = false});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  std::string text(1000, 'x');
  for (int i = 0; i < 400; ++i) send(s0, {inner(1), 4000}, base::as_bytes(text));
  ASSERT_TRUE(wait([&] { return dropped(0, "queue_full") >= 400 - 256; }));
  wait([] { return false; }, milliseconds(2200));
  EXPECT_EQ(dropped(0, "queue_full"), 400u);
  use_keys(make_keys(1));
  settle();
  EXPECT_EQ(receive(s1), "");
}

TEST_F(DataPlaneTest, KeysChangeUnderLoadWithoutLoss) {
  start({});
  uint32_t number = 1;
  auto next = loop_->now();
  bool whole = transfer(inner(1), 60 << 20, [&] {
    if (loop_->now() < next) return;
    next = loop_->now() + milliseconds(10);
    use_keys(make_keys(++number));
    if (number > 4)
      for (int i : {0, 1}) plane_[i]->remove_receive_keys(make_keys(number - 3).side[i]->local_index());
  });
  EXPECT_TRUE(whole);
  EXPECT_GT(number, 5u);
  for (int i : {0, 1})
    for (const char* reason : {"forged", "replayed", "unknown_index", "send_failed", "queue_full"}) EXPECT_EQ(dropped(i, reason), 0u) << reason;
}

TEST_F(DataPlaneTest, KeysThatReturnGoOnCounting) {  // never the same nonce twice
  start({});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  KeyPair first = keys_, second = make_keys(2);
  for (int i = 0; i < 6; ++i) {
    for (int k : {0, 1}) {
      route_[k].tx_keys = (i % 2 ? second : first).side[k];
      if (i == 1) plane_[k]->add_receive_keys(kPeer, second.side[k]);
      plane_[k]->set_peer(kPeer, route_[k]);
    }
    send(s0, {inner(1), 4000}, base::as_bytes("n"));
    ASSERT_TRUE(wait([&] { return receive(s1) == "n"; })) << i;
  }
  EXPECT_EQ(dropped(1, "replayed"), 0u);
}

TEST_F(DataPlaneTest, RelayFramesBothWays) {
  start({});
  auto relay = udp(0, {ip("10.9.0.1"), 0});
  base::IpPort relay_at = *base::local_address(relay.get());
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  base::IpPort ends[2] = {outer(0), outer(1)};
  fcntl(relay.get(), F_SETFL, 0);
  timeval brief{0, 20'000};
  setsockopt(relay.get(), SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
  std::thread carrier([&] {
    std::vector<uint8_t> b(65536);
    while (!stop) {
      base::SockAddr from;
      ssize_t n = recvfrom(relay.get(), b.data(), b.size(), 0, from.ptr(), &from.len);
      if (n <= 0) continue;
      auto f = read_relay_frame({b.data(), size_t(n)});
      if (!f || f->channel != 0xabcdef) ++wrong;
      auto source = from.ip_port();
      bool from_0 = source->port == ends[0].port && source->ip == ends[0].ip;
      base::SockAddr to(ends[from_0 ? 1 : 0]);
      sendto(relay.get(), b.data(), size_t(n), 0, to.ptr(), to.len);
    }
  });
  PathAddr path{relay_at, {}, 0xabcdef};
  for (int i : {0, 1}) {
    route_[i].path = path;
    plane_[i]->set_peer(kPeer, route_[i]);
  }
  EXPECT_TRUE(transfer(inner(1), 5 << 20));
  plane_[0]->send(path, base::as_bytes("\x89 control"));
  EXPECT_TRUE(wait([&] { return !seen_[1].control.empty(); }));
  stop = true;
  carrier.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(seen_[1].control.at(0).first, path);
  EXPECT_EQ(base::as_text(seen_[1].control[0].second), "\x89 control");
  auto t = plane_[1]->traffic(kPeer);
  EXPECT_GE(t.rx_bytes_relay, size_t(5) << 20);
  EXPECT_EQ(t.rx_bytes_direct, 0u);
  EXPECT_EQ(t.last_rx_path, path);
}

TEST_F(DataPlaneTest, ControlPacketsComeUpAndAreBounded) {
  start({});
  auto stranger = udp(0, {ip("10.9.0.1"), 0});
  for (const char* first : {"\x84", "\x85", "\x86", "\x87", "\x89"}) send(stranger, outer(1), base::as_bytes(std::string(first) + " hello"));
  ASSERT_TRUE(wait([&] { return seen_[1].control.size() == 5; }));
  EXPECT_EQ(seen_[1].control[0].first.remote, *base::local_address(stranger.get()));
  EXPECT_FALSE(seen_[1].control[0].first.is_relay());
  send(stranger, outer(1), base::as_bytes("\x40 quic"));
  EXPECT_TRUE(wait([&] { return dropped(1, "malformed") == 1; }));
  for (int i = 0; i < 5000; ++i) send(stranger, outer(1), base::as_bytes("\x87 flood"));  // the control loop does not run meanwhile
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_GT(dropped(1, "control_backlog"), 0u);
  settle();
  EXPECT_LE(seen_[1].control.size(), 5 + kControlBacklogMax);
}

TEST_F(DataPlaneTest, AfterARebindTheOldPortStillReceives) {
  start({});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  uint16_t old_port = plane_[1]->port();
  Namespaces::enter(1);
  ASSERT_TRUE(plane_[1]->rebind(0));
  EXPECT_NE(plane_[1]->port(), old_port);
  send(s0, {inner(1), 4000}, base::as_bytes("to the old port"));
  EXPECT_TRUE(wait([&] { return receive(s1) == "to the old port"; }));
  send(s1, {inner(0), 4000}, base::as_bytes("from the new"));
  EXPECT_TRUE(wait([&] { return receive(s0) == "from the new"; }));
  EXPECT_EQ(plane_[0]->traffic(kPeer).last_rx_path.remote.port, plane_[1]->port());
}

// A path found by a punch socket carries DATA both ways by that socket, and what comes in by it says so.
TEST_F(DataPlaneTest, APathCarriesItsSocket) {
  for (size_t workers : {1, 2}) {
    start({.workers = workers});
    auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
    Namespaces::enter(1);
    auto socket = plane_[1]->open_socket(false);
    ASSERT_TRUE(socket) << socket.error().what;
    base::IpPort fresh{outer(1).ip, plane_[1]->socket_port(*socket)};
    EXPECT_NE(fresh.port, plane_[1]->port());
    route_[0].path.remote = fresh;
    plane_[0]->set_peer(kPeer, route_[0]);
    route_[1].path.socket = *socket;
    plane_[1]->set_peer(kPeer, route_[1]);
    send(s0, {inner(1), 4000}, base::as_bytes("there"));
    EXPECT_TRUE(wait([&] { return receive(s1) == "there"; }));
    send(s1, {inner(0), 4000}, base::as_bytes("and back"));
    EXPECT_TRUE(wait([&] { return receive(s0) == "and back"; }));
    EXPECT_EQ(plane_[0]->traffic(kPeer).last_rx_path.remote, fresh);
    EXPECT_EQ(plane_[1]->traffic(kPeer).last_rx_path.socket, *socket);
    plane_[0]->send({fresh, {}, 0}, base::as_bytes("\x84 a check"));
    EXPECT_FALSE(plane_[1]->open_socket(false, fresh.port));  // taken
    plane_[1]->close_socket(*socket);
    EXPECT_EQ(plane_[1]->socket_port(*socket), 0);
    settle();  // its worker closes it
    send(s0, {inner(1), 4000}, base::as_bytes("to a closed socket"));
    EXPECT_FALSE(wait([&] { return receive(s1) == "to a closed socket"; }, milliseconds(100)));
    Namespaces::enter(1);
    route_[1].path.socket = 0;  // the route held it
    plane_[1]->set_peer(kPeer, route_[1]);
    settle();
    auto again = plane_[1]->open_socket(false, fresh.port);  // as a process does whose NAT still knows that port
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(plane_[1]->socket_port(*again), fresh.port);
    TearDown();
  }
}

// Both ends go by streams; what each sends is handed to the other as the relay would.
TEST_F(DataPlaneTest, AStreamInPlaceOfASocket) {
  for (size_t workers : {1, 2}) {
    start({.workers = workers});
    const base::IpPort relay{ip("203.0.113.9"), 20006};
    uint32_t carrier[2];
    for (int i : {0, 1}) {
      carrier[i] = plane_[i]->open_carrier([this, i, relay, &carrier](base::ByteView b) {
        loop_->post([this, i, relay, &carrier, d = base::ByteVec(b.begin(), b.end())] { if (plane_[1 - i]) plane_[1 - i]->carried(carrier[1 - i], relay, d); });
      });
      EXPECT_GE(carrier[i], kFirstCarrier);
      route_[i].path = {relay, {}, 0xabcdef, carrier[i]};
      plane_[i]->set_peer(kPeer, route_[i]);
    }
    EXPECT_TRUE(transfer(inner(1), 2 << 20));
    EXPECT_EQ(plane_[1]->traffic(kPeer).last_rx_path, route_[1].path);
    EXPECT_GE(plane_[1]->traffic(kPeer).rx_bytes_relay, size_t(2) << 20);
    plane_[0]->send(route_[0].path, base::as_bytes("\x89 a control packet with room for its header"));
    EXPECT_TRUE(wait([&] { return !seen_[1].control.empty(); }));
    EXPECT_EQ(seen_[1].control.at(0).first, route_[1].path);
    uint64_t before = dropped(1, "malformed");
    plane_[1]->carried(carrier[1], relay, base::as_bytes("neither this"));
    EXPECT_EQ(dropped(1, "malformed"), before + 1);
    for (int i : {0, 1}) plane_[i]->close_socket(carrier[i]);
    seen_[1] = {};
    settle();
    TearDown();
  }
}

TEST_F(DataPlaneTest, APacketWithATtlOfOneLeavesTheHostAndNoMore) {
  start({});
  Namespaces::enter(1);
  auto stranger = udp(1, {outer(1).ip, 0});
  base::IpPort to = *base::local_address(stranger.get());
  plane_[0]->send({to, {}, 0}, base::as_bytes("near"), 1);
  int ttl_on = 1;
  setsockopt(stranger.get(), IPPROTO_IP, IP_RECVTTL, &ttl_on, sizeof ttl_on);
  plane_[0]->send({to, {}, 0}, base::as_bytes("with a ttl"), 2);
  char text[64], control[64];
  iovec iov{text, sizeof text};
  msghdr m{};
  m.msg_iov = &iov, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
  EXPECT_TRUE(wait([&] { return receive(stranger) == "near"; }));
  ASSERT_TRUE(wait([&] { return recvmsg(stranger.get(), &m, MSG_DONTWAIT) > 0; }));
  cmsghdr* h = CMSG_FIRSTHDR(&m);
  ASSERT_TRUE(h && h->cmsg_type == IP_TTL);
  EXPECT_EQ(*reinterpret_cast<int*>(CMSG_DATA(h)), 2);
}

TEST_F(DataPlaneTest, ARemovedPeerIsNoPeer) {
  start({});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  plane_[1]->remove_peer(kPeer);
  settle();
  send(s0, {inner(1), 4000}, base::as_bytes("hello"));
  EXPECT_TRUE(wait([&] { return dropped(1, "unknown_index") == 1; }));
  EXPECT_EQ(receive(s1), "");
}

TEST_F(DataPlaneTest, CongestionMarksCrossBothWays) {
  start({});
  auto s0 = udp(0, {inner(0), 4000}), s1 = udp(1, {inner(1), 4000});
  int one = 1, ect = 2;
  setsockopt(s1.get(), IPPROTO_IP, IP_RECVTOS, &one, sizeof one);
  auto stranger = udp(0, {ip("10.9.0.1"), 0});
  int ce = 3;
  setsockopt(stranger.get(), IPPROTO_IP, IP_TOS, &ce, sizeof ce);
  auto capable = inner_udp(inner(0), {inner(1), 4000}, "capable");
  capable[1] = uint8_t(ect);
  base::store_be16(&capable[10], uint16_t(base::load_be16(&capable[10]) - ect));
  send(stranger, outer(1), sealed(capable, 1));
  char text[64], ancillary[64];
  iovec iov{text, sizeof text};
  msghdr m{};
  m.msg_iov = &iov, m.msg_iovlen = 1, m.msg_control = ancillary, m.msg_controllen = sizeof ancillary;
  ASSERT_TRUE(wait([&] { return recvmsg(s1.get(), &m, MSG_DONTWAIT) > 0; }));
  EXPECT_EQ(*CMSG_DATA(CMSG_FIRSTHDR(&m)) & 3, 3);  // the mark of the outer header came through
  send(stranger, outer(1), sealed(inner_udp(inner(0), {inner(1), 4000}, "not capable"), 2));
  EXPECT_TRUE(wait([&] { return dropped(1, "congestion") == 1; }));
}

}  // namespace
}  // namespace tunnel::lab
