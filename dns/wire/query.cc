#include "dns/wire/query.h"

#include <algorithm>
#include <cstring>

namespace dns {

using base::load_be16;
using base::load_be32;

// Length octets are below 'A', so that the whole name can be lowered at once.
static void lower_name(const uint8_t* from, size_t n, uint8_t* to) {
  auto eight = [&](size_t at) {
    uint64_t v;
    std::memcpy(&v, from + at, 8);
    v = lower8(v);
    std::memcpy(to + at, &v, 8);
  };
  if (n < 8) {
    for (; n; n--) *to++ = lower(*from++);
    return;
  }
  for (size_t at = 0; at + 8 < n; at += 8) eight(at);
  eight(n - 8);
}

// The question's name: plain labels only, a pointer has nothing to point at (RFC 1035 §4.1.4).
static bool read_question_name(base::ByteView m, size_t& at, Query& q) {
  size_t start = at;
  q.labels = 0;
  while (true) {
    if (at >= m.size()) return false;
    size_t len = m[at], n = at - start;
    if (len > kLabelMax || n + len + 1 > kNameMax || at + len + 1 > m.size()) return false;
    if (len) q.label_at[q.labels++] = uint8_t(n);
    at += len + 1;
    if (len == 0) break;
  }
  q.name_size = uint8_t(at - start);
  lower_name(&m[start], q.name_size, q.key_octets.data());
  return true;
}

// RFC 6891 §6.1.2: whole options. Only the cookie is of use here, and nothing else is passed on, client subnets (RFC 7871) above all.
static bool read_options(base::ByteView options, Query& q) {
  base::Reader r(options);
  while (r.ok() && !r.at_end()) {
    const uint16_t code = r.u16();
    base::ByteView v = r.take(r.u16());
    if (!r.ok()) return false;
    q.has_keepalive |= code == kKeepaliveOption;
    if (code != kCookieOption || q.has_cookie) continue;
    if (v.size() < 8 || (v.size() > 8 && v.size() < 16) || v.size() > 40) return false;  // RFC 7873 §5.2.2
    q.has_cookie = true;
    std::copy_n(v.begin(), kClientCookie, q.cookie.begin());
  }
  return r.ok();
}

static bool read_opt(base::ByteView m, size_t at, Query& q) {  // at: behind the owner name
  if (q.has_opt) return false;                                 // RFC 6891 §6.1.1: two OPT records
  q.has_opt = true;
  q.udp_size = load_be16(&m[at + 2]);
  q.edns_version = m[at + 5];
  q.dnssec_ok = m[at + 6] & 0x80;
  const size_t options = load_be16(&m[at + 8]);
  if (q.edns_version) return true;  // its options may be of another form
  return !options || read_options(m.subspan(at + 10, options), q);
}

// Walks the records behind the question; all must be whole, only OPT is read.
static bool read_records(base::ByteView m, size_t at, size_t count, Query& q) {
  for (; count > 0; count--) {
    bool root = at < m.size() && m[at] == 0;
    if (!skip_name(m, at) || at + 10 > m.size()) return false;
    size_t data = load_be16(&m[at + 8]);
    if (at + 10 + data > m.size()) return false;
    if (load_be16(&m[at]) == type::OPT && (!root || !read_opt(m, at, q))) return false;
    at += 10 + data;
  }
  return true;
}

Parsed parse_query(base::ByteView m, Query& q) {
  if (m.size() < kHeaderSize) return Parsed::drop;
  q.id = load_be16(&m[0]);
  q.flags = load_be16(&m[2]);
  q.question = {};
  q.name_size = q.labels = 0;
  q.has_opt = q.dnssec_ok = q.has_cookie = q.has_keepalive = false;
  q.udp_size = 0;
  q.edns_version = 0;
  if (q.flags & flag::QR) return Parsed::drop;
  if (q.flags >> 11 & 15) return Parsed::notimp;
  if (load_be16(&m[4]) != 1) return Parsed::formerr;  // RFC 9619
  size_t at = kHeaderSize;
  if (!read_question_name(m, at, q) || at + 4 > m.size()) return q.name_size = 0, Parsed::formerr;
  q.type = load_be16(&m[at]);
  q.klass = load_be16(&m[at + 2]);
  q.question = m.subspan(kHeaderSize, at + 4 - kHeaderSize);
  size_t records = size_t(load_be16(&m[6])) + load_be16(&m[8]) + load_be16(&m[10]);
  if (!read_records(m, at + 4, records, q)) return Parsed::formerr;
  return q.edns_version ? Parsed::badvers : Parsed::ok;
}

size_t write_query(const Name& name, uint16_t qtype, uint16_t id, uint16_t udp_size, bool dnssec_ok, bool cd, base::MutByteView out) {
  uint8_t* p = out.data();
  base::store_be16(p, id);
  base::store_be16(p + 2, uint16_t(flag::RD | (cd ? flag::CD : 0)));
  base::store_be16(p + 4, 1);
  base::store_be32(p + 6, 0);
  base::store_be16(p + 10, 1);
  std::memcpy(p + kHeaderSize, name.wire().data(), name.size());
  p += kHeaderSize + name.size();
  base::store_be16(p, qtype);
  base::store_be16(p + 2, klass::IN);
  p[4] = 0;
  base::store_be16(p + 5, type::OPT);
  base::store_be16(p + 7, udp_size);
  base::store_be32(p + 9, dnssec_ok ? 0x8000 : 0);
  base::store_be16(p + 13, 0);
  return kHeaderSize + name.size() + 4 + kOptSize;
}

}  // namespace dns
