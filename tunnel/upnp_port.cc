#include "tunnel/upnp_port.h"

#include "base/net/socket.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kAnswerWithin = 5s, kFarewell = 500ms;

base::Request request_of(const UpnpAsk& a) {
  base::Request r;
  r.method = a.action.empty() ? "GET" : "POST";
  r.target = a.at.path;
  r.headers.add("Host", a.at.server.str());
  if (!a.action.empty()) {
    r.headers.add("Content-Type", "text/xml; charset=\"utf-8\"");
    r.headers.add("SOAPAction", a.action);
    r.body = a.body;
  }
  return r;
}
}  // namespace

base::Result<std::unique_ptr<UpnpPort>> UpnpPort::open(uint16_t own_port, uint32_t socket_mark, std::function<void()> on_change,
                                                       base::Loop& loop, base::Rng& rng, base::Metrics& metrics) {
  base::SocketOptions o;
  o.mark = socket_mark;
  EM_TRY_ASSIGN(base::UniqueFd fd, base::udp_socket({base::IpAddr(), 0}, o));
  return std::unique_ptr<UpnpPort>(new UpnpPort(std::move(fd), own_port, std::move(on_change), loop, rng, metrics));
}

UpnpPort::UpnpPort(base::UniqueFd fd, uint16_t own_port, std::function<void()> on_change, base::Loop& loop, base::Rng& rng,
                   base::Metrics& metrics)
    : loop_(loop),
      fd_(std::move(fd)),
      watch_(loop.watch(fd_.get(), base::kFdRead, [this](base::FdEvents) { on_readable(); })),
      timer_(loop.timer([this] {
        if (loop_.now() >= client_.next_deadline()) client_.tick(loop_.now());
        touch();
      })),
      client_(own_port,
              {[this](const base::IpPort& to, const std::string& search) {
                 writer_.add({.to = to, .data = base::as_bytes(search)});
                 writer_.flush(fd_.get());
                 writer_.clear();
               },
               [this](const UpnpAsk& a) { ask(a); }, std::move(on_change)},
              rng, metrics) {}

UpnpPort::~UpnpPort() = default;

void UpnpPort::follow(std::optional<PortmapWay> way) {
  if (auto bye = way ? std::nullopt : client_.farewell())
    farewell_ = base::http_call(loop_, bye->at.server, request_of(*bye), kAnswerWithin, [](const auto&) {}, kUpnpBodyBytesMax);
  if (!way) call_.reset();
  client_.set_way(std::move(way), loop_.now());
  touch();
}

void UpnpPort::check() {
  client_.check(loop_.now());
  touch();
}

// The daemon's loop runs no more by then: one of its own, for this call.
void UpnpPort::stop_for_good() {
  auto bye = client_.farewell();
  if (!bye) return;
  auto loop = base::open_libevent_loop();
  if (!loop) return;
  auto call =
      base::http_call(**loop, bye->at.server, request_of(*bye), kFarewell, [&](const auto&) { (*loop)->stop(); }, kUpnpBodyBytesMax);
  (*loop)->run();
}

void UpnpPort::ask(const UpnpAsk& a) {
  if (call_) loop_.defer_delete(std::move(call_));  // its answer may be what asks now
  call_ = base::http_call(
      loop_, a.at.server, request_of(a), kAnswerWithin,
      [this](const base::Result<base::Response>& r) {
        if (r) client_.on_answer(r->status, r->body, loop_.now());
        else client_.on_failed(loop_.now());
        touch();
      },
      kUpnpBodyBytesMax);
}

void UpnpPort::on_readable() {
  auto got = reader_.receive(fd_.get());
  if (!got) return;
  for (const auto& d : *got)
    if (!d.truncated) client_.on_search_answer(d.from, base::as_text(d.data), loop_.now());
  touch();
}

void add_upnp(PortMappingView& v, const UpnpClient& c, base::Instant now) {
  if (!v.outside.empty()) return;
  if (!c.outside()) {
    if (!v.trouble.empty() && !c.trouble().empty()) v.trouble += "; " + c.trouble();
    return;
  }
  v.outside = c.outside()->str();
  v.is_public = !c.outside()->ip.is_private();
  v.protocol = "UPnP";
  v.seconds_left = std::chrono::duration_cast<std::chrono::seconds>(c.left(now)).count();
  v.trouble.clear();
}

void UpnpPort::touch() {
  base::Instant next = client_.next_deadline();
  if (next == base::Instant::max()) return timer_->cancel();
  timer_->arm(next - loop_.now());
}

}  // namespace tunnel
