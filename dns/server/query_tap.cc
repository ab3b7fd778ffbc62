#include "dns/server/query_tap.h"

#include "base/core/log.h"
#include "base/core/wall_nanos.h"
#include "dns/server/message_text.h"
#include "dns/wire/name.h"

namespace dns {

namespace {

// Protobuf by hand: three kinds of fields are all there is in dnstap.
class Fields {
 public:
  base::ByteVec out;
  void number(uint32_t field, uint64_t v) {
    varint(field << 3);
    varint(v);
  }
  void bytes(uint32_t field, base::ByteView b) {
    varint(field << 3 | 2);
    varint(b.size());
    out.insert(out.end(), b.begin(), b.end());
  }
  void fixed32(uint32_t field, uint32_t v) {
    varint(field << 3 | 5);
    for (int i = 0; i < 4; i++) out.push_back(uint8_t(v >> 8 * i));
  }

 private:
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) out.push_back(uint8_t(v | 0x80));
    out.push_back(uint8_t(v));
  }
};

constexpr uint64_t kNanos = 1'000'000'000;
enum : uint64_t { kClientQuery = 5, kClientResponse = 6 };

}  // namespace

base::ByteVec dnstap_frame(const std::string& identity, const QueryTap::Sample& s, base::ByteView message, int64_t answered_ns) {
  Fields m;
  const bool query = !answered_ns;
  m.number(1, query ? kClientQuery : kClientResponse);
  m.number(2, s.client.ip.is_v4() ? 1 : 2);  // INET, INET6
  m.number(3, s.tcp ? 2 : 1);                // UDP, TCP
  m.bytes(4, s.client.ip.bytes());
  m.number(6, s.client.port);
  m.number(8, uint64_t(s.asked_ns) / kNanos);
  m.fixed32(9, uint32_t(uint64_t(s.asked_ns) % kNanos));
  if (query) m.bytes(10, message);
  if (!query) m.number(12, uint64_t(answered_ns) / kNanos);
  if (!query) m.fixed32(13, uint32_t(uint64_t(answered_ns) % kNanos));
  if (!query) m.bytes(14, message);
  Fields f;
  if (!identity.empty()) f.bytes(1, base::as_bytes(identity));
  f.bytes(2, base::as_bytes("edgemeshd"));
  f.bytes(14, m.out);
  f.number(15, 1);  // MESSAGE
  return std::move(f.out);
}

std::unique_ptr<QueryTap> QueryTap::make(const TapConfig& c, base::Metrics& m) {
  if (!c.log_every && c.socket.empty() && c.file.empty()) return nullptr;
  return std::unique_ptr<QueryTap>(new QueryTap(c, m));
}

QueryTap::QueryTap(const TapConfig& c, base::Metrics& m) : config_(c), log_left_(c.log_every), tap_left_(0) {
  if (c.socket.empty() && c.file.empty()) return;
  tap_left_ = config_.tap_every = std::max<uint32_t>(1, c.tap_every);
  FrameStream::Options o;
  o.socket = c.file.empty() ? c.socket : "";
  o.file = c.file;
  stream_ = std::make_unique<FrameStream>(std::move(o), m);
}

void QueryTap::take(bool log, bool tap) {
  log_now_ = log;
  tap_now_ = tap;
  if (log) log_left_ = config_.log_every;
  if (tap) tap_left_ = config_.tap_every;
}

QueryTap::Sample QueryTap::query(base::ByteView message, const base::IpPort& client, bool tcp) {
  Sample s{log_now_, tap_now_, client, tcp, base::wall_nanoseconds()};
  if (s.tap) stream_->put(dnstap_frame(config_.identity, s, message, 0));
  return s;
}

void QueryTap::answer(const Sample& s, const Query& q, base::ByteView reply) {
  const int64_t now = base::wall_nanoseconds();
  if (s.tap) stream_->put(dnstap_frame(config_.identity, s, reply, now));
  if (!s.log || reply.size() < kHeaderSize) return;
  auto name = Name::from_wire(base::as_bytes(q.key()));
  EM_LOG(info, "dns", "query {} {} of {} by {}: {}, {} answers, {} octets, {} us", name ? name->text() : "?", type_text(q.type), s.client.str(), s.tcp ? "tcp" : "udp",
         rcode_text(reply[3] & 15), base::load_be16(&reply[6]), reply.size(), (now - s.asked_ns) / 1000);
}

}  // namespace dns
