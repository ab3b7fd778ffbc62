#include "dns/upstream/secure_link.h"

#include <map>

#include "base/core/log.h"
#include "base/net/tls_stream.h"
#include "dns/upstream/dialect.h"
#include "dns/wire/types.h"

namespace dns {

using base::ByteVec;
using base::ByteView;
using namespace std::chrono_literals;

namespace {

constexpr size_t kInFlightMax = 256;
constexpr auto kRedialAfter = 200ms;  // after a connection that did not come about

class SecureLink final : public ServerLink {
 public:
  SecureLink(base::Loop& loop, SecureOptions o) : loop_(loop), o_(std::move(o)), timer_(loop.timer([this] { on_timer(); })) {}
  ~SecureLink() override {
    stream_.reset();
    auto waiting = std::move(pending_);
    for (auto& [t, p] : waiting) p.done({});
  }

  void send(ByteView query, Done done) override {
    if (pending_.size() >= kInFlightMax || query.size() < kHeaderSize) return done({});
    if (!stream_ && !dial()) return done({});
    Pending p{{query.begin(), query.end()}, base::load_be16(query.data()), std::move(done), loop_.now() + o_.within};
    pad_query(p.query);
    while (pending_.count(next_ticket_)) next_ticket_++;
    uint16_t ticket = next_ticket_++;
    pending_.emplace(ticket, std::move(p));
    if (!timer_->armed()) timer_->arm(o_.within);
    if (ready_) transmit();
  }
  size_t in_flight() const override { return pending_.size(); }
  bool is_own_socket(const base::IpPort&) const override { return false; }  // nothing of ours speaks TLS to clients

 private:
  struct Pending {
    ByteVec query;
    uint16_t id;
    Done done;
    base::Instant deadline;
    bool sent = false, again = false;
  };

  bool is_https() const { return o_.server.kind == ServerAddress::Kind::https; }
  std::string expected_name() const { return o_.server.name.empty() ? o_.server.at.ip.str() : o_.server.name; }
  std::string authority() const {
    const auto& at = o_.server.at;
    std::string host = !o_.server.name.empty() ? o_.server.name : at.ip.is_v4() ? at.ip.str() : "[" + at.ip.str() + "]";
    return at.port == 443 ? host : host + ":" + std::to_string(at.port);
  }

  bool dial() {
    if (failed_at_ != base::Instant() && loop_.now() - failed_at_ < kRedialAfter) return false;
    auto tcp = base::connect_tcp(loop_, o_.server.at, o_.within);
    if (!tcp) return trouble(tcp.error().what), false;
    dialect_ = is_https() ? make_doh(authority(), o_.server.path) : make_dot();
    ready_ = worked_ = false;
    stream_ = base::make_tls_stream(loop_, std::move(*tcp), o_.tls,
                                    {.role = base::TlsRole::client, .verify_at = o_.wall(), .expected_name = expected_name(), .handshake_within = o_.within});
    stream_->start({.on_connected = [this] { on_connected(); },
                    .on_data = [this](base::Buffer& in) { on_data(in); },
                    .on_end = [this] { lost("it closed the connection"); },
                    .on_drained = {},
                    .on_closed = [this](const base::Result<void>& r) { lost(r ? "it closed the connection" : r.error().what); }});
    return true;
  }
  void on_connected() {
    if (is_https() && stream_->tls().alpn() != "h2") return lost("it does not speak HTTP/2");
    ready_ = true;
    failed_at_ = {};
    transmit();
  }
  void transmit() {
    for (auto& [ticket, p] : pending_) {
      if (p.sent) continue;
      if (!dialect_->ask(ticket, p.query)) break;  // as many as it takes; the rest when others are answered
      p.sent = true;
    }
    flush();
  }
  void flush() {
    ByteVec out = dialect_->output();
    if (!out.empty()) stream_->write(out);
  }

  // Answers are told once the connection is at rest: who is told may ask the next question.
  void on_data(base::Buffer& in) {
    std::vector<Dialect::Answer> answers;
    auto fed = dialect_->feed(in, loop_.now(), answers);
    worked_ = worked_ || !answers.empty();
    flush();
    std::vector<std::pair<Done, ByteVec>> told;
    for (auto& a : answers) {
      auto it = pending_.find(a.ticket);
      if (it == pending_.end()) continue;  // too late
      if (a.message.size() >= 2) base::store_be16(a.message.data(), it->second.id);
      told.emplace_back(std::move(it->second.done), std::move(a.message));
      pending_.erase(it);
    }
    heard_at_ = loop_.now();
    if (!fed) lost(fed.error().what);
    else if (dialect_->is_closing()) lost("it closed the connection");
    else transmit();
    for (auto& [done, message] : told) done(message);
  }

  // The connection is over. What was asked on one that worked goes once more.
  void lost(const std::string& why) {
    if (!stream_) return;
    loop_.defer_delete(std::move(stream_));
    loop_.defer_delete(std::move(dialect_));
    if (!ready_) trouble(why);
    bool retry = worked_ && ready_;
    ready_ = false;
    std::map<uint16_t, Pending> over;
    for (auto it = pending_.begin(); it != pending_.end();) {
      if (retry && !it->second.again) it->second.again = true, it->second.sent = false, ++it;
      else over.insert(pending_.extract(it++));
    }
    if (!pending_.empty() && !dial()) over.merge(pending_);
    for (auto& [t, p] : over) p.done({});
  }
  void trouble(const std::string& why) {
    failed_at_ = loop_.now();
    EM_LOG(warn, "dns", "upstream {}: {}", o_.server.text(), why);
  }

  // Nothing came for as long as the oldest question waited: the way is gone, whatever TCP thinks.
  void on_timer() {
    auto now = loop_.now();
    std::map<uint16_t, Pending> over;
    for (auto it = pending_.begin(); it != pending_.end();) {
      if (it->second.deadline <= now) over.insert(pending_.extract(it++));
      else ++it;
    }
    if (!over.empty() && now - heard_at_ >= o_.within) worked_ = false, lost("no answer for too long");
    base::Instant first = now + o_.within;
    for (auto& [t, p] : pending_) first = std::min(first, p.deadline);
    if (!pending_.empty()) timer_->arm(first - now);
    for (auto& [t, p] : over) p.done({});
  }

  base::Loop& loop_;
  SecureOptions o_;
  std::unique_ptr<base::Timer> timer_;
  std::unique_ptr<Dialect> dialect_;
  std::unique_ptr<base::TlsStream> stream_;
  bool ready_ = false, worked_ = false;  // handshake done; an answer came
  std::map<uint16_t, Pending> pending_;
  uint16_t next_ticket_ = 0;
  base::Instant failed_at_{}, heard_at_{};
};

}  // namespace

std::unique_ptr<ServerLink> make_secure_link(base::Loop& loop, SecureOptions o) { return std::make_unique<SecureLink>(loop, std::move(o)); }

}  // namespace dns
