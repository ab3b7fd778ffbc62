#include "edgemesh/proxy/udp_relay.h"

#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/net/conntrack.h"
#include "base/net/socket.h"

namespace edgemesh {

using base::IpPort;
using base::Proto;
using base::Result;
using namespace std::chrono_literals;

static constexpr size_t kSlots = 32;              // datagrams per system call
static constexpr size_t kDatagramBytesMax = 65'535;
static constexpr int kReadsPerTurn = 8;
static constexpr auto kExpireEvery = 5s;
// A client may use a port again for another service once conntrack has forgotten it, which a flow silent for less than this is not.
static constexpr auto kAskAgainAfter = 1s;

UdpRelay::UdpRelay(Config config, Hooks hooks, base::Loop& loop, base::Metrics& m)
    : config_(std::move(config)),
      hooks_(std::move(hooks)),
      loop_(loop),
      reader_(kSlots, kDatagramBytesMax),
      expire_timer_(loop.timer([this] { expire(); })),
      datagrams_(m.counter("edgemeshd_udp_relay_datagrams_total", "Datagrams carried by the daemon because the host's FORWARD chain is closed.")),
      refused_(m.counter("edgemeshd_udp_relay_refused_total", "Datagrams the relay dropped: no service, no endpoint, or too many flows.")) {
  m.gauge_fn("edgemeshd_udp_relay_flows", "UDP flows in the daemon's relay.", {}, [this] { return int64_t(flows_.size()); });
}

UdpRelay::~UdpRelay() = default;

Result<std::unique_ptr<UdpRelay>> UdpRelay::start(Config config, Hooks hooks, base::Loop& loop, base::SocketStore& store, base::Metrics& metrics) {
  std::unique_ptr<UdpRelay> relay(new UdpRelay(std::move(config), std::move(hooks), loop, metrics));
  for (const base::IpAddr& ip : relay->config_.listen) {
    auto l = std::make_unique<Listener>();
    l->at = {ip, relay->config_.port};
    EM_TRY_ASSIGN(l->fd, store.acquire(ip.is_v4() ? "proxy-udp4" : "proxy-udp6", [&] { return base::udp_socket(l->at, {}); }));
    l->watch = loop.watch(l->fd.get(), base::kFdRead, [self = relay.get(), raw = l.get()](base::FdEvents) { self->on_readable(*raw); });
    relay->listeners_.push_back(std::move(l));
  }
  return relay;
}

void UdpRelay::on_readable(const Listener& l) {
  for (int i = 0; i < kReadsPerTurn; i++) {
    auto batch = reader_.receive(l.fd.get());
    if (!batch || batch->empty()) return;
    for (const base::Datagram& d : *batch)
      if (!d.truncated) from_client(l, d);
  }
}

void UdpRelay::from_client(const Listener& l, const base::Datagram& d) {
  Flow* flow = flow_of(l, d.from);
  if (!flow) return refused_.add();
  flow->last = loop_.now();
  if (flow->server) {
    if (::send(flow->server.get(), d.data.data(), d.data.size(), 0) >= 0) datagrams_.add();
    return;
  }
  if (flow->waiting.size() >= base::limits::kHeldDatagramsPerFlowMax) {
    refused_.add();
    flow->waiting.pop_front();
  }
  flow->waiting.emplace_back(d.data.begin(), d.data.end());
  if (flow->waiting.size() == 1) try_current(d.from, *flow);
}

UdpRelay::Flow* UdpRelay::flow_of(const Listener& l, const IpPort& client) {
  auto it = flows_.find(client);
  if (it != flows_.end() && loop_.now() - it->second.last < kAskAgainAfter) return &it->second;
  auto entry = base::conntrack::find_by_reply(Proto::udp, {l.at, client});
  bool known = entry && entry->orig.dst != l.at;
  if (it != flows_.end() && known && entry->orig.dst == it->second.frontend) return &it->second;
  if (it != flows_.end()) drop(client);
  if (!known || flows_.size() >= config_.flows_max) return nullptr;
  Flow f;
  f.id = next_id_++;
  f.listener = &l;
  f.frontend = entry->orig.dst;
  f.choices = hooks_.choices(f.frontend, entry->orig.src.ip);
  f.last = loop_.now();
  if (f.choices.empty()) return nullptr;
  if (!expire_timer_->armed()) expire_timer_->arm(kExpireEvery);
  return &flows_.emplace(client, std::move(f)).first->second;
}

// Answers that come after the flow went, or went on to another endpoint, are for nobody. May drop the flow.
void UdpRelay::try_current(const IpPort& client, Flow& flow) {
  flow.choices[flow.at].resolve([this, client, id = flow.id, at = flow.at](Result<IpPort> address) {
    auto it = flows_.find(client);
    if (it == flows_.end() || it->second.id != id || it->second.at != at || it->second.server) return;
    if (!address || !dial(client, it->second, *address)) next(client, it->second);
  });
}

void UdpRelay::next(const IpPort& client, Flow& flow) {
  if (++flow.at < flow.choices.size()) return try_current(client, flow);
  refused_.add(flow.waiting.size());
  drop(client);
}

bool UdpRelay::dial(const IpPort& client, Flow& flow, const IpPort& to) {
  IpPort any{to.ip.is_v4() ? base::IpAddr() : *base::IpAddr::parse("::"), 0};
  auto fd = base::udp_socket(any, {.mark = config_.socket_mark});
  if (!fd) return false;
  base::SockAddr address(to);
  if (::connect(fd->get(), address.ptr(), address.len) < 0) return false;
  flow.server = std::move(*fd);
  flow.dialled = to;
  flow.watch = loop_.watch(flow.server.get(), base::kFdRead, [this, client](base::FdEvents) { from_server(client); });
  for (const base::ByteVec& p : flow.waiting)
    if (::send(flow.server.get(), p.data(), p.size(), 0) >= 0) datagrams_.add();
  flow.waiting.clear();
  return true;
}

void UdpRelay::from_server(const IpPort& client) {
  auto it = flows_.find(client);
  if (it == flows_.end()) return;
  Flow& flow = it->second;
  // A port unreachable of the endpoint: the flow ends, and the client's next datagram chooses anew.
  if (auto alive = base::socket_error(flow.server.get(), flow.frontend.str()); !alive) {
    const IpPort dialled = flow.dialled;
    drop(client);
    if (hooks_.on_refused) hooks_.on_refused(dialled);
    return;
  }
  base::SockAddr to(client);
  for (int i = 0; i < kReadsPerTurn; i++) {
    auto batch = reader_.receive(flow.server.get());
    if (!batch || batch->empty()) return;
    flow.last = loop_.now();
    for (const base::Datagram& d : *batch)
      if (!d.truncated && ::sendto(flow.listener->fd.get(), d.data.data(), d.data.size(), 0, to.ptr(), to.len) >= 0) datagrams_.add();
  }
}

void UdpRelay::drop(const IpPort& client) {
  auto it = flows_.find(client);
  if (it == flows_.end()) return;
  it->second.watch.reset();  // before its socket
  flows_.erase(it);
}

void UdpRelay::expire() {
  for (auto it = flows_.begin(); it != flows_.end();) {
    auto at = it++;
    if (loop_.now() - at->second.last >= config_.idle_timeout) drop(IpPort(at->first));
  }
  if (!flows_.empty()) expire_timer_->arm(kExpireEvery);
}

}  // namespace edgemesh
