#include "tunnel/lan_port.h"

#include <algorithm>

#include "base/core/log.h"

namespace tunnel {
namespace {

constexpr uint16_t kPort = 5353;
constexpr int kNeighbourHops = 255;  // no router has touched it
constexpr size_t kAtOnce = 32;

base::IpPort group(base::Family f) { return {*base::IpAddr::parse(f == base::Family::v4 ? "224.0.0.251" : "ff02::fb"), kPort}; }

std::vector<LanTag> all_tags(const LanPort::Config& c, const std::string& name) {
  std::vector<LanTag> out;
  for (const auto& a : c.authorities) out.push_back(lan_tag(a, c.trust_domain, name));
  return out;
}

}  // namespace

std::vector<LanLink> lan_links(const std::vector<base::netlink::Link>& links, const std::vector<base::netlink::Address>& addresses,
                               const CandidateRules& rules) {
  std::vector<LanLink> out;
  for (const auto& l : links) {
    LanLink lan{l.index, l.name, {}, {}, {}};
    std::vector<base::netlink::Address> of_link;
    for (const auto& a : addresses)
      if (a.link == l.index) of_link.push_back(a);
    for (const auto& c : host_candidates(links, of_link, 1024, rules)) lan.addresses.push_back(c.at.ip);
    if (lan.addresses.empty()) continue;
    for (const auto& a : of_link) {
      lan.sources.push_back(a.ip);
      bool told = std::find(lan.addresses.begin(), lan.addresses.end(), a.ip) != lan.addresses.end();
      if (auto net = told ? base::Cidr::parse(a.ip.str() + "/" + std::to_string(a.prefix)) : std::nullopt) lan.on_link.push_back(*net);
    }
    out.push_back(std::move(lan));
  }
  return out;
}

LanPort::LanPort(Config c, std::function<void(const std::string&)> on_found, base::Loop& loop, base::Rng& rng, base::Metrics& metrics)
    : config_(std::move(c)),
      on_found_(std::move(on_found)),
      loop_(loop),
      timer_(loop.timer([this] { on_timer(); })),
      discovery_({all_tags(config_, config_.node), config_.udp_port, config_.tcp_port},
                 {[this](int link, base::ByteView b) {
                    for (auto& s : sockets_)
                      if (s->spec.interface == link) base::send_multicast(s->fd.get(), s->spec, b);
                  },
                  [this](LanTag t) { return names_.contains(t); },
                  [this](LanTag t) {
                    if (auto it = names_.find(t); it != names_.end()) on_found_(it->second);
                  }},
                 rng, metrics) {}

LanPort::~LanPort() = default;

std::vector<LanTag> LanPort::tags_of(const std::string& name) const { return all_tags(config_, name); }

void LanPort::follow(std::vector<LanLink> links) {
  if (links == discovery_.links()) return;
  std::erase_if(sockets_, [&](const auto& s) {
    return std::none_of(links.begin(), links.end(),
                        [&](const LanLink& l) { return l.index == s->spec.interface && l.name == s->spec.device; });
  });
  for (const auto& l : links) {
    open(l, base::Family::v4);
    open(l, base::Family::v6);
  }
  discovery_.set_links(std::move(links), loop_.now());
  touch();
}

void LanPort::open(const LanLink& l, base::Family f) {
  bool wanted = std::any_of(l.sources.begin(), l.sources.end(), [&](const base::IpAddr& ip) { return ip.family() == f; });
  auto same = [&](const auto& s) { return s->spec.interface == l.index && s->spec.group.ip.family() == f; };
  auto known = std::find_if(sockets_.begin(), sockets_.end(), same);
  if (!wanted && known != sockets_.end()) sockets_.erase(known);
  if (!wanted || known != sockets_.end()) return;
  auto s = std::make_unique<Socket>();
  s->spec = {group(f), l.index, l.name, config_.socket_mark};
  auto fd = base::multicast_socket(s->spec);
  if (!fd) {
    if (told_.size() < 64 && told_.insert(fd.error().what).second)
      EM_LOG(warn, "tunnel", "nodes on the network of {} are not looked for: {}; or set tunnel.lanDiscovery: false", l.name,
             fd.error().what);
    return;
  }
  s->fd = std::move(*fd);
  s->watch = loop_.watch(s->fd.get(), base::kFdRead, [this, raw = s.get()](base::FdEvents) { on_readable(*raw); });
  sockets_.push_back(std::move(s));
}

void LanPort::on_readable(Socket& s) {
  uint8_t buffer[kLanMessageBytesMax];
  for (size_t i = 0; i < kAtOnce; i++) {
    auto d = base::receive_multicast(s.fd.get(), buffer);
    if (!d) break;
    bool near = !d->truncated && d->hop_limit == kNeighbourHops && d->from.port == kPort;
    if (near) discovery_.on_datagram(s.spec.interface, d->from, base::ByteView(buffer).first(d->size), loop_.now());
  }
  touch();
}

void LanPort::on_timer() {
  if (loop_.now() >= discovery_.next_deadline()) discovery_.tick(loop_.now());
  touch();
}

void LanPort::touch() {
  base::Instant next = discovery_.next_deadline();
  if (next == base::Instant::max()) return timer_->cancel();
  timer_->arm(next - loop_.now());
}

void LanPort::set_peers(const std::set<std::string>& names) {
  if (names == peers_) return;
  peers_ = names;
  names_.clear();
  for (const auto& n : names)
    for (LanTag t : tags_of(n)) names_[t] = n;
  std::set<std::string> heard;
  for (const auto& f : discovery_.found())
    if (auto it = names_.find(f.tag); it != names_.end()) heard.insert(it->second);
  for (const auto& n : heard) on_found_(n);
}

void LanPort::look() {
  discovery_.look(loop_.now());
  touch();
}

void LanPort::stop_for_good() { discovery_.say_goodbye(); }

template <class Get>
std::vector<base::IpPort> LanPort::over_tags(const std::string& peer, Get get) const {
  std::vector<base::IpPort> out;
  for (LanTag t : tags_of(peer))
    for (const auto& at : get(t))
      if (std::find(out.begin(), out.end(), at) == out.end() && out.size() < kLanAddressesMax) out.push_back(at);
  return out;
}

std::vector<base::IpPort> LanPort::udp_at(const std::string& peer) const {
  return over_tags(peer, [this](LanTag t) { return discovery_.udp_at(t); });
}
std::vector<base::IpPort> LanPort::signal_at(const std::string& peer) const {
  return over_tags(peer, [this](LanTag t) { return discovery_.signal_at(t); });
}

LanView LanPort::view() const {
  LanView v;
  v.enabled = true;
  std::map<int, std::string> devices;
  for (const auto& l : discovery_.links()) {
    devices[l.index] = l.name;
    bool open = std::any_of(sockets_.begin(), sockets_.end(), [&](const auto& s) { return s->spec.interface == l.index; });
    if (open) v.interfaces.push_back(l.name);
  }
  for (const auto& f : discovery_.found()) {
    auto name = names_.find(f.tag);
    if (name == names_.end()) {
      v.strangers++;
      continue;
    }
    LanView::Node n{
        name->second, devices[f.link], {}, f.tcp_port, std::chrono::duration_cast<std::chrono::seconds>(f.expires - loop_.now()).count()};
    for (const auto& ip : f.addresses) n.addresses.push_back(base::IpPort{ip, f.udp_port}.str());
    v.nodes.push_back(std::move(n));
  }
  return v;
}

}  // namespace tunnel
