// Query: what a client asked, read from one datagram or one TCP frame without allocation. Octets are kept as they came (0x20),
// beside them the lowered name, which is the key of every table.
#pragma once
#include "dns/wire/name.h"

namespace dns {

struct Query {
  uint16_t id = 0;
  uint16_t flags = 0;  // as they came
  uint16_t type = 0, klass = 0;
  base::ByteView question;  // name, type and class in the caller's buffer
  std::array<uint8_t, kNameMax> key_octets;
  std::array<uint8_t, 128> label_at;  // where each label starts in the name
  uint8_t name_size = 0;              // with the root octet
  uint8_t labels = 0;                 // without the root
  bool has_opt = false, dnssec_ok = false;
  bool has_cookie = false;                             // the client sent one; the answer carries `cookie`
  std::array<uint8_t, kClientCookie + kServerCookie> cookie;  // the client's; who answers fills in the server's part
  bool has_keepalive = false;     // RFC 7828: the client asks how long its connection may be idle; who answers over UDP clears it
  uint16_t keepalive_tenths = 0;  // what it is told, in tenths of a second
  uint8_t edns_version = 0;
  uint16_t udp_size = 0;  // as advertised; 0 without OPT

  base::ByteView name() const { return question.first(name_size); }
  std::string_view key() const { return {reinterpret_cast<const char*>(key_octets.data()), name_size}; }
  // The key from label i on; labels() gives the root.
  std::string_view key_from(size_t i) const { return key().substr(i < labels ? label_at[i] : name_size - size_t(1)); }
  std::string_view label(size_t i) const { return key().substr(label_at[i] + size_t(1), key_octets[label_at[i]]); }
  bool recursion_desired() const { return flags & flag::RD; }
  bool checking_disabled() const { return flags & flag::CD; }
};

// drop: not worth an answer (short, or itself an answer). formerr and notimp: header answered, the question may be unread.
// badvers: EDNS version above 0 (RFC 6891 §6.1.3).
enum class Parsed { ok, drop, formerr, notimp, badvers };
Parsed parse_query(base::ByteView message, Query& out);

// A query as we send it upstream: one question, RD, an OPT with our size. Returns the size; out needs 12 + 255 + 4 + 11.
size_t write_query(const Name& name, uint16_t type, uint16_t id, uint16_t udp_size, bool dnssec_ok, bool checking_disabled, base::MutByteView out);

}  // namespace dns
