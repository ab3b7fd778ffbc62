#include "dns/server/message_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/net/addr.h"
#include "dns/wire/name.h"

namespace dns {

using base::load_be16;
using base::load_be32;

namespace {

struct Known {
  uint16_t number;
  const char* name;
};
constexpr Known kTypes[] = {{1, "A"},      {2, "NS"},     {5, "CNAME"},  {6, "SOA"},    {12, "PTR"},    {13, "HINFO"}, {15, "MX"},   {16, "TXT"},
                            {28, "AAAA"},  {29, "LOC"},   {33, "SRV"},   {35, "NAPTR"}, {39, "DNAME"},  {41, "OPT"},   {43, "DS"},   {44, "SSHFP"},
                            {46, "RRSIG"}, {47, "NSEC"},  {48, "DNSKEY"}, {50, "NSEC3"}, {52, "TLSA"},  {64, "SVCB"},  {65, "HTTPS"}, {99, "SPF"},
                            {251, "IXFR"}, {252, "AXFR"}, {255, "ANY"},  {257, "CAA"}};
constexpr const char* kRcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

std::string name_at(base::ByteView m, size_t at) {
  Name n;
  return read_name(m, at, n) ? n.text() : "?";
}

std::string quoted(base::ByteView data) {
  std::string s;
  for (size_t at = 0; at < data.size(); at += data[at] + size_t(1)) {
    s += s.empty() ? "\"" : " \"";
    for (uint8_t c : data.subspan(at + 1, std::min<size_t>(data[at], data.size() - at - 1)))
      s += c == '"' || c == '\\' ? std::string{'\\', char(c)} : c < 32 || c > 126 ? fmt::format("\\{:03}", c) : std::string(1, char(c));
    s += '"';
  }
  return s;
}

std::string soa(base::ByteView m, size_t at, size_t end) {
  std::string s;
  for (int i = 0; i < 2; i++) {
    s += name_at(m, at) + " ";
    if (!skip_name(m, at)) return s + "?";
  }
  if (at + 20 > end) return s + "?";
  return s + fmt::format("{} {} {} {} {}", load_be32(&m[at]), load_be32(&m[at + 4]), load_be32(&m[at + 8]), load_be32(&m[at + 12]), load_be32(&m[at + 16]));
}

std::string data_text(base::ByteView m, uint16_t t, size_t at, size_t size) {
  base::ByteView d = m.subspan(at, size);
  if (t == 1 && size == 4) return base::IpAddr::v4(d.data()).str();
  if (t == 28 && size == 16) return base::IpAddr::v6(d.data()).str();
  if (t == 2 || t == 5 || t == 12 || t == 39) return name_at(m, at);
  if (t == 6) return soa(m, at, at + size);
  if (t == 15 && size > 2) return fmt::format("{} {}", load_be16(&d[0]), name_at(m, at + 2));
  if (t == 33 && size > 6) return fmt::format("{} {} {} {}", load_be16(&d[0]), load_be16(&d[2]), load_be16(&d[4]), name_at(m, at + 6));
  if (t == 13 || t == 16 || t == 99) return quoted(d);
  return fmt::format("\\# {} {}", size, base::to_hex(d));
}

int ede_of(base::ByteView options) {
  base::Reader r(options);
  while (r.ok() && !r.at_end()) {
    uint16_t code = r.u16();
    base::ByteView v = r.take(r.u16());
    if (r.ok() && code == 15 && v.size() >= 2) return load_be16(&v[0]);
  }
  return -1;
}

}  // namespace

std::string type_text(uint16_t t) {
  for (auto& k : kTypes)
    if (k.number == t) return k.name;
  return fmt::format("TYPE{}", t);
}

std::optional<uint16_t> type_from_text(std::string_view text) {
  std::string s(text);
  std::ranges::transform(s, s.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  for (auto& k : kTypes)
    if (s == k.name) return k.number;
  uint16_t n = 0;
  if (!s.starts_with("TYPE") || s.size() < 5) return std::nullopt;
  auto [end, err] = std::from_chars(s.data() + 4, s.data() + s.size(), n);
  return err == std::errc() && end == s.data() + s.size() ? std::optional(n) : std::nullopt;
}

std::string rcode_text(uint16_t r) {
  if (r < std::size(kRcodes)) return kRcodes[r];
  return r == 16 ? "BADVERS" : r == 23 ? "BADCOOKIE" : fmt::format("RCODE{}", r);
}

std::optional<MessageText> message_text(base::ByteView m) {
  if (m.size() < kHeaderSize) return std::nullopt;
  MessageText t;
  const uint16_t f = load_be16(&m[2]);
  uint16_t rcode = f & 15;
  for (auto [bit, name] : {std::pair{flag::AA, "aa"}, {flag::TC, "tc"}, {flag::RD, "rd"}, {flag::RA, "ra"}, {flag::AD, "ad"}, {flag::CD, "cd"}})
    if (f & bit) t.flags.push_back(name);
  size_t at = kHeaderSize;
  for (int i = load_be16(&m[4]); i > 0; i--, at += 4)
    if (!skip_name(m, at)) return std::nullopt;
  std::vector<RecordText>* sections[3] = {&t.answer, &t.authority, &t.additional};
  for (size_t s = 0; s < 3; s++)
    for (int i = load_be16(&m[6 + 2 * s]); i > 0; i--) {
      Name owner;
      if (!read_name(m, at, owner) || at + 10 > m.size()) return std::nullopt;
      const uint16_t type = load_be16(&m[at]);
      const size_t size = load_be16(&m[at + 8]), data = at + 10;
      if (data + size > m.size()) return std::nullopt;
      if (type == type::OPT) {
        rcode = uint16_t(rcode | m[at + 4] << 4);
        t.ede = ede_of(m.subspan(data, size));
      } else {
        sections[s]->push_back({owner.text(), type_text(type), data_text(m, type, data, size), load_be32(&m[at + 4])});
      }
      at = data + size;
    }
  t.status = rcode_text(rcode);
  return t;
}

}  // namespace dns
