// The server's state: a sequence of queries, upstream answers (right, wrong, mutated, none), changes of the table and time, in virtual time.
// Every reply can be read, keeps its limit and repeats its question; every client that waits is answered exactly once and in time;
// nothing stays under way.
#include <algorithm>
#include <list>

#include "base/core/assert.h"
#include "base/sim/sim_loop.h"
#include "dns/server/responder.h"
#include "dns/wire/message_writer.h"
#include "dns/zone/memory_table.h"
#include "dns/zone/zone_builder.h"

using namespace dns;
using namespace dns::testing;
using namespace std::chrono_literals;

namespace {

class Link;
std::list<Link*> g_links;

class Link final : public ServerLink {
 public:
  Link() { place_ = g_links.insert(g_links.end(), this); }
  ~Link() override {
    g_links.erase(place_);
    for (auto& p : std::exchange(pending_, {})) p.done({});
  }
  void send(base::ByteView query, Done done) override { pending_.push_back({{query.begin(), query.end()}, std::move(done)}); }
  size_t in_flight() const override { return pending_.size(); }
  bool is_own_socket(const base::IpPort&) const override { return false; }
  struct Pending {
    base::ByteVec query;
    Done done;
  };
  Pending take(size_t i) {
    Pending p = std::move(pending_[i % pending_.size()]);
    pending_.erase(pending_.begin() + std::ptrdiff_t(i % pending_.size()));
    return p;
  }

 private:
  std::vector<Pending> pending_;
  std::list<Link*>::iterator place_;
};

const char* const kNames[] = {"web.shop.svc.cluster.local", "none.shop.svc.cluster.local", "ext.shop.svc.cluster.local", "a.example", "b.example", "A.Example",
                              "c.d.example", "x.y.z.example", "www.example.com", "cluster.local", "_http._tcp.web.shop.svc.cluster.local", ""};
constexpr uint16_t kTypes[] = {type::A, type::AAAA, type::SRV, type::ANY, type::TXT, type::AXFR};

class World {
 public:
  World() {
    table_->put(cluster_service("shop", "web", {"10.96.1.10"}, {{"http", 80}}));
    auto ext = cluster_service("shop", "ext", {}, {});
    ext.kind = base::kube::Service::Kind::external_name;
    ext.external_name = "www.example.com";
    table_->put(ext);
    index_.apply(builder_.whole(table_));
    responder_.set_routed(routed_.get());
  }
  ~World() {
    loop_.run_for(10s);
    EM_ASSERT(waiting_ == 0 && upstream_.in_flight() == 0);
  }

  void step(base::Reader& in) {
    const uint8_t what = in.u8(), a = in.u8(), b = in.u8();
    if (what % 8 < 4) ask(a, b, what);
    else if (what % 8 == 4) raw(in.take(std::min<size_t>(a, in.left())), b);
    else if (what % 8 == 5) reply(a, b, in);
    else if (what % 8 == 6) loop_.run_for(std::chrono::milliseconds(a * (b & 1 ? 1 : 257)));
    else change(a);
  }

 private:
  void ask(uint8_t which, uint8_t bits, uint8_t how) {
    base::ByteVec m(600);
    m.resize(write_query(*Name::from_text(kNames[which % std::size(kNames)]), kTypes[which / 16 % std::size(kTypes)], uint16_t(serial_++ * 7), bits & 1 ? 512 : 1232, bits & 2,
                         bits & 4, m));
    if (bits & 8) m.resize(m.size() - kOptSize), m[11] = 0;
    raw(m, how);
  }

  void raw(base::ByteView m, uint8_t how) {
    static uint8_t out[kMessageMax];
    const Transport t = how & 0x40 ? Transport::tcp : Transport::udp;
    const base::IpPort from{base::IpAddr::v4(0x0a000001u + (how >> 4 & 3)), 4242};
    Query q;
    const Parsed p = parse_query(m, q);
    const base::ByteVec question(q.question.begin(), q.question.end());
    const size_t limit = t == Transport::tcp ? kMessageMax : std::max(udp_limit(q, 1232), kUdpMin);
    auto check = [question, limit, id = q.id, ok = p == Parsed::ok](base::ByteView r) {
      EM_ASSERT(r.size() >= kHeaderSize && r.size() <= limit && base::load_be16(r.data()) == id && (r[2] & 0x80));
      if (!ok) return;
      Scan s;
      EM_ASSERT(scan_answer(r, s) && std::equal(question.begin(), question.end(), &r[kHeaderSize]));
    };
    const base::ByteVec copy(m.begin(), m.end());
    auto a = responder_.answer(copy, t, from, out);
    responder_.count();
    EM_ASSERT((a.kind == Responder::Answered::Kind::drop) == (p == Parsed::drop));
    if (a.kind == Responder::Answered::Kind::reply) return check({out, a.size});
    if (a.kind == Responder::Answered::Kind::drop) return;
    waiting_++;
    responder_.wait_for(t, [this, check, asked = loop_.now(), once = std::make_shared<int>(0)](base::ByteView r) {
      EM_ASSERT(++*once == 1 && loop_.now() - asked <= 3s);
      waiting_--;
      check(r);
    });
  }

  void reply(uint8_t which, uint8_t how, base::Reader& in) {
    std::vector<Link*> busy;
    for (auto* l : g_links)
      if (l->in_flight()) busy.push_back(l);
    if (busy.empty()) return;
    auto p = busy[which % busy.size()]->take(which / 4);
    base::ByteVec m = answer_to(p.query, how);
    for (int n = how >> 6; n > 0 && !m.empty(); n--) {  // mutated
      const size_t at = in.u8() * size_t(3) % m.size();
      m[at] = in.u8();
    }
    p.done(m);
  }

  static base::ByteVec answer_to(base::ByteView query, uint8_t how) {
    Query q;
    EM_ASSERT(parse_query(query, q) == Parsed::ok);
    const Name n = *Name::from_wire(q.name()), other = *Name::from_text("c.d.example");
    MessageWriter w(n);
    Reply r{.flags = flag::RA};
    const uint32_t ttl = how & 0x20 ? 1 : 300;
    switch (how % 8) {
      case 0: return {};
      case 1: r.rcode = Rcode::servfail; break;
      case 2: r.rcode = Rcode::nxdomain; w.authority(); w.add_soa(*Name::from_text("example"), ttl, 1); break;
      case 3: w.authority(); w.add_soa(*Name::from_text("example"), ttl, 1); break;
      case 4: w.add_name(n, type::CNAME, ttl, other); w.add(other, type::A, ttl, base::ByteVec{192, 0, 2, 9}); break;
      case 5: for (uint8_t i = 0; i < 90; i++) w.add(n, type::A, ttl, base::ByteVec{192, 0, 2, i}); break;
      default: w.add(n, q.type, ttl, base::ByteVec{192, 0, 2, 1});
    }
    base::ByteVec out(kMessageMax);
    out.resize(write_reply(q, r, w.body(), kMessageMax, out));
    return out;
  }

  void change(uint8_t how) {
    table_->put(cluster_service("shop", how & 1 ? "web" : "none", {how & 2 ? "10.96.1.11" : "10.96.1.12"}, {{"http", uint16_t(how + 1)}}));
    base::kube::ServiceDiff d;
    d.changed = {{"shop", how & 1 ? "web" : "none"}};
    index_.apply(builder_.apply(table_, d));
    responder_.set_routed(how & 4 ? nullptr : routed_.get());
  }

  static std::unique_ptr<LocalNames> routed_names() {
    LocalConfig c;
    c.hosts.push_back({base::IpAddr::v4(0xc0000250), {"b.example"}, false});
    c.zones.push_back({"z.example", 5, true, {{.name = "*", .type = "A", .data = {"192.0.2.80"}}}});
    auto l = LocalNames::make(c, 5);
    EM_ASSERT(l);
    return std::move(*l);
  }

  // The client that opted in: its path goes on in two further domains.
  Responder::Hooks hooks() {
    Responder::Hooks h{.on_service_query = {}, .search_namespace = {}, .watch = &watch_};
    h.search_namespace = [this](const base::IpAddr& ip) { return ip == base::IpAddr::v4(0x0a000003u) ? &shop_ : nullptr; };
    for (const char* d : {"example", "z.example"}) h.search_domains.push_back(*Name::from_text(d));
    return h;
  }

  static UpstreamConfig upstream_config() {
    UpstreamConfig c;
    c.resolv_conf = "/nonexistent/resolv.conf";
    for (uint32_t i = 1; i <= 2; i++) c.servers.push_back(base::IpPort{base::IpAddr::v4(0x0a0000f0u + i), 53});
    c.cache_bytes_max = 4096;
    c.in_flight_max = 8;
    c.waiters_max = 3;
    return c;
  }

  base::SimLoop loop_;
  base::SeededRng rng_{3};
  base::Metrics metrics_;
  std::shared_ptr<MemoryTable> table_ = std::make_shared<MemoryTable>();
  ZoneBuilder builder_{ZoneConfig{}};
  ZoneIndex index_{ZoneConfig{}, 5};
  QueryWatch watch_{loop_.now()};
  const std::string shop_ = "shop";
  std::unique_ptr<LocalNames> routed_ = routed_names();
  Upstream upstream_{loop_, rng_, metrics_, upstream_config(), [](const ServerAddress&, bool) { return std::make_unique<Link>(); }};
  Responder responder_{loop_, metrics_, index_, upstream_, hooks(), 1232};
  uint32_t serial_ = 1;
  int waiting_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::Reader in({data, std::min<size_t>(size, 4096)});
  World w;
  for (int n = 0; in.left() >= 3 && n < 300; n++) w.step(in);
  return 0;
}
