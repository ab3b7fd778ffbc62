#include "base/conf/dns_upstream.h"

#include "base/conf/dns_record.h"

namespace base::conf {

static bool take(std::string_view& s, std::string_view prefix) {
  if (!s.starts_with(prefix)) return false;
  s.remove_prefix(prefix.size());
  return true;
}

static std::optional<IpPort> address_of(std::string_view s, uint16_t port) {
  if (s.size() > 2 && s.front() == '[' && s.back() == ']') s = s.substr(1, s.size() - 2);
  if (auto ip = IpAddr::parse(s)) return IpPort{*ip, port};
  auto at = IpPort::parse(s);
  return at && at->port ? at : std::nullopt;
}

Result<DnsUpstream> parse_dns_upstream(std::string_view s) {
  using Kind = DnsUpstream::Kind;
  DnsUpstream u;
  u.kind = take(s, "tls://") ? Kind::tls : take(s, "https://") ? Kind::https : Kind::plain;
  if (size_t hash = s.find('#'); u.kind != Kind::plain && hash != s.npos) {
    u.name = s.substr(hash + 1);
    s = s.substr(0, hash);
    if (auto t = dns_name_trouble(u.name); u.name.empty() || !t.empty()) return fail(Code::invalid, "has behind # no name a certificate could have");
  }
  if (size_t slash = s.find('/'); u.kind == Kind::https) {
    u.path = slash == s.npos ? "/dns-query" : s.substr(slash);
    s = s.substr(0, slash);
    if (u.path.find_first_of(" \t{}") != u.path.npos) return fail(Code::invalid, "has a path with blanks or braces; the usual one is /dns-query");
  }
  auto at = address_of(s, u.kind == Kind::plain ? 53 : u.kind == Kind::tls ? 853 : 443);
  if (!at && u.kind == Kind::plain) return fail(Code::invalid, "is neither an address nor an address with a port");
  if (!at) return fail(Code::invalid, "has no address behind ://; write tls://9.9.9.9#dns.quad9.net or https://9.9.9.9/dns-query#dns.quad9.net");
  u.at = *at;
  return u;
}

}  // namespace base::conf
