// The names a zone has of its own. SOA records carry a serial and are made when asked.
#include "dns/zone/service_records.h"

namespace dns {

static Name under(const Name& zone, std::initializer_list<const char*> labels) {
  Name n = zone;
  for (auto* l : labels)
    if (!n.prepend(l)) return zone;  // a domain of more than 240 octets
  return n;
}

static void apex(const Name& zone, uint32_t ttl, PieceBuilder& out) {
  out.name(zone);
  MessageWriter w(zone);
  w.add_name(zone, type::NS, ttl, under(zone, {"dns", "ns"}));
  out.answer(type::NS, w.body());
}

static void server(const Name& ns, const ZoneConfig& c, PieceBuilder& out) {
  out.name(ns);
  for (uint16_t t : {type::A, type::AAAA}) {
    MessageWriter w(ns);
    for (auto& ip : c.server_addresses)
      if (ip.is_v4() == (t == type::A)) w.add(ns, t, c.ttl, ip.bytes());
    BodyView b = w.body();
    b.rotate = t == type::A ? 16 : 28;
    if (b.answers) out.answer(t, b);
  }
}

std::vector<Piece> render_zones(const ZoneConfig& c) {
  std::vector<Piece> pieces;
  for (auto& zone : zones_of(c)) {
    PieceBuilder out(uint8_t(pieces.size()), zone, false);
    apex(zone, c.ttl, out);
    if (pieces.empty()) {  // the cluster's
      for (const char* empty : {"svc", "pod", "dns"}) out.name(under(zone, {empty}));
      server(under(zone, {"dns", "ns"}), c, out);
      Name version = under(zone, {"dns-version"});
      out.name(version);
      MessageWriter txt(version);
      txt.add(version, type::TXT, 28800, base::as_bytes("\x05" "1.1.0"));
      out.answer(type::TXT, txt.body());
    }
    pieces.push_back(out.finish());
  }
  return pieces;
}

}  // namespace dns
