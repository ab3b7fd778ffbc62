#include "dns/wire/rdata.h"

namespace dns {

namespace {

struct Layout {
  size_t before = 0, names = 0;  // octets, then names; what follows is as it is
};

Layout layout_of(uint16_t t) {
  switch (t) {
    case type::NS: case type::CNAME: case type::PTR: return {0, 1};
    case type::SOA: return {0, 2};
    case 15: return {2, 1};  // MX
    case type::SRV: return {6, 1};
    default: return {};
  }
}

}  // namespace

std::optional<base::ByteVec> plain_rdata(base::ByteView m, const Record& r) {
  const Layout l = layout_of(r.type);
  size_t at = r.data_at + l.before, end = r.data_at + r.data_size;
  if (end > m.size() || at > end) return {};
  base::ByteVec out(m.begin() + std::ptrdiff_t(r.data_at), m.begin() + std::ptrdiff_t(at));
  for (size_t i = 0; i < l.names; i++) {
    Name n;
    if (!read_name(m, at, n) || at > end) return {};
    out.insert(out.end(), n.wire().begin(), n.wire().end());
  }
  out.insert(out.end(), m.begin() + std::ptrdiff_t(at), m.begin() + std::ptrdiff_t(end));
  return out;
}

}  // namespace dns
