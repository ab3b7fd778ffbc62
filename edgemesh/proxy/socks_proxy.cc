#include "edgemesh/proxy/socks_proxy.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/core/log.h"
#include "base/net/socket.h"

namespace edgemesh {

using base::Code;
using base::IpPort;
using base::Result;
using namespace std::chrono_literals;

static constexpr int kAcceptsPerTurn = 64;
static constexpr auto kDialogueWithin = 10s, kWrongLoginAnswer = 1s;
static constexpr auto kProbeIdle = 60s, kProbeEvery = 15s;  // a shell may be silent for hours; a client that is gone may not

// What a way could not do, in the client's terms.
static SocksCode code_of(Code c) {
  switch (c) {
    case Code::denied:
      return SocksCode::not_allowed;
    case Code::not_found:
      return SocksCode::host_unreachable;
    case Code::timeout:
    case Code::unavailable:
      return SocksCode::network_unreachable;
    default:
      return SocksCode::failure;
  }
}

static SocksCode code_of(base::ConnectOutcome o) {
  switch (o) {
    case base::ConnectOutcome::connected:
      return SocksCode::granted;
    case base::ConnectOutcome::refused:
      return SocksCode::refused;
    case base::ConnectOutcome::unreachable:
      return SocksCode::host_unreachable;
    case base::ConnectOutcome::unanswered:
      return SocksCode::expired;
    case base::ConnectOutcome::local_trouble:
      return SocksCode::failure;
  }
  return SocksCode::failure;
}

// One client. Owned by the proxy, which it asks to drop it.
class SocksProxy::Connection {
 public:
  Connection(SocksProxy& proxy, uint64_t id, base::UniqueFd client, const IpPort& peer)
      : proxy_(proxy),
        id_(id),
        client_(std::move(client)),
        peer_(peer),
        dialogue_(proxy.users_ ? [&proxy](std::string_view n, std::string_view p) { return proxy.users_ && proxy.users_->admits(n, p); }
                               : SocksDialogue::Login()),
        timer_(proxy.loop_.timer([this] { on_time(); })),
        alive_(std::make_shared<bool>(true)) {}
  ~Connection() { *alive_ = false; }

  void start() {
    timer_->arm(kDialogueWithin);
    client_watch_ = proxy_.loop_.watch(client_.get(), base::kFdRead, [this](base::FdEvents) { on_readable(); });
  }

 private:
  enum class Stage : uint8_t { dialogue, punished, connecting, answered };

  void on_readable() {
    uint8_t buf[512];
    while (size_t want = dialogue_.wants()) {
      const ssize_t n = ::read(client_.get(), buf, std::min(want, sizeof buf));
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) return proxy_.drop(id_);
      dialogue_.feed({buf, size_t(n)});
      if (dialogue_.state() == SocksDialogue::State::refused) return on_refused();
      if (!say(dialogue_.take_reply())) return proxy_.drop(id_);
    }
    client_watch_.reset();
    if (dialogue_.state() == SocksDialogue::State::requested) on_request();
  }

  void on_refused() {
    client_watch_.reset();
    last_words_ = dialogue_.take_reply();
    if (dialogue_.login_failed()) {
      proxy_.logins_refused_.add();
      EM_LOG(warn, "socks5", "client {}: wrong name or password, or none", peer_.str());
      stage_ = Stage::punished;
      return timer_->arm(kWrongLoginAnswer);
    }
    if (last_words_.size() > 2) proxy_.count(SocksCode(last_words_[1]));
    end_with(std::move(last_words_));
  }

  void on_request() {
    stage_ = Stage::connecting;
    timer_->arm(proxy_.config_.connect_timeout);
    ways_ = proxy_.hooks_.ways(dialogue_.target(), peer_.ip);
    if (ways_.ways.empty()) return refuse(ways_.refusal, ways_.why);
    try_current();
  }

  void try_current() {
    attempt_++;
    ways_.ways[at_].resolve([this, alive = alive_, attempt = attempt_](Result<Place> place) {
      if (!*alive || attempt != attempt_) return;  // answered after we went on
      if (!place) return next(code_of(place.error().code), place.error().what);
      dial(std::move(*place));
    });
  }

  void dial(Place place) {
    place_ = std::move(place);
    auto fd = base::tcp_connect_start(place_.at, {.mark = proxy_.config_.socket_mark});
    if (!fd) return next(SocksCode::host_unreachable, fd.error().what);
    server_ = std::move(*fd);
    server_watch_ = proxy_.loop_.watch(server_.get(), base::kFdWrite, [this](base::FdEvents) { on_connected(); });
  }

  void on_connected() {
    server_watch_.reset();
    const SocksCode code = code_of(base::connect_outcome(server_.get()));
    if (code != SocksCode::granted) return next(code, fmt::format("{}: {}", place_.at.str(), describe(code)));
    attempt_++;
    timer_->cancel();
    stage_ = Stage::answered;
    proxy_.count(SocksCode::granted);
    if (!say(socks_answer(SocksCode::granted, base::local_address(server_.get()).value_or(IpPort{})))) return proxy_.drop(id_);
    for (int fd : {client_.get(), server_.get()}) {
      base::set_tcp_nodelay(fd);
      base::set_tcp_keepalive(fd, kProbeIdle, kProbeEvery);
    }
    pump_ =
        std::make_unique<Pump>(proxy_.loop_, std::move(client_), std::move(server_), proxy_.config_.idle_timeout, [this](Pump::Totals t) {
          proxy_.bytes_.add(t.to_server + t.to_client);
          proxy_.drop(id_);
        });
  }

  void next(SocksCode code, const std::string& why) {
    last_code_ = code;
    last_error_ = ways_.ways[at_].name + ": " + why;
    server_watch_.reset();
    server_.reset();
    place_ = {};
    if (++at_ >= ways_.ways.size()) return refuse(last_code_, last_error_);
    try_current();
  }

  void on_time() {
    switch (stage_) {
      case Stage::dialogue:
        return proxy_.drop(id_);
      case Stage::punished:
        return end_with(std::move(last_words_));
      case Stage::connecting:
        attempt_++;
        return server_ ? refuse(SocksCode::expired, place_.at.str() + ": no answer in time")
                       : refuse(SocksCode::network_unreachable, "no way there in time");
      case Stage::answered:
        return;
    }
  }

  void refuse(SocksCode code, const std::string& why) {
    proxy_.count(code);
    EM_LOG(warn, "socks5", "{} -> {}: {} ({})", peer_.str(), dialogue_.target().str(), describe(code), why);
    end_with(socks_answer(code));
  }

  // Ends our side first: what the client sent and we never read must not become a reset that overtakes the answer.
  void end_with(const std::string& last) {
    say(last);
    ::shutdown(client_.get(), SHUT_WR);
    char rest[1024];
    for (int i = 0; i < 16 && ::read(client_.get(), rest, sizeof rest) > 0;) ++i;
    proxy_.drop(id_);
  }

  // These few bytes are the first the client gets: they fit, or it is no client.
  bool say(const std::string& text) {
    return text.empty() || ::send(client_.get(), text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size());
  }

  SocksProxy& proxy_;
  uint64_t id_;
  base::UniqueFd client_, server_;
  IpPort peer_;
  SocksDialogue dialogue_;
  Stage stage_ = Stage::dialogue;
  std::string last_words_;
  Ways ways_;
  size_t at_ = 0;
  uint64_t attempt_ = 0;
  Place place_;
  SocksCode last_code_ = SocksCode::failure;
  std::string last_error_;
  std::unique_ptr<base::FdWatch> client_watch_, server_watch_;
  std::unique_ptr<base::Timer> timer_;
  std::unique_ptr<Pump> pump_;
  std::shared_ptr<bool> alive_;
};

SocksProxy::SocksProxy(Config config, std::optional<SocksUsers> users, Hooks hooks, base::Loop& loop, base::Metrics& m)
    : config_(std::move(config)),
      users_(std::move(users)),
      hooks_(std::move(hooks)),
      loop_(loop),
      metrics_(m),
      logins_refused_(m.counter("edgemeshd_socks5_logins_refused_total", "SOCKS5 clients with a wrong name or password, or none.")),
      bytes_(m.counter("edgemeshd_socks5_bytes_total", "Bytes carried for SOCKS5 clients, both directions.")) {
  m.gauge_fn("edgemeshd_socks5_connections", "SOCKS5 clients connected.", {}, [this] { return int64_t(connections_.size()); });
}

SocksProxy::~SocksProxy() = default;

Result<std::unique_ptr<SocksProxy>> SocksProxy::start(Config config, std::optional<SocksUsers> users, Hooks hooks, base::Loop& loop,
                                                      base::SocketStore& store, base::Metrics& metrics) {
  std::unique_ptr<SocksProxy> p(new SocksProxy(std::move(config), std::move(users), std::move(hooks), loop, metrics));
  EM_TRY_ASSIGN(p->listener_, store.acquire("socks5", [&] { return base::tcp_listen(p->config_.listen, {}); }));
  EM_TRY_ASSIGN(p->config_.listen, base::local_address(p->listener_.get()));  // port 0: the kernel chose one
  p->watch_ = loop.watch(p->listener_.get(), base::kFdRead, [self = p.get()](base::FdEvents) { self->on_acceptable(); });
  return p;
}

void SocksProxy::count(SocksCode code) {
  metrics_.counter("edgemeshd_socks5_requests_total", "Requests of SOCKS5 clients by answer.", {{"answer", describe(code)}}).add();
}

void SocksProxy::on_acceptable() {
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    auto client = base::accept_one(listener_.get());
    if (!client) {
      if (client.error().code != Code::unavailable) EM_LOG(error, "socks5", "{}; new connections wait", client.error().what);
      return;
    }
    if (connections_.size() >= config_.connections_max) {
      count(SocksCode::failure);
      EM_LOG(warn, "socks5", "{} connections: the limit mesh.socks5.connectionsMax is reached, new ones are refused", connections_.size());
      continue;
    }
    IpPort peer = base::peer_address(client->get()).value_or(IpPort{});
    uint64_t id = next_id_++;
    auto& c = connections_[id] = std::make_unique<Connection>(*this, id, std::move(*client), peer);
    c->start();
  }
}

void SocksProxy::drop(uint64_t id) {
  auto it = connections_.find(id);
  if (it == connections_.end()) return;
  loop_.defer_delete(std::move(it->second));  // it may be calling us
  connections_.erase(it);
}

}  // namespace edgemesh
