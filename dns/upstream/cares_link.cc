#include "dns/upstream/cares_link.h"

#include <ares.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/core/log.h"

namespace dns {

using base::IpAddr;
using base::IpPort;

namespace {

IpPort to_ip_port(const sockaddr_storage& ss) {
  if (ss.ss_family == AF_INET) {
    auto& a = reinterpret_cast<const sockaddr_in&>(ss);
    return {IpAddr::v4(reinterpret_cast<const uint8_t*>(&a.sin_addr)), ntohs(a.sin_port)};
  }
  auto& a = reinterpret_cast<const sockaddr_in6&>(ss);
  return {IpAddr::v6(a.sin6_addr.s6_addr), ntohs(a.sin6_port)};
}

static constexpr uint32_t kQueriesPerPort = 500;

class Channel {
 public:
  explicit Channel(base::Loop& loop) : loop_(loop), timer_(loop.timer([this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); })) {
    ares_library_init(ARES_LIB_INIT_ALL);
  }
  ~Channel() {
    if (channel_) ares_destroy(channel_);
    ares_library_cleanup();
  }
  Channel(const Channel&) = delete;

  base::Result<void> open(const CaresOptions& o) {
    ares_options a{};
    a.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_STAYOPEN | ARES_FLAG_EDNS | (o.tcp_only ? ARES_FLAG_USEVC : 0);
    a.ednspsz = 1232;
    a.timeout = int(o.within.count());
    a.tries = 1;
    a.sock_state_cb = [](void* self, ares_socket_t fd, int r, int w) { static_cast<Channel*>(self)->on_socket(fd, r, w); };
    a.sock_state_cb_data = this;
    a.lookups = const_cast<char*>("b");
    int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS;
    if (int rc = ares_init_options(&channel_, &a, mask)) return base::fail(base::Code::io, "c-ares: {}", ares_strerror(rc));
    if (int rc = ares_set_servers_ports_csv(channel_, o.server.str().c_str())) return base::fail(base::Code::invalid, "c-ares: {}", ares_strerror(rc));
    return {};
  }

  void send(base::ByteView query, ServerLink::Done done) {
    struct Pending {
      Channel* channel;
      ServerLink::Done done;
    };
    auto* p = new Pending{this, std::move(done)};
    in_flight_++;
    sent_++;
    ares_send(channel_, query.data(), int(query.size()), [](void* arg, int status, int, unsigned char* b, int n) {
      std::unique_ptr<Pending> mine(static_cast<Pending*>(arg));
      mine->channel->in_flight_--;
      mine->done(status == ARES_SUCCESS && b ? base::ByteView(b, size_t(n)) : base::ByteView());
    }, p);
    arm();
  }
  size_t in_flight() const { return in_flight_; }
  uint32_t sent() const { return sent_; }
  bool is_own_socket(const IpPort& local) const {
    for (auto& [fd, s] : sockets_)
      if (s.local == local) return true;
    return false;
  }

 private:
  struct Socket {
    std::unique_ptr<base::FdWatch> watch;
    IpPort local;
  };

  void on_socket(int fd, int r, int w) {
    if (!r && !w) {
      sockets_.erase(fd);
      return;
    }
    auto events = base::FdEvents((r ? base::kFdRead : 0) | (w ? base::kFdWrite : 0));
    auto& s = sockets_[fd];
    if (s.watch) return s.watch->set(events);
    s.watch = loop_.watch(fd, events, [this, fd](base::FdEvents e) {
      process(e & base::kFdRead ? fd : ARES_SOCKET_BAD, e & base::kFdWrite ? fd : ARES_SOCKET_BAD);
    });
    sockaddr_storage ss{};
    socklen_t n = sizeof ss;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &n) == 0) s.local = to_ip_port(ss);
  }

  void process(int r, int w) {
    ares_process_fd(channel_, r, w);
    arm();
  }
  void arm() {
    timeval tv{};
    if (!ares_timeout(channel_, nullptr, &tv)) return timer_->cancel();
    timer_->arm(std::chrono::seconds(tv.tv_sec) + std::chrono::microseconds(tv.tv_usec) + std::chrono::milliseconds(1));
  }

  base::Loop& loop_;
  std::unique_ptr<base::Timer> timer_;
  ares_channel channel_ = nullptr;
  std::map<int, Socket> sockets_;
  size_t in_flight_ = 0;
  uint32_t sent_ = 0;
};

class CaresLink final : public ServerLink {
 public:
  CaresLink(base::Loop& loop, const CaresOptions& o) : loop_(loop), options_(o), sweep_(loop.timer([this] { sweep(); })) {}
  ~CaresLink() override {
    retired_.clear();
    channel_.reset();
  }

  void send(base::ByteView query, Done done) override {
    if (channel_ && channel_->sent() >= kQueriesPerPort && !options_.tcp_only) {
      retired_.push_back(std::move(channel_));
      sweep_->arm(std::chrono::seconds(1));
    }
    if (!channel_ && !open()) return done({});
    channel_->send(query, std::move(done));
  }
  size_t in_flight() const override {
    size_t n = channel_ ? channel_->in_flight() : 0;
    for (auto& c : retired_) n += c->in_flight();
    return n;
  }
  bool is_own_socket(const IpPort& local) const override {
    return (channel_ && channel_->is_own_socket(local)) || std::any_of(retired_.begin(), retired_.end(), [&](auto& c) { return c->is_own_socket(local); });
  }

 private:
  bool open() {
    auto c = std::make_unique<Channel>(loop_);
    if (auto r = c->open(options_); !r) {
      EM_LOG(error, "dns", "upstream {}: {}", options_.server.str(), r.error().what);
      return false;
    }
    channel_ = std::move(c);
    return true;
  }
  void sweep() {
    std::erase_if(retired_, [](auto& c) { return c->in_flight() == 0; });
    if (!retired_.empty()) sweep_->arm(std::chrono::seconds(1));
  }

  base::Loop& loop_;
  CaresOptions options_;
  std::unique_ptr<Channel> channel_;
  std::vector<std::unique_ptr<Channel>> retired_;  // until their queries have ended
  std::unique_ptr<base::Timer> sweep_;
};

}  // namespace

std::unique_ptr<ServerLink> make_cares_link(base::Loop& loop, const CaresOptions& o) { return std::make_unique<CaresLink>(loop, o); }

}  // namespace dns
