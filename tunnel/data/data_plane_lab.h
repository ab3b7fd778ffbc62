// A laboratory for data planes, tests only: two network namespaces of this process's own joined by a veth, a data plane in each
// with static keys, sockets inside the tunnel, and a stranger's socket outside of it.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <thread>

#include "base/net/socket.h"
#include "tunnel/data/data_plane.h"

namespace tunnel::lab {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline base::IpAddr ip(const std::string& s) { return *base::IpAddr::parse(s); }
inline base::Cidr cidr(const std::string& s) { return *base::Cidr::parse(s); }

// Namespaces 0 and 1; a thread is in one of them at a time.
class Namespaces {
 public:
  static bool make() {
    for (int i : {0, 1}) {
      if (unshare(CLONE_NEWNET) != 0) return false;
      fd_[i] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }
    std::string path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_[0]);
    bool ok = run(1, "ip link set lo up && ip link add v1 type veth peer name v0 netns " + path) &&
              run(1, "ip addr add 10.9.0.2/24 dev v1 && ip addr add fd09::2/64 dev v1 nodad && ip link set v1 up") &&
              run(0, "ip link set lo up && ip addr add 10.9.0.1/24 dev v0 && ip addr add fd09::1/64 dev v0 nodad && ip link set v0 up");
    return ok;
  }
  static void enter(int i) { ASSERT_EQ(setns(fd_[i], CLONE_NEWNET), 0); }
  static bool run(int i, const std::string& command) {
    enter(i);
    return system((command + " >/dev/null 2>&1").c_str()) == 0;
  }

 private:
  static inline int fd_[2] = {-1, -1};
};

struct KeyPair {
  DataKeysPtr side[2];
};
inline KeyPair make_keys(uint32_t number, AeadId id = AeadId::aes_128_gcm) {
  DirectionKeys k[2];
  for (int i : {0, 1}) k[i].key.assign(aead_key_bytes(id), uint8_t(number * 2 + uint32_t(i)));
  uint32_t a = number * 16 + 1, b = number * 16 + 10;  // odd and even: both workers when there are two
  return {{DataKeys::make(id, k[0], k[1], a, b), DataKeys::make(id, k[1], k[0], b, a)}};
}

struct Seen {
  std::vector<std::pair<PathAddr, base::ByteVec>> control;
  std::vector<uint32_t> first_data;
  std::vector<PeerId> wanted;
  std::vector<base::ByteVec> strays, held;
};

constexpr PeerId kPeer = 7;

class Lab : public testing::Test {
 protected:
  static void SetUpTestSuite() { isolated_ = Namespaces::make(); }
  void SetUp() override {
    if (!isolated_) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  }
  void TearDown() override {
    if (HasFailure())
      for (auto& m : metrics_) fputs((m.render() + "\n").c_str(), stderr);
    for (int i : {0, 1}) {
      if (!plane_[i]) continue;
      plane_[i].reset();
      Namespaces::run(i, "ip link del t" + std::to_string(i));
    }
  }

  struct Options {
    bool v6_underlay = false, gso = true;
    size_t workers = 1;
    uint16_t mtu = 1280;
    bool keys = true;
    uint16_t inner_mtu = 0;  // of the path; 0: the TUN's
  };
  void start(Options o) {
    for (int i : {0, 1}) {
      Namespaces::enter(i);
      DataPlane::Config c;
      c.tun = "t" + std::to_string(i);
      c.listen = {*base::IpPort::parse("0.0.0.0:0"), *base::IpPort::parse("[::]:0")};
      c.workers = o.workers;
      c.own = {base::Cidr::host(inner(i)), base::Cidr::host(inner6(i))};
      c.tun_mtu = o.mtu;
      c.gso = o.gso;
      auto p = DataPlane::start(c, hooks(i), *loop_, store_, metrics_[i]);
      ASSERT_TRUE(p) << p.error().what;
      plane_[i] = std::move(*p);
      std::string tun = " dev t" + std::to_string(i);
      ASSERT_TRUE(Namespaces::run(i, "ip addr add " + inner(i).str() + "/24" + tun + " && ip addr add " + inner6(i).str() + "/64 nodad" + tun +
                                         " && ip route add 100.99.0.0/24" + tun));
    }
    options_ = o;
    for (int i : {0, 1}) {
      route_[i].name = i ? "node-0" : "node-1";
      route_[i].inner = {base::Cidr::host(inner(1 - i)), base::Cidr::host(inner6(1 - i))};
      route_[i].path.remote = outer(1 - i);
      route_[i].inner_mtu = o.inner_mtu ? o.inner_mtu : o.mtu;
      if (!o.keys) plane_[i]->set_peer(kPeer, route_[i]);
    }
    if (o.keys) use_keys(make_keys(1));
  }
  void use_keys(const KeyPair& k) {
    keys_ = k;
    for (int i : {0, 1}) plane_[i]->add_receive_keys(kPeer, k.side[i]);
    for (int i : {0, 1}) {
      route_[i].tx_keys = k.side[i];
      plane_[i]->set_peer(kPeer, route_[i]);
    }
  }

  static base::IpAddr inner(int i) { return ip(i ? "100.64.9.2" : "100.64.9.1"); }
  static base::IpAddr inner6(int i) { return ip(i ? "fd64::2" : "fd64::1"); }
  base::IpPort outer(int i) const {
    return {ip(options_.v6_underlay ? (i ? "fd09::2" : "fd09::1") : (i ? "10.9.0.2" : "10.9.0.1")), plane_[i]->port()};
  }

  template <class P>
  bool wait(P done, milliseconds limit = seconds(5)) {
    auto step = loop_->timer([&] { loop_->stop(); });
    for (auto end = loop_->now() + limit; !done();) {
      if (loop_->now() >= end) return false;
      step->arm(milliseconds(2));
      loop_->run();
    }
    return true;
  }
  void settle() {
    wait([] { return false; }, milliseconds(60));
  }

  // A socket of an application, or a stranger's, in that namespace.
  static base::UniqueFd udp(int i, const base::IpPort& at) {
    Namespaces::enter(i);
    auto fd = base::udp_socket(at);
    EXPECT_TRUE(fd) << fd.error().what;
    return std::move(*fd);
  }
  static void send(const base::UniqueFd& fd, const base::IpPort& to, base::ByteView b) {
    base::SockAddr a(to);
    EXPECT_EQ(sendto(fd.get(), b.data(), b.size(), 0, a.ptr(), a.len), ssize_t(b.size())) << strerror(errno);
  }
  static std::string receive(const base::UniqueFd& fd) {  // "": nothing there
    char b[65536];
    ssize_t n = recv(fd.get(), b, sizeof b, MSG_DONTWAIT);
    return n > 0 ? std::string(b, size_t(n)) : "";
  }
  uint64_t dropped(int i, const std::string& reason) {
    return metrics_[i].counter("edgemeshd_tunnel_dropped_packets_total", "", {{"reason", reason}}).value();
  }

  // An inner UDP packet, right in every field.
  static base::ByteVec inner_udp(const base::IpAddr& from, const base::IpPort& to, std::string_view text) {
    base::ByteVec p(28 + text.size());
    p[0] = 0x45, p[8] = 64, p[9] = 17;
    base::store_be16(&p[2], uint16_t(p.size()));
    memcpy(&p[12], from.bytes().data(), 4);
    memcpy(&p[16], to.ip.bytes().data(), 4);
    uint32_t s = 0;
    for (size_t k = 0; k < 20; k += 2) s += base::load_be16(&p[k]);
    base::store_be16(&p[10], uint16_t(~((s & 0xffff) + (s >> 16))));
    base::store_be16(&p[20], 5);
    base::store_be16(&p[22], to.port);
    base::store_be16(&p[24], uint16_t(8 + text.size()));
    memcpy(&p[28], text.data(), text.size());
    return p;
  }
  // What node 0 would send to node 1, on a lane of the test's own.
  base::ByteVec sealed(base::ByteView text, uint64_t sequence, uint8_t lane = 200) {
    base::ByteVec b(text.size() + kOverheadBytes);
    std::copy(text.begin(), text.end(), b.begin() + kHeaderBytes);
    keys_.side[0]->seal(PacketType::data, 0, make_counter(lane, sequence), b.data(), text.size());
    return b;
  }

  // Sends bytes over one TCP connection from 0 to 1; true when they arrive whole. during() runs on the control loop meanwhile.
  bool transfer(const base::IpAddr& to, size_t bytes, std::function<void()> during = [] {});

  static inline bool isolated_ = false;
  std::unique_ptr<base::Loop> loop_ = base::make_libevent_loop();
  base::SocketStore store_;
  base::Metrics metrics_[2];
  Seen seen_[2];
  std::unique_ptr<DataPlane> plane_[2];
  PeerRoute route_[2];
  KeyPair keys_;
  Options options_;

 private:
  DataPlaneHooks hooks(int i) {
    Seen& s = seen_[i];
    return {[&s](const PathAddr& from, base::ByteVec b) { s.control.emplace_back(from, std::move(b)); },
            [&s](uint32_t index) { s.first_data.push_back(index); }, [&s](PeerId id) { s.wanted.push_back(id); },
            [&s](PeerId, base::ByteVec p) { s.held.push_back(std::move(p)); },
            [&s](base::ByteVec p) { s.strays.push_back(std::move(p)); }};
  }
};

inline uint32_t mix(uint32_t x) { return (x * 2654435761u) >> 7; }

inline bool Lab::transfer(const base::IpAddr& to, size_t bytes, std::function<void()> during) {
  Namespaces::enter(1);
  auto listener = base::tcp_listen({to, 0});
  EXPECT_TRUE(listener) << listener.error().what;
  base::IpPort at = *base::local_address(listener->get());
  fcntl(listener->get(), F_SETFL, 0);
  timeval limit{20, 0};
  setsockopt(listener->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::atomic<bool> done{false}, right{false};
  std::thread receiver([&] {
    int c = accept(listener->get(), nullptr, nullptr);
    setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::vector<uint8_t> b(1 << 17);
    size_t got = 0;
    bool same = true;
    for (ssize_t n; (n = recv(c, b.data(), b.size(), 0)) > 0; got += size_t(n))
      for (ssize_t k = 0; k < n; ++k) same &= b[size_t(k)] == uint8_t(mix(uint32_t(got + size_t(k))));
    if (c >= 0) close(c);
    right = same && got == bytes;
    done = true;
  });
  std::thread sender([&] {
    Namespaces::enter(0);
    int c = socket(to.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    base::SockAddr a(at);
    std::vector<uint8_t> b(1 << 16);
    bool ok = connect(c, a.ptr(), a.len) == 0;
    for (size_t sent = 0; ok && sent < bytes;) {
      size_t n = std::min(b.size(), bytes - sent);
      for (size_t k = 0; k < n; ++k) b[k] = uint8_t(mix(uint32_t(sent + k)));
      ok = ::send(c, b.data(), n, MSG_NOSIGNAL) == ssize_t(n);
      sent += n;
    }
    close(c);
  });
  wait([&] { return during(), done.load(); }, seconds(25));
  sender.join();
  receiver.join();
  return right;
}

}  // namespace tunnel::lab
