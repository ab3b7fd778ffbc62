// How configuration names an upstream server:
//   10.0.0.1   10.0.0.1:5353   [fd00::1]:53                     UDP and TCP
//   tls://9.9.9.9#dns.quad9.net   tls://10.0.0.1:853            DNS over TLS (RFC 7858)
//   https://9.9.9.9/dns-query#dns.quad9.net                     DNS over HTTPS (RFC 8484)
// Behind # stands the name its certificate must have; without one the certificate must be for the address.
#pragma once
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/net/addr.h"

namespace base::conf {

struct DnsUpstream {
  enum class Kind { plain, tls, https } kind = Kind::plain;
  IpPort at;
  std::string name;  // of the certificate; "": the address
  std::string path;  // https
};
Result<DnsUpstream> parse_dns_upstream(std::string_view);

}  // namespace base::conf
