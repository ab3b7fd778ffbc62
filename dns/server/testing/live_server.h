// For tests: a live server on loopback whose loop runs in a thread, and an upstream that answers as told. The test is the client.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/net/socket.h"
#include "dns/server/dns_server.h"
#include "dns/wire/message_writer.h"
#include "dns/zone/memory_table.h"

namespace dns::testing {

using namespace std::chrono_literals;
using base::IpPort;

inline const base::IpAddr kHere = ip("127.0.0.1");

inline bool readable(int fd, int ms) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, ms) == 1;
}

// An upstream that answers as told, in a thread of its own.
class FakeUpstream {
  base::UniqueFd fd_ = *base::udp_socket({kHere, 0});
  std::atomic<bool> stop_{false};

 public:
  std::atomic<bool> silent{false}, lose_case{false};
  std::atomic<int> asked{0}, with_subnet{0};
  IpPort address = *base::local_address(fd_.get());

  ~FakeUpstream() {
    stop_ = true;
    thread_.join();
  }

 private:
  void run() {
    uint8_t b[2048];
    while (!stop_) {
      if (!readable(fd_.get(), 20)) continue;
      base::SockAddr from;
      ssize_t n = ::recvfrom(fd_.get(), b, sizeof b, 0, from.ptr(), &from.len);
      Query q;
      if (n < 0 || parse_query({b, size_t(n)}, q) != Parsed::ok) continue;
      asked++;
      if (std::string_view(reinterpret_cast<char*>(b), size_t(n)).find(std::string_view("\0\x08\0\x07\0\1", 6)) != std::string_view::npos) with_subnet++;
      if (!silent) reply(q, from);
    }
  }
  void reply(Query q, const base::SockAddr& to) {
    uint8_t out[2048];
    Name name = *Name::from_wire(base::as_bytes(q.key()));
    base::ByteVec lowered(q.question.begin(), q.question.end());
    if (lose_case) {
      std::copy(q.key().begin(), q.key().end(), lowered.begin());
      q.question = lowered;
    }
    MessageWriter w(name);
    Reply r{.flags = flag::RA};
    std::string_view first = q.label(0);
    if (first == "slow") std::this_thread::sleep_for(100ms);
    if (first == "nx" || first == "nodata") {
      if (first == "nx") r.rcode = Rcode::nxdomain;
      w.authority();
      w.add_soa(*Name::from_text("example"), 60, 1);
    } else if (first == "broken") {
      r.rcode = Rcode::servfail;
    } else if (q.type == type::A) {
      w.add(name, type::A, first == "short" ? 1 : 300, base::ByteVec{192, 0, 2, 53});
    } else {
      w.add(name, type::AAAA, 300, ip("2001:db8::53").bytes());
    }
    size_t n = write_reply(q, r, w.body(), 1232, out);
    ::sendto(fd_.get(), out, n, 0, to.ptr(), to.len);
  }
  std::thread thread_{[this] { run(); }};
};

struct Got {
  base::ByteVec m;
  Scan scan;
  std::vector<std::string> addresses;
  std::string name;
  uint32_t ttl = 0;
  int rcode() const { return m.empty() ? -1 : int(scan.rcode); }
};

inline Got read_reply(base::ByteVec m) {
  Got g;
  if (!scan_answer(m, g.scan)) return g;
  each_answer(m, [&](const Record& r) {
    if (r.type == type::A) g.addresses.push_back(base::IpAddr::v4(&m[r.data_at]).str());
    if (r.type == type::AAAA) g.addresses.push_back(base::IpAddr::v6(&m[r.data_at]).str());
    g.name = r.owner.text();
    g.ttl = r.ttl;
    return true;
  });
  g.m = std::move(m);
  return g;
}

// A live server on loopback; its loop runs in a thread, the test is the client.
class LiveServer {
 public:
  DnsConfig config;
  DnsHooks hooks;
  std::shared_ptr<MemoryTable> table = std::make_shared<MemoryTable>();
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::SocketStore store;
  base::SystemRng rng;
  base::Metrics metrics;
  std::unique_ptr<DnsServer> server;
  IpPort at;

  LiveServer() {
    config.addresses = {kHere};
    config.port = 0;
    config.upstream.resolv_conf = "/nonexistent/resolv.conf";
    auto web = cluster_service("shop", "web", {"10.96.1.10"}, {{"http", 80}});
    table->put(web);
    auto big = cluster_service("shop", "big", {}, {{"http", 80}});
    for (int i = 1; i <= 100; i++) big.ports[0].endpoints.push_back(endpoint(fmt::format("172.21.0.{}", i).c_str(), 80));
    table->put(big);
    auto ext = cluster_service("shop", "ext", {}, {});
    ext.kind = base::kube::Service::Kind::external_name;
    ext.external_name = "www.example.com";
    table->put(ext);
  }
  ~LiveServer() {
    if (!thread_.joinable()) return;
    on_loop([&] { server.reset(); });
    loop->stop();
    thread_.join();
  }
  void start() {
    auto s = DnsServer::start(*loop, store, rng, metrics, config, hooks);
    ASSERT_TRUE(s) << s.error().what;
    server = std::move(*s);
    at = server->listening().front();
    server->set_table(table, {});
    thread_ = std::thread([this] { loop->run(); });
  }
  void on_loop(std::function<void()> f) {
    std::promise<void> done;
    loop->post([&] { f(), done.set_value(); });
    done.get_future().wait();
  }
  uint64_t count(const char* name) { return metrics.counter(name, "").value(); }

  static base::ByteVec query(const char* name, uint16_t t, bool edns = true, uint16_t size = 1232) {
    base::ByteVec b(600);
    b.resize(write_query(*Name::from_text(name), t, 0x4242, size, false, false, b));
    if (!edns) b.resize(b.size() - kOptSize), b[11] = 0;
    return b;
  }
  Got ask(const char* name, uint16_t t, bool edns = true, uint16_t size = 1232) { return udp(query(name, t, edns, size)); }
  Got udp(const base::ByteVec& q, int ms = 5000) {
    auto fd = *base::udp_socket({kHere, 0});
    base::SockAddr to(at);
    EXPECT_EQ(::sendto(fd.get(), q.data(), q.size(), 0, to.ptr(), to.len), ssize_t(q.size()));
    base::ByteVec m(65535);
    if (!readable(fd.get(), ms)) return {};
    m.resize(size_t(std::max<ssize_t>(0, ::recv(fd.get(), m.data(), m.size(), 0))));
    return read_reply(std::move(m));
  }
  std::string dig(const std::string& args) {
    std::string out;
    FILE* p = ::popen(fmt::format("dig @127.0.0.1 -p {} +time=5 +tries=1 {} 2>&1", at.port, args).c_str(), "r");
    for (int c; (c = fgetc(p)) != EOF;) out += char(c);
    ::pclose(p);
    return out;
  }

 private:
  std::thread thread_;
};

inline bool has(const std::string& text, const char* part) { return text.find(part) != text.npos; }

}  // namespace dns::testing
