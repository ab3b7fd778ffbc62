#include "dns/wire/scan.h"

#include <algorithm>

namespace dns {

using base::load_be16;
using base::load_be32;

namespace {

struct Walk {
  base::ByteView m;
  size_t at;
  uint16_t type = 0, klass = 0;
  size_t ttl_at = 0, data_at = 0, data_size = 0;

  bool next() {  // at: start of a record; afterwards behind it
    if (!skip_name(m, at) || at + 10 > m.size()) return false;
    type = load_be16(&m[at]);
    klass = load_be16(&m[at + 2]);
    ttl_at = at + 4;
    data_size = load_be16(&m[at + 8]);
    data_at = at + 10;
    at = data_at + data_size;
    return at <= m.size();
  }
};

uint32_t clean_ttl(uint32_t v) { return v & 0x80000000u ? 0 : v; }  // RFC 2181 §8

bool soa_minimum(const Walk& w, uint32_t& out) {
  size_t p = w.data_at;
  if (!skip_name(w.m, p) || !skip_name(w.m, p) || p + 20 > w.data_at + w.data_size) return false;
  out = std::min(clean_ttl(load_be32(&w.m[w.ttl_at])), load_be32(&w.m[p + 16]));
  return true;
}

bool question(base::ByteView m, size_t& end) {
  if (m.size() < kHeaderSize || m.size() > kMessageMax || load_be16(&m[4]) != 1) return false;
  size_t at = kHeaderSize;
  for (; at < m.size() && m[at]; at += m[at] + size_t(1))
    if (m[at] > kLabelMax) return false;
  end = at + 5;
  return at < m.size() && at + 1 - kHeaderSize <= kNameMax && end <= m.size();
}

}  // namespace

bool scan_answer(base::ByteView m, Scan& s) {
  s = Scan{};
  if (!question(m, s.question_end)) return false;
  s.flags = load_be16(&m[2]);
  s.rcode = Rcode(s.flags & 15);
  if (!(s.flags & flag::QR)) return false;
  Walk w{m, s.question_end};
  uint16_t* counts[3] = {&s.answers, &s.authority, &s.additional};
  bool opt = false;
  s.size = w.at;
  s.additional_at = w.at;
  for (int sec = 0; sec < 3; sec++)
    for (uint16_t i = load_be16(&m[size_t(6 + 2 * sec)]); i > 0; i--) {
      if (!w.next()) return false;
      if (w.type == type::OPT) {
        opt = true;
        s.rcode = Rcode(uint16_t(s.rcode) | m[w.ttl_at] << 4);
      }
      if (opt) continue;  // what follows an OPT is additional data nobody needs
      uint32_t ttl = clean_ttl(load_be32(&m[w.ttl_at])), neg = 0;
      if (sec < 2) s.ttl_min = std::min(s.ttl_min, ttl);
      if (sec == 1 && w.type == type::SOA && soa_minimum(w, neg)) s.negative_ttl = std::min(s.negative_ttl, neg);
      s.ttl_at.push_back(uint16_t(w.ttl_at));
      ++*counts[sec];
      s.size = w.at;
      if (sec < 2) s.additional_at = w.at;
    }
  return true;
}

void Scan::drop_additional() {
  size = additional_at;
  additional = 0;
  std::erase_if(ttl_at, [this](uint16_t at) { return at >= size; });
}

bool question_is(base::ByteView m, base::ByteView name, uint16_t qtype, uint16_t qclass) {
  size_t end = 0;
  if (!question(m, end) || end - kHeaderSize - 4 != name.size()) return false;
  return equal_ignoring_case(m.subspan(kHeaderSize, name.size()), name) && load_be16(&m[end - 4]) == qtype && load_be16(&m[end - 2]) == qclass;
}

// `count` records behind the first `before`.
static bool each_record(base::ByteView m, size_t before, size_t count, const std::function<bool(const Record&)>& visit) {
  size_t at = 0;
  if (!question(m, at)) return false;
  Walk w{m, at};
  for (; before > 0; before--)
    if (!w.next()) return false;
  for (; count > 0; count--) {
    Record r;
    size_t name_at = w.at;
    if (!w.next() || !read_name(m, name_at, r.owner)) return false;
    r.type = w.type;
    r.klass = w.klass;
    r.ttl = clean_ttl(load_be32(&m[w.ttl_at]));
    r.data_at = w.data_at;
    r.data_size = w.data_size;
    if (!visit(r)) return true;
  }
  return true;
}

bool each_answer(base::ByteView m, const std::function<bool(const Record&)>& visit) {
  return m.size() >= kHeaderSize && each_record(m, 0, load_be16(&m[6]), visit);
}

bool each_authority(base::ByteView m, const std::function<bool(const Record&)>& visit) {
  return m.size() >= kHeaderSize && each_record(m, load_be16(&m[6]), load_be16(&m[8]), visit);
}

void age_ttl(base::MutByteView m, size_t at, uint32_t age) {
  uint32_t v = clean_ttl(load_be32(&m[at]));
  base::store_be32(&m[at], v > age ? v - age : 0);
}

}  // namespace dns
