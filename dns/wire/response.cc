#include "dns/wire/response.h"

#include <algorithm>
#include <cstring>

namespace dns {

using base::load_be16;
using base::store_be16;

size_t udp_limit(const Query& q, size_t most) {
  return q.has_opt ? std::clamp<size_t>(q.udp_size, kUdpMin, std::max(most, kUdpMin)) : kUdpMin;
}

static size_t options_size(const Query& q, const Reply& r) {
  return (r.ede != Ede::none ? 6 : 0) + (q.has_keepalive ? 6 : 0) + (q.has_cookie ? 4 + q.cookie.size() : 0);
}

size_t opt_size(const Query& q, const Reply& r) { return q.has_opt ? kOptSize + options_size(q, r) : 0; }

static size_t write_opt(const Query& q, const Reply& r, uint8_t* p) {
  p[0] = 0;
  store_be16(p + 1, type::OPT);
  store_be16(p + 3, r.udp_payload);
  p[5] = uint8_t(uint16_t(r.rcode) >> 4);
  p[6] = 0;
  store_be16(p + 7, q.dnssec_ok ? 0x8000 : 0);
  store_be16(p + 9, uint16_t(options_size(q, r)));
  p += kOptSize;
  if (r.ede != Ede::none) {
    store_be16(p, kEdeOption);  // RFC 8914 §2
    store_be16(p + 2, 2);
    store_be16(p + 4, uint16_t(r.ede));
    p += 6;
  }
  if (q.has_keepalive) {
    store_be16(p, kKeepaliveOption);
    store_be16(p + 2, 2);
    store_be16(p + 4, q.keepalive_tenths);
    p += 6;
  }
  if (q.has_cookie) {
    store_be16(p, kCookieOption);
    store_be16(p + 2, uint16_t(q.cookie.size()));
    std::memcpy(p + 4, q.cookie.data(), q.cookie.size());
  }
  return kOptSize + options_size(q, r);
}

// The end of the record that starts at `at` of a body; the body is ours, so it is whole.
static size_t record_end(base::ByteView body, size_t at) {
  if (!skip_name(body, at) || at + 10 > body.size()) return body.size();
  return std::min(body.size(), at + 10 + load_be16(&body[at + 8]));
}

struct Cut {
  size_t size = 0;
  uint16_t counts[3] = {0, 0, 0};
  bool truncated = false;
};

static Cut cut_to(const BodyView& b, size_t room) {
  Cut c;
  const uint16_t have[3] = {b.answers, b.authority, b.additional};
  for (int s = 0; s < 3; s++)
    for (; c.counts[s] < have[s]; c.counts[s]++) {
      size_t end = record_end(b.octets, c.size);
      if (end > room) return c.truncated = s < 2, c;  // RFC 2181 §9: TC only when required data is missing
      c.size = end;
    }
  return c;
}

static void copy_body(const BodyView& b, size_t size, uint32_t turn, uint8_t* to) {
  size_t ring = size_t(b.rotate) * b.answers;
  if (!b.rotate || b.answers < 2 || ring > b.octets.size()) {
    std::memcpy(to, b.octets.data(), size);
    return;
  }
  size_t first = size_t(turn % b.answers) * b.rotate, head = std::min(size, ring);
  size_t a = std::min(head, ring - first);
  std::memcpy(to, b.octets.data() + first, a);
  std::memcpy(to + a, b.octets.data(), head - a);
  std::memcpy(to + head, b.octets.data() + head, size - head);
}

static void write_header(const Query& q, const Reply& r, const Cut& c, uint8_t* p) {
  uint16_t f = uint16_t(flag::QR | (q.flags & (flag::RD | flag::CD | 0x7800)) | r.flags | (c.truncated ? flag::TC : 0) | (uint16_t(r.rcode) & 15));
  store_be16(p, q.id);
  store_be16(p + 2, f);
  store_be16(p + 4, q.question.empty() ? 0 : 1);
  for (int s = 0; s < 3; s++) store_be16(p + 6 + 2 * s, uint16_t(c.counts[s] + (s == 2 && q.has_opt)));
}

size_t write_reply(const Query& q, const Reply& r, const BodyView& body, size_t limit, base::MutByteView out) {
  limit = std::min({limit, out.size(), kMessageMax});
  size_t head = kHeaderSize + q.question.size();
  size_t opt = opt_size(q, r);
  size_t room = limit > head + opt ? limit - head - opt : 0;
  Cut c{body.octets.size(), {body.answers, body.authority, body.additional}, false};
  if (c.size > room) c = cut_to(body, room);
  write_header(q, r, c, out.data());
  if (!q.question.empty() && q.question.data() != &out[kHeaderSize]) std::memcpy(&out[kHeaderSize], q.question.data(), q.question.size());
  if (c.size) copy_body(body, c.size, r.turn, &out[head]);
  if (opt) write_opt(q, r, &out[head + c.size]);
  return head + c.size + opt;
}

size_t write_header_error(const Query& q, Rcode rc, base::MutByteView out) {
  Query bare = q;
  bare.question = {};
  return write_reply(bare, Reply{.rcode = rc}, BodyView{}, kUdpMin, out);
}

}  // namespace dns
