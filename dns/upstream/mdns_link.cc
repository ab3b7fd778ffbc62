#include "dns/upstream/mdns_link.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/core/log.h"
#include "base/net/socket.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/scan.h"

namespace dns {

using base::IpPort;
using namespace std::chrono_literals;

namespace {

constexpr uint32_t kTtlMax = 10;
constexpr size_t kRoom = 9000;   // §17
constexpr auto kLookAgain = 5s;  // for an interface that is not there

class MdnsLink final : public ServerLink {
 public:
  MdnsLink(base::Loop& loop, MdnsOptions o)
      : loop_(loop), options_(std::move(o)), timer_(loop.timer([this] { on_timer(); })), buffer_(kRoom) {
    for (auto& d : options_.devices)
      for (auto& group : options_.groups) ports_.push_back({d, group, {}, {}, {}, false});
  }
  ~MdnsLink() override {
    for (auto& [id, a] : std::exchange(asked_, {})) a.done({});
  }

  void send(base::ByteView query, Done done) override {
    Query q;
    if (parse_query(query, q) != Parsed::ok) return done({});
    uint16_t id = q.id;
    while (asked_.contains(id)) id++;
    base::ByteVec m(query.begin(), query.begin() + std::ptrdiff_t(kHeaderSize + q.question.size()));
    base::store_be16(m.data(), id);
    base::store_be16(&m[2], 0);   // §18: no flags
    base::store_be16(&m[10], 0);  // and no OPT
    size_t sent = 0;
    for (auto& p : ports_) sent += send_by(p, m);
    if (!sent) return done({});
    asked_[id] = {std::move(m), std::move(done), loop_.now()};
    if (!timer_->armed()) timer_->arm(options_.within);
  }
  size_t in_flight() const override { return asked_.size(); }
  bool is_own_socket(const IpPort&) const override { return false; }  // nobody forwards to us by multicast

 private:
  struct Port {
    std::string device;
    IpPort group;
    base::UniqueFd fd;
    std::unique_ptr<base::FdWatch> watch;
    base::Instant looked;
    bool missed;
  };
  struct Asked {
    base::ByteVec query;
    Done done;
    base::Instant since;
  };

  bool open(Port& p) {
    if (p.missed && loop_.now() - p.looked < kLookAgain) return false;
    p.looked = loop_.now();
    const bool v4 = p.group.ip.is_v4();
    const base::IpAddr any = v4 ? base::IpAddr() : *base::IpAddr::parse("::");
    auto fd = base::udp_socket({p.group.ip.is_loopback() ? p.group.ip : any, 0}, {.device = p.device});
    if (!fd) {
      if (!std::exchange(p.missed, true) && v4)  // a host without IPv6 is none to complain about
        EM_LOG(warn, "dns", "dns.mdnsInterfaces: {}: {}: names of the site are not asked for there until it comes", p.device,
               fd.error().what);
      return false;
    }
    const int far = 255;  // §11
    v4 ? ::setsockopt(fd->get(), IPPROTO_IP, IP_MULTICAST_TTL, &far, sizeof far)
       : ::setsockopt(fd->get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &far, sizeof far);
    p.missed = false;
    p.fd = std::move(*fd);
    p.watch = loop_.watch(p.fd.get(), base::kFdRead, [this, &p](base::FdEvents) { on_readable(p); });
    return true;
  }

  bool send_by(Port& p, base::ByteView m) {
    base::SockAddr to(p.group);
    for (int i = 0; i < 2; i++) {
      if (!p.fd && !open(p)) return false;
      if (::sendto(p.fd.get(), m.data(), m.size(), 0, to.ptr(), to.len) >= 0) return true;
      if (errno != ENODEV && errno != ENXIO) return false;
      p.watch.reset();  // another interface has the name by now
      p.fd.reset();
    }
    return false;
  }

  void on_readable(const Port& p) {
    for (int i = 0; i < 64; i++) {
      base::SockAddr from;
      const ssize_t n = ::recvfrom(p.fd.get(), buffer_.data(), buffer_.size(), 0, from.ptr(), &from.len);
      if (n < 0) return;
      const auto who = from.ip_port();
      if (who && who->port == p.group.port) on_answer({buffer_.data(), size_t(n)});
    }
  }

  void on_answer(base::MutByteView m) {
    const auto it = m.size() < kHeaderSize ? asked_.end() : asked_.find(base::load_be16(m.data()));
    Query q;
    Scan s;
    if (it == asked_.end() || parse_query(it->second.query, q) != Parsed::ok) return;
    if (!scan_answer(m, s) || s.rcode != Rcode::noerror || !question_is(m, q.name(), q.type, klass::IN)) return;
    for (uint16_t at : s.ttl_at) {
      m[at - size_t(2)] &= 0x7f;  // §10.2: the top bit of the class is not the class's
      base::store_be32(&m[at], std::min(base::load_be32(&m[at]), kTtlMax));
    }
    if (!says_something(m, q)) return;
    auto done = std::move(it->second.done);
    asked_.erase(it);
    done(m);
  }

  static bool says_something(base::ByteView m, const Query& q) {
    bool any = false;
    each_answer(m, [&](const Record& r) {
      any |= r.klass == klass::IN && (r.type == q.type || r.type == type::CNAME);
      return !any;
    });
    return any;
  }

  void on_timer() {
    std::vector<Asked> late;
    for (auto it = asked_.begin(); it != asked_.end();) {
      if (loop_.now() - it->second.since < options_.within) {
        ++it;
        continue;
      }
      late.push_back(std::move(it->second));
      it = asked_.erase(it);
    }
    auto oldest = std::ranges::min_element(asked_, {}, [](auto& a) { return a.second.since; });
    if (oldest != asked_.end()) timer_->arm(oldest->second.since + options_.within - loop_.now());
    for (auto& a : late) nobody_has(a);
  }

  static void nobody_has(Asked& a) {
    Query q;
    if (parse_query(a.query, q) != Parsed::ok) return a.done({});
    MessageWriter w(*Name::from_wire(q.name()));
    w.authority();
    w.add_soa(*Name::from_text("local"), kTtlMax, 1);
    base::ByteVec out(kUdpMin);
    out.resize(write_reply(q, {.flags = flag::AA}, w.body(), kUdpMin, out));
    a.done(out);
  }

  base::Loop& loop_;
  MdnsOptions options_;
  std::vector<Port> ports_;
  std::map<uint16_t, Asked> asked_;
  std::unique_ptr<base::Timer> timer_;
  base::ByteVec buffer_;
};

}  // namespace

std::unique_ptr<ServerLink> make_mdns_link(base::Loop& loop, MdnsOptions o) { return std::make_unique<MdnsLink>(loop, std::move(o)); }

}  // namespace dns
