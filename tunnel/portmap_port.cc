#include "tunnel/portmap_port.h"

#include <algorithm>

#include "base/net/socket.h"

namespace tunnel {

std::optional<PortmapWay> portmap_way(const std::vector<base::netlink::Route>& routes, const std::vector<base::netlink::Link>& links,
                                      const std::vector<base::netlink::Address>& addresses, const CandidateRules& rules) {
  const base::netlink::Route* best = nullptr;
  for (const auto& r : routes) {
    bool by_default = r.to.len == 0 && r.to.ip.is_v4() && r.table == base::netlink::kMainTable && r.via && r.via->is_v4() &&
                      !is_interface_excluded(r.dev, rules);
    if (by_default && (!best || r.metric < best->metric)) best = &r;
  }
  if (!best) return std::nullopt;
  auto link = std::find_if(links.begin(), links.end(), [&](const auto& l) { return l.name == best->dev; });
  if (link == links.end()) return std::nullopt;
  for (const auto& a : addresses) {
    auto net = a.link == link->index && a.ip.is_v4() ? base::Cidr::parse(a.ip.str() + "/" + std::to_string(a.prefix)) : std::nullopt;
    if (net && net->contains(*best->via) && a.ip.is_private()) return PortmapWay{*best->via, a.ip};
  }
  return std::nullopt;
}

base::Result<std::unique_ptr<PortmapPort>> PortmapPort::open(uint16_t own_port, uint32_t socket_mark, std::function<void()> on_change,
                                                             base::Loop& loop, base::Rng& rng, base::Metrics& metrics) {
  base::SocketOptions o;
  o.mark = socket_mark;
  EM_TRY_ASSIGN(base::UniqueFd fd, base::udp_socket({base::IpAddr(), 0}, o));
  return std::unique_ptr<PortmapPort>(new PortmapPort(std::move(fd), own_port, std::move(on_change), loop, rng, metrics));
}

PortmapPort::PortmapPort(base::UniqueFd fd, uint16_t own_port, std::function<void()> on_change, base::Loop& loop, base::Rng& rng,
                         base::Metrics& metrics)
    : loop_(loop),
      fd_(std::move(fd)),
      watch_(loop.watch(fd_.get(), base::kFdRead, [this](base::FdEvents) { on_readable(); })),
      timer_(loop.timer([this] {
        if (loop_.now() >= client_.next_deadline()) client_.tick(loop_.now());
        touch();
      })),
      client_(own_port,
              {[this](const base::IpPort& to, base::ByteView b) {
                 writer_.add({.to = to, .data = b});
                 writer_.flush(fd_.get());
                 writer_.clear();
               },
               std::move(on_change)},
              rng, metrics) {}

PortmapPort::~PortmapPort() = default;

void PortmapPort::follow(std::optional<PortmapWay> way) {
  client_.set_way(std::move(way), loop_.now());
  touch();
}

void PortmapPort::check() {
  client_.check(loop_.now());
  touch();
}

void PortmapPort::on_readable() {
  auto got = reader_.receive(fd_.get());
  if (!got) return;
  for (const auto& d : *got)
    if (!d.truncated) client_.on_datagram(d.from, d.data, loop_.now());
  touch();
}

void PortmapPort::touch() {
  base::Instant next = client_.next_deadline();
  if (next == base::Instant::max()) return timer_->cancel();
  timer_->arm(next - loop_.now());
}

PortMappingView PortmapPort::view() const {
  PortMappingView v;
  v.enabled = true;
  if (client_.way()) v.router = client_.way()->router.str();
  v.trouble = client_.trouble();
  if (!client_.outside()) return v;
  v.outside = client_.outside()->str();
  v.is_public = !client_.outside()->ip.is_private();
  v.protocol = client_.protocol();
  v.seconds_left = std::chrono::duration_cast<std::chrono::seconds>(client_.left(loop_.now())).count();
  return v;
}

}  // namespace tunnel
