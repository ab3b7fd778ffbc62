#include "dns/wire/message_writer.h"

#include <algorithm>

namespace dns {

static constexpr size_t kPointerMax = 0x3fff;
static constexpr size_t kUsual = 256;     // octets of most messages
static constexpr size_t kKnownMax = 256;  // names a later one is compared with; beyond it a message is only a little larger

MessageWriter::MessageWriter(const Name& name, size_t limit) : m_(kHeaderSize, 0), limit_(std::min(limit, kMessageMax) - kOptSize - 6) {
  m_.reserve(kUsual);
  known_.reserve(kUsual / 8);
  put_name(name, true);
  base::Writer(m_).u32(0);
  start_ = m_.size();
}

bool MessageWriter::matches(size_t at, base::ByteView s) const {
  size_t i = 0;
  while (true) {
    while (m_[at] >= 0xc0) at = size_t(m_[at] & 0x3f) << 8 | m_[at + 1];
    size_t n = m_[at] + size_t(1);
    if (i + n > s.size() || !std::equal(&s[i], &s[i] + n, &m_[at])) return false;
    if (n == 1) return i + 1 == s.size();
    i += n;
    at += n;
  }
}

size_t MessageWriter::known_suffix(base::ByteView s, size_t among) const {
  for (size_t i = 0; i < among; i++)
    if (matches(known_[i], s)) return known_[i];
  return 0;
}

// Labels become known as they are written, but are compared with only once their name is whole.
void MessageWriter::put_name(const Name& name, bool compress) {
  base::ByteView w = name.wire();
  base::Writer out(m_);
  size_t whole = known_.size();
  for (size_t at = 0; w[at]; at += w[at] + size_t(1)) {
    if (compress)
      if (size_t to = known_suffix(w.subspan(at), whole)) return out.u16(uint16_t(0xc000 | to));
    if (m_.size() <= kPointerMax && known_.size() < kKnownMax) known_.push_back(uint16_t(m_.size()));
    out.put(w.subspan(at, w[at] + size_t(1)));
  }
  out.u8(0);
}

size_t MessageWriter::begin(const Name& owner, uint16_t rtype, uint32_t ttl) {
  put_name(owner, true);
  base::Writer out(m_);
  out.u16(rtype);
  out.u16(klass::IN);
  out.u32(ttl);
  out.u16(0);
  return m_.size() - 2;
}

bool MessageWriter::end(Mark mark, size_t at) {
  if (m_.size() > limit_ || counts_[section_] == UINT16_MAX - 1) {
    m_.resize(mark.size);
    known_.resize(mark.known);
    full_ = true;
    return false;
  }
  base::store_be16(&m_[at], uint16_t(m_.size() - at - 2));
  counts_[section_]++;
  return true;
}

bool MessageWriter::add(const Name& owner, uint16_t rtype, uint32_t ttl, base::ByteView rdata) {
  Mark mark{m_.size(), known_.size()};
  size_t at = begin(owner, rtype, ttl);
  base::Writer(m_).put(rdata);
  return end(mark, at);
}

bool MessageWriter::add_name(const Name& owner, uint16_t rtype, uint32_t ttl, const Name& target) {
  Mark mark{m_.size(), known_.size()};
  size_t at = begin(owner, rtype, ttl);
  put_name(target, true);
  return end(mark, at);
}

bool MessageWriter::add_srv(const Name& owner, uint32_t ttl, uint16_t weight, uint16_t port, const Name& target) {
  Mark mark{m_.size(), known_.size()};
  size_t at = begin(owner, type::SRV, ttl);
  base::Writer out(m_);
  out.u16(0);
  out.u16(weight);
  out.u16(port);
  put_name(target, false);  // RFC 2782: the target is not compressed
  return end(mark, at);
}

bool MessageWriter::add_soa(const Name& zone, uint32_t ttl, uint32_t serial) {
  Mark mark{m_.size(), known_.size()};
  size_t at = begin(zone, type::SOA, ttl);
  Name ns = zone, host = zone;
  if (!ns.prepend("dns") || !ns.prepend("ns")) ns = zone;
  if (!host.prepend("hostmaster")) host = zone;
  put_name(ns, true);
  put_name(host, true);
  base::Writer out(m_);
  for (uint32_t v : {serial, 7200u, 1800u, 86400u, ttl}) out.u32(v);
  return end(mark, at);
}

BodyView MessageWriter::body() const {
  return {base::ByteView(m_).subspan(start_), counts_[0], counts_[1], counts_[2], 0};
}

base::ByteVec MessageWriter::take() { return {m_.begin() + std::ptrdiff_t(start_), m_.end()}; }

}  // namespace dns
