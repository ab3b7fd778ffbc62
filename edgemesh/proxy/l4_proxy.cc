#include "edgemesh/proxy/l4_proxy.h"

#include <sys/socket.h>

#include "base/core/log.h"
#include "base/net/socket.h"

namespace edgemesh {

using base::Code;
using base::IpPort;
using base::Result;

static constexpr int kAcceptsPerTurn = 64;

// One proxied connection: choose, resolve, dial, pump. Owned by the proxy, which it asks to drop it.
class L4Proxy::Connection {
 public:
  Connection(L4Proxy& proxy, uint64_t id, base::UniqueFd client, const IpPort& peer)
      : proxy_(proxy),
        id_(id),
        client_(std::move(client)),
        peer_(peer),
        budget_(proxy.loop_.timer([this] { give_up("the dial budget is spent"); })),
        dial_timer_(proxy.loop_.timer([this] { failed(lb::Sign::unanswered, "no answer in time"); })),
        alive_(std::make_shared<bool>(true)) {}
  ~Connection() { *alive_ = false; }

  void start() {
    auto original = base::original_destination(client_.get());
    if (!original) return refuse();
    frontend_ = *original;
    choices_ = proxy_.hooks_.choices(frontend_, peer_.ip);
    if (choices_.empty()) return refuse();
    budget_->arm(proxy_.config_.dial_budget);
    try_current();
  }

 private:
  void try_current() {
    attempt_++;
    auto alive = alive_;
    choices_[at_].resolve([this, alive, attempt = attempt_](Result<IpPort> address) {
      if (!*alive || attempt != attempt_) return;  // answered after we went on
      if (!address) return next(address.error().what);
      dial(*address);
    });
  }

  void dial(const IpPort& to) {
    auto fd = base::tcp_connect_start(to, {.mark = proxy_.config_.socket_mark});
    if (!fd) return next(fd.error().what);
    server_ = std::move(*fd);
    dialled_ = to;
    is_dialling_ = true;
    connect_watch_ = proxy_.loop_.watch(server_.get(), base::kFdWrite, [this](base::FdEvents) { on_connected(); });
    dial_timer_->arm(proxy_.config_.dial_timeout);
  }

  void on_connected() {
    if (auto connected = base::socket_error(server_.get(), dialled_.str()); !connected)
      return connected.error().code == Code::unavailable ? failed(lb::Sign::refused, connected.error().what) : next(connected.error().what);
    tell(std::nullopt);
    connect_watch_.reset();
    dial_timer_->cancel();
    budget_->cancel();
    base::set_tcp_nodelay(client_.get());
    base::set_tcp_nodelay(server_.get());
    pump_ = std::make_unique<Pump>(proxy_.loop_, std::move(client_), std::move(server_), proxy_.config_.idle_timeout, [this](Pump::Totals t) {
      proxy_.bytes_.add(t.to_server + t.to_client);
      proxy_.drop(id_);
    });
  }

  void failed(lb::Sign sign, const std::string& why) {
    tell(sign);
    next(why);
  }

  void tell(std::optional<lb::Sign> failure) {
    if (is_dialling_ && proxy_.hooks_.on_result) proxy_.hooks_.on_result(dialled_, failure);
    is_dialling_ = false;
  }

  void next(const std::string& why) {
    is_dialling_ = false;
    proxy_.dial_failures_.add();
    last_error_ = choices_[at_].name + ": " + why;
    connect_watch_.reset();
    dial_timer_->cancel();
    server_.reset();
    if (++at_ >= choices_.size()) return give_up("no endpoint answered");
    try_current();
  }

  void give_up(const char* why) {
    EM_LOG(warn, "proxy", "connection {} -> {}: {} (last: {})", peer_.str(), frontend_.str(), why, last_error_);
    refuse();
  }

  void refuse() {
    proxy_.refused_.add();
    linger hard{1, 0};  // a reset, as the kernel gives for a service without endpoints
    ::setsockopt(client_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    proxy_.drop(id_);
  }

  L4Proxy& proxy_;
  uint64_t id_;
  base::UniqueFd client_, server_;
  IpPort peer_, frontend_, dialled_;
  std::vector<Choice> choices_;
  size_t at_ = 0;
  bool is_dialling_ = false;
  uint64_t attempt_ = 0;
  std::string last_error_ = "none tried";
  std::unique_ptr<base::FdWatch> connect_watch_;
  std::unique_ptr<base::Timer> budget_, dial_timer_;
  std::unique_ptr<Pump> pump_;
  std::shared_ptr<bool> alive_;
};

L4Proxy::L4Proxy(Config config, Hooks hooks, base::Loop& loop, base::Metrics& m)
    : config_(std::move(config)),
      hooks_(std::move(hooks)),
      loop_(loop),
      accepted_(m.counter("edgemeshd_proxy_accepted_total", "Connections that came to the proxy for first contact.")),
      refused_(m.counter("edgemeshd_proxy_refused_total", "Proxied connections no endpoint could be found for.")),
      dial_failures_(m.counter("edgemeshd_proxy_dial_failures_total", "Endpoints that did not answer a proxied connection.")),
      bytes_(m.counter("edgemeshd_proxy_bytes_total", "Bytes carried by the proxy, both directions.")) {
  m.gauge_fn("edgemeshd_proxy_connections", "Connections in the proxy.", {}, [this] { return int64_t(connections_.size()); });
}

L4Proxy::~L4Proxy() = default;

Result<std::unique_ptr<L4Proxy>> L4Proxy::start(Config config, Hooks hooks, base::Loop& loop, base::SocketStore& store, base::Metrics& metrics) {
  std::unique_ptr<L4Proxy> p(new L4Proxy(std::move(config), std::move(hooks), loop, metrics));
  for (const base::IpAddr& ip : p->config_.listen) {
    const char* name = ip.is_v4() ? "proxy-tcp4" : "proxy-tcp6";
    IpPort at{ip, p->config_.port};
    EM_TRY_ASSIGN(base::UniqueFd fd, store.acquire(name, [&] { return base::tcp_listen(at, {}); }));
    if (p->config_.port == 0) {
      EM_TRY_ASSIGN(IpPort bound, base::local_address(fd.get()));
      p->config_.port = bound.port;
    }
    int raw = fd.get();
    p->listeners_.push_back({std::move(fd), loop.watch(raw, base::kFdRead, [self = p.get(), raw](base::FdEvents) { self->on_acceptable(raw); })});
  }
  return p;
}

void L4Proxy::on_acceptable(int fd) {
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    auto client = base::accept_one(fd);
    if (!client) {
      if (client.error().code != Code::unavailable) EM_LOG(error, "proxy", "{}; new connections wait", client.error().what);
      return;
    }
    if (connections_.size() >= config_.connections_max) {
      refused_.add();
      EM_LOG(warn, "proxy", "{} connections: the limit mesh.proxy.connectionsMax is reached, new ones are refused", connections_.size());
      continue;
    }
    accepted_.add();
    IpPort peer = base::peer_address(client->get()).value_or(IpPort{});
    uint64_t id = next_id_++;
    auto& c = connections_[id] = std::make_unique<Connection>(*this, id, std::move(*client), peer);
    c->start();
  }
}

void L4Proxy::drop(uint64_t id) {
  auto it = connections_.find(id);
  if (it == connections_.end()) return;
  loop_.defer_delete(std::move(it->second));  // it may be calling us
  connections_.erase(it);
}

void L4Proxy::stop_accepting() { listeners_.clear(); }

}  // namespace edgemesh
